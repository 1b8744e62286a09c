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
	// overlongWAL is from when on its readers are waited for, for as long as
	// patience, and the disk is given back: 256 MB.
	overlongWAL = 4 * longWAL
	patience    = 200 * time.Millisecond
)

// A checkpointer copies the WAL into the database file, beside the writer.
// SQLite's own way would be in it, so that now and then a save waited for all of
// the copying and its fsyncs.
type checkpointer struct {
	db       *sql.DB
	long     int // WAL, in pages
	overlong int
	waitFrom int // WAL, in pages: overlong, or more where it was in vain
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
	if err := waiting(opening, db, patience); err != nil {
		_ = db.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{
		db: db, long: longWAL, overlong: overlongWAL, waitFrom: overlongWAL,
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

// waiting sets for how long a checkpoint waits for who reads, where it does.
func waiting(ctx context.Context, db *sql.DB, d time.Duration) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", d.Milliseconds()))
	return err
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
	case pages < 0:
		return // another program's checkpoint, or an error: nothing is known
	case pages <= c.long:
		c.waitFrom = c.overlong
		return
	case copied < pages && pages < c.waitFrom:
		return // of what a reader still needs nothing can be begun anew
	case pages-copied > c.long:
		return // he reads for long, a backup: saves are not to wait for all that
	}
	// SQLite begins the WAL anew when a writer finds all of it copied. One that
	// never rests never does, and to wait for SQLite's lock would be to starve:
	// so it is kept out for as long as it takes to copy what came meanwhile.
	c.writing.Lock()
	defer c.writing.Unlock()
	if pages < c.overlong {
		c.copy(ctx, "PASSIVE")
		return
	}
	// Nor does it where there is always somebody who reads: each has begun
	// before the last one ends. While nothing is written, who begins reads the
	// file alone, so that it is for the others to end. For one who does not,
	// saves shall not be held up again and again.
	if done, _, _ := c.copy(ctx, "TRUNCATE"); !done {
		c.waitFrom = 2 * pages
	}
}

// copy copies what it can in SQLite's mode of that name, and returns whether it
// was all that the mode promises, how many pages the WAL has, and how many of
// them are copied; both are -1 if it cannot tell. PASSIVE waits for nobody.
// https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
func (c *checkpointer) copy(ctx context.Context, mode string) (done bool, pages, copied int) {
	var busy bool
	if err := c.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &copied); err != nil {
		return false, -1, -1
	}
	return !busy, pages, copied
}

func (c *checkpointer) close() error {
	c.closing()
	c.closed.Wait()
	return c.db.Close()
}
