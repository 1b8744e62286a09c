package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/twiml"
)

// A caller asks a server directly, each time by a connection of its own, and
// knows whether a post was accepted: whoever answers "100 Continue" has begun
// to read it.
type caller struct {
	*http.Client
	town *town
	addr string
}

// caller returns one with a browser's cookies, or none for nil.
func (s *server) caller(b *browser) *caller {
	c := &caller{town: s.town, addr: s.addr, Client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute},
	}}
	if b != nil {
		c.Jar = b.client.Jar
	}
	return c
}

// A called is what came of a post.
type called struct {
	answer
	err      error
	accepted bool
	what     string
}

// post posts a form, and tells when it is accepted.
func (c *caller) post(ctx context.Context, path string, form url.Values, accepted func()) called {
	got := called{what: path}
	var was atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() {
		was.Store(true)
		if accepted != nil {
			accepted()
		}
	}})
	public, err := url.Parse(c.town.front.URL)
	if err != nil {
		return called{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.town.front.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return called{err: err}
	}
	if c.Jar != nil {
		for _, cookie := range c.Jar.Cookies(public) {
			req.AddCookie(cookie)
		}
	}
	req.URL.Host, req.Host = c.addr, public.Host
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Expect", "100-continue")
	if strings.HasPrefix(path, "/webhooks/") {
		req.Header.Set(twiml.SignatureHeader, twiml.Sign(c.town.set["TWILIO_AUTH_TOKEN"], c.town.front.URL+path, form))
	}
	client := http.Client{Transport: c.Transport, CheckRedirect: c.CheckRedirect}
	got.answer, got.err = ask(&client, req)
	got.accepted = was.Load()
	return got
}

// order asks for a PIN on a number that nobody has had.
func (c *caller) order(ctx context.Context, accepted func()) called {
	return c.post(ctx, "/pin", url.Values{
		"mobile_number": {c.town.number()}, "name": {"Ada"}, "address": {"here"}, "items": {"tea"},
	}, accepted)
}

// hear tells of a customer's text, as Twilio does.
func (c *caller) hear(ctx context.Context, from, body string, accepted func()) called {
	return c.post(ctx, "/webhooks/twilio/message", url.Values{
		"AccountSid": {c.town.set["TWILIO_ACCOUNT_SID"]}, "MessageSid": {newSid()}, "NumMedia": {"0"},
		"From": {from}, "To": {c.town.set["TWILIO_FROM_NUMBER"]}, "Body": {body},
	}, accepted)
}

// placed is an order with a browser of its own.
func (w *town) placed(ctx context.Context) (*browser, string, error) {
	b, err := newBrowser(w.front.URL, strings.TrimPrefix(w.front.URL, "http://"))
	if err != nil {
		return nil, "", err
	}
	number := w.number()
	a, err := b.visit(ctx, visit{method: http.MethodPost, path: "/pin", json: true, fields: url.Values{
		"mobile_number": {number}, "name": {"Ada"}, "address": {"here"}, "items": {"tea"},
	}})
	b.note(a)
	if err == nil && a.status != http.StatusAccepted {
		err = fmt.Errorf("no PIN is texted:\n%s", a)
	}
	return b, number, err
}

