package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// lineID returns the n-th line of the tests.
func lineID(n int) flow.LineID {
	return flow.LineID{Number: flow.Number(fmt.Sprintf("+1415%07d", n)), Sender: "+18005550100"}
}

// migrated is a new database, migrated once for all tests.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := Open(context.Background(), "file:"+filepath.Join(dir, "new.db"))
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "new.db"))
})

// tempFile makes a database file that goes with the test.
func tempFile(t testing.TB) string {
	t.Helper()
	file, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openFile opens a ledger for as long as the test lasts.
func openFile(t testing.TB, path string, opts ...Option) *SQLite {
	t.Helper()
	s := openURL(t, "file:"+path, opts...)
	return s.(*SQLite)
}

// openURL opens a ledger for as long as the test lasts.
func openURL(t testing.TB, databaseURL string, opts ...Option) flow.Ledger {
	t.Helper()
	l, err := Open(context.Background(), databaseURL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func openTemp(t testing.TB) *SQLite {
	t.Helper()
	return openFile(t, tempFile(t))
}

// The caches of the suites never forget by time, since one that does keeps its
// goroutines; see TestCacheForgets for that.
func TestLedgers(t *testing.T) {
	for name, open := range map[string]func(*testing.T) flow.Ledger{
		"SQLite":                     func(t *testing.T) flow.Ledger { return openTemp(t) },
		"SQLite behind a cache":      func(t *testing.T) flow.Ledger { return Cached(openTemp(t), 100_000, 0) },
		"SQLite behind a cache of 2": func(t *testing.T) flow.Ledger { return Cached(openTemp(t), 2, 0) },
		"fake behind a cache of 2":   func(*testing.T) flow.Ledger { return Cached(flowtest.NewLedger(), 2, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flowtest.TestLedger(t, open)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	notADatabase := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(notADatabase, []byte(strings.Repeat("Dear Sirs, ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, url string
		want      string // in the error
	}{
		{"a URL of another kind", "mysql://db/countersign", "want file:"},
		{"a URL without a scheme", "countersign.db", "want file:"},
		{"a URL without a file", "file:", "a file is needed"},
		{"a database in memory", "file::memory:", "a file is needed"},
		{"settings in the URL", "file:countersign.db?_synchronous=OFF", "our choice"},
		{"two slashes", "file://countersign.db", "file:name.db"},
		{"a directory that is not there", "file:" + filepath.Join(dir, "missing", "x.db"), "directory"},
		{"a directory", "file:" + dir, "directory"},
		{"a file that is no database", "file:" + notADatabase, "is DATABASE_URL right?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(t.Context(), tt.url)
			if err == nil {
				_ = s.Close()
				t.Fatal("Open did not fail")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v; want it to say %q", err, tt.want)
			}
		})
	}
}

func TestOpenTakesRelativeAndEscapedPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ url, path string }{
		{"file:one.db", "one.db"},
		{"file:./a%20b%3f.db", "a b?.db"},
	} {
		s, err := Open(t.Context(), tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(tt.path); err != nil {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}

func TestOneProcessAFile(t *testing.T) {
	path := tempFile(t)
	first := openFile(t, path)
	link := filepath.Join(filepath.Dir(path), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		_, err := Open(t.Context(), "file:"+name)
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("a second Open: %v, want ErrInUse and our process's id", err)
		}
	}
	if err := first.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}); err != nil {
		t.Fatal(err)
	}

	reader := openFile(t, path, ReadOnly())
	if line, err := reader.Line(t.Context(), lineID(1)); err != nil || line.Version != 1 {
		t.Errorf("a reader beside it reads version %d, %v", line.Version, err)
	}
	if err := reader.Ping(t.Context()); err != nil {
		t.Errorf("a reader's Ping: %v", err)
	}
	for what, err := range map[string]error{
		"Save": reader.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(2)}}}),
		"Take": func() error { _, err := reader.Take(t.Context(), noon, noon, 1); return err }(),
	} {
		if !errors.Is(err, errReadOnly) {
			t.Errorf("a reader's %s: %v, want %v", what, err, errReadOnly)
		}
	}

	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openFile(t, path)
}

func TestReadOnlyMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if _, err := Open(t.Context(), "file:"+path, ReadOnly()); err == nil {
		t.Fatal("Open did not fail")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v, want none", err)
	}
}

