// Package outbox carries texts from their rows to Twilio, and what became of
// them back.
//
// A message is written leased to the process that wrote it, which tells the
// outbox at once by [Outbox.Nudge]: no row is polled for. [Outbox.Run] works
// through these, and every while sweeps up what is due: texts to be tried
// again, texts given back, and texts whose lease ran out because the process
// that held it died (this file). Each is rendered just before it leaves, and
// one that may have left before is first looked for at Twilio (text.go).
//
// The lease is what keeps two processes from texting the same message. A POST
// never outlives it, and nothing is settled without it: whoever comes back
// late finds that the row is another's, and leaves it. So a lease that ran out
// always means that the outcome is unknown, and that is the only thing that a
// crash can leave behind, at whatever moment it comes. Hence a panic is not
// caught here: it takes the process down, and the next one reconciles.
package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/countersign/countersign/flow"
)

// A Clerk knows what a text says, and what follows from what became of it. It
// is the desk.
type Clerk interface {
	// Text renders m. It fails with [flow.ErrDropped] if m is no longer worth
	// sending, and with [flow.ErrPutOff] if it has to wait; m is settled then.
	Text(ctx context.Context, m flow.Message) (flow.Text, error)
	// Sent settles what became of m. It fails with [flow.ErrClaimed] if an
	// adopted sid is another message's, and with [flow.ErrStale] if the lease
	// was lost; m is as it was then.
	Sent(ctx context.Context, m flow.Message, s flow.Sent) error
	// Lapse ends orders whose deadline has passed, and reports whether there
	// are more.
	Lapse(ctx context.Context) (more bool, err error)
}

// A Ledger is what the outbox asks of a [flow.Ledger].
type Ledger interface {
	Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error)
	Save(ctx context.Context, ch flow.Change) error
}

// Config is what an outbox is made of. Ledger, Clerk, Sender, Now and Log must
// be set.
type Config struct {
	Ledger Ledger
	Clerk  Clerk
	Sender flow.Sender
	Now    func() time.Time
	Log    *slog.Logger

	// Workers text at the same time; 0 is 64. A POST takes a fraction of a
	// second, in which a worker waits for Twilio and costs next to nothing.
	Workers int
	// Lease is how long a message is held, and Deadline how long a POST may
	// take; 0 is [flow.Lease] and [flow.Deadline].
	Lease, Deadline time.Duration
	// Every is the time from sweep to sweep; 0 is one second.
	Every time.Duration
	// At is called at the named points of every text, for tests that kill the
	// process there; nil for none.
	At func(Point, flow.Message)
	// Asker returns what of a context a text that waits for another try is to
	// keep, so that it still knows who asked for it, and whether there is any.
	// It must hold on to nothing of the request. Nil keeps nothing.
	Asker func(context.Context) (asker context.Context, known bool)
	// Trace follows one try to text a message: it returns the context to work
	// in, and what to call at the end. Nil for nobody who does.
	Trace func(context.Context, flow.Message) (context.Context, func())
}

// A Point is a moment in the life of a text at which a crash is of interest.
type Point string

// The points, in their order.
const (
	BeforeRender Point = "before-render" // its order is looked at
	BeforePost   Point = "before-post"   // Twilio has not heard of it
	AfterPost    Point = "after-post"    // Twilio has it, and only this goroutine knows
	BeforeSettle Point = "before-settle" // the same, about to be written
)

// An Outbox texts the messages of one ledger. Make it with [New].
type Outbox struct {
	Config
	queue chan *job
	// held counts the messages in the queue and with workers.
	held atomic.Int64
	// freed has a token when a worker has become free.
	freed chan struct{}
	// askers are for whom the texts are that were nudged and have not come to
	// their end, for as long as this process lives: the ledger does not know.
	askers *lru.Cache[uuid.UUID, context.Context]

	mu      sync.Mutex
	closed  bool
	returns sync.WaitGroup // the messages on their way back to their rows
}

// A job is a message to be texted, for whom the context is of.
type job struct {
	ctx context.Context
	flow.Message
}

// askersKept is more texts than are under way at one time, but when Twilio is
// down for long: then those that were nudged longest ago lose their askers.
// Each is some hundred bytes.
const askersKept = 10_000

