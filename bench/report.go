package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A report is what is told of a run: tables in Markdown, by the name of the
// place that each has in the page.
type report struct {
	roads    []string
	promises []string
	facts    []string
	scale    []scaled
}

// road adds a road's row, and returns it.
func (r *report) road(road *road, limits, services []round) string {
	perVisit := func(r round) time.Duration { return r.perVisit() }
	ratio := ratios(services, limits)
	row := fmt.Sprintf("| %s | %s | %s | **%.2f** (%.2f–%.2f) | %s | %s | %s | %.0f | %s | %s | %s | %s |",
		road.title,
		micros(over(services, perVisit).median), micros(over(limits, perVisit).median),
		ratio.median, ratio.least, ratio.most,
		times(road.bar), times(road.aim), verdict(ratio.median, road.bar, road.aim),
		over(services, func(r round) float64 { return r.mallocs / float64(r.visits) }).median,
		millis(quantile(services, road.name, .50)), millis(quantile(services, road.name, .99)),
		millis(quantile(limits, road.name, .50)), millis(quantile(limits, road.name, .99)))
	r.roads = append(r.roads, row)
	return row
}

// A promise is a figure that has a bar, and perhaps an aim.
type promise struct {
	what             string
	figure, bar, aim float64 // the last is 0 for none
	unit             string
	more             bool // of this, more is better
	refused          int  // requests that got no other answer than 503
}

// promise adds a promise's row.
func (c *conductor) promise(p promise) {
	figure, bar, aim := p.figure, p.bar, p.aim
	if p.more {
		figure, bar, aim = -figure, -bar, -aim
	}
	told := func(n float64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%.4g %s", n, p.unit)
	}
	stands := verdict(figure, bar, aim)
	if p.refused > 0 {
		stands = fmt.Sprintf("**short of the bar**: %d were refused", p.refused)
	}
	row := fmt.Sprintf("| %s | **%s** | %s | %s | %s |", p.what, told(p.figure), told(p.bar), told(p.aim), stands)
	c.report.promises = append(c.report.promises, row)
	c.say("%s", row)
}

// fact adds a figure that nothing was promised of.
func (c *conductor) fact(what, format string, args ...any) {
	row := fmt.Sprintf("| %s | %s |", what, fmt.Sprintf(format, args...))
	c.report.facts = append(c.report.facts, row)
	c.say("%s", row)
}

// verdict says how a figure, of which less is better, stands to what was set.
func verdict(figure, bar, aim float64) string {
	switch {
	case bar == 0:
		return ""
	case aim != 0 && figure <= aim:
		return "aim met"
	case figure <= bar:
		return "bar met"
	default:
		return "**short of the bar**"
	}
}

// tables are those that have rows, by their places.
func (r *report) tables() map[string]string {
	all := map[string]string{}
	var scale []string
	for _, row := range r.scale {
		scale = append(scale, row.String())
	}
	for _, t := range []struct {
		place, head string
		rows        []string
	}{
		{"roads", "| Road | service, µs CPU | limit, µs CPU | ratio (least–most) | bar | aim | | allocations | p50 | p99 | limit's p50 | limit's p99 |\n" +
			"|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|\n", r.roads},
		{"promises", "| | | bar | aim | |\n|---|--:|--:|--:|---|\n", r.promises},
		{"facts", "| | |\n|---|--:|\n", r.facts},
		{"scale", "| Checks | open conversations | a second | µs CPU | p50 | p99 | on disk, a conversation | start | resident |\n" +
			"|---|--:|--:|--:|--:|--:|--:|--:|--:|\n", scale},
	} {
		if len(t.rows) > 0 {
			all[t.place] = t.head + strings.Join(t.rows, "\n") + "\n"
		}
	}
	if len(all) > 0 {
		all["run"] = thisRun()
	}
	return all
}

// publish prints the tables, and puts them where they belong in the page. The
// chart of the scale is drawn beside it.
func (r *report) publish(w io.Writer, page string) error {
	tables := r.tables()
	for _, place := range []string{"run", "roads", "promises", "facts", "scale"} {
		if table := tables[place]; table != "" {
			if _, err := fmt.Fprintf(w, "%s\n", table); err != nil {
				return err
			}
		}
	}
	if page == "" {
		return nil
	}
	text, err := os.ReadFile(page) //nolint:gosec // whoever runs this names it
	if err != nil {
		return err
	}
	for place, table := range tables {
		if text, err = replace(text, place, table); err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
	}
	if len(r.scale) > 0 {
		var picture bytes.Buffer
		if err := chart(&picture, r.scale); err != nil {
			return err
		}
		if err := os.WriteFile(strings.TrimSuffix(page, ".md")+"-scale.svg", picture.Bytes(), 0o644); err != nil { //nolint:gosec // it lies beside the page
			return err
		}
	}
	return os.WriteFile(page, text, 0o644) //nolint:gosec // a page of the documentation
}

// replace puts a table between a place's marks, in place of what is there.
func replace(page []byte, place, table string) ([]byte, error) {
	begin, end := []byte("<!-- bench "+place+" -->\n"), []byte("<!-- /bench "+place+" -->\n")
	before, rest, ok := bytes.Cut(page, begin)
	if !ok {
		return nil, fmt.Errorf("no %s", bytes.TrimSpace(begin))
	}
	_, after, ok := bytes.Cut(rest, end)
	if !ok {
		return nil, fmt.Errorf("no %s", bytes.TrimSpace(end))
	}
	return bytes.Join([][]byte{before, begin, []byte(table), end, after}, nil), nil
}

func times(n float64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%g×", n)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", inMillis(d)) }
