package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Own gives a database's file, what stands beside it and their directory to a
// user, which takes root. Links are given, and not what they lead to: who could
// write there before must not choose what root gives away. It does nothing for
// other databases, or for a URL that cannot be read, which [Open] refuses.
func Own(databaseURL string, uid, gid int) error {
	path, err := sqliteName(databaseURL)
	if err != nil || isPostgres(databaseURL) {
		return nil
	}
	for _, name := range []string{filepath.Dir(path), path, path + "-wal", path + "-shm", path + ".lock"} {
		if err := os.Lchown(name, uid, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give the database to user %d: %w", uid, err)
		}
	}
	return nil
}
