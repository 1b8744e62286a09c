package flow

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"
)

// Fields of the order form that errors are about; the shop names the others.
const (
	FieldNumber = "mobile_number"
	FieldPIN    = "pin"
)

var errNotFound = &Error{Code: NotFound, Message: "There is no such order here."}

// Ask issues a PIN for a new order, or texts an open one's again, or moves it
// to another number, and keeps what the form held. It waits up to [Patience]
// for Twilio's first answer.
//
// Asking again while the last text is still on its way is no error and texts
// nothing: it is a double click.
func (d *Desk) Ask(ctx context.Context, a Asking) (Standing, error) {
	if a.Order != uuid.Nil {
		return d.askAgain(ctx, a)
	}
	number, err := d.typed(ctx, a.Typed)
	if err != nil {
		return Standing{}, err
	}
	id := LineID{number, d.Rules.Sender}
	var s Standing
	err = d.change(ctx, Web, func(t *turn) error {
		line := &t.lines[0]
		for _, c := range slices.Backward(line.Open()) {
			if c.Browser == a.Browser {
				return t.again(line, c, a, &s)
			}
		}
		return t.order(line, a, &s)
	}, id)
	if err != nil {
		return Standing{}, err
	}
	return d.settled(ctx, s)
}

// order begins a conversation on line l.
func (t *turn) order(l *Line, a Asking, s *Standing) error {
	c := Conversation{
		ID: newID(t.now), Line: l.LineID, Browser: a.Browser, State: New,
		Named:    Named{Reference: mint(l)},
		Created:  t.now,
		Deadline: t.now.Add(t.Rules.OrderTTL),
	}
	if err := t.fill(l, &c, a.Entries); err != nil {
		return err
	}
	ev := Ordered
	switch r := t.refusal(l, nil, true); r.Reason {
	case "":
	case ReasonOptOut:
		// Kept all the same: START texts it.
		ev, c.Failure = Withheld, ClassOptedOut
		t.tells(func() { t.Watcher.Refused(ReasonOptOut) })
	default:
		return refused(r)
	}
	l.Conversations = append(l.Conversations, c)
	added := &l.Conversations[len(l.Conversations)-1]
	t.happens(l, added, ev, "")
	t.tells(func() { t.lately.settle(added.ID, l.LineID) })
	*s = t.standing(l, added, ev)
	return nil
}

// again keeps the form of an order known already, and texts its PIN again.
func (t *turn) again(l *Line, c *Conversation, a Asking, s *Standing) error {
	if err := t.fill(l, c, a.Entries); err != nil {
		return err
	}
	if !c.Proved.IsZero() {
		// There is nothing left to text for: Place order confirms.
		*s = t.standing(l, c, "")
		return nil
	}
	r := t.textAgain(l, c)
	switch r.Reason {
	case "":
		*s = t.standing(l, c, Again)
	case ReasonOptOut:
		if c.State != Unreachable {
			return refused(r) // locked it stays, until a new PIN can be texted
		}
		*s = t.standing(l, c, "") // which says why
	case ReasonSoon:
		*s = t.standing(l, c, "") // it is on its way
	default:
		return refused(r)
	}
	return nil
}

// askAgain is Ask about an order that the form names.
func (d *Desk) askAgain(ctx context.Context, a Asking) (Standing, error) {
	var to Number
	if a.Typed != "" {
		var err error
		if to, err = d.typed(ctx, a.Typed); err != nil {
			return Standing{}, err
		}
	}
	var s Standing
	err := d.about(ctx, a.Browser, a.Order, to, func(t *turn, l *Line, c *Conversation) error {
		if len(t.lines) > 1 {
			return t.move(c, a, &s)
		}
		return t.again(l, c, a, &s)
	})
	if err != nil {
		return Standing{}, err
	}
	return d.settled(ctx, s)
}

// Resend texts the PIN again, or a new one where the old one is no more good.
func (d *Desk) Resend(ctx context.Context, b Browser, order uuid.UUID) (Standing, error) {
	var s Standing
	err := d.about(ctx, b, order, "", func(t *turn, l *Line, c *Conversation) error {
		if !c.Proved.IsZero() {
			s = t.standing(l, c, "") // there is nothing left to text for
			return nil
		}
		if r := t.textAgain(l, c); r.Reason != "" {
			return refused(r)
		}
		s = t.standing(l, c, Again)
		return nil
	})
	if err != nil {
		return Standing{}, err
	}
	return d.settled(ctx, s)
}

