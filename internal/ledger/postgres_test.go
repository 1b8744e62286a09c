package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

// openPostgresTemp opens a ledger in a schema of its own.
func openPostgresTemp(t testing.TB) *Postgres {
	t.Helper()
	return openURL(t, pgtest.Shared(t).URL(t)).(*Postgres)
}

// emptied returns what opens the same ledger again and again, without what was
// saved to it before.
func emptied(t *testing.T, parameters ...string) func(testing.TB) *Postgres {
	p := openURL(t, pgtest.Shared(t).URL(t)+strings.Join(parameters, "")).(*Postgres)
	return func(t testing.TB) *Postgres {
		t.Helper()
		if _, err := p.writes.Exec(context.Background(), `DELETE FROM lines; DELETE FROM conversations;
			DELETE FROM messages; DELETE FROM inbound; DELETE FROM receipts; DELETE FROM events; DELETE FROM totals`,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func TestPostgresLedgers(t *testing.T) {
	for _, tt := range []struct {
		name       string
		wrap       func(flow.Ledger) flow.Ledger
		parameters string
	}{
		{"PostgreSQL", func(l flow.Ledger) flow.Ledger { return l }, ""},
		{"PostgreSQL, nothing prepared, as for PgBouncer", func(l flow.Ledger) flow.Ledger { return l }, "&default_query_exec_mode=exec"},
		{"PostgreSQL behind a cache", func(l flow.Ledger) flow.Ledger { return Cached(l, 100_000, 0) }, ""},
		{"PostgreSQL behind a cache of 2", func(l flow.Ledger) flow.Ledger { return Cached(l, 2, 0) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			open := emptied(t, tt.parameters)
			flowtest.TestLedger(t, func(t *testing.T) flow.Ledger { return tt.wrap(open(t)) })
		})
	}
}

// The whole conversation, raced for.
func TestPostgresRaces(t *testing.T) {
	t.Parallel()
	flowtest.TestRaces(t, func(t testing.TB) flow.Ledger { return Cached(openPostgresTemp(t), 1000, 0) })
}

// The suite's ceilings, with the racers on several machines: 60 lines and 16
// racers each, who load, look, save, and if that was stale, again.
func TestCeilingsHoldAcrossMachines(t *testing.T) {
	const lines, racing, allowed, limit = 60, 16, 5, 290
	machines := machines(t, 3)
	var spent, refused atomic.Int64
	var all sync.WaitGroup
	for i := range lines * racing {
		all.Go(func() {
			l := machines[i/lines%len(machines)]
			id := lineID(i % lines)
			for line := lineOf(t, l, id); len(line.Texts) < allowed; line = lineOf(t, l, id) {
				line.Texts = line.Texts.Add(noon, time.Hour)
				ch := counted(line)
				ch.Spend[0].Limit = limit
				switch err := l.Save(t.Context(), ch); {
				case err == nil:
					spent.Add(1)
					return
				case errors.Is(err, flow.ErrSpent):
					refused.Add(1)
					return
				case !errors.Is(err, flow.ErrStale):
					t.Errorf("Save: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	if spent.Load() != limit || refused.Load() == 0 {
		t.Errorf("%d texts were written, and %d refused; want %d and some", spent.Load(), refused.Load(), limit)
	}
	writtenOnce(t, machines[0], limit)
}

func TestALinesRuleHoldsAcrossMachines(t *testing.T) {
	const lines, racing, allowed = 60, 16, 5
	machines := machines(t, 3)
	var all sync.WaitGroup
	for i := range lines * racing {
		all.Go(func() {
			// Behind caches, which are stale by what the others save.
			l := Cached(machines[i/lines%len(machines)], 10, 0)
			id := lineID(i % lines)
			for line := lineOf(t, l, id); len(line.Texts) < allowed; line = lineOf(t, l, id) {
				line.Texts = line.Texts.Add(noon, time.Hour)
				if err := l.Save(t.Context(), counted(line)); !errors.Is(err, flow.ErrStale) {
					if err != nil {
						t.Errorf("Save: %v", err)
					}
					return
				}
			}
		})
	}
	all.Wait()
	writtenOnce(t, machines[0], lines*allowed)
}

// machines opens a database as often as that.
func machines(t *testing.T, n int) []*Postgres {
	t.Helper()
	databaseURL := pgtest.Shared(t).URL(t)
	var all []*Postgres
	for range n {
		all = append(all, openURL(t, databaseURL).(*Postgres))
	}
	return all
}

// Everybody wants the same few things, in any order, and also what is not there
// yet.
func TestMachinesDoNotDeadlock(t *testing.T) {
	server := pgtest.New(t, "fsync=off", "deadlock_timeout=10ms")
	databaseURL := server.URL(t)
	var all sync.WaitGroup
	for machine := range 3 {
		l := openURL(t, databaseURL)
		for n := range 12 {
			all.Go(func() {
				for round := range 15 {
					one, other := lineID(100*round+n%5), lineID(100*round+(n+machine+1)%5)
					ch := flow.Change{
						Lines:   []flow.Line{lineOf(t, l, one)},
						Spend:   []flow.Spend{{Total: fmt.Sprint("a", n%2), N: 1, Limit: 1 << 30}, {Total: fmt.Sprint("a", machine%2), N: 1, Limit: 1 << 30}},
						Inbound: &flow.Inbound{SID: fmt.Sprint("SM", round, n%3), Line: one},
						Receipt: &flow.Receipt{SID: fmt.Sprint("SM", n%4), Status: flow.StatusSent},
					}
					if one != other {
						ch.Lines = append(ch.Lines, lineOf(t, l, other))
					}
					err := l.Save(t.Context(), ch)
					if err != nil && !errors.Is(err, flow.ErrStale) && !errors.Is(err, flow.ErrHeard) {
						t.Errorf("Save: %v", err)
					}
					if _, err := l.Take(t.Context(), noon, noon.Add(time.Minute), 3); err != nil {
						t.Errorf("Take: %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	if n := server.SQL(t, `SELECT sum(deadlocks) FROM pg_stat_database`); n != "0" {
		t.Errorf("PostgreSQL has found %s deadlocks", n)
	}
}

func TestTakersOnSeveralMachines(t *testing.T) {
	const messages = 300
	machines := machines(t, 3)
	var due []flow.Message
	for range messages {
		due = append(due, flow.Message{ID: flowtest.NewID(noon), State: flow.Waiting, Due: noon, Created: noon})
	}
	if err := machines[0].Save(t.Context(), flow.Change{Messages: due}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := map[uuid.UUID]int{}
	var all sync.WaitGroup
	for i := range 9 {
		all.Go(func() {
			for {
				got, err := machines[i%len(machines)].Take(t.Context(), noon, noon.Add(time.Minute), 7)
				if err != nil {
					t.Errorf("Take: %v", err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, m := range got {
					taken[m.ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("message %s was taken %d times", id, n)
		}
	}
	// What another held locked was left to it.
	if len(taken) != messages {
		t.Errorf("%d messages were taken, want %d", len(taken), messages)
	}
}

func TestASettlementAndATakerRace(t *testing.T) {
	machines := machines(t, 2)
	for range 100 {
		m := flow.Message{ID: flowtest.NewID(noon), State: flow.Leased, Attempt: 1, Due: noon, Created: noon}
		if err := machines[0].Save(t.Context(), flow.Change{Messages: []flow.Message{m}}); err != nil {
			t.Fatal(err)
		}
		var taken []flow.Message
		var all sync.WaitGroup
		all.Go(func() {
			var err error
			if taken, err = machines[0].Take(t.Context(), noon, noon.Add(time.Minute), 1); err != nil {
				t.Errorf("Take: %v", err)
			}
		})
		err := machines[1].Save(t.Context(), flow.Change{
			Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: "SM1"},
		})
		all.Wait()
		if err != nil && !errors.Is(err, flow.ErrStale) {
			t.Fatalf("Save: %v", err)
		}
		if settled := err == nil; settled == (len(taken) == 1) {
			t.Fatalf("settled: %v, taken: %d; want one of them", settled, len(taken))
		}
	}
}

// A group is one statement: what waits while another group is committed is
// committed with one round trip; those that want the same lines with another,
// and the stale ones among it leave nothing.
func TestWhatWaitsIsOneStatement(t *testing.T) {
	p := openPostgresTemp(t)
	begun, let := make(chan struct{}), make(chan struct{})
	commits := 0
	commit := p.writer.commit
	if err := p.Ping(t.Context()); err != nil { // the writer is waiting now
		t.Fatal(err)
	}
	p.writer.commit = func(group []*job) { // read after a job is sent
		if commits++; commits == 1 {
			close(begun)
			<-let
		}
		commit(group)
	}
	var all sync.WaitGroup
	save := func(n int) {
		all.Go(func() {
			err := p.Save(t.Context(), counted(flow.Line{LineID: lineID(n / 2)})) // two for each line
			if err != nil && !errors.Is(err, flow.ErrStale) {
				t.Errorf("Save: %v", err)
			}
		})
	}
	save(0)
	<-begun
	for n := range 30 {
		save(n)
	}
	until(t, func() bool { return len(p.writer.queue) == 30 })
	round := p.round
	close(let)
	all.Wait()
	if commits != 2 || p.round-round != 3 {
		t.Errorf("30 saves that waited took %d groups and %d commits, want 1 and 2", commits-1, p.round-round-1)
	}
	writtenOnce(t, p, 15)
}

func TestPostgresVersions(t *testing.T) {
	server := pgtest.Shared(t)
	empty := func() string { return server.URL(t) }
	ours := func() string {
		databaseURL := empty()
		l, err := Open(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return databaseURL
	}
	at := func(version int) func() string {
		return func() string {
			databaseURL := ours()
			server.SQL(t, fmt.Sprintf(`UPDATE %s.goose_db_version SET version_id = %d WHERE version_id > 0`, schema(databaseURL), version))
			return databaseURL
		}
	}
	foreign := func() string {
		databaseURL := empty()
		server.SQL(t, `CREATE TABLE `+schema(databaseURL)+`.recipes (name text)`)
		return databaseURL
	}
	for _, tt := range []struct {
		name string
		url  func() string
		opts []Option
		want error
	}{
		{"an empty schema is migrated", empty, nil, nil},
		{"an empty schema is not migrated if that is not allowed", empty, []Option{WithoutMigrating()}, ErrOlder},
		{"nor by a reader", empty, []Option{ReadOnly()}, ErrOlder},
		{"our version is opened", ours, nil, nil},
		{"our version is opened without migrating", ours, []Option{WithoutMigrating()}, nil},
		{"our version is read", ours, []Option{ReadOnly()}, nil},
		{"a newer one is left alone", at(999), nil, ErrNewer},
		{"a newer one is not even read", at(999), []Option{ReadOnly()}, ErrNewer},
		{"another program's tables are left alone", foreign, nil, ErrForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			databaseURL := tt.url()
			tables := func() string {
				return server.SQL(t, fmt.Sprintf(`SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables
					WHERE schemaname = '%s'`, schema(databaseURL)))
			}
			before := tables()
			l, err := Open(t.Context(), databaseURL, tt.opts...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open: %v, want %v", err, tt.want)
			}
			if err == nil {
				if err := errors.Join(l.Ping(t.Context()), l.Close()); err != nil {
					t.Error(err)
				}
				return
			}
			if after := tables(); after != before {
				t.Errorf("there were the tables %q, and now %q", before, after)
			}
		})
	}
}

// schema is the one that a test's database URL leads to.
func schema(databaseURL string) string {
	_, schema, _ := strings.Cut(databaseURL, "search_path=")
	return schema
}

func TestManyStartAtOnce(t *testing.T) {
	databaseURL := pgtest.Shared(t).URL(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l, err := Open(t.Context(), databaseURL)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if err := errors.Join(l.Ping(t.Context()), l.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAReaderOfPostgresWritesNothing(t *testing.T) {
	databaseURL := pgtest.Shared(t).URL(t)
	openURL(t, databaseURL)
	reader := openURL(t, databaseURL, ReadOnly()).(*Postgres)
	for what, err := range map[string]error{
		"Save": reader.Save(t.Context(), flow.Change{}),
		"Take": func() error { _, err := reader.Take(t.Context(), noon, noon, 1); return err }(),
	} {
		if !errors.Is(err, errReadOnly) {
			t.Errorf("%s: %v, want %v", what, err, errReadOnly)
		}
	}
	if err := reader.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if _, err := reader.reads.Exec(t.Context(), `DELETE FROM lines`); state(err) != "25006" {
		t.Errorf("a statement that writes: %v", err)
	}
}

func TestOpenPostgresRefuses(t *testing.T) {
	server := pgtest.Shared(t)
	const password = "hunter2/%zz"
	for _, tt := range []struct {
		name, url string
		want      string // in the error
	}{
		{"a URL that cannot be read", "postgres://shop:" + password + "@db/shop", "percent-encoded"},
		{"a parameter that cannot be", "postgres://shop:hunter2@db/shop?sslmode=perhaps", "parameters"},
		{"a keyword list", "host=db password=hunter2", "want file:"},
		{"a certificate that is not there", "postgres://shop:hunter2@db/shop?sslmode=verify-full&sslrootcert=/nowhere.pem", "certificates"},
		{"nobody there", "postgres://shop:hunter2@127.0.0.1:1/shop", "does it run"},
		{"a name that leads nowhere", "postgres://shop:hunter2@nowhere.invalid/shop", "does it run"},
		{"a database that is not there", strings.Replace(server.URL(t), "/postgres?", "/shop?password=hunter2&", 1), "createdb"},
		{"a user who is not there", strings.Replace(server.URL(t), "countersign@", "shop:hunter2@", 1), "user and password"},
		{"a schema that is not there", server.URL(t) + "0", "CREATE SCHEMA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := Open(t.Context(), tt.url)
			if err == nil {
				_ = l.Close()
				t.Fatal("Open did not fail")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v; want it to say %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it gives the password away: %v", err)
			}
		})
	}
}

func TestTheURLsOwnParametersHold(t *testing.T) {
	databaseURL := pgtest.Shared(t).URL(t) + "&statement_timeout=1234&application_name=shop&pool_max_conns=3"
	p := openURL(t, databaseURL).(*Postgres)
	var timeout, name, isolation string
	if err := p.reads.QueryRow(t.Context(), `SELECT current_setting('statement_timeout'),
		current_setting('application_name'), current_setting('transaction_isolation')`).Scan(&timeout, &name, &isolation); err != nil {
		t.Fatal(err)
	}
	if timeout != "1234ms" || name != "shop" || isolation != "read committed" {
		t.Errorf("statement_timeout is %s, application_name %s, isolation %s", timeout, name, isolation)
	}
	if n := p.reads.Config().MaxConns; n != 3 {
		t.Errorf("it reads by %d connections, want 3", n)
	}
	config, err := postgresConfig("postgresql://shop@one:1,two:2/shop?connect_timeout=7&target_session_attrs=read-write", options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := config.ConnConfig; c.ConnectTimeout != 7*time.Second || c.Host != "one" || len(c.Fallbacks) == 0 || c.ValidateConnect == nil {
		t.Errorf("of two hosts it waits %v for %s, then %d more", c.ConnectTimeout, c.Host, len(c.Fallbacks))
	}
}

// The port does not tell of a receipt that names no message; it is kept too.
func TestPostgresKeepsEventsAndReceipts(t *testing.T) {
	p := openPostgresTemp(t)
	read := fill(t, p)
	order := read(p).Conversations[0].ID
	for query, want := range map[string]string{
		`SELECT string_agg(concat_ws(' ', event, at, from_state, to_state, channel, note), ', ' ORDER BY n)
			FROM events WHERE conversation = $1`: fmt.Sprintf("ordered %[1]d new asked web , missed %[1]d asked asked reply n", noon.UnixMilli()),
		`SELECT string_agg(concat_ws(' ', sid, status, code), ', ' ORDER BY sid) FROM receipts WHERE $1::uuid IS NOT NULL`: "SM1 read 0, SM4 sent 0",
	} {
		var is string
		if err := p.reads.QueryRow(t.Context(), query, order).Scan(&is); err != nil {
			t.Fatal(err)
		}
		if is != want {
			t.Errorf("%s\n\tis %s, want %s", query, is, want)
		}
	}
}

// A line that somebody writes without its lock is not written over.
func TestAForeignWriterIsNotWrittenOver(t *testing.T) {
	p := openPostgresTemp(t)
	line := saved(t, p, flow.Line{LineID: lineID(1)})
	// It writes between check and write, which a trigger stands for.
	if _, err := p.writes.Exec(t.Context(), `CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			UPDATE lines SET version = version + 1;
			RETURN new;
		END $$;
		CREATE TRIGGER meddle BEFORE INSERT ON conversations FOR EACH ROW EXECUTE FUNCTION meddle()`,
		pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	p.outage.bridged = 0 // it loses each time: once is enough
	line.Conversations = []flow.Conversation{{ID: flowtest.NewID(noon), State: flow.Asked, Created: noon}}
	err := p.Save(t.Context(), flow.Change{Lines: []flow.Line{line}})
	if state(err) != "40001" {
		t.Errorf("Save: %v, want it to have lost a race", err)
	}
	if v := lineOf(t, p, lineID(1)); v.Version != 1 || len(v.Conversations) != 0 {
		t.Errorf("the line has version %d and %d orders, want 1 and none", v.Version, len(v.Conversations))
	}
}

// A PostgreSQL restored from a backup knows an older round of ours, or none.
func TestARestoredDatabaseIsWrittenOn(t *testing.T) {
	p := openPostgresTemp(t)
	for name, restore := range map[string]string{
		"to before our last commit": `UPDATE writers SET round = round - 1`,
		"to before we came":         `DELETE FROM writers`,
	} {
		t.Run(name, func(t *testing.T) {
			line := saved(t, p, lineOf(t, p, lineID(1)))
			if _, err := p.writes.Exec(t.Context(), restore); err != nil {
				t.Fatal(err)
			}
			saved(t, p, line)
		})
	}
}

// Each row that a statement reads for nothing is paid with every call.
func TestPostgresReadsByKeys(t *testing.T) {
	p := openPostgresTemp(t)
	for query, args := range map[string][]any{
		readConversation: {uuid.Nil},
		readMessage:      {uuid.Nil},
		readMessageBySID: {uuid.Nil, "", 0},
		readHeard:        {""},
		readLapsing:      {0, 1},
		readCensus:       {},
		takeMessages:     {0, 1, 0},
	} {
		tx, err := p.reads.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil { // of small tables
			t.Fatal(err)
		}
		rows, err := tx.Query(t.Context(), `EXPLAIN `+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range plan {
			if strings.Contains(step, "Seq Scan") {
				t.Errorf("%s\n\t%s", query, strings.Join(plan, "\n\t"))
			}
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// As does what a function reads, by a plan that is made while the tables are
// small and known to be.
func TestPostgresReadsLinesByKeys(t *testing.T) {
	p := openPostgresTemp(t)
	if err := errors.Join(append(small(t, p), p.Save(t.Context(), asking(1)))...); err != nil {
		t.Fatal(err)
	}
	if _, err := p.writes.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	tx, err := p.reads.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	id := lineID(1)
	found, err := tx.Exec(t.Context(), readLines, []string{id.Number.E164()}, []string{id.Sender})
	if err != nil || found.RowsAffected() != 1 {
		t.Fatalf("%d lines were found, %v", found.RowsAffected(), err)
	}
	if whole, rows := readBy(t, tx); whole != 0 || rows != 2 {
		t.Errorf("tables were read %d times whole, and %d rows by keys; want none and 2", whole, rows)
	}
}

// One that cannot be understood, that is, which somebody broke.
func TestABrokenLineFailsAlone(t *testing.T) {
	p := openPostgresTemp(t)
	var group []*lineRead
	for n := range 3 {
		if err := p.Save(t.Context(), asking(n)); err != nil {
			t.Fatal(err)
		}
		group = append(group, &lineRead{line: flow.Line{LineID: lineID(n)}})
	}
	if _, err := p.writes.Exec(t.Context(), `UPDATE conversations SET entries = '[' WHERE number = $1`,
		lineID(1).Number.E164()); err != nil {
		t.Fatal(err)
	}
	p.readGroup(group)
	for n, l := range group {
		if broken := n == 1; (l.err != nil) != broken || (len(l.line.Conversations) == 1) == broken {
			t.Errorf("line %d is loaded with %d orders, %v", n, len(l.line.Conversations), l.err)
		}
	}
}
