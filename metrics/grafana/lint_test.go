package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestMain(m *testing.M) {
	plugins.RegisterDefaultPlugins() // that each kind of panel and query is known
	os.Exit(m.Run())
}

// What is committed is what is imported: it must be what the code draws, and
// pass the lint.
func TestDashboards(t *testing.T) {
	known := service(t)
	for _, b := range boards {
		t.Run(b.uid, func(t *testing.T) {
			want, err := b.json()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(b.file())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is out of step with the code; run go generate ./metrics", b.file())
			}
			for _, fault := range known.lint(got) {
				t.Error(fault)
			}
		})
	}
}

// The lint finds what it is for.
func TestLintFinds(t *testing.T) {
	known := service(t)
	good, err := overview.json()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"a field that Grafana does not have", `"graphTooltip": 1`, `"graphTooltp": 1`, "unexpected field"},
		{"a panel without a title", `"title": "Conversion",`, `"title": "",`, "no title"},
		{"a panel without a description", `"description": "Of the orders that ended, `, `"description": "", "x": "`, "no description"},
		{"a panel without a unit", `"unit": "currencyUSD"`, `"unit": ""`, "no unit"},
		{"a data source of our own", `"uid": "${datasource}"`, `"uid": "prometheus"`, "data source"},
		{"a dashboard that can be edited in place", `"editable": false`, `"editable": true`, "editable"},
		{"a panel off the grid", `"w": 12,`, `"w": 13,`, "off the grid"},
		{"two panels in one place", `"x": 12,`, `"x": 11,`, "overlaps"},
		{"an id twice", `"id": 3,`, `"id": 2,`, "id 2 is another panel's"},
		{"bad PromQL", `sum by (state) (rate(`, `sum by (state) (rate((`, "parse error"},
		{"a metric that is not there", `countersign_orders_total{`, `countersign_order_total{`, "no metric countersign_order_total"},
		{"a label that is not there", `state!=\"other\"`, `stat!=\"other\"`, "has no label stat"},
		{"a label value that never comes", `status=\"delivered\"`, `status=\"arrived\"`, `is never "arrived"`},
		{"a grouping that is not there", `sum by (outcome) (`, `sum by (result) (`, "groups by result"},
		{"a legend of a label that is gone", `"legendFormat": "{{outcome}}"`, `"legendFormat": "{{kind}}"`, "no label kind"},
		{"a range of one's own", `[$__rate_interval]`, `[5m]`, "ranges over 5m"},
		{"a counter as it stands", `rate(countersign_orders_total{app=~\"$app\",instance=~\"$instance\",state!=\"other\"}[$__rate_interval])`, `countersign_orders_total{app=~\"$app\",instance=~\"$instance\"}`, "counter outside rate"},
		{"the rate of a gauge", `max(countersign_outbox_oldest_seconds{app=~\"$app\",instance=~\"$instance\"})`, `max(rate(countersign_outbox_oldest_seconds{app=~\"$app\",instance=~\"$instance\"}[$__rate_interval]))`, "rate of a gauge"},
		{"the sum of what every machine describes", `max(countersign_outbox_oldest_seconds{`, `sum(countersign_outbox_oldest_seconds{`, "take the max"},
		{"a query of all apps", `countersign_breaker_open{app=~\"$app\",instance=~\"$instance\"}`, `countersign_breaker_open`, "every app"},
		{"a runbook section that is missing", `runbook.md#outboxstuck`, `runbook.md#outboxstuk`, "no section outboxstuk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := bytes.ReplaceAll(good, []byte(tt.old), []byte(tt.new))
			if bytes.Equal(bad, good) {
				t.Fatalf("the overview has no %s", tt.old)
			}
			faults := known.lint(bad)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("lint found %q, and not %q", faults, tt.want)
			}
		})
	}
}

// A metric as the service's own page describes it.
type metric struct {
	kind   string
	values map[string][]string // of its labels; nil where anything may come
}

type linter struct {
	metrics  map[string]metric
	sections []string // of the runbook, as links name them
}