// Renumber moves the order to another number, with a new PIN. The same number
// again is a resend.
func (d *Desk) Renumber(ctx context.Context, b Browser, order uuid.UUID, typed string) (Standing, error) {
	if typed == "" { // which to Ask means: stay
		_, err := d.number(typed)
		return Standing{}, err
	}
	return d.askAgain(ctx, Asking{Browser: b, Order: order, Typed: typed})
}

// move takes c from the turn's first line to its second.
func (t *turn) move(c *Conversation, a Asking, s *Standing) error {
	from, to := &t.lines[0], &t.lines[1]
	moved := *c
	moved.Line = to.LineID
	if err := t.fill(to, &moved, a.Entries); err != nil {
		return err
	}
	ev := Moved
	switch r := t.refusal(to, nil, true); r.Reason {
	case "":
	case ReasonOptOut:
		ev = Withheld
	default:
		return refused(r)
	}
	from.Conversations = slices.DeleteFunc(from.Conversations, func(o Conversation) bool { return o.ID == c.ID })
	t.touch(from)
	// What was proved was the other number, and its PIN is no more good.
	moved.Proved, moved.Texted, moved.Message = time.Time{}, time.Time{}, uuid.Nil
	if ev == Withheld {
		moved.Serial = Serial{N: moved.Serial.N}
		moved.pin, moved.Misses, moved.Failure = "", 0, ClassOptedOut
	}
	to.Conversations = append(to.Conversations, moved)
	added := &to.Conversations[len(to.Conversations)-1]
	t.happens(to, added, ev, "")
	t.tells(func() { t.lately.settle(added.ID, to.LineID) })
	*s = t.standing(to, added, ev)
	return nil
}

// Place checks the PIN together with the whole form.
func (d *Desk) Place(ctx context.Context, p Placing) (Standing, error) {
	if p.Order == uuid.Nil {
		order, err := d.latest(ctx, p)
		if err != nil {
			return Standing{}, err
		}
		p.Order = order
	}
	var s Standing
	err := d.about(ctx, p.Browser, p.Order, "", func(t *turn, l *Line, c *Conversation) error {
		if p.Typed != "" {
			// The PIN vouches for the number that it was texted to.
			if number, err := d.number(p.Typed); err != nil {
				return err
			} else if number != l.Number {
				return &Error{Code: Invalid, Field: FieldNumber, Message: "We have texted another number for this order. Press Get PIN to text this one."}
			}
		}
		if err := t.fill(l, c, p.Entries); err != nil {
			return err
		}
		if field := t.missing(c); field != "" {
			return &Error{Code: Invalid, Field: field, Message: "This must be filled in."}
		}
		return t.check(l, c, p.PIN, &s)
	})
	return s, err
}

// latest finds the order that a form without one is about: the browser's
// latest open one for the number, or the one that this very form has just
// confirmed, since forms are sent twice.
func (d *Desk) latest(ctx context.Context, p Placing) (uuid.UUID, error) {
	number, err := d.typed(ctx, p.Typed)
	if err != nil {
		return uuid.Nil, err
	}
	lines, err := d.load(ctx, d.Ledger.Reload, []LineID{{number, d.Rules.Sender}})
	if err != nil {
		return uuid.Nil, err
	}
	l := &lines[0]
	for _, c := range slices.Backward(l.Open()) {
		if c.Browser == p.Browser {
			return c.ID, nil
		}
	}
	pin, _ := typedPIN(p.PIN)
	if c := l.Find(l.Topic); c != nil && c.State == Confirmed && c.Browser == p.Browser &&
		c.pin.Equal(pin) && slices.Equal(c.Entries, p.Entries) {
		return c.ID, nil
	}
	return uuid.Nil, &Error{Code: Invalid, Field: FieldPIN, Message: "No PIN was texted to this number from here. Press Get PIN first."}
}

// Check checks the PIN alone, with the entries as they were kept.
func (d *Desk) Check(ctx context.Context, b Browser, order uuid.UUID, pin string) (Standing, error) {
	var s Standing
	err := d.about(ctx, b, order, "", func(t *turn, l *Line, c *Conversation) error {
		return t.check(l, c, pin, &s)
	})
	return s, err
}

