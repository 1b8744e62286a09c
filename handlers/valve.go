package handlers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/twiml"
)

// A valve lets so many requests of each address pass in any span of its
// rate's length, never one more: it remembers when each of them came.
//
// Its memory is bounded. It forgets the address that has been quiet longest
// when there are too many, which someone with that many addresses can bring
// about; but they have as many tries by their addresses alone. Against them
// stand the guard's totals.
type valve struct {
	rate flow.Rate
	mu   sync.Mutex
	// began is when the first request came. Times are told since then, and not
	// by the calendar, since the clock may be set.
	began time.Time
	seen  *simplelru.LRU[netip.Addr, []time.Duration] // since began, oldest first
}

// About so many times are remembered, in 8 bytes each. A [time.Time] is 24, with
// a pointer among them for the garbage collector to follow.
const valveTimes = 1 << 20

func newValve(rate flow.Rate) *valve {
	seen, err := simplelru.NewLRU[netip.Addr, []time.Duration](max(1024, valveTimes/rate.N), nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &valve{rate: rate, seen: seen}
}

// pass counts a request of addr and returns 0, or returns how long to wait if
// it is one too many. Only what passes is counted.
func (v *valve) pass(addr netip.Addr, now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.began.IsZero() {
		v.began = now
	}
	at := now.Sub(v.began)
	times, _ := v.seen.Get(addr)
	past := 0
	for past < len(times) && at-times[past] >= v.rate.Per {
		past++
	}
	times = times[past:]
	if len(times) >= v.rate.N {
		return v.rate.Per - max(0, at-times[0]) // of two at once, either may get here first
	}
	v.seen.Add(addr, append(times, at))
	return 0
}

// metered puts h behind the valve, before anything of the request's body is
// read.
func (s *Server) metered(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.meter(r); err != nil {
			return err
		}
		return h(w, r)
	}
}

// meter refuses a request that may cause a text if its client has sent too
// many.
func (s *Server) meter(r *http.Request) error {
	wait := s.valve.pass(clientIP(r, s.ClientIPHeader), s.Now())
	if wait == 0 {
		return nil
	}
	s.Watcher.Refused(flow.ReasonIP)
	return &refusal{
		Status:     http.StatusTooManyRequests,
		RetryAfter: wait,
		Message:    "Too many PINs were asked for from your network. Go back, and try again in " + roughly(wait) + ".",
	}
}

// clientIP returns the address that r is counted by: the last one in header if
// that is set and names one, since what stands before it is the client's own
// claim, else the peer's. All of an IPv6 /64 counts as one, since any customer
// of a provider has at least that.
func clientIP(r *http.Request, header string) netip.Addr {
	if header != "" {
		if values := r.Header.Values(header); len(values) > 0 {
			last := values[len(values)-1]
			last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
			if addr, err := netip.ParseAddr(strings.Trim(last, "[]")); err == nil {
				return network(addr)
			}
			if addr, err := netip.ParseAddrPort(last); err == nil {
				return network(addr.Addr())
			}
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.IPv6Unspecified() // a Unix socket's peers count as one
	}
	return network(addr)
}

func network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

// roughly says a wait as people do.
func roughly(d time.Duration) string {
	switch n := seconds(d); {
	case n == 1:
		return "a second"
	case n < 100:
		return strconv.Itoa(n) + " seconds"
	case n < 100*60:
		return strconv.Itoa((n+59)/60) + " minutes"
	default:
		return strconv.Itoa((n+3599)/3600) + " hours"
	}
}

// A class is a kind of request of which only so many are taken on at once: a
// flood of one kind must not starve the others.
type class struct {
	slots    chan struct{}
	deadline time.Duration
}

// newClass makes a class of n at once, each with a deadline, 0 for none. The
// deadline is sooner than the server's for writing, so that a late answer is
// still one.
func newClass(n int, deadline time.Duration) class {
	return class{make(chan struct{}, n), deadline}
}

// bound answers by h while there is room, and else at once by 503. The body is
// read before: who sends it a byte a second must not hold a place.
func (c class) bound(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1)) // one more, so that a longer one is seen to be
		if err != nil {
			return fmt.Errorf("%w: %w", twiml.ErrUnreadable, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		default:
			return errBusy
		}
		if c.deadline > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), c.deadline)
			defer cancel()
			r = r.WithContext(ctx)
		}
		return h(w, r)
	}
}
