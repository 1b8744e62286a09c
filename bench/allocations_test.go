package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/handlers"
	"github.com/countersign/countersign/internal/ledger"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/twiml"
)

var update = flag.Bool("update", false, "write what the roads allocate to docs/bench/allocs.txt")

// baseline is what the roads allocated when it was last written.
const baseline = "../docs/bench/allocs.txt"

// TestAllocations holds each road to what it allocated before, and names those
// that grew. Unlike time, that is the same on every machine.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		again := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run=^TestAllocations$", ".")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("without the race detector: %v\n%s", err, out)
		}
		return
	}
	got := newCounter(t).count(t)
	if *update {
		write(t, got)
		return
	}
	for _, grown := range grew(read(t), got) {
		t.Error(grown)
	}
	if t.Failed() {
		t.Logf("if it is worth that: make bench-baseline (this is %s)", runtime.Version())
	}
}

func TestGrew(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after map[string]int
		want          []string
	}{
		{"nothing changed", map[string]int{"a": 100}, map[string]int{"a": 100}, nil},
		{"less than before", map[string]int{"a": 100}, map[string]int{"a": 90}, nil},
		{"as little as may be chance", map[string]int{"a": 100}, map[string]int{"a": 102}, nil},
		{"more than that", map[string]int{"a": 100}, map[string]int{"a": 103}, []string{"a allocates 103 times, and did 100 times"}},
		{"one more of few", map[string]int{"a": 10}, map[string]int{"a": 11}, []string{"a allocates 11 times, and did 10 times"}},
		{"the one that grew of two", map[string]int{"a": 9, "b": 9}, map[string]int{"a": 9, "b": 10}, []string{"b allocates 10 times, and did 9 times"}},
		{"a road that is new", map[string]int{}, map[string]int{"a": 1}, []string{"a is not in " + baseline}},
		{"a road that is gone", map[string]int{"a": 1}, map[string]int{}, []string{"a is in " + baseline + " and is not measured"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := grew(tt.before, tt.after); !slices.Equal(got, tt.want) {
				t.Errorf("grew = %q, want %q", got, tt.want)
			}
		})
	}
}

// grew names the roads that allocate more than they did, by more than one part
// in fifty: a map that grows at another moment is no regression.
func grew(before, after map[string]int) []string {
	var all []string
	for _, road := range slices.Sorted(maps.Keys(after)) {
		switch was, known := before[road]; {
		case !known:
			all = append(all, road+" is not in "+baseline)
		case after[road]-was > was/50:
			all = append(all, fmt.Sprintf("%s allocates %d times, and did %d times", road, after[road], was))
		}
	}
	for _, road := range slices.Sorted(maps.Keys(before)) {
		if _, measured := after[road]; !measured {
			all = append(all, road+" is in "+baseline+" and is not measured")
		}
	}
	return all
}

func read(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(baseline)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		road, count, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if counts[road], err = strconv.Atoi(strings.TrimSpace(count)); err != nil {
			t.Fatalf("%s: %q: %v", baseline, line, err)
		}
	}
	return counts
}

