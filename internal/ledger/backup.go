package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Backup writes a copy of the SQLite file that a database URL names to a new
// file, beside the process that serves it: of one moment, whole, and with all
// that was acknowledged by then. To restore it, serve the copy.
func Backup(ctx context.Context, databaseURL, file string) (err error) {
	if isPostgres(databaseURL) {
		return errors.New("back up: PostgreSQL brings its own means: run pg_dump, or archive its log")
	}
	l, err := Open(ctx, databaseURL, ReadOnly())
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	s := l.(*SQLite)
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.backup(ctx, file); err != nil {
		return fmt.Errorf("back up to %s: %w", file, explain(err))
	}
	return nil
}

// backup has the copy get its name only once it is whole and on the disk.
func (s *SQLite) backup(ctx context.Context, file string) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	// SQLite takes an empty file; made by us, it is nobody else's to read.
	part, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() {
		_ = part.Close()
		if err != nil {
			_ = os.Remove(part.Name())
		}
	}()
	db, err := sql.Open("sqlite", dsn(s.path, url.Values{"mode": {"rw"}}))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, part.Name()); err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, takes no other file's place.
	if err := os.Link(part.Name(), file); err != nil {
		return err
	}
	if err := os.Remove(part.Name()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir has a directory's entries survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
