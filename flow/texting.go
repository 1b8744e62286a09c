package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// What is done about a text that did not leave.
const (
	// SettleWait is how long a text of unknown outcome is left alone: Twilio's
	// lists and receipts take a moment to show it.
	SettleWait = 10 * time.Second
	// MaxUnknown bounds the attempts at one message that may have reached
	// Twilio: after that many it is looked for, and not sent again.
	MaxUnknown = 3
)

// Text renders m just before it is sent, if it is still worth sending: its
// order open, on that number, and waiting for that very PIN. If not, the row
// is settled as [Dropped] and Text fails with [ErrDropped]; while no text may
// leave, m waits and Text fails with [ErrPutOff]. A PIN that expired before it
// could leave is replaced by a new one, if the guard allows it.
func (d *Desk) Text(ctx context.Context, m Message) (Text, error) {
	// What is in the cache must not have a number texted that was changed away:
	// by another process, or by a save whose outcome nobody was told.
	load := d.Ledger.Reload
	if d.Alone && m.Attempt == 1 && d.now().Sub(m.Created).Abs() <= time.Second {
		load = d.Ledger.Line
	}
	lines, err := d.load(ctx, load, []LineID{m.Line})
	if err != nil {
		return Text{}, err
	}
	l, now := &lines[0], d.now()
	c := l.Find(m.Order)
	switch {
	case !worth(l, c, m):
		return Text{}, d.drop(ctx, m)
	case !c.Live(now):
		return Text{}, d.expire(ctx, m)
	}
	if wait := d.breakers.wait(m.Line.Number, now); wait > 0 {
		return Text{}, d.putOff(ctx, m, now.Add(wait))
	}
	body, err := d.body(m, c)
	if err != nil {
		return Text{}, fmt.Errorf("render %s: %w", m.Kind, err)
	}
	return Text{Message: m.ID, To: m.Line.Number, Body: body, ValidFor: c.Serial.Expires.Sub(now)}, nil
}

// body is what m says.
func (d *Desk) body(m Message, c *Conversation) (string, error) {
	return d.Texts.Say(m.Kind, m.Locale, Values{
		Shop: d.Rules.Shop, Order: m.Named.Reference, Amount: m.Named.Amount,
		PIN: c.pin, Host: d.Rules.Host, Length: c.Serial.Length,
	})
}

// worth reports whether m is still about where its order stands.
func worth(l *Line, c *Conversation, m Message) bool {
	// Of several texts of one PIN that had to wait, the last is enough; but one
	// that may be on its way already is looked after.
	overtaken := c != nil && c.Message != m.ID && m.Unknown == 0
	return c != nil && !overtaken && c.State.Open() && c.State != Locked && c.Serial.N == m.Serial &&
		c.Proved.IsZero() && l.OptedOut.IsZero()
}

// putOff gives m back, to be taken again at due.
func (d *Desk) putOff(ctx context.Context, m Message, due time.Time) error {
	err := d.Ledger.Save(ctx, Change{Settle: &Settlement{
		Message: m.ID, Attempt: m.Attempt, State: Waiting, Due: due, Unknown: m.Unknown, Attempted: m.Attempted,
	}})
	d.awaited.tell(m)
	if err != nil {
		return err
	}
	d.Log.InfoContext(ctx, "text put off", "message", m.ID, "order", m.Order, "attempt", m.Attempt, "until", due)
	return ErrPutOff
}

// drop settles m as not worth sending.
func (d *Desk) drop(ctx context.Context, m Message) error {
	err := d.Ledger.Save(ctx, Change{Settle: &Settlement{Message: m.ID, Attempt: m.Attempt, State: Dropped}})
	if err != nil {
		return err
	}
	d.dropped(ctx, m)
	d.awaited.tell(m)
	return ErrDropped
}

// dropped tells of a text that is not sent.
func (d *Desk) dropped(ctx context.Context, m Message) {
	d.Watcher.Texted(m.Kind, Dropped, 0, m.Line.Number.Country(), 0)
	d.Log.InfoContext(ctx, "text dropped", "message", m.ID, "order", m.Order, "attempt", m.Attempt)
}

