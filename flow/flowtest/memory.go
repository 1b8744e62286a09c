package flowtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
)

// TestMemory holds that what a process keeps in memory changes nothing that
// anybody sees. Whatever customers, browsers, carriers and ops do, and however
// saves and texts fail, three shops tell, text and write the same: one whose
// desk is made anew for each of their deeds, one whose desk is alone with the
// ledger, and one with two desks that know nothing of each other.
//
// Cached puts an empty cache in front of a ledger, for the desk of that number:
// there are [Caches] at a time. Tripped breakers are each process's own by
// design, and are left out.
func TestMemory(t *testing.T, cached func(desk int, next flow.Ledger) flow.Ledger) {
	before := rand.Reader
	t.Cleanup(func() { rand.Reader = before })
	rapid.Check(t, func(rt *rapid.T) {
		m := memory{
			newKeeping(t, "a desk that keeps nothing", nil, cached),
			newKeeping(t, "a desk alone", []int{0}, cached),
			newKeeping(t, "two desks", []int{1, 2}, cached),
		}
		rt.Repeat(map[string]func(*rapid.T){
			"get PIN": m.getPIN, "resend": m.resend, "change number": m.renumber,
			"check": m.check, "place": m.place, "decline": m.decline, "look": m.look,
			"reply": m.reply, "say": m.say, "receipt": m.receipt, "by hand": m.byHand,
			"send": m.send, "fail to send": m.failToSend, "lapse": m.lapse, "restart": m.restart,
		})
		m.compare(rt) // what differs once, differs in the end
	})
}

// A memory is the shops that are held against each other; the first keeps none.
type memory []*keeping

// Caches is how many desks there are that keep things in memory.
const Caches = 3

// A keeping is a shop with desks that keep things in memory. With none, it has
// one that does not.
type keeping struct {
	*Shop
	name    string
	rows    *Ledger
	cached  func(desk int, next flow.Ledger) flow.Ledger
	numbers []int // of its desks
	desks   []*flow.Desk
}

func newKeeping(t testing.TB, name string, desks []int, cached func(int, flow.Ledger) flow.Ledger) *keeping {
	rows := NewLedger()
	k := &keeping{Shop: NewShop(t, rows), name: name, rows: rows, cached: cached, numbers: desks}
	k.Alone = len(desks) == 1
	k.restart()
	return k
}

// restart opens all desks anew.
func (k *keeping) restart() {
	k.Restart()
	k.desks = nil
	for _, n := range k.numbers {
		c := k.Desk.Config
		c.Ledger = dice{k.cached(n, k.rows), k}
		k.desks = append(k.desks, flow.NewDesk(c))
	}
}

// at has the n-th desk do what comes next.
func (k *keeping) at(n int) {
	if len(k.desks) > 0 {
		k.Desk = k.desks[n%len(k.desks)]
		return
	}
	c := k.Desk.Config
	c.Ledger = dice{k.rows, k}
	k.Desk = flow.NewDesk(c)
}

// Dice have ids and references fall alike in each shop, however often a desk
// loads a line before it saves what it draws.
type dice struct {
	flow.Ledger
	of *keeping
}

func (d dice) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	d.roll()
	return d.Ledger.Line(ctx, id)
}

func (d dice) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	d.roll()
	return d.Ledger.Reload(ctx, id)
}

func (d dice) roll() {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(d.of.Now().UnixMilli()))
	binary.BigEndian.PutUint64(seed[8:], uint64(len(d.of.rows.conversations)+len(d.of.rows.messages)))
	rand.Reader = mathrand.NewChaCha8(seed)
}

// each has a desk of each shop do the same, and compares what they tell. It may
// be that their next save fails, that the texts that wait leave, and that time
// passes.
func (m memory) each(t *rapid.T, do func(*keeping) (any, error)) {
	desk := rapid.IntRange(0, 1).Draw(t, "desk")
	save := pick(t, "the next save", "", "", "", "", "", "", "is refused", "is lost", "is lost")
	send := rapid.Bool().Draw(t, "texts leave")
	pass := pick(t, "and then", 0, time.Millisecond, time.Second, 31*time.Second, 31*time.Second, 6*time.Minute, 9*time.Hour)
	var first any
	for i, k := range m {
		k.at(desk)
		switch save {
		case "is refused":
			k.rows.Refuse(errSave)
		case "is lost":
			k.rows.Lose(errSave)
		}
		told, err := do(k)
		if err != nil {
			told = err.Error()
			if e := (*flow.Error)(nil); errors.As(err, &e) {
				told = fmt.Sprintf("%+v", *e)
			}
		}
		if i == 0 {
			first = told
		} else if diff := cmp.Diff(first, told, SameRows); diff != "" {
			t.Fatalf("%s tells (-), %s (+):\n%s", m[0].name, k.name, diff)
		}
		if send {
			k.SendAll()
		}
		k.Pass(pass)
	}
}

// errSave is how a ledger fails that was made to.
var errSave = errors.New("the ledger was made to fail")

// compare holds what they have texted and written against each other.
func (m memory) compare(t *rapid.T) {
	for _, k := range m[1:] {
		if diff := cmp.Diff(m[0].Sender.Taken(), k.Sender.Taken()); diff != "" {
			t.Fatalf("%s has texted (-), %s (+):\n%s", m[0].name, k.name, diff)
		}
		diff := cmp.Diff(m[0].rows, k.rows, SameRows, cmp.AllowUnexported(Ledger{}), cmpopts.IgnoreFields(Ledger{}, "mu", "failing"))
		if diff != "" {
			t.Fatalf("%s has written (-), %s (+):\n%s", m[0].name, k.name, diff)
		}
	}
}

func pick[T any](t *rapid.T, what string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, what)
}

func number(t *rapid.T) flow.Number {
	return pick[flow.Number](t, "number", "+14155550123", "+14155550124", "+14155550125")
}

func browser(t *rapid.T) flow.Browser { return pick(t, "browser", flow.Browser{1}, flow.Browser{2}) }

// order is any that there is, with its browser or another.
func (m memory) order(t *rapid.T) (uuid.UUID, flow.Browser) {
	ids := slices.SortedFunc(maps.Keys(m[0].rows.conversations), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	if len(ids) == 0 {
		t.Skip("no orders yet")
	}
	id := pick(t, "order", ids...)
	own := m[0].rows.conversations[id].Browser
	return id, pick(t, "browser", own, own, own, flow.Browser{9})
}

// guess is any PIN that was ever texted, or a wild one.
func (m memory) guess(t *rapid.T) string {
	pins := []string{"000000"}
	for _, text := range m[0].Sender.Taken() {
		pins = append(pins, PINOf(text.Body), PINOf(text.Body))
	}
	return pick(t, "pin", pins...)
}

func (m memory) getPIN(t *rapid.T) {
	a := flow.Asking{Browser: browser(t), Typed: number(t).E164(), Entries: pick(t, "form", complete(), complete(), nil)}
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Ask(context.Background(), a) })
}

func (m memory) resend(t *rapid.T) {
	id, b := m.order(t)
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Resend(context.Background(), b, id) })
}

func (m memory) renumber(t *rapid.T) {
	id, b := m.order(t)
	to := number(t).E164()
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Renumber(context.Background(), b, id, to) })
}

func (m memory) check(t *rapid.T) {
	id, b := m.order(t)
	pin := m.guess(t)
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Check(context.Background(), b, id, pin) })
}

func (m memory) place(t *rapid.T) {
	p := flow.Placing{PIN: m.guess(t)}
	p.Entries = complete()
	if rapid.Bool().Draw(t, "names its order") {
		p.Order, p.Browser = m.order(t)
	} else {
		p.Browser, p.Typed = browser(t), number(t).E164()
	}
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Place(context.Background(), p) })
}

