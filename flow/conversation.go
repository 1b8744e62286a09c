package flow

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// A Conversation is about one order: from the first PIN to its end. It hangs
// on a [Line] and changes only under that line's version.
type Conversation struct {
	// ID is the order's, a UUIDv7: time-ordered, so that new rows lie together.
	ID   uuid.UUID
	Line LineID
	// Browser asked for the PIN; the web road is bound to it.
	Browser Browser
	State   State
	Named   Named
	// Entries are what the order form held, in its order.
	Entries []Entry
	// Complete reports that nothing is missing from the form, so that a reply
	// may confirm the order by itself.
	Complete bool
	// Proved is when a reply gave the PIN before the form was complete.
	Proved time.Time
	// Serial is the PIN in force.
	Serial Serial
	// Misses counts wrong PINs typed into the page for this serial.
	Misses int
	// Texted is when the latest text of the PIN was written; zero before.
	Texted time.Time
	// Message is that text; nil before.
	Message uuid.UUID
	// Failure is the class of the error that made the order unreachable.
	Failure Class
	Created time.Time
	// Deadline is when the order lapses if nobody answers.
	Deadline time.Time
	// Ended is when it was confirmed, declined or lapsed; zero while open.
	Ended time.Time

	// Unchanged says, in a [Change], that the order is as it was loaded under
	// its line's version: a ledger may spare itself the writing.
	Unchanged bool

	// pin is the serial's PIN, derived and never stored.
	pin PIN
}

// owned reports whether it was b that asked for the PIN.
func (c *Conversation) owned(b Browser) bool { return c.Browser == b && b != Browser{} }

// Format prints which order c is and where it stands. It hides the PIN, which
// fmt would find in an unexported field, and what the customer filled in.
func (c Conversation) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "order %s (%s)", c.ID, c.State)
}

// Named is what a text may name of an order, and so what its PIN vouches for.
// Nothing a visitor types is in it.
type Named struct {
	// Reference is minted by us, or given by the shop.
	Reference string
	// Amount is as the shop writes it, with its currency; often empty.
	Amount string
}

// An Entry is one field of the order form as it was filled in.
type Entry struct {
	Field string `json:"f"`
	Value string `json:"v"`
}

// Browser is the random id that a browser's cookie carries; zero for none.
type Browser [16]byte

// A Serial is one PIN's issue: all that is kept of it. The digits are derived
// from it by [Keyring.PIN] and never stored.
type Serial struct {
	// N is HOTP's counter, from 1 upwards; 0 before the first PIN.
	N int64
	// Key is the id of the secret key; see [Key.ID].
	Key string
	// Length is the number of digits.
	Length int
	// Named are the values that the PIN was derived from.
	Named Named
	// Expires is the sooner of the PIN's and the order's deadline.
	Expires time.Time
}

// Expired reports whether the serial is no longer good at now.
func (s Serial) Expired(now time.Time) bool { return !now.Before(s.Expires) }
