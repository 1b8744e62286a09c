package flow

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Moment is one line of a timeline, in words for ops. It holds no number and
// no PIN.
type Moment struct {
	At time.Time
	// By is whose doing it was.
	By   string
	What string
	// Note says more; often empty.
	Note string
	// Code is Twilio's error code, 0 for none.
	Code int
}

// Moments tells t in the order in which it happened.
func (t Timeline) Moments() []Moment {
	var all []Moment
	// Of one millisecond, the cause comes first: stable sorting keeps it there.
	for _, in := range t.Replies {
		m := Moment{At: in.At, By: "customer", What: "texted; read as " + string(in.Read), Note: "not answered"}
		if in.Reply != "" {
			m.Note = "answered: " + in.Reply
		}
		all = append(all, m)
	}
	for _, r := range t.Receipts {
		all = append(all, Moment{At: r.At, By: "Twilio", What: "receipt: " + string(r.Status), Note: r.SID, Code: r.Code})
	}
	for _, h := range t.Events {
		what := cmp.Or(happened[h.Event], string(h.Event))
		if h.From != h.To {
			what += fmt.Sprintf(": %s → %s", h.From, h.To)
		}
		all = append(all, Moment{At: h.At, By: cmp.Or(by[h.Channel], string(h.Channel)), What: what, Note: h.Note})
	}
	for _, m := range t.Texts {
		all = append(all, Moment{At: m.Created, By: "us", What: fmt.Sprintf("text of PIN %d: %s", m.Serial, m.Progress()), Note: m.SID, Code: m.Code})
	}
	slices.SortStableFunc(all, func(a, b Moment) int { return a.At.Compare(b.At) })
	return all
}

// by says whose doing an event was.
var by = map[Channel]string{Web: "customer, on the page", Reply: "customer, by text", Ops: "ops, by hand", Self: "by itself"}

// happened says what an event was.
var happened = map[Event]string{
	Ordered: "asked for a PIN", Again: "the PIN again", Renewed: "a new PIN", Moved: "another number",
	Withheld: "a number that opted out: not texted", Held: "the guard refused a text",
	Matched: "the right PIN", Proved: "the right PIN, before the form was complete",
	Missed: "a wrong PIN", Spent: "a wrong PIN, the last try by this road", LastMiss: "a wrong PIN, the last try of all",
	Barred: "a PIN without a try left: not compared", Late: "a PIN after its time",
	Refused: "declined", Undelivered: "the text did not get there", Arrived: "the text got there after all",
	Stopped: "opted out", Started: "opted in again", Lapse: "nobody answered in time",
}

// Progress says how far m has got, in words for ops.
func (m Message) Progress() string {
	at := m.Due.Format(time.TimeOnly)
	switch {
	case m.State == Leased && m.Attempt > 1:
		return fmt.Sprintf("try %d is under way, until %s", m.Attempt, at)
	case m.State == Leased:
		return "under way, until " + at
	case m.State == Waiting && m.Unknown > 0:
		return fmt.Sprintf("outcome unknown after try %d, to be looked for at %s", m.Attempt, at)
	case m.State == Waiting:
		return fmt.Sprintf("try %d failed, the next is at %s", m.Attempt, at)
	case m.State == Failed:
		return "failed: Twilio will not have it"
	case m.State == Dropped:
		return "dropped: no longer worth sending"
	case m.Status != StatusNone:
		return string(m.Status)
	default:
		return "taken by Twilio"
	}
}