func write(t *testing.T, counts map[string]int) {
	t.Helper()
	var text bytes.Buffer
	fmt.Fprintf(&text, "# Allocations of one request on each road, on SQLite. Made by make bench-baseline, %s.\n", runtime.Version())
	for _, road := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "%s\t%d\n", road, counts[road])
	}
	if err := os.MkdirAll(filepath.Dir(baseline), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(baseline, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// counted is how many requests a road's count is the mean of.
const counted = 200

// A counter is the service, but for what texts, in this process, with customers
// who have asked.
type counter struct {
	handler http.Handler
	cookie  browser
	texts   map[customer]text
	orders  map[customer]string
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	rows, err := ledger.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "allocations.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	})
	m := metrics.New(prometheus.NewRegistry(), metrics.Config{Version: "bench", Countries: []string{"US"}})
	cache := ledger.Cached(m.Ledger(rows), 100_000, 24*time.Hour)
	cache.Lookup = m.CacheLookup
	keys, err := flow.NewKeyring(flow.Key(secretKey))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := flow.LoadTexts(nil, "", "Shop", publicHost)
	if err != nil {
		t.Fatal(err)
	}
	public, err := url.Parse(publicURL)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := twiml.NewVerifier(authToken)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) //nolint:sloglint // a line is made, as it would be
	desk := flow.NewDesk(flow.Config{
		Ledger: cache, Alone: true, Watcher: m, Keys: keys, Texts: texts, Log: log, Now: time.Now, Nudge: func(context.Context, flow.Message) {},
		Rules: flow.Rules{
			Shop: "Shop", Host: publicHost, Sender: sender, Region: "US", Countries: []string{"US"}, Locale: "en",
			PINLength: 6, PINTTL: 24 * time.Hour, OrderTTL: 72 * time.Hour,
			Guard: flow.Guard{PerNumber: flow.Rate{N: 5, Per: 24 * time.Hour}, PerDay: 2000},
		},
	})
	server, err := handlers.New(handlers.Config{
		Desk: desk, Watcher: m, Verifier: verifier, AccountSID: accountSID, PublicURL: public, Sender: sender,
		CookieKeys: [][]byte{bytes.Repeat([]byte{1}, flow.MinKey)}, ClientIPHeader: ipHeader,
		RequestsPerIP: flow.Rate{N: 1, Per: time.Hour},
		Shop:          "Shop", Region: "US", PINLength: 6,
		Ready: func(context.Context) error { return nil }, Log: log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{handler: server.Handler(), texts: map[customer]text{}, orders: map[customer]string{}}
	w := c.answer(t, browser("").get("form", "/"))
	cookie, _, _ := strings.Cut(w.header.Get("Set-Cookie"), ";")
	c.cookie = browser(cookie)
	c.seed(t, cache, keys)
	return c
}

// seed writes what the customers have asked for.
func (c *counter) seed(t *testing.T, l flow.Ledger, keys *flow.Keyring) {
	t.Helper()
	// The cookie's value begins with the browser's id.
	_, value, _ := strings.Cut(string(c.cookie), "=")
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	b := flow.Browser(raw[:len(flow.Browser{})])
	var ch flow.Change
	for n := range customer(2 * (counted + 1)) {
		made, err := order(&ch, n, b, time.Now(), 72*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pin, _ := keys.PIN(made.ID, made.Line.Number, made.Serial)
		c.texts[n] = text{pin: pin.Digits(), sid: messageSID("seed", int(n)), callback: "/webhooks/twilio/status/" + made.Message.String()}
		c.orders[n] = "/orders/" + made.ID.String()
	}
	if err := l.Save(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
}

// A written is an answer that costs next to nothing to write.
type written struct {
	header http.Header
	status int
}

func (w *written) Header() http.Header { return w.header }

func (w *written) WriteHeader(status int) { w.status = status }

func (w *written) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return len(b), nil
}

func (c *counter) answer(t *testing.T, wire []byte) *written {
	t.Helper()
	w := &written{header: make(http.Header, 16)}
	c.handler.ServeHTTP(w, request(t, wire))
	return w
}

// request is what a server makes of those bytes.
func request(t *testing.T, wire []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:1"
	return r
}

// count counts what a request of each road allocates, which is warm by then.
func (c *counter) count(t *testing.T) map[string]int {
	counts := map[string]int{}
	for _, road := range []struct {
		name string
		want int
		make func(who customer) []byte
	}{
		{"form page", http.StatusOK, func(customer) []byte { return c.cookie.get("", "/") }},
		{"POST /pin refused by the flood valve", http.StatusTooManyRequests, func(who customer) []byte {
			return c.cookie.post("", "/pin", floodIP, who.order())
		}},
		{"webhook with a wrong PIN", http.StatusOK, func(who customer) []byte {
			return who.inbound("", messageSID("wrong", int(who)), wrong(c.texts[who].pin))
		}},
		{"webhook repeated", http.StatusOK, func(who customer) []byte {
			return who.inbound("", messageSID("wrong", int(who)), wrong(c.texts[who].pin))
		}},
		{"status callback", http.StatusNoContent, func(who customer) []byte { return who.receipt("", c.texts[who]) }},
		{"web check, wrong PIN", http.StatusUnprocessableEntity, func(who customer) []byte {
			form := who.order()
			form.Set("pin", wrong(c.texts[who].pin))
			return c.cookie.post("", c.orders[who]+"/pin", who.ip(), form)
		}},
		{"webhook that confirms", http.StatusOK, func(who customer) []byte {
			return who.inbound("", messageSID("right", int(who)), c.texts[who].pin)
		}},
	} {
		// The first half warm the road up: statements, pools, the cache.
		for who := range customer(counted + 1) {
			c.answer(t, road.make(who))
		}
		var requests []*http.Request
		var answers []*written
		for who := range customer(counted + 1) {
			requests = append(requests, request(t, road.make(who+counted+1)))
			answers = append(answers, &written{header: make(http.Header, 16)})
		}
		counts[road.name] = allocations(func(n int) { c.handler.ServeHTTP(answers[n], requests[n]) })
		for n, w := range answers {
			if w.status != road.want {
				t.Fatalf("%s: request %d was answered %d, want %d", road.name, n, w.status, road.want)
			}
		}
	}
	return counts
}

// allocations is the mean of what do allocates, as [testing.AllocsPerRun] has
// it. Nothing is collected meanwhile: pools would have to be filled again.
func allocations(do func(n int)) int {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	n := -1
	return int(testing.AllocsPerRun(counted, func() { n++; do(n) }))
}
