package ledger

import (
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A Pool is how some of a ledger's connections fare.
type Pool struct {
	Most, Busy, Idle int
	// Waits are how often somebody waited for one, and Waited how long in all.
	Waits  int64
	Waited time.Duration
}

// Pools tells how the connections fare, by what they are for: "read" and
// "write". The writer has its connection for good, so that it is always busy.
func (s *SQLite) Pools() map[string]Pool {
	of := func(db *sql.DB) Pool {
		now := db.Stats()
		return Pool{now.MaxOpenConnections, now.InUse, now.Idle, now.WaitCount, now.WaitDuration}
	}
	all := map[string]Pool{"read": of(s.reads)}
	if s.writes != nil {
		all["write"] = of(s.writes)
	}
	return all
}

// Pools tells how the connections fare, by what they are for: "read" and
// "write". Waits are those for a connection to be made, too.
func (p *Postgres) Pools() map[string]Pool {
	of := func(pool *pgxpool.Pool) Pool {
		now := pool.Stat()
		return Pool{int(now.MaxConns()), int(now.AcquiredConns()), int(now.IdleConns()), now.EmptyAcquireCount(), now.EmptyAcquireWaitTime()}
	}
	all := map[string]Pool{"read": of(p.reads)}
	if p.writes != nil {
		all["write"] = of(p.writes)
	}
	return all
}
