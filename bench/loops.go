package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// The whole loop, in other circumstances than those of the roads.

// onPostgres measures the whole loop on PostgreSQL, whose work is on the
// service's bill.
func (c *conductor) onPostgres(ctx context.Context) error {
	return c.onNewPostgres(ctx, func(st store) error { return c.loopsOn(ctx, st) })
}

func (c *conductor) loopsOn(ctx context.Context, st store) (err error) {
	limit, err := c.startLimit(ctx)
	if err != nil {
		return err
	}
	defer limit.stop(&err)
	service, err := c.serve(ctx, "service-on-postgres", st)
	if err != nil {
		return err
	}
	defer service.stop(&err)
	p, err := c.newPlay(ctx, limit, service)
	if err != nil {
		return err
	}
	p.profiles = ""
	loop := *roadNamed("loop")
	loop.title, loop.bar, loop.aim = "whole loop on PostgreSQL, its processes' CPU too", 6, 4
	loop.visits /= 2
	limits, services, err := p.measure(ctx, &loop)
	if err != nil {
		return err
	}
	c.say("%s", c.report.road(&loop, limits, services))
	return nil
}

// A slow Twilio answers after this long, as the real one may.
const slowAnswer = 100 * time.Millisecond

// loopRounds are the whole loop twice: first with a Twilio that answers at once, and
// then with a slow one.
type loopRounds [2]round

// loops has a crowd go the whole loop on a service of its own, and then on the
// limit, whose figures are beside it: what it cannot do, the machine cannot.
func (c *conductor) loops(ctx context.Context, name string, callers int, walk func(crowd, visit) error) (ours, limits loopRounds, err error) {
	limit, err := c.startLimit(ctx)
	if err != nil {
		return ours, limits, err
	}
	defer limit.stop(&err)
	service, err := c.startService(ctx, name, c.sqlite(name))
	if err != nil {
		return ours, limits, err
	}
	defer service.stop(&err)
	p, err := c.newPlay(ctx, limit, service)
	if err != nil {
		return ours, limits, err
	}
	loop := roadNamed("loop")
	if ours, err = p.walkLoops(ctx, service, callers, walk); err != nil {
		return ours, limits, err
	}
	if err := p.teach(ctx, loop); err != nil {
		return ours, limits, err
	}
	limits, err = p.walkLoops(ctx, limit, callers, walk)
	return ours, limits, err
}

// walkLoops has a crowd go the loop on one side. What is refused for want of
// time is counted, and the crowd goes on.
func (p *play) walkLoops(ctx context.Context, s *side, callers int, walk func(crowd, visit) error) (rounds loopRounds, err error) {
	defer p.far.latency.Store(0)
	loop := roadNamed("loop").visit(p)
	for i, latency := range []time.Duration{0, slowAnswer} {
		p.far.latency.Store(int64(latency))
		all, err := gather(ctx, s.addr, callers)
		if err != nil {
			return rounds, err
		}
		var refused atomic.Int64
		began := time.Now()
		err = walk(all, func(caller *caller, n int) error {
			err := loop(caller, n+i*1_000_000)
			if u := new(unexpected); errors.As(err, &u) && u.got.Status == http.StatusServiceUnavailable {
				refused.Add(1)
				return nil
			}
			return err
		})
		rounds[i] = round{wall: time.Since(began), took: all.took(), refused: int(refused.Load())}
		rounds[i].visits = len(rounds[i].took["loop"])
		all.leave()
		if err != nil {
			return rounds, err
		}
	}
	return rounds, nil
}

// slowTwilio measures how much of their time customers spend waiting for
// nothing but Twilio.
func (c *conductor) slowTwilio(ctx context.Context) error {
	const customers = 64
	visits := 4_000
	if c.short {
		visits /= 4
	}
	ours, limits, err := c.loops(ctx, "slow", customers, func(all crowd, v visit) error { return all.walk(ctx, 0, visits, v) })
	if err != nil {
		return err
	}
	atOnce, slow := ours[0], ours[1]
	ceiling := customers / slowAnswer.Seconds()
	part := func(r round) float64 { return float64(r.visits-r.refused) / r.wall.Seconds() / ceiling * 100 }
	c.promise(promise{
		what: fmt.Sprintf("Twilio at %v, %d customers: loops a second, of the %.0f that waiting for Twilio alone allows; the limit's are %.1f %%",
			slowAnswer, customers, ceiling, part(limits[1])),
		figure: part(slow), bar: 95, unit: "%", more: true, refused: slow.refused,
	})
	before := quantile([]round{atOnce}, "loop-reply", .5)
	c.promise(promise{
		what:   fmt.Sprintf("a check's p50 meanwhile; with Twilio at 0 ms it is %s", millis(before)),
		figure: inMillis(quantile([]round{slow}, "loop-reply", .5)), bar: inMillis(before), unit: "ms",
	})
	return nil
}

// steadyRate measures what customers wait who do not wait for each other.
func (c *conductor) steadyRate(ctx context.Context) error {
	const perSecond = 500
	lasts := 20 * time.Second
	if c.short {
		lasts /= 4
	}
	ours, limits, err := c.loops(ctx, "steady", 256, func(all crowd, v visit) error {
		return all.stream(ctx, 0, int(perSecond*lasts.Seconds()), perSecond, v)
	})
	if err != nil {
		return err
	}
	for i, twilio := range []time.Duration{0, slowAnswer} {
		for _, request := range []struct {
			road, name string
			bar        time.Duration
		}{
			{"loop-reply", "a check", 10 * time.Millisecond},
			{"loop", "`POST /pin`", twilio + 15*time.Millisecond},
		} {
			p99 := func(r round) time.Duration { return quantile([]round{r}, request.road, .99) }
			c.promise(promise{
				what: fmt.Sprintf("%d loops a second begun, Twilio at %v: p99 of %s; the limit's is %s",
					perSecond, twilio, request.name, millis(p99(limits[i]))),
				figure: inMillis(p99(ours[i])), bar: inMillis(request.bar), unit: "ms", refused: ours[i].refused,
			})
		}
	}
	return nil
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
