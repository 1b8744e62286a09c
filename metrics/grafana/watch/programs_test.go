package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that should take a moment.
const patience = 30 * time.Second

var errPatience = fmt.Errorf("not within %v", patience)

// until waits for a condition that other processes bring about.
func until(ctx context.Context, met func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !met() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pass lets time go by, up to ctx's end.
func pass(ctx context.Context, d time.Duration) {
	enough := time.NewTimer(d)
	defer enough.Stop()
	select {
	case <-enough.C:
	case <-ctx.Done():
	}
}

var buildFlags []string

// build builds the service and the booth into dir.
func build(t *testing.T, dir string) {
	t.Helper()
	args := append(append([]string{"build"}, buildFlags...), "-o", dir+"/", "./cmd/countersign", "./cmd/phonebooth")
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = "../../.." // they are another module's
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
}

// A program is one at work. It ends with the test at the latest, and if the
// test has failed, tells what it had to say.
type program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a program whose words are added to the file log.
func start(t *testing.T, log string, cmd *exec.Cmd) *program {
	t.Helper()
	words, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = words.Close() }() // the program has its own
	cmd.Stdout, cmd.Stderr = words, words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it ends by a signal of ours
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end(t, syscall.SIGTERM)
		text, _ := os.ReadFile(log)
		if bytes.Contains(text, []byte("DATA RACE")) {
			t.Errorf("%s races", filepath.Base(log))
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(log), text[max(0, len(text)-4000):])
		}
	})
	return p
}

// end sends p a signal and waits for its end.
func (p *program) end(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Errorf("%s did not end on %v: %v", p.cmd.Path, sig, errPatience)
	}
}

// Ports are taken in turn from a range of which the kernel gives none to
// clients: a service that starts again must find its own free.
const firstPort, ports = 10_000, 20_000

var (
	portsFrom  = rand.IntN(ports) // other tests may run beside us
	portsTaken atomic.Int64
)

func freeAddr(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	for range ports {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+(portsFrom+int(portsTaken.Add(1)))%ports)
		if l, err := listen.Listen(t.Context(), "tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// call sends a request with a JSON body, or none for nil, reads the JSON answer
// into out unless that is nil, and returns the status.
func call(ctx context.Context, method, url string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	return ask(http.DefaultClient, req, out)
}

func ask(client *http.Client, req *http.Request, out any) (int, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || out == nil {
		return resp.StatusCode, err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s answers %s, %w: %s", req.Method, req.URL, resp.Status, err, text)
	}
	return resp.StatusCode, nil
}

// answers waits for a program to answer there.
func answers(t *testing.T, p *program, url string) {
	t.Helper()
	err := until(t.Context(), func() bool {
		select {
		case <-p.done:
			t.Fatalf("%s has ended", p.cmd.Path)
		default:
		}
		code, err := call(t.Context(), http.MethodGet, url, nil, nil)
		return err == nil && code == http.StatusOK
	})
	if err != nil {
		t.Fatalf("%s does not answer: %v", url, err)
	}
}
