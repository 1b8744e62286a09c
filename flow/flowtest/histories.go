package flowtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
)

// Often has [rapid.Check] try so many cases until t ends, and fifty times as
// many in a soak.
func Often(t *testing.T, cases int) {
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		cases *= 50
	}
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	t.Cleanup(func() { _ = checks.Set(before) })
	if err := checks.Set(strconv.Itoa(cases)); err != nil {
		t.Fatal(err)
	}
}

// TestHistories lets customers, browsers, forgers and restarts do as they like
// on a shop with a ledger that open opens, and holds every outcome against a
// model of what may happen: an order is confirmed only by its PIN, from its
// line or its browser, in time, within its tries, and once.
//
// Reload, if not nil, makes the ledger forget what it holds in memory.
func TestHistories(t *testing.T, open func(testing.TB) flow.Ledger, reload func(flow.Ledger)) {
	rapid.Check(t, func(rt *rapid.T) {
		ledger := open(t)
		defer func() { _ = ledger.Close() }()
		h := &history{Shop: NewShop(t, ledger), t: rt, lines: map[flow.Number]*modelLine{}}
		for i := range 2 {
			h.numbers = append(h.numbers, flow.Number(fmt.Sprintf("+1415555010%d", i)))
			h.browsers = append(h.browsers, flow.Browser{byte(i + 1)})
			h.lines[h.numbers[i]] = &modelLine{}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"get PIN": h.getPIN, "resend": h.resend, "change number": h.renumber,
			"check": h.check, "place": h.place, "reply": h.reply, "say": h.say,
			"decline": h.decline, "send": h.send, "pass": h.pass,
			"restart": func(*rapid.T) {
				if h.Restart(); reload != nil {
					reload(ledger)
				}
			},
			"": h.compare,
		})
	})
}

// history is one run, and the model beside it.
type history struct {
	*Shop
	t        *rapid.T
	numbers  []flow.Number
	browsers []flow.Browser
	orders   []*modelOrder
	lines    map[flow.Number]*modelLine
	heard    int
	sent     int
}

// modelLine is all that the model knows of a line.
type modelLine struct {
	misses int
	texts  []time.Time
}

// modelOrder is all that the model knows of an order. Its serial is observed;
// its PIN is known from texts alone, as the customer knows it.
type modelOrder struct {
	id       uuid.UUID
	browser  flow.Browser
	number   flow.Number
	serial   int64
	pins     map[int64]string // by serial, once texted
	expires  time.Time
	misses   int
	locked   bool
	complete bool
	proved   bool
	ended    flow.State
}

// pin is the latest that was texted for the order. Of one that moved to a number
// that has opted out none is left: that number was never told it, and to give it
// from there is to guess.
func (o *modelOrder) pin() string {
	if o.expires.IsZero() {
		return ""
	}
	return o.pins[o.serial]
}

func (o *modelOrder) live(now time.Time) bool { return o.serial > 0 && now.Before(o.expires) }

func complete() []flow.Entry {
	return []flow.Entry{{Field: "name", Value: "Ann"}, {Field: "address", Value: "1 Road"}, {Field: "items", Value: "tea"}}
}

func (h *history) getPIN(t *rapid.T) {
	a := flow.Asking{
		Browser: rapid.SampledFrom(h.browsers).Draw(t, "browser"),
		Typed:   rapid.SampledFrom(h.numbers).Draw(t, "number").E164(),
	}
	filled := rapid.Bool().Draw(t, "filled in")
	if filled {
		a.Entries = complete()
	}
	s, err := h.Desk.Ask(context.Background(), a)
	if h.refused(err) {
		return
	}
	o := h.find(s.Conversation.ID)
	if o == nil {
		o = &modelOrder{id: s.Conversation.ID, browser: a.Browser, number: s.Conversation.Line.Number, pins: map[int64]string{}}
		h.orders = append(h.orders, o)
	}
	o.complete = o.complete || filled
	h.observe("get PIN", o)
}

func (h *history) resend(t *rapid.T) {
	if o, b := h.pick(t), rapid.SampledFrom(h.browsers).Draw(t, "browser"); o != nil {
		_, err := h.Desk.Resend(context.Background(), b, o.id)
		h.mustBeOwn(o, b, err)
		h.observe("resend", o)
	}
}

func (h *history) renumber(t *rapid.T) {
	if o, b := h.pick(t), rapid.SampledFrom(h.browsers).Draw(t, "browser"); o != nil {
		_, err := h.Desk.Renumber(context.Background(), b, o.id, rapid.SampledFrom(h.numbers).Draw(t, "number").E164())
		h.mustBeOwn(o, b, err)
		h.observe("renumber", o)
	}
}

func (h *history) decline(t *rapid.T) {
	if o, b := h.pick(t), rapid.SampledFrom(h.browsers).Draw(t, "browser"); o != nil {
		_, err := h.Desk.Decline(context.Background(), b, o.id)
		h.mustBeOwn(o, b, err)
		if err == nil {
			o.ended = flow.Declined
		}
	}
}

