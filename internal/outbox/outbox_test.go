package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

const customer = flow.Number("+14155550123")

// bench is an outbox between fakes, running in a bubble of synthetic time.
type bench struct {
	*Outbox
	t      *testing.T
	ledger *ledger
	sender *flowtest.Sender
	clerk  *clerk
	// stop ends Run and waits for it.
	stop func()
}

// inBubble runs f on a bench that is not running yet.
func inBubble(t *testing.T, f func(b *bench), options ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, ledger: &ledger{Ledger: flowtest.NewLedger()}, sender: flowtest.NewSender()}
		b.clerk = &clerk{ledger: b.ledger, dropped: map[uuid.UUID]bool{}}
		b.Outbox = b.another(options...)
		f(b)
		for _, secret := range []string{customer.E164()[1:], "480001", "480002"} {
			if log := b.clerk.log.String(); strings.Contains(log, secret) {
				t.Errorf("%s is in the log:\n%s", secret, log)
			}
		}
	})
}

// another returns one more outbox on the same ledger and sender, as another
// process would have.
func (b *bench) another(options ...func(*Config)) *Outbox {
	c := Config{
		Ledger: b.ledger, Clerk: b.clerk, Sender: b.sender, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(&b.clerk.log, nil)),
	}
	for _, option := range options {
		option(&c)
	}
	return New(c)
}

func workers(n int) func(*Config) { return func(c *Config) { c.Workers = n } }

// run starts an outbox; the returned function ends it and waits.
func (b *bench) run(o *Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	synctest.Wait()
	return stop
}

func (b *bench) start() { b.stop = b.run(b.Outbox) }

// pass lets time go on, and everything happen that it brings.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// write puts a message into the ledger as the desk does: leased, from now.
func (b *bench) write(changes ...func(*flow.Message)) flow.Message {
	b.t.Helper()
	now := time.Now().UTC()
	m := flow.Message{
		ID: uuid.Must(uuid.NewV7()), Order: uuid.Must(uuid.NewV7()), Kind: flow.KindPIN, Serial: 1,
		Line:  flow.LineID{Number: customer, Sender: "+14155550100"},
		State: flow.Leased, Attempt: 1, Created: now, Due: now.Add(flow.Lease),
	}
	for _, change := range changes {
		change(&m)
	}
	if err := b.ledger.Save(context.Background(), flow.Change{Messages: []flow.Message{m}}); err != nil {
		b.t.Fatal(err)
	}
	return m
}

func waiting(after time.Duration) func(*flow.Message) {
	return func(m *flow.Message) { m.State, m.Due = flow.Waiting, m.Created.Add(after) }
}

func serial(n int64) func(*flow.Message) { return func(m *flow.Message) { m.Serial = n } }

// nudged writes a message and nudges.
func (b *bench) nudged(changes ...func(*flow.Message)) flow.Message {
	m := b.write(changes...)
	b.Nudge(context.Background(), m)
	synctest.Wait()
	return m
}

// row is a message as it stands.
func (b *bench) row(m flow.Message) flow.Message {
	b.t.Helper()
	m, err := b.ledger.Message(context.Background(), m.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// is checks how far a message has got, and how many texts have left in all.
func (b *bench) is(m flow.Message, state flow.MessageState, texts int) {
	b.t.Helper()
	if got := b.row(m).State; got != state {
		b.t.Errorf("the message is %s, want %s", got, state)
	}
	if got := len(b.sender.Taken()); got != texts {
		b.t.Errorf("%d texts have left, want %d", got, texts)
	}
}

// A ledger is a flowtest.Ledger that can be out of order.
type ledger struct {
	*flowtest.Ledger
	mu   sync.Mutex
	err  error
	took int
}

func (l *ledger) fail(err error) { l.mu.Lock(); l.err = err; l.mu.Unlock() }

func (l *ledger) broken() error { l.mu.Lock(); defer l.mu.Unlock(); return l.err }

func (l *ledger) Save(ctx context.Context, ch flow.Change) error {
	if err := l.broken(); err != nil {
		return err
	}
	return l.Ledger.Save(ctx, ch)
}

func (l *ledger) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	l.mu.Lock()
	l.took++
	l.mu.Unlock()
	if err := l.broken(); err != nil {
		return nil, err
	}
	return l.Ledger.Take(ctx, now, until, limit)
}

// A clerk decides as little as it can: what is unknown is looked for after 10
// s, what was never processed is tried again after 2 s, all else is final.
type clerk struct {
	ledger *ledger
	log    buffer

	mu      sync.Mutex
	dropped map[uuid.UUID]bool
	putsOff int   // so many texts, for two seconds
	err     error // of Text
	sent    []flow.Sent
	lapses  int
	more    int           // lapsings that leave some
	lapsing chan struct{} // if not nil, Lapse waits for it
}

func (c *clerk) Text(ctx context.Context, m flow.Message) (flow.Text, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return flow.Text{}, c.err
	}
	if c.putsOff > 0 {
		c.putsOff--
		due := time.Now().UTC().Add(2 * time.Second)
		if err := c.settle(ctx, m, flow.Settlement{State: flow.Waiting, Due: due}); err != nil {
			return flow.Text{}, err
		}
		return flow.Text{}, flow.ErrPutOff
	}
	if c.dropped[m.ID] {
		if err := c.settle(ctx, m, flow.Settlement{State: flow.Dropped}); err != nil {
			return flow.Text{}, err
		}
		return flow.Text{}, flow.ErrDropped
	}
	return flow.Text{Message: m.ID, To: m.Line.Number, Body: body(m.Serial), ValidFor: time.Hour}, nil
}

