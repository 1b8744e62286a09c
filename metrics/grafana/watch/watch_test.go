package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// The plan, in the time of the rules: shops trade, something happens to them,
// and it is watched for long enough that the slowest alert fires, and those that
// should not would have.
const (
	goesWell = 25 * time.Minute
	watched  = 50 * time.Minute
	// every so often an order is made: more than twenty in half an hour, which
	// is what ConversionDropped asks for, and less than the thirty segments of
	// CountrySpike, since the shop has no yesterday.
	every = 72 * time.Second
)

// What ops see of a fault is its alert and no other; and nothing where nothing
// is wrong. Each shop is an app of its own to one Prometheus, as the rules have
// it, so all is played at once.
//
// A fault that would be told by two alerts is a fault in the rules: where one
// fact shows in several metrics, the rules leave it to the alert that names it.
func TestOpsSeeFaults(t *testing.T) {
	bin := t.TempDir()
	build(t, bin)
	// A machine that is too busy to scrape a dozen programs twice a second says
	// nothing of them: it is given more time.
	paces := []pace{{windows: 60, ages: 6}, {windows: 20, ages: 2}}
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		paces = []pace{{windows: 15, ages: 1}}
	}
	for i, p := range paces {
		starved := false
		t.Run(fmt.Sprintf("%d times as fast", p.windows), func(t *testing.T) {
			starved = play(t, bin, p, i == len(paces)-1)
		})
		if !starved {
			return
		}
	}
}

// play plays everything at a pace and judges it, unless the machine was too
// busy and this is not the last try.
func play(t *testing.T, bin string, p pace, last bool) (starved bool) {
	faster := filepath.Join(t.TempDir(), "rules.yaml")
	rules := p.rules(t, "../../alerts/rules.yaml", faster)
	drills := drills()
	all := append([]drill{{app: "every-road", settings: roads}}, drills...)
	shops := make([]*shop, len(all))
	for i, d := range all {
		var settings map[string]string
		if d.settings != nil {
			settings = d.settings(t)
		}
		shops[i] = open(t, d.app, bin, settings)
	}
	for _, s := range shops {
		s.opened()
	}
	prom := scrape(t, shops, faster, p)

	ctx, cancel := context.WithTimeout(t.Context(), p.of(goesWell+watched))
	defer cancel()
	var playing sync.WaitGroup
	for i, d := range all {
		playing.Go(func() { shops[i].trade(ctx, p.of(every)) })
		if d.happens != nil {
			playing.Go(func() {
				pass(ctx, p.of(goesWell))
				d.happens(ctx, shops[i])
			})
		}
	}
	playing.Go(func() {
		pass(ctx, p.of(5*time.Minute)) // what is counted before the first scrape is no increase
		everyRoad(ctx, shops[0])
		pass(ctx, p.of(goesWell))
		shops[0].crash()
	})
	playing.Wait()

	ctx = t.Context()
	// After as long as this, it is Down.
	blind := fmt.Sprintf(`min(avg_over_time(up{app!~"is-gone|every-road"}[%s])) < 0.5`, model.Duration(p.of(5*time.Minute)))
	if missed := prom.over(ctx, blind); len(missed) > 0 && !last {
		t.Logf("Prometheus could not scrape for %v: the machine is too busy for this pace", time.Duration(len(missed[0].Values))*prom.step)
		return true
	}
	for _, s := range shops {
		for _, c := range s.complaints {
			t.Errorf("%s: %s", s.app, c)
		}
	}
	t.Run("every rule is loaded and evaluated", func(t *testing.T) {
		loaded := prom.rules(ctx)
		if len(loaded) != rules {
			t.Errorf("%d rules are loaded, want %d", len(loaded), rules)
		}
		for _, r := range loaded {
			if r.Health != "ok" {
				t.Errorf("%s %s is %s: %s", r.Type, r.Name, r.Health, r.LastError)
			}
		}
	})
	told := make(map[string]map[string]bool) // alerts by app
	for _, s := range prom.over(ctx, `ALERTS{alertstate="firing"}`) {
		app := s.Metric["app"]
		if told[app] == nil {
			told[app] = make(map[string]bool)
		}
		told[app][s.Metric["alertname"]] = true
	}
	if len(told[""]) > 0 {
		t.Errorf("of no shop in particular: %v", slices.Sorted(maps.Keys(told[""])))
	}
	for _, d := range drills {
		t.Run(d.app, func(t *testing.T) {
			if got := slices.Sorted(maps.Keys(told[d.app])); !slices.Equal(got, d.raises) {
				t.Errorf("it raises %v, want %v", got, d.raises)
			}
		})
	}
	panels(t, prom, p)
	for _, q := range []string{`max(scrape_duration_seconds)`, `max(scrape_samples_scraped)`} {
		t.Logf("%s: %v", q, top(prom.over(ctx, q)))
	}
	return false
}

