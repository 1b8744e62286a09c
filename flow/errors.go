package flow

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Code says what kind of failure an [Error] is.
type Code string

// The codes.
const (
	NotFound    Code = "not_found"   // or not the asker's
	Invalid     Code = "invalid"     // a field is wrong: which, and what to type instead
	Conflict    Code = "conflict"    // the order's state does not allow it
	TooMany     Code = "too_many"    // a ceiling; see RetryAfter
	Unavailable Code = "unavailable" // ours is broken or full; nothing was done
)

// An Error is a failure that the asker may be told about. Anything else is
// ours: logged, and never shown.
type Error struct {
	Code  Code
	Field string // of the form, if it is about one
	// Message is for the asker. It never holds a PIN or a whole number.
	Message string
	// RetryAfter is when to come back; 0 if waiting does not help.
	RetryAfter time.Duration
	// Reason is the guard's, if it was the guard.
	Reason Reason
	// Order and State are of the order that has ended, if that is the Conflict.
	Order uuid.UUID
	State State
	// Err is what is wrong with us, if that is the reason: for the log, and
	// never for the asker.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// away tells the asker that what we rest on does not answer. Nothing was done.
func away(err error) error {
	if errors.Is(err, context.Canceled) {
		return err // the asker has gone
	}
	return &Error{
		Code: Unavailable, Err: err, RetryAfter: 10 * time.Second,
		Message: "We cannot do that at the moment. Please try again in a minute.",
	}
}
