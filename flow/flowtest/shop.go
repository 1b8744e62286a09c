package flowtest

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
)

// A Shop is a desk at work on a ledger, with a fake Twilio, a clock that only
// moves when told to, and an outbox that sends when asked: what a test of whole
// conversations needs.
type Shop struct {
	Desk   *flow.Desk
	Ledger flow.Ledger
	Sender *Sender
	Rules  flow.Rules
	// Alone is the desk's, from the next Restart on.
	Alone bool
	Keys  *flow.Keyring

	t       testing.TB
	texts   *flow.Texts
	watcher flow.Watcher
	mu      sync.Mutex
	now     time.Time
	nudged  []flow.Message
}

// ShopSender is the number that a Shop texts from.
const ShopSender = "+18005550100"

// NewShop opens a shop on ledger.
func NewShop(t testing.TB, ledger flow.Ledger) *Shop {
	t.Helper()
	keys, err := flow.NewKeyring(flow.Key("a key for tests that is long enough"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Shop{
		t: t, Ledger: ledger, Sender: NewSender(), Keys: keys, watcher: Unwatched{},
		now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Rules: flow.Rules{
			Shop: "Acme", Host: "shop.example", Sender: ShopSender,
			Region: "US", Countries: []string{"US"}, Locale: "en",
			PINLength: 6, PINTTL: 24 * time.Hour, OrderTTL: 72 * time.Hour,
			Guard:    flow.Guard{PerNumber: flow.Rate{N: 5, Per: 24 * time.Hour}, PerDay: 2000},
			Required: []string{"name", "address", "items"},
		},
	}
	s.texts, err = flow.LoadTexts(nil, "", s.Rules.Shop, s.Rules.Host)
	if err != nil {
		t.Fatal(err)
	}
	s.Sender.Now = s.Now
	s.Restart()
	return s
}

// Restart opens the desk anew, as after a crash: what was nudged is forgotten.
func (s *Shop) Restart() {
	s.mu.Lock()
	s.nudged = nil
	s.mu.Unlock()
	s.Desk = flow.NewDesk(flow.Config{
		Ledger: s.Ledger, Sender: s.Sender, Watcher: s.watcher, Keys: s.Keys, Texts: s.texts,
		Rules: s.Rules, Log: slog.New(slog.DiscardHandler), Now: s.Now, Alone: s.Alone,
		Patience: time.Nanosecond, // the test sends, and nobody else
		Nudge: func(_ context.Context, m flow.Message) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.nudged = append(s.nudged, m)
		},
	})
}

// watch opens the desk anew with w told of everything.
func (s *Shop) watch(w flow.Watcher) {
	s.watcher = w
	s.Restart()
}

// Now is the shop's clock.
func (s *Shop) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Pass lets time pass, which may be negative.
func (s *Shop) Pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// SendAll texts what waits to be texted: what this desk was nudged of, then
// what the ledger says is due, until nothing is. A text that cannot be settled,
// since the ledger was made to fail, is left alone until its lease ends.
func (s *Shop) SendAll() {
	s.t.Helper()
	ctx := context.Background()
	for {
		s.mu.Lock()
		batch := s.nudged
		s.nudged = nil
		now := s.now
		s.mu.Unlock()
		if len(batch) == 0 {
			due, err := s.Ledger.Take(ctx, now, now.Add(flow.Lease), 100)
			if err != nil {
				s.t.Fatalf("take: %v", err)
			}
			if batch = due; len(batch) == 0 {
				return
			}
		}
		for _, m := range batch {
			s.send(ctx, m)
		}
	}
}

func (s *Shop) send(ctx context.Context, m flow.Message) {
	s.t.Helper()
	text, err := s.Desk.Text(ctx, m)
	if errors.Is(err, flow.ErrDropped) || errors.Is(err, flow.ErrPutOff) || errors.Is(err, flow.ErrStale) || errors.Is(err, errSave) {
		return
	}
	if err != nil {
		s.t.Fatalf("render: %v", err)
	}
	sent := flow.Sent{Began: s.Now()}
	if m.Unknown > 0 {
		since := m.Created
		if !m.Attempted.IsZero() {
			since = m.Attempted
		}
		found, err := s.Sender.Find(ctx, text, since.Add(-5*time.Second))
		if err != nil {
			s.t.Fatalf("find: %v", err)
		}
		for _, f := range found {
			err := s.Desk.Sent(ctx, m, flow.Sent{SID: f.SID, Adopted: true, Began: sent.Began})
			if err == nil || errors.Is(err, flow.ErrStale) || errors.Is(err, errSave) {
				return
			}
			if !errors.Is(err, flow.ErrClaimed) {
				s.t.Fatalf("adopt: %v", err)
			}
		}
	}
	if m.Unknown >= flow.MaxUnknown {
		sent.Lost, sent.Err = true, &flow.SendError{Class: flow.ClassUnknown, Err: errors.New("lost")}
	} else {
		sent.Posted = true
		sent.SID, sent.Err = s.Sender.Send(ctx, text)
	}
	if err := s.Desk.Sent(ctx, m, sent); err != nil && !errors.Is(err, flow.ErrStale) && !errors.Is(err, errSave) {
		s.t.Fatalf("settle: %v", err)
	}
}

// Line is the line of a number with this shop.
func (s *Shop) Line(n flow.Number) flow.LineID { return flow.LineID{Number: n, Sender: s.Rules.Sender} }

var pinInText = regexp.MustCompile(`(?m)^@\S+ #(\d+)$`)

// PINOf returns the PIN that a text's last line carries, or "".
func PINOf(body string) string {
	m := pinInText.FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return m[1]
}

// Unwatched is a [flow.Watcher] that looks away.
type Unwatched struct{}

var _ flow.Watcher = Unwatched{}

func (Unwatched) Issued(flow.Channel)                                   {}
func (Unwatched) Checked(flow.Channel, flow.Event)                      {}
func (Unwatched) Entered(flow.State)                                    {}
func (Unwatched) Ended(string, flow.State, flow.Channel, time.Duration) {}
func (Unwatched) Refused(flow.Reason)                                   {}
func (Unwatched) Answered(flow.Saying)                                  {}
func (Unwatched) TextFailed(flow.Class, flow.Action)                    {}
func (Unwatched) BreakerOpen(bool)                                      {}
func (Unwatched) Received(flow.Status, time.Duration)                   {}
func (Unwatched) Texted(flow.Saying, flow.MessageState, int, string, time.Duration) {
}
