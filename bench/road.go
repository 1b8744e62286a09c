package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
)

// A road is one way for requests to take through the service. Both sides are
// sent the same bytes, and say the same.
type road struct {
	name  string
	title string
	// limit is what the limit has to do on it, request by request.
	limit map[string]answer
	// bar and aim are how many times the limit's CPU the service may take, and
	// would like to; 0 for none.
	bar, aim float64
	// visits make a round.
	visits int
	// needs are the roads that lead to where this one begins.
	needs []string
	// private roads lead to the private listener.
	private bool
	// begin readies the service just before; nil for nothing.
	begin func(p *play, ctx context.Context) error
	visit func(p *play) visit
}

const (
	webhookBar, webhookAim = 5, 3
	knownBar, knownAim     = 3, 1.5
)

// roads are in the order in which they are measured.
var roads = []*road{
	{
		name: "loop", title: "whole loop: `POST /pin`, its text, and the reply that confirms", visits: 5_000, bar: 4, aim: 2.5,
		limit: map[string]answer{
			"loop":       {Derived: true, Texts: true, Cookie: true},
			"loop-reply": {Signed: true, Derived: true},
		},
		visit: func(p *play) visit {
			return func(c *caller, n int) error {
				if err := p.ask(c, "loop", loopers+customer(n)); err != nil {
					return err
				}
				return p.reply(c, "loop-reply", loopers+customer(n), messageSID("loop", n), false)
			}
		},
	},
	{
		name: "ask", title: "`POST /pin` accepted", visits: 20_000,
		limit: map[string]answer{"ask": {Derived: true, Texts: true, Cookie: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error { return p.ask(c, "ask", customer(n)) }
		},
	},
	{
		name: "wrong", title: "webhook with a wrong PIN", visits: 10_000, bar: webhookBar, aim: webhookAim, needs: []string{"ask"},
		limit: map[string]answer{"wrong": {Signed: true, Derived: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error { return p.reply(c, "wrong", p.scattered(n), messageSID("wrong", n), true) }
		},
	},
	{
		name: "repeated", title: "webhook repeated (known MessageSid)", visits: 10_000, bar: knownBar, aim: knownAim, needs: []string{"ask", "wrong"},
		limit: map[string]answer{"repeated": {Signed: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error {
				return p.reply(c, "repeated", p.scattered(n), messageSID("wrong", n), true)
			}
		},
	},
	{
		name: "status", title: "status callback, in the order of the texts", visits: 10_000, bar: knownBar, aim: knownAim, needs: []string{"ask"},
		limit: map[string]answer{"status": {Signed: true}},
		// Receipts come within seconds of their texts, so these are of the latest.
		visit: func(p *play) visit {
			return p.told("status", func(n int) customer { return customer(p.lines - 1 - n%p.lines) })
		},
	},
	{
		name: "late", title: "status callback, late: of any of 100,000 texts", visits: 10_000, needs: []string{"ask"},
		limit: map[string]answer{"late": {Signed: true}},
		visit: func(p *play) visit {
			return p.told("late", func(n int) customer { return customer(n * 61_681 % (p.lines / 2)) }) // the others have theirs
		},
	},
	{
		name: "webwrong", title: "web check, wrong PIN", visits: 5_000, needs: []string{"ask"},
		limit: map[string]answer{"webwrong": {Cookie: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error { return p.check(c, "webwrong", p.scattered(n), true) }
		},
	},
	{
		name: "webright", title: "web check that confirms", visits: 5_000, needs: []string{"ask"},
		limit: map[string]answer{"webright": {Cookie: true, Derived: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error { return p.check(c, "webright", p.scattered(p.lines*6/10+n), false) }
		},
	},
	{
		name: "confirms", title: "webhook that confirms", visits: 10_000, bar: webhookBar, aim: webhookAim, needs: []string{"ask"},
		limit: map[string]answer{"confirms": {Signed: true, Derived: true}},
		visit: func(p *play) visit {
			return func(c *caller, n int) error {
				return p.reply(c, "confirms", p.scattered(n), messageSID("confirms", n), false)
			}
		},
	},
	{
		name: "refused", title: "`POST /pin` refused by the flood valve", visits: 20_000, bar: 1.3, aim: 1.1,
		limit: map[string]answer{"refused": {}},
		begin: (*play).flood, // not sooner: the valve forgets who is quiet
		visit: func(p *play) visit {
			return func(c *caller, n int) error {
				who := customer(n)
				return p.do(c, "refused", browser("").post("refused", "/pin", floodIP, who.order()), http.StatusTooManyRequests)
			}
		},
	},
	{
		name: "form", title: "the form page, `GET /`", visits: 10_000,
		limit: map[string]answer{"form": {Cookie: true}},
		visit: func(p *play) visit {
			return func(c *caller, _ int) error { return p.do(c, "form", p.cookie.get("form", "/"), http.StatusOK) }
		},
	},
	{
		name: "metrics", title: "`/metrics`", visits: 1_000, private: true,
		limit: map[string]answer{"metrics": {}},
		visit: func(p *play) visit {
			return func(c *caller, _ int) error {
				return p.do(c, "metrics", browser("").get("metrics", "/metrics"), http.StatusOK)
			}
		},
	},
}

const (
	// loopers are the customers who go the whole loop, far from the others.
	loopers customer = 3_000_000
	// floodIP is where the flood comes from.
	floodIP = "192.0.2.1"
)

func roadNamed(name string) *road {
	for _, r := range roads {
		if r.name == name {
			return r
		}
	}
	return nil
}

// A play is roads being measured on a limit and a service.
type play struct {
	limit, service *side
	far            *farSide
	cookie         browser
	rounds         int // of each road
	fewer          int // a round has one in so many of its visits
	lines          int // customers who will have asked

	profiles string // the directory for a profile of each of the service's rounds; empty for none

	walked map[string]bool // the roads that the service has seen

	mu     sync.Mutex
	orders map[customer]string // the path of each one's order
	heard  map[string]answer   // what the service said last, by what it was asked
}

// scattered is the n-th of those who have asked, in an order that has nothing
// to do with when they did.
func (p *play) scattered(n int) customer { return customer(n * 61_681 % p.lines) }

// do makes a request and remembers what was said to it.
func (p *play) do(c *caller, road string, request []byte, want int) error {
	_, err := p.answered(c, road, request, want)
	return err
}

func (p *play) answered(c *caller, road string, request []byte, want int) (answer, error) {
	a, err := c.do(road, request, want)
	if err != nil {
		return a, err
	}
	p.mu.Lock()
	p.heard[road] = a
	p.mu.Unlock()
	return a, nil
}

// ask asks for a PIN.
func (p *play) ask(c *caller, road string, who customer) error {
	a, err := p.answered(c, road, p.cookie.post(road, "/pin", who.ip(), who.order()), http.StatusSeeOther)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.orders[who] = a.Header.Get("Location")
	p.mu.Unlock()
	return nil
}

// reply texts the PIN back, or another.
func (p *play) reply(c *caller, road string, who customer, sid string, mistyped bool) error {
	t, err := p.far.textTo(who)
	if err != nil {
		return err
	}
	pin := t.pin
	if mistyped {
		pin = wrong(pin)
	}
	return p.do(c, road, who.inbound(road, sid, pin), http.StatusOK)
}

// told is visits by which Twilio tells of the texts to some customers, one each.
func (p *play) told(road string, some func(n int) customer) visit {
	return func(c *caller, n int) error {
		who := some(n)
		t, err := p.far.textTo(who)
		if err != nil {
			return err
		}
		return p.do(c, road, who.receipt(road, t), http.StatusNoContent)
	}
}

// check types the PIN into the page, or another.
func (p *play) check(c *caller, road string, who customer, mistyped bool) error {
	t, err := p.far.textTo(who)
	if err != nil {
		return err
	}
	p.mu.Lock()
	path := p.orders[who]
	p.mu.Unlock()
	form, want := who.order(), http.StatusSeeOther
	form.Set("pin", t.pin)
	if mistyped {
		form.Set("pin", wrong(t.pin))
		want = http.StatusUnprocessableEntity
	}
	return p.do(c, road, p.cookie.post(road, path+"/pin", who.ip(), form), want)
}

// visits are how many make a round of r.
func (p *play) visits(r *road) int { return r.visits / p.fewer }

// callers are the connections that a road is walked by.
const callers = 32

// walk has one side walk a road, from the visit on to, and the other.
func (p *play) walk(ctx context.Context, s *side, r *road, from, to int) (round, error) {
	addr := s.addr
	if r.private && s.ops != "" {
		addr = s.ops
	}
	all, err := gather(ctx, addr, callers)
	if err != nil {
		return round{}, err
	}
	defer all.leave()
	return s.bill(ctx, all, to-from, func() error { return all.walk(ctx, from, to, r.visit(p)) })
}

// prepare has the service walk what leads to a road.
func (p *play) prepare(ctx context.Context, r *road) error {
	for _, name := range r.needs {
		before := roadNamed(name)
		if p.walked[name] {
			continue
		}
		if err := p.prepare(ctx, before); err != nil {
			return err
		}
		if _, err := p.walk(ctx, p.service, before, 0, p.rounds*p.visits(before)); err != nil {
			return err
		}
		p.walked[name] = true
	}
	return nil
}

// warm is how many visits warm the service up to a road; they are past those
// that are measured.
const warm = 2 * callers

// measure plays a road on both sides in turn, and returns each one's rounds.
func (p *play) measure(ctx context.Context, r *road) (limit, service []round, err error) {
	if err := p.prepare(ctx, r); err != nil {
		return nil, nil, fmt.Errorf("what leads to %s: %w", r.name, err)
	}
	if r.begin != nil {
		if err := r.begin(p, ctx); err != nil {
			return nil, nil, fmt.Errorf("begin %s: %w", r.name, err)
		}
	}
	visits := p.visits(r)
	end := p.rounds * visits
	if _, err := p.walk(ctx, p.service, r, end, end+warm); err != nil {
		return nil, nil, fmt.Errorf("warm %s up: %w", r.name, err)
	}
	if err := p.teach(ctx, r); err != nil {
		return nil, nil, err
	}
	if _, err := p.walk(ctx, p.limit, r, 0, warm); err != nil {
		return nil, nil, fmt.Errorf("warm %s up: %w", r.name, err)
	}
	for n := range p.rounds {
		for _, s := range []*side{p.limit, p.service} { // the service last: its texts are those that customers have
			profiled := func() error { return nil }
			if p.profiles != "" && s == p.service && n > 0 {
				file := filepath.Join(p.profiles, fmt.Sprintf("%s-%d.pprof", r.name, n))
				profiled = s.profile(ctx, file, service[n-1].wall)
			}
			one, err := p.walk(ctx, s, r, n*visits, (n+1)*visits)
			if err := errors.Join(err, profiled()); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", r.name, err)
			}
			if s == p.limit {
				limit = append(limit, one)
			} else {
				service = append(service, one)
			}
		}
	}
	p.walked[r.name] = true
	return limit, service, nil
}

// teach has the limit learn what the service says on a road.
func (p *play) teach(ctx context.Context, r *road) error {
	for what, work := range r.limit {
		a := work
		a.Status, a.Header, a.Body = p.heard[what].Status, p.heard[what].Header, p.heard[what].Body
		if err := p.limit.learn(ctx, what, a); err != nil {
			return err
		}
	}
	return nil
}
