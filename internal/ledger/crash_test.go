package ledger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

// crashDatabase tells the child which database to save to.
const crashDatabase = "LEDGER_CRASH_DATABASE"

func TestMain(m *testing.M) {
	if databaseURL := os.Getenv(crashDatabase); databaseURL != "" {
		saveForever(databaseURL)
	}
	os.Exit(m.Run())
}

// saveForever saves to some lines at once and tells of each save once it is
// acknowledged, until it is killed.
func saveForever(databaseURL string) {
	ctx := context.Background()
	s, err := Open(ctx, databaseURL)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for {
				line, err := s.Line(ctx, lineID(n))
				if err != nil {
					fmt.Println("line:", err)
					os.Exit(1)
				}
				line.Misses++
				m := flow.Message{ID: flowtest.NewID(noon), State: flow.Leased, Line: line.LineID, Due: noon, Created: noon}
				if err := s.Save(ctx, flow.Change{
					Lines: []flow.Line{line}, Messages: []flow.Message{m},
					Spend: []flow.Spend{{Total: "saves", N: 1, Limit: 1 << 30}},
				}); err != nil {
					fmt.Println("save:", err)
					os.Exit(1)
				}
				// One write of a line is whole in a pipe.
				fmt.Printf("saved %d %d %s\n", n, line.Version+1, m.ID)
			}
		})
	}
	all.Wait()
}

// What was acknowledged survives a kill at any moment, and what was not is
// there whole or not at all.
func TestAKillLosesNothingAcknowledged(t *testing.T) {
	for name, databaseURL := range map[string]string{
		"SQLite": "file:" + tempFile(t), "PostgreSQL": pgtest.Shared(t).URL(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killAndLook(t, databaseURL)
		})
	}
}

func killAndLook(t *testing.T, databaseURL string) {
	const cycles = 12
	acknowledged := map[flow.LineID]int64{}
	var messages []uuid.UUID
	for range cycles {
		for _, ack := range runAndKill(t, databaseURL, 1+rand.IntN(200)) {
			var n int
			var version int64
			var message string
			if _, err := fmt.Sscanf(ack, "saved %d %d %s", &n, &version, &message); err != nil {
				t.Fatalf("the child says: %s", ack)
			}
			acknowledged[lineID(n)] = max(acknowledged[lineID(n)], version)
			messages = append(messages, uuid.MustParse(message))
		}
		checkSurvivors(t, databaseURL, acknowledged, messages)
	}
	t.Logf("%d acknowledged saves survived %d kills", len(messages), cycles)
}

// runAndKill starts a child on the database, kills it after so many acknowledged
// saves, and returns all that it has acknowledged.
func runAndKill(t *testing.T, databaseURL string, after int) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self) //nolint:gosec // ourselves
	if strings.HasPrefix(databaseURL, "postgres:") {
		defer hungUp(t, databaseURL)
		databaseURL += "&application_name=" + doomed
	}
	child.Env = append(os.Environ(), crashDatabase+"="+databaseURL)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var acks []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		acks = append(acks, lines.Text())
		if len(acks) == after {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child was not killed: %v, having said %q", err, acks)
	}
	return acks
}

// checkSurvivors opens what the child left.
func checkSurvivors(t *testing.T, databaseURL string, acknowledged map[flow.LineID]int64, messages []uuid.UUID) {
	t.Helper()
	l, err := Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err) // above all if the dead child still held the lock
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	saves := 0
	for n := range 8 {
		line := lineOf(t, l, lineID(n))
		if line.Version < acknowledged[line.LineID] {
			t.Errorf("line %d has version %d, and %d was acknowledged", n, line.Version, acknowledged[line.LineID])
		}
		if int64(line.Misses) != line.Version {
			t.Errorf("line %d has %d misses at version %d", n, line.Misses, line.Version)
		}
		saves += line.Misses
	}
	for _, id := range messages {
		if _, err := l.Message(t.Context(), id); err != nil {
			t.Errorf("message %s, acknowledged: %v", id, err)
		}
	}
	census, err := l.Census(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	spent := intactAndSpent(t, l)
	if out := census.Outbox[flow.Leased]; out != saves || spent != saves {
		t.Errorf("%d saves of lines, %d messages, %d spent: a save was halved", saves, out, spent)
	}
}

// doomed is what the child is called at PostgreSQL.
const doomed = "doomed"

// hungUp waits until PostgreSQL is done with the child that was killed: what it
// had asked for may else be committed between two looks at it.
func hungUp(t *testing.T, databaseURL string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		var were int
		// Who asks rests, so that who is to end has the processor.
		if err := conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_sleep(0.01), pg_stat_activity
			WHERE application_name = $1`, doomed).Scan(&were); err != nil {
			t.Fatal(err)
		}
		return were == 0
	})
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// intactAndSpent looks whether the database is whole, and returns what is
// spent of the total of the saves.
func intactAndSpent(t *testing.T, l flow.Ledger) (spent int) {
	t.Helper()
	const query = `SELECT coalesce(sum(used), 0) FROM totals WHERE name = 'saves'`
	if p, ok := l.(*Postgres); ok { // which has not crashed itself
		if err := p.reads.QueryRow(t.Context(), query).Scan(&spent); err != nil {
			t.Fatal(err)
		}
		return spent
	}
	s := l.(*SQLite)
	if err := s.reads.QueryRowContext(t.Context(), query).Scan(&spent); err != nil {
		t.Fatal(err)
	}
	var verdict string
	if err := s.reads.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity check: %s, %v", verdict, err)
	}
	return spent
}

// A process that is killed again and again, each time before its first
// checkpoint, must not make the WAL longer and longer.
func TestKillsDoNotMakeTheWALGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	var longest int64
	for range 5 {
		l, err := Open(t.Context(), "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if err := l.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wal, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if longest == 0 {
			longest = int64(len(wal))
		}
		if int64(len(wal)) > 2*longest {
			t.Errorf("the WAL has %d bytes, after %d at first", len(wal), longest)
		}
		// Killed: what it had not copied is still there at the next start.
		main, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{path: main, path + "-wal": wal} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
