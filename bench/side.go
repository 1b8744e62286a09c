package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A side is one of the two that are compared: a server, and how to tell what
// it costs.
type side struct {
	name   string
	addr   string // of the public listener
	ops    string // of the private one; the limit has none
	server *process
	cpu    func() (time.Duration, error) // of all processes that are part of it
}

// startLimit starts the limit, which texts by the same far side.
func (c *conductor) startLimit(ctx context.Context) (*side, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &side{name: "limit"}
	if s.addr, err = freeAddr(ctx); err != nil {
		return nil, err
	}
	if s.server, err = start(ctx, c.dir, s.name, nil, self, "limit", "-listen", s.addr, "-twilio", c.twilio); err != nil {
		return nil, err
	}
	s.cpu = s.server.cpu
	return s, s.server.ready(ctx, "http://"+s.addr+"/limit/mallocs")
}

// startService starts countersign as its user would, but for what stands in
// settings besides.
func (c *conductor) startService(ctx context.Context, name, database string, settings ...string) (*side, error) {
	s := &side{name: name}
	var err error
	if s.addr, err = freeAddr(ctx); err != nil {
		return nil, err
	}
	if s.ops, err = freeAddr(ctx); err != nil {
		return nil, err
	}
	env := append([]string{
		"PUBLIC_URL=" + publicURL, "TWILIO_ACCOUNT_SID=" + accountSID, "TWILIO_AUTH_TOKEN=" + authToken,
		"TWILIO_FROM_NUMBER=" + sender, "TWILIO_API_URL=" + c.twilio, "SECRET_KEY=" + secretKey,
		"DATABASE_URL=" + database, "LISTEN_ADDR=" + s.addr, "OPS_ADDR=" + s.ops,
		// A day's texts are sent in minutes. Each customer comes from another
		// address, so that the flood valve may stay as it is.
		"TEXTS_PER_DAY=100000000", "CLIENT_IP_HEADER=" + ipHeader,
	}, settings...)
	if s.server, err = start(ctx, c.dir, name, env, c.program, "serve"); err != nil {
		return nil, err
	}
	s.cpu = s.server.cpu
	return s, s.server.ready(ctx, "http://"+s.addr+"/readyz")
}

// stop ends the server. What it says of that is added to err.
func (s *side) stop(err *error) { *err = errors.Join(*err, s.server.stop()) }

// sqlite names a database of its own.
func (c *conductor) sqlite(name string) string { return "file:" + filepath.Join(c.dir, name+".db") }

func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// mallocs counts what the side has allocated so far.
func (s *side) mallocs(ctx context.Context) (float64, error) {
	if s.ops == "" {
		_, body, err := get(ctx, "http://"+s.addr+"/limit/mallocs")
		if err != nil {
			return 0, err
		}
		return strconv.ParseFloat(string(body), 64)
	}
	return s.metric(ctx, "go_memstats_mallocs_total")
}

// metric reads one of the service's metrics, which has no labels.
func (s *side) metric(ctx context.Context, name string) (float64, error) {
	_, body, err := get(ctx, "http://"+s.ops+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(body) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// liveHeap collects the service's garbage and returns what is left, in bytes.
func (s *side) liveHeap(ctx context.Context) (float64, error) {
	for range 2 { // what a finalizer held goes with the second
		status, _, err := get(ctx, "http://"+s.ops+"/debug/pprof/heap?gc=1")
		if err != nil || status != http.StatusOK {
			return 0, fmt.Errorf("collect garbage: status %d, %w", status, err)
		}
	}
	return s.metric(ctx, "go_memstats_heap_alloc_bytes")
}

// learn tells the limit what to say on a road.
func (s *side) learn(ctx context.Context, road string, a answer) error {
	a.Header = a.Header.Clone()
	for _, own := range []string{"Date", "Content-Length"} { // any server writes these itself
		a.Header.Del(own)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.addr+"/limit/answers/"+road, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the limit did not learn %s: %s", road, resp.Status)
	}
	return nil
}

// A round is what so many visits cost one side.
type round struct {
	visits  int
	cpu     time.Duration
	mallocs float64
	wall    time.Duration
	took    map[string][]time.Duration
	refused int // visits that the service had no time for
}

// perVisit is the CPU time of one visit.
func (r round) perVisit() time.Duration { return r.cpu / time.Duration(r.visits) }

// bill has a crowd make so many visits by walk, and returns what they cost, with
// what the side still had to do when all were answered.
func (s *side) bill(ctx context.Context, all crowd, visits int, walk func() error) (round, error) {
	mallocs, err := s.mallocs(ctx)
	if err != nil {
		return round{}, err
	}
	if err := s.rest(ctx); err != nil {
		return round{}, err
	}
	cpu, err := s.cpu()
	if err != nil {
		return round{}, err
	}
	began := time.Now()
	if err := walk(); err != nil {
		return round{}, fmt.Errorf("%s: %w", s.name, err)
	}
	r := round{visits: visits, wall: time.Since(began), took: all.took()}
	if err := s.rest(ctx); err != nil {
		return round{}, err
	}
	after, err := s.cpu()
	if err != nil {
		return round{}, err
	}
	r.cpu = after - cpu
	if r.mallocs, err = s.mallocs(ctx); err != nil {
		return round{}, err
	}
	r.mallocs -= mallocs
	return r, nil
}

// rest waits until a side does next to nothing: what it puts off until after
// its answers is part of their price.
func (s *side) rest(ctx context.Context) error {
	const look = 50 * time.Millisecond
	for range 40 {
		before, err := s.cpu()
		if err != nil {
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := s.cpu()
		if err != nil {
			return err
		}
		if after-before < look/25 {
			return nil
		}
	}
	return nil // it never rests: then that is what it costs
}

// profile begins a CPU profile of about that long, and returns what waits for
// its end.
func (s *side) profile(ctx context.Context, file string, about time.Duration) (wait func() error) {
	done := make(chan error, 1)
	go func() {
		status, body, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.ops, max(1, int(about.Seconds()))))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the profile: status %d", status)
		}
		if err == nil {
			err = os.WriteFile(file, body, 0o600)
		}
		done <- err
	}()
	return func() error { return <-done }
}
