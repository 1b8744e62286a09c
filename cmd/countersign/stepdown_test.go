package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A volume is mounted as root's; what countersign makes there, and does, is
// RUN_AS's. Whoever is not root stays who they are.
func TestStepDown(t *testing.T) {
	root := os.Geteuid() == 0
	for _, tt := range []struct {
		name, as string
		refused  bool // of root
		uid      int  // whose the files of root are
	}{
		{"nobody was asked for", "", false, 0},
		{"the image's user", "65532:65533", false, 65532},
		{"root by its number", "0:0", true, 0},
		{"root's group", "65532:0", true, 0},
		{"a name", "nobody:nogroup", true, 0},
		{"no group", "65532", true, 0},
		{"a number below all", "-1:-1", true, 0},
		{"a number that wraps", "4294967296:4294967296", true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as volumes are
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil { //nolint:gosec // another user goes through it
				t.Fatal(err)
			}
			program, err := exec.LookPath("countersign")
			if err != nil {
				t.Fatal(err)
			}
			migrate := exec.CommandContext(t.Context(), program, "migrate")
			migrate.Env = []string{"RUN_AS=" + tt.as, "DATABASE_URL=file:" + filepath.Join(dir, "shop.db")}
			said, err := migrate.CombinedOutput()
			if root && tt.refused {
				if err == nil || !strings.Contains(string(said), "RUN_AS: ") {
					t.Errorf("it goes on: %v, %s", err, said)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			want := os.Geteuid()
			if root {
				want = tt.uid
			}
			err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := e.Info()
				if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != want {
					t.Errorf("%s is user %d's, not %d's", e.Name(), info.Sys().(*syscall.Stat_t).Uid, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