// check judges a PIN that was typed into the page.
func (t *turn) check(l *Line, c *Conversation, typed string, s *Standing) error {
	pin, given := typedPIN(typed)
	switch {
	case !c.Proved.IsZero():
		// A reply has proved the number: whatever was typed, the form alone is
		// what may be missing.
		*s = t.proved(l, c)
		return nil
	case !given:
		return &Error{Code: Invalid, Field: FieldPIN, Message: "Type the PIN that we texted you."}
	case c.State != Locked && c.Serial.Length > 0 && len(pin) != c.Serial.Length:
		t.tells(func() { t.Watcher.Checked(Web, Malformed) })
		t.leaves(c, Malformed)
		*s = t.standing(l, c, "")
		s.Malformed = true
		return nil
	}
	_, ev, _ := t.judge(l, Guess{Web, pin, c})
	*s = t.standing(l, c, ev)
	return nil
}

// proved confirms an order whose number a reply has proved, once its form is
// complete.
func (t *turn) proved(l *Line, c *Conversation) Standing {
	if !c.Complete {
		return t.standing(l, c, Proved)
	}
	t.happens(l, c, Matched, "proved by an earlier reply")
	t.tells(func() { t.Watcher.Checked(Web, Matched) })
	return t.standing(l, c, Matched)
}

// typedPIN reads a PIN as it is typed into a field that is for nothing else:
// digits of any script, with spaces and dashes between them. It is empty if
// anything else was given.
func typedPIN(typed string) (pin PIN, given bool) {
	var digits []byte
	for _, r := range norm.NFKC.String(typed) {
		d, ok := digit(r)
		switch {
		case ok:
			digits = append(digits, d)
		case unicode.IsSpace(r), isDash(r), unicode.In(r, unicode.Cf):
		default:
			return "", true
		}
	}
	return PIN(digits), len(digits) > 0
}

// Decline ends the order.
func (d *Desk) Decline(ctx context.Context, b Browser, order uuid.UUID) (Standing, error) {
	var s Standing
	err := d.about(ctx, b, order, "", func(t *turn, l *Line, c *Conversation) error {
		t.happens(l, c, Refused, "")
		s = t.standing(l, c, Refused)
		return nil
	})
	return s, err
}

// Look tells where the order stands.
func (d *Desk) Look(ctx context.Context, b Browser, order uuid.UUID) (Standing, error) {
	c, err := d.own(ctx, b, order)
	if err != nil {
		return Standing{}, err
	}
	lines, err := d.load(ctx, d.Ledger.Reload, []LineID{c.Line})
	if err != nil {
		return Standing{}, err
	}
	t := &turn{Desk: d, now: d.now()}
	found := lines[0].Find(order)
	if found == nil { // it has ended, or moved this very moment
		found = &c
	}
	return d.withText(ctx, t.standing(&lines[0], found, ""))
}

// about changes an order of that browser's on its line. If it is to go to
// another number, that line is the turn's second.
func (d *Desk) about(
	ctx context.Context, b Browser, order uuid.UUID, to Number,
	ask func(*turn, *Line, *Conversation) error,
) error {
	if home, ok := d.lately.home(order); ok {
		err := d.at(ctx, Web, home, order, to, func(t *turn, l *Line, c *Conversation) error {
			if !c.owned(b) {
				return errNotFound
			}
			return whileOpen(t, l, c, ask)
		})
		if !errors.Is(err, errElsewhere) {
			return err
		}
	}
	return d.onItsLine(ctx, Web, func() (Conversation, error) { return d.own(ctx, b, order) }, to, ask)
}

// onItsLine changes the order that find finds, on whatever line it is by then.
func (d *Desk) onItsLine(
	ctx context.Context, ch Channel, find func() (Conversation, error), to Number,
	ask func(*turn, *Line, *Conversation) error,
) error {
	for ctx.Err() == nil {
		found, err := find()
		switch {
		case err != nil:
			return err
		case !found.State.Open():
			return ended(&found)
		}
		// It may have ended, or moved to another line, since we looked.
		err = d.at(ctx, ch, found.Line, found.ID, to, func(t *turn, l *Line, c *Conversation) error {
			return whileOpen(t, l, c, ask)
		})
		if !errors.Is(err, errElsewhere) {
			return err
		}
	}
	return errBusy
}

// at changes an order on the line where it is. It fails with errElsewhere if it
// is not.
func (d *Desk) at(
	ctx context.Context, ch Channel, home LineID, order uuid.UUID, to Number,
	ask func(*turn, *Line, *Conversation) error,
) error {
	lines := []LineID{home}
	if to != "" && to != home.Number {
		lines = append(lines, LineID{to, d.Rules.Sender})
	}
	return d.change(ctx, ch, func(t *turn) error {
		l := &t.lines[0]
		c := l.Find(order)
		if c == nil {
			return errElsewhere
		}
		d.lately.settle(order, home)
		return ask(t, l, c)
	}, lines...)
}

