package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/countersign/countersign/internal/ledger"
)

// Below these, in bytes, the disk is soon full, or as good as full. An order
// takes a few thousand.
const (
	littleSpace = 1 << 30
	noSpace     = 64 << 20
)

// database looks into the database beside the service that may be at work on
// it, without its lock, and migrates nothing.
func (d *doctor) database(ctx context.Context) []finding {
	path, isFile := databaseFile(d.DatabaseURL)
	if isFile {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return d.noDatabase(path)
		}
	}
	found := []finding{d.tables(ctx)}
	if isFile {
		found = append(found, writable(path), d.space(filepath.Dir(path)))
	}
	return found
}

// tables opens the database for reading.
func (d *doctor) tables(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	rows, err := ledger.Open(ctx, d.DatabaseURL, ledger.ReadOnly())
	switch {
	case errors.Is(err, ledger.ErrOlder):
		return warning(because(err), "nothing, if you are about to start this version, which migrates them; else countersign migrate")
	case errors.Is(err, ledger.ErrNewer):
		return problem(because(err), "run the newer countersign, or restore the backup from before it")
	case errors.Is(err, ledger.ErrForeign):
		return problem(because(err), "set DATABASE_URL to countersign's own")
	case err != nil:
		return problem(because(err), "look at DATABASE_URL")
	}
	if err := errors.Join(rows.Ping(ctx), rows.Close()); err != nil {
		return problem("the database does not answer: "+because(err), "look at its log, or at the disk")
	}
	return fine("its tables are as this version wants them")
}

// noDatabase judges whether serve can make the file.
func (d *doctor) noDatabase(path string) []finding {
	dir := filepath.Dir(path)
	if err := syscall.Access(dir, mayWrite); err != nil {
		return []finding{problem(fmt.Sprintf("there is no %s, and its directory cannot be written (%v)", path, err),
			"make the directory, give it to the user that serves, or set DATABASE_URL")}
	}
	return []finding{
		warning(fmt.Sprintf("there is no %s yet", path), "nothing, if this is a new shop: serve makes it; else set DATABASE_URL"),
		d.space(dir),
	}
}

// mayWrite asks access(2) for W_OK and X_OK: to make files in a directory.
const mayWrite = 2 | 1

// writable judges whether all that SQLite keeps of the file at path can be
// written. A command that was run by another user, such as root, leaves files
// beside it that the service then cannot use.
func writable(path string) finding {
	const do = "give it, and all beside it, to the user that serves"
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		f, err := os.OpenFile(path+suffix, os.O_RDWR, 0) //nolint:gosec // the operator's path
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return problem(fmt.Sprintf("%s cannot be written: %v", path+suffix, errors.Unwrap(err)), do)
		}
		_ = f.Close() // nothing was written
	}
	if err := syscall.Access(filepath.Dir(path), mayWrite); err != nil {
		return problem(fmt.Sprintf("the directory of %s cannot be written: %v; SQLite keeps its log there", path, err), do)
	}
	return fine(path + " can be written")
}

// space judges what room the disk has.
func (d *doctor) space(dir string) finding {
	const do = "free some space, or give the volume more"
	free, err := d.free(dir)
	if err != nil {
		return warning(fmt.Sprintf("free space of %s is not known: %v", dir, err), "look with df")
	}
	seen := fmt.Sprintf("the disk has %.1f GB free", float64(free)/1e9)
	switch {
	case free < noSpace:
		return problem(seen, do)
	case free < littleSpace:
		return warning(seen, do)
	}
	return fine(seen)
}

// freeSpace returns how many bytes may still be written below dir.
func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil //nolint:gosec,unconvert // their types differ between systems; neither is below 0
}

// databaseFile returns the file that a database URL names, false for a server's
// or for none that [ledger.Open] would take.
func databaseFile(databaseURL string) (string, bool) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", false
		}
	}
	if path == "" || strings.HasPrefix(path, ":memory:") || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	path, err = filepath.Abs(path)
	return path, err == nil
}
