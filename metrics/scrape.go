package metrics

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the metrics in Prometheus's text format. OpenMetrics would
// write le="30.0" for le="30", which the rules name. It is not compressed: that
// would take as long as all the rest, to spare some 30 KB every few seconds on
// the way to a neighbour.
func (m *Metrics) Handler() http.Handler {
	scrape := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: false, DisableCompression: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := answer{to: w}
		text.Grow(1 << 16)
		scrape.ServeHTTP(&text, r)
		w.Header().Set("Content-Length", strconv.Itoa(text.Len()))
		_, _ = text.WriteTo(w) // whoever has gone does not miss it
	})
}

// An answer is written as a whole. One series at a time, it would leave in a
// dozen packets.
type answer struct {
	bytes.Buffer
	to http.ResponseWriter
}

func (a *answer) Header() http.Header { return a.to.Header() }

func (a *answer) WriteHeader(status int) { a.to.WriteHeader(status) }

// shared collects at most once a second, for whoever scrapes within it. That is
// for what the kernel tells of the process: to read and parse its files takes
// longer than all our own series.
type shared struct {
	prometheus.Collector

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

// Collect implements [prometheus.Collector].
func (s *shared) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.at) > time.Second {
		s.at, s.last = now, s.last[:0]
		fresh := make(chan prometheus.Metric)
		var kept sync.WaitGroup
		kept.Go(func() {
			for metric := range fresh {
				s.last = append(s.last, metric)
			}
		})
		s.Collector.Collect(fresh)
		close(fresh)
		kept.Wait()
	}
	for _, metric := range s.last {
		to <- metric
	}
}