func (h *history) check(t *rapid.T) {
	o, b, pin := h.pick(t), rapid.SampledFrom(h.browsers).Draw(t, "browser"), h.guess(t)
	if o == nil {
		return
	}
	_, err := h.Desk.Check(context.Background(), b, o.id, pin)
	if h.mustBeOwn(o, b, err); err == nil {
		h.typed(o, pin)
	}
}

func (h *history) place(t *rapid.T) {
	o, b, pin := h.pick(t), rapid.SampledFrom(h.browsers).Draw(t, "browser"), h.guess(t)
	if o == nil {
		return
	}
	_, err := h.Desk.Place(context.Background(), flow.Placing{
		Asking: flow.Asking{Browser: b, Order: o.id, Entries: complete()}, PIN: pin,
	})
	if h.mustBeOwn(o, b, err); err == nil {
		if o.complete = true; o.proved {
			o.ended = flow.Confirmed
			return
		}
		h.typed(o, pin)
	}
}

// typed is what a PIN on the page may do.
func (h *history) typed(o *modelOrder, pin string) {
	switch l := h.lines[o.number]; {
	case o.proved:
		h.match(o)
	case o.locked || o.misses >= flow.WebTries || !o.live(h.Now()):
	case pin == o.pin():
		h.match(o)
	default:
		o.misses++
		o.locked = o.misses >= flow.WebTries && l.misses >= flow.ReplyTries
	}
}

func (h *history) match(o *modelOrder) {
	if o.complete {
		o.ended = flow.Confirmed
	} else {
		o.proved = true
	}
}

func (h *history) reply(t *rapid.T) {
	n, pin := rapid.SampledFrom(h.numbers).Draw(t, "number"), h.guess(t)
	h.hear(n, "my pin is "+pin)
	l, compared := h.lines[n], false
	for _, o := range h.orders {
		if o.number == n && o.ended == "" && o.proved && pin == o.pin() {
			return // known again; the page is to finish it
		}
	}
	for _, o := range h.orders {
		if o.proved || o.number != n || o.ended != "" || o.locked || l.misses >= flow.ReplyTries || !o.live(h.Now()) {
			continue
		}
		if compared = true; pin == o.pin() {
			h.match(o)
			return
		}
	}
	for _, o := range h.orders {
		// The PIN of the order that ended last is recognised: no miss.
		if c := h.conversation(o); o.number == n && o.ended != "" && h.topic(n) == o.id && !c.Serial.Expires.IsZero() && pin == o.pins[c.Serial.N] {
			return
		}
	}
	for _, o := range h.orders {
		late := o.number == n && o.ended == "" && !o.proved && !o.locked && !o.live(h.Now()) && o.serial > 0
		if late && l.misses < flow.ReplyTries && pin == o.pin() {
			compared = false // known again, and of no more use
		}
	}
	if !compared {
		for _, o := range h.orders {
			h.observe("late reply", o)
		}
		return
	}
	l.misses++
	for _, o := range h.orders {
		o.locked = o.locked || o.number == n && o.ended == "" && !o.proved && o.serial > 0 && o.misses >= flow.WebTries && l.misses >= flow.ReplyTries
	}
}

func (h *history) say(t *rapid.T) {
	n := rapid.SampledFrom(h.numbers).Draw(t, "number")
	word := rapid.SampledFrom([]string{"NEW", "STATUS", "STOP", "START", "hello there", "NEW", "START"}).Draw(t, "word")
	h.hear(n, word)
	for _, o := range h.orders {
		h.observe(word, o)
	}
}

func (h *history) hear(n flow.Number, body string) {
	h.heard++
	heard := flow.Heard{SID: fmt.Sprintf("SM%032d", h.heard), Line: h.Line(n), Body: body}
	first, err := h.Desk.Hear(context.Background(), heard)
	if err != nil {
		h.t.Fatalf("hear: %v", err)
	}
	if again, err := h.Desk.Hear(context.Background(), heard); err != nil || again.Text != first.Text || !again.Repeated || first.Repeated {
		h.t.Fatalf("the same MessageSid is answered %+v, then %+v (%v)", first, again, err)
	}
}

func (h *history) send(*rapid.T) {
	h.SendAll()
	for _, o := range h.orders {
		// What expired before it could leave is issued anew.
		h.observe("sending", o)
	}
}

