package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// errClosed is what a closed ledger answers.
var errClosed = errors.New("the ledger is closed")

// maxGroup bounds what is committed together, and so how long the first of a
// group waits for the last.
const maxGroup = 64

// A writer is the one goroutine that writes. While it commits, others queue
// up; what waits then is committed together, for the price of one fsync.
type writer struct {
	queue   chan *job
	commit  func([]*job) // sets each job's err; nothing in it may be answered before its COMMIT
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once
}

// A job is one piece of work in a transaction, perhaps with others before and
// after it; and again in one of its own, if that one failed.
type job struct {
	// check only reads. If it fails the job is refused and the others go on.
	check func() error
	// write comes after it, and fails for the whole transaction.
	write func() error
	// save is what PostgreSQL does instead of both.
	save *save

	err  error
	done chan struct{} // closed when err is the outcome

	// taken is set once, by the writer that begins it or the caller that
	// gives it up.
	taken atomic.Bool
}

// newWriter starts a writer that has groups of jobs done by commit.
func newWriter(commit func([]*job)) *writer {
	w := &writer{
		queue:   make(chan *job, maxGroup),
		commit:  commit,
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
	}
	go w.run()
	return w
}

// do has a job done and returns after its commit. If ctx ends before it has
// begun, it never will; once begun, do stays for the outcome, since a caller
// who left could not know it.
func (w *writer) do(ctx context.Context, check, write func() error) error {
	return w.await(ctx, &job{check: check, write: write})
}

// await is do of a job that is made already.
func (w *writer) await(ctx context.Context, j *job) error {
	if err := w.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
	case <-w.closed:
		if j.taken.CompareAndSwap(false, true) {
			return errClosed // it came too late to be seen
		}
	}
	<-j.done
	return j.err
}

// knock is await of a job whose outcome nobody misses: if ctx ends first, it
// tells that.
func (w *writer) knock(ctx context.Context, j *job) error {
	if err := w.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-w.closed:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("the database does not answer: %w", ctx.Err())
	}
}

// enqueue queues a job up.
func (w *writer) enqueue(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.done = make(chan struct{})
	select {
	case <-w.closing:
		return errClosed
	default:
	}
	select {
	case w.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return errClosed
	}
}

// close ends the writer after what is queued up.
func (w *writer) close() {
	w.once.Do(func() { close(w.closing) })
	<-w.closed
}

func (w *writer) run() {
	defer close(w.closed)
	for {
		var first *job
		select {
		case first = <-w.queue:
		default:
			select {
			case first = <-w.queue:
			case <-w.closing:
				return
			}
		}
		// Yield once: who is about to ask gets into this group.
		runtime.Gosched()
		if group := w.collect(first); len(group) > 0 {
			w.commit(group)
			for _, j := range group {
				close(j.done)
			}
		}
	}
}

// collect returns first and what waits behind it, without what was given up.
func (w *writer) collect(first *job) []*job {
	var group []*job
	for next := first; ; {
		if next.taken.CompareAndSwap(false, true) {
			group = append(group, next)
		}
		if len(group) == maxGroup {
			return group
		}
		select {
		case next = <-w.queue:
		default:
			return group
		}
	}
}
