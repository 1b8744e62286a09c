package ledger

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

// openBehindProxy opens a ledger whose network fails as the proxy is told, and
// the same without.
func openBehindProxy(t *testing.T) (_ *proxy, far, near *Postgres) {
	t.Helper()
	databaseURL := pgtest.Shared(t).URL(t)
	p, through := newProxy(t, databaseURL)
	near = openURL(t, databaseURL).(*Postgres)
	far = hasty(openURL(t, through+"&connect_timeout=1"))
	// From here on only saves are heard on the network.
	if err := far.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, far, near
}

// hasty makes a ledger wait less for what is away.
func hasty(l flow.Ledger) *Postgres {
	p := l.(*Postgres)
	p.answerWithin, p.outage.bridged = time.Second, time.Second
	return p
}

// counted is a change that shows how often it was written.
func counted(line flow.Line) flow.Change {
	return flow.Change{
		Lines:    []flow.Line{line},
		Messages: []flow.Message{{ID: flowtest.NewID(noon), State: flow.Leased, Due: noon, Created: noon}},
		Spend:    []flow.Spend{{Total: "saves", N: 1, Limit: 1000}},
	}
}

// writtenOnce fails unless n counted changes are there, each whole.
func writtenOnce(t *testing.T, p *Postgres, n int) {
	t.Helper()
	var versions, messages, spent int
	if err := p.reads.QueryRow(t.Context(), `SELECT
		(SELECT coalesce(sum(version), 0) FROM lines), (SELECT count(*) FROM messages),
		(SELECT coalesce(sum(used), 0) FROM totals)`).Scan(&versions, &messages, &spent); err != nil {
		t.Fatal(err)
	}
	if versions != n || messages != n || spent != n {
		t.Errorf("%d versions, %d messages and %d spent are there, want %d of each", versions, messages, spent, n)
	}
}

func TestALostConnectionIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"before the server heard":    loseRequest,
		"after the server committed": loseAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			proxy, far, near := openBehindProxy(t)
			struck := proxy.strike(f)
			if err := far.Save(t.Context(), counted(flow.Line{LineID: lineID(1)})); err != nil {
				t.Errorf("Save: %v", err)
			}
			<-struck
			writtenOnce(t, near, 1)

			struck = proxy.strike(f)
			if err := far.Save(t.Context(), counted(flow.Line{LineID: lineID(1)})); !errors.Is(err, flow.ErrStale) {
				t.Errorf("a stale Save: %v, want ErrStale", err)
			}
			<-struck
			if err := far.Save(t.Context(), counted(flow.Line{LineID: lineID(1), Version: 1})); err != nil {
				t.Errorf("the next Save: %v", err)
			}
			writtenOnce(t, near, 2)

			struck = proxy.strike(f)
			if line := lineOf(t, far, lineID(1)); line.Version != 2 {
				t.Errorf("version %d is read, want 2", line.Version)
			}
			<-struck
		})
	}
}

// A commit that was given up for lost, and was only slow, must not come after
// the one that took its place.
func TestACommitThatWasCalledOffNeverComes(t *testing.T) {
	t.Parallel()
	proxy, far, near := openBehindProxy(t)
	line := flow.Line{LineID: lineID(1)}
	// Somebody holds the lock that the save wants first.
	holder, err := near.writes.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	for _, lock := range newSave(counted(line)).locks {
		if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, lock); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func() (n int) {
		if err := near.reads.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event = 'advisory' AND query LIKE '%countersign_group%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	saved := make(chan error, 1)
	go func() { saved <- far.Save(context.Background(), counted(line)) }()
	until(t, func() bool { return waiting() == 1 })
	proxy.cut()
	until(t, func() bool { return waiting() == 2 }) // the first, and what took its place
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Errorf("Save: %v", err)
	}
	until(t, func() bool { return waiting() == 0 })
	writtenOnce(t, near, 1)
}

// What cannot be found out is told as such, whatever became of it, and no
// cache goes on from it.
func TestAnUnknownOutcomeIsToldAsSuch(t *testing.T) {
	t.Parallel()
	proxy, far, near := openBehindProxy(t)
	cache := Cached(far, 10, 0)
	line := saved(t, cache, flow.Line{LineID: lineID(1)})
	struck := proxy.strike(loseAnswer)
	_ = proxy.listen.Close() // nobody gets through again
	err := cache.Save(t.Context(), flow.Change{Lines: []flow.Line{line}})
	<-struck
	if !errors.Is(err, errUnknown) {
		t.Fatalf("Save: %v, want %v", err, errUnknown)
	}
	if cache.Len() != 0 {
		t.Error("the cache keeps the line")
	}
	if v := lineOf(t, near, lineID(1)).Version; v != 2 {
		t.Errorf("the line has version %d, want 2: it was the answer that was lost", v)
	}
	// By now nobody waits for what is away.
	begun := time.Now()
	if err := far.Save(t.Context(), flow.Change{}); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("the next Save: %v", err)
	}
	if err := far.Ping(t.Context()); err == nil {
		t.Error("Ping finds nothing wrong")
	}
	if took := time.Since(begun); took > far.outage.bridged {
		t.Errorf("they took %v", took)
	}
}

