package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An ailing is a service whose database is about to fail, with an order that
// waits for its PIN.
type ailing struct {
	*town
	*server
	t       *testing.T
	browser *browser
	number  string
	pin     string
}

func newAiling(t *testing.T, w *town) *ailing {
	t.Helper()
	a := &ailing{town: w, server: w.servers[0], t: t}
	if err := a.start(""); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.browser, a.number, err = w.placed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.settled(); err != nil {
		t.Fatal(err)
	}
	a.pin = a.texted(a.number)
	if a.pin == "" {
		t.Fatal("no PIN came")
	}
	return a
}

// texted is the PIN that came to a number last; empty for none.
func (a *ailing) texted(number string) (pin string) {
	a.t.Helper()
	texts, err := a.record(number)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, text := range texts {
		if text.Direction == "outbound-api" {
			pin = pinIn(text.Body)
		}
	}
	return pin
}

// check types a PIN into the order's page.
func (a *ailing) check(pin string) called {
	return a.caller(a.browser).post(a.t.Context(), "/orders/"+a.browser.told()+"/pin", url.Values{"pin": {pin}}, nil)
}

// down expects of the service, all at once, what it is to do while nothing can
// be written: to say so, to be asked again, and to text nobody.
func (a *ailing) down() {
	a.t.Helper()
	ctx := a.t.Context()
	var before int
	texts, err := a.record("")
	if err != nil {
		a.t.Fatal(err)
	}
	before = len(texts)

	var asks sync.WaitGroup
	asks.Go(func() { a.refused("a new PIN", a.caller(nil).order(ctx, nil)) })
	asks.Go(func() { a.refused("a wrong PIN", a.check("000000")) })
	asks.Go(func() { a.refused("the right PIN", a.check(a.pin)) })
	asks.Go(func() {
		// Twilio then asks the fallback, or once more.
		got := a.caller(nil).hear(ctx, a.number, a.pin, nil)
		if got.err != nil || got.status < http.StatusInternalServerError {
			a.t.Errorf("a reply was answered %d, %v", got.status, got.err)
		}
	})
	asks.Go(func() {
		err := until(ctx, func() (bool, error) {
			ready, err := fetch(ctx, "http://"+a.addr+"/readyz")
			if err != nil || ready.status != http.StatusServiceUnavailable {
				return false, err
			}
			if !strings.Contains(ready.text, "database") {
				return false, fmt.Errorf("it does not say which part is down: %q", ready.text)
			}
			return true, nil
		})
		if err != nil {
			a.t.Errorf("it does not turn unready: %v", err)
		}
	})
	asks.Wait()
	if alive, err := fetch(ctx, "http://"+a.addr+"/healthz"); err != nil || alive.status != http.StatusOK {
		a.t.Errorf("it is not alive: %d, %v", alive.status, err)
	}
	if texts, err = a.record(""); err != nil || len(texts) != before {
		a.t.Errorf("%d texts have left, %v", len(texts)-before, err)
	}
}

func (a *ailing) refused(what string, got called) {
	if got.err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		a.t.Errorf("%s was answered %d (Retry-After %q), %v", what, got.status, got.header.Get("Retry-After"), got.err)
	}
}

