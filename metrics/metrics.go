// Package metrics counts what the service does, for Prometheus.
//
// [Metrics] is handed its registry and implements [flow.Watcher]: what becomes
// of orders and texts is told to it by the desk and the outbox. The edge tells
// it of requests and webhooks, the database is counted in the background by
// [Metrics.Refresh], and [Metrics.Handler] serves it all. Names and labels are
// part of the outside contract; docs/metrics.md lists them, each with the
// question it answers, and is written from the registry by this package's tests.
//
// Every series but those of HTTP is there from the start, at zero, and none is
// added later: labels come from flow's constants and the shop's countries, and
// whatever else should turn up counts as "other", or in the country ZZ. See
// [family]. Histograms are classic ones, with an edge on every threshold that
// an alert or a panel asks for.
//
// The dashboards are made by the module in grafana, the alerts stand in alerts.
package metrics

//go:generate go test -count=1 -run ^TestDocs$ . -update
//go:generate go -C grafana run .

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/countersign/countersign/flow"
)

// Config is what metrics need to know of the service.
type Config struct {
	// Version is of the build, for build_info.
	Version string
	// Countries that we text, ISO 3166 alpha-2. All others count as ZZ.
	Countries []string
	// Prices estimate what a segment costs, in US dollars by country; ZZ is for
	// the countries that it does not list. Nil stands for [Prices].
	Prices map[string]float64
}

// elsewhere is the country of numbers outside the shop's countries.
const elsewhere = "ZZ"

// Metrics are the service's own, and those of the Go runtime and the process.
// All methods may be called at once.
type Metrics struct {
	registry  *prometheus.Registry
	countries []string // and ZZ
	prices    map[string]float64

	issued    family[prometheus.Counter]
	checks    family[prometheus.Counter]
	entered   family[prometheus.Counter]
	ended     family[prometheus.Counter]
	confirmed family[prometheus.Observer]
	refusals  family[prometheus.Counter]

	texts     family[prometheus.Counter]
	errors    family[prometheus.Counter]
	receipts  family[prometheus.Counter]
	segments  family[prometheus.Counter]
	spend     family[prometheus.Counter]
	accepting prometheus.Histogram
	delivery  prometheus.Histogram
	breaker   prometheus.Gauge

	requests *prometheus.HistogramVec
	webhooks family[prometheus.Counter]

	open    prometheus.Gauge
	outbox  family[prometheus.Gauge]
	oldest  prometheus.Gauge
	counted prometheus.Gauge
	saving  prometheus.Histogram
	saves   family[prometheus.Counter]
	lookups family[prometheus.Counter]
	entries atomic.Pointer[func() int]
	pools   *pools
}

var _ flow.Watcher = (*Metrics)(nil)