// A network that swallows everything is worse than one that breaks.
func TestAFrozenNetworkIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	proxy, far, _ := openBehindProxy(t)
	proxy.strike(freeze)
	begun := time.Now()
	for what, err := range map[string]error{
		"Save":   far.Save(t.Context(), flow.Change{}),
		"Ping":   far.Ping(t.Context()),
		"Reload": func() error { _, err := far.Reload(t.Context(), lineID(1)); return err }(),
		"Take":   func() error { _, err := far.Take(t.Context(), noon, noon, 1); return err }(),
	} {
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want it to fail", what, err)
		}
	}
	if took := time.Since(begun); took > 4*(far.answerWithin+far.outage.bridged) {
		t.Errorf("they took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := far.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping: %v, want %v", err, context.DeadlineExceeded)
	}
	proxy.cut() // or Close would wait for the server's farewell
}

// Under load, somebody ends our connections, and then PostgreSQL as a whole, by
// a stop and by a crash. What was acknowledged is there, all of it once.
func TestWhatWasAcknowledgedOutlivesConnectionsAndServer(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	databaseURL := server.URL(t)
	const ledgers, writers = 3, 4
	var acknowledged, unknown atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	var near *Postgres
	for i := range ledgers {
		l := openURL(t, databaseURL).(*Postgres)
		near = l
		for j := range writers {
			all.Go(func() {
				for line := (flow.Line{LineID: lineID(i*writers + j)}); ; {
					select {
					case <-stop:
						return
					default:
					}
					ch := counted(line)
					ch.Spend[0].Limit = 1 << 30
					err := l.Save(context.Background(), ch)
					switch {
					case err == nil:
						acknowledged.Add(1)
						line.Version++
						continue
					case errors.Is(err, flow.ErrStale):
						// Nobody else saves this line: a save was there twice.
						t.Errorf("Save: %v, after version %d", err, line.Version)
						return
					}
					unknown.Add(1)
					t.Errorf("Save: %v", err)
					return
				}
			})
		}
	}
	progress := func() {
		t.Helper()
		from := acknowledged.Load()
		until(t, func() bool { return acknowledged.Load() > from+200 || unknown.Load() > 0 })
	}
	progress()
	for range 10 {
		server.SQL(t, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'countersign'`)
		progress()
	}
	for _, mode := range []string{"fast", "immediate"} {
		server.Stop(t, mode)
		server.Start(t)
		progress()
	}
	close(stop)
	all.Wait()
	t.Logf("%d saves were acknowledged", acknowledged.Load())
	writtenOnce(t, near, int(acknowledged.Load()))
	if n := server.SQL(t, `SELECT count(*) FROM test_1.lines WHERE version = 0`); n != "0" {
		t.Errorf("%s lines have no version", n)
	}
}

// While PostgreSQL is away everything fails soon; once it is back all goes on.
func TestAnOutageEnds(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	l := hasty(openURL(t, server.URL(t)))
	line := saved(t, l, flow.Line{LineID: lineID(1)})
	server.Stop(t, "fast")
	begun := time.Now()
	for what, err := range map[string]error{
		"Save": l.Save(t.Context(), flow.Change{Lines: []flow.Line{line}}),
		"Ping": l.Ping(t.Context()),
		"Line": func() error { _, err := l.Line(t.Context(), line.LineID); return err }(),
		"Take": func() error { _, err := l.Take(t.Context(), noon, noon, 1); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "does it run") {
			t.Errorf("%s: %v; want it to ask whether PostgreSQL runs", what, err)
		}
	}
	if took := time.Since(begun); took < l.outage.bridged || took > 3*l.outage.bridged {
		t.Errorf("they took %v; the first waits for %v, the others do not", took, l.outage.bridged)
	}
	server.Start(t)
	if err := l.Save(t.Context(), flow.Change{Lines: []flow.Line{line}}); err != nil {
		t.Errorf("Save, once it is back: %v", err)
	}
	if v := lineOf(t, l, line.LineID).Version; v != 2 {
		t.Errorf("the line has version %d, want 2", v)
	}
}

func TestAServerThatOnlyReadsIsNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	l := hasty(openURL(t, server.URL(t)))
	server.SQL(t, `ALTER SYSTEM SET default_transaction_read_only = on`)
	server.SQL(t, `SELECT pg_reload_conf()`)
	until(t, func() bool { return server.SQL(t, `SHOW default_transaction_read_only`) == "on" })
	for what, err := range map[string]error{
		"Save": l.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}),
		"Ping": l.Ping(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "only reads") {
			t.Errorf("%s: %v; want it to say that PostgreSQL only reads", what, err)
		}
	}
	if _, err := l.Line(t.Context(), lineID(1)); err != nil {
		t.Errorf("Line: %v", err)
	}
}

// Somebody's forgotten transaction holds a table.
func TestAHeldLockIsNamed(t *testing.T) {
	t.Parallel()
	p := openURL(t, pgtest.Shared(t).URL(t)+"&statement_timeout=300").(*Postgres)
	holder, err := p.writes.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), `SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE lines IN EXCLUSIVE MODE`,
		pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	err = p.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}})
	if err == nil || !strings.Contains(err.Error(), "does somebody hold a lock?") {
		t.Errorf("Save: %v; want it to ask who holds a lock", err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}); err != nil {
		t.Errorf("Save, once it is free: %v", err)
	}
}
