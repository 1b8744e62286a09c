package flow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

var ctx = context.Background()

const (
	ann  = flow.Number("+14155550123")
	bert = flow.Number("+14155550124")
)

var browser = flow.Browser{1}

func newShop(t *testing.T) *flowtest.Shop { return flowtest.NewShop(t, flowtest.NewLedger()) }

// ask places a complete order that waits for its PIN.
func ask(t *testing.T, s *flowtest.Shop, n flow.Number) uuid.UUID {
	t.Helper()
	standing, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: n.E164(), Entries: []flow.Entry{
		{Field: "name", Value: "Ann"}, {Field: "address", Value: "1 Road"}, {Field: "items", Value: "tea"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return standing.Conversation.ID
}

func conversation(t *testing.T, s *flowtest.Shop, order uuid.UUID) flow.Conversation {
	t.Helper()
	c, err := s.Ledger.Conversation(ctx, order)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func message(t *testing.T, s *flowtest.Shop, order uuid.UUID) flow.Message {
	t.Helper()
	m, err := s.Ledger.Message(ctx, conversation(t, s, order).Message)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatTwilioRefuses(t *testing.T) {
	for _, tt := range []struct {
		class flow.Class
		state flow.State
		row   flow.MessageState
		texts int // on the line, once all is settled
	}{
		{flow.ClassNumber, flow.Unreachable, flow.Failed, 0},
		{flow.ClassCountry, flow.Unreachable, flow.Failed, 0},
		{flow.ClassConfig, flow.Asked, flow.Accepted, 1},
		{flow.ClassFraud, flow.Unreachable, flow.Failed, 0},
		{flow.ClassBug, flow.Unreachable, flow.Failed, 0},
		{flow.ClassOptedOut, flow.Unreachable, flow.Failed, 0},
		{flow.ClassRetry, flow.Asked, flow.Accepted, 1},
		{flow.ClassUnknown, flow.Asked, flow.Accepted, 1},
	} {
		t.Run(string(tt.class), func(t *testing.T) {
			s := newShop(t)
			refusal := &flow.SendError{Class: tt.class, Err: errors.New("no")}
			if got, want := (flow.Sent{Err: refusal}).Final(), tt.row == flow.Failed; got != want {
				t.Errorf("it is final: %v, want %v", got, want)
			}
			s.Sender.Refuse(refusal)
			order := ask(t, s, ann)
			s.SendAll()
			s.Pass(3 * time.Minute)
			s.SendAll()
			if c := conversation(t, s, order); c.State != tt.state || c.State == flow.Unreachable && c.Failure != tt.class {
				t.Errorf("the order is %s (%s), want %s", c.State, c.Failure, tt.state)
			}
			if m := message(t, s, order); m.State != tt.row {
				t.Errorf("its text is %s, want %s", m.State, tt.row)
			}
			if got := len(s.Sender.Taken()); got != tt.texts {
				t.Errorf("%d texts, want %d", got, tt.texts)
			}
			l, _ := s.Ledger.Reload(ctx, s.Line(ann))
			if l.OptedOut.IsZero() == (tt.class == flow.ClassOptedOut) {
				t.Errorf("opted out: %v", l.OptedOut)
			}
		})
	}
}

func TestALostAnswerIsLookedForAndNotTextedAgain(t *testing.T) {
	s := newShop(t)
	s.Sender.Lose()
	order := ask(t, s, ann)
	s.SendAll()
	if m := message(t, s, order); m.State != flow.Waiting || m.Unknown != 1 {
		t.Fatalf("after the answer was lost the row is %s, unknown %d", m.State, m.Unknown)
	}
	s.Pass(time.Minute)
	s.SendAll()
	m := message(t, s, order)
	if taken := s.Sender.Taken(); len(taken) != 1 || m.State != flow.Accepted || m.SID != taken[0].SID {
		t.Errorf("%d texts, and the row is %s", len(taken), m.State)
	}
}

func TestALeaseThatExpiresIsLookedForFirst(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	s.Restart() // killed before it could text
	s.SendAll()
	if got := len(s.Sender.Taken()); got != 0 {
		t.Fatalf("%d texts while the lease is another's", got)
	}
	s.Pass(flow.Lease)
	s.SendAll()
	if got := len(s.Sender.Taken()); got != 1 || s.Sender.Looked() != 1 {
		t.Errorf("%d texts after %d looks, want 1 and 1", got, s.Sender.Looked())
	}
	if m := message(t, s, order); m.State != flow.Accepted {
		t.Errorf("the row is %s", m.State)
	}
}

// What was certainly not taken is tried until its PIN expires; then the order
// says that it was not texted.
func TestRetriesEndWithThePIN(t *testing.T) {
	s := newShop(t)
	s.Rules.Guard.PerNumber = flow.Rate{N: 1, Per: 100 * time.Hour} // no second PIN
	s.Restart()
	for range 2000 {
		s.Sender.Refuse(&flow.SendError{Class: flow.ClassRetry, Err: errors.New("later")})
	}
	order := ask(t, s, ann)
	for range 24 * 12 {
		s.SendAll()
		s.Pass(5 * time.Minute)
	}
	s.SendAll()
	if c := conversation(t, s, order); c.State != flow.Unreachable && c.State != flow.Asked {
		t.Errorf("the order is %s", c.State)
	}
	tried := s.Sender.Tried()
	s.Pass(time.Hour)
	s.SendAll()
	if c := conversation(t, s, order); c.State != flow.Unreachable || c.Failure != flow.ClassExpired || s.Sender.Tried() != tried {
		t.Errorf("the order is %s (%s) after %d tries", c.State, c.Failure, tried)
	}
}

// An answer that is lost each time leaves it open whether the text went out:
// it is not sent without end.
func TestUnknownOutcomesAreNotRepeatedForEver(t *testing.T) {
	s := newShop(t)
	for range 20 {
		s.Sender.Refuse(&flow.SendError{Class: flow.ClassUnknown, Err: errors.New("reset")})
	}
	order := ask(t, s, ann)
	for range 60 {
		s.SendAll()
		s.Pass(time.Minute)
	}
	if got := s.Sender.Tried(); got != flow.MaxUnknown {
		t.Errorf("handed to Twilio %d times, want %d", got, flow.MaxUnknown)
	}
	if c := conversation(t, s, order); c.State != flow.Unreachable || c.Failure != flow.ClassUnknown {
		t.Errorf("the order is %s (%s)", c.State, c.Failure)
	}
}

// While Twilio refuses our account, new texts are held back and told so; PINs
// that are out already can be given.
func TestBreaker(t *testing.T) {
	s := newShop(t)
	out := ask(t, s, bert)
	s.SendAll()
	pin := flowtest.PINOf(s.Sender.Taken()[0].Body)

	s.Sender.Refuse(&flow.SendError{Class: flow.ClassConfig, Code: 20003, Err: errors.New("no such account")})
	held := ask(t, s, ann)
	s.SendAll()
	if c := conversation(t, s, held); c.State != flow.Asked {
		t.Errorf("the order whose text is held back is %s", c.State)
	}
	_, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: "+14155550125"})
	var told *flow.Error
	if !errors.As(err, &told) || told.Code != flow.Unavailable || told.Reason != flow.ReasonBreaker || told.RetryAfter <= 0 {
		t.Fatalf("a new order while the breaker is open: %v", err)
	}
	if standing, err := s.Desk.Check(ctx, browser, out, pin); err != nil || standing.Event != flow.Matched {
		t.Errorf("a check while the breaker is open: %v (%v)", standing.Event, err)
	}

	s.Pass(told.RetryAfter)
	s.SendAll() // what was held back tries, and is taken
	if m := message(t, s, held); m.State != flow.Accepted {
		t.Errorf("afterwards the text is %s", m.State)
	}
	if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: "+14155550125"}); err != nil {
		t.Errorf("a new order after the breaker closed: %v", err)
	}
}

