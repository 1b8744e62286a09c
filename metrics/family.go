package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const namespace = "countersign"

// A family is one metric's closed set of series. All are made at the start, so
// that the first failure is a rise and not a birth, and what it is told later
// can add none: values that it does not know count under other.
type family[M any] struct {
	of    map[[2]string]M // by the values of one label, or two
	other M
}

// at returns the series with these label values.
func (f family[M]) at(values ...string) M {
	var k [2]string
	copy(k[:], values)
	if m, ok := f.of[k]; ok {
		return m
	}
	return f.other
}

// closed makes a family of the listed series, and that for all others.
func closed[M any](of func(...string) M, series [][]string, labels []string) family[M] {
	f := family[M]{of: make(map[[2]string]M, len(series))}
	for _, values := range series {
		var k [2]string
		copy(k[:], values)
		f.of[k] = of(values...)
	}
	rest := make([]string, len(labels))
	for i, label := range labels {
		rest[i] = "other"
		if label == "country" {
			rest[i] = elsewhere
		}
	}
	f.other = of(rest...)
	return f
}

// each lists the values of one label.
func each[S ~string](values ...S) [][]string {
	var series [][]string
	for _, v := range values {
		series = append(series, []string{string(v)})
	}
	return series
}

// cross lists each value of one label with each of another.
func cross(a, b [][]string) [][]string {
	var series [][]string
	for _, x := range a {
		for _, y := range b {
			series = append(series, []string{x[0], y[0]})
		}
	}
	return series
}

// A maker makes metrics in a registry. Help is the question that one answers.
type maker struct{ prometheus.Registerer }

func (in maker) counters(name, help string, series [][]string, labels ...string) family[prometheus.Counter] {
	vec := promauto.With(in).NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	return closed(vec.WithLabelValues, series, labels)
}

func (in maker) gauges(name, help string, series [][]string, labels ...string) family[prometheus.Gauge] {
	return closed(in.gaugeVec(name, help, labels...).WithLabelValues, series, labels)
}

func (in maker) histograms(name, help string, edges []float64, series [][]string, labels ...string) family[prometheus.Observer] {
	return closed(in.histogramVec(name, help, edges, labels...).WithLabelValues, series, labels)
}

func (in maker) histogram(name, help string, edges []float64) prometheus.Histogram {
	return promauto.With(in).NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: edges})
}

func (in maker) histogramVec(name, help string, edges []float64, labels ...string) *prometheus.HistogramVec {
	return promauto.With(in).NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: edges}, labels)
}

func (in maker) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.With(in).NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (in maker) gaugeFunc(name, help string, value func() float64) {
	promauto.With(in).NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
}
