package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How many requests of each class the service takes on at once; see
// handlers.New.
const (
	asksAtOnce  = 128
	hooksAtOnce = 256
)

// resident is how much of a process is in memory, in MB.
func resident(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kB / 1024
		}
	}
	t.Fatal("the kernel tells nothing of its memory")
	return 0
}

// A tally counts answers to requests of one class.
type tally struct {
	answered, refused, broken atomic.Int64
	t                         *testing.T
}

// count counts one answer: a refusal is a 503 that says when to come back.
func (y *tally) count(got called) {
	switch {
	case got.err != nil:
		y.broken.Add(1)
		y.t.Logf("%s: %v", got.what, got.err)
	case got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") != "":
		y.refused.Add(1)
	case got.status >= http.StatusInternalServerError:
		y.broken.Add(1)
		y.t.Logf("%s: %d", got.what, got.status)
	default:
		y.answered.Add(1)
	}
}

// TestAFloodOfOneKindStarvesNoOther stops the database and floods the service:
// new PINs beyond its bound are refused at once, which takes nothing from
// webhooks; those beyond theirs are refused, which takes nothing from checks.
// Whoever was taken on is answered when the database is there again.
func TestAFloodOfOneKindStarvesNoOther(t *testing.T) {
	ctx := t.Context()
	w := newTown(t, "", 1)
	s := w.servers[0]
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	b, _, err := w.placed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// A receipt is a webhook too: one that is late would take a place of theirs.
	if err := w.delivered(); err != nil {
		t.Fatal(err)
	}
	before := resident(t, s.proc)
	open, err := w.shutGate()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	asks, hooks, checks := &tally{t: t}, &tally{t: t}, &tally{t: t}
	flood := func(n int, y *tally, call func() called) {
		for range n {
			all.Go(func() { y.count(call()) })
		}
	}
	wait := func(what string, met func() bool) {
		t.Helper()
		if err := until(ctx, func() (bool, error) { return met(), nil }); err != nil {
			t.Fatalf("%s: %v; asks %d/%d, hooks %d/%d", what, err,
				asks.answered.Load(), asks.refused.Load(), hooks.answered.Load(), hooks.refused.Load())
		}
	}
	const beyond = 50
	flood(asksAtOnce+beyond, asks, func() called { return s.caller(nil).order(ctx, nil) })
	wait("new PINs beyond the bound are not refused", func() bool { return asks.refused.Load() == beyond })
	flood(hooksAtOnce+beyond, hooks, func() called { return s.caller(nil).hear(ctx, w.number(), "STATUS", nil) })
	wait("webhooks beyond the bound are not refused", func() bool { return hooks.refused.Load() == beyond })
	// That is all that they take: of the rest none is refused.
	var taken atomic.Int64
	flood(5, checks, func() called {
		return s.caller(b).post(ctx, "/orders/"+b.told()+"/pin", url.Values{"pin": {"000000"}}, func() { taken.Add(1) })
	})
	wait("checks are not taken on", func() bool { return taken.Load() == 5 })
	flooded := resident(t, s.proc)
	if err := open(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for _, tt := range []struct {
		what              string
		y                 *tally
		answered, refused int64
	}{
		{"new PINs", asks, asksAtOnce, beyond},
		{"webhooks", hooks, hooksAtOnce, beyond},
		{"checks", checks, 5, 0},
	} {
		if got, no := tt.y.answered.Load(), tt.y.refused.Load(); got != tt.answered || no != tt.refused || tt.y.broken.Load() > 0 {
			t.Errorf("%s: %d answered, %d refused, %d broken off; want %d and %d", tt.what, got, no, tt.y.broken.Load(), tt.answered, tt.refused)
		}
	}
	if grew := flooded - before; grew > 256 {
		t.Errorf("the flood took %d MB", grew)
	}
	t.Logf("%d MB, %d MB in the flood", before, flooded)
	if _, _, err := w.placed(ctx); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ended badly: %v", err)
	}
}

// TestOverload gives the service, on one core, ten times what it takes: ten
// times the clients that fill its bounds, each asking again as soon as it is
// answered. It is the program as it is shipped.
func TestOverload(t *testing.T) {
	if os.Getenv("COUNTERSIGN_SOAK") == "" {
		// The conditions are in the test above; this one has the figures.
		overload(t, 1, time.Second)
		return
	}
	overload(t, 10, 10*time.Second)
}

func overload(t *testing.T, times int, d time.Duration) {
	ctx := t.Context()
	w := newTown(t, "", 1)
	s := w.servers[0]
	w.set["GOMAXPROCS"], w.set["LOG_LEVEL"] = "1", "error"
	s.program = buildService(t)
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	b, _, err := w.placed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := resident(t, s.proc)

	asks, hooks, checks := &tally{t: t}, &tally{t: t}, &tally{t: t}
	run, stop := context.WithTimeout(ctx, d)
	defer stop()
	var load sync.WaitGroup
	clients := func(n int, y *tally, call func(*caller) called) {
		for range n {
			load.Go(func() {
				c := s.caller(b)
				for run.Err() == nil {
					y.count(call(c))
				}
			})
		}
	}
	clients(asksAtOnce*times, asks, func(c *caller) called { return c.order(ctx, nil) })
	clients(hooksAtOnce*times, hooks, func(c *caller) called { return c.hear(ctx, w.number(), "STATUS", nil) })
	clients(16, checks, func(c *caller) called {
		return c.post(ctx, "/orders/"+b.told()+"/pin", url.Values{"pin": {"12"}}, nil)
	})
	peak := before
	for run.Err() == nil {
		pause(run, 200*time.Millisecond)
		peak = max(peak, resident(t, s.proc))
	}
	load.Wait()
	share := func(y *tally) float64 {
		return float64(y.answered.Load()) / float64(max(1, y.answered.Load()+y.refused.Load()+y.broken.Load()))
	}
	t.Logf("%d clients for %v on one core: of new PINs %d answered (%.0f %%), of webhooks %d (%.0f %%), of checks %d (%.0f %%); %d MB at first, %d MB at most",
		times*(asksAtOnce+hooksAtOnce)+16, d, asks.answered.Load(), 100*share(asks), hooks.answered.Load(), 100*share(hooks),
		checks.answered.Load(), 100*share(checks), before, peak)
	for what, y := range map[string]*tally{"new PINs": asks, "webhooks": hooks, "checks": checks} {
		if y.broken.Load() > 0 {
			t.Errorf("%s: %d without an answer", what, y.broken.Load())
		}
	}
	if checks.refused.Load() > 0 {
		t.Errorf("%d checks were refused", checks.refused.Load())
	}
	if share(hooks) < share(asks) && times > 1 {
		t.Error("webhooks were refused rather than new PINs")
	}
	if peak > 512 {
		t.Errorf("%d MB", peak)
	}
	if err := until(ctx, func() (bool, error) {
		_, _, err := w.placed(ctx)
		return err == nil, nil
	}); err != nil {
		t.Errorf("afterwards no order can be placed: %v", err)
	}
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ended badly: %v", err)
	}
}