func TestWhatABreakerPutsOffIsNotDropped(t *testing.T) {
	s := newShop(t)
	first, second := ask(t, s, ann), ask(t, s, bert)
	refusal := &flow.SendError{Class: flow.ClassConfig, Err: errors.New("no such account")}
	if err := s.Desk.Sent(ctx, message(t, s, first), flow.Sent{Err: refusal}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Desk.Text(ctx, message(t, s, second)); !errors.Is(err, flow.ErrPutOff) {
		t.Errorf("Text: %v, want %v", err, flow.ErrPutOff)
	}
	if m := message(t, s, second); m.State != flow.Waiting {
		t.Errorf("it is %s", m.State)
	}
}

func TestBreakerOfACountry(t *testing.T) {
	s := newShop(t)
	s.Rules.Countries = []string{"US", "SE"}
	s.Restart()
	s.Sender.Refuse(&flow.SendError{Class: flow.ClassCountry, Code: 21408, Err: errors.New("not enabled")})
	ask(t, s, "+46701234567")
	s.SendAll()
	var told *flow.Error
	if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: "+46701234568"}); !errors.As(err, &told) || told.Reason != flow.ReasonBreaker {
		t.Errorf("the same country: %v", err)
	}
	if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: ann.E164()}); err != nil {
		t.Errorf("another country: %v", err)
	}
}

