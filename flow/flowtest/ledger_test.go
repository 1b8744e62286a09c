package flowtest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestFakeLedger(t *testing.T) {
	flowtest.TestLedger(t, func(*testing.T) flow.Ledger { return flowtest.NewLedger() })
}

// As SQLite's, whose test this is too.
func TestFakeLedgerRefusesWhatHappenedToNoOrder(t *testing.T) {
	l, now := flowtest.NewLedger(), time.Now()
	line := flow.Line{LineID: flow.LineID{Number: "+14155550123", Sender: "+18005550100"}}
	order := flow.Conversation{ID: flowtest.NewID(now), State: flow.Asked, Created: now}
	events := []flow.Happening{{Order: order.ID, At: now, Event: flow.Ordered}}

	if err := l.Save(t.Context(), flow.Change{Events: events}); err == nil || errors.Is(err, flow.ErrNotFound) {
		t.Errorf("of no order: %v, want a bug's", err)
	}
	line.Conversations = []flow.Conversation{order}
	if err := l.Save(t.Context(), flow.Change{Lines: []flow.Line{line}, Events: events}); err != nil {
		t.Errorf("of an order that is saved with it: %v", err)
	}
	if err := l.Save(t.Context(), flow.Change{Events: events}); err != nil {
		t.Errorf("of an order that is there: %v", err)
	}
	if n := len(l.Happenings(order.ID)); n != 2 {
		t.Errorf("%d are kept, want 2", n)
	}
}