// New registers all metrics with reg, which must have none of them yet.
func New(reg *prometheus.Registry, c Config) *Metrics {
	reg.MustRegister(
		collectors.NewGoCollector(),
		&shared{Collector: collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
		collectors.NewBuildInfoCollector(),
	)
	m := &Metrics{registry: reg, prices: c.Prices}
	if m.prices == nil {
		m.prices = Prices()
	}
	m.countries = slices.Compact(slices.Sorted(slices.Values(append([]string{elsewhere}, c.Countries...))))

	in := maker{reg}
	m.orders(in)
	m.texting(in)
	m.edge(in)
	m.database(in)
	in.gaugeVec("build_info", "Which version runs?", "version", "goversion").
		WithLabelValues(c.Version, runtime.Version()).Set(1)
	return m
}

func (m *Metrics) orders(in maker) {
	roads := each(flow.Web, flow.Reply)
	m.issued = in.counters("pins_issued_total", "How many PINs are asked for, and by which road?",
		each(flow.Channels...), "channel")
	m.checks = in.counters("pin_checks_total", "Do customers get their PIN right, or is somebody guessing?",
		cross(roads, each(flow.Checks...)), "channel", "result")
	m.entered = in.counters("orders_total", "How many orders come to each state?",
		each(flow.States...), "state")
	m.ended = in.counters("orders_ended_total", "Of the orders that end, how many are confirmed, and in which country are they not?",
		cross(each(m.countries...), each(final()...)), "country", "outcome")
	m.confirmed = in.histograms("confirmation_seconds", "How long do customers take from their first PIN to a confirmed order, by which road?",
		// Texted PINs are answered within minutes or after work; the longest
		// edges are the default lives of a PIN and of an order.
		[]float64{10, 20, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600},
		roads, "channel")
	m.refusals = in.counters("guard_refusals_total", "Which limit bites?",
		each(flow.Reasons...), "reason")
}

func (m *Metrics) texting(in maker) {
	m.texts = in.counters("texts_total", "Does Twilio take our texts, and what do we answer to replies?",
		append(cross(each(posted()...), each(flow.Accepted, flow.Failed, flow.Dropped, flow.Waiting)),
			cross(each(flow.Answers...), each(answered))...), "kind", "outcome")
	m.errors = in.counters("text_errors_total", "Why do texts fail, and what do we do about it?",
		cross(each(flow.Classes...), each(flow.Actions...)), "class", "action")
	m.receipts = in.counters("text_receipts_total", "Do texts arrive?",
		each(flow.Statuses...), "status")
	m.segments = in.counters("text_segments_total", "How many segments are we billed for, and is one country pumped?",
		each(m.countries...), "country")
	m.spend = in.counters("text_spend_usd_total", "What do texts cost, estimated from a table of prices per segment?",
		each(m.countries...), "country")
	m.accepting = in.histogram("text_accept_seconds", "How long does Twilio take to accept a text?",
		// 3 s is how long Get PIN waits for it, 8 s when we give up.
		[]float64{0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, flow.Patience.Seconds(), 5, flow.Deadline.Seconds()})
	m.delivery = in.histogram("delivery_seconds", "How long after it was asked for is a PIN on the phone?",
		// 30 s is what we promise, and after what a resend is offered.
		[]float64{1, 2, 5, 10, 15, 20, flow.ResendWait.Seconds(), 60, 120, 300, 900, 3600})
	m.breaker = in.gaugeVec("breaker_open", "Do we hold texts back, since Twilio refuses them for what is ours to mend?").WithLabelValues()
}

func (m *Metrics) edge(in maker) {
	m.requests = in.histogramVec("http_request_duration_seconds", "How many requests does each route get, how fast, and how many fail?",
		[]float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 3, 10}, "route", "method", "code")
	m.webhooks = in.counters("webhooks_total", "Can we read and prove what Twilio tells us?",
		cross(each(hooks...), each(results...)), "hook", "result")
}

func (m *Metrics) database(in maker) {
	m.open = in.gaugeVec("open_orders", "How many orders wait for their customer?").WithLabelValues()
	m.outbox = in.gauges("outbox_depth", "How many texts are still to leave?",
		each(flow.Leased, flow.Waiting), "state")
	m.oldest = in.gaugeVec("outbox_oldest_seconds", "For how long has the oldest text been due? Is the outbox stuck?").WithLabelValues()
	m.counted = in.gaugeVec("census_timestamp_seconds", "When was the database last counted, for the gauges that describe it?").WithLabelValues()
	m.saving = in.histogram("save_seconds", "How long does the database take to commit a change?",
		[]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5})
	m.saves = in.counters("saves_total", "How many changes does the database commit, and how many lose a race?",
		each(saved...), "result")
	m.lookups = in.counters("pin_cache_lookups_total", "Does the cache save reads?",
		each(hit, miss), "result")
	in.gaugeFunc("pin_cache_entries", "How full is the cache?", func() float64 {
		if n := m.entries.Load(); n != nil {
			return float64((*n)())
		}
		return 0
	})
	m.pools = newPools()
	in.MustRegister(m.pools)
}
