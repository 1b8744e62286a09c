package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A conductor has the measurements made, one after the other.
type conductor struct {
	short    bool
	most     int      // conversations that the scale goes up to, if more than it would
	only     []string // the names of what is measured; empty for all but the scale
	out      string   // the Markdown file whose tables are to be rewritten, if any
	dir      string
	profiles string
	stdout   io.Writer
	log      io.Writer

	report  report
	program string // countersign, as it was built
	far     *farSide
	twilio  string // the far side's URL
}

func (c *conductor) run(ctx context.Context) (err error) {
	if err := pinSelf(askingCore); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp(c.dir, "countersign-bench"); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(c.dir)
			return
		}
		c.say("what the servers said is in %s", c.dir)
	}()
	if err := c.build(ctx); err != nil {
		return err
	}
	if err := c.openFarSide(ctx); err != nil {
		return err
	}
	return c.measure(ctx)
}

// build builds the service as make build does.
func (c *conductor) build(ctx context.Context) error {
	c.program = filepath.Join(c.dir, "countersign")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", c.program, "./cmd/countersign") //nolint:gosec // our own
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build countersign: %w\n%s", err, out)
	}
	return nil
}

func (c *conductor) openFarSide(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.far, c.twilio = new(farSide), "http://"+l.Addr().String()
	server := &http.Server{Handler: c.far, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

// say tells whoever waits how far we are.
func (c *conductor) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.log, format+"\n", args...)
}

// newPlay readies roads to be played on two sides.
func (c *conductor) newPlay(ctx context.Context, limit, service *side) (*play, error) {
	p := &play{
		limit: limit, service: service, far: c.far, rounds: 5, fewer: 1, profiles: c.profiles,
		walked: map[string]bool{}, orders: map[customer]string{}, heard: map[string]answer{},
	}
	if c.short {
		p.rounds, p.fewer = 3, 4
	}
	p.lines = p.rounds * p.visits(roadNamed("ask"))
	var err error
	p.cookie, err = newBrowser(ctx, service.addr)
	return p, err
}

// newBrowser is a browser that the service has seen.
func newBrowser(ctx context.Context, addr string) (browser, error) {
	cr, err := gather(ctx, addr, 1)
	if err != nil {
		return "", err
	}
	defer cr.leave()
	a, err := cr[0].do("form", browser("").get("form", "/"), http.StatusOK)
	if err != nil {
		return "", err
	}
	cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	return browser(cookie), nil
}

// flood asks from one address until the valve is shut.
func (p *play) flood(ctx context.Context) error {
	cr, err := gather(ctx, p.service.addr, 1)
	if err != nil {
		return err
	}
	defer cr.leave()
	for range 1000 {
		// It texts nobody: the number is none.
		a, _ := cr[0].do("flood", browser("").post("flood", "/pin", floodIP, nil), http.StatusTooManyRequests)
		switch a.Status {
		case http.StatusTooManyRequests:
			return nil
		case 0:
			return errors.New("the flood was not answered")
		}
	}
	return errors.New("the flood valve never shut")
}