// service reads what there is from docs/metrics.md, which is written from the
// registry, and docs/runbook.md.
func service(t *testing.T) linter {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := linter{metrics: map[string]metric{
		"go_goroutines":                 {kind: "gauge"},
		"go_memstats_heap_inuse_bytes":  {kind: "gauge"},
		"process_cpu_seconds_total":     {kind: "counter"},
		"process_max_fds":               {kind: "gauge"},
		"process_open_fds":              {kind: "gauge"},
		"process_resident_memory_bytes": {kind: "gauge"},
		"process_start_time_seconds":    {kind: "gauge"},
		"fly_edge_http_responses_count": {kind: "counter", values: map[string][]string{"status": nil}},
		"fly_instance_exit_oom":         {kind: "gauge"},
		"fly_volume_used_pct":           {kind: "gauge"},
	}}
	table := regexp.MustCompile("(?m)^\\| `(countersign_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	quoted := regexp.MustCompile("`([^`]*)`")
	for _, row := range table.FindAllStringSubmatch(string(page), -1) {
		m := metric{kind: row[2], values: make(map[string][]string)}
		for _, label := range quoted.FindAllStringSubmatch(row[3], -1) {
			m.values[label[1]] = nil
		}
		known.metrics[row[1]] = m
	}
	for section := range strings.SplitSeq(string(page), "\n### ") {
		name, body, _ := strings.Cut(section, "\n")
		for _, line := range regexp.MustCompile("(?m)^- `(\\w+)`: (`.*)$").FindAllStringSubmatch(body, -1) {
			if label := line[1]; label != "method" { // the rest are lists
				for _, v := range quoted.FindAllStringSubmatch(line[2], -1) {
					known.metrics[name].values[label] = append(known.metrics[name].values[label], v[1])
				}
			}
		}
	}
	if len(known.metrics) < 30 {
		t.Fatalf("docs/metrics.md describes only %d metrics", len(known.metrics))
	}

	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range regexp.MustCompile(`(?m)^#+ (\w+)$`).FindAllStringSubmatch(string(runbook), -1) {
		known.sections = append(known.sections, strings.ToLower(h[1]))
	}
	return known
}

// lint lists what is wrong with a dashboard.
func (known linter) lint(text []byte) []string {
	var faults []string
	fault := func(where, format string, args ...any) {
		faults = append(faults, where+": "+fmt.Sprintf(format, args...))
	}

	for _, f := range misread(text) {
		fault("JSON", "%s", f)
	}
	var d classic
	if err := json.Unmarshal(text, &d); err != nil {
		fault("JSON", "%v", err)
		return faults
	}
	if d.Editable == nil || *d.Editable {
		fault("dashboard", "is editable: what is edited in place is lost")
	}
	if v := d.Templating.List; len(v) == 0 || v[0].Type != dashboard.VariableTypeDatasource || v[0].Name != "datasource" {
		fault("dashboard", "its first variable is not the data source")
	}

	var panels []dashboard.Panel
	ids := make(map[uint32]bool)
	id := func(where string, id *uint32) {
		if id == nil || ids[*id] {
			fault(where, "id %d is another panel's, or none", at(id))
		} else {
			ids[*id] = true
		}
	}
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			id("row", &p.RowPanel.Id)
			panels = append(panels, p.RowPanel.Panels...)
			continue
		}
		panels = append(panels, *p.Panel)
	}
	for i, p := range panels {
		where := at(p.Title)
		id(where, p.Id)
		if where == "" {
			where = fmt.Sprintf("panel %d", i)
			fault(where, "no title")
		}
		if at(p.Description) == "" {
			fault(where, "no description")
		}
		if p.FieldConfig == nil || at(p.FieldConfig.Defaults.Unit) == "" {
			fault(where, "no unit")
		}
		if g := p.GridPos; g == nil || g.W == 0 || g.H == 0 || g.X+g.W > 24 {
			fault(where, "off the grid")
			continue
		}
		for _, q := range panels[:i] {
			if a, b := p.GridPos, q.GridPos; a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				fault(where, "overlaps %s", at(q.Title))
			}
		}
		for _, l := range p.Links {
			if _, section, ok := strings.Cut(at(l.Url), "runbook.md#"); ok && !slices.Contains(known.sections, section) {
				fault(where, "the runbook has no section %s", section)
			}
		}
		if len(p.Targets) == 0 {
			fault(where, "asks nothing")
		}
		for _, target := range p.Targets {
			var q struct {
				Datasource         struct{ UID string }
				Expr, LegendFormat string
			}
			raw, _ := json.Marshal(target)
			if err := json.Unmarshal(raw, &q); err != nil {
				fault(where, "%v", err)
			}
			if q.Datasource.UID != "${datasource}" || p.Datasource == nil || at(p.Datasource.Uid) != "${datasource}" {
				fault(where, "its data source is not the chosen one")
			}
			for _, f := range known.query(q.Expr, q.LegendFormat) {
				fault(where, "%s", f)
			}
		}
	}
	for _, a := range d.Annotations.List {
		for _, f := range known.query(at(a.Expr), "") {
			// A start is seen in two scrapes, whatever the graph's resolution.
			if !strings.Contains(f, "ranges over 2m") {
				fault(a.Name, "%s", f)
			}
		}
	}
	return faults
}

