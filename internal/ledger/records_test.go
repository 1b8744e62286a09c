package ledger

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(*testing.T) func(testing.TB) flow.Ledger
	}{
		{"SQLite", func(*testing.T) func(testing.TB) flow.Ledger {
			return func(t testing.TB) flow.Ledger { return openTemp(t) }
		}},
		{"SQLite behind a cache", func(*testing.T) func(testing.TB) flow.Ledger {
			return func(t testing.TB) flow.Ledger { return Cached(openTemp(t), 2, 0) }
		}},
		{"PostgreSQL", func(t *testing.T) func(testing.TB) flow.Ledger {
			open := emptied(t)
			return func(t testing.TB) flow.Ledger { return open(t) }
		}},
		{"PostgreSQL, nothing prepared, as for PgBouncer", func(t *testing.T) func(testing.TB) flow.Ledger {
			open := emptied(t, "&default_query_exec_mode=exec")
			return func(t testing.TB) flow.Ledger { return open(t) }
		}},
		{"PostgreSQL behind a cache", func(t *testing.T) func(testing.TB) flow.Ledger {
			open := emptied(t)
			return func(t testing.TB) flow.Ledger { return Cached(open(t), 2, 0) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			open := tt.open(t)
			flowtest.TestRecords(t, func(t *testing.T) flow.Ledger { return open(t) })
		})
	}
}

// The terminal's commands read beside the process that serves, and can do no
// more than that.
func TestRecordsBesideAWriter(t *testing.T) {
	for name, databaseURL := range map[string]string{
		"SQLite": "file:" + tempFile(t), "PostgreSQL": pgtest.Shared(t).URL(t),
	} {
		t.Run(name, func(t *testing.T) {
			serving := openURL(t, databaseURL)
			ch := asking(1)
			ch.Messages[0].State = flow.Waiting
			if err := serving.Save(t.Context(), ch); err != nil {
				t.Fatal(err)
			}
			beside := openURL(t, databaseURL, ReadOnly())
			found, err := beside.Orders(t.Context(), flow.Search{})
			if err != nil || len(found.Rows) != 1 {
				t.Errorf("Orders = %v, %v; want one", found.Rows, err)
			}
			if err := beside.Hurry(t.Context(), ch.Messages[0].ID, noon); !errors.Is(err, errReadOnly) {
				t.Errorf("Hurry, read-only: %v", err)
			}
		})
	}
}

