package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/flow"
)

// The census walks in steps: none may be lost or counted twice between two.
func TestCensusBySteps(t *testing.T) {
	s := openTemp(t)
	want := map[flow.State]int{flow.Asked: 0, flow.Locked: 0, flow.Unreachable: 0}
	for n := range 30 {
		line := asking(n).Lines[0]
		c := &line.Conversations[0]
		c.State = flow.States[n%len(flow.States)]
		if c.Deadline = noon.Add(time.Duration(n/9) * time.Second); n%10 == 9 {
			c.Deadline = time.Time{}
		}
		if c.State.Open() {
			want[c.State]++
		}
		saved(t, s, line)
	}
	for _, step := range []int{1, 2, 3, 7, 1000} {
		if got, err := s.countOpen(t.Context(), step); err != nil || !cmp.Equal(got, want) {
			t.Errorf("by steps of %d: %v, %v; want %v", step, got, err, want)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.countOpen(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a census that nobody waits for: %v", err)
	}
}
