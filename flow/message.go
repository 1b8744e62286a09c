package flow

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// A Message is a text to be sent, and the outbox's row. It freezes what is to
// be said, never the body: that is rendered by [Desk.Text] just before it
// leaves, so that no row ever holds a PIN.
type Message struct {
	ID     uuid.UUID // UUIDv7
	Order  uuid.UUID
	Line   LineID
	Kind   Saying // the text's name in the catalogue
	Serial int64  // the PIN's
	Locale string
	Named  Named

	State MessageState
	// Attempt counts leases, from 1, and is the token of the current one: who
	// holds an older number has lost the row.
	Attempt int
	// Unknown counts the attempts that may have reached Twilio, and of which we
	// know no outcome: look for their text before sending another.
	Unknown int
	// Due is when the lease ends or the next attempt is to be made; zero when
	// nothing more is to be done.
	Due     time.Time
	Created time.Time
	// Attempted is when the first attempt of unknown outcome began; zero if none.
	Attempted time.Time

	// SID is Twilio's MessageSid, once known.
	SID string
	// Status is the furthest that receipts have told.
	Status Status
	// Code is Twilio's error code, 0 for none.
	Code int
}

// MessageState is how far a message has got on its way out of the outbox.
type MessageState string

// The states of a message.
const (
	Leased   MessageState = "leased"   // somebody is texting it, until Due
	Waiting  MessageState = "waiting"  // to be tried again at Due
	Accepted MessageState = "accepted" // Twilio has it
	Failed   MessageState = "failed"   // Twilio will not have it
	Dropped  MessageState = "dropped"  // no longer worth sending
)

// MessageStates are all of them.
var MessageStates = []MessageState{Leased, Waiting, Accepted, Failed, Dropped}

// A Settlement is what became of a leased message. It holds only while that
// lease does: same Attempt, still [Leased].
type Settlement struct {
	Message uuid.UUID
	Attempt int
	State   MessageState
	Unknown int
	// Due is the end of the renewed lease, or the next attempt's time.
	Due time.Time
	// Attempted is kept if it was set before.
	Attempted time.Time
	SID       string
	// Adopted reports that SID was found by looking, not answered to our POST:
	// it must not be another message's already.
	Adopted bool
	Code    int
}

// Status is how far a text has got according to its receipts. Twilio's words:
// https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
type Status string

// The statuses that matter to us. Others are kept as receipts only.
const (
	StatusNone        Status = ""
	StatusAccepted    Status = "accepted"
	StatusScheduled   Status = "scheduled"
	StatusQueued      Status = "queued"
	StatusSending     Status = "sending"
	StatusSent        Status = "sent"
	StatusDelivered   Status = "delivered"
	StatusRead        Status = "read"
	StatusUndelivered Status = "undelivered"
	StatusFailed      Status = "failed"
	StatusCanceled    Status = "canceled"
)

// Statuses are those that receipts are counted by; another counts as "other".
var Statuses = []Status{
	StatusAccepted, StatusScheduled, StatusQueued, StatusSending, StatusSent,
	StatusDelivered, StatusRead, StatusUndelivered, StatusFailed, StatusCanceled,
}

// Rank orders statuses: receipts come in any order, and only a higher one
// replaces a lower, so that the same ones always lead to the same status. Bad
// news yields to good: a carrier that says delivered knows, one that does not
// may have lost track. Words that Twilio may add rank with none.
func (s Status) Rank() int { return slices.Index(ranked[:], s) }

var ranked = [...]Status{
	StatusScheduled, StatusAccepted, StatusQueued, StatusSending, StatusSent,
	StatusCanceled, StatusFailed, StatusUndelivered, StatusDelivered, StatusRead,
}

// Bad reports that the text did not get there.
func (s Status) Bad() bool {
	return s == StatusUndelivered || s == StatusFailed || s == StatusCanceled
}

// Arrived reports that the text got there.
func (s Status) Arrived() bool { return s == StatusDelivered || s == StatusRead }

// A Receipt is what a status callback tells of one of our texts.
type Receipt struct {
	// Message is ours, from the callback's URL; nil if it was not in it.
	Message uuid.UUID
	SID     string
	Status  Status
	Code    int // Twilio's error code, 0 for none
	At      time.Time
}

// An Inbound is a customer's text as we remember it: how it was read and what
// we answered, never what it said.
type Inbound struct {
	SID   string // Twilio's MessageSid: the same text twice has the same
	Line  LineID
	At    time.Time
	Read  Intent    // how it was read
	Order uuid.UUID // what it was about; nil if nothing
	Reply string    // what we answered; empty for silence. Never holds a PIN
}