// A clock that was far ahead, and is set right while a breaker is open, must not
// keep it open for as long.
func TestABreakerEndsThoughTheClockWentBack(t *testing.T) {
	for _, class := range []flow.Class{flow.ClassConfig, flow.ClassCountry} {
		t.Run(string(class), func(t *testing.T) {
			s := newShop(t)
			s.Sender.Refuse(&flow.SendError{Class: class, Err: errors.New("no")})
			ask(t, s, ann)
			s.SendAll()
			s.Pass(-24 * time.Hour)
			if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: bert.E164()}); err != nil {
				t.Errorf("a new order after the clock went back: %v", err)
			}
		})
	}
}

func TestTextsNotWorthSendingAreDropped(t *testing.T) {
	for name, meanwhile := range map[string]func(*flowtest.Shop, uuid.UUID){
		"declined": func(s *flowtest.Shop, o uuid.UUID) { _, _ = s.Desk.Decline(ctx, browser, o) },
		"moved":    func(s *flowtest.Shop, o uuid.UUID) { _, _ = s.Desk.Renumber(ctx, browser, o, bert.E164()) },
		"opted out": func(s *flowtest.Shop, _ uuid.UUID) {
			_, _ = s.Desk.Hear(ctx, flow.Heard{SID: "SM1", Line: s.Line(ann), Body: "STOP"})
		},
		"lapsed": func(s *flowtest.Shop, _ uuid.UUID) { s.Pass(72 * time.Hour); _, _ = s.Desk.Lapse(ctx) },
	} {
		for _, alone := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, alone %t", name, alone), func(t *testing.T) {
				s := newShop(t)
				s.Alone = alone
				s.Restart()
				order := ask(t, s, ann)
				first := message(t, s, order)
				meanwhile(s, order)
				s.SendAll()
				for _, text := range s.Sender.Taken() {
					if text.To == ann {
						t.Error("it was texted all the same")
					}
				}
				if m, _ := s.Ledger.Message(ctx, first.ID); m.State != flow.Dropped {
					t.Errorf("the row is %s", m.State)
				}
			})
		}
	}
}

// A hoarder answers for each line with what it loaded first, as a cache does
// that nobody tells of another process's saves.
type hoarder struct {
	flow.Ledger
	lines map[flow.LineID]flow.Line
}

func (h hoarder) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	if l, ok := h.lines[id]; ok {
		return l.Clone(), nil
	}
	l, err := h.Reload(ctx, id)
	h.lines[id] = l.Clone()
	return l, err
}

func TestOneDeskOfManyLooksPastItsCacheBeforeItTexts(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	hoards := hoarder{s.Ledger, map[flow.LineID]flow.Line{}}
	if _, err := hoards.Line(ctx, s.Line(ann)); err != nil {
		t.Fatal(err)
	}
	elsewhere := s.Desk
	s.Ledger = hoards
	nudged := message(t, s, order)
	s.Restart()
	if _, err := elsewhere.Renumber(ctx, browser, order, bert.E164()); err != nil {
		t.Fatal(err)
	}
	if text, err := s.Desk.Text(ctx, nudged); !errors.Is(err, flow.ErrDropped) {
		t.Errorf("a number that was changed away is texted: to %s, %v", text.To, err)
	}
}