// expire drops m, whose PIN has expired, and issues a new one in its place.
func (d *Desk) expire(ctx context.Context, m Message) error {
	err := d.change(ctx, Self, func(t *turn) error {
		t.change.Settle = &Settlement{Message: m.ID, Attempt: m.Attempt, State: Dropped}
		t.tells(func() { t.dropped(ctx, m) })
		l := &t.lines[0]
		c := l.Find(m.Order)
		if !worth(l, c, m) || c.Live(t.now) || !t.now.Before(c.Deadline) {
			return nil
		}
		if r := t.refusal(l, c, true); r.Reason != "" {
			t.held(l, c, r)
			t.undelivered(l, c, ClassExpired)
			return nil
		}
		t.happens(l, c, Renewed, "the PIN expired before its text could leave")
		return nil
	}, m.Line)
	d.awaited.tell(m)
	if err != nil {
		return err
	}
	return ErrDropped
}

// Sent settles what became of a try to text m. It touches the message's row
// alone, unless the outcome changes the conversation. It fails with [ErrStale]
// if the lease was lost, and with [ErrClaimed] if the sid that was found is
// another message's.
func (d *Desk) Sent(ctx context.Context, m Message, s Sent) (err error) {
	defer func() {
		if err == nil || errors.Is(err, ErrStale) { // else it will be settled yet
			d.awaited.tell(m)
		}
	}()
	if s.Err == nil {
		settle := &Settlement{Message: m.ID, Attempt: m.Attempt, State: Accepted, SID: s.SID, Adopted: s.Adopted}
		if !s.Adopted {
			// Twilio has it, whatever becomes of our row. Who waits for Twilio's
			// answer has it now, and not a commit later.
			taken := m
			taken.State, taken.SID = Accepted, s.SID
			d.awaited.tell(taken)
		}
		err = d.Ledger.Save(ctx, Change{Settle: settle})
		overtaken := errors.Is(err, ErrStale) && d.overtaken(ctx, m, s)
		if overtaken {
			err = nil
		}
		if err != nil {
			return err
		}
		m.State, m.SID = Accepted, s.SID
		if !overtaken { // by a receipt, which knows more of the text than we do
			d.lately.text(m)
		}
		country := m.Line.Number.Country()
		d.breakers.close(country, d.now())
		d.Watcher.Texted(m.Kind, Accepted, s.Segments, country, s.Took)
		d.Log.InfoContext(ctx, "text taken", "message", m.ID, "order", m.Order, "kind", m.Kind, "attempt", m.Attempt,
			"sid", s.SID, "found", s.Adopted, "segments", s.Segments, "took", s.Took)
		d.followers.wake(m.Order)
		return nil
	}

	failed, now := s.failure(), d.now()
	settle, action := settlement(m, s, failed, now)
	if action == ActionHold {
		wait := d.trip(m, failed.Class, now)
		if settle.State == Waiting {
			settle.Due = now.Add(wait)
		}
	}
	if settle.State == Failed {
		err = d.fail(ctx, m, settle, failed.Class)
	} else {
		err = d.Ledger.Save(ctx, Change{Settle: &settle})
	}
	if err != nil {
		return err
	}
	d.Log.WarnContext(ctx, "text not taken", "message", m.ID, "order", m.Order, "attempt", m.Attempt,
		"class", failed.Class, "code", failed.Code, "action", action, "took", s.Took, "err", failed.Err)
	d.Watcher.Texted(m.Kind, settle.State, 0, m.Line.Number.Country(), s.Took)
	d.Watcher.TextFailed(failed.Class, action)
	return nil
}

// trip opens the breaker that an error of that class is about.
func (d *Desk) trip(m Message, class Class, now time.Time) time.Duration {
	key := ""
	if class == ClassCountry {
		key = m.Line.Number.Country()
	}
	return d.breakers.trip(key, now)
}

// overtaken reports whether a receipt of that very text was faster than the
// answer to our POST, and has settled it.
func (d *Desk) overtaken(ctx context.Context, m Message, s Sent) bool {
	now, err := d.Ledger.Message(ctx, m.ID)
	return err == nil && now.State == Accepted && now.SID == s.SID && now.Attempt == m.Attempt
}

