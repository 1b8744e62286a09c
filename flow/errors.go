package flow

import (
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
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }
