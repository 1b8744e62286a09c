package flow_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// hear has a customer text us, and returns what we answer.
func hear(t *testing.T, s *flowtest.Shop, n flow.Number, body string) string {
	t.Helper()
	a, err := s.Desk.Hear(ctx, flow.Heard{SID: "SM" + uuid.NewString(), Line: s.Line(n), Body: body})
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return a.Text
}

// lastPIN is the one that was texted last.
func lastPIN(s *flowtest.Shop) string {
	taken := s.Sender.Taken()
	return flowtest.PINOf(taken[len(taken)-1].Body)
}

// A day's texts that are spent forbid a text, and nothing else that a reply does.
func TestARepliesEffectHoldsThoughNoTextIsLeft(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	s.SendAll()
	hear(t, s, ann, "STOP")
	s.Rules.Guard.PerDay = 1
	s.Restart()

	if got := hear(t, s, ann, "START"); !strings.Contains(got, "cannot text another PIN") {
		t.Errorf("START is answered %q", got)
	}
	if l, _ := s.Ledger.Reload(ctx, s.Line(ann)); !l.OptedOut.IsZero() {
		t.Error("the opt-out was not taken back")
	}
	s.Pass(time.Minute)
	if got := hear(t, s, ann, "NEW"); !strings.Contains(got, "cannot text another PIN") {
		t.Errorf("NEW is answered %q", got)
	}
	// A text whose PIN expired before it could leave: visibly not texted.
	s.Pass(14 * time.Hour)
	s.Rules.Guard.PerDay = 2000
	s.Restart()
	if _, err := s.Desk.Resend(ctx, browser, order); err != nil {
		t.Fatal(err)
	}
	s.Rules.Guard.PerDay = 0
	s.Restart() // killed before it left
	s.Pass(10 * time.Hour)
	s.SendAll()
	if c := conversation(t, s, order); c.State != flow.Unreachable || c.Failure != flow.ClassExpired {
		t.Errorf("the order is %s (%s)", c.State, c.Failure)
	}
}

func TestWhatNOSpeaksOf(t *testing.T) {
	t.Run("an order that waits, though another has lapsed", func(t *testing.T) {
		s := newShop(t)
		old := ask(t, s, ann)
		s.Pass(40 * time.Hour)
		waits := ask2(t, s, ann)
		s.Pass(33 * time.Hour)
		if _, err := s.Desk.Lapse(ctx); err != nil {
			t.Fatal(err)
		}
		hear(t, s, ann, "NO")
		if a, b := conversation(t, s, old), conversation(t, s, waits); a.State != flow.Lapsed || b.State != flow.Declined {
			t.Errorf("the old one is %s, the one that waits %s", a.State, b.State)
		}
	})
	t.Run("the order just confirmed, though another waits", func(t *testing.T) {
		s := newShop(t)
		first := ask(t, s, ann)
		s.SendAll()
		pin := lastPIN(s)
		waits := ask2(t, s, ann)
		s.SendAll()
		hear(t, s, ann, pin)
		if got := hear(t, s, ann, "NO"); !strings.Contains(got, "is confirmed") {
			t.Errorf("NO is answered %q", got)
		}
		if a, b := conversation(t, s, first), conversation(t, s, waits); a.State != flow.Confirmed || b.State != flow.Asked {
			t.Errorf("the first is %s, the one that waits %s", a.State, b.State)
		}
	})
	t.Run("the order that lapsed, if none waits", func(t *testing.T) {
		s := newShop(t)
		ask(t, s, ann)
		s.SendAll()
		pin := lastPIN(s)
		s.Pass(73 * time.Hour)
		_, _ = s.Desk.Lapse(ctx)
		if got := hear(t, s, ann, pin); !strings.Contains(got, "not confirmed in time") {
			t.Errorf("its PIN is answered %q", got)
		}
	})
}

// ask2 is a second order on that number, from another browser.
func ask2(t *testing.T, s *flowtest.Shop, n flow.Number) uuid.UUID {
	t.Helper()
	standing, err := s.Desk.Ask(ctx, flow.Asking{Browser: flow.Browser{2}, Typed: n.E164()})
	if err != nil {
		t.Fatal(err)
	}
	return standing.Conversation.ID
}

func TestStrangersFromElsewhereAreNotAnswered(t *testing.T) {
	s := newShop(t)
	for n, answered := range map[flow.Number]bool{ann: true, "+46701234567": false, "+88213000001": false} {
		if got := hear(t, s, n, "hello"); (got != "") != answered {
			t.Errorf("a stranger from %s is answered %q", n.Country(), got)
		}
	}
}

func TestOnlySoManyOrdersWaitOnANumber(t *testing.T) {
	s := newShop(t)
	hear(t, s, ann, "STOP") // so that no text is spent
	for i := range flow.OpenOrders + 3 {
		_, err := s.Desk.Ask(ctx, flow.Asking{Browser: flow.Browser{byte(i + 1)}, Typed: ann.E164()})
		var told *flow.Error
		if refused := errors.As(err, &told) && told.Reason == flow.ReasonOrders; refused != (i >= flow.OpenOrders) {
			t.Errorf("order %d: %v", i+1, err)
		}
	}
}