// TestStoppingUnderLoad stops the service while requests are under way and
// more texts wait than it has workers: who was accepted is answered, what was
// begun is settled, and what waits goes back, for the next start to text at
// once.
func TestStoppingUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newTown(t, "", 1)
	s := w.servers[0]
	s.program = buildService(t)
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	b, _, err := w.placed(ctx)
	if err != nil {
		t.Fatal(err)
	}

	// Live pages.
	var streams sync.WaitGroup
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/orders/"+b.told()+"/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, cookie := range b.client.Jar.Cookies(mustURL(t, w.front.URL)) {
			req.AddCookie(cookie)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		streams.Go(func() {
			defer func() { _ = resp.Body.Close() }()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("a live page broke off: %v", err)
			}
		})
	}

	// Twilio takes five seconds for an answer, and 64 are waited for at once.
	const orders = 100
	if err := w.faults(1, []map[string]any{{"kind": "slow-body", "delay": "8ms"}}); err != nil {
		t.Fatal(err)
	}
	var (
		load     sync.WaitGroup
		mu       sync.Mutex
		all      []called
		begun    atomic.Int64 // orders accepted
		signaled atomic.Bool
		underWay atomic.Int64 // accepted before the signal, and answered after it
	)
	post := func(do func(accepted func()) called) bool {
		before := false
		got := do(func() { before = !signaled.Load() })
		if before && signaled.Load() {
			underWay.Add(1)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, got)
		return got.err == nil
	}
	for range orders {
		load.Go(func() {
			post(func(accepted func()) called {
				return s.caller(nil).order(ctx, func() { begun.Add(1); accepted() })
			})
		})
	}
	for range 4 { // until nobody is there any more
		load.Go(func() {
			c := s.caller(nil)
			for post(func(accepted func()) called { return c.hear(ctx, w.number(), "STATUS", accepted) }) {
				pause(ctx, 5*time.Millisecond)
			}
		})
		load.Go(func() {
			c := s.caller(b)
			for post(func(accepted func()) called {
				return c.post(ctx, "/orders/"+b.told()+"/pin", url.Values{"pin": {"12"}}, accepted)
			}) {
				pause(ctx, 5*time.Millisecond)
			}
		})
	}
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := until(ctx, func() (bool, error) {
		var written int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM messages`).Scan(&written)
		return written == orders+1 && begun.Load() == orders, err
	}); err != nil {
		t.Fatalf("the orders are not taken: %v", err)
	}

	signaled.Store(true)
	began := time.Now()
	if err := s.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It says that it stops, then shuts its door, and is not ready again.
	unready, told := false, false
	for !s.proc.ended() {
		a, err := fetch(ctx, "http://"+s.addr+"/readyz")
		ready := err == nil && a.status == http.StatusOK
		if unready && ready {
			t.Error("it was ready again while it stopped")
		}
		unready = unready || !ready
		told = told || err == nil && a.status == http.StatusServiceUnavailable && strings.Contains(a.text, "stopping")
		if time.Since(began) > patience {
			t.Fatal("it does not end")
		}
		pause(ctx, 10*time.Millisecond)
	}
	took := time.Since(began)
	if !told {
		t.Error("nobody could read that it was stopping")
	}
	if s.proc.err != nil {
		t.Errorf("it ended badly: %v", s.proc.err)
	}
	if took > stopWithin {
		t.Errorf("it took %v", took)
	}
	load.Wait()
	streams.Wait()
	for _, got := range all {
		switch {
		case !got.accepted: // it came to a door that was shut
		case got.err != nil:
			t.Errorf("%s was accepted and not answered: %v", got.what, got.err)
		case got.status >= http.StatusInternalServerError:
			t.Errorf("%s was accepted and answered %d", got.what, got.status)
		}
	}
	if underWay.Load() == 0 {
		t.Error("no request was under way when it was stopped")
	}

	var leased, waiting, early int
	now := time.Now().UnixMilli()
	if err := db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE state = 'leased'), count(*) FILTER (WHERE state = 'waiting'),
		count(*) FILTER (WHERE state = 'waiting' AND unknown = 0 AND due <= ?) FROM messages`, now).Scan(&leased, &waiting, &early); err != nil {
		t.Fatal(err)
	}
	if leased > 0 || waiting == 0 || early < waiting {
		t.Errorf("%d texts are leased by nobody, %d wait, %d of them due at once", leased, waiting, early)
	}
	if err := w.mend(); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
	if err := w.settled(); err != nil {
		t.Fatalf("the texts that waited are not texted: %v", err)
	}
	again := time.Since(restarted)
	if again >= flow.Lease {
		t.Errorf("the texts that waited were texted after %v, as if their lease had to run out", again)
	}
	texts, err := w.record("")
	if err != nil {
		t.Fatal(err)
	}
	to := map[string]int{}
	for _, text := range texts {
		if text.Direction == "outbound-api" {
			to[text.To]++
		}
	}
	for _, n := range to {
		if n != 1 {
			t.Errorf("an order was texted %d times", n)
		}
	}
	if len(to) != orders+1 {
		t.Errorf("%d orders were texted, not %d", len(to), orders+1)
	}
	t.Logf("%d requests, %d of them under way at the signal; stopped in %v; %d texts waited and were texted %v after the next start",
		len(all), underWay.Load(), took.Round(time.Millisecond), waiting, again.Round(time.Millisecond))
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ended badly: %v", err)
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