// settlement decides what is done about a text that was not, or perhaps not,
// taken. What was certainly not taken may be tried until its PIN expires.
func settlement(m Message, s Sent, e *SendError, now time.Time) (Settlement, Action) {
	settle := Settlement{
		Message: m.ID, Attempt: m.Attempt, State: Waiting, Code: e.Code,
		Unknown: m.Unknown, Attempted: m.Attempted,
	}
	switch e.Class {
	case ClassUnknown:
		if s.Lost {
			settle.State = Failed
			return settle, ActionUnreachable
		}
		if s.Posted {
			settle.Unknown++
		}
		settle.Attempted = s.Began
		settle.Due = now.Add(SettleWait)
		return settle, ActionReconcile
	case ClassRetry:
		settle.Due = now.Add(backoff(m.Attempt, e.RetryAfter))
		return settle, ActionRetry
	case ClassConfig:
		return settle, ActionHold
	case ClassCountry:
		// That one will not be mended in time for this customer.
		settle.State = Failed
		return settle, ActionHold
	case ClassOptedOut:
		settle.State = Failed
		return settle, ActionOptOut
	default:
		settle.State = Failed
		return settle, ActionUnreachable
	}
}

// backoff is how long to wait before the next attempt: what was asked for, or
// twice as long each time, from a second to two minutes, and a random part of
// that, so that what failed together does not return together.
func backoff(attempt int, asked time.Duration) time.Duration {
	wait := min(time.Second<<min(attempt-1, 7), 2*time.Minute)
	wait = wait/2 + rand.N(wait) //nolint:gosec // jitter is no secret
	return max(wait, asked)
}

// fail settles m as failed, and makes its order unreachable.
func (d *Desk) fail(ctx context.Context, m Message, settle Settlement, class Class) error {
	return d.change(ctx, Self, func(t *turn) error {
		t.change.Settle = &settle
		t.bounced(&t.lines[0], m, class)
		return nil
	}, m.Line)
}

// bounced acts on a text that will not arrive.
func (t *turn) bounced(l *Line, m Message, class Class) {
	if class == ClassOptedOut {
		if l.OptedOut.IsZero() {
			l.OptedOut = m.Created // which tells what told us, see arrived
		}
		t.stop(l)
		return
	}
	// The text of a PIN that was replaced, or texted again, says nothing of
	// the one the customer waits for.
	if c := l.Find(m.Order); c != nil && c.State.Open() && c.Message == m.ID && c.Proved.IsZero() {
		t.undelivered(l, c, class)
	}
}

func (t *turn) undelivered(l *Line, c *Conversation, class Class) {
	t.happens(l, c, Undelivered, string(class))
	if c.State == Unreachable {
		c.Failure = class
	}
}

// arrived takes back that a text bounced. A carrier's last word may come late,
// and contradict an opt-out that no customer told us of.
func (t *turn) arrived(l *Line, m Message) {
	if !l.OptedOut.IsZero() && l.OptedOut.Equal(m.Created) {
		l.OptedOut = time.Time{}
		t.touch(l)
		for _, c := range l.Open() {
			if c.State == Unreachable && c.Failure == ClassOptedOut {
				t.happens(l, c, Arrived, "")
				c.Failure = ClassNone
			}
		}
	}
	if c := l.Find(m.Order); c != nil && c.State == Unreachable && c.Message == m.ID && l.OptedOut.IsZero() {
		t.happens(l, c, Arrived, "")
		c.Failure = ClassNone
	}
}