// New returns an outbox; it does nothing before [Outbox.Run].
func New(c Config) *Outbox {
	if c.Workers <= 0 {
		c.Workers = 64
	}
	if c.Lease <= 0 {
		c.Lease = flow.Lease
	}
	if c.Deadline <= 0 {
		c.Deadline = flow.Deadline
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	if c.At == nil {
		c.At = func(Point, flow.Message) {}
	}
	if c.Trace == nil {
		c.Trace = func(ctx context.Context, _ flow.Message) (context.Context, func()) { return ctx, func() {} }
	}
	if c.Asker == nil {
		c.Asker = func(context.Context) (context.Context, bool) { return nil, false }
	}
	askers, err := lru.New[uuid.UUID, context.Context](askersKept)
	if err != nil {
		panic(err) // only for no size at all
	}
	return &Outbox{
		Config: c,
		askers: askers,
		// As many as the workers get through in about the time that a lease
		// has to spare. What would wait longer is better off in the ledger,
		// where other processes see it. Of pointers, since the garbage
		// collector looks at all of it, empty too.
		queue: make(chan *job, 64*c.Workers),
		freed: make(chan struct{}, 1),
	}
}

// Nudge hands over a message that was just written leased to this process. It
// never blocks. What ctx says of who asked for the text, its work is told;
// that the asker has gone is no reason to stop.
//
// If the queue is full, or Run is ending, the message goes back to its row as
// due: it was certainly not texted, and left alone it would come back only
// with its lease, as one whose outcome is unknown. That takes a goroutine and
// a save of its own; the ledger has just managed one for this message and
// commits them together. After Run has ended, the message is left alone.
func (o *Outbox) Nudge(ctx context.Context, m flow.Message) {
	j := &job{context.WithoutCancel(ctx), m}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	// However it is put off, or its lease lost, it knows its next time.
	if asker, known := o.Asker(j.ctx); known {
		o.askers.Add(m.ID, asker)
	}
	o.held.Add(1)
	select {
	case o.queue <- j:
	default:
		o.held.Add(-1)
		o.returns.Go(func() { o.giveBack(j.ctx, j.Message, 0) })
	}
}

// Run texts until ctx is done. Then nothing new is leased or begun: what is
// queued goes back to its rows, due at once, and what is being texted is
// settled, which takes no longer than its lease. Run it once.
func (o *Outbox) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range o.Workers {
		all.Go(func() { o.work(ctx) })
	}
	all.Go(func() { o.lapse(ctx) })
	o.sweep(ctx)
	all.Wait()

	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	for len(o.queue) > 0 { // nobody else sends or receives any more
		j := <-o.queue
		o.returns.Go(func() { o.giveBack(j.ctx, j.Message, 0) })
	}
	o.returns.Wait()
}

// work texts one message after the other.
func (o *Outbox) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-o.queue:
			if ctx.Err() != nil { // select has no preference
				o.giveBack(j.ctx, j.Message, 0)
				return
			}
			// A text that was begun is finished: its context is not Run's.
			o.text(j.ctx, j.Message)
			o.held.Add(-1)
			select {
			case o.freed <- struct{}{}:
			default:
			}
		}
	}
}

// sweep takes what is due: at once, since a restart must not wait, then every
// while, and while there is more than the workers can take, as soon as one of
// them is free.
func (o *Outbox) sweep(ctx context.Context) {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		var freed <-chan struct{}
		if o.take(context.WithoutCancel(ctx)) {
			freed = o.freed
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-freed:
		}
	}
}

// take leases as many due messages as there are free workers, so that no lease
// runs while its message waits, and reports whether more may be due. Its
// context must not be cut short: what was leased would be lost until the
// leases run out.
func (o *Outbox) take(ctx context.Context) (more bool) {
	free := o.Workers - int(o.held.Load())
	if free <= 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	now := o.now()
	due, err := o.Ledger.Take(ctx, now, now.Add(o.Lease), free)
	if err != nil {
		o.Log.ErrorContext(ctx, "cannot take due texts", "err", err)
		return false
	}
	for _, m := range due {
		if asker, ok := o.askers.Get(m.ID); ok {
			o.Nudge(asker, m)
		} else {
			o.Nudge(ctx, m)
		}
	}
	return len(due) == free
}

// lapse has the clerk end the orders that nobody answered. It is apart from
// the sweep so that a slow one holds up no text.
func (o *Outbox) lapse(ctx context.Context) {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		more, err := o.Clerk.Lapse(ctx)
		if err != nil && ctx.Err() == nil {
			o.Log.ErrorContext(ctx, "cannot lapse orders", "err", err)
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// giveBack ends the lease on a message that was not texted under it, which
// makes it due after a while.
func (o *Outbox) giveBack(ctx context.Context, m flow.Message, after time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	if err := o.save(ctx, m, flow.Waiting, o.now().Add(after)); err != nil && !errors.Is(err, flow.ErrStale) {
		o.Log.ErrorContext(ctx, "cannot give a text back", "message", m.ID, "err", err)
	}
}

// save settles m in a state that says nothing new of it.
func (o *Outbox) save(ctx context.Context, m flow.Message, state flow.MessageState, due time.Time) error {
	return o.Ledger.Save(ctx, flow.Change{Settle: &flow.Settlement{
		Message: m.ID, Attempt: m.Attempt, State: state, Due: due,
		Unknown: m.Unknown, Attempted: m.Attempted, Code: m.Code,
	}})
}

// now reads the clock as the ledger keeps it.
func (o *Outbox) now() time.Time { return o.Now().UTC().Truncate(time.Millisecond) }
