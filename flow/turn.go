package flow

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A turn is one try at a change: the lines as they were loaded, to be changed
// in place, and what is to be written with them.
type turn struct {
	*Desk
	now     time.Time
	channel Channel
	lines   []Line
	loaded  [][]Conversation // of the lines, as they were
	touched []bool           // which lines are to be saved
	spent   bool             // the day's total allows no further text
	change  Change
	told    []func()    // to be run after the commit
	left    []Happening // decided on, and nothing was written of it
}

// turn begins a turn on lines that were just loaded.
func (d *Desk) turn(ch Channel, lines []Line) *turn {
	t := &turn{Desk: d, now: d.now(), channel: ch, lines: lines, touched: make([]bool, len(lines))}
	for _, l := range lines {
		t.loaded = append(t.loaded, slices.Clone(l.Conversations))
	}
	return t
}

// touch has l saved.
func (t *turn) touch(l *Line) {
	for i := range t.lines {
		if l == &t.lines[i] {
			t.touched[i] = true
		}
	}
}

// tells runs f after the commit.
func (t *turn) tells(f func()) { t.told = append(t.told, f) }

// written is all that the turn wants to be saved.
func (t *turn) written() Change {
	ch := t.change
	for i, l := range t.lines {
		if !t.touched[i] {
			continue
		}
		l.Conversations = slices.Clone(l.Conversations)
		for n := range l.Conversations {
			c := &l.Conversations[n]
			for k := range t.loaded[i] { // by pointers: each copy would be half a kilobyte
				if was := &t.loaded[i][k]; was.ID == c.ID {
					c.Unchanged = reflect.DeepEqual(was, c)
				}
			}
		}
		ch.Lines = append(ch.Lines, l)
	}
	return ch
}

// leaves notes that ev left c as it was, with nothing in its history.
func (t *turn) leaves(c *Conversation, ev Event) {
	t.left = append(t.left, Happening{Order: c.ID, Event: ev, From: c.State, To: c.State, Channel: t.channel})
}

// tell lets others know of what was committed.
func (t *turn) tell(ctx context.Context) {
	for _, f := range t.told {
		f()
	}
	t.log(ctx)
	for _, m := range t.change.Messages {
		if t.channel == Web {
			t.awaited.add(m.ID)
		}
		t.Nudge(ctx, m)
	}
	for _, l := range t.lines {
		for _, c := range l.Conversations {
			t.followers.wake(c.ID)
		}
	}
}

// log has a line for each decision. One that has a text written names it: by
// that, the text and its receipts are found.
func (t *turn) log(ctx context.Context) {
	for _, h := range slices.Concat(t.change.Events, t.left) {
		line := []any{"order", h.Order, "event", h.Event, "from", h.From, "to", h.To, "channel", h.Channel}
		if h.Note != "" {
			line = append(line, "note", h.Note)
		}
		for _, m := range t.change.Messages {
			if m.Order == h.Order {
				line = append(line, "message", m.ID)
			}
		}
		t.Log.InfoContext(ctx, "decided", line...)
	}
}

// happens has ev happen to c on l: the one way in which a conversation changes
// its state. It returns what is to be said about it.
func (t *turn) happens(l *Line, c *Conversation, ev Event, note string) Effect {
	from, then := c.State, Confirmation.Next(c.State, ev)
	t.touch(l)
	c.State = then.State
	t.change.Events = append(t.change.Events, Happening{
		Order: c.ID, At: t.now, Event: ev, From: from, To: c.State, Channel: t.channel, Note: note,
	})
	if c.State != from {
		state := c.State
		t.tells(func() { t.Watcher.Entered(state) })
		if !c.State.Open() {
			t.ends(l, c)
		}
	}
	say := Effect("")
	for _, effect := range then.Effects {
		switch effect {
		case IssuePIN:
			t.issue(l, c)
		case TextPIN:
			t.text(l, c)
		default:
			say = effect
		}
	}
	return say
}

func (t *turn) ends(l *Line, c *Conversation) {
	c.Ended = t.now
	// What follows a confirmation, or the customer's own NO, is about that
	// order. One that ended by itself, or on the page, is not what a NO is an
	// answer to while another waits.
	if c.State == Confirmed || c.State == Declined && t.channel == Reply || len(l.Open()) == 0 {
		l.Topic = c.ID
	}
	country, state, took := l.Country(), c.State, t.now.Sub(c.Created)
	t.tells(func() { t.Watcher.Ended(country, state, t.channel, took) })
}

// issue gives c its next PIN.
func (t *turn) issue(l *Line, c *Conversation) {
	before := c.pin
	s := Serial{
		N:       c.Serial.N,
		Key:     t.Keys.newest,
		Length:  t.Rules.PINLength,
		Named:   c.Named,
		Expires: earlier(t.now.Add(t.Rules.PINTTL), c.Deadline),
	}
	for taken := true; taken; {
		s.N++
		c.pin, _ = t.Keys.PIN(c.ID, c.Line.Number, s)
		// A reply names its order by its PIN alone, and a mistyped old PIN must
		// not turn out to be the new one.
		taken = c.pin.Equal(before)
		for _, o := range l.Open() {
			taken = taken || o != c && o.pin.Equal(c.pin)
		}
	}
	c.Serial = s
	c.Misses, l.Misses = 0, 0
	l.Serials = l.Serials.Add(t.now, day)
	t.tells(func() { t.Watcher.Issued(t.channel) })
}

