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

// loops has a crowd go the whole loop on a service of its own: first with a
// Twilio that answers at once, and then with a slow one. What the service
// refuses for want of time is counted, and the crowd goes on.
func (c *conductor) loops(ctx context.Context, name string, callers int, walk func(crowd, visit) error) (rounds [2]round, err error) {
	service, err := c.startService(ctx, name, c.sqlite(name))
	if err != nil {
		return rounds, err
	}
	defer service.stop(&err)
	p, err := c.newPlay(ctx, nil, service)
	if err != nil {
		return rounds, err
	}
	defer c.far.latency.Store(0)
	loop := roadNamed("loop").visit(p)
	for i, latency := range []time.Duration{0, slowAnswer} {
		c.far.latency.Store(int64(latency))
		all, err := gather(ctx, service.addr, callers)
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
	rounds, err := c.loops(ctx, "slow", customers, func(all crowd, v visit) error { return all.walk(ctx, 0, visits, v) })
	if err != nil {
		return err
	}
	atOnce, slow := rounds[0], rounds[1]
	ceiling := customers / slowAnswer.Seconds()
	rate := float64(slow.visits-slow.refused) / slow.wall.Seconds()
	c.promise(promise{
		what:   fmt.Sprintf("Twilio at %v, %d customers: loops a second, of the %.0f that waiting for Twilio alone allows", slowAnswer, customers, ceiling),
		figure: rate / ceiling * 100, bar: 95, unit: "%", more: true, refused: slow.refused,
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
	rounds, err := c.loops(ctx, "steady", 256, func(all crowd, v visit) error {
		return all.stream(ctx, 0, int(perSecond*lasts.Seconds()), perSecond, v)
	})
	if err != nil {
		return err
	}
	for i, twilio := range []time.Duration{0, slowAnswer} {
		r := rounds[i]
		what := fmt.Sprintf("%d loops a second begun, Twilio at %v: p99 of ", perSecond, twilio)
		c.promise(promise{
			what:   what + "a check",
			figure: inMillis(quantile([]round{r}, "loop-reply", .99)), bar: 10, unit: "ms", refused: r.refused,
		})
		c.promise(promise{
			what:   what + "`POST /pin`",
			figure: inMillis(quantile([]round{r}, "loop", .99)), bar: inMillis(twilio + 15*time.Millisecond), unit: "ms", refused: r.refused,
		})
	}
	return nil
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