// What happens to an order whose line this process has in its cache, from
// before another process changed it.
func TestWhatBecameOfATextIsToldToADeskWithAStaleCache(t *testing.T) {
	for _, tt := range []struct {
		name string
		// elsewhere changes the order, and here hears what became of its text.
		elsewhere, here func(s *flowtest.Shop, order uuid.UUID) error
		state           flow.State
	}{
		{"a bad receipt of a text that another resent",
			func(s *flowtest.Shop, order uuid.UUID) error {
				s.Pass(flow.ResendWait)
				_, err := s.Desk.Resend(ctx, browser, order)
				s.SendAll()
				return err
			},
			func(s *flowtest.Shop, order uuid.UUID) error {
				m := message(t, s, order)
				return s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003})
			},
			flow.Unreachable,
		},
		{"a good receipt after another's bad one",
			func(s *flowtest.Shop, order uuid.UUID) error {
				m := message(t, s, order)
				return s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003})
			},
			func(s *flowtest.Shop, order uuid.UUID) error {
				m := message(t, s, order)
				return s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusDelivered})
			},
			flow.Asked,
		},
		{"Twilio's refusal of a text that another wrote",
			func(s *flowtest.Shop, order uuid.UUID) error {
				s.Pass(flow.ResendWait)
				_, err := s.Desk.Resend(ctx, browser, order)
				return err
			},
			func(s *flowtest.Shop, order uuid.UUID) error {
				return s.Desk.Sent(ctx, message(t, s, order), flow.Sent{
					Posted: true, Err: &flow.SendError{Class: flow.ClassNumber, Err: errors.New("no such number")},
				})
			},
			flow.Unreachable,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShop(t)
			order := ask(t, s, ann)
			s.SendAll()
			hoards := hoarder{s.Ledger, map[flow.LineID]flow.Line{}}
			if _, err := hoards.Line(ctx, s.Line(ann)); err != nil {
				t.Fatal(err)
			}
			if err := tt.elsewhere(s, order); err != nil {
				t.Fatal(err)
			}
			s.Ledger = hoards
			s.Restart()
			if err := tt.here(s, order); err != nil {
				t.Fatal(err)
			}
			if c := conversation(t, s, order); c.State != tt.state {
				t.Errorf("the order is %s (%s), its text %s and %s", c.State, c.Failure, message(t, s, order).State, message(t, s, order).Status)
			}
		})
	}
}

func TestAPINThatExpiresBeforeItLeavesIsReplaced(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	s.Restart()
	s.Pass(25 * time.Hour)
	s.SendAll()
	c := conversation(t, s, order)
	if c.Serial.N != 2 || c.State != flow.Asked || len(s.Sender.Taken()) != 1 {
		t.Errorf("serial %d, %s, %d texts; want a second serial, texted", c.Serial.N, c.State, len(s.Sender.Taken()))
	}
	// Refused by the guard, the order is unreachable.
	s = newShop(t)
	s.Rules.Guard.PerNumber = flow.Rate{N: 1, Per: 100 * time.Hour}
	s.Restart()
	order = ask(t, s, ann)
	s.Restart()
	s.Pass(25 * time.Hour)
	s.SendAll()
	if c := conversation(t, s, order); c.State != flow.Unreachable || c.Failure != flow.ClassExpired || len(s.Sender.Taken()) != 0 {
		t.Errorf("%s (%s), %d texts; want unreachable", c.State, c.Failure, len(s.Sender.Taken()))
	}
}

// Receipts come in any order, several times, or not at all: the same ones lead
// to the same end, also where they contradict each other.
func TestReceiptsInAnyOrder(t *testing.T) {
	for _, alone := range []bool{false, true} {
		for _, codes := range []map[flow.Status]int{
			{flow.StatusFailed: 30008, flow.StatusUndelivered: 30003},
			{flow.StatusFailed: 21610, flow.StatusUndelivered: 21610},
		} {
			t.Run(fmt.Sprintf("alone %t, by %d", alone, codes[flow.StatusFailed]), func(t *testing.T) {
				receiptsInAnyOrder(t, alone, codes)
			})
		}
	}
}

