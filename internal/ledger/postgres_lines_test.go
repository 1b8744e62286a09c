package ledger

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
)

// A held reader reads a group when it is told to, and says how large it is.
type heldReader struct {
	lineReader
	sizes  chan int
	resume chan struct{}
}

func newHeldReader() *heldReader {
	r := &heldReader{sizes: make(chan int), resume: make(chan struct{})}
	r.read = func(group []*lineRead) {
		r.sizes <- len(group)
		<-r.resume
	}
	return r
}

// ask has that many ask, and returns once they wait; all is for their end.
func (r *heldReader) ask(t *testing.T, n int, all *sync.WaitGroup) {
	t.Helper()
	for i := range n {
		all.Go(func() {
			if l, err := r.await(t.Context(), lineID(i)); err != nil || l.LineID != lineID(i) {
				t.Errorf("line %d is %v, %v", i, l.LineID, err)
			}
		})
	}
	for waiting, _ := r.now(); waiting < n; waiting, _ = r.now() {
		runtime.Gosched()
	}
}

// now is how many wait, and how many groups are under way.
func (r *heldReader) now() (waiting, underWay int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting), r.underWay
}

func TestLinesAreReadTogether(t *testing.T) {
	r := newHeldReader()
	var all sync.WaitGroup
	for range groupsAtOnce { // each finds a group of its own
		all.Go(func() { _, _ = r.await(t.Context(), lineID(1)) })
		if n := <-r.sizes; n != 1 {
			t.Errorf("one who asks alone is in a group of %d", n)
		}
	}
	// Who asks while those are read is not among them: they may have been read
	// before something was saved that the asker knows of.
	r.ask(t, maxGroup+3, &all)
	for _, want := range []int{maxGroup, 3} {
		r.resume <- struct{}{}
		if n := <-r.sizes; n != want {
			t.Errorf("a group of %d, want %d", n, want)
		}
	}
	for range groupsAtOnce {
		r.resume <- struct{}{}
	}
	all.Wait()
	for _, underWay := r.now(); underWay > 0; _, underWay = r.now() { // or this never ends
		runtime.Gosched()
	}
}

func TestWhoLeavesALineIsNotWaitedFor(t *testing.T) {
	r := newHeldReader()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.await(ctx, lineID(1))
		left <- err
	}()
	<-r.sizes
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left is told %v", err)
	}
	if _, err := r.await(ctx, lineID(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left before is told %v", err)
	}
	r.resume <- struct{}{}
}
