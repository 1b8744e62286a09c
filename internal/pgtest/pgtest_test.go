package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asChild tells this binary to start a server and wait to be killed.
const asChild = "PGTEST_AS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		s, err := shared()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.dir)
		select {}
	}
	os.Exit(m.Run())
}

func TestSchemasAreApart(t *testing.T) {
	s := Shared(t)
	one, other := s.URL(t), s.URL(t)
	if one == other || !strings.Contains(one, "search_path=") {
		t.Errorf("the URLs are %s and %s", one, other)
	}
}

func TestARestartedServerHasItsRows(t *testing.T) {
	s := New(t)
	s.SQL(t, `CREATE TABLE kept AS SELECT 42 AS n`)
	for _, mode := range []string{"fast", "immediate"} {
		s.Stop(t, mode)
		s.Start(t)
		if n := s.SQL(t, `SELECT n FROM kept`); n != "42" {
			t.Errorf("after a stop that is %s it holds %q", mode, n)
		}
	}
}

func TestSettingsHold(t *testing.T) {
	if s := New(t, "work_mem='5MB'").SQL(t, `SHOW work_mem`); s != "5MB" {
		t.Errorf("work_mem is %s", s)
	}
}

func TestAKilledTestLeavesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self) //nolint:gosec // ourselves
	child.Env = append(os.Environ(), asChild+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir = strings.TrimSpace(dir)
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	gone := func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); !gone(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s is still there", dir)
		}
	}
}