func receiptsInAnyOrder(t *testing.T, alone bool, codes map[flow.Status]int) {
	most := 4
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		most = 6
	}
	words := []flow.Status{flow.StatusQueued, flow.StatusSent, flow.StatusFailed, flow.StatusUndelivered, flow.StatusDelivered, "teleported"}
	type end struct {
		Status   flow.Status
		State    flow.State
		Failure  flow.Class
		OptedOut bool
	}
	optedOut := codes[flow.StatusFailed] == 21610
	ends := map[string]end{} // by which receipts they were
	var s *flowtest.Shop
	n := 0
	var follow func(receipts []flow.Status)
	follow = func(receipts []flow.Status) {
		if n++; n%100 == 1 { // so that its rows are few
			s = newShop(t)
			s.Alone = alone
			s.Restart()
		}
		id := ask(t, s, flow.Number(fmt.Sprintf("+1415%07d", 5_000_000+n)))
		s.SendAll()
		m := message(t, s, id)
		for _, status := range receipts {
			if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: status, Code: codes[status]}); err != nil {
				t.Fatal(err)
			}
		}
		c := conversation(t, s, id)
		line, err := s.Ledger.Line(ctx, c.Line)
		if err != nil {
			t.Fatal(err)
		}
		got := end{message(t, s, id).Status, c.State, c.Failure, !line.OptedOut.IsZero()}
		which := fmt.Sprint(slices.Sorted(slices.Values(receipts)))
		if first, ok := ends[which]; ok && got != first {
			t.Fatalf("%v lead to %v, in another order to %v", receipts, got, first)
		}
		ends[which] = got
		if len(receipts) < most {
			for _, next := range words {
				follow(append(slices.Clone(receipts), next))
			}
		}
	}
	follow(nil)
	for which, want := range map[string]end{
		"[]":                             {"", flow.Asked, "", false},
		"[teleported]":                   {"", flow.Asked, "", false},
		"[queued sent]":                  {flow.StatusSent, flow.Asked, "", false},
		"[delivered queued sent sent]":   {flow.StatusDelivered, flow.Asked, "", false},
		"[queued sent undelivered]":      {flow.StatusUndelivered, flow.Unreachable, s.Sender.Class(codes[flow.StatusUndelivered]), optedOut},
		"[failed sent undelivered]":      {flow.StatusUndelivered, flow.Unreachable, s.Sender.Class(codes[flow.StatusUndelivered]), optedOut},
		"[failed failed]":                {flow.StatusFailed, flow.Unreachable, s.Sender.Class(codes[flow.StatusFailed]), optedOut},
		"[delivered failed undelivered]": {flow.StatusDelivered, flow.Asked, "", false},
		"[delivered sent teleported]":    {flow.StatusDelivered, flow.Asked, "", false},
	} {
		if got, ok := ends[which]; !ok || got != want {
			t.Errorf("%s lead to %v, want %v", which, got, want)
		}
	}
	t.Logf("%d orders of receipts, %d ends", n, len(ends))
}

// A reading counts how often a message is read.
type reading struct {
	flow.Ledger
	n atomic.Int32
}

func (r *reading) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	r.n.Add(1)
	return r.Ledger.Message(ctx, id)
}

func TestATextIsLookedForWhereItMayNotBeRemembered(t *testing.T) {
	delivered := func(s *flowtest.Shop, m flow.Message) error {
		return s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusDelivered})
	}
	for _, tt := range []struct {
		name  string
		alone bool
		first func(s *flowtest.Shop, m flow.Message) error
		want  int32
	}{
		{"a text that was sent here", true, nil, 0},
		{"one that another process may have had a receipt of", false, nil, 1},
		{"one from before a restart", true, func(s *flowtest.Shop, _ flow.Message) error { s.Restart(); return nil }, 1},
		{"one from before it, the second time", true, func(s *flowtest.Shop, m flow.Message) error { s.Restart(); return delivered(s, m) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShop(t)
			reads := &reading{Ledger: s.Ledger}
			s.Alone, s.Ledger = tt.alone, reads
			s.Restart()
			order := ask(t, s, ann)
			s.SendAll()
			text := message(t, s, order)
			reads.n.Store(0)
			if tt.first != nil {
				if err := tt.first(s, text); err != nil {
					t.Fatal(err)
				}
			}
			if err := delivered(s, text); err != nil {
				t.Fatal(err)
			}
			if got := reads.n.Load(); got != tt.want {
				t.Errorf("the text was read %d times, want %d", got, tt.want)
			}
			if is := message(t, s, order).Status; is != flow.StatusDelivered {
				t.Errorf("the text is %s", is)
			}
		})
	}
}

// Nobody was told that the receipt was written, and then Twilio answered who
// had the text sent: that it is taken is all that was known of it.
func TestWhatOvertakesTheAnswerIsNotForgotten(t *testing.T) {
	rows := flowtest.NewLedger()
	s := flowtest.NewShop(t, rows)
	s.Alone = true
	s.Restart()
	order := ask(t, s, ann)
	m := message(t, s, order)
	const sid = "SM00000000000000000000000000000001"
	lost := errors.New("the answer to the commit was lost")
	rows.Lose(lost)
	if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: sid, Status: flow.StatusDelivered}); !errors.Is(err, lost) {
		t.Fatalf("the receipt of unknown outcome is answered %v", err)
	}
	if err := s.Desk.Sent(ctx, m, flow.Sent{SID: sid}); err != nil {
		t.Fatal(err)
	}
	if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: sid, Status: flow.StatusFailed, Code: 21610}); err != nil {
		t.Fatal(err)
	}
	if c := conversation(t, s, order); c.State != flow.Asked {
		t.Errorf("the text was delivered, and its order is %s (%s)", c.State, c.Failure)
	}
}

// A meeting has the first two who read a message go on together.
type meeting struct {
	flow.Ledger
	met  sync.WaitGroup
	left atomic.Int32
}