// text writes the text of c's PIN to the outbox, leased to this process, which
// is nudged after the commit.
func (t *turn) text(l *Line, c *Conversation) {
	m := Message{
		ID:      newID(t.now),
		Order:   c.ID,
		Line:    l.LineID,
		Kind:    KindPIN,
		Serial:  c.Serial.N,
		Locale:  t.Rules.Locale,
		Named:   c.Serial.Named,
		State:   Leased,
		Attempt: 1,
		Due:     t.now.Add(Lease),
		Created: t.now,
	}
	if m.Named.Amount != "" {
		m.Kind = KindPINAmount
	}
	t.change.Messages = append(t.change.Messages, m)
	t.change.Spend = append(t.change.Spend, t.Rules.Guard.Spend(t.now))
	l.Texts = l.Texts.Add(t.now, t.Rules.Guard.PerNumber.Per)
	l.Topic = uuid.Nil
	l.Hints = 0
	c.Texted, c.Message, c.Failure = t.now, m.ID, ClassNone
}

// judge has the outcome of guess g happen to the order it turns out to be
// about, and counts a miss in the same change: it is committed before it is
// answered.
func (t *turn) judge(l *Line, g Guess) (*Conversation, Event, Effect) {
	c, ev := Judge(l, g, t.now)
	t.tells(func() { t.Watcher.Checked(g.Channel, ev) })
	if then := Confirmation.Next(c.State, ev); (ev == Barred || ev == Late) && (g.Channel == Web || t.unanswered(l)) {
		// Nothing changes, and nothing is written: whoever has no tries left
		// may not fill our disk with them either.
		t.leaves(c, ev)
		return c, ev, then.Effects[0]
	}
	switch ev {
	case Missed, Spent, LastMiss:
		charge(l, c, g.Channel)
	case Proved:
		c.Proved = t.now
	default:
	}
	say := t.happens(l, c, ev, "")
	// The line's last reply try may have been other orders' last try, too.
	for _, o := range l.Open() {
		if o != c && o.State != Locked && o.Serial.N > 0 && o.Proved.IsZero() && triesLeft(l, o, Web)+triesLeft(l, o, Reply) == 0 {
			t.happens(l, o, LastMiss, "")
		}
	}
	return c, ev, say
}

// unanswered reports that l has texted us so often that we have fallen silent.
// What it then asks for in vain is no longer written into its orders' histories.
func (t *turn) unanswered(l *Line) bool {
	return t.channel == Reply && t.Rules.Guard.Answer(l, t.now).Reason != ""
}

// textAgain has c's PIN texted once more: the same one while it is good, else a
// new one. It refuses as the guard does.
func (t *turn) textAgain(l *Line, c *Conversation) Refusal {
	ev := Again
	if !c.Live(t.now) || c.State == Locked || t.channel == Reply && l.Misses >= ReplyTries {
		ev = Renewed
	}
	if r := t.refusal(l, c, ev == Renewed); r.Reason != "" {
		return r
	}
	t.happens(l, c, ev, "")
	return Refusal{}
}

// refusal is why no PIN may be texted on l now: the one place that decides
// about the shop's money.
func (t *turn) refusal(l *Line, c *Conversation, serial bool) Refusal {
	if r := t.Rules.Guard.Text(l, c, serial, t.now); r.Reason != "" {
		return r
	}
	if !slices.Contains(t.Rules.Countries, l.Country()) {
		return Refusal{Reason: ReasonCountry} // of an order from before COUNTRIES was narrowed
	}
	if wait := t.breakers.wait(l.Number, t.now); wait > 0 {
		return Refusal{ReasonBreaker, wait}
	}
	if t.spent {
		return Refusal{ReasonDay, tomorrow(t.now)}
	}
	return Refusal{}
}

// newID returns a UUIDv7 (RFC 9562 §5.7) of now: what is written together lies
// together in the database, and its age can be told from it.
func newID(now time.Time) uuid.UUID {
	var id uuid.UUID
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())) //nolint:gosec // after 1970
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id
}

// newReference mints an order's name for texts: three letters, three digits,
// none of which looks like another. With letters in it, it cannot be taken for
// a PIN; without vowels, it says nothing.
func newReference() string {
	const letters, digits = "BCDFGHJKMNPQRTVWXY", "23456789"
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand
	ref := make([]byte, 0, len(random))
	for i, b := range random {
		from := letters
		if i >= 3 {
			from = digits
		}
		ref = append(ref, from[int(b)%len(from)])
	}
	return string(ref)
}

// mint gives a reference that no order of l has.
func mint(l *Line) string {
	for {
		ref := newReference()
		taken := false
		for _, c := range l.Conversations {
			taken = taken || strings.EqualFold(c.Named.Reference, ref)
		}
		if !taken {
			return ref
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
