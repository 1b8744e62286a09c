package handlers

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
)

func TestTheValve(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	v := newValve(flow.Rate{N: 2, Per: time.Hour})
	for _, tt := range []struct {
		name string
		from netip.Addr
		at   time.Duration
		wait time.Duration
	}{
		{"the first passes", a, 0, 0},
		{"the second passes", a, 10 * time.Minute, 0},
		{"the third is one too many", a, 20 * time.Minute, 40 * time.Minute},
		{"somebody else passes", b, 20 * time.Minute, 0},
		{"what was refused does not count", a, time.Hour - 1, 1},
		{"an hour after the first there is room", a, time.Hour, 0},
		{"but only for one", a, time.Hour, 10 * time.Minute},
	} {
		if got := v.pass(tt.from, began.Add(tt.at)); got != tt.wait {
			t.Errorf("%s: wait %v, want %v", tt.name, got, tt.wait)
		}
	}
}

// Nothing may be added to the longest span that can be set.
func TestTheValveHoldsForTheLongestSpan(t *testing.T) {
	from := netip.MustParseAddr("192.0.2.1")
	v := newValve(flow.Rate{N: 1, Per: math.MaxInt64})
	v.pass(netip.MustParseAddr("192.0.2.2"), began)
	v.pass(from, began.Add(time.Hour))
	for at, want := range map[time.Duration]time.Duration{
		2 * time.Hour:           math.MaxInt64 - time.Hour,
		time.Hour - time.Second: math.MaxInt64, // read the clock first, and got here last
	} {
		if got := v.pass(from, began.Add(at)); got != want {
			t.Errorf("after %v: wait %v, want %v", at, got, want)
		}
	}
}

// Never more than N in any span of that length, and never fewer if so many ask
// with a span of quiet before them.
func TestTheValveIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := flow.Rate{N: rapid.IntRange(1, 5).Draw(t, "n"), Per: time.Minute}
		v := newValve(rate)
		from := netip.MustParseAddr("192.0.2.1")
		var passed []time.Time
		now := began
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 40), 1, 60).Draw(t, "steps, in seconds") {
			now = now.Add(time.Duration(step) * time.Second)
			recent := 0
			for _, at := range passed {
				if at.Add(rate.Per).After(now) {
					recent++
				}
			}
			wait := v.pass(from, now)
			if (wait == 0) != (recent < rate.N) {
				t.Fatalf("%d passed in the last minute of %d, and the next waits %v", recent, rate.N, wait)
			}
			if wait == 0 {
				passed = append(passed, now)
				continue
			}
			if v.pass(from, now.Add(wait-1)) == 0 {
				t.Fatal("was told to wait longer than needed")
			}
		}
	})
}

func TestTheValvesMemoryIsBounded(t *testing.T) {
	v := newValve(flow.Rate{N: 10_000, Per: time.Hour})
	for i := range 5000 {
		v.pass(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), began)
	}
	if got := v.seen.Len(); got > 1024 {
		t.Errorf("%d addresses are remembered", got)
	}
}