// misread lists what Grafana's model has no place for.
func misread(text []byte) (faults []string) {
	strictly := func(into interface{ UnmarshalJSONStrict([]byte) error }, raw []byte) {
		// The SDK returns an empty list of errors for none. Therefore it gives
		// up at the first panel, too, and they are read one by one.
		if err := into.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
			faults = append(faults, err.Error())
		}
	}
	strictly(&classic{}, text)
	var d struct{ Panels []json.RawMessage }
	if err := json.Unmarshal(text, &d); err != nil {
		return append(faults, err.Error())
	}
	for _, raw := range d.Panels {
		var is struct {
			Type   string
			Panels []json.RawMessage
		}
		if err := json.Unmarshal(raw, &is); err != nil {
			faults = append(faults, err.Error())
		}
		if is.Type != "row" {
			strictly(&dashboard.Panel{}, raw)
		}
		for _, raw := range is.Panels {
			strictly(&dashboard.Panel{}, raw)
		}
	}
	return faults
}

// query lists what is wrong with one.
func (known linter) query(expr, legend string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	// Variables stand where durations do.
	vars := strings.NewReplacer("$__rate_interval", "17m", "$__range", "19m", "$app", "a", "$instance", "i")
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(vars.Replace(expr))
	if err != nil {
		return []string{fmt.Sprintf("parse error: %v in %s", err, expr)}
	}
	grouped := []string{"app", "instance"}
	parser.Inspect(tree, func(n parser.Node, above []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
			for _, s := range parser.ExtractSelectors(n.Expr) {
				for _, label := range n.Grouping {
					if m := known.metrics[base(name(s))]; !m.has(label) && m.kind != "" {
						fault("groups by %s, which %s does not have", label, name(s))
					}
				}
				if n.Op == parser.SUM && describes[name(s)] {
					fault("every machine tells the same %s: take the max", name(s))
				}
			}
		case *parser.MatrixSelector:
			if r := n.Range.String(); r != "17m0s" && r != "19m0s" && r != "1h0m0s" {
				fault("ranges over %s; say $__rate_interval, $__range or 1h", strings.TrimSuffix(r, "0s"))
			}
		case *parser.VectorSelector:
			faults = append(faults, known.selector(n, above)...)
		}
		return nil
	})
	for _, l := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(legend, -1) {
		if !slices.Contains(grouped, l[1]) {
			fault("the legend's label is gone: no label %s", l[1])
		}
	}
	return faults
}

// describes are the gauges that tell of the database, on every machine.
var describes = map[string]bool{
	"countersign_open_orders":              true,
	"countersign_outbox_depth":             true,
	"countersign_outbox_oldest_seconds":    true,
	"countersign_census_timestamp_seconds": true,
}

func (known linter) selector(s *parser.VectorSelector, above []parser.Node) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	m, ok := known.metrics[base(s.Name)]
	if !ok {
		return []string{"there is no metric " + s.Name}
	}
	ofApp := false
	for _, match := range s.LabelMatchers {
		ofApp = ofApp || match.Name == "app"
		switch {
		case match.Name == model.MetricNameLabel || match.Name == "app" || match.Name == "instance":
			continue
		case !m.has(match.Name):
			fault("%s has no label %s", s.Name, match.Name)
			continue
		}
		for v := range strings.SplitSeq(match.Value, "|") {
			if values := m.values[match.Name]; values != nil && !slices.Contains(values, v) {
				fault("%s's %s is never %q", s.Name, match.Name, v)
			}
		}
	}
	if !ofApp {
		fault("%s is of every app", s.Name)
	}

	counting := m.kind == "counter" || m.kind == "histogram"
	call := ""
	for _, n := range above {
		if c, ok := n.(*parser.Call); ok {
			call = c.Func.Name // the innermost is last
		}
	}
	rated := call == "rate" || call == "increase"
	if counting && !rated {
		fault("%s is a counter outside rate and increase", s.Name)
	}
	if !counting && rated {
		fault("rate of a gauge, %s", s.Name)
	}
	return faults
}

func (m metric) has(label string) bool {
	_, ok := m.values[label]
	return ok || label == "app" || label == "instance" || label == "le" && m.kind == "histogram"
}

var suffix = regexp.MustCompile(`_seconds_(bucket|count|sum)$`)

// base is the metric that a histogram's series belongs to.
func base(series string) string { return suffix.ReplaceAllString(series, "_seconds") }

// name is the metric that a selector's matchers ask for.
func name(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return ""
}

// at is what p points at, or nothing.
func at[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
