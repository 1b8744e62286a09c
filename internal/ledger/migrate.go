package ledger

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// fits fails unless this program can work with tables at version: as they are,
// or, if that is allowed, once they are migrated by the files in dir.
func fits(dir string, version int64, mayMigrate bool) error {
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return err
	}
	known, err := goose.NumericComponent(files[len(files)-1].Name()) // they are sorted
	if err != nil {
		return err
	}
	switch {
	case version > known:
		return fmt.Errorf("%w: its tables are at version %d, and this program knows them up to %d; run the newer countersign",
			ErrNewer, version, known)
	case version < known && !mayMigrate:
		return fmt.Errorf("%w: its tables are at version %d, and this program wants %d; run countersign migrate",
			ErrOlder, version, known)
	}
	return nil
}

// migrate brings the tables of db up to the newest version in dir.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, dir string) error {
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
