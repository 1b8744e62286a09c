// Package pgtest starts a PostgreSQL of the tests' own: from the machine's
// programs, in a directory of its own, reached by a Unix socket alone.
//
// However the tests end, by a panic, a timeout or a kill too, the server ends
// and its directory goes: a watchdog holds the other end of a pipe of ours, and
// sees to it once that breaks. So there is nothing to be called at the end.
//
// Start reading at [Shared].
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Server is a PostgreSQL that belongs to this process.
type Server struct {
	bin, dir string
	as       *syscall.SysProcAttr
	schemas  atomic.Int64
	end      io.Closer // what the watchdog waits for
}

// shared is started once, by who needs it first.
var shared = sync.OnceValues(func() (*Server, error) {
	// What is killed here is a process, never the machine: what it had written
	// is there without waiting for the disk.
	return start("fsync=off")
})

// Shared returns the server that the tests of this process share.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return s
}

// New starts another server: for who stops it, or wants it otherwise. Its
// settings are written as in postgresql.conf. It ends with the test.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := s.end.Close(); err != nil {
			t.Errorf("end PostgreSQL: %v", err)
		}
	})
	return s
}

// Start starts a server for a program that is no test. Close ends it.
func Start(settings ...string) (*Server, error) { return start(settings...) }

// Close ends the server and removes all that it kept.
func (s *Server) Close() error { return s.end.Close() }

// DatabaseURL leads to the database that a new server has.
func (s *Server) DatabaseURL() string { return s.url(url.Values{}) }

// PID is the server's first process, the parent of the others.
func (s *Server) PID() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(first)
}

// URL makes a schema of its own and returns the database URL that leads there.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	schema := fmt.Sprintf("test_%d", s.schemas.Add(1))
	s.SQL(t, "CREATE SCHEMA "+schema)
	return s.url(url.Values{"search_path": {schema}})
}

func (s *Server) url(q url.Values) string {
	q.Set("host", s.dir)
	return (&url.URL{Scheme: "postgres", User: url.User(owner), Path: "/postgres", RawQuery: q.Encode()}).String()
}

// SQL runs a statement as the server's owner and returns what psql prints of
// its rows.
func (s *Server) SQL(t testing.TB, statement string) string {
	t.Helper()
	out, err := s.command("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
		"--set=ON_ERROR_STOP=1", "--dbname="+s.url(url.Values{}), "--command="+statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return strings.TrimSpace(out)
}

// Log is what the server has logged.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Stop ends the server as its operator does ("fast"), or as a crash does
// ("immediate").
func (s *Server) Stop(t testing.TB, mode string) {
	t.Helper()
	if _, err := s.command("pg_ctl", "stop", "--wait", "--pgdata="+s.data(), "--mode="+mode); err != nil {
		t.Fatalf("stop PostgreSQL: %v", err)
	}
}

// Start starts it again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// owner is the server's superuser.
const owner = "countersign"

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// start makes a new server.
func start(settings ...string) (_ *Server, err error) {
	s := &Server{}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if s.as, err = unprivileged(); err != nil {
		return nil, err
	}
	// A socket's path has room for some hundred bytes, which a test's own
	// directory may take.
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	if c := s.as.Credential; c != nil {
		if err := os.Chown(s.dir, int(c.Uid), int(c.Gid)); err != nil {
			return nil, err
		}
	}
	if err := s.watch(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.end.Close()
		}
	}()
	if _, err := s.command("initdb", "--pgdata="+s.data(), "--username="+owner, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	conf := strings.Join(append([]string{
		"listen_addresses=''", "unix_socket_directories='" + s.dir + "'", "max_connections=200",
	}, settings...), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(s.data(), "postgresql.auto.conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return s, s.start()
}

func (s *Server) start() error {
	_, err := s.command("pg_ctl", "start", "--wait", "--pgdata="+s.data(), "--log="+s.logFile())
	if err != nil {
		log, _ := os.ReadFile(s.logFile())
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

// watch starts the watchdog. It is a session of its own, so that what
// interrupts us spares it.
func (s *Server) watch() error {
	const script = `cat; "$0/pg_ctl" stop --pgdata="$1/data" --mode=immediate; rm -rf "$1"`
	dog := exec.Command("/bin/sh", "-c", script, s.bin, s.dir) //nolint:gosec,noctx // it outlives us by design
	attr := *s.as
	attr.Setsid = true
	dog.SysProcAttr, dog.Dir = &attr, "/"
	pipe, err := dog.StdinPipe()
	if err != nil {
		return err
	}
	if err := dog.Start(); err != nil {
		return err
	}
	go func() { _ = dog.Wait() }()
	s.end = pipe
	return nil
}

// patience is how long any of PostgreSQL's programs may take.
const patience = time.Minute

// command runs one of PostgreSQL's programs and returns its output.
func (s *Server) command(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...) //nolint:gosec // PostgreSQL's own
	cmd.SysProcAttr, cmd.Dir = s.as, s.dir
	// A file, and no pipe, which the server would inherit and keep open.
	out, err := os.CreateTemp(s.dir, program)
	if err != nil {
		return "", err
	}
	defer func() { _, _ = out.Close(), os.Remove(out.Name()) }()
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &errs
	if program == "pg_ctl" {
		cmd.Stderr = out
	}
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", program, err, text, &errs)
	}
	return string(text), readErr
}

// programs finds the directory of PostgreSQL's programs: the newest of those
// that Debian keeps off the PATH, else what is on it.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		release := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return release(a) - release(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no initdb is found: install the package postgresql")
	}
	return filepath.Dir(path), nil
}

// unprivileged is how to run what refuses to be root.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root: %w", errors.Join(errs...))
}
