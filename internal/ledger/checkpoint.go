package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"sync"
	"time"
)

const (
	// checkpointEvery is after how many rows the WAL is copied into the
	// database file, each perhaps on a page of its own. Many would be copied for
	// longer than a customer should wait for the processor, or for the disk.
	checkpointEvery = 256
	// longWAL is when, in pages, the WAL is to start anew: 64 MB.
	longWAL = 16384
	// tooLong is how many times that it may be while somebody reads it. If it gets
	// there, the disk is given back.
	tooLong = 4
	// patience is how long saves wait for those who read a WAL that is too long.
	patience = 200 * time.Millisecond
)

// A checkpointer copies the WAL into the database file, beside the writer.
// SQLite's own way would be in it, so that now and then a save waited for all of
// the copying and its fsyncs.
type checkpointer struct {
	db       *sql.DB
	long     int // WAL, in pages
	tooLong  int // WAL, in pages: those who read it are waited for
	patience time.Duration
	rows     int // since the last one; the writer's
	due      chan struct{}
	writing  sync.Mutex // held by the writer while it writes
	closing  context.CancelFunc
	closed   sync.WaitGroup
}

func newCheckpointer(opening context.Context, path string) (*checkpointer, error) {
	db, err := sql.Open("sqlite", dsn(path, url.Values{"mode": {"rw"}, "_synchronous": {"FULL"}}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	// What a process that was killed has left is copied before the first save:
	// else one that is killed again and again only ever makes it longer.
	if _, err := db.ExecContext(opening, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		_ = db.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{
		db: db, long: longWAL, tooLong: tooLong * longWAL, patience: patience,
		due: make(chan struct{}, 1), closing: cancel,
	}
	c.closed.Go(func() {
		for {
			select {
			case <-c.due:
				c.checkpoint(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return c, nil
}

// committed is told by the writer how many rows it has committed.
func (c *checkpointer) committed(rows int) {
	if c.rows += rows; c.rows < checkpointEvery {
		return
	}
	select {
	case c.due <- struct{}{}:
		c.rows = 0
	default: // one is due already
	}
}

// checkpoint copies what is in the WAL. What fails is left to the next: until
// then the WAL is only longer.
func (c *checkpointer) checkpoint(ctx context.Context) {
	_, pages, copied := c.copy(ctx, "PASSIVE")
	switch {
	case pages <= c.long:
		c.tooLong = tooLong * c.long
		return
	case copied < pages && pages < c.tooLong:
		return // of what a reader still needs nothing can be begun anew
	}
	// SQLite begins the WAL anew when a writer finds all of it copied. One that
	// never rests never does, and to wait for SQLite's lock would be to starve:
	// so it is kept out for as long as it takes to copy what came meanwhile.
	c.writing.Lock()
	defer c.writing.Unlock()
	if pages < tooLong*c.long {
		c.copy(ctx, "PASSIVE")
		return
	}
	// Nor does it where there is always somebody who reads: each has begun
	// before the last one ends. While nothing is written, who begins reads the
	// file alone, so that it is for the others to end. One who does not, a backup,
	// shall not hold up saves again and again.
	_, _ = c.db.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", c.patience.Milliseconds()))
	if done, _, _ := c.copy(ctx, "TRUNCATE"); !done {
		c.tooLong = 2 * pages
	}
}

// copy copies what it can in SQLite's mode of that name, and returns whether it
// was all that the mode promises, how many pages the WAL has, and how many of
// them are copied. PASSIVE waits for nobody.
// https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
func (c *checkpointer) copy(ctx context.Context, mode string) (done bool, pages, copied int) {
	var busy bool
	if err := c.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &copied); err != nil {
		return false, 0, 0
	}
	return !busy, pages, copied
}

func (c *checkpointer) close() error {
	c.closing()
	c.closed.Wait()
	return c.db.Close()
}
