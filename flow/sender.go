package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// A Sender hands texts to Twilio. There is one way out, and it is this.
type Sender interface {
	// Send hands t to Twilio once, and returns its MessageSid. It does not
	// try again by itself. What fails is a *[SendError].
	Send(ctx context.Context, t Text) (sid string, err error)
	// Find lists what Twilio took for t.To from our sender not before since,
	// newest first.
	Find(ctx context.Context, t Text, since time.Time) ([]Found, error)
	// Class sorts an error code that a receipt brought; see facts of the code
	// at https://www.twilio.com/docs/api/errors.
	Class(code int) Class
}

// A Text is a rendered message, about to leave. Nothing keeps it.
type Text struct {
	Message uuid.UUID
	To      Number
	Body    string
	// ValidFor is how long it is worth delivering: what is left of its PIN.
	ValidFor time.Duration
}

// Format names t without what it says.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "text %s to %s", t.Message, t.To)
}

// A Found text is one that Twilio has.
type Found struct {
	SID    string
	Body   string
	Status Status
	At     time.Time
}

// Format names t without what it says.
func (t Found) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "text %s (%s)", t.SID, t.Status) }

// Class sorts Twilio's errors by what is to be done.
type Class string

// The classes, and what follows from each.
const (
	ClassNone     Class = ""
	ClassRetry    Class = "retry"     // never processed: the same again, later
	ClassUnknown  Class = "unknown"   // may have been processed: look before sending again
	ClassNumber   Class = "number"    // this number cannot be texted: permanent
	ClassCarrier  Class = "carrier"   // did not get there, this time: the customer may ask again
	ClassOptedOut Class = "opted_out" // the customer told Twilio to stop
	ClassCountry  Class = "country"   // our account may not text this country
	ClassConfig   Class = "config"    // our account or sender is set up wrong
	ClassFraud    Class = "fraud"     // Twilio suspects pumping, and will for minutes or hours
	ClassExpired  Class = "expired"   // it could not leave while its PIN was good
	ClassBug      Class = "bug"       // we asked for nonsense
)

// Classes are all that a Sender may name.
var Classes = []Class{
	ClassRetry, ClassUnknown, ClassNumber, ClassCarrier, ClassOptedOut,
	ClassCountry, ClassConfig, ClassFraud, ClassExpired, ClassBug,
}

// A SendError is why a text was not taken. Its text holds no number and none
// of Twilio's words, which may hold one.
type SendError struct {
	Class Class
	Code  int // Twilio's, 0 if it gave none
	// RetryAfter is what Twilio asked for; 0 if nothing.
	RetryAfter time.Duration
	Err        error // what happened, free of numbers
}

func (e *SendError) Error() string {
	return fmt.Sprintf("text not taken (%s, code %d): %v", e.Class, e.Code, e.Err)
}

func (e *SendError) Unwrap() error { return e.Err }