// atVersion makes a file whose tables say that they are at a version.
func atVersion(t *testing.T, version int) string {
	t.Helper()
	path := tempFile(t)
	shell(t, path, fmt.Sprintf(`DELETE FROM goose_db_version WHERE version_id > 0;
		INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, version))
	return path
}

// shell runs statements on a file as another program would.
func shell(t testing.TB, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, url.Values{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), statements); err != nil {
		t.Fatal(err)
	}
}

func TestVersionsOfTheTables(t *testing.T) {
	empty := func(t *testing.T) string { return filepath.Join(t.TempDir(), "new.db") }
	newer := func(t *testing.T) string { return atVersion(t, 999) }
	older := func(t *testing.T) string { return atVersion(t, 0) }
	foreign := func(t *testing.T) string {
		path := empty(t)
		shell(t, path, `CREATE TABLE recipes (name TEXT)`)
		return path
	}
	for _, tt := range []struct {
		name string
		file func(*testing.T) string
		opts []Option
		want error // and then the file is as it was
	}{
		{"a new file is migrated", empty, nil, nil},
		{"a new file is not migrated if that is not allowed", empty, []Option{WithoutMigrating()}, ErrOlder},
		{"our version is opened without migrating", tempFileOf, []Option{WithoutMigrating()}, nil},
		{"our version is read", tempFileOf, []Option{ReadOnly()}, nil},
		{"an older one is not migrated by a reader", older, []Option{ReadOnly()}, ErrOlder},
		{"a newer one is left alone", newer, nil, ErrNewer},
		{"a newer one is not even read", newer, []Option{ReadOnly()}, ErrNewer},
		{"another program's tables are left alone", foreign, nil, ErrForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.file(t)
			before, _ := os.ReadFile(path) // nothing, of a new one
			s, err := Open(t.Context(), "file:"+path, tt.opts...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open: %v, want %v", err, tt.want)
			}
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func tempFileOf(t *testing.T) string { return tempFile(t) }

func TestAClosedLedgerSaysSo(t *testing.T) {
	s := openTemp(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), flow.Change{}); !errors.Is(err, errClosed) {
		t.Errorf("Save: %v, want %v", err, errClosed)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Ping: %v, want %v", err, errClosed)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestClosingServesWhoWaits(t *testing.T) {
	s := openTemp(t)
	let, held := hold(t, s)
	const waiting = 20
	errs := make(chan error, waiting)
	for n := range waiting {
		go func() { errs <- s.Save(context.Background(), flow.Change{Lines: []flow.Line{{LineID: lineID(n)}}}) }()
	}
	until(t, func() bool { return len(s.writer.queue) == waiting })
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	<-s.writer.closing
	close(let)
	<-held
	for range waiting {
		if err := <-errs; err != nil {
			t.Errorf("Save: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

// hold keeps the writer busy until let is closed; what comes meanwhile is one
// group. Held is closed when it is done.
func hold(t *testing.T, s *SQLite) (let, held chan struct{}) {
	t.Helper()
	let, held = make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	go func() {
		defer close(held)
		_ = s.writer.do(context.Background(),
			func() error { close(begun); <-let; return nil },
			func() error { return nil })
	}()
	<-begun
	return let, held
}

// until waits for a condition that others bring about.
func until(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("waited for ten seconds")
		}
	}
}

func TestWhatWaitsIsCommittedTogether(t *testing.T) {
	s := openTemp(t)
	commits := 0
	commit := s.writer.commit
	let, held := hold(t, s)
	s.writer.commit = func(group []*job) { commits++; commit(group) } // read by the writer after let is closed
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			if err := s.Save(t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(n)}}}); err != nil {
				t.Errorf("Save: %v", err)
			}
		})
	}
	until(t, func() bool { return len(s.writer.queue) == 30 })
	close(let)
	<-held
	all.Wait()
	if commits != 1 {
		t.Errorf("30 saves that waited took %d commits", commits)
	}
}

func TestWhoGivesUpWaitingIsSkipped(t *testing.T) {
	s := openTemp(t)
	let, held := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- s.Save(ctx, flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}) }()
	until(t, func() bool { return len(s.writer.queue) == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Save: %v, want %v", err, context.Canceled)
	}
	close(let)
	<-held
	if err := s.Ping(t.Context()); err != nil { // behind it in the queue
		t.Fatal(err)
	}
	if line, err := s.Line(t.Context(), lineID(1)); err != nil || line.Version != 0 {
		t.Errorf("the line has version %d, %v; want none", line.Version, err)
	}
}

func TestWhoGivesUpOnceBegunIsToldTheOutcome(t *testing.T) {
	s := openTemp(t)
	begun, let := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error)
	go func() {
		outcome <- s.writer.do(ctx, func() error { close(begun); <-let; return flow.ErrSpent }, nil)
	}()
	<-begun
	cancel()
	select {
	case err := <-outcome:
		t.Fatalf("answered before the outcome: %v", err)
	default:
	}
	close(let)
	if err := <-outcome; !errors.Is(err, flow.ErrSpent) {
		t.Errorf("do: %v, want %v", err, flow.ErrSpent)
	}
}

// A refusal may rest on what another of the group has written. If that is
// rolled back, the refusal must be thought over.
func TestARefusalIsNotAnsweredBeforeTheCommit(t *testing.T) {
	s := openTemp(t)
	taken := flow.Message{ID: flowtest.NewID(noon), State: flow.Dropped, Created: noon}
	if err := s.Save(t.Context(), flow.Change{Messages: []flow.Message{taken}}); err != nil {
		t.Fatal(err)
	}
	let, held := hold(t, s)
	line := []flow.Line{{LineID: lineID(1)}}
	first, last := make(chan error, 1), make(chan error, 1)
	// The first spends the total and fails on its message; the last is
	// refused as long as the first has spent.
	go func() {
		first <- s.Save(t.Context(), flow.Change{
			Lines: line, Messages: []flow.Message{taken}, Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}},
		})
	}()
	until(t, func() bool { return len(s.writer.queue) == 1 })
	go func() { last <- s.Save(t.Context(), flow.Change{Lines: line}) }()
	until(t, func() bool { return len(s.writer.queue) == 2 })
	close(let)
	<-held
	if err := <-first; err == nil || errors.Is(err, flow.ErrStale) {
		t.Errorf("the first: %v, want a failed write", err)
	}
	if err := <-last; err != nil {
		t.Errorf("the last: %v", err)
	}
}

func TestAFullDiskFailsClearlyAndHeals(t *testing.T) {
	s := openTemp(t)
	save := func(n, size int) error {
		line := flow.Line{LineID: lineID(n)}
		line.Conversations = []flow.Conversation{{
			ID: flowtest.NewID(noon), State: flow.Asked,
			Entries: []flow.Entry{{Field: "address", Value: strings.Repeat("x", size)}},
		}}
		return s.Save(t.Context(), flow.Change{Lines: []flow.Line{line}})
	}
	var pages int
	if err := s.conn.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := s.conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 2)
	let, held := hold(t, s)
	big, small := make(chan error, 1), make(chan error, 3)
	go func() { small <- save(1, 10) }()
	until(t, func() bool { return len(s.writer.queue) == 1 })
	go func() { big <- save(2, 100_000) }()
	until(t, func() bool { return len(s.writer.queue) == 2 })
	go func() { small <- save(3, 10) }()
	until(t, func() bool { return len(s.writer.queue) == 3 })
	close(let)
	<-held
	if err := <-big; err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("what does not fit: %v; want it to say that the disk is full", err)
	}
	for range 2 {
		if err := <-small; err != nil {
			t.Errorf("what fits, beside it: %v", err)
		}
	}
	limit(1 << 20)
	if err := save(2, 100_000); err != nil {
		t.Errorf("after there is space again: %v", err)
	}
	for n := 1; n <= 3; n++ {
		if line, err := s.Line(t.Context(), lineID(n)); err != nil || len(line.Conversations) != 1 {
			t.Errorf("line %d has %d orders, %v", n, len(line.Conversations), err)
		}
	}
}

func TestAnotherProgramsLockIsNamed(t *testing.T) {
	s := openTemp(t)
	if _, err := s.conn.ExecContext(t.Context(), `PRAGMA busy_timeout = 1`); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(s.path, url.Values{"_txlock": {"immediate"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Save": s.Save(t.Context(), flow.Change{}),
		"Ping": s.Ping(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "another program holds the file's lock") {
			t.Errorf("%s: %v; want it to name the lock", what, err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping, once it is free: %v", err)
	}
}

// Each page that a statement reads for nothing is paid with every save.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	s := openTemp(t)
	all := s.read.sql()
	for stmt, query := range s.save.sql() {
		all[stmt] = query
	}
	for _, query := range all {
		for _, step := range plan(t, s, query) {
			scans := strings.HasPrefix(step, "SCAN") &&
				!strings.Contains(step, "VIRTUAL TABLE") && // a line's list
				step != "SCAN CONSTANT ROW" &&
				step != "SCAN soonest" && // of the lapsing, so many
				!strings.Contains(step, "USING COVERING INDEX") // of what is open or out
			if scans {
				t.Errorf("%s\n\t%s", query, step)
			}
		}
	}
}

// plan returns the steps in which SQLite would do a query.
func plan(t *testing.T, s *SQLite, query string) (steps []string) {
	t.Helper()
	rows, err := s.reads.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, blanks(query)...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// blanks are as many arguments as a query asks for.
func blanks(query string) []any {
	n := strings.Count(query, "?")
	for i := 1; strings.Contains(query, fmt.Sprintf("?%d", i)); i++ {
		n = i
	}
	return make([]any, n)
}

// The port does not tell of a receipt that names no message; it is kept too.
func TestEventsAndReceiptsAreKept(t *testing.T) {
	s := openTemp(t)
	first, second := asking(1), asking(2)
	one, other := first.Lines[0].Conversations[0].ID, second.Lines[0].Conversations[0].ID
	message := first.Messages[0].ID
	first.Events, second.Events = nil, nil
	happening := func(order uuid.UUID, ev flow.Event) flow.Happening {
		return flow.Happening{Order: order, At: noon, Event: ev, From: flow.New, To: flow.Asked, Channel: flow.Web, Note: "n"}
	}
	for _, ch := range []flow.Change{
		first, second,
		{Events: []flow.Happening{happening(one, flow.Ordered), happening(other, flow.Ordered)}},
		{Events: []flow.Happening{happening(one, flow.Missed), happening(one, flow.Matched)}},
		{Receipt: &flow.Receipt{Message: message, SID: "SM1", Status: flow.StatusSent, At: noon}},
		{Receipt: &flow.Receipt{Message: message, SID: "SM1", Status: flow.StatusSent, At: noon.Add(1)}},
		{Receipt: &flow.Receipt{SID: "SM2", Status: flow.StatusFailed, Code: 30003, At: noon}},
		{Receipt: &flow.Receipt{SID: "SM2", Status: flow.StatusFailed, Code: 30003, At: noon.Add(1)}},
	} {
		if err := s.Save(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		`SELECT group_concat(n || event || at || from_state || to_state || channel || note, ' ') FROM events
			WHERE conversation = ? ORDER BY n`: fmt.Sprintf("1ordered%[1]dnewaskedwebn 2missed%[1]dnewaskedwebn 3matched%[1]dnewaskedwebn", noon.UnixMilli()),
	} {
		var is string
		if err := s.reads.QueryRowContext(t.Context(), query, one[:]).Scan(&is); err != nil {
			t.Fatal(err)
		}
		if is != want {
			t.Errorf("%s\n\tis %s, want %s", query, is, want)
		}
	}
	var receipts string
	if err := s.reads.QueryRowContext(t.Context(),
		`SELECT group_concat(sid || status || code, ' ') FROM receipts`).Scan(&receipts); err != nil {
		t.Fatal(err)
	}
	if want := "SM1sent0 SM2failed30003"; receipts != want {
		t.Errorf("receipts are %q, want %q", receipts, want)
	}
	err := s.Save(t.Context(), flow.Change{Events: []flow.Happening{happening(flowtest.NewID(noon), flow.Missed)}})
	if err == nil || errors.Is(err, flow.ErrNotFound) {
		t.Errorf("what happened to no order: %v, want a bug's", err)
	}
}

// What the writer appends to the WAL is copied beside it; and though the writer
// never rests, the WAL starts anew before it is as long as all that was saved.
func TestTheWALStaysShort(t *testing.T) {
	const saves = 6000
	s := openTemp(t)
	s.checkpoints.long, s.checkpoints.overlong, s.checkpoints.waitFrom = 500, 1<<30, 1<<30
	var n atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := int(n.Add(1)); i <= saves; i = int(n.Add(1)) {
				if err := s.Save(context.Background(), asking(i)); err != nil {
					t.Errorf("Save: %v", err)
				}
			}
		})
	}
	all.Wait()
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size() >> 20
	}
	if mb := size(s.path + "-wal"); mb > 14 {
		t.Errorf("after %d saves the WAL has %d MB, want at most 14", saves, mb)
	}
	until(t, func() bool { return size(s.path) > 0 })
}

// A commit that fails is nobody's success.
func TestAFailedCommitFailsOnlyItsCause(t *testing.T) {
	s := openTemp(t)
	for _, statement := range []string{
		`PRAGMA foreign_keys = ON`,
		`CREATE TABLE parents (id INTEGER PRIMARY KEY)`,
		// Looked at when the transaction ends, not when the row is written.
		`CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)`,
	} {
		if _, err := s.conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	let, held := hold(t, s)
	before, culprit, after := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	save := func(n int) error {
		return s.Save(context.Background(), flow.Change{Lines: []flow.Line{{LineID: lineID(n)}}})
	}
	for i, ask := range []func(){
		func() { before <- save(1) },
		func() {
			culprit <- s.writer.do(context.Background(), func() error { return nil }, func() error {
				_, err := s.conn.ExecContext(context.Background(), `INSERT INTO children VALUES (1)`)
				return err
			})
		},
		func() { after <- save(2) },
	} {
		go ask()
		until(t, func() bool { return len(s.writer.queue) == i+1 })
	}
	close(let)
	<-held
	if err := <-culprit; err == nil {
		t.Error("the culprit was told of success")
	}
	if err := errors.Join(<-before, <-after); err != nil {
		t.Errorf("those beside it: %v", err)
	}
	for n := 1; n <= 2; n++ {
		if v := lineOf(t, s, lineID(n)).Version; v != 1 {
			t.Errorf("line %d has version %d, want 1", n, v)
		}
	}
}
