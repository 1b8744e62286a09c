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
	c.long, c.overlong, c.waitFrom = 20, 80, 80
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

// overlapping saves orders until the WAL is overlong. There is always somebody who
// reads it, and one does when it returns.
func overlapping(t *testing.T, s *SQLite) (end func()) {
	t.Helper()
	end = reader(t, s)
	for n, pages := 1, 0; pages < s.checkpoints.overlong; n++ {
		if err := s.Save(t.Context(), asking(n)); err != nil {
			t.Fatal(err)
		}
		next := reader(t, s)
		end()
		end = next
		_, pages, _ = s.checkpoints.copy(t.Context(), "PASSIVE")
	}
	return end
}

// patiently has checkpoints wait for that long.
func patiently(t *testing.T, c *checkpointer, d time.Duration) {
	t.Helper()
	if err := waiting(t.Context(), c.db, d); err != nil {
		t.Fatal(err)
	}
}

// checkpointed is closed when a checkpoint is made.
func checkpointed(c *checkpointer) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.checkpoint(context.Background())
	}()
	return done
}

// atOnce wants a checkpoint to wait for nobody.
func atOnce(t *testing.T, c *checkpointer) {
	t.Helper()
	patiently(t, c, time.Minute)
	done := checkpointed(c)
	until(t, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// shortWAL wants the WAL to have been begun anew, and the disk to be given back.
func shortWAL(t *testing.T, s *SQLite) {
	t.Helper()
	if err := s.Save(t.Context(), asking(10_000)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if pages := int(info.Size() >> 12); pages >= s.checkpoints.long {
		t.Errorf("the WAL takes %d pages still, want less than %d", pages, s.checkpoints.long)
	}
}

// A WAL that is too long starts anew though somebody reads it all the time,
// as those do who begin before the last one has ended.
func TestOverlappingReadersDoNotKeepTheWAL(t *testing.T) {
	s := openTemp(t)
	c := unhurriedly(t, s)
	end := overlapping(t, s)
	patiently(t, c, time.Minute)
	done := checkpointed(c)
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
	shortWAL(t, s)
}

// Nobody waits for one who has long been reading, a backup: all that is kept for
// him would be copied meanwhile.
func TestABackupHoldsUpNobody(t *testing.T) {
	s := openTemp(t)
	c := unhurriedly(t, s)
	end := reader(t, s)
	for n, pages := 1, 0; pages < c.overlong; n++ {
		if err := s.Save(t.Context(), asking(n)); err != nil {
			t.Fatal(err)
		}
		_, pages, _ = c.copy(t.Context(), "PASSIVE")
	}
	atOnce(t, c)
	end()
	atOnce(t, c)
	shortWAL(t, s)
}

// Who does not end holds saves up for a moment, and not again until the WAL is
// twice as long.
func TestAReaderWithoutEndHoldsUpNobodyTwice(t *testing.T) {
	s := openTemp(t)
	c := unhurriedly(t, s)
	end := overlapping(t, s)
	if err := s.Save(t.Context(), asking(9_999)); err != nil {
		t.Fatal(err)
	}
	patiently(t, c, time.Millisecond)
	c.checkpoint(t.Context())
	if c.waitFrom < 2*c.overlong {
		t.Errorf("he is waited for from %d pages on, want twice as many as before", c.waitFrom)
	}
	atOnce(t, c)
	// One that fails knows nothing of the WAL.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c.checkpoint(gone)
	atOnce(t, c)
	end()
	atOnce(t, c)
	shortWAL(t, s)
	if atOnce(t, c); c.waitFrom != c.overlong {
		t.Errorf("readers are waited for from %d pages on, want %d again", c.waitFrom, c.overlong)
	}
}

// A WAL that another program's checkpoint has emptied gives the disk back too.
func TestTheWALKeepsLittleOfTheDisk(t *testing.T) {
	s := openTemp(t)
	var limit int
	if err := s.conn.QueryRowContext(t.Context(), `PRAGMA journal_size_limit`).Scan(&limit); err != nil || limit != 256<<20 {
		t.Errorf("it keeps up to %d bytes, %v; want 256 MB", limit, err)
	}
}