func (m *meeting) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	msg, err := m.Ledger.Message(ctx, id)
	if m.left.Add(-1) >= 0 {
		m.met.Done()
		m.met.Wait()
	}
	return msg, err
}

func TestReceiptsThatContradictEachOtherAtOnce(t *testing.T) {
	for range 200 {
		s := newShop(t)
		id := ask(t, s, ann)
		s.SendAll()
		m := message(t, s, id)
		meets := &meeting{Ledger: s.Ledger}
		meets.met.Add(2)
		meets.left.Store(2)
		s.Ledger = meets
		s.Restart()
		var both sync.WaitGroup
		for _, r := range []flow.Receipt{
			{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003},
			{Message: m.ID, SID: m.SID, Status: flow.StatusDelivered},
		} {
			both.Go(func() {
				if err := s.Desk.Receipt(ctx, r); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if c, m := conversation(t, s, id), message(t, s, id); c.State != flow.Asked || m.Status != flow.StatusDelivered {
			t.Fatalf("the order is %s (%s), its text %s", c.State, c.Failure, m.Status)
		}
	}
}

// An interrupted ledger has something happen just before it saves a receipt.
type interrupted struct {
	flow.Ledger
	before func()
}

func (i interrupted) Save(ctx context.Context, ch flow.Change) error {
	if ch.Receipt != nil {
		i.before()
	}
	return i.Ledger.Save(ctx, ch)
}

func TestABadReceiptHeardElsewhereWhileAGoodOneIsWritten(t *testing.T) {
	s := newShop(t)
	id := ask(t, s, ann)
	s.SendAll()
	m := message(t, s, id)
	hoards := hoarder{s.Ledger, map[flow.LineID]flow.Line{}}
	if _, err := hoards.Line(ctx, s.Line(ann)); err != nil {
		t.Fatal(err)
	}
	elsewhere := s.Desk
	s.Ledger = interrupted{hoards, func() {
		if err := elsewhere.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003}); err != nil {
			t.Error(err)
		}
	}}
	s.Restart()
	if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusDelivered}); err != nil {
		t.Fatal(err)
	}
	if c, m := conversation(t, s, id), message(t, s, id); c.State != flow.Asked || m.Status != flow.StatusDelivered {
		t.Errorf("the order is %s (%s), its text %s", c.State, c.Failure, m.Status)
	}
}

// A failing ledger fails to answer what follows the save of a receipt, once.
type failing struct {
	flow.Ledger
	failed atomic.Bool
	saved  atomic.Bool
}

var errGone = errors.New("the database went away")

func (f *failing) fails() bool { return f.saved.Load() && f.failed.CompareAndSwap(false, true) }

func (f *failing) Save(ctx context.Context, ch flow.Change) error {
	err := f.Ledger.Save(ctx, ch)
	f.saved.Store(f.saved.Load() || err == nil && ch.Receipt != nil)
	return err
}

func (f *failing) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	if f.fails() {
		return flow.Line{}, errGone
	}
	return f.Ledger.Reload(ctx, id)
}

func (f *failing) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	if f.fails() {
		return flow.Message{}, errGone
	}
	return f.Ledger.Message(ctx, id)
}

// What was written of a receipt, and not what was to follow, follows when it is
// told again.
func TestAReceiptThatWasInterruptedIsToldAgain(t *testing.T) {
	for _, tt := range []struct{ meanwhile, interrupted flow.Status }{
		{flow.StatusUndelivered, flow.StatusDelivered},
		{flow.StatusDelivered, flow.StatusUndelivered},
	} {
		t.Run(string(tt.interrupted), func(t *testing.T) {
			s := newShop(t)
			id := ask(t, s, ann)
			s.SendAll()
			m := message(t, s, id)
			tell := func(d *flow.Desk, status flow.Status) error {
				return d.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: status, Code: 30003})
			}
			elsewhere, once := s.Desk, sync.Once{}
			rows := s.Ledger
			s.Ledger = &failing{Ledger: interrupted{rows, func() {
				once.Do(func() {
					if err := tell(elsewhere, tt.meanwhile); err != nil {
						t.Error(err)
					}
				})
			}}}
			s.Restart()
			if err := tell(s.Desk, tt.interrupted); !errors.Is(err, errGone) {
				t.Fatalf("the receipt is answered %v", err)
			}
			if err := tell(s.Desk, tt.interrupted); err != nil {
				t.Fatal(err)
			}
			if c, m := conversation(t, s, id), message(t, s, id); c.State != flow.Asked || m.Status != flow.StatusDelivered {
				t.Errorf("the order is %s (%s), its text %s", c.State, c.Failure, m.Status)
			}
		})
	}
}

