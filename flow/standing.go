package flow

import (
	"time"

	"github.com/google/uuid"
)

// Asking is what Get PIN posts.
type Asking struct {
	Browser Browser
	// Order says which order it is about. Nil means the browser's latest open
	// one for the number, and if there is none, a new one.
	Order uuid.UUID
	// Typed is the mobile number as it was typed; empty is allowed with an
	// Order, whose number then stays.
	Typed string
	// Entries are the form's other fields, which are kept. Nil leaves what was
	// kept before; a field listed replaces the one kept.
	Entries []Entry
}

// Placing is what Place order posts: all of an [Asking], and the PIN.
type Placing struct {
	Asking
	// PIN is as it was typed; empty if the form had none.
	PIN string
}

// Standing is where an order stands, as its browser may be told.
type Standing struct {
	Conversation Conversation
	// Event is what the request was to the conversation; empty for a mere look.
	// Of [Checks], Matched confirmed it, Proved needs the rest of the form, and
	// the others refuse the PIN.
	Event Event
	// Malformed reports that what was given cannot be a PIN, so that nothing
	// was compared and no try was taken.
	Malformed bool
	// Tries are left on the page for this PIN.
	Tries int
	// Live reports that the PIN is issued, not expired, and its key is there.
	Live bool
	// OptedOut reports that the number's owner told us to stop.
	OptedOut bool
	// ResendAfter is how long another text is refused; 0 for not at all.
	ResendAfter time.Duration
	// Text is the latest text of the PIN as far as it got; zero if there is none.
	Text Message
}
