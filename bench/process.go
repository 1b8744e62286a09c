package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a program at work on the measured core.
type process struct {
	cmd  *exec.Cmd
	log  string        // the file of what it says
	done chan struct{} // closed when it has ended
}

// start starts a program on the measured core, with that environment and no
// other. What it says is added to dir/name.log.
func start(ctx context.Context, dir, name string, env []string, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()                 // the process has its own
	p.cmd = exec.CommandContext(ctx, program, args...) //nolint:gosec // ours
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.Env = append(env, "GOMAXPROCS=1", "PATH="+os.Getenv("PATH"))
	if err := startOn(measuredCore, p.cmd); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// patience is how long a process may take to be ready, or to end.
const patience = 2 * time.Minute

// ready waits until url is answered well. It asks often, since a start is
// measured by it.
func (p *process) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		if status, _, err := get(ctx, url); err == nil && status < 300 {
			return nil
		}
		select {
		case <-again.C:
		case <-p.done:
			said, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended before it was ready:\n%s", p.cmd.Path, said)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", url, ctx.Err())
		}
	}
}

// stop ends p as its operator would, and waits for that.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end", p.cmd.Path)
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// cpu is what p has used of the core so far, its own and the kernel's work for
// it, of threads that have ended too.
func (p *process) cpu() (time.Duration, error) { return cpuOf(p.pid()) }

// cpuOf reads a process's CPU clock; clock_getcpuclockid(3) makes its id so.
func cpuOf(pid int) (time.Duration, error) {
	const schedClock = 2
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &at); err != nil { //nolint:gosec // pids are small
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(at.Nano()), nil
}

// get asks for a page of a measured process.
func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // on this machine
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	return resp.StatusCode, text.Bytes(), err
}
