package flowtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/countersign/countersign/flow"
)

// TestRaces gives one order's PIN a thousand times at once, half on the page
// and half by reply, on a ledger that open opens: the right one and wrong ones.
// However they interleave, it is confirmed at most once, no road compares more
// than its tries, and everybody is answered.
func TestRaces(t *testing.T, open func(testing.TB) flow.Ledger) {
	for _, tt := range []struct {
		name  string
		right int // one in so many gives the right PIN; 0 for none
	}{
		{"all of them right", 1},
		{"one in fifty right", 50},
		{"all of them wrong", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ledger := open(t)
			defer func() { _ = ledger.Close() }()
			s := NewShop(t, ledger)
			seen := &checks{}
			s.watch(seen)
			// Another machine, which takes no turns with this one.
			far := NewShop(t, ledger)
			far.watch(seen)
			desks := []*flow.Desk{s.Desk, far.Desk}
			const number, racers = flow.Number("+14155550123"), 1000
			browser := flow.Browser{1}
			standing, err := s.Desk.Ask(context.Background(), flow.Asking{Browser: browser, Typed: number.E164(), Entries: complete()})
			if err != nil {
				t.Fatal(err)
			}
			s.SendAll()
			order := standing.Conversation.ID
			right := PINOf(s.Sender.Taken()[0].Body)

			start := make(chan struct{})
			var all sync.WaitGroup
			for i := range racers {
				pin := fmt.Sprintf("%06d", i)
				if tt.right > 0 && i%tt.right < 1 || pin == right {
					pin = right
				}
				if tt.right == 0 && pin == right {
					pin = "999999"
				}
				all.Go(func() {
					<-start
					desk := desks[i/2%2]
					for {
						var err error
						if i%2 == 0 {
							_, err = desk.Check(context.Background(), browser, order, pin)
						} else {
							_, err = desk.Hear(context.Background(), flow.Heard{
								SID: fmt.Sprintf("SM%032d", i), Line: s.Line(number), Body: pin,
							})
						}
						var told *flow.Error
						switch {
						case err == nil, errors.As(err, &told) && told.Code == flow.Conflict:
							return
						case told == nil || told.Code != flow.Unavailable:
							t.Errorf("racer %d is answered %v", i, err)
							return
						}
						// Too many for this machine; Twilio, or a customer, asks again.
					}
				})
			}
			close(start)
			all.Wait()

			c, err := ledger.Conversation(context.Background(), order)
			if err != nil {
				t.Fatal(err)
			}
			confirmed, missed := seen.count(flow.Matched), [2]int{}
			for i, ch := range []flow.Channel{flow.Web, flow.Reply} {
				for _, ev := range []flow.Event{flow.Missed, flow.Spent, flow.LastMiss} {
					missed[i] += seen.of[check{ch, ev}]
				}
			}
			if confirmed > 1 || (confirmed == 1) != (c.State == flow.Confirmed) {
				t.Errorf("%d confirmations, and the order is %s", confirmed, c.State)
			}
			if tt.right == 1 && confirmed != 1 {
				t.Errorf("%d confirmations, though every PIN was right", confirmed)
			}
			if tt.right == 0 && (c.State != flow.Locked || confirmed != 0) {
				t.Errorf("after wrong PINs alone it is %s", c.State)
			}
			if missed[0] > flow.WebTries || missed[1] > flow.ReplyTries {
				t.Errorf("%d misses on the page and %d by reply were compared; %d and %d are allowed",
					missed[0], missed[1], flow.WebTries, flow.ReplyTries)
			}
		})
	}
}

type check struct {
	ch flow.Channel
	ev flow.Event
}

// checks counts what PINs turned out to be.
type checks struct {
	Unwatched
	mu sync.Mutex
	of map[check]int
}

// Checked implements [flow.Watcher].
func (c *checks) Checked(ch flow.Channel, ev flow.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[check]int)
	}
	c.of[check{ch, ev}]++
}

func (c *checks) count(ev flow.Event) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[check{flow.Web, ev}] + c.of[check{flow.Reply, ev}]
}
