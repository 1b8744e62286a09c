package flow

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Records are what a [Ledger] knows beyond what the desk needs: what ops looks
// at, of orders in any state. They are read rarely and beside the desk's work,
// so no index is kept for their sake where ids, which are ordered by time, will
// do; instead each read is bounded in what it looks at. The conformance suite
// is [github.com/countersign/countersign/flow/flowtest.TestRecords].
type Records interface {
	// Orders lists orders, newest first.
	Orders(ctx context.Context, s Search) (Page[Conversation], error)
	// Timeline returns all that is known of an order.
	// It fails with ErrNotFound.
	Timeline(ctx context.Context, order uuid.UUID) (Timeline, error)
	// Outbox lists up to limit messages that are Leased or Waiting, soonest
	// due first.
	Outbox(ctx context.Context, limit int) ([]Message, error)
	// Failing lists messages that are [Message.Failing], newest first.
	Failing(ctx context.Context, s Search) (Page[Message], error)
	// Failures counts messages that are Failing by their code, most first,
	// among the newest depth that were created not before since.
	Failures(ctx context.Context, since time.Time, depth int) ([]Failure, error)
	// Steps counts what happened to orders made not before since, among the
	// newest depth events of those, in no order.
	Steps(ctx context.Context, since time.Time, depth int) ([]Step, error)
	// Hurry makes a message due at now that is Waiting to be due later, and
	// whose outcome is not unknown. It fails with ErrStale if it is not.
	Hurry(ctx context.Context, message uuid.UUID, now time.Time) error
}

// A Search says which rows to list. What is zero does not matter.
type Search struct {
	State     State
	Number    Number
	Reference string // in any case
	Code      int    // Twilio's, of messages; NoCode for those without one
	// Before is a row's id: only older ones are listed.
	Before uuid.UUID
	// Limit bounds what is listed, and Depth what is looked at; 0 is
	// [SearchLimit] and [SearchDepth].
	Limit, Depth int
}

// What a search lists and looks at, by default.
const (
	SearchLimit = 50
	SearchDepth = 100_000
)

// NoCode searches for messages that fail without a code of Twilio's.
const NoCode = -1

// A Page is what a search found, as far as it went.
type Page[T any] struct {
	Rows []T
	// Next is what the following search is to be Before; nil if nothing is
	// older. There may be more to find although nothing was found here.
	Next uuid.UUID
}

// TimelineLimit bounds each list of a [Timeline]. Of more, the newest count.
const TimelineLimit = 1000

// After an order's end its customer may still text about it; see [Line.Topic].
const afterwards = day

// A Timeline is all that is known of an order. Each list is oldest first.
type Timeline struct {
	Order Conversation
	// Events are its history.
	Events []Happening
	// Texts are those that its events had written. They bear the same
	// millisecond, by which they are found.
	Texts []Message
	// Receipts are those of Texts.
	Receipts []Receipt
	// Replies are the texts from the order's numbers that came in its time,
	// see [Conversation.Span], and were not about another order.
	Replies []Inbound
}

// Span is when texts may come that are about c: from its making until a day
// after its end. To is zero while c is open.
func (c *Conversation) Span() (from, to time.Time) {
	if !c.Ended.IsZero() && !c.State.Open() {
		to = c.Ended.Add(afterwards)
	}
	return c.Created, to
}

// Texts reports that h had a text written.
func (h Happening) Texts() bool {
	return slices.Contains(Confirmation.Next(h.From, h.Event).Effects, TextPIN)
}

// Failing reports that m has met an error that it has not got over: it was
// refused, did not arrive, waits to be tried again after an error, or its
// outcome is unknown.
func (m Message) Failing() bool {
	return m.State == Failed || m.State != Dropped && (m.Code != 0 || m.Unknown > 0) || m.Status.Bad()
}

// A Failure is how often messages met an error.
type Failure struct {
	Code int // Twilio's, 0 if it gave none
	N    int
	Last time.Time // when the newest of them was created
}

// A Step is how often an event took orders from one state to another.
type Step struct {
	From, To State
	Event    Event
	N        int
}
