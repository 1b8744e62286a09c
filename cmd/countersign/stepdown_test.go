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
// RUN_AS's.
func TestStepDown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can step down")
	}
	for _, tt := range []struct {
		name, as string
		refused  bool
		uid      int // whose the files are
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
			dir := volume(t)
			said, err := started(t, []string{"RUN_AS=" + tt.as, "DATABASE_URL=file:" + filepath.Join(dir, "shop.db")}, "migrate")
			if tt.refused {
				if err == nil || !strings.Contains(said, "RUN_AS: ") {
					t.Errorf("it goes on: %v, %s", err, said)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			belongs(t, dir, tt.uid)
		})
	}
}

// Whichever way the database is named, it is that one which is given away, and
// what names it may be root's alone.
func TestStepDownGivesTheDatabaseInUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can step down")
	}
	for _, tt := range []struct {
		name       string
		env, flags func(url, file string) []string
	}{
		{"in the environment", func(url, _ string) []string { return []string{"DATABASE_URL=" + url} }, nil},
		{"by flag", nil, func(url, _ string) []string { return []string{"--database-url", url} }},
		{"by flag, over the environment", func(string, string) []string { return []string{"DATABASE_URL=postgres://db/shop"} },
			func(url, _ string) []string { return []string{"--database-url=" + url} }},
		{"in a file of root's", func(_, file string) []string { return []string{"DATABASE_URL_FILE=" + file} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := volume(t)
			url := "file:" + filepath.Join(dir, "shop.db")
			file := filepath.Join(t.TempDir(), "database_url")
			if err := os.WriteFile(file, []byte(url), 0o600); err != nil {
				t.Fatal(err)
			}
			// A volume from before there was a RUN_AS: all on it is root's.
			if said, err := started(t, []string{"DATABASE_URL=" + url}, "migrate"); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			belongs(t, dir, 0)
			env, args := []string{"RUN_AS=65532:65533"}, []string{"migrate"}
			if tt.env != nil {
				env = append(env, tt.env(url, file)...)
			}
			if tt.flags != nil {
				args = append(args, tt.flags(url, file)...)
			}
			if said, err := started(t, env, args...); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			belongs(t, dir, 65532)
		})
	}
}

// Secrets are mounted as files that root alone may read.
func TestStepDownWithSecretsOfRoots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can step down")
	}
	dir := volume(t)
	env := []string{
		"RUN_AS=65532:65532", "TWILIO_API_KEY=SK" + strings.Repeat("0", 32),
		"DATABASE_URL_FILE=" + filepath.Join(dir, "none"),
	}
	for name := range new(Settings).secretFiles() {
		if name == "DATABASE_URL" {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.Repeat("secret", 6)), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"_FILE="+file)
	}
	said, err := started(t, env, "serve") // which tells all that is wrong
	if err == nil || !strings.Contains(said, "PUBLIC_URL: ") || !strings.Contains(said, "DATABASE_URL_FILE: ") {
		t.Errorf("%v: %s", err, said)
	}
	for _, secret := range []string{"TWILIO_AUTH_TOKEN", "TWILIO_API_", "SECRET_KEY", "OPS_TOKEN"} {
		if strings.Contains(said, secret) {
			t.Errorf("%s was not read:\n%s", secret, said)
		}
	}
}

// volume is a directory of root's that others may look into.
func volume(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as volumes are
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil { //nolint:gosec // another user goes through it
		t.Fatal(err)
	}
	return dir
}

// started is what a command says as a process of its own, which has env alone.
func started(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("countersign")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// belongs checks whose a directory and all in it are.
func belongs(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != uid {
			t.Errorf("%s is user %d's, not %d's", e.Name(), info.Sys().(*syscall.Stat_t).Uid, uid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
