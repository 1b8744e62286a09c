package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// A prometheus is one at work.
type prometheus struct {
	t     *testing.T
	url   string
	began time.Time
	step  time.Duration // from scrape to scrape
}

// Prometheus looks at each shop, and judges, twice a minute.
const interval = 30 * time.Second

// scrape starts a Prometheus that scrapes the shops and judges them by the
// rules in a file, at a pace.
func scrape(t *testing.T, shops []*shop, rules string, p pace) *prometheus {
	t.Helper()
	dir := t.TempDir()
	every := model.Duration(p.of(interval))
	var config strings.Builder
	_, _ = fmt.Fprintf(&config, "global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}\n", every)
	_, _ = fmt.Fprintf(&config, "rule_files: [%q]\nscrape_configs:\n- job_name: countersign\n  static_configs:\n", rules)
	for _, s := range shops {
		_, _ = fmt.Fprintf(&config, "  - {targets: [%q], labels: {app: %q}}\n", s.ops, s.app)
	}
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := freeAddr(t)
	cmd := exec.CommandContext(t.Context(), "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+listen, "--query.lookback-delta="+model.Duration(p.of(5*time.Minute)).String())
	prom := &prometheus{t: t, url: "http://" + listen, step: p.of(interval)}
	running := start(t, filepath.Join(dir, "prometheus.log"), cmd)
	answers(t, running, prom.url+"/-/ready")
	// It takes some seconds until it looks for the first time, in which, at such
	// a pace, all are Down.
	ctx := t.Context()
	for len(prom.now(ctx, `countersign_build_info`)) < len(shops) || len(prom.now(ctx, `ALERTS`)) > 0 {
		pass(ctx, prom.step)
	}
	prom.began = time.Now()
	return prom
}

// A series is one that a query returned.
type series struct {
	Metric map[string]string
	Values []sample // of a range
	Value  sample   // of an instant
}

// A sample is a time and a value, in Prometheus's own way.
type sample struct {
	At    float64
	Value float64
}

// UnmarshalJSON reads [time, "value"].
func (s *sample) UnmarshalJSON(text []byte) error {
	var value string
	if err := json.Unmarshal(text, &[]any{&s.At, &value}); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(value, 64)
	s.Value = v
	return err
}

// get asks Prometheus's API.
func (p *prometheus) get(ctx context.Context, path string, q url.Values, data any) {
	p.t.Helper()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	code, err := call(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+q.Encode(), nil, &answer)
	if err != nil || answer.Status != "success" {
		p.t.Fatalf("Prometheus on %s %v: %d, %v, %s", path, q, code, err, answer.Error)
	}
}

// over is what a query returns over the whole of the run.
func (p *prometheus) over(ctx context.Context, query string) []series {
	p.t.Helper()
	var data struct{ Result []series }
	unix := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	p.get(ctx, "query_range", url.Values{
		"query": {query}, "start": {unix(p.began)}, "end": {unix(time.Now())}, "step": {fmt.Sprint(p.step.Seconds())},
	}, &data)
	return data.Result
}

// now is what a query returns at this moment.
func (p *prometheus) now(ctx context.Context, query string) []series {
	p.t.Helper()
	var data struct{ Result []series }
	p.get(ctx, "query", url.Values{"query": {query}}, &data)
	for i := range data.Result {
		data.Result[i].Values = []sample{data.Result[i].Value}
	}
	return data.Result
}

// A loaded rule is one as Prometheus has it.
type loaded struct{ Name, Type, Health, LastError string }

func (p *prometheus) rules(ctx context.Context) (all []loaded) {
	p.t.Helper()
	var data struct{ Groups []struct{ Rules []loaded } }
	p.get(ctx, "rules", nil, &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}