func body(serial int64) string {
	pin := 480000 + serial
	return fmt.Sprintf("Acme: %d confirms order 118.\n@shop.example #%d", pin, pin)
}

func (c *clerk) Sent(ctx context.Context, m flow.Message, s flow.Sent) error {
	settle := flow.Settlement{State: flow.Accepted, SID: s.SID, Adopted: s.Adopted}
	var e *flow.SendError
	if errors.As(s.Err, &e) {
		settle = flow.Settlement{State: flow.Failed, Code: e.Code, Attempted: m.Attempted, Unknown: m.Unknown}
		switch e.Class {
		case flow.ClassUnknown:
			settle.State, settle.Attempted = flow.Waiting, s.Began
			if s.Posted {
				settle.Unknown++
			}
			settle.Due = time.Now().UTC().Add(10 * time.Second)
		case flow.ClassRetry:
			settle.State, settle.Due = flow.Waiting, time.Now().UTC().Add(2*time.Second)
		default:
		}
	}
	if err := c.settle(ctx, m, settle); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, s)
	return nil
}

func (c *clerk) settle(ctx context.Context, m flow.Message, s flow.Settlement) error {
	s.Message, s.Attempt = m.ID, m.Attempt
	return c.ledger.Save(ctx, flow.Change{Settle: &s})
}

func (c *clerk) Lapse(ctx context.Context) (bool, error) {
	c.mu.Lock()
	c.lapses++
	wait, more := c.lapsing, c.lapses <= c.more
	c.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	return more, c.ledger.broken()
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

var errDown = errors.New("the database is down")

func TestANudgeIsTextedAtOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		began := time.Now()
		m := b.nudged()
		b.is(m, flow.Accepted, 1)
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		got := b.sender.Taken()[0]
		if b.row(m).SID != got.SID || got.Message != m.ID || got.To != customer || got.Body != body(1) {
			t.Errorf("sent %+v for %+v", got, b.row(m))
		}
		if n := b.sender.Looked(); n != 0 {
			t.Errorf("it was looked for %d times, though it cannot have been sent before", n)
		}
		if s := b.clerk.sent[0]; s.Segments != 1 || s.Adopted || !s.Began.Equal(began) {
			t.Errorf("settled as %+v", s)
		}
	})
}

func TestWhatIsDueIsSweptUp(t *testing.T) {
	inBubble(t, func(b *bench) {
		overdue := b.write(waiting(-time.Minute))
		later := b.write(waiting(3 * time.Second))
		b.start()
		b.is(overdue, flow.Accepted, 1) // at once: a restart does not wait for a tick
		b.is(later, flow.Waiting, 1)
		pass(2900 * time.Millisecond)
		b.is(later, flow.Waiting, 1)
		pass(1100 * time.Millisecond)
		b.is(later, flow.Accepted, 2)
	})
}

func TestASweepLeasesNoMoreThanCanBeTexted(t *testing.T) {
	inBubble(t, func(b *bench) {
		var releases []func()
		for range 5 {
			b.write(waiting(0))
			_, release := b.sender.Hold()
			releases = append(releases, release)
		}
		b.start()
		pass(3 * time.Second)
		leased := 0
		for _, m := range b.ledger.Messages() {
			if m.State == flow.Leased {
				leased++
			}
		}
		if leased != 2 {
			t.Errorf("2 workers hold %d leases", leased)
		}
		for _, release := range releases {
			release()
		}
		synctest.Wait()
		if n := len(b.sender.Taken()); n != 5 {
			t.Errorf("%d of 5 texts have left", n)
		}
	}, workers(2))
}

