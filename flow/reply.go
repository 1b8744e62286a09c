package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Heard is a customer's text as it came from Twilio.
type Heard struct {
	SID  string // MessageSid
	Line LineID
	Body string
	// OptOut is Twilio's OptOutType, where Advanced Opt-Out is on: IntentStop,
	// IntentStart, IntentHelp, or empty.
	OptOut Intent
}

// Format names h without what it says.
func (h Heard) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "text %s", h.SID) }

// An Answer is what to answer a text by TwiML.
type Answer struct {
	Text string // empty for silence
	// Repeated reports that the text came before: it was not acted on again.
	Repeated bool
}

// Hear reads a customer's text, acts on it, and returns what to answer. The
// same MessageSid acts once, and gets its first answer again.
func (d *Desk) Hear(ctx context.Context, h Heard) (Answer, error) {
	if first, ok := d.heard.Get(h.SID); ok {
		first.Repeated = true
		d.Log.InfoContext(ctx, "heard again", "sid", h.SID)
		return first, nil
	}
	var a Answer
	var in Inbound
	var saying Saying
	err := d.change(ctx, Reply, func(t *turn) error {
		l := &t.lines[0]
		in = Inbound{SID: h.SID, Line: h.Line, At: t.now}
		var about *Conversation
		saying, about = t.read(l, h, &in)
		if about != nil {
			in.Order = about.ID
		}
		text, err := t.answer(l, about, saying)
		a.Text, in.Reply = text, text
		t.touch(l)
		t.change.Inbound = &in
		return err
	}, h.Line)
	switch {
	case errors.Is(err, ErrHeard):
		first, err := d.Ledger.Heard(ctx, h.Line.Number, h.SID)
		if err != nil {
			return Answer{}, away(err)
		}
		a = Answer{Text: first.Reply, Repeated: true}
		d.Log.InfoContext(ctx, "heard again", "sid", h.SID)
	case err != nil:
		return a, err
	default:
		about := slog.Attr{} // which is left out
		if in.Order != uuid.Nil {
			about = slog.String("order", in.Order.String())
		}
		d.Log.LogAttrs(ctx, slog.LevelInfo, "heard", slog.String("sid", h.SID), slog.String("read", string(in.Read)),
			about, slog.String("answer", string(saying)), slog.Bool("silent", a.Text == ""))
	}
	d.heard.Add(strings.Clone(h.SID), a) // h's is a piece of the whole form, with the text in it
	return a, nil
}

// read acts on a customer's text. It returns what to answer, and about which
// order, nil if about none.
func (t *turn) read(l *Line, h Heard, in *Inbound) (Saying, *Conversation) {
	r := Read(h.Body, t.situation(l))
	in.Read = r.Intent
	if h.OptOut != "" {
		// Twilio has acted on it, whatever our reading is.
		in.Read = h.OptOut
	}
	if in.Read != IntentUnknown && len(l.Open()) > 0 {
		l.Hints = 0
	}
	switch in.Read {
	case IntentStop:
		l.OptedOut = t.now
		t.stop(l)
		return Silence, nil
	case IntentStart:
		return t.start(l, h, r)
	case IntentHelp:
		return Silence, nil // Twilio answers it
	case IntentPIN:
		return t.guess(l, r)
	case IntentPINs:
		return AnswerTwoPINs, newest(l)
	case IntentNo:
		return t.no(l, r.Reference)
	case IntentNew:
		return t.anew(l, r.Reference)
	case IntentStatus:
		return t.status(l, r.Reference)
	default:
		return t.hint(l)
	}
}

// situation is what reading a reply needs to know of the line.
func (t *turn) situation(l *Line) Situation {
	s := Situation{Locale: t.Rules.Locale, Lengths: []int{t.Rules.PINLength}}
	for i := range l.Conversations {
		c := &l.Conversations[i]
		s.References = append(s.References, c.Named.Reference)
		if n := c.Serial.Length; n > 0 && !slices.Contains(s.Lengths, n) {
			s.Lengths = append(s.Lengths, n)
		}
	}
	return s
}