// What ops asks of PostgreSQL when it is overloaded ends, and is told as such.
func TestALookThatTakesTooLong(t *testing.T) {
	p := openURL(t, pgtest.Shared(t).URL(t)+"&statement_timeout=20").(*Postgres)
	sleep := func(ask ask) error {
		return ask(`SELECT pg_sleep(60)`, nil, func(scanner) error { return nil })
	}
	if err := p.look(t.Context(), sleep); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("by the server's clock: %v", err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if err := p.look(left, sleep); !errors.Is(err, context.Canceled) {
		t.Errorf("of one who has left: %v", err)
	}
	if _, err := p.Outbox(t.Context(), 1); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// What ops reads must not grow with the tables: each query goes through a
// range of ids, or an index. SQLite plans alike for any number of rows.
// PostgreSQL does not: it has the 100,000 orders of a day, and is asked before
// it knows that and after, and for plans that are to do for all arguments too.
func TestRecordsScanNothing(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		s := openTemp(t)
		crowd(t, 1000, `unhex(printf('%012x7000%016x', at, i))`, "", foldedTold, func(statement string, args ...any) error {
			_, err := s.conn.ExecContext(t.Context(), questions(statement), args...)
			return err
		})
		for query, plan := range plans(t, s.look, `EXPLAIN QUERY PLAN `, func(row scanner) (step string, err error) {
			var id, parent, unused int
			err = row.Scan(&id, &parent, &unused, &step)
			return step, err
		}) {
			for _, step := range plan {
				table, scans := strings.CutPrefix(step, "SCAN ")
				bounded := table == "newest" || strings.Contains(table, " USING ") ||
					table == "receipts" || strings.Contains(table, " VIRTUAL TABLE ") // of one text, of one row
				if scans && !bounded {
					t.Errorf("%s\n\tis done by\n\t%s", query, strings.Join(plan, "\n\t"))
				}
			}
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		databaseURL := pgtest.Shared(t).URL(t) + "&statement_timeout=0"
		p := openURL(t, databaseURL).(*Postgres)
		exec := func(statement string, args ...any) error {
			_, err := p.writes.Exec(t.Context(), statement, args...)
			return err
		}
		crowd(t, 100_000, `(lpad(to_hex(at), 12, '0') || '7000' || lpad(to_hex(i), 16, '0'))::uuid`, ", rank", told, exec)
		for _, when := range []string{"before ANALYZE", "after it"} {
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				reader := openURL(t, databaseURL+"&plan_cache_mode="+mode, ReadOnly()).(*Postgres)
				for query, plan := range plans(t, reader.look, `EXPLAIN `, func(row scanner) (step string, err error) {
					err = row.Scan(&step)
					return step, err
				}) {
					for i, step := range plan {
						_, index, scans := strings.Cut(step, " Scan")
						bounded := strings.HasPrefix(index, " using messages_due ") || // all that is out
							strings.HasPrefix(index, " on newest ") ||
							i+1 < len(plan) && strings.Contains(plan[i+1], "Index Cond: ")
						if scans && !bounded {
							t.Errorf("%s, by %s: %s\n\tis done by\n\t%s", when, mode, query, strings.Join(plan, "\n\t"))
						}
					}
				}
			}
			if err := exec(`ANALYZE`); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What takes a database back to its first version.
const (
	first         = `DELETE FROM goose_db_version WHERE version_id > 1`
	firstOnSQLite = first + `;
		ALTER TABLE inbound RENAME TO new;
		CREATE TABLE inbound (sid TEXT PRIMARY KEY, number TEXT, sender TEXT, at INTEGER, read TEXT,
			conversation BLOB, reply TEXT) STRICT, WITHOUT ROWID;
		INSERT INTO inbound SELECT sid, number, sender, at, read, conversation, reply FROM new;
		DROP TABLE new;
		DROP TABLE heard;
		ALTER TABLE lines DROP COLUMN heard;
		ALTER TABLE lines DROP COLUMN heard_more;
		CREATE TABLE old (conversation BLOB, n INTEGER, at INTEGER, event TEXT, from_state TEXT, to_state TEXT,
			channel TEXT, note TEXT, PRIMARY KEY (conversation, n)) STRICT, WITHOUT ROWID;
		INSERT INTO old SELECT * FROM events;
		DROP VIEW events;
		ALTER TABLE old RENAME TO events;
		ALTER TABLE conversations DROP COLUMN history;
		INSERT INTO stray_receipts SELECT * FROM receipts WHERE message IN (SELECT id FROM messages);
		DROP VIEW receipts;
		ALTER TABLE stray_receipts RENAME TO receipts;
		ALTER TABLE messages DROP COLUMN receipts`
	firstOnPostgres = first + `; DROP INDEX inbound_at; DROP FUNCTION countersign_lines, countersign_group;
		DROP TYPE group_line, group_conversation, group_message, group_settlement, group_inbound, group_receipt,
			group_event, group_spend`
)

// An older database has its rows still once it is migrated, and what ops reads
// of them by newer indexes.
func TestAnOlderDatabaseIsMigrated(t *testing.T) {
	path, server := tempFile(t), pgtest.Shared(t)
	postgresURL := server.URL(t)
	for name, tt := range map[string]struct {
		url  string
		make func()
	}{
		"SQLite": {"file:" + path, func() { shell(t, path, firstOnSQLite) }},
		"PostgreSQL": {postgresURL, func() {
			server.SQL(t, `SET search_path = `+schema(postgresURL)+`; `+firstOnPostgres)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(t.Context(), tt.url)
			if err != nil {
				t.Fatal(err)
			}
			ch := asking(1)
			order, text := &ch.Lines[0].Conversations[0], &ch.Messages[0]
			text.ID = flowtest.NewID(noon) // of the event that had it written
			order.Message = text.ID
			ch.Events = append(ch.Events, flow.Happening{
				Order: order.ID, At: noon, Event: flow.Missed, From: flow.Asked, To: flow.Asked, Channel: flow.Reply, Note: `"1, 2"`,
			})
			ch.Inbound = &flow.Inbound{SID: "SM1", Line: lineID(1), At: noon, Read: flow.IntentStatus}
			receipt := func(status flow.Status, at time.Time) error {
				return l.Save(t.Context(), flow.Change{Receipt: &flow.Receipt{Message: text.ID, SID: "SM2", Status: status, At: at}})
			}
			if err := errors.Join(l.Save(t.Context(), ch),
				receipt(flow.StatusSent, noon), receipt(flow.StatusDelivered, noon.Add(time.Second))); err != nil {
				t.Fatal(err)
			}
			before, err := l.(flow.Records).Timeline(t.Context(), order.ID)
			if err := errors.Join(err, l.Close()); err != nil {
				t.Fatal(err)
			}
			if len(before.Events) != 2 || len(before.Receipts) != 2 || len(before.Replies) != 1 {
				t.Fatalf("before: %+v", before)
			}
			tt.make()
			for _, opt := range []Option{ReadOnly(), WithoutMigrating()} {
				if l, err := Open(t.Context(), tt.url, opt); !errors.Is(err, ErrOlder) {
					t.Errorf("Open, migrating nothing: %v, %v; want %v", l, err, ErrOlder)
				}
			}
			l = openURL(t, tt.url)
			after, err := l.(flow.Records).Timeline(t.Context(), order.ID)
			if err != nil || !reflect.DeepEqual(after, before) {
				t.Errorf("once migrated: %+v, %v; before: %+v", after, err, before)
			}
			again := flow.Change{Lines: []flow.Line{lineOf(t, l, lineID(1))}, Inbound: ch.Inbound}
			if err := l.Save(t.Context(), again); !errors.Is(err, flow.ErrHeard) {
				t.Errorf("once migrated, a text that was heard before: %v, want %v", err, flow.ErrHeard)
			}
			if in, err := l.Heard(t.Context(), lineID(1).Number, "SM1"); err != nil || in != *ch.Inbound {
				t.Errorf("once migrated, what was heard before is %+v, %v", in, err)
			}
			openURL(t, tt.url, ReadOnly())
			tt.make() // fails if what was made anew is not there
		})
	}
}

func TestStatusesAreRankedAnew(t *testing.T) {
	server := pgtest.Shared(t)
	url := server.URL(t)
	l, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	ch := asking(1)
	m := ch.Messages[0]
	receipt := func(l flow.Ledger, status flow.Status) error {
		return l.Save(t.Context(), flow.Change{Receipt: &flow.Receipt{Message: m.ID, SID: "SM1", Status: status, At: noon}})
	}
	if err := errors.Join(l.Save(t.Context(), ch), receipt(l, flow.StatusDelivered), l.Close()); err != nil {
		t.Fatal(err)
	}
	// As the first version ranked it.
	server.SQL(t, `SET search_path = `+schema(url)+`; UPDATE messages SET rank = 4; `+firstOnPostgres)
	l = openURL(t, url)
	if err := receipt(l, flow.StatusUndelivered); err != nil {
		t.Fatal(err)
	}
	if m, err := l.Message(t.Context(), m.ID); err != nil || m.Status != flow.StatusDelivered {
		t.Errorf("after a late undelivered the status is %s, %v", m.Status, err)
	}
}

// A crowd's receipts and events: as tables, and folded into other rows.
var (
	told = []string{
		`INSERT INTO receipts (message, sid, status, code, at) {crowd}
			SELECT {id}, 'SM' || i, 'delivered', 0, at + 2000 FROM crowd`,
		`INSERT INTO events (conversation, n, at, event, from_state, to_state, channel, note) {crowd}
			SELECT {id}, 1, at, 'ordered', 'new', 'asked', 'web', '' FROM crowd UNION ALL
			SELECT {id}, 2, at, 'missed', 'asked', 'asked', 'web', '' FROM crowd`,
	}
	foldedTold = []string{
		`UPDATE messages SET receipts = ',' || json_array(sid, 'delivered', 0, created + 2000)`,
		`UPDATE conversations SET history = ',' || json_array(created, 'ordered', 'new', 'asked', 'web', '')
			|| ',' || json_array(created, 'missed', 'asked', 'asked', 'web', '')`,
	}
)

// crowd writes n orders within a day. Each has a text, a receipt, two events and
// a reply; the last 100 texts wait. Of a time "at", in milliseconds, and "i", id
// is the SQL that makes a UUIDv7; rank is a column that only one database has.
func crowd(t *testing.T, n int, id, rank string, told []string, exec func(statement string, args ...any) error) {
	t.Helper()
	fill := strings.NewReplacer("{id}", id, "{rank}", rank, "{1}", strings.Replace(rank, "rank", "1", 1),
		"{100 left}", fmt.Sprint("i >= ", n-100),
		"{crowd}", fmt.Sprintf(`WITH RECURSIVE counted AS (
				SELECT 0 AS i UNION ALL SELECT i + 1 FROM counted WHERE i < %d
			), crowd AS (
				SELECT i, %d + 800 * i AS at, '+1415' || (1000000 + i %% 20000) AS number, 'K7Q2-' || i AS reference,
					CASE i %% 10 WHEN 0 THEN 'asked' ELSE 'confirmed' END AS state FROM counted
			)`, n-1, noon.UnixMilli()))
	for _, insert := range append([]string{
		`INSERT INTO conversations (` + conversationColumns + `) {crowd}
			SELECT {id}, number, '', $1, state, reference, '', '[]', $2, NULL, 1, 'k', 6, '', '', at,
				0, at, NULL, '', at, at + 86400000, CASE state WHEN 'asked' THEN NULL ELSE at + 60000 END FROM crowd`,
		`INSERT INTO messages (` + messageColumns + `{rank}) {crowd}
			SELECT {id}, {id}, number, '', 'pin', 1, 'en', reference, '', CASE WHEN {100 left} THEN 'waiting' ELSE 'accepted' END,
				1, 0, CASE WHEN {100 left} THEN at END, at, at, 'SM' || i,
				CASE i % 50 WHEN 0 THEN 'undelivered' ELSE 'delivered' END, CASE i % 50 WHEN 0 THEN 30003 ELSE 0 END{1} FROM crowd`,
		`INSERT INTO inbound (sid, number, sender, at, read, conversation, reply) {crowd}
			SELECT 'SM' || (7919 * i % 100003), number, '', at + 9000, 'pin', {id}, '' FROM crowd`,
	}, told...) {
		var args []any
		if strings.Contains(insert, "$1") {
			args = []any{[]byte{}, true}
		}
		if err := exec(fill.Replace(insert), args...); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
}

// plans asks for all that ops may ask of a crowd, and returns how each query is
// done.
func plans(t *testing.T, look func(context.Context, func(ask) error) error, explain string, step func(scanner) (string, error)) map[string][]string {
	t.Helper()
	plans := map[string][]string{}
	r := records{func(ctx context.Context, read func(ask) error) error {
		return look(ctx, func(ask ask) error {
			return read(func(query string, args []any, row func(scanner) error) (err error) {
				if plans[query], err = list(ask, step, explain+query, args...); err != nil {
					return err
				}
				return ask(query, args, row)
			})
		})
	}}
	ctx := t.Context()
	orders, err := r.Orders(ctx, flow.Search{Reference: "k7q2-500"})
	if err != nil || len(orders.Rows) != 1 {
		t.Fatalf("Orders: %d, %v", len(orders.Rows), err)
	}
	timeline, err := r.Timeline(ctx, orders.Rows[0].ID)
	if err != nil || len(timeline.Events) != 2 || len(timeline.Texts) != 1 || len(timeline.Receipts) != 1 || len(timeline.Replies) != 1 {
		t.Fatalf("Timeline: %+v, %v", timeline, err)
	}
	failing, err := r.Failing(ctx, flow.Search{Code: flow.NoCode})
	if err != nil || len(failing.Rows) != 0 {
		t.Fatalf("Failing: %d, %v", len(failing.Rows), err)
	}
	out, err := r.Outbox(ctx, 200)
	if err != nil || len(out) != 100 {
		t.Fatalf("Outbox: %d, %v", len(out), err)
	}
	failures, err := r.Failures(ctx, noon, 50_000)
	if err != nil || len(failures) != 1 {
		t.Fatalf("Failures: %v, %v", failures, err)
	}
	steps, err := r.Steps(ctx, noon, 100_000)
	if err != nil || len(steps) != 2 {
		t.Fatalf("Steps: %v, %v", steps, err)
	}
	return plans
}

func BenchmarkTimeline(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			l := kind.open(b)
			var last flow.Change
			for n := range 1000 {
				last = asking(n)
				last.Messages[0].ID = flowtest.NewID(noon)
				if err := l.Save(b.Context(), last); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				t, err := l.Timeline(b.Context(), last.Lines[0].Conversations[0].ID)
				if err != nil || len(t.Texts) != 1 {
					b.Fatal(len(t.Texts), err)
				}
			}
		})
	}
}