func whileOpen(t *turn, l *Line, c *Conversation, ask func(*turn, *Line, *Conversation) error) error {
	if !c.State.Open() {
		return ended(c)
	}
	return ask(t, l, c)
}

var errElsewhere = errors.New("the order is not on this line")

// own returns an order if that browser asked for it.
func (d *Desk) own(ctx context.Context, b Browser, order uuid.UUID) (Conversation, error) {
	c, err := d.Ledger.Conversation(ctx, order)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !c.owned(b):
		return Conversation{}, errNotFound
	case err != nil:
		return Conversation{}, away(err)
	}
	return c, nil
}

// ended refuses to change an order that has ended.
func ended(c *Conversation) error {
	message := map[State]string{
		Confirmed: "This order is confirmed already.",
		Declined:  "This order was declined. Please order again.",
		Lapsed:    "This order was not confirmed in time. Please order again.",
	}[c.State]
	return &Error{Code: Conflict, Message: message, Order: c.ID, State: c.State}
}

// settled adds to s what Twilio says of its text, for which it waits a little.
// Every change by [Web] that texts ends here.
func (d *Desk) settled(ctx context.Context, s Standing) (Standing, error) {
	if s.Event == "" || s.Conversation.Message == uuid.Nil {
		return d.withText(ctx, s)
	}
	news, done := d.awaited.news(s.Conversation.Message)
	defer done()
	patience := time.NewTimer(d.Patience)
	defer patience.Stop()
	select {
	case m := <-news:
		if m.State == Accepted { // which changes nothing else about the order
			s.Text, s.ResendAfter = m, resendAfter(&s.Conversation, d.now())
			return s, nil
		}
	case <-patience.C:
	case <-ctx.Done():
	}
	return d.Look(context.WithoutCancel(ctx), s.Conversation.Browser, s.Conversation.ID)
}

// withText adds the latest text of the PIN to s.
func (d *Desk) withText(ctx context.Context, s Standing) (Standing, error) {
	if s.Conversation.Message == uuid.Nil {
		return s, nil
	}
	m, err := d.Ledger.Message(ctx, s.Conversation.Message)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Standing{}, away(err)
	}
	s.Text = m
	return s, nil
}

// standing tells where c stands on l, to which ev has just happened.
func (t *turn) standing(l *Line, c *Conversation, ev Event) Standing {
	return Standing{
		Conversation: *c,
		Event:        ev,
		Tries:        triesLeft(l, c, Web),
		Live:         c.Live(t.now),
		OptedOut:     !l.OptedOut.IsZero(),
		ResendAfter:  resendAfter(c, t.now),
	}
}

// number reads a number as it was typed.
func (d *Desk) number(typed string) (Number, error) {
	n, _, err := ParseNumber(typed, d.Rules.Region, d.Rules.Countries)
	if err == nil && n.E164() == d.Rules.Sender {
		err = &Error{Code: Invalid, Field: FieldNumber, Message: "That is our number. Type the one of your phone."}
	}
	if err != nil {
		return "", err
	}
	return n, nil
}

// typed is number, where no turn counts its refusal.
func (d *Desk) typed(ctx context.Context, typed string) (Number, error) {
	n, err := d.number(typed)
	d.noteRefusal(ctx, err)
	return n, err
}

// What an order's form may hold, however many posts it comes in.
const (
	maxEntries     = 50
	maxEntriesSize = 16 << 10 // bytes, names and values
)

// fill keeps what the form held.
func (t *turn) fill(l *Line, c *Conversation, entries []Entry) error {
	kept := slices.Clone(c.Entries)
	for _, e := range entries {
		i := slices.IndexFunc(kept, func(k Entry) bool { return k.Field == e.Field })
		if i < 0 {
			kept = append(kept, e)
		} else {
			kept[i] = e
		}
	}
	size := 0
	for _, e := range kept {
		size += len(e.Field) + len(e.Value)
	}
	if len(kept) > maxEntries || size > maxEntriesSize {
		return &Error{Code: Invalid, Message: "That is more than an order can hold. Please shorten it."}
	}
	if !slices.Equal(kept, c.Entries) {
		c.Entries = kept
		t.touch(l)
	}
	c.Complete = t.missing(c) == ""
	return nil
}

// missing returns the first required field that is empty; empty if none is.
func (t *turn) missing(c *Conversation) string {
	for _, field := range t.Rules.Required {
		if !slices.ContainsFunc(c.Entries, func(e Entry) bool {
			return e.Field == field && strings.TrimSpace(e.Value) != ""
		}) {
			return field
		}
	}
	return ""
}
