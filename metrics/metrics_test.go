package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/metrics"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func fresh() (*metrics.Metrics, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	return metrics.New(reg, metrics.Config{
		Version:   "v1.2.3",
		Countries: []string{"US", "SE"},
		Prices:    map[string]float64{"US": 0.01, "ZZ": 0.5},
	}), reg
}

// scrape returns what /metrics says to a scraper that would rather have
// OpenMetrics.
func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// ours returns the service's own series, as scraped, without build_info, which
// always is 1.
func ours(t testing.TB, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	series := make(map[string]float64)
	for line := range strings.Lines(scrape(t, m)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "countersign_"), " ")
		if strings.HasPrefix(line, "countersign_") && !strings.HasPrefix(name, "build_info") {
			// Label values of ours hold no space.
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("cannot read %q: %v", line, err)
			}
			series[name] = v
		}
	}
	return series
}

// contract reads the metrics and their labels from the page that promises them
// to dashboards elsewhere.
func contract(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	promised := make(map[string][]string)
	word := regexp.MustCompile("`(\\w+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(section, -1) {
		labels := []string{}
		for _, l := range word.FindAllStringSubmatch(row[2], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		promised["countersign_"+row[1]] = labels
	}
	if len(promised) < 20 {
		t.Fatalf("found only %d metrics in the contract", len(promised))
	}
	return promised
}

func TestContract(t *testing.T) {
	m, reg := fresh()
	m.Request("/", "GET", 200, time.Second)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]string)
	for _, f := range families {
		got[f.GetName()] = []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			got[f.GetName()] = append(got[f.GetName()], l.GetName())
		}
	}
	for name, want := range contract(t) {
		if name == "countersign_build_info" {
			want = []string{"goversion", "version"} // the contract leaves these open
		}
		if labels, ok := got[name]; !ok || !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %q (there: %t), want %q", name, labels, ok, want)
		}
	}
	for _, name := range []string{"go_goroutines", "go_build_info", "process_start_time_seconds"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestLint(t *testing.T) {
	m, reg := fresh()
	m.Request("/", "GET", 200, time.Second)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEverySeriesStartsAtZero(t *testing.T) {
	m, _ := fresh()
	series := ours(t, m)
	for name, value := range series {
		if value != 0 {
			t.Errorf("%s starts at %v", name, value)
		}
		if strings.HasPrefix(name, "http_") {
			t.Errorf("%s is there before any request", name)
		}
	}
	for _, want := range []string{
		`texts_total{kind="pin",outcome="failed"}`,
		`texts_total{kind="try_again",outcome="answered"}`,
		`pin_checks_total{channel="reply",result="malformed"}`,
		`text_errors_total{action="unreachable",class="config"}`,
		`text_receipts_total{status="undelivered"}`,
		`text_spend_usd_total{country="SE"}`,
		`text_spend_usd_total{country="ZZ"}`,
		`orders_total{state="locked"}`,
		`orders_ended_total{country="US",outcome="lapsed"}`,
		`guard_refusals_total{reason="day"}`,
		`webhooks_total{hook="status",result="bad_signature"}`,
		`confirmation_seconds_bucket{channel="reply",le="300"}`,
		`delivery_seconds_bucket{le="30"}`,
		`text_accept_seconds_bucket{le="3"}`,
		`outbox_depth{state="waiting"}`,
		`pin_cache_lookups_total{result="miss"}`,
		`database_waits_total{pool="write"}`,
	} {
		if _, ok := series[want]; !ok {
			t.Errorf("%s is not there from the start", want)
		}
	}
}

// What happened, as it is told, and the series that must rise, by how much.
// No other may.
func TestCounting(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*metrics.Metrics)
		want map[string]float64
	}{
		{"a PIN that is asked for counts under its road",
			func(m *metrics.Metrics) { m.Issued(flow.Reply) },
			map[string]float64{`pins_issued_total{channel="reply"}`: 1}},
		{"a miss counts under its road",
			func(m *metrics.Metrics) { m.Checked(flow.Web, flow.Missed) },
			map[string]float64{`pin_checks_total{channel="web",result="missed"}`: 1}},
		{"what is not a check is other",
			func(m *metrics.Metrics) { m.Checked(flow.Reply, flow.Lapse) },
			map[string]float64{`pin_checks_total{channel="other",result="other"}`: 1}},
		{"an order counts into its state",
			func(m *metrics.Metrics) { m.Entered(flow.Unreachable) },
			map[string]float64{`orders_total{state="unreachable"}`: 1}},
		{"an order that lapses ends and takes no time to confirm",
			func(m *metrics.Metrics) { m.Ended("SE", flow.Lapsed, flow.Self, time.Hour) },
			map[string]float64{`orders_ended_total{country="SE",outcome="lapsed"}`: 1}},
		{"a confirmation is timed by its road",
			func(m *metrics.Metrics) { m.Ended("US", flow.Confirmed, flow.Web, 4*time.Hour) },
			map[string]float64{
				`orders_ended_total{country="US",outcome="confirmed"}`:   1,
				`confirmation_seconds_count{channel="web"}`:              1,
				`confirmation_seconds_sum{channel="web"}`:                4 * 3600,
				`confirmation_seconds_bucket{channel="web",le="14400"}`:  1,
				`confirmation_seconds_bucket{channel="web",le="86400"}`:  1,
				`confirmation_seconds_bucket{channel="web",le="259200"}`: 1,
				`confirmation_seconds_bucket{channel="web",le="+Inf"}`:   1,
			}},
		{"a country that we do not text is ZZ",
			func(m *metrics.Metrics) { m.Ended("BR", flow.Declined, flow.Reply, time.Hour) },
			map[string]float64{`orders_ended_total{country="ZZ",outcome="declined"}`: 1}},
		{"a refusal counts under its reason",
			func(m *metrics.Metrics) { m.Refused(flow.ReasonNumber) },
			map[string]float64{`guard_refusals_total{reason="number"}`: 1}},
		{"an answer is a text without a price",
			func(m *metrics.Metrics) { m.Answered(flow.AnswerHint) },
			map[string]float64{`texts_total{kind="hint",outcome="answered"}`: 1}},
		{"an accepted text is billed by the segment",
			func(m *metrics.Metrics) { m.Texted(flow.KindPIN, flow.Accepted, 2, "US", 6*time.Second) },
			map[string]float64{
				`texts_total{kind="pin",outcome="accepted"}`: 1,
				`text_segments_total{country="US"}`:          2,
				`text_spend_usd_total{country="US"}`:         0.02,
				`text_accept_seconds_count`:                  1,
				`text_accept_seconds_sum`:                    6,
				`text_accept_seconds_bucket{le="8"}`:         1,
				`text_accept_seconds_bucket{le="+Inf"}`:      1,
			}},
		{"a text found at Twilio is billed but not timed",
			func(m *metrics.Metrics) { m.Texted(flow.KindPIN, flow.Accepted, 1, "US", 0) },
			map[string]float64{
				`texts_total{kind="pin",outcome="accepted"}`: 1,
				`text_segments_total{country="US"}`:          1,
				`text_spend_usd_total{country="US"}`:         0.01,
			}},
		{"a country without a price costs what ZZ does",
			func(m *metrics.Metrics) { m.Texted(flow.KindPINAmount, flow.Accepted, 1, "SE", 0) },
			map[string]float64{
				`texts_total{kind="pin_amount",outcome="accepted"}`: 1,
				`text_segments_total{country="SE"}`:                 1,
				`text_spend_usd_total{country="SE"}`:                0.5,
			}},
		{"a failed text is not billed",
			func(m *metrics.Metrics) { m.Texted(flow.KindPIN, flow.Failed, 1, "US", time.Second) },
			map[string]float64{`texts_total{kind="pin",outcome="failed"}`: 1}},
		{"a dropped text is not billed",
			func(m *metrics.Metrics) { m.Texted(flow.KindPIN, flow.Dropped, 1, "US", 0) },
			map[string]float64{`texts_total{kind="pin",outcome="dropped"}`: 1}},
		{"a text of unknown outcome waits",
			func(m *metrics.Metrics) { m.Texted(flow.KindPIN, flow.Leased, 1, "US", 8*time.Second) },
			map[string]float64{`texts_total{kind="pin",outcome="waiting"}`: 1}},
		{"an error counts with what is done about it",
			func(m *metrics.Metrics) { m.TextFailed(flow.ClassOptedOut, flow.ActionOptOut) },
			map[string]float64{`text_errors_total{action="opt_out",class="opted_out"}`: 1}},
		{"a delivery on the promised second keeps the promise",
			func(m *metrics.Metrics) { m.Received(flow.StatusDelivered, 30*time.Second) },
			map[string]float64{
				`text_receipts_total{status="delivered"}`: 1,
				`delivery_seconds_count`:                  1,
				`delivery_seconds_sum`:                    30,
				`delivery_seconds_bucket{le="30"}`:        1,
				`delivery_seconds_bucket{le="60"}`:        1,
				`delivery_seconds_bucket{le="120"}`:       1,
				`delivery_seconds_bucket{le="300"}`:       1,
				`delivery_seconds_bucket{le="900"}`:       1,
				`delivery_seconds_bucket{le="3600"}`:      1,
				`delivery_seconds_bucket{le="+Inf"}`:      1,
			}},
		{"a bad receipt is no delivery",
			func(m *metrics.Metrics) { m.Received(flow.StatusUndelivered, time.Second) },
			map[string]float64{`text_receipts_total{status="undelivered"}`: 1}},
		{"a status that Twilio may add is other",
			func(m *metrics.Metrics) { m.Received("partially_delivered", time.Second) },
			map[string]float64{`text_receipts_total{status="other"}`: 1}},
		{"a forged webhook counts under its hook",
			func(m *metrics.Metrics) { m.Webhook(metrics.HookMessage, metrics.ResultBadSignature) },
			map[string]float64{`webhooks_total{hook="message",result="bad_signature"}`: 1}},
		{"a cache hit", func(m *metrics.Metrics) { m.CacheLookup(true) },
			map[string]float64{`pin_cache_lookups_total{result="hit"}`: 1}},
		{"a cache miss", func(m *metrics.Metrics) { m.CacheLookup(false) },
			map[string]float64{`pin_cache_lookups_total{result="miss"}`: 1}},
		{"the cache is asked for its size", func(m *metrics.Metrics) { m.CacheEntries(func() int { return 7 }) },
			map[string]float64{`pin_cache_entries`: 7}},
		{"the database's pools are asked how they fare",
			func(m *metrics.Metrics) {
				m.Pools(func() map[string]metrics.Pool {
					return map[string]metrics.Pool{"read": {Most: 4, Busy: 3, Idle: 1, Waits: 5, Waited: 1500 * time.Millisecond}}
				})
			},
			map[string]float64{
				`database_connections{pool="read",state="busy"}`: 3,
				`database_connections{pool="read",state="idle"}`: 1,
				`database_connections_limit{pool="read"}`:        4,
				`database_waits_total{pool="read"}`:              5,
				`database_wait_seconds_total{pool="read"}`:       1.5,
			}},
		{"an open breaker", func(m *metrics.Metrics) { m.BreakerOpen(true) },
			map[string]float64{`breaker_open`: 1}},
		{"a breaker closed again", func(m *metrics.Metrics) { m.BreakerOpen(true); m.BreakerOpen(false) },
			nil},
		{"a census sums the open orders and ages the oldest text",
			func(m *metrics.Metrics) {
				m.Describe(flow.Census{
					Open:      map[flow.State]int{flow.Asked: 2, flow.Locked: 3},
					Outbox:    map[flow.MessageState]int{flow.Leased: 4, flow.Waiting: 5},
					OldestDue: noon.Add(-time.Minute),
				}, noon)
			},
			map[string]float64{
				`open_orders`:                   5,
				`outbox_depth{state="leased"}`:  4,
				`outbox_depth{state="waiting"}`: 5,
				`outbox_oldest_seconds`:         60,
				`census_timestamp_seconds`:      float64(noon.Unix()),
			}},
		{"a text that is due later is not late",
			func(m *metrics.Metrics) {
				m.Describe(flow.Census{Outbox: map[flow.MessageState]int{flow.Leased: 1}, OldestDue: noon.Add(time.Minute)}, noon)
			},
			map[string]float64{`outbox_depth{state="leased"}`: 1, `census_timestamp_seconds`: float64(noon.Unix())}},
		{"a state that emptied falls back to zero",
			func(m *metrics.Metrics) {
				m.Describe(flow.Census{Outbox: map[flow.MessageState]int{flow.Waiting: 1}, OldestDue: noon}, noon.Add(time.Hour))
				m.Describe(flow.Census{}, noon)
			},
			map[string]float64{`census_timestamp_seconds`: float64(noon.Unix())}},
		{"a clock that stepped back takes nothing off a sum",
			func(m *metrics.Metrics) { m.Ended("US", flow.Confirmed, "", -time.Hour) },
			map[string]float64{
				`orders_ended_total{country="US",outcome="confirmed"}`: 1,
				`confirmation_seconds_count{channel="other"}`:          1,
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := fresh()
			tt.do(m)
			got := ours(t, m)
			for series, want := range tt.want {
				if got[series] != want {
					t.Errorf("%s is %v, want %v", series, got[series], want)
				}
			}
			for series, value := range got {
				// An observation at zero rises in every bucket.
				if _, ok := tt.want[series]; !ok && value != 0 && !strings.Contains(series, `channel="other",le=`) {
					t.Errorf("%s rose to %v", series, value)
				}
			}
		})
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		route, method        string
		code                 int
		wantRoute, wantLabel string
	}{
		{"a code counts by its class", "/orders/{id}", "GET", 404, "/orders/{id}", `code="4xx",method="GET"`},
		{"what matched no route has none, by whatever method", "", "POST", 404, "none", `code="4xx",method="other"`},
		{"a method that its route does not take matched none", "/pin", "GET", 405, "none", `code="4xx",method="other"`},
		{"an unknown method is folded", "/", "BREW", 400, "/", `code="4xx",method="other"`},
		{"HEAD is GET", "/", "HEAD", 200, "/", `code="2xx",method="GET"`},
		{"a code that is none is other", "/", "GET", 0, "/", `code="other",method="GET"`},
		{"a code too large is other", "/", "GET", 600, "/", `code="other",method="GET"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := fresh()
			m.Request(tt.route, tt.method, tt.code, time.Second)
			want := fmt.Sprintf(`http_request_duration_seconds_count{%s,route="%s"}`, tt.wantLabel, tt.wantRoute)
			if got := ours(t, m); got[want] != 1 {
				t.Errorf("%s is not 1", want)
			}
		})
	}
}

// Whatever is told, no series is born: a visitor, a customer or Twilio cannot
// fill our memory, or that of Prometheus.
func TestCardinalityIsConstant(t *testing.T) {
	m, _ := fresh()
	before := slices.Sorted(maps.Keys(ours(t, m)))
	word := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "web", "asked", "pin", "accepted", "US", "other", "+14155550123"}))
	took := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "took")) })
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		m.Issued(flow.Channel(a))
		m.Checked(flow.Channel(a), flow.Event(b))
		m.Entered(flow.State(a))
		m.Ended(a, flow.State(b), flow.Channel(c), took.Draw(t, "took"))
		m.Refused(flow.Reason(a))
		m.Answered(flow.Saying(a))
		m.Texted(flow.Saying(a), flow.MessageState(b), rapid.Int().Draw(t, "segments"), c, took.Draw(t, "took"))
		m.TextFailed(flow.Class(a), flow.Action(b))
		m.Received(flow.Status(a), took.Draw(t, "took"))
		m.Webhook(metrics.Hook(a), metrics.Result(b))
		m.Describe(flow.Census{
			Open:   map[flow.State]int{flow.State(a): 1},
			Outbox: map[flow.MessageState]int{flow.MessageState(b): 1},
		}, noon)
	})
	if after := slices.Sorted(maps.Keys(ours(t, m))); !slices.Equal(before, after) {
		t.Errorf("there were %d series, now there are %d", len(before), len(after))
	}
}

// Methods and codes are the visitor's; routes are ours.
func TestRequestsCardinalityIsBounded(t *testing.T) {
	m, _ := fresh()
	rapid.Check(t, func(t *rapid.T) {
		m.Request("/", rapid.String().Draw(t, "method"), rapid.Int().Draw(t, "code"), 0)
	})
	counts := 0
	for series := range ours(t, m) {
		if strings.HasPrefix(series, "http_request_duration_seconds_count") {
			counts++
		}
	}
	if methods, codes := 3, 6; counts > methods*codes {
		t.Errorf("one route has %d series, want at most %d", counts, methods*codes)
	}
}

// A busy shop's scrape, with all that its routes usually answer, is small.
func TestScrapeIsSmall(t *testing.T) {
	m, _ := fresh()
	for route, answers := range map[string][]int{
		"GET /": {200}, "POST /pin": {202, 303, 422, 503}, "POST /orders": {303, 422},
		"GET /orders/{id}": {200, 404}, "POST /orders/{id}/pin": {303, 422}, "POST /orders/{id}/resend": {303, 422},
		"POST /orders/{id}/number": {303, 422}, "POST /orders/{id}/decline": {303}, "GET /orders/{id}/live": {200},
		"GET /orders/{id}/complete": {200}, "POST /webhooks/twilio/message": {200, 403},
		"POST /webhooks/twilio/status/{message}": {204, 403}, "GET /healthz": {200}, "GET /readyz": {200, 503},
	} {
		method, pattern, _ := strings.Cut(route, " ")
		for _, code := range answers {
			m.Request(pattern, method, code, 12345*time.Microsecond)
		}
	}
	const limit = 60_000
	if size := len(scrape(t, m)); size > limit {
		t.Errorf("a scrape takes %d bytes, want at most %d", size, limit)
	} else {
		t.Logf("a scrape takes %d bytes, %d series of ours", size, len(ours(t, m)))
	}
}

// The rules and panels name edges as the text format writes them.
func TestHandlerSpeaksNoOpenMetrics(t *testing.T) {
	m, _ := fresh()
	if text := scrape(t, m); !strings.Contains(text, `delivery_seconds_bucket{le="30"} 0`) || strings.Contains(text, `le="30.0"`) {
		t.Error(`the promised edge is not le="30"`)
	}
}

func TestPricesCoverTheWorld(t *testing.T) {
	country := regexp.MustCompile(`^[A-Z]{2}$`)
	prices := metrics.Prices()
	for c, price := range prices {
		if !country.MatchString(c) || price <= 0 || price > 1 {
			t.Errorf("%q costs %v", c, price)
		}
	}
	if prices["ZZ"] < prices["US"] {
		t.Error("an unlisted country is thought to be cheaper than home")
	}
}

func TestDefaultPrices(t *testing.T) {
	m := metrics.New(prometheus.NewRegistry(), metrics.Config{Countries: []string{"US"}})
	m.Texted(flow.KindPIN, flow.Accepted, 1, "US", 0)
	if got, want := ours(t, m)[`text_spend_usd_total{country="US"}`], metrics.Prices()["US"]; got != want {
		t.Errorf("a text to the US costs %v, want %v", got, want)
	}
}

// Refresh takes up where it failed, and a failure does not pass for an empty
// database.
func TestRefresh(t *testing.T) {
	m, _ := fresh()
	ctx, cancel := context.WithCancel(t.Context())
	gone := errors.New("database is gone")
	answers := []error{gone, nil, gone, nil}
	var open []float64
	census := func(_ context.Context, now time.Time) (flow.Census, error) {
		open = append(open, ours(t, m)["open_orders"])
		err := answers[0]
		answers = answers[1:]
		if err != nil {
			return flow.Census{}, err
		}
		return flow.Census{Open: map[flow.State]int{flow.Asked: now.Minute()}}, nil
	}
	ticks, done := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		m.Refresh(ctx, noon.Add(time.Minute), ticks, slog.New(slog.DiscardHandler), census)
	}()
	for minute := range 3 {
		ticks <- noon.Add(time.Duration(minute+2) * time.Minute)
	}
	cancel()
	<-done
	open = append(open, ours(t, m)["open_orders"])
	if want := []float64{0, 0, 2, 2, 4}; !slices.Equal(open, want) {
		t.Errorf("before and after each census, open_orders was %v, want %v", open, want)
	}
}

// The more there is to count, the more seldom it is counted; but what failed is
// tried again at once.
func TestRefreshRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := fresh()
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		answers := map[int]error{3: errors.New("database is gone")}
		census := func(context.Context, time.Time) (flow.Census, error) {
			at = append(at, time.Since(began))
			time.Sleep(time.Second / 5) // of the bubble's time
			return flow.Census{}, answers[len(at)]
		}
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		time.AfterFunc(31*time.Second, cancel)
		m.Refresh(ctx, began, tick.C, slog.New(slog.DiscardHandler), census)
		want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 25 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("counted after %v, want %v", at, want)
		}
	})
}

type failing struct {
	flow.Ledger
	err error
}

func (f failing) Save(context.Context, flow.Change) error { return f.err }

func TestLedgerCountsCommits(t *testing.T) {
	broken := errors.New("disk is full")
	for _, tt := range []struct {
		err    error
		result string
		timed  float64
	}{
		{nil, "ok", 1},
		{flow.ErrStale, "stale", 0},
		{flow.ErrHeard, "heard", 0},
		{fmt.Errorf("settle: %w", flow.ErrClaimed), "claimed", 0},
		{flow.ErrSpent, "spent", 0},
		{broken, "error", 0},
	} {
		t.Run(tt.result, func(t *testing.T) {
			m, _ := fresh()
			if err := m.Ledger(failing{err: tt.err}).Save(t.Context(), flow.Change{}); !errors.Is(err, tt.err) {
				t.Errorf("Save fails with %v, want the ledger's %v", err, tt.err)
			}
			got := ours(t, m)
			if n := got[fmt.Sprintf("saves_total{result=%q}", tt.result)]; n != 1 {
				t.Errorf("%s was counted %v times", tt.result, n)
			}
			if got["save_seconds_count"] != tt.timed {
				t.Errorf("%v commits were timed, want %v", got["save_seconds_count"], tt.timed)
			}
		})
	}
}
