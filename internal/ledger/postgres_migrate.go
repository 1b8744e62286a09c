package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// migrateWithin bounds a migration, and waiting for another process's.
const migrateWithin = 10 * time.Minute

// migrateLock is what a process holds that migrates: any number that others
// have no use for.
const migrateLock = 0x636f756e74657273

// migratePostgres brings the tables up to date, one process at a time. The
// lock goes with the connection that holds it.
func migratePostgres(ctx context.Context, config *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	config = config.Copy()
	config.RuntimeParams["statement_timeout"] = "0" // ctx bounds it
	holder, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = holder.Close(context.WithoutCancel(ctx)) }()
	if _, err := holder.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return fmt.Errorf("migrate: wait for another process that does: %w", err)
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	return migrate(ctx, db, goose.DialectPostgres, postgresMigrations)
}
