package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Pool is how some of our connections to the database fare.
type Pool struct {
	Most, Busy, Idle int
	// Waits are how often somebody waited for one, and Waited how long in all.
	Waits  int64
	Waited time.Duration
}

// What connections are for. A machine has a pool for each.
var poolsFor = []string{"read", "write"}

// pools collects what is asked of the database's pools at a scrape, once.
type pools struct {
	connections, most, waits, waited *prometheus.Desc
	stats                            atomic.Pointer[func() map[string]Pool]
}

func newPools() *pools {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return &pools{
		connections: desc("database_connections", "How many connections to the database are open, and how many of them at work?", "pool", "state"),
		most:        desc("database_connections_limit", "How many connections may the machine have?", "pool"),
		waits:       desc("database_waits_total", "How often is there no connection to be had at once?", "pool"),
		waited:      desc("database_wait_seconds_total", "For how long is a connection waited for, in all?", "pool"),
	}
}

// Describe implements [prometheus.Collector].
func (p *pools) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.connections, p.most, p.waits, p.waited} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (p *pools) Collect(to chan<- prometheus.Metric) {
	var stats map[string]Pool
	if ask := p.stats.Load(); ask != nil {
		stats = (*ask)()
	}
	for _, name := range poolsFor {
		of := stats[name] // none of that name is nothing at all
		tell := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{name}, labels...)...)
		}
		tell(p.connections, prometheus.GaugeValue, float64(of.Busy), "busy")
		tell(p.connections, prometheus.GaugeValue, float64(of.Idle), "idle")
		tell(p.most, prometheus.GaugeValue, float64(of.Most))
		tell(p.waits, prometheus.CounterValue, float64(of.Waits))
		tell(p.waited, prometheus.CounterValue, of.Waited.Seconds())
	}
}

// Pools has stats asked, at every scrape, how the pools for "read" and "write"
// fare.
func (m *Metrics) Pools(stats func() map[string]Pool) { m.pools.stats.Store(&stats) }
