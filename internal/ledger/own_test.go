package ledger

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Whoever could write beside the database could put a link there, and have root
// give away what it leads to at the next start.
func TestOwnFollowsNoLink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const uid, gid = 65532, 65532
	dir := t.TempDir()
	theirs := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "shop.db")
	for _, link := range []string{path, path + "-wal"} {
		if err := os.Symlink(theirs, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := Own("file:"+path, uid, gid); err != nil {
		t.Fatal(err)
	}
	owner := func(name string) int {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	if got := owner(dir); got != uid {
		t.Errorf("the directory is user %d's, not %d's", got, uid)
	}
	if got := owner(theirs); got != 0 {
		t.Errorf("what a link leads to is user %d's now", got)
	}
	for _, other := range []string{"postgres://db/shop", "file:", "nonsense:"} {
		if err := Own(other, uid, gid); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
}
