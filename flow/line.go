package flow

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// A LineID names a line: a customer's number together with our sender.
type LineID struct {
	Number Number
	// Sender is ours: the E.164 number that texts, or the SID of the
	// Messaging Service that does.
	Sender string
}

// A Line is a customer's number with our sender, and everything that changes
// only under its version: the opt-out, what was texted and missed, and the
// conversations that hang on it.
//
// A Line is a value: [Ledger.Line] hands out a copy, and a changed copy becomes
// true only when [Ledger.Save] takes it.
type Line struct {
	LineID
	// Version counts the saves of the line; 0 before the first.
	Version int64
	// OptedOut is when the customer told us to stop; zero if they did not, or
	// took it back. If it is Twilio that told us, by refusing a text, it is when
	// that text was created.
	OptedOut time.Time
	// Misses counts the wrong PINs given by reply since the newest serial on
	// this line. It is the line's, since a wrong PIN names no order.
	Misses int
	// Hints counts the texts in a row of which we could make nothing.
	Hints int
	// Texts, Serials and Answers are when we last texted a PIN, issued a new
	// serial, and answered by TwiML; as many as the longest ceiling asks for.
	Texts, Serials, Answers Recent
	// Topic is the order that a bare NO or NEW speaks of although it has
	// ended: the one a reply just confirmed. Nil once a PIN is texted again.
	Topic uuid.UUID
	// Conversations are the open ones, oldest first, and after them the Topic's.
	Conversations []Conversation

	country string // see Country
}

// Country is [Number.Country] of l's, which l remembers.
func (l *Line) Country() string {
	if l.country == "" {
		l.country = l.Number.Country()
	}
	return l.country
}

// Clone returns a copy that shares nothing with l.
func (l Line) Clone() Line {
	l.Texts = slices.Clone(l.Texts)
	l.Serials = slices.Clone(l.Serials)
	l.Answers = slices.Clone(l.Answers)
	l.Conversations = slices.Clone(l.Conversations)
	for i := range l.Conversations {
		l.Conversations[i].Entries = slices.Clone(l.Conversations[i].Entries)
	}
	return l
}

// Find returns the conversation with that id, for changing in place, or nil.
func (l *Line) Find(order uuid.UUID) *Conversation {
	for i := range l.Conversations {
		if l.Conversations[i].ID == order {
			return &l.Conversations[i]
		}
	}
	return nil
}

// Open returns the open conversations, oldest first, for changing in place.
func (l *Line) Open() []*Conversation {
	var open []*Conversation
	for i := range l.Conversations {
		if l.Conversations[i].State.Open() {
			open = append(open, &l.Conversations[i])
		}
	}
	return open
}

// Recent holds when something last happened, oldest first.
type Recent []time.Time

// Since counts what happened after t.
func (r Recent) Since(t time.Time) int {
	n := 0
	for _, at := range r {
		if at.After(t) {
			n++
		}
	}
	return n
}

// Add returns r with now added, and what is older than keep left out.
func (r Recent) Add(now time.Time, keep time.Duration) Recent {
	kept := make(Recent, 0, len(r)+1)
	for _, at := range r {
		if at.After(now.Add(-keep)) {
			kept = append(kept, at)
		}
	}
	return append(kept, now)
}