// empty are the panels that have nothing to show here, and why.
var empty = map[string]string{
	"Answers at Fly's edge": "Fly's proxy tells it, not we",
	"Volume used":           "Fly tells it",
	"Killed for memory":     "Fly tells it",
}

// seldom are the panels that may have nothing to show, and why.
var seldom = map[string]string{
	"Waits for a connection": "so few customers never wait for a reader",
}

// panels asks all that every dashboard asks, of all shops together. Each query
// must return something, and more than nothing at some time.
func panels(t *testing.T, prom *prometheus, p pace) {
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("the dashboards are %v, %v", files, err)
	}
	// Grafana's $__rate_interval is four scrapes at least.
	vars := strings.NewReplacer("$__rate_interval", (4 * interval).String(), "$__range", (2 * (goesWell + watched)).String(),
		"$app", ".*", "$instance", ".*")
	bare := maps.Clone(empty)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Title       string
			Panels      []panel
			Annotations struct{ List []panel }
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatal(err)
		}
		for _, panel := range flat(append(board.Panels, board.Annotations.List...)) {
			for _, target := range panel.asks() {
				t.Run(fmt.Sprintf("%s/%s/%s", board.Title, panel.name(), target.RefID), func(t *testing.T) {
					query, err := p.expr(vars.Replace(target.Expr))
					if err != nil {
						t.Fatal(err)
					}
					found := prom.over(t.Context(), query)
					if target.Instant {
						found = prom.now(t.Context(), query)
					}
					delete(bare, panel.name())
					_, bare := empty[panel.name()]
					if _, may := seldom[panel.name()]; may {
						bare = len(found) > 0 && top(found) == 0
					}
					if seen := top(found); (seen > 0) == bare || math.IsInf(seen, 0) {
						t.Errorf("%d series, the most of which is %v: %s", len(found), seen, query)
					}
				})
			}
		}
	}
	for title := range bare {
		t.Errorf("no panel is called %s", title)
	}
}

// A panel is one as Grafana imports it: a row of others, an annotation, or one
// that asks.
type panel struct {
	Title, Name string
	Panels      []panel
	Targets     []target
	Target      target
}

type target struct {
	RefID   string
	Expr    string
	Instant bool
}

func (p panel) name() string { return p.Title + p.Name }

func (p panel) asks() []target {
	if p.Target.Expr != "" {
		return []target{p.Target}
	}
	return p.Targets
}

// flat are the panels, those in rows too.
func flat(panels []panel) (all []panel) {
	for _, p := range panels {
		all = append(append(all, p), flat(p.Panels)...)
	}
	return all
}

// top is the greatest value there is; NaN if there is none.
func top(found []series) float64 {
	most := math.NaN()
	for _, s := range found {
		for _, v := range s.Values {
			if math.IsNaN(most) || v.Value > most {
				most = v.Value
			}
		}
	}
	return most
}
