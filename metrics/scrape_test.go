package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// looks counts how often it is collected, which is what it tells.
type looks struct{ n float64 }

var looksDesc = prometheus.NewDesc("looks_total", "How often was it looked?", nil, nil)

func (l *looks) Describe(to chan<- *prometheus.Desc) { to <- looksDesc }

func (l *looks) Collect(to chan<- prometheus.Metric) {
	l.n++
	to <- prometheus.MustNewConstMetric(looksDesc, prometheus.CounterValue, l.n)
}

func TestTheKernelIsAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		reg.MustRegister(&shared{Collector: new(looks)})
		for _, step := range []struct {
			after time.Duration
			want  float64
		}{
			{0, 1},
			{0, 1},
			{time.Second, 1},
			{1, 2},
			{time.Second, 2},
			{time.Hour, 3},
		} {
			time.Sleep(step.after) // of the bubble's time
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			if len(families) != 1 || len(families[0].GetMetric()) != 1 {
				t.Fatalf("gathered %v", families)
			}
			if got := families[0].GetMetric()[0].GetCounter().GetValue(); got != step.want {
				t.Errorf("%v later it was asked %v times, want %v", step.after, got, step.want)
			}
		}
	})
}

func TestAScrapeIsWholeAndPlain(t *testing.T) {
	m := New(prometheus.NewRegistry(), Config{Version: "v1.2.3"})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
		t.Errorf("Content-Length is %q, of %d bytes", got, w.Body.Len())
	}
	if got := w.Header().Get("Content-Encoding"); got != "" {
		t.Errorf("the scrape is encoded by %s", got)
	}
	for _, want := range []string{"countersign_build_info", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("the scrape has no %s", want)
		}
	}
}

// Whoever scrapes learns that it failed.
func TestAScrapeThatFails(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg, Config{Version: "v1.2.3"})
	reg.MustRegister(prometheus.CollectorFunc(func(to chan<- prometheus.Metric) {
		to <- prometheus.NewInvalidMetric(looksDesc, errors.New("it cannot be told"))
	}))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("the scrape is answered %d", w.Code)
	}
}