// guess checks a PIN that was texted to us.
func (t *turn) guess(l *Line, r Reading) (Saying, *Conversation) {
	g := Guess{Channel: Reply, PIN: r.PIN}
	if named := orderOf(l, r.Reference); named != nil {
		if !named.State.Open() {
			return isAnswer(named), named
		}
		g.Order = named
	}
	if topic := l.Find(l.Topic); topic != nil && !topic.State.Open() && (g.Order == nil && len(l.Open()) == 0 || topic.pin.Equal(r.PIN)) {
		// The same PIN once more, or a late one: say what became of the order.
		return isAnswer(topic), topic
	}
	if len(l.Open()) == 0 {
		return t.hint(l)
	}
	if c := proved(l, g); c != nil {
		return AnswerProved, c
	}
	about, _, say := t.judge(l, g)
	switch say {
	case SayConfirmed:
		return AnswerConfirmed, about
	case SayProved:
		return AnswerProved, about
	case SayTryAgain:
		if l.Misses == ReplyTries-1 {
			return AnswerLastTry, about
		}
		return AnswerTryAgain, about
	case SayOtherRoad:
		return AnswerOtherRoad, about
	case SayLocked:
		return AnswerLocked, about
	case SayExpired:
		if refusal := t.textAgain(l, about); refusal.Reason != "" {
			t.held(l, about, refusal)
			return AnswerNoMore, about
		}
		return AnswerExpired, about
	default:
		return isAnswer(about), about
	}
}

// proved returns the order that a guess is about if a reply has proved its
// number before: it is that order's PIN once more, or no other order waits for
// one. It costs no try, and confirms nothing: the page is to finish that order.
func proved(l *Line, g Guess) *Conversation {
	var newest *Conversation
	others := false
	for _, c := range l.Open() {
		switch {
		case g.Order != nil && g.Order != c:
		case c.Proved.IsZero():
			others = true
		case c.pin.Equal(g.PIN):
			return c
		default:
			newest = c
		}
	}
	if others {
		return nil
	}
	return newest
}

// no declines: the order that is named, or the only one that is open.
func (t *turn) no(l *Line, reference string) (Saying, *Conversation) {
	c, saying := pick(l, reference)
	switch {
	case c == nil:
		return saying, nil
	case !c.State.Open():
		return isAnswer(c), c
	case reference == "" && len(l.Open()) > 1:
		return AnswerWhich, nil
	}
	t.happens(l, c, Refused, "")
	return AnswerDeclined, c
}

// anew texts the PIN again: of the order that is named, or of the newest. The
// text itself is the answer.
func (t *turn) anew(l *Line, reference string) (Saying, *Conversation) {
	c, saying := pick(l, reference)
	switch {
	case c == nil:
		return saying, nil
	case !c.State.Open(), !c.Proved.IsZero():
		return isAnswer(c), c
	}
	switch refusal := t.textAgain(l, c); refusal.Reason {
	case "":
		return Silence, c
	case ReasonSoon:
		return AnswerOnItsWay, c
	default:
		t.held(l, c, refusal)
		return AnswerNoMore, c
	}
}

// status tells where the order stands that is named, or else the latest.
func (t *turn) status(l *Line, reference string) (Saying, *Conversation) {
	c, saying := pick(l, reference)
	if c == nil {
		return saying, nil
	}
	return isAnswer(c), c
}

// hint tells once what we could read; then we are silent until we understand
// something again, since it may be a machine that answers us.
func (t *turn) hint(l *Line) (Saying, *Conversation) {
	l.Hints++
	c := newest(l)
	switch {
	case l.Hints > 1:
		return Silence, c
	case c == nil:
		return AnswerNoneOpen, nil
	default:
		return AnswerHint, c
	}
}

// stop acts on an opt-out. It is the line's: no order on it is texted any more.
func (t *turn) stop(l *Line) {
	t.touch(l)
	for _, c := range l.Open() {
		if c.State == Asked {
			c.Failure = ClassOptedOut
		}
		t.happens(l, c, Stopped, "")
	}
}