func (h *history) pass(t *rapid.T) {
	h.Pass(time.Duration(rapid.SampledFrom([]int{1, 40, 3600, 9 * 3600, 25 * 3600}).Draw(t, "seconds")) * time.Second)
	if rapid.Bool().Draw(t, "sweep") {
		if _, err := h.Desk.Lapse(context.Background()); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, o := range h.orders {
		if c := h.conversation(o); o.ended == "" && c.State == flow.Lapsed {
			if h.Now().Before(c.Deadline) {
				h.t.Fatalf("lapsed before its deadline")
			}
			o.ended = flow.Lapsed
		}
	}
}

// guess is a PIN as somebody may give it: any that was ever texted to anyone,
// or a wild one.
func (h *history) guess(t *rapid.T) string {
	pins := []string{"000000"}
	for _, o := range h.orders {
		for n := int64(1); n <= o.serial; n++ {
			if pin := o.pins[n]; pin != "" {
				pins = append(pins, pin, pin)
			}
		}
	}
	return rapid.SampledFrom(pins).Draw(t, "pin")
}

// observe notes that o may have a new PIN, or number, and checks that it may.
func (h *history) observe(after string, o *modelOrder) {
	c := h.conversation(o)
	moved := c.Line.Number != o.number
	if c.Serial.N != o.serial && o.serial > 0 {
		l := h.lines[o.number]
		if !moved && !o.locked && o.live(h.Now()) && l.misses < flow.ReplyTries {
			h.t.Fatalf("after %s: a new PIN, though the old one is good", after)
		}
	}
	if moved && c.Serial.N == o.serial && h.Now().Before(c.Serial.Expires) {
		h.t.Fatalf("after %s: the PIN moved to another number", after)
	}
	if moved {
		o.proved, o.number = false, c.Line.Number
		o.misses, o.locked = c.Misses, false
	}
	if c.Serial.N != o.serial {
		o.misses, o.locked = 0, false
		h.lines[o.number].misses = 0
	}
	o.serial, o.expires = c.Serial.N, c.Serial.Expires
}

// compare holds the ledger and the texts against the model.
func (h *history) compare(*rapid.T) {
	for _, o := range h.orders {
		c := h.conversation(o)
		if o.ended != "" && c.State != o.ended || o.ended == "" && !c.State.Open() {
			l, _ := h.Ledger.Reload(context.Background(), c.Line)
			h.t.Fatalf("order %s is %s, with %d misses by reply; the model says %q with %d", o.id, c.State, l.Misses, o.ended, h.lines[o.number].misses)
		}
		if o.ended == "" && (c.State == flow.Locked) != o.locked {
			h.t.Fatalf("order %s is %s with %d misses; the model says locked %v", o.id, c.State, c.Misses, o.locked)
		}
		if c.Serial.Expires.After(c.Deadline) {
			h.t.Fatalf("a PIN outlives its order")
		}
	}
	taken := h.Sender.Taken()
	for _, text := range taken[h.sent:] {
		m, err := h.Ledger.Message(context.Background(), text.Message)
		if err != nil {
			h.t.Fatalf("a text without a row: %v", err)
		}
		o, pin := h.find(m.Order), PINOf(text.Body)
		if before := o.pins[m.Serial]; before != "" && before != pin {
			h.t.Fatalf("serial %d was texted as two PINs", m.Serial)
		}
		if o.number != text.To {
			h.t.Fatalf("a number that was changed away is texted")
		}
		o.pins[m.Serial] = pin
		l := h.lines[text.To]
		l.texts = append(l.texts, m.Created)
		recent := 0
		for _, at := range l.texts {
			if at.After(m.Created.Add(-24*time.Hour)) && !at.After(m.Created) {
				recent++
			}
		}
		if recent > h.Rules.Guard.PerNumber.N {
			h.t.Fatalf("%d texts to one number in 24 hours", recent)
		}
	}
	h.sent = len(taken)
}

func (h *history) pick(t *rapid.T) *modelOrder {
	if len(h.orders) == 0 {
		return nil
	}
	return rapid.SampledFrom(h.orders).Draw(t, "order")
}

func (h *history) find(id uuid.UUID) *modelOrder {
	for _, o := range h.orders {
		if o.id == id {
			return o
		}
	}
	return nil
}

func (h *history) conversation(o *modelOrder) flow.Conversation {
	c, err := h.Ledger.Conversation(context.Background(), o.id)
	if err != nil {
		h.t.Fatalf("order: %v", err)
	}
	return c
}

func (h *history) topic(n flow.Number) uuid.UUID {
	l, err := h.Ledger.Reload(context.Background(), h.Line(n))
	if err != nil {
		h.t.Fatal(err)
	}
	return l.Topic
}

// refused reports a refusal that the customer may be told of; any other error
// ends the test.
func (h *history) refused(err error) bool {
	var e *flow.Error
	if err != nil && !errors.As(err, &e) {
		h.t.Fatalf("not for the customer: %v", err)
	}
	return err != nil
}

// mustBeOwn fails if an order answered to another browser than its own.
func (h *history) mustBeOwn(o *modelOrder, b flow.Browser, err error) {
	var e *flow.Error
	if h.refused(err); b != o.browser && (!errors.As(err, &e) || e.Code != flow.NotFound) {
		h.t.Fatalf("another browser is answered %v", err)
	}
}