func TestTooManyRequestsOfAnAddress(t *testing.T) {
	set := func(c *Config) { c.RequestsPerIP = flow.Rate{N: 2, Per: time.Hour} }
	for _, tt := range []struct {
		name  string
		path  func(id string) string
		form  []string
		order bool // the request needs an order
	}{
		{"Get PIN", func(string) string { return "/pin" }, []string{"mobile_number", theirs}, false},
		{"Place order without a PIN", func(string) string { return "/orders" }, []string{"mobile_number", theirs}, false},
		{"a resend", func(id string) string { return "/orders/" + id + "/resend" }, nil, true},
		{"a changed number", func(id string) string { return "/orders/" + id + "/number" }, []string{"mobile_number", theirs}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, set)
			v := s.visitor()
			id, n := "", 2
			if tt.order {
				id, n = v.order().String(), 1 // which was the other
			}
			for range n {
				if res := v.post(tt.path(id), tt.form...); res.StatusCode == http.StatusTooManyRequests && !tt.order {
					t.Fatal("refused too soon")
				}
			}
			res := v.post(tt.path(id), tt.form...)
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "3600" {
				t.Errorf("got %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
			}
			if !s.watcher.saw("refused ip") {
				t.Error("ops do not see it")
			}
			s.clock(time.Hour)
			if res := v.post("/pin", "mobile_number", theirs); res.StatusCode != http.StatusSeeOther {
				t.Errorf("an hour later: %d", res.StatusCode)
			}
		})
	}

	t.Run("does not keep anyone from giving a PIN", func(t *testing.T) {
		s := open(t, set)
		v := s.visitor()
		id := v.order().String()
		v.order()
		for _, post := range []struct {
			path string
			form []string
		}{
			{"/orders/" + id + "/pin", []string{"pin", "000000"}},
			{"/orders", []string{"order", id, "pin", "000000"}},
			{"/orders", []string{"order", id}},
		} {
			if res := v.post(post.path, post.form...); res.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("POST %s: %d", post.path, res.StatusCode)
			}
		}
	})
	t.Run("does not read what is refused", func(t *testing.T) {
		s := open(t, set)
		v := s.visitor()
		v.order()
		v.order()
		if res := v.send(http.MethodPost, "/pin", "image/png", "x"); res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

func TestClientIP(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		values       []string
		peer, want   string
	}{
		{"the peer, without a proxy", "", nil, "192.0.2.1:1234", "192.0.2.1"},
		{"the peer, whatever it says of itself", "", []string{"198.51.100.9"}, "192.0.2.1:1234", "192.0.2.1"},
		{"what the proxy says", "Fly-Client-IP", []string{"198.51.100.9"}, "192.0.2.1:1234", "198.51.100.9"},
		{"what the proxy added, not what the client began with", "X-Forwarded-For", []string{"203.0.113.5, 198.51.100.9"}, "192.0.2.1:1", "198.51.100.9"},
		{"the last of several headers", "X-Forwarded-For", []string{"203.0.113.5", "198.51.100.9"}, "192.0.2.1:1", "198.51.100.9"},
		{"the peer, if the proxy says nothing", "Fly-Client-IP", nil, "192.0.2.1:1234", "192.0.2.1"},
		{"what the proxy says with a port", "X-Forwarded-For", []string{"198.51.100.9:4711"}, "192.0.2.1:1", "198.51.100.9"},
		{"what the proxy says in brackets", "X-Forwarded-For", []string{"[2001:db8:1:2:ffff::1]:4711"}, "192.0.2.1:1", "2001:db8:1:2::"},
		{"the peer, if the proxy says nonsense", "Fly-Client-IP", []string{"unknown"}, "192.0.2.1:1234", "192.0.2.1"},
		{"a whole /64", "", nil, "[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::"},
		{"a whole /64, told by the proxy", "Fly-Client-IP", []string{"2001:db8:1:2:ffff::1"}, "192.0.2.1:1", "2001:db8:1:2::"},
		{"IPv4 as IPv6", "", nil, "[::ffff:192.0.2.1]:1234", "192.0.2.1"},
		{"a link's address, without the link", "", nil, "[fe80::1%eth0]:1234", "fe80::"},
		{"a Unix socket", "", nil, "@", "::"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			name := tt.header
			if name == "" {
				name = "X-Forwarded-For"
			}
			r.Header[http.CanonicalHeaderKey(name)] = tt.values
			if got := clientIP(r, tt.header).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Nothing that a client sends ahead of what the proxy adds changes its address.
func FuzzClientIP(f *testing.F) {
	f.Add("203.0.113.5")
	f.Add(`1.2.3.4,"`)
	f.Fuzz(func(t *testing.T, claim string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header["X-Forwarded-For"] = []string{claim + ", 198.51.100.9"}
		if got := clientIP(r, "X-Forwarded-For").String(); got != "198.51.100.9" {
			t.Errorf("%q made it %s", claim, got)
		}
	})
}

func TestRoughly(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{1, "a second"}, {time.Second + 1, "2 seconds"}, {99 * time.Second, "99 seconds"},
		{100 * time.Second, "2 minutes"}, {time.Hour, "60 minutes"}, {100 * time.Minute, "2 hours"}, {24 * time.Hour, "24 hours"},
	} {
		if got := roughly(tt.d); got != tt.want {
			t.Errorf("roughly(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestAFloodOfOneKindIsShed(t *testing.T) {
	s := open(t)
	s.desk.hold = make(chan struct{})
	s.hooks.slots <- struct{}{} // so that it is in use
	for len(s.hooks.slots) < cap(s.hooks.slots) {
		s.hooks.slots <- struct{}{}
	}
	v := s.visitor()
	res := v.hook("/webhooks/twilio/message", inbound("Body", "482913"))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a webhook too many: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if !s.watcher.saw("webhook message error") {
		t.Errorf("ops do not see it: %q", s.watcher.notes)
	}
	if id := v.order(); fmt.Sprint(id) == "" {
		t.Error("others suffer")
	}
}

// A reader who looks at the class it is read for.
type slowBody struct{ look func() }

func (b slowBody) Read([]byte) (int, error) {
	b.look()
	return 0, io.EOF
}

func TestASlowSenderHoldsNoPlace(t *testing.T) {
	c := newClass(1, time.Second)
	read, answered := false, false
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", slowBody{func() {
		read = true
		if len(c.slots) != 0 {
			t.Error("a place is taken while the body is still coming")
		}
	}})
	err := c.bound(func(http.ResponseWriter, *http.Request) error {
		answered = true
		if len(c.slots) != 1 {
			t.Error("no place is taken while the request is answered")
		}
		return nil
	})(httptest.NewRecorder(), r)
	if err != nil || !read || !answered {
		t.Errorf("read %t, answered %t: %v", read, answered, err)
	}
	if len(c.slots) != 0 {
		t.Error("the place is kept")
	}
}
