// Package ledger keeps lines, conversations and texts in a database: the
// [flow.Ledger] of a running service.
//
// [Open] opens the database that a DATABASE_URL names; [SQLite] is the one in
// a file. One [writer] commits together whatever waits to be saved, and each
// save is checked whole, by reads, before any of it is written: a refused one
// leaves nothing behind. [Cache] is the LRU in front, which answers for lines
// in use without a read.
//
// The tables are in migrations, one directory for each kind of database; a
// change of them is a new file there. Start reading at migrations, then
// sqlite_save.go.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// What [Open] refuses.
var (
	// ErrInUse: another process serves the file.
	ErrInUse = errors.New("the database is in use")
	// ErrNewer: a newer countersign has changed the tables.
	ErrNewer = errors.New("the database is newer than this program")
	// ErrOlder: the tables want migrating, and that was not allowed.
	ErrOlder = errors.New("the database is older than this program")
	// ErrForeign: the file holds something else.
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

// ReadOnly opens for reading beside the process that serves: without its
// lock, and migrating nothing.
func ReadOnly() Option { return func(o *options) { o.readOnly = true } }

// WithoutMigrating fails with [ErrOlder] where Open would migrate the tables.
func WithoutMigrating() Option { return func(o *options) { o.noMigrate = true } }

// Open opens the database that databaseURL names: file:… for SQLite. A file
// that is not there is made; older tables are migrated.
func Open(ctx context.Context, databaseURL string, opts ...Option) (*SQLite, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	scheme, _, _ := strings.Cut(databaseURL, ":")
	switch scheme {
	case "file":
		return openSQLite(ctx, databaseURL, o)
	default:
		return nil, fmt.Errorf("database URL: %q is no scheme that we know; want file:name.db", scheme)
	}
}
