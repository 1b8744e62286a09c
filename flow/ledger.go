package flow

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// A Ledger remembers lines, the conversations that hang on them, the texts to
// be sent and the texts received. The conformance suite is
// [github.com/countersign/countersign/flow/flowtest.TestLedger].
//
// All times that it is given are UTC, in whole milliseconds, and come back so.
// A message's id is a UUIDv7 of the time it was Created: by that a ledger finds
// recent ones without an index.
type Ledger interface {
	// Records are for ops; the desk asks nothing of them.
	Records

	// Line returns the line with its open conversations and its topic's. A
	// line never saved has Version 0. It may be stale, from a cache: what it
	// leads to is checked by Save.
	Line(ctx context.Context, id LineID) (Line, error)
	// Reload is Line, but as committed, past any cache.
	Reload(ctx context.Context, id LineID) (Line, error)
	// Lines returns each of these lines as committed, in their order. No cache
	// keeps them: it is for who goes through lines that nobody has asked for.
	Lines(ctx context.Context, ids []LineID) ([]Line, error)
	// Conversation returns an order in any state, as committed.
	// It fails with ErrNotFound.
	Conversation(ctx context.Context, order uuid.UUID) (Conversation, error)
	// Message returns one of our texts by its id, as committed.
	// It fails with ErrNotFound.
	Message(ctx context.Context, id uuid.UUID) (Message, error)
	// MessageBySID returns the text that Twilio knows by sid among those
	// written after since. It fails with ErrNotFound.
	MessageBySID(ctx context.Context, sid string, since time.Time) (Message, error)
	// Heard returns a text of a number's, by its MessageSid, with its first
	// answer. The number says where to look; a ledger that need not know takes
	// no notice of it. It fails with ErrNotFound.
	Heard(ctx context.Context, from Number, sid string) (Inbound, error)

	// Save writes ch in one transaction, all of it or nothing, and returns
	// after the commit. In this order of precedence it fails, and then writes
	// nothing, with
	//   - ErrHeard if ch.Inbound's MessageSid is known already,
	//   - ErrStale if a line was changed since it was loaded, a line of
	//     Version 0 exists by now, or the settled message is no longer under
	//     the lease that ch.Settle names,
	//   - ErrClaimed if ch.Settle adopts a sid that is another message's,
	//   - ErrSpent if a total would go over its limit.
	// Saved lines have their version, plus one. If ctx ends before the save
	// has begun, nothing is written; once begun, the outcome is told.
	Save(ctx context.Context, ch Change) error

	// Take leases up to limit messages whose Due is not after now until the
	// given time, oldest due first, and returns them with Attempt counted up
	// and Unknown too if their lease had expired, all else as it was. No two
	// takers get the same.
	Take(ctx context.Context, now, until time.Time, limit int) ([]Message, error)
	// Lapsing returns lines (at most limit) that have an open conversation
	// whose Deadline is not after now, those of the soonest first; of many with
	// the same it may be any. It returns none only if there are none.
	Lapsing(ctx context.Context, now time.Time, limit int) ([]LineID, error)
	// Census counts what the database holds.
	Census(ctx context.Context, now time.Time) (Census, error)
	// Ping reports whether the database answers and can be written.
	Ping(ctx context.Context) error
	Close() error
}

// What Save may refuse; the loaded line is out of date, or what was to be
// spent is gone.
var (
	ErrStale    = errors.New("changed since it was loaded")
	ErrHeard    = errors.New("this text was answered before")
	ErrClaimed  = errors.New("the sid is another message's")
	ErrSpent    = errors.New("the total is spent")
	ErrNotFound = errors.New("not found")
)

// A Change is what is written together.
type Change struct {
	// Lines as they shall be, with the Version they were loaded with. Their
	// Conversations are written too: each that is listed replaces its row or
	// makes it. One that moved to another line is listed on that line only,
	// and both are saved. A change that leaves an open conversation out of its
	// line, or takes one from a line that is not saved with it, is refused.
	Lines []Line
	// Messages are new.
	Messages []Message
	// Settle is what became of a message, if anything did.
	Settle *Settlement
	// Inbound is the text that asked for the change, if one did. Its line is
	// one of Lines. A MessageSid is one number's: whether another has texted it,
	// a ledger need not know.
	Inbound *Inbound
	// Receipt moves its message's Status up, never down, and is kept in any
	// case, of an unknown message too. One for a message whose outcome was
	// open (Leased, or Waiting with Unknown attempts) settles it as Accepted, and one
	// with the first SID we hear of tells it. Without Message it moves nothing.
	Receipt *Receipt
	// Events are appended to the orders' histories. One of an order that is
	// neither there nor saved with it, which only a bug can ask for, a ledger
	// may refuse: PostgreSQL's keeps it, as it would have to look for each
	// event's order in every save.
	Events []Happening
	// Spend is taken from totals that all lines share.
	Spend []Spend
}

// Validate fails if ch is what only a bug can ask for, whatever a ledger holds.
// Save asks it first.
func (ch Change) Validate() error {
	in := ch.Inbound
	if in != nil && !slices.ContainsFunc(ch.Lines, func(l Line) bool { return l.LineID == in.Line }) {
		return errors.New("a text is heard without its line")
	}
	return nil
}

// Empty reports that there is nothing to write.
func (ch Change) Empty() bool {
	return len(ch.Lines) == 0 && len(ch.Messages) == 0 && ch.Settle == nil &&
		ch.Inbound == nil && ch.Receipt == nil && len(ch.Events) == 0 && len(ch.Spend) == 0
}

// A Happening is one entry of an order's history.
type Happening struct {
	Order    uuid.UUID
	At       time.Time
	Event    Event
	From, To State
	Channel  Channel
	// Note says more for ops, from our own words: never a PIN or a number.
	Note string
}

// A Spend takes N from the total of that name, which may not go over Limit.
type Spend struct {
	Total string // such as texts/2026-11-23
	N     int
	Limit int
}

// A Census counts what the database holds.
type Census struct {
	// Open counts orders by open state, those without any too.
	Open map[State]int
	// Outbox counts messages that are Leased or Waiting, likewise.
	Outbox map[MessageState]int
	// OldestDue is the earliest Due of those; zero if there are none.
	OldestDue time.Time
}