func TestReceipts(t *testing.T) {
	t.Run("before our 201 settles the text", func(t *testing.T) {
		s := newShop(t)
		id := ask(t, s, ann)
		m := message(t, s, id)
		if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: "SM7", Status: flow.StatusSent}); err != nil {
			t.Fatal(err)
		}
		if m := message(t, s, id); m.State != flow.Accepted || m.SID != "SM7" || m.Status != flow.StatusSent {
			t.Errorf("the row is %s, %s, %s", m.State, m.SID, m.Status)
		}
	})
	t.Run("by the sid alone is found", func(t *testing.T) {
		s := newShop(t)
		id := ask(t, s, ann)
		s.SendAll()
		if err := s.Desk.Receipt(ctx, flow.Receipt{SID: message(t, s, id).SID, Status: flow.StatusDelivered}); err != nil {
			t.Fatal(err)
		}
		if m := message(t, s, id); m.Status != flow.StatusDelivered {
			t.Errorf("the row is %s", m.Status)
		}
	})
	t.Run("of a text that is not ours is kept and no error", func(t *testing.T) {
		s := newShop(t)
		for _, r := range []flow.Receipt{
			{SID: "SM9", Status: flow.StatusFailed, Code: 30003},
			{Message: uuid.Must(uuid.NewV7()), SID: "SM9", Status: flow.StatusDelivered},
		} {
			if err := s.Desk.Receipt(ctx, r); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("of a replaced text says nothing of the order", func(t *testing.T) {
		s := newShop(t)
		id := ask(t, s, ann)
		s.SendAll()
		old := message(t, s, id)
		s.Pass(time.Minute)
		if _, err := s.Desk.Resend(ctx, browser, id); err != nil {
			t.Fatal(err)
		}
		s.SendAll()
		if err := s.Desk.Receipt(ctx, flow.Receipt{Message: old.ID, SID: old.SID, Status: flow.StatusFailed, Code: 30003}); err != nil {
			t.Fatal(err)
		}
		if c := conversation(t, s, id); c.State != flow.Asked {
			t.Errorf("the order is %s", c.State)
		}
	})
	t.Run("of an opt-out stops the line", func(t *testing.T) {
		s := newShop(t)
		id := ask(t, s, ann)
		s.SendAll()
		m := message(t, s, id)
		if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 21610}); err != nil {
			t.Fatal(err)
		}
		s.Pass(time.Hour)
		var told *flow.Error
		if _, err := s.Desk.Resend(ctx, browser, id); !errors.As(err, &told) || told.Reason != flow.ReasonOptOut {
			t.Errorf("a resend to an opted-out number: %v", err)
		}
	})
	t.Run("a bad one after the order was confirmed changes nothing", func(t *testing.T) {
		s := newShop(t)
		id := ask(t, s, ann)
		s.SendAll()
		m := message(t, s, id)
		if _, err := s.Desk.Check(ctx, browser, id, flowtest.PINOf(s.Sender.Taken()[0].Body)); err != nil {
			t.Fatal(err)
		}
		if err := s.Desk.Receipt(ctx, flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusFailed, Code: 30003}); err != nil {
			t.Fatal(err)
		}
		if c := conversation(t, s, id); c.State != flow.Confirmed {
			t.Errorf("the order is %s", c.State)
		}
	})
}

// The ceiling of a day holds for all lines together, however they race.
func TestTextsPerDay(t *testing.T) {
	s := newShop(t)
	s.Rules.Guard.PerDay = 3
	s.Restart()
	for i := range 5 {
		_, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: fmt.Sprintf("+1415555013%d", i)})
		var told *flow.Error
		switch refused := errors.As(err, &told); {
		case i < 3 && err != nil:
			t.Fatalf("text %d: %v", i+1, err)
		case i >= 3 && (!refused || told.Reason != flow.ReasonDay || told.Code != flow.Unavailable || told.RetryAfter != 15*time.Hour):
			t.Errorf("text %d over the ceiling: %v", i+1, err)
		}
	}
	s.Pass(15 * time.Hour) // midnight
	if _, err := s.Desk.Ask(ctx, flow.Asking{Browser: browser, Typed: "+14155550134"}); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// What a browser can have us keep is bounded, whatever it posts and however
