package ledger

import (
	"context"
	"database/sql"
	"os"
	"testing"
	"time"
)

// unhurriedly has the test make the checkpoints, and no row bring one about.
func unhurriedly(t *testing.T, s *SQLite) *checkpointer {
	t.Helper()
	c := s.checkpoints
	c.closing()
	c.closed.Wait()
	c.long, c.tooLong, c.patience = 20, 80, time.Minute
	return c
}

// reader begins to read, and goes on until it is ended.
func reader(t *testing.T, s *SQLite) (end func()) {
	t.Helper()
	tx, err := s.reads.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var lines int
	if err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM lines`).Scan(&lines); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// shortWAL wants the WAL to have been begun anew, and the disk to be given back.
func shortWAL(t *testing.T, s *SQLite) {
	t.Helper()
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if pages := int(info.Size() >> 12); pages >= s.checkpoints.long {
		t.Errorf("the WAL takes %d pages still, want less than %d", pages, s.checkpoints.long)
	}
}

// askings saves orders of customers from on, until the WAL has so many pages.
func askings(t *testing.T, s *SQLite, from, pages int) {
	t.Helper()
	for n := from; ; n++ {
		if err := s.Save(t.Context(), asking(n)); err != nil {
			t.Fatal(err)
		}
		if _, now, _ := s.checkpoints.copy(t.Context(), "PASSIVE"); now >= pages {
			return
		}
	}
}

// A WAL that is too long starts anew though somebody reads it all the time,
// as those do who begin before the last one has ended.
func TestOverlappingReadersDoNotKeepTheWAL(t *testing.T) {
	s := openTemp(t)
	c := unhurriedly(t, s)
	end := reader(t, s)
	askings(t, s, 1, c.tooLong)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.checkpoint(context.Background())
	}()
	until(t, func() bool { // saves are held up
		free := c.writing.TryLock()
		if free {
			c.writing.Unlock()
		}
		return !free
	})
	for waited := false; !waited; {
		next := reader(t, s)
		end()
		end = next
		select {
		case <-done:
			waited = true
		default:
		}
	}
	defer end()
	if err := s.Save(t.Context(), asking(10_000)); err != nil {
		t.Fatal(err)
	}
	shortWAL(t, s)
}

// One who reads without an end, a backup, holds saves up for a moment and not
// again until the WAL is twice as long. After that end the disk is given back.
func TestAReaderWithoutEndHoldsUpNobodyTwice(t *testing.T) {
	s := openTemp(t)
	c := unhurriedly(t, s)
	c.patience = time.Millisecond
	end := reader(t, s)
	askings(t, s, 1, c.tooLong)
	c.checkpoint(t.Context())
	if c.tooLong < 2*tooLong*c.long {
		t.Fatalf("who reads without an end is waited for from %d pages on, want twice as many as before", c.tooLong)
	}
	askings(t, s, 1_000, c.tooLong-10) // or none is saved
	c.patience = time.Hour
	c.checkpoint(t.Context()) // or it waits, for longer than a test may last
	end()
	c.checkpoint(t.Context())
	if err := s.Save(t.Context(), asking(10_000)); err != nil {
		t.Fatal(err)
	}
	shortWAL(t, s)
	if c.checkpoint(t.Context()); c.tooLong != tooLong*c.long {
		t.Errorf("readers are waited for from %d pages on, want %d again", c.tooLong, tooLong*c.long)
	}
}