func (m memory) decline(t *rapid.T) {
	id, b := m.order(t)
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Decline(context.Background(), b, id) })
}

func (m memory) look(t *rapid.T) {
	id, b := m.order(t)
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Look(context.Background(), b, id) })
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Inspect(context.Background(), id) })
}

func (m memory) reply(t *rapid.T) { m.hear(t, "my pin is "+m.guess(t)) }

func (m memory) say(t *rapid.T) {
	m.hear(t, pick(t, "word", "NO", "NEW", "STATUS", "STOP", "START", "hello there"))
}

// hear hears a text, or one of its MessageSid again.
func (m memory) hear(t *rapid.T, body string) {
	sid := fmt.Sprintf("SM%d", len(m[0].rows.inbound)-pick(t, "again", 0, 0, 0, 1, 2))
	n := number(t)
	m.each(t, func(k *keeping) (any, error) {
		return k.Desk.Hear(context.Background(), flow.Heard{SID: sid, Line: k.Line(n), Body: body})
	})
}

// receipt has a carrier tell of a text that was taken.
func (m memory) receipt(t *rapid.T) {
	taken := m[0].Sender.Taken()
	if len(taken) == 0 {
		t.Skip("no texts yet")
	}
	text := pick(t, "text", taken[len(taken)-1], pick(t, "some text", taken...))
	r := receiptOf(t, text)
	if rapid.IntRange(0, 3).Draw(t, "names its text") == 0 {
		r.Message = uuid.Nil
	}
	m.each(t, func(k *keeping) (any, error) { return nil, k.Desk.Receipt(context.Background(), r) })
}

func receiptOf(t *rapid.T, text Taken) flow.Receipt {
	r := flow.Receipt{Message: text.Message, SID: text.SID}
	r.Status = pick(t, "status", flow.StatusQueued, flow.StatusSent, flow.StatusUndelivered, flow.StatusDelivered, flow.StatusFailed)
	if r.Status.Bad() {
		r.Code = pick(t, "code", 30003, 30006, 21610)
	}
	return r
}

func (m memory) byHand(t *rapid.T) {
	id, _ := m.order(t)
	m.each(t, func(k *keeping) (any, error) { return nil, k.Desk.ResendFor(context.Background(), id) })
}

// send has texts leave by a desk that did nothing else.
func (m memory) send(t *rapid.T) {
	m.each(t, func(k *keeping) (any, error) { k.SendAll(); return nil, nil })
}

// failToSend has something become of the next text.
func (m memory) failToSend(t *rapid.T) {
	switch pick(t, "fate", "refused", "opted out", "later", "lost", "told of at once") {
	case "refused":
		m.meets(&flow.SendError{Class: flow.ClassNumber, Code: 21211, Err: errors.New("no such number")})
	case "opted out":
		m.meets(&flow.SendError{Class: flow.ClassOptedOut, Code: 21610, Err: errors.New("opted out")})
	case "later": // so late that chance has no say in when
		m.meets(&flow.SendError{Class: flow.ClassRetry, Code: 20429, RetryAfter: 5 * time.Minute, Err: errors.New("later")})
	case "lost":
		for _, k := range m {
			k.Sender.Lose()
		}
	case "told of at once":
		r := receiptOf(t, Taken{})
		for _, k := range m {
			k.Sender.next(func(ctx context.Context, take func() string) (string, error) {
				r := r
				r.SID = take()
				taken := k.Sender.Taken()
				r.Message = taken[len(taken)-1].Message
				_ = k.Desk.Receipt(ctx, r) // what came of it is in the rows
				return r.SID, nil
			})
		}
	}
}

func (m memory) meets(err *flow.SendError) {
	for _, k := range m {
		k.Sender.Refuse(err)
	}
}

func (m memory) lapse(t *rapid.T) {
	m.each(t, func(k *keeping) (any, error) { return k.Desk.Lapse(context.Background()) })
}

func (m memory) restart(*rapid.T) {
	for _, k := range m {
		k.restart()
	}
}