// recovers expects the service to go on by itself, with no try burned and
// nothing confirmed meanwhile.
func (a *ailing) recovers() {
	a.t.Helper()
	ctx := a.t.Context()
	if err := answers(ctx, a.proc, "http://"+a.addr+"/readyz"); err != nil {
		a.t.Fatalf("it does not become ready again: %v", err)
	}
	state, _, err := a.browser.look(ctx)
	if err != nil || state != "asked" {
		a.t.Errorf("the order is %q, %v", state, err)
	}
	if got := a.check(a.wrong()); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.text, "4 tries left") {
		a.t.Errorf("a wrong PIN was answered %d: %s; five tries were left", got.status, got.text)
	}
	if got := a.check(a.pin); got.status != http.StatusOK {
		a.t.Errorf("the right PIN was answered %d, %v: %s", got.status, got.err, got.text)
	}
	if _, number, err := a.placed(ctx); err != nil {
		a.t.Errorf("a new order: %v", err)
	} else if err := a.settled(); err != nil || a.texted(number) == "" {
		a.t.Errorf("a new order is not texted: %v", err)
	}
	if err := a.proc.end(syscall.SIGTERM); err != nil {
		a.t.Errorf("it ended badly: %v", err)
	}
	db, err := openRows(a.set["DATABASE_URL"])
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := sound(ctx, a.set["DATABASE_URL"], db); err != nil {
		a.t.Errorf("the database is not sound: %v", err)
	}
	var confirmed, orders int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE state = 'confirmed'), count(*) FROM conversations`).Scan(&confirmed, &orders); err != nil {
		a.t.Fatal(err)
	}
	if confirmed != 1 || orders != 2 {
		a.t.Errorf("%d orders of %d are confirmed", confirmed, orders)
	}
}

// wrong is another PIN than the order's.
func (a *ailing) wrong() string {
	if a.pin == "123456" {
		return "123457"
	}
	return "123456"
}

// TestALockedDatabase has another program hold the write lock for longer than
// anybody waits.
func TestALockedDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAiling(t, newTown(t, "", 1))
	// The service may be saving a receipt.
	db, err := sql.Open("sqlite", a.set["DATABASE_URL"]+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	a.down()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	a.recovers()
}

// A disk is one that can be full.
type disk interface {
	dir() string
	fill() error
	free() error
}

// newDisk is a small one in memory, if we may make one; or else a bound on how
// large a process's files may grow.
func newDisk(t *testing.T, w *town) disk {
	t.Helper()
	at := t.TempDir()
	if err := syscall.Mount("none", at, "tmpfs", 0, "size=4m"); err != nil {
		t.Logf("no disk can be made (%v): a limit stands in for it", err)
		return &limit{w: w}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return small(at)
}

type small string

func (s small) dir() string { return string(s) }

func (s small) ballast() string { return filepath.Join(string(s), "ballast") }

// fill leaves no page free.
func (s small) fill() error {
	f, err := os.Create(s.ballast())
	if err != nil {
		return err
	}
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return f.Close()
}

func (s small) free() error { return os.Remove(s.ballast()) }

// A limit is on the size of the files that the service writes.
type limit struct{ w *town }

func (l *limit) dir() string { return l.w.dir }

func (l *limit) fill() error { return l.set("1024") }
func (l *limit) free() error { return l.set("unlimited") }

func (l *limit) set(bytes string) error {
	pid := fmt.Sprint(l.w.servers[0].proc.cmd.Process.Pid)
	return exec.CommandContext(l.w.ctx, "prlimit", "--pid", pid, "--fsize="+bytes+":unlimited").Run()
}

// TestAFullDisk lets the disk run full while the service commits.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newTown(t, "", 1)
	d := newDisk(t, w)
	w.set["DATABASE_URL"] = "file:" + filepath.Join(d.dir(), databaseName)
	a := newAiling(t, w)
	// Commits are under way, many in one, when it happens.
	var flood sync.WaitGroup
	var failed atomic.Int64
	for range 16 {
		flood.Go(func() {
			c := a.caller(nil)
			for failed.Load() < 16 && ctx.Err() == nil {
				if got := c.hear(ctx, a.town.number(), "STATUS", nil); got.err != nil || got.status >= http.StatusInternalServerError {
					failed.Add(1)
				}
			}
		})
	}
	if err := d.fill(); err != nil {
		t.Fatal(err)
	}
	flood.Wait()
	a.down()
	if err := d.free(); err != nil {
		t.Fatal(err)
	}
	a.recovers()
}

// TestAReadOnlyDatabase starts where nothing may be written: it says so, and
// does not start.
func TestAReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		close func(dir, file string) error
		says  string
	}{
		{"the directory", func(dir, _ string) error { return os.Chmod(dir, 0o555) }, "may we write there"},
		{"the file", func(_, file string) error { return os.Chmod(file, 0o444) }, "cannot be written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTown(t, "", 1)
			s := w.servers[0]
			// What t.TempDir makes is ours alone.
			if err := errors.Join(os.Chmod(w.dir, 0o755), os.Chmod(filepath.Dir(w.dir), 0o755)); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(w.dir, "data")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
			file := filepath.Join(dir, databaseName)
			w.set["DATABASE_URL"] = "file:" + file
			if err := s.start(""); err != nil {
				t.Fatal(err)
			}
			if err := s.proc.end(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(file + ".lock")
			for _, name := range []string{dir, file} {
				if err := os.Chown(name, nobodyID, nobodyID); err != nil && os.Geteuid() == 0 {
					t.Fatal(err)
				}
			}
			if err := tt.close(dir, file); err != nil {
				t.Fatal(err)
			}
			said := refusesAll(t, w)
			if !strings.Contains(said, tt.says) {
				t.Errorf("it says %q, and not %q", said, tt.says)
			}
		})
	}
}

// nobodyID is whom not all is open to, as it is to root.
const nobodyID = 65534

// refusesAll runs the service as nobody until it ends, which must be at once and badly, and
// returns what it said.
func refusesAll(t *testing.T, w *town) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found, err := exec.LookPath("countersign")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(found)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(w.dir, "countersign")
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "serve")
	cmd.Dir = "/"
	for name, value := range w.set {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, "LISTEN_ADDR="+w.servers[0].addr, "OPS_ADDR="+w.servers[0].ops, "CLOCK="+filepath.Join(w.dir, clockName))
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("it did not refuse: %v\n%s", err, out)
	}
	return string(out)
}

// TestKilledInACheckpoint kills the service while it copies the WAL into the
// database file, which nothing else does: as soon as the file changes.
func TestKilledInACheckpoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newTown(t, "", 1)
	s := w.servers[0]
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, databaseName)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	type heard struct{ from, sid, answer string }
	var mu sync.Mutex
	var answered []heard
	var load sync.WaitGroup
	var over atomic.Bool
	for range 16 {
		load.Go(func() {
			c := s.caller(nil)
			for !over.Load() {
				h := heard{from: w.number(), sid: newSid()}
				got := c.post(ctx, "/webhooks/twilio/message", w.inbound(h.sid, h.from), nil)
				if got.err != nil || got.status != http.StatusOK {
					continue
				}
				h.answer = got.text
				mu.Lock()
				answered = append(answered, h)
				mu.Unlock()
			}
		})
	}
	changed := false
	for began := time.Now(); !changed && time.Since(began) < patience; {
		now, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		changed = !now.ModTime().Equal(before.ModTime())
	}
	err = s.kill()
	over.Store(true)
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !changed {
		t.Fatalf("no checkpoint in %v and %d commits", patience, len(answered))
	}
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	for _, h := range answered {
		got := s.caller(nil).post(ctx, "/webhooks/twilio/message", w.inbound(h.sid, h.from), nil)
		if got.err != nil || got.text != h.answer {
			t.Fatalf("a text that was answered is answered otherwise: %d, %v", got.status, got.err)
		}
	}
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ended badly: %v", err)
	}
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := sound(ctx, w.set["DATABASE_URL"], db); err != nil {
		t.Errorf("the database is not sound: %v", err)
	}
	var kept int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM inbound`).Scan(&kept); err != nil || kept < len(answered) {
		t.Errorf("%d texts are kept of %d that were answered, %v", kept, len(answered), err)
	}
	t.Logf("killed in a checkpoint after %d answers, all of which are there", len(answered))
}

// inbound is the form of a customer's text.
func (w *town) inbound(sid, from string) url.Values {
	return url.Values{
		"AccountSid": {w.set["TWILIO_ACCOUNT_SID"]}, "MessageSid": {sid}, "NumMedia": {"0"},
		"From": {from}, "To": {w.set["TWILIO_FROM_NUMBER"]}, "Body": {"STATUS"},
	}
}
