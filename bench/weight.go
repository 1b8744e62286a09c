package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const mib = 1 << 20

// starting measures what countersign weighs, and how long it takes to serve.
func (c *conductor) starting(ctx context.Context) error {
	info, err := os.Stat(c.program)
	if err != nil {
		return err
	}
	c.fact("size of the program, `CGO_ENABLED=0`, stripped", "%.1f MiB", float64(info.Size())/mib)
	for _, how := range []struct {
		what  string
		fresh bool
	}{{"from its start to `/readyz`, with a new database", true}, {"the same, with a database that is there", false}} {
		var took []time.Duration
		for n := range 7 {
			name := "start"
			if how.fresh {
				name = fmt.Sprintf("start-%d", n)
			}
			began := time.Now()
			s, err := c.startService(ctx, name, c.sqlite(name))
			if err != nil {
				return err
			}
			took = append(took, time.Since(began))
			s.stop(&err)
			if err != nil {
				return err
			}
		}
		t := spreadOf(took)
		c.fact(how.what, "%s (%s–%s)", millis(t.median), millis(t.least), millis(t.most))
	}
	if err := c.idle(ctx); err != nil {
		return err
	}
	return c.apart(ctx)
}

// idle measures a service that nobody has come to.
func (c *conductor) idle(ctx context.Context) (err error) {
	s, err := c.startService(ctx, "idle", c.sqlite("idle"), "GODEBUG=inittrace=1")
	if err != nil {
		return err
	}
	defer s.stop(&err)
	select {
	case <-time.After(3 * time.Second): // its clocks have all struck once
	case <-ctx.Done():
		return ctx.Err()
	}
	rss, err := s.server.memory("VmRSS")
	if err != nil {
		return err
	}
	c.promise(promise{what: "resident when idle", figure: float64(rss) / mib, bar: 28, unit: "MiB"})
	mapped, err := s.server.memory("RssFile")
	if err != nil {
		return err
	}
	c.fact("of what is resident when idle, pages of the program's file, which the kernel may drop", "%.1f MiB", float64(mapped)/mib)
	said, err := os.ReadFile(filepath.Join(c.dir, "idle.log"))
	if err != nil {
		return err
	}
	for _, p := range heaviest(string(said), 4) {
		c.fact("of its start, before `main`: `"+p.name+"`", "%.2f ms, %.0f KiB in %d allocations", inMillis(p.took), float64(p.bytes)/1024, p.allocs)
	}
	return nil
}

// An initialised package is what its variables cost at start.
type initialised struct {
	name   string
	took   time.Duration
	bytes  int64
	allocs int64
}

// inits reads GODEBUG=inittrace=1, as package runtime describes it.
var inits = regexp.MustCompile(`init (\S+) @\S+ ms, (\S+) ms clock, (\d+) bytes, (\d+) allocs`)

// heaviest are the packages that took longest to initialise.
func heaviest(trace string, most int) []initialised {
	var all []initialised
	for _, found := range inits.FindAllStringSubmatch(trace, -1) {
		ms, _ := strconv.ParseFloat(found[2], 64) // the expression says it is one
		bytes, _ := strconv.ParseInt(found[3], 10, 64)
		allocs, _ := strconv.ParseInt(found[4], 10, 64)
		all = append(all, initialised{found[1], time.Duration(ms * float64(time.Millisecond)), bytes, allocs})
	}
	slices.SortFunc(all, func(a, b initialised) int { return cmp.Compare(b.took, a.took) })
	return all[:min(most, len(all))]
}

// cachedLine measures what a line with one conversation keeps of the heap.
func (c *conductor) cachedLine(ctx context.Context) (err error) {
	lines := 100_000
	if c.short {
		lines /= 5
	}
	url := c.sqlite("line")
	if err := c.seed(ctx, url, lines+warm, 48*time.Hour); err != nil {
		return err
	}
	s, err := c.startService(ctx, "line", url, "PIN_CACHE="+strconv.Itoa(2*lines))
	if err != nil {
		return err
	}
	defer s.stop(&err)
	p, err := c.newPlay(ctx, nil, s)
	if err != nil {
		return err
	}
	p.lines = lines
	if err := p.misses(ctx, lines, lines+warm); err != nil {
		return err
	}
	before, err := s.liveHeap(ctx)
	if err != nil {
		return err
	}
	if err := p.misses(ctx, 0, lines); err != nil {
		return err
	}
	after, err := s.liveHeap(ctx)
	if err != nil {
		return err
	}
	c.promise(promise{
		what:   fmt.Sprintf("live heap of a cached line with one conversation, of %d", lines),
		figure: (after - before) / float64(lines), bar: 600, aim: 450, unit: "B",
	})
	return nil
}

// misses has customers reply with a wrong PIN, which brings their lines into
// the cache and leaves them there.
func (p *play) misses(ctx context.Context, from, to int) error {
	all, err := gather(ctx, p.service.addr, callers)
	if err != nil {
		return err
	}
	defer all.leave()
	return all.walk(ctx, from, to, func(c *caller, n int) error {
		return p.reply(c, "miss", customer(n), messageSID("miss", n), true)
	})
}

