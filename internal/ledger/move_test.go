package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

// A shelf is a ledger's content, as the port tells it.
type shelf struct {
	Lines         []flow.Line
	Conversations []flow.Conversation
	Messages      []flow.Message
	Inbound       flow.Inbound
	Census        flow.Census
}

// fill saves something of everything, and returns how to read it again.
func fill(t *testing.T, l flow.Ledger) (read func(flow.Ledger) shelf) {
	t.Helper()
	full := asking(1)
	line, order, message := &full.Lines[0], &full.Lines[0].Conversations[0], &full.Messages[0]
	line.OptedOut, line.Misses, line.Hints, line.Answers = noon, 2, 3, flow.Recent{noon, noon.Add(time.Second)}
	order.Browser, order.Complete, order.Proved = flow.Browser{1, 255}, true, noon
	order.Misses, order.Failure = 4, flow.ClassCarrier
	order.Entries = append(order.Entries, flow.Entry{Field: "note", Value: "a\x00b \U0001F355 \"q\" \\u0000"})
	message.Status, message.SID, message.Code, message.Attempted = flow.StatusDelivered, "SM1", 30003, noon
	ended := asking(2)
	ended.Lines[0].Conversations[0].State, ended.Lines[0].Conversations[0].Ended = flow.Confirmed, noon
	ended.Lines[0].Topic = ended.Lines[0].Conversations[0].ID
	in := flow.Inbound{SID: "SM2", Line: lineID(3), At: noon, Read: flow.IntentNo, Order: order.ID, Reply: "Hm."}
	for _, ch := range []flow.Change{
		full, ended,
		{Lines: []flow.Line{{LineID: lineID(3)}}, Inbound: &in},
		{Lines: []flow.Line{{LineID: lineID(4)}}, Inbound: &flow.Inbound{SID: "SM3", Line: lineID(4)}},
		{Receipt: &flow.Receipt{SID: "SM4", Status: flow.StatusSent, At: noon}},
		{Receipt: &flow.Receipt{Message: message.ID, SID: "SM1", Status: flow.StatusRead, At: noon}},
		{Events: []flow.Happening{{Order: order.ID, At: noon, Event: flow.Missed, From: flow.Asked, To: flow.Asked, Channel: flow.Reply, Note: "n"}}},
	} {
		if err := l.Save(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	return func(l flow.Ledger) (s shelf) {
		t.Helper()
		var errs [4]error
		for n := 1; n <= 3; n++ {
			s.Lines = append(s.Lines, lineOf(t, l, lineID(n)))
		}
		for _, id := range []uuid.UUID{order.ID, ended.Lines[0].Topic} {
			c, err := l.Conversation(t.Context(), id)
			s.Conversations, errs[0] = append(s.Conversations, c), errors.Join(errs[0], err)
		}
		for _, id := range []uuid.UUID{message.ID, ended.Messages[0].ID} {
			m, err := l.Message(t.Context(), id)
			s.Messages, errs[1] = append(s.Messages, m), errors.Join(errs[1], err)
		}
		s.Inbound, errs[2] = l.Heard(t.Context(), lineID(3).Number, "SM2")
		s.Census, errs[3] = l.Census(t.Context(), noon)
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func same(t *testing.T, what string, got, want shelf) {
	t.Helper()
	if diff := cmp.Diff(want, got, flowtest.SameRows); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestMove(t *testing.T) {
	server := pgtest.Shared(t)
	path, target := tempFile(t), server.URL(t)
	s := openFile(t, path)
	read := fill(t, s)
	want := read(s)
	order := want.Conversations[0].ID
	var rows int64
	for _, table := range moved {
		var n int64
		if err := s.reads.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table.name).Scan(&n); err != nil || n == 0 {
			t.Fatalf("%s has %d rows, %v; want some to move", table.name, n, err)
		}
		rows += n
	}

	if _, err := Move(t.Context(), "file:"+path, target); !errors.Is(err, ErrInUse) {
		t.Errorf("while somebody serves the file: %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := Move(t.Context(), "file:"+path, target)
	if err != nil {
		t.Fatal(err)
	}
	if n != rows {
		t.Errorf("%d rows were moved, want %d", n, rows)
	}
	p := openURL(t, target)
	same(t, "moved", read(p), want)
	same(t, "what stays", read(openFile(t, path, ReadOnly())), want)

	t.Run("and is gone on with", func(t *testing.T) {
		line := want.Lines[0]
		line.Misses++
		if err := p.Save(t.Context(), flow.Change{
			Lines: []flow.Line{line},
			// The status that was moved has its rank.
			Receipt: &flow.Receipt{Message: want.Messages[0].ID, SID: "SM1", Status: flow.StatusSent, At: noon},
			Events:  []flow.Happening{{Order: order, At: noon, Event: flow.Matched}},
			Spend:   []flow.Spend{{Total: "texts/2026-11-23", N: 1, Limit: 3}},
		}); err != nil {
			t.Fatal(err)
		}
		if m, err := p.Message(t.Context(), want.Messages[0].ID); err != nil || m.Status != flow.StatusRead {
			t.Errorf("its status is %q, %v", m.Status, err)
		}
		var history []string
		rows, err := p.(*Postgres).reads.Query(t.Context(), `SELECT event FROM events WHERE conversation = $1 ORDER BY n`, order)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var event string
			if err := rows.Scan(&event); err != nil {
				t.Fatal(err)
			}
			history = append(history, event)
		}
		if err := rows.Err(); err != nil || !slices.Equal(history, []string{"ordered", "missed", "matched"}) {
			t.Errorf("the order's history is %v, %v", history, err)
		}
		if err := p.Save(t.Context(), flow.Change{Spend: []flow.Spend{{Total: "texts/2026-11-23", N: 1, Limit: 3}}}); !errors.Is(err, flow.ErrSpent) {
			t.Errorf("the total was not moved: %v", err)
		}
	})
	if _, err := Move(t.Context(), "file:"+path, target); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second time: %v, want ErrNotEmpty", err)
	}
}

func TestAMoveThatFailsLeavesNothing(t *testing.T) {
	server := pgtest.Shared(t)
	path, target := tempFile(t), server.URL(t)
	s := openFile(t, path)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The tables are moved in turn; the last has a row.
	p := openURL(t, target).(*Postgres)
	if err := p.Save(t.Context(), flow.Change{Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), "file:"+path, target); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("Move: %v, want ErrNotEmpty", err)
	}
	if line := lineOf(t, p, lineID(1)); line.Version != 0 {
		t.Error("a line was moved")
	}
}

func TestMoveRefuses(t *testing.T) {
	server := pgtest.Shared(t)
	file, postgres := "file:"+tempFile(t), server.URL(t)
	for _, tt := range []struct{ name, from, to string }{
		{"from PostgreSQL", postgres, server.URL(t)},
		{"to a file", file, "file:" + tempFile(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Move(t.Context(), tt.from, tt.to); err == nil || !strings.Contains(err.Error(), "the only way") {
				t.Errorf("Move: %v", err)
			}
		})
	}
}

// A column that a migration adds, and a move forgets, would be lost.
func TestEveryColumnIsMoved(t *testing.T) {
	p := openPostgresTemp(t)
	s := openTemp(t)
	for _, table := range moved {
		for database, query := range map[string]string{
			"PostgreSQL": fmt.Sprintf(`SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
				WHERE attrelid = '%s'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'rank'`, table.name),
			// What is folded into a column there is moved as the view that unfolds
			// it, and a line's texts as the table that has all of them.
			"SQLite": fmt.Sprintf(`SELECT group_concat(name, ' ' ORDER BY name) FROM pragma_table_info('%s')
				WHERE name NOT IN ('history', 'receipts', 'heard', 'heard_more')`, table.name),
		} {
			var columns string
			var err error
			if database == "SQLite" {
				err = s.reads.QueryRowContext(t.Context(), query).Scan(&columns)
			} else {
				err = p.reads.QueryRow(t.Context(), query).Scan(&columns)
			}
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(slices.Values(table.columns))
			if is := strings.Fields(columns); !slices.Equal(is, want) {
				t.Errorf("%s of %s has %v; %v are moved", table.name, database, is, want)
			}
		}
	}
}

func TestBackup(t *testing.T) {
	path := tempFile(t)
	s := openFile(t, path)
	read := fill(t, s)
	want := read(s)

	// Somebody is writing all the while.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		for n := 10; ; n++ {
			if err := s.Save(ctx, asking(n)); err != nil {
				done <- err
				return
			}
		}
	}()
	until(t, func() bool { return lineOf(t, s, lineID(20)).Version > 0 })
	acknowledged := 0
	for lineOf(t, s, lineID(10+acknowledged)).Version > 0 {
		acknowledged++
	}
	copied := filepath.Join(t.TempDir(), "backup.db")
	if err := Backup(t.Context(), "file:"+path, copied); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who wrote meanwhile: %v", err)
	}

	restored := openFile(t, copied)
	got := read(restored)
	got.Census = want.Census // of more than that, by then
	same(t, "restored", got, want)
	for n := range acknowledged {
		if lineOf(t, restored, lineID(10+n)).Version == 0 {
			t.Errorf("line %d was saved before, and is not in the backup", 10+n)
		}
	}
	if err := restored.Save(t.Context(), asking(9)); err != nil {
		t.Errorf("the restored one is not gone on with: %v", err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v; others could read it", info.Mode(), err)
	}
}

func TestBackupRefuses(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.db")
	if err := os.WriteFile(there, []byte("the last backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, url, file, want string }{
		{"to take another file's place", "file:" + tempFile(t), there, "already exists"},
		{"a directory that is not there", "file:" + tempFile(t), filepath.Join(dir, "nowhere", "x.db"), "no such file"},
		{"a database that is not there", "file:" + filepath.Join(dir, "none.db"), filepath.Join(dir, "x.db"), "cannot be opened"},
		{"PostgreSQL", "postgres://nobody@nowhere/shop", filepath.Join(dir, "x.db"), "pg_dump"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Backup(t.Context(), tt.url, tt.file)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Backup: %v; want it to say %q", err, tt.want)
			}
		})
	}
	if text, err := os.ReadFile(there); err != nil || !bytes.Equal(text, []byte("the last backup")) {
		t.Errorf("the last backup is %q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