// often.
func TestAnOrderDoesNotGrowWithoutBound(t *testing.T) {
	s := newShop(t)
	order := ask(t, s, ann)
	var told *flow.Error
	for i := range 200 {
		_, err := s.Desk.Place(ctx, flow.Placing{PIN: "1", Asking: flow.Asking{
			Browser: browser, Order: order, Entries: []flow.Entry{{Field: fmt.Sprint("field", i), Value: strings.Repeat("x", 1000)}},
		}})
		if err != nil && !errors.As(err, &told) {
			t.Fatal(err)
		}
	}
	if told == nil || told.Code != flow.Invalid {
		t.Errorf("200 fields of a kilobyte are taken: %v", told)
	}
	size := 0
	for _, e := range conversation(t, s, order).Entries {
		size += len(e.Field) + len(e.Value)
	}
	if size > 16<<10 {
		t.Errorf("%d bytes are kept", size)
	}
}

func TestATryThatIsBarredWritesNothing(t *testing.T) {
	ledger := flowtest.NewLedger()
	s := flowtest.NewShop(t, ledger)
	order := ask(t, s, ann)
	for range flow.WebTries {
		if _, err := s.Desk.Check(ctx, browser, order, "000000"); err != nil {
			t.Fatal(err)
		}
	}
	before := len(ledger.Happenings(order))
	for range 20 {
		if standing, err := s.Desk.Check(ctx, browser, order, "000000"); err != nil || standing.Event != flow.Barred {
			t.Fatalf("%v (%v)", standing.Event, err)
		}
	}
	if after := len(ledger.Happenings(order)); after != before {
		t.Errorf("its history grew from %d to %d", before, after)
	}
}

// Whoever texts us a thousand times must not make the history of an order a
// thousand lines longer: each of them is read and written again with the next.
func TestTextsThatAreNotAnsweredWriteNoHistory(t *testing.T) {
	for _, tt := range []struct {
		name, body      string
		before, between time.Duration
	}{
		{"PINs without a try left", "000000", 0, 0},
		{"PINs after their time", "000000", 25 * time.Hour, 0},
		{"NEW, which the guard refuses", "NEW", 0, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ledger := flowtest.NewLedger()
			s := flowtest.NewShop(t, ledger)
			order := ask(t, s, ann)
			s.Pass(tt.before)
			texts := func(n int) int {
				for range n {
					hear(t, s, ann, tt.body)
					s.Pass(tt.between)
				}
				return len(ledger.Happenings(order))
			}
			before := texts(30)
			if after := texts(100); after != before {
				t.Errorf("its history grew from %d to %d", before, after)
			}
		})
	}
}

func TestManyOrdersLapse(t *testing.T) {
	s := newShop(t)
	s.Rules.Guard.PerDay = 1000
	s.Restart()
	var orders []uuid.UUID
	for n := range 300 {
		orders = append(orders, ask(t, s, flow.Number(fmt.Sprintf("+1415%07d", 5_000_000+n))))
	}
	s.Pass(s.Rules.OrderTTL)
	for n, want := range []bool{true, true, false} {
		if more, err := s.Desk.Lapse(ctx); err != nil || more != want {
			t.Errorf("the lapsing number %d tells of more: %v, %v; want %v", n+1, more, err, want)
		}
	}
	for _, order := range orders {
		if c := conversation(t, s, order); c.State != flow.Lapsed {
			t.Fatalf("an order is %s", c.State)
		}
	}
}

// astray is a ledger with an order that lapses and that its line does not list.
type astray struct {
	flow.Ledger
	line flow.LineID
}

func (a astray) Lapsing(ctx context.Context, now time.Time, limit int) ([]flow.LineID, error) {
	ids, err := a.Ledger.Lapsing(ctx, now, limit-1)
	return append(ids, a.line), err
}

func TestAnOrderThatCannotLapseIsNotMore(t *testing.T) {
	for name, refused := range map[string]error{"together": nil, "one by one": errors.New("refused together")} {
		t.Run(name, func(t *testing.T) {
			ledger := flowtest.NewLedger()
			s := flowtest.NewShop(t, ledger)
			s.Ledger = astray{ledger, s.Line(bert)}
			s.Restart()
			order := ask(t, s, ann)
			s.Pass(s.Rules.OrderTTL)
			if refused != nil {
				ledger.Refuse(refused)
			}
			for n, want := range []bool{true, false} {
				if more, err := s.Desk.Lapse(ctx); err != nil || more != want {
					t.Errorf("the lapsing number %d tells of more: %v, %v; want %v", n+1, more, err, want)
				}
			}
			if c := conversation(t, s, order); c.State != flow.Lapsed {
				t.Errorf("the order that its line lists is %s", c.State)
			}
		})
	}
}