// million measures a service with a million open conversations: under load with
// its cache full, and while all of them end.
func (c *conductor) million(ctx context.Context) error {
	open, load := 1_000_000, 120_000
	if c.short {
		open, load = open/10, load/10
	}
	url := c.sqlite("million")
	if err := c.seed(ctx, url, open, 48*time.Hour); err != nil {
		return err
	}
	if err := c.loaded(ctx, url, open, load); err != nil {
		return err
	}
	return c.ending(ctx, url, open)
}

// loaded measures the memory of a service whose cache is full.
func (c *conductor) loaded(ctx context.Context, url string, open, load int) (err error) {
	s, err := c.startService(ctx, "million", url)
	if err != nil {
		return err
	}
	defer s.stop(&err)
	p, err := c.newPlay(ctx, nil, s)
	if err != nil {
		return err
	}
	all, err := gather(ctx, s.addr, callers)
	if err != nil {
		return err
	}
	defer all.leave()
	loop := roadNamed("loop").visit(p)
	err = all.walk(ctx, 0, load, func(caller *caller, n int) error {
		if n%10 == 0 {
			return loop(caller, n)
		}
		who := customer(n * 61_681 % open)
		return p.reply(caller, "miss", who, messageSID("miss", n), true)
	})
	if err != nil {
		return err
	}
	rss, err := s.server.memory("VmHWM")
	if err != nil {
		return err
	}
	entries, err := s.metric(ctx, "countersign_pin_cache_entries")
	if err != nil {
		return err
	}
	c.promise(promise{
		what:   fmt.Sprintf("most resident with %d conversations open, %.0f lines cached, after %d replies and loops", open, entries, load),
		figure: float64(rss) / mib, bar: 256, aim: 180, unit: "MiB",
	})
	return nil
}

// ending measures what customers wait while everybody's deadline has passed.
func (c *conductor) ending(ctx context.Context, url string, open int) (err error) {
	fill, lasts := 30_000, 30*time.Second
	if c.short {
		fill, lasts = fill/10, lasts/2
	}
	// The lines are in the cache by then, and leave it too: after PIN_TTL.
	deadline := time.Now().Add(time.Minute)
	if err := lapse(ctx, url, deadline); err != nil {
		return err
	}
	s, err := c.startService(ctx, "ending", url, "PIN_TTL=1m")
	if err != nil {
		return err
	}
	defer s.stop(&err)
	limit, err := c.startLimit(ctx)
	if err != nil {
		return err
	}
	defer limit.stop(&err)
	p, err := c.newPlay(ctx, limit, s)
	if err != nil {
		return err
	}
	if err := p.misses(ctx, open-fill, open); err != nil {
		return err
	}
	quiet, err := p.waits(ctx, s, 1_000_000, max(time.Second, time.Until(deadline)-2*time.Second))
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(deadline)):
	case <-ctx.Done():
		return ctx.Err()
	}
	before, err := s.lapsed(ctx)
	if err != nil {
		return err
	}
	ending, err := p.waits(ctx, s, 2_000_000, lasts)
	if err != nil {
		return err
	}
	after, err := s.lapsed(ctx)
	if err != nil {
		return err
	}
	if err := p.teach(ctx, roadNamed("loop")); err != nil {
		return err
	}
	idle, err := p.waits(ctx, limit, 2_000_000, lasts)
	if err != nil {
		return err
	}
	c.promise(promise{
		what: fmt.Sprintf("longest wait in %v of %d loops a second while %d conversations end, of which %.0f did; before it was %s, and the limit's, which has no disk to wait for, is %s",
			lasts, calmly, open, after-before, millis(quiet[len(quiet)-1]), millis(idle[len(idle)-1])),
		figure: inMillis(ending[len(ending)-1]), bar: 5, unit: "ms",
	})
	most := func(waits []time.Duration) string { return millis(waits[len(waits)*999/1000]) }
	c.fact("what 999 of 1000 of those requests waited at most: before, while the conversations end, and of the limit", "%s, %s, %s",
		most(quiet), most(ending), most(idle))
	return nil
}

// calmly is a rate at which nobody waits for others, in loops a second.
const calmly = 200

// waits are what customers of a side waited while that rate lasted, the least
// first.
func (p *play) waits(ctx context.Context, s *side, from int, lasts time.Duration) ([]time.Duration, error) {
	all, err := gather(ctx, s.addr, callers)
	if err != nil {
		return nil, err
	}
	defer all.leave()
	if err := all.stream(ctx, from, from+int(calmly*lasts.Seconds()), calmly, roadNamed("loop").visit(p)); err != nil {
		return nil, err
	}
	took := all.took()
	return slices.Sorted(slices.Values(slices.Concat(took["loop"], took["loop-reply"]))), nil
}

// lapsed counts the orders that have lapsed.
func (s *side) lapsed(ctx context.Context) (float64, error) {
	return s.metric(ctx, `countersign_orders_total{state="lapsed"}`)
}

// memory reads a field of /proc/PID/status that is in kB, and returns bytes.
func (p *process) memory(field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, field+": %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d has no %s", p.pid(), field)
}
