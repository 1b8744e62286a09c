package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a script waits for what must come about.
const patience = 30 * time.Second

var errPatience = fmt.Errorf("not within %v", patience)

// until waits for a condition. What it asks is asked again and again, since
// what it asks about is another process.
func until(ctx context.Context, met func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if ok, err := met(); ok || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A process is a program at work.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read it after done
}

// start runs a program, whose standard error is added to the file log.
func start(ctx context.Context, program string, args, env []string, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	p := &process{name: filepath.Base(program), cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, env, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended reports whether p is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end sends p a signal and waits for its end, which is returned.
func (p *process) end(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end on %v: %w", p.name, sig, errPatience)
	}
}

// Ports are taken in turn from a range of which the kernel gives none to
// clients: a service that starts again must find its own free.
const firstPort, ports = 10_000, 20_000

var (
	portsFrom  = rand.IntN(ports) // other tests may run beside us
	portsTaken atomic.Int64
)

func freeAddr(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	for range ports {
		n := (portsFrom + int(portsTaken.Add(1))) % ports
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+n)
		if l, err := listen.Listen(ctx, "tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// buildBooth builds the phone booth, once, and returns the program.
func buildBooth(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "phonebooth")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../phonebooth")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the phone booth: %v\n%s", err, out)
	}
	return program
}