func TestOfTextsThatHadToWaitTheLastIsEnough(t *testing.T) {
	s := newShop(t)
	for range 3 {
		s.Sender.Refuse(&flow.SendError{Class: flow.ClassRetry, RetryAfter: 10 * time.Minute, Err: errors.New("429")})
	}
	order := ask(t, s, ann)
	for range 2 {
		s.SendAll()
		s.Pass(time.Minute)
		if _, err := s.Desk.Resend(ctx, browser, order); err != nil {
			t.Fatal(err)
		}
	}
	s.SendAll()
	s.Pass(time.Hour)
	s.SendAll()
	if got := len(s.Sender.Taken()); got != 1 {
		t.Errorf("%d texts of one PIN leave together", got)
	}
}

// An order has moved to a number that has opted out, and so was texted nothing
// there. Its PIN of before was told to somebody else: from the new number it is a
// guess at what else waits there.
func TestThePINOfANumberThatWasLeftIsAGuess(t *testing.T) {
	s := newShop(t)
	ask2(t, s, bert)
	s.SendAll()
	hear(t, s, bert, "STOP")
	moved := ask(t, s, ann)
	s.SendAll()
	pin := lastPIN(s)
	if _, err := s.Desk.Renumber(ctx, browser, moved, bert.E164()); err != nil {
		t.Fatal(err)
	}
	hear(t, s, bert, pin)
	hear(t, s, ann, pin)
	if l, _ := s.Ledger.Reload(ctx, s.Line(bert)); l.Misses != 1 {
		t.Errorf("%d misses of the number, want 1", l.Misses)
	}
	if c := conversation(t, s, moved); !c.State.Open() || !c.Proved.IsZero() {
		t.Errorf("the order is %s, proved at %v", c.State, c.Proved)
	}
}

func TestTheShopsOwnNumberIsNobodys(t *testing.T) {
	s := newShop(t)
	var told *flow.Error
	if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: flowtest.ShopSender}); !errors.As(err, &told) || told.Field != flow.FieldNumber {
		t.Errorf("ordering with the shop's number: %v", err)
	}
}

// A settlement that comes too late is told so at once.
func TestALostLeaseIsNotFoughtFor(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	m := message(t, s, order)
	if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: "SM1", Status: flow.StatusSent}); err != nil {
		t.Fatal(err)
	}
	err := s.Desk.Sent(ctx, m, flow.Sent{Err: &flow.SendError{Class: flow.ClassNumber, Code: 21211, Err: errors.New("no")}})
	if !errors.Is(err, flow.ErrStale) {
		t.Errorf("settling a text that a receipt has settled: %v", err)
	}
	if c := conversation(t, s, order); c.State != flow.Asked {
		t.Errorf("the order is %s", c.State)
	}
}

// A form without an order is never taken for one that was confirmed before,
// unless it is that very form once more.
func TestAFormSentTwiceAndANewOne(t *testing.T) {
	s := newShop(t)
	ask(t, s, ann)
	s.SendAll()
	form := flow.Placing{PIN: lastPIN(s), Asking: flow.Asking{Browser: browser, Typed: ann.E164(), Entries: []flow.Entry{
		{Field: "name", Value: "Ann"}, {Field: "address", Value: "1 Road"}, {Field: "items", Value: "tea"},
	}}}
	if standing, err := s.Desk.Place(ctx, form); err != nil || standing.Event != flow.Matched {
		t.Fatalf("the form: %v (%v)", standing.Event, err)
	}
	var told *flow.Error
	if _, err := s.Desk.Place(ctx, form); !errors.As(err, &told) || told.Code != flow.Conflict || told.State != flow.Confirmed {
		t.Errorf("the same form again: %v", err)
	}
	for name, change := range map[string]func(*flow.Placing){
		"other items": func(p *flow.Placing) {
			p.Entries = []flow.Entry{p.Entries[0], p.Entries[1], {Field: "items", Value: "a teapot"}}
		},
		"another PIN":   func(p *flow.Placing) { p.PIN = "000000" },
		"no PIN at all": func(p *flow.Placing) { p.PIN = "abc" },
	} {
		again := form
		change(&again)
		if _, err := s.Desk.Place(ctx, again); !errors.As(err, &told) || told.Code != flow.Invalid || told.Field != flow.FieldPIN {
			t.Errorf("with %s: %v", name, err)
		}
	}
}

// A copying ledger keeps its own copy of a sid, as a database does.
type copying struct{ flow.Ledger }

func (c copying) Save(ctx context.Context, ch flow.Change) error {
	if ch.Inbound != nil {
		in := *ch.Inbound
		in.SID = strings.Clone(in.SID)
		ch.Inbound = &in
	}
	return c.Ledger.Save(ctx, ch)
}

// What was parsed out of a form shares its memory.
func TestNothingOfATextStaysInMemory(t *testing.T) {
	s := newShop(t)
	s.Ledger = copying{s.Ledger}
	s.Restart()
	gone := make(chan struct{})
	func() {
		form := []byte("SM00000000000000000000000000000001&Body=what a customer wrote")
		runtime.AddCleanup(&form[0], func(gone chan struct{}) { close(gone) }, gone)
		sid, body, _ := strings.Cut(unsafe.String(&form[0], len(form)), "&Body=") //nolint:gosec // nobody writes to it any more
		if _, err := s.Desk.Hear(ctx, flow.Heard{SID: sid, Line: s.Line(ann), Body: body}); err != nil {
			t.Fatal(err)
		}
	}()
	late := time.After(10 * time.Second)
	for {
		runtime.GC()
		select {
		case <-gone:
			runtime.KeepAlive(s)
			return
		case <-late:
			t.Fatal("the form is still there after it was heard")
		case <-time.After(time.Millisecond):
		}
	}
}