// start takes an opt-out back, and texts the newest open order again.
func (t *turn) start(l *Line, h Heard, r Reading) (Saying, *Conversation) {
	// Where a carrier keeps the opt-outs, which is on toll-free numbers, YES
	// does not take one back: https://help.twilio.com/articles/223134027.
	undone := h.OptOut == IntentStart || r.Word != "YES" || !tollFree(l.Sender)
	if l.OptedOut.IsZero() || !undone {
		return Silence, nil
	}
	l.OptedOut = time.Time{}
	c := newest(l)
	if c == nil || !c.Proved.IsZero() {
		return Silence, c
	}
	ev := Started
	if !c.Live(t.now) || c.State != Unreachable {
		ev = Renewed
	}
	if refusal := t.refusal(l, c, ev == Renewed); refusal.Reason != "" {
		t.held(l, c, refusal)
		return AnswerNoMore, c
	}
	t.happens(l, c, ev, "")
	return Silence, c
}

// tollFree reports whether a sender of ours is a North American toll-free number.
func tollFree(sender string) bool {
	for _, code := range []string{"800", "833", "844", "855", "866", "877", "888"} {
		if strings.HasPrefix(sender, "+1"+code) {
			return true
		}
	}
	return false
}

// answer renders what is said, within the ceiling of answers a line.
func (t *turn) answer(l *Line, c *Conversation, saying Saying) (string, error) {
	if saying == Silence || !l.OptedOut.IsZero() {
		return "", nil
	}
	if c == nil && len(l.Open()) == 0 && !slices.Contains(t.Rules.Countries, l.Country()) {
		// A stranger from where we do not sell: an answer costs what a text does.
		return "", nil
	}
	if r := t.Rules.Guard.Answer(l, t.now); r.Reason != "" {
		t.tells(func() { t.Watcher.Refused(r.Reason) })
		return "", nil
	}
	v := Values{Shop: t.Rules.Shop, Tries: max(0, ReplyTries-l.Misses), Length: t.Rules.PINLength}
	if c != nil {
		v.Order, v.Amount = c.Named.Reference, c.Named.Amount
		if c.Serial.Length > 0 {
			v.Length = c.Serial.Length
		}
	}
	for _, o := range l.Open() {
		v.Orders = append(v.Orders, o.Named.Reference)
	}
	text, err := t.Texts.Say(saying, t.Rules.Locale, v)
	if err != nil {
		return "", fmt.Errorf("answer %s: %w", saying, err)
	}
	l.Answers = l.Answers.Add(t.now, day)
	t.tells(func() { t.Watcher.Answered(saying) })
	return text, nil
}

// newest is the newest open order of l, or nil.
func newest(l *Line) *Conversation {
	open := l.Open()
	if len(open) == 0 {
		return nil
	}
	return open[len(open)-1]
}

// orderOf is the order of l with that reference, or nil.
func orderOf(l *Line, reference string) *Conversation {
	for i := range l.Conversations {
		if reference != "" && strings.EqualFold(l.Conversations[i].Named.Reference, reference) {
			return &l.Conversations[i]
		}
	}
	return nil
}

// pick finds the order that a keyword speaks of: the one named; else the one
// that has just ended, since what follows a confirmation is about that order
// and not the next in line; else the newest open one. If there is none it says
// so.
func pick(l *Line, reference string) (*Conversation, Saying) {
	if c := orderOf(l, reference); c != nil {
		return c, ""
	}
	if c := l.Find(l.Topic); c != nil && l.Topic != uuid.Nil {
		return c, ""
	}
	if c := newest(l); c != nil {
		return c, ""
	}
	return nil, AnswerNoneOpen
}

// isAnswer says what an order is.
func isAnswer(c *Conversation) Saying {
	switch c.State {
	case Confirmed:
		return AnswerIsConfirmed
	case Declined:
		return AnswerIsDeclined
	case Lapsed:
		return AnswerIsLapsed
	case Locked:
		return AnswerLocked
	default:
		if !c.Proved.IsZero() {
			return AnswerProved
		}
		return AnswerWaits
	}
}