// Receipt notes what a status callback tells. One of a text that is not ours,
// or not known yet, is kept all the same.
//
// Two that contradict each other may come in the same instant. So each, once it
// is written, looks at what the other may have done meanwhile: a bad one at the
// text, a good one at the order. Who died or failed between the two looks when
// the receipt is told again.
func (d *Desk) Receipt(ctx context.Context, r Receipt) error {
	r.At = d.now()
	m, err := d.received(ctx, r)
	if errors.Is(err, ErrNotFound) {
		d.Log.InfoContext(ctx, "receipt of no text we know", "sid", r.SID, "status", r.Status, "code", r.Code)
		return d.Ledger.Save(ctx, Change{Receipt: &r})
	}
	if err != nil {
		return err
	}
	r.Message = m.ID
	moves := r.Status.Rank() > m.Status.Rank()
	switch {
	case moves && r.Status.Bad():
		class := cmp.Or(d.Sender.Class(r.Code), ClassCarrier)
		err = d.receive(ctx, r, m, func(t *turn) { t.bounced(&t.lines[0], m, class) })
		action := ActionUnreachable
		if class == ClassOptedOut {
			action = ActionOptOut
		}
		if err == nil {
			d.Watcher.TextFailed(class, action)
			err = d.contradicted(ctx, m)
		}
	case moves && m.Status.Bad():
		err = d.receive(ctx, r, m, func(t *turn) { t.arrived(&t.lines[0], m) })
	default:
		err = d.Ledger.Save(ctx, Change{Receipt: &r})
		// Of one that is no news, the first telling may have got no further.
		if err == nil && (r.Status.Arrived() || r.Status.Bad() && m.Status.Arrived()) {
			err = d.reopen(ctx, m)
		}
	}
	if err != nil {
		d.lately.forget(m.ID)
		return err
	}
	if m.State == Waiting && m.Unknown > 0 {
		// Nobody else will tell that it was taken.
		d.Watcher.Texted(m.Kind, Accepted, d.segments(ctx, m), m.Line.Number.Country(), 0)
	}
	if moves {
		d.lately.received(m, r.Status)
		d.Watcher.Received(r.Status, r.At.Sub(m.Created))
	}
	d.Log.InfoContext(ctx, "receipt", "message", m.ID, "order", m.Order, "sid", r.SID,
		"status", r.Status, "code", r.Code, "news", moves)
	d.awaited.tell(Message{ID: m.ID}) // which says no more than: look
	d.followers.wake(m.Order)
	return nil
}

// contradicted opens m's order again if a receipt has just said that m got
// there, while a bad one was written.
func (d *Desk) contradicted(ctx context.Context, m Message) error {
	now, err := d.Ledger.Message(ctx, m.ID)
	if err != nil || !now.Status.Arrived() {
		return err
	}
	return d.reopen(ctx, m)
}

// reopen opens m's order again if it is unreachable for want of m.
func (d *Desk) reopen(ctx context.Context, m Message) error {
	load := d.Ledger.Reload // for another process may have had the other receipt
	if d.Alone {
		load = d.Ledger.Line
	}
	lines, err := d.load(ctx, load, []LineID{m.Line})
	if err != nil {
		return err
	}
	if c := lines[0].Find(m.Order); c == nil || c.State != Unreachable || c.Message != m.ID {
		return nil
	}
	return d.change(ctx, Self, func(t *turn) error {
		t.arrived(&t.lines[0], m)
		return nil
	}, m.Line)
}

// receive saves r, of m, with what follows for the order.
func (d *Desk) receive(ctx context.Context, r Receipt, m Message, follows func(*turn)) error {
	return d.change(ctx, Self, func(t *turn) error {
		t.change.Receipt = &r
		follows(t)
		return nil
	}, m.Line)
}

// segments is what m was billed as; 0 if that cannot be told any more.
func (d *Desk) segments(ctx context.Context, m Message) int {
	lines, err := d.load(ctx, d.Ledger.Line, []LineID{m.Line})
	if err != nil {
		return 0
	}
	c := lines[0].Find(m.Order)
	if c == nil || c.Serial.N != m.Serial {
		return 0
	}
	body, err := d.body(m, c)
	if err != nil {
		return 0
	}
	n, _ := Segments(body)
	return n
}

// received finds the message that a receipt is of.
func (d *Desk) received(ctx context.Context, r Receipt) (Message, error) {
	if r.Message != uuid.Nil {
		if m, ok := d.lately.message(r.Message); ok {
			return m, nil
		}
		return d.Ledger.Message(ctx, r.Message)
	}
	// Twilio keeps a text queued for ten hours at most; receipts may be late.
	return d.Ledger.MessageBySID(ctx, r.SID, r.At.Add(-2*day))
}
