//go:build unix

package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lock takes the file that says which process serves the database at path. It
// is the kernel's lock: it goes when the process does, however that ends. The
// file stays; that it is there means nothing.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's path
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w (does its directory exist, and may we write there?)", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor fits an int
	if err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			holder, _ := io.ReadAll(io.LimitReader(f, 20))
			return nil, fmt.Errorf("%w (process %s): one process serves a file; stop that one, or use PostgreSQL for several",
				ErrInUse, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	// Who holds it is told for the message above; nothing depends on it.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