func TestABacklogDoesNotWaitForTicks(t *testing.T) {
	inBubble(t, func(b *bench) {
		for range 50 {
			b.write(waiting(0))
		}
		began := time.Now()
		b.start()
		if n := len(b.sender.Taken()); n != 50 || time.Since(began) != 0 {
			t.Errorf("after %v %d of 50 texts have left", time.Since(began), n)
		}
		pass(time.Hour)
		if n := len(b.sender.Taken()); n != 50 {
			t.Errorf("%d texts for 50 messages", n)
		}
	}, workers(3))
}

func TestASweepThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		m := b.write(waiting(0))
		b.ledger.fail(errDown)
		b.start()
		pass(5 * time.Second)
		b.is(m, flow.Waiting, 0)
		if b.ledger.took > 7 {
			t.Errorf("%d sweeps in 5 s of an outage", b.ledger.took)
		}
		b.ledger.fail(nil)
		pass(time.Second)
		b.is(m, flow.Accepted, 1)
	})
}

func TestAFullQueueGivesBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, release := b.sender.Hold()
		b.start()
		b.nudged() // the one worker has it
		room := cap(b.queue)
		var last flow.Message
		for range room + 10 {
			last = b.write()
			b.Nudge(context.Background(), last) // must return: nobody else would let time pass
		}
		synctest.Wait()
		m := b.row(last)
		if m.State != flow.Waiting || m.Unknown > 0 || m.Due.After(time.Now()) {
			t.Errorf("what did not fit is %s, unknown %d, due in %v; want it waiting, due now and known not to have been sent",
				m.State, m.Unknown, time.Until(m.Due))
		}
		release()
		pass(2 * time.Second)
		if n := len(b.sender.Taken()); n != 1+room+10 || b.sender.Looked() != 0 {
			t.Errorf("%d of %d texts have left, after %d looks", n, 1+room+10, b.sender.Looked())
		}
	}, workers(1))
}

func TestStopping(t *testing.T) {
	const busy = 8 // workers, each of which may be tempted to begin another
	inBubble(t, func(b *bench) {
		b.start()
		var texting, idle []flow.Message
		var releases []func()
		for range busy {
			held, release := b.sender.Hold()
			texting = append(texting, b.nudged())
			<-held
			releases = append(releases, release)
		}
		for range busy {
			idle = append(idle, b.nudged())
		}
		due := b.write(waiting(0))

		go b.stop()
		synctest.Wait()
		idle = append(idle, b.nudged()) // by a request that was still being answered
		for _, release := range releases {
			release()
		}
		b.stop()

		for _, m := range texting {
			b.is(m, flow.Accepted, busy) // settled, on a context of its own
		}
		for _, m := range idle {
			if got := b.row(m); got.State != flow.Waiting || got.Unknown > 0 || got.Due.After(time.Now()) {
				t.Errorf("what was queued is %s, unknown %d, due in %v", got.State, got.Unknown, time.Until(got.Due))
			}
		}
		if got := b.row(due); got.Attempt != 1 {
			t.Error("something was leased after the stop")
		}
		after := b.nudged() // nobody is there any more: its lease will run out
		b.is(after, flow.Leased, busy)

		b.run(b.another())
		all := len(texting) + len(idle) + 1
		if n := len(b.sender.Taken()); n != all {
			t.Errorf("after the restart %d of %d texts have left", n, all)
		}
		pass(flow.Lease + time.Second)
		if n := len(b.sender.Taken()); n != all+1 || b.sender.Looked() != 1 {
			t.Errorf("in the end %d of %d texts have left, and %d were looked for; want only the abandoned one", n, all+1, b.sender.Looked())
		}
	}, workers(busy))
}

func TestLapsing(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.clerk.lapsing = make(chan struct{})
		b.start()
		pass(3 * time.Second)
		if b.clerk.lapses != 1 {
			t.Errorf("%d lapsings at once", b.clerk.lapses)
		}
		due := b.write(waiting(0))
		pass(time.Second)
		b.is(due, flow.Accepted, 1) // a slow lapsing holds up no text
		close(b.clerk.lapsing)
		b.ledger.fail(errDown)
		pass(3 * time.Second)
		if b.clerk.lapses < 3 {
			t.Errorf("after a failure there were %d lapsings in 3 s", b.clerk.lapses)
		}
	})
}

func TestLapsingGoesOnWhileThereIsMore(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.clerk.more = 100
		b.start()
		pass(time.Second / 2)
		if b.clerk.lapses != b.clerk.more+1 {
			t.Errorf("after half a second there were %d lapsings, want %d", b.clerk.lapses, b.clerk.more+1)
		}
	})
}
