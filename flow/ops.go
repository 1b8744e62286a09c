package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// What ops does by hand goes the road of everybody else: the same turns, table
// and guard, on the channel [Ops].

// Held notes on an order's history that a text was asked for and the guard
// refused it; the note says why. It is never an event of the table: nothing
// changes by it.
const Held Event = "held"

// ResendFor texts an order's PIN again, or a new one where the old one is no
// more good. What the guard refuses is noted on the order.
func (d *Desk) ResendFor(ctx context.Context, order uuid.UUID) error {
	err := d.byHand(ctx, order, func(t *turn, l *Line, c *Conversation) error {
		if !c.Proved.IsZero() {
			return &Error{Code: Conflict, Message: "A reply has proved the number: the page is to finish the order, and there is nothing left to text for."}
		}
		if r := t.textAgain(l, c); r.Reason != "" {
			return refused(r)
		}
		return nil
	})
	var e *Error
	if errors.As(err, &e) && e.Reason != "" {
		c, noted := d.Ledger.Conversation(ctx, order)
		if noted == nil {
			noted = d.Ledger.Save(ctx, Change{Events: []Happening{held(&c, Ops, Refusal{e.Reason, e.RetryAfter}, d.now())}})
		}
		if noted != nil {
			return fmt.Errorf("note that the guard refused: %w", noted)
		}
	}
	return err
}

// DeclineFor ends an order. Its customer is not texted.
func (d *Desk) DeclineFor(ctx context.Context, order uuid.UUID) error {
	return d.byHand(ctx, order, func(t *turn, l *Line, c *Conversation) error {
		t.happens(l, c, Refused, "")
		return nil
	})
}

// byHand changes an open order, whoever asked for it.
func (d *Desk) byHand(ctx context.Context, order uuid.UUID, ask func(*turn, *Line, *Conversation) error) error {
	return d.onItsLine(ctx, Ops, func() (Conversation, error) {
		c, err := d.Ledger.Conversation(ctx, order)
		if errors.Is(err, ErrNotFound) {
			err = errNotFound
		}
		return c, err
	}, "", ask)
}

// held is the note that the guard refused a text about c.
func held(c *Conversation, ch Channel, r Refusal, now time.Time) Happening {
	note := string(r.Reason)
	if r.After > 0 {
		note += ", for " + r.After.Round(time.Second).String()
	}
	return Happening{Order: c.ID, At: now, Event: Held, From: c.State, To: c.State, Channel: ch, Note: note}
}

// held notes, with whatever else the turn writes, that the guard refused a
// text about c.
func (t *turn) held(l *Line, c *Conversation, r Refusal) {
	if !t.unanswered(l) {
		t.change.Events = append(t.change.Events, held(c, t.channel, r, t.now))
	}
	t.tells(func() { t.Watcher.Refused(r.Reason) })
}

// An Inspection is where an order stands, as ops may be told.
type Inspection struct {
	Conversation Conversation
	// Line is the one that the order is on.
	Line Line
	// Live reports that the PIN is issued, not expired, and its key is there.
	Live bool
	// WebTries and ReplyTries are left for this PIN.
	WebTries, ReplyTries int
	// Refusal is what the guard would say to a resend now, but for the day's
	// ceiling, which is known once a text is written; zero if it would let pass,
	// or there is nothing to resend.
	Refusal Refusal
}

// Inspect tells where an order stands, whoever asked for it.
func (d *Desk) Inspect(ctx context.Context, order uuid.UUID) (Inspection, error) {
	c, err := d.Ledger.Conversation(ctx, order)
	if errors.Is(err, ErrNotFound) {
		return Inspection{}, errNotFound
	} else if err != nil {
		return Inspection{}, err
	}
	lines, err := d.load(ctx, d.Ledger.Reload, []LineID{c.Line})
	if err != nil {
		return Inspection{}, err
	}
	t := &turn{Desk: d, now: d.now(), channel: Ops, lines: lines, touched: make([]bool, 1)}
	i := Inspection{Conversation: c, Line: lines[0].Clone()}
	if on := lines[0].Find(order); on != nil && on.State.Open() {
		i.Conversation, i.Live = *on, on.Live(t.now)
		i.WebTries, i.ReplyTries = triesLeft(&lines[0], on, Web), triesLeft(&lines[0], on, Reply)
		if on.Proved.IsZero() {
			i.Refusal = t.textAgain(&lines[0], on) // a rehearsal: this turn is never saved
		}
	}
	return i, nil
}
