package watch

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// A pace is how much faster than in life time passes for Prometheus. Ratios and
// counts are what they are, and so are the volumes that the rules ask for, if
// the customers come as much faster.
type pace struct {
	// windows divides every duration: of ranges, offsets, "for", and between
	// scrapes and evaluations.
	windows time.Duration
	// ages divides what the rules compare an age with that the service tells in
	// seconds of its own clock. It is less, since the service is in no hurry: it
	// counts its outbox every 5 s and looks for due texts every second, and an
	// age that does not stand out against these tells nothing.
	ages float64
}

func (p pace) of(d time.Duration) time.Duration { return d / p.windows }

// aged are the metrics that tell an age, or a time of which the rules make one.
var aged = map[string]bool{
	"countersign_outbox_oldest_seconds":    true,
	"countersign_census_timestamp_seconds": true,
}

// expr is a query at that pace.
func (p pace) expr(query string) (string, error) {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", query, err)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			n.Range = p.of(n.Range)
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = p.of(n.Range), p.of(n.Step), p.of(n.OriginalOffset)
		case *parser.VectorSelector:
			n.OriginalOffset = p.of(n.OriginalOffset)
		case *parser.BinaryExpr:
			if limit, ok := n.RHS.(*parser.NumberLiteral); ok && n.Op.IsComparisonOperator() && tellsAge(n.LHS) {
				limit.Val /= p.ages
			}
		}
		return nil
	})
	return tree.String(), nil
}

func tellsAge(e parser.Expr) (tells bool) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			tells = tells || aged[s.Name]
		}
		return nil
	})
	return tells
}

// A group of rules, as they stand in a file.
type group struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval,omitempty"`
	Rules    []rule         `yaml:"rules"`
}

// A rule records or alerts.
type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         model.Duration    `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// rules writes those of one file to another, at that pace, and returns how many
// they are. What has a duration and is not known here is an error.
func (p pace) rules(t *testing.T, from, to string) (n int) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []group `yaml:"groups"`
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	if err := strict.Decode(&file); err != nil {
		t.Fatalf("read the rules: %v", err)
	}
	for i := range file.Groups {
		g := &file.Groups[i]
		g.Interval = model.Duration(p.of(time.Duration(g.Interval)))
		for i := range g.Rules {
			r := &g.Rules[i]
			r.For = model.Duration(p.of(time.Duration(r.For)))
			if r.Expr, err = p.expr(r.Expr); err != nil {
				t.Fatalf("%s%s: %v", r.Alert, r.Record, err)
			}
		}
		n += len(g.Rules)
	}
	if text, err = yaml.Marshal(file); err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The pace changes durations and ages, and nothing else.
func TestPace(t *testing.T) {
	p := pace{windows: 60, ages: 6}
	for _, tt := range []struct{ name, in, want string }{
		{"a range", `rate(x_total[5m]) > 60`, `rate(x_total[5s]) > 60`},
		{"an offset", `increase(x_total[1d] offset 30m) / 48`, `increase(x_total[24m] offset 30s) / 48`},
		{"less than a second", `rate(x_total[30s])`, `rate(x_total[500ms])`},
		{"a range of alerts", `a unless on (app) last_over_time(ALERTS{severity="page"}[45m])`, `a unless on (app) last_over_time(ALERTS{severity="page"}[45s])`},
		{"a subquery", `max_over_time(x[1h:1m] offset 2m)`, `max_over_time(x[1m:1s] offset 2s)`},
		{"an age", `max by (app) (countersign_outbox_oldest_seconds) > 60`, `max by (app) (countersign_outbox_oldest_seconds) > 10`},
		{"an age that is told as a time", `time() - max(countersign_census_timestamp_seconds) > 300`, `time() - max(countersign_census_timestamp_seconds) > 50`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := p.expr(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got = strings.Join(strings.Fields(got), " "); got != tt.want {
				t.Errorf("%s became %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}
