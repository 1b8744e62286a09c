package ledger

import (
	"context"
	"database/sql"
	"net/url"
	"sync"
)

const (
	// checkpointEvery is after how many saves the WAL is copied into the
	// database file: some megabytes.
	checkpointEvery = 500
	// longWAL is when, in pages, the WAL is to start anew: 64 MB.
	longWAL = 16384
)

// A checkpointer copies the WAL into the database file, beside the writer.
// SQLite's own way would be in it, so that one save in a thousand waited for
// all of the copying and its fsyncs.
type checkpointer struct {
	db      *sql.DB
	long    int // WAL, in pages
	saves   int // since the last one; the writer's
	due     chan struct{}
	closing context.CancelFunc
	closed  sync.WaitGroup
}

func newCheckpointer(path string) (*checkpointer, error) {
	db, err := sql.Open("sqlite", dsn(path, url.Values{
		"mode": {"rw"}, "_synchronous": {"FULL"},
		// It keeps the writer waiting while it waits for readers to leave.
		"_busy_timeout": {"100"},
	}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{db: db, long: longWAL, due: make(chan struct{}, 1), closing: cancel}
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

// committed is told by the writer how many saves it has committed.
func (c *checkpointer) committed(saves int) {
	if c.saves += saves; c.saves < checkpointEvery {
		return
	}
	select {
	case c.due <- struct{}{}:
		c.saves = 0
	default: // one is due already
	}
}

// checkpoint copies what it can without being in anybody's way. What fails is
// left to the next: until then the WAL is only longer.
func (c *checkpointer) checkpoint(ctx context.Context) {
	var busy, pages, copied int
	err := c.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &pages, &copied)
	if err == nil && pages > c.long {
		// A writer that never rests leaves the WAL no moment to start anew.
		// This makes one: nearly all is copied, so that it is short.
		_, _ = c.db.ExecContext(ctx, `PRAGMA wal_checkpoint(RESTART)`)
	}
}

func (c *checkpointer) close() error {
	c.closing()
	c.closed.Wait()
	return c.db.Close()
}
