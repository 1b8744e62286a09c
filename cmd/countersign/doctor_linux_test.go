package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asNobody calls f as a user who owns nothing, where the tests are root's, who
// may write whatever the modes say.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		// The system call is for the thread alone, which ends with this
		// goroutine, as it stays locked to it.
		runtime.LockOSThread()
		const nobody = 65534
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody)
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatalf("become nobody: %v", err)
	}
}

func TestDoctorFindsFilesThatCannotBeWritten(t *testing.T) {
	const readOnly, open = 0o555, 0o777
	for _, tt := range []struct {
		name  string
		file  string // that cannot be written, empty for the directory
		words string
	}{
		{"the database", "shop.db", "shop.db cannot be written"},
		{"its log, which root has left", "shop.db-wal", "shop.db-wal cannot be written"},
		{"its index", "shop.db-shm", "shop.db-shm cannot be written"},
		{"its lock", "shop.db.lock", "shop.db.lock cannot be written"},
		{"its directory", "", "directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "shop.db")
			if err := run(t.Context(), []string{"migrate", "--database-url=file:" + path}, noEnv, io.Discard, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, suffix := range []string{"-wal", "-shm"} {
				if err := os.WriteFile(path+suffix, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			chmod := func(path string, mode os.FileMode) {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			chmod(filepath.Dir(dir), open)
			chmod(dir, open)
			for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
				chmod(path+suffix, 0o666)
			}
			var good, bad finding
			asNobody(t, func() { good = writable(path) })
			if good.Verdict != isFine {
				t.Fatalf("before anything is amiss: %+v", good)
			}
			if tt.file == "" {
				chmod(dir, readOnly)
				defer chmod(dir, open) // or it cannot be removed
			} else {
				chmod(filepath.Join(dir, tt.file), 0o444)
			}
			asNobody(t, func() { bad = writable(path) })
			if bad.Verdict != isProblem || !strings.Contains(bad.Seen, tt.words) || !strings.Contains(bad.Seen, "permission denied") {
				t.Errorf("found %+v", bad)
			}
		})
	}
	t.Run("nor made", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "shop.db")
		for path, mode := range map[string]os.FileMode{filepath.Dir(dir): open, dir: readOnly} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		d := doctor{free: freeSpace}
		var found []finding
		asNobody(t, func() { found = d.noDatabase(path) })
		if len(found) != 1 || found[0].Verdict != isProblem || !strings.Contains(found[0].Seen, "permission denied") {
			t.Errorf("found %+v", found)
		}
	})
}
