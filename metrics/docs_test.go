package metrics_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/countersign/countersign/metrics"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

// The page that lists the metrics is what the registry says of itself.
func TestDocs(t *testing.T) {
	const page = "../docs/metrics.md"
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, metrics.Config{Version: "v1.2.3", Countries: []string{"US"}})
	m.Request("/orders/{id}", "GET", 200, 0)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := describe(families)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of step with the code; run go generate ./metrics", page)
	}
}

const preface = `<!-- Made from the registry by go generate ./metrics. Do not edit. -->

# Metrics

What ` + "`/metrics`" + ` on the ops listener says, each with the question it answers.
The dashboards are in ` + "`metrics/grafana`" + `, the alerts in ` + "`metrics/alerts`" + `,
and what to do when one fires in [the runbook](runbook.md).

- Every series but HTTP's is there from the start, at zero, and none is added
  later. HTTP's come with the first such answer; whatever no route takes, for its
  path or its method, is the route ` + "`none`" + `, so that nobody can add many.
  A label value that the code does not know counts as ` + "`other`" + `, a country
  outside ` + "`COUNTRIES`" + ` as ` + "`ZZ`" + `.
- What describes the database (` + "`open_orders`, `outbox_depth`, `outbox_oldest_seconds`" + `)
  is counted in the background, and every machine on one database counts the
  same rows: take the ` + "`max`" + `, never the ` + "`sum`" + `.
- A text's ` + "`outcome`" + ` is what a try to text it came to: ` + "`accepted`" + ` by Twilio,
  ` + "`failed`" + ` for good, ` + "`dropped`" + ` as no longer worth sending, or ` + "`waiting`" + ` to be
  tried again. Replies ` + "`answered`" + ` in TwiML are counted under what they say.
- Segments and spend are those of accepted texts. Spend is an estimate from a
  table of rough prices, not a bill, and leaves out TwiML answers and numbers'
  rent.
- The Go runtime's and the process's own metrics (` + "`go_*`, `process_*`" + `) come with it.
  Those of the process are up to a second old.

`

func describe(families []*dto.MetricFamily) string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| Metric | Type | Labels | Question |\n|---|---|---|---|\n")
	var lists strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "countersign_") {
			continue
		}
		values := make(map[string]map[string]bool)
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				if values[l.GetName()] == nil {
					values[l.GetName()] = make(map[string]bool)
				}
				values[l.GetName()][l.GetValue()] = true
			}
		}
		labels := slices.Sorted(maps.Keys(values))
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), code(labels), f.GetHelp())

		fmt.Fprintf(&lists, "\n### %s\n\n", f.GetName())
		for _, label := range labels {
			fmt.Fprintf(&lists, "- `%s`: %s\n", label, meaning(label, slices.Sorted(maps.Keys(values[label]))))
		}
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			var edges []string
			for _, bucket := range h.GetBucket() {
				edges = append(edges, fmt.Sprint(bucket.GetUpperBound()))
			}
			fmt.Fprintf(&lists, "- edges, in seconds: %s\n", strings.Join(edges, ", "))
		}
	}
	b.WriteString("\n## Label values and edges\n")
	b.WriteString(withoutBare(lists.String()))
	return b.String()
}

// meaning lists a label's values, or says where they come from.
func meaning(label string, values []string) string {
	switch label {
	case "country":
		return "each of `COUNTRIES`, and `ZZ`"
	case "version":
		return "of the build"
	case "goversion":
		return "that it was built with"
	case "route":
		return "the pattern that matched, such as `/orders/{id}`, or `none`"
	case "method":
		return "`GET` (and what asks by HEAD), `POST` or `other`"
	case "code":
		return "by class, such as `2xx`"
	}
	return code(values)
}

func code(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "`" + strings.Join(words, "`, `") + "`"
}

// withoutBare leaves out the headings that nothing stands under.
func withoutBare(lists string) string {
	var kept []string
	for section := range strings.SplitSeq(lists, "\n### ") {
		if name, body, _ := strings.Cut(section, "\n"); strings.TrimSpace(body) != "" {
			kept = append(kept, "\n### "+name+"\n"+strings.TrimRight(body, "\n")+"\n")
		}
	}
	return strings.Join(kept, "")
}
