// Package ledger keeps lines, conversations and texts in a database: the
// [flow.Ledger] of a running service.
//
// [Open] opens the database that a DATABASE_URL names: [SQLite], in a file for
// one process, or [Postgres], for many machines. One [writer] in each process
// commits together whatever waits to be saved, and each save is checked whole
// before any of it is written: a refused one leaves nothing behind. [Cache] is
// the LRU in front, which answers for lines in use without a read. [Backup]
// copies a file that is served, [Move] takes one's rows to PostgreSQL.
//
// The tables are in migrations, one directory for each kind of database; a
// change of them is a new file there. On PostgreSQL a save is a function, which
// is there too. Start reading at migrations, then sqlite_save.go, then
// postgres_save.go.
package ledger

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign/countersign/flow"
)

// What [Open] refuses.
var (
	// ErrInUse: another process serves the file.
	ErrInUse = errors.New("the database is in use")
	// ErrNewer: a newer countersign has changed the tables.
	ErrNewer = errors.New("the database is newer than this program")
	// ErrOlder: the tables want migrating, and that was not allowed.
	ErrOlder = errors.New("the database is older than this program")
	// ErrForeign: it holds something else.
	ErrForeign = errors.New("the database is not countersign's")
)

// errReadOnly is what a ledger opened [ReadOnly] answers to a write.
var errReadOnly = errors.New("the ledger was opened for reading only")

// An Option changes how [Open] opens.
type Option func(*options)

type options struct {
	readOnly  bool
	noMigrate bool
}

// ReadOnly opens for reading beside whoever serves: without a file's lock, and
// migrating nothing.
func ReadOnly() Option { return func(o *options) { o.readOnly = true } }

// WithoutMigrating fails with [ErrOlder] where Open would migrate the tables.
func WithoutMigrating() Option { return func(o *options) { o.noMigrate = true } }

// Open opens the database that databaseURL names: file:… for SQLite,
// postgres://… for PostgreSQL. A file that is not there is made; older tables
// are migrated.
func Open(ctx context.Context, databaseURL string, opts ...Option) (flow.Ledger, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case isPostgres(databaseURL):
		return opened(openPostgres(ctx, databaseURL, o))
	case strings.HasPrefix(databaseURL, "file:"):
		return opened(openSQLite(ctx, databaseURL, o))
	default:
		return nil, errors.New("database URL: want file:name.db or postgres://user:password@host/database")
	}
}

// Shared reports whether any number of processes may serve that database at
// once. A file is served by one.
func Shared(databaseURL string) bool { return isPostgres(databaseURL) }

func isPostgres(databaseURL string) bool {
	return strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://")
}

// opened returns no ledger, instead of one that is nil, with an error.
func opened[L flow.Ledger](l L, err error) (flow.Ledger, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}
