package main

import (
	"fmt"
	"strings"
	"time"
)

// A roadTable is what the roads cost, in Markdown.
type roadTable struct{ rows []string }

const roadHead = `| Road | service, µs CPU | limit, µs CPU | ratio (least–most) | bar | aim | | allocations | p50 | p99 | limit's p50 | limit's p99 |
|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|
`

func (t *roadTable) String() string { return roadHead + strings.Join(t.rows, "\n") + "\n" }

// add adds a road's row, and returns it.
func (t *roadTable) add(r *road, limits, services []round) string {
	perVisit := func(r round) time.Duration { return r.perVisit() }
	ratio := ratios(services, limits)
	row := fmt.Sprintf("| %s | %s | %s | **%.2f** (%.2f–%.2f) | %s | %s | %s | %.0f | %s | %s | %s | %s |",
		r.title,
		micros(over(services, perVisit).median), micros(over(limits, perVisit).median),
		ratio.median, ratio.least, ratio.most,
		times(r.bar), times(r.aim), verdict(ratio.median, r.bar, r.aim),
		over(services, func(r round) float64 { return r.mallocs / float64(r.visits) }).median,
		millis(quantile(services, r.name, .50)), millis(quantile(services, r.name, .99)),
		millis(quantile(limits, r.name, .50)), millis(quantile(limits, r.name, .99)))
	t.rows = append(t.rows, row)
	return row
}

// verdict says how a figure, of which less is better, stands to what was set.
func verdict(figure, bar, aim float64) string {
	switch {
	case bar == 0:
		return ""
	case figure <= aim:
		return "aim met"
	case figure <= bar:
		return "bar met"
	default:
		return "**short of the bar**"
	}
}

func times(n float64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%g×", n)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
