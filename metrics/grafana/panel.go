package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// A panel answers one question.
type panel struct {
	kind    kind
	title   string
	about   string  // what is to be seen, and when to worry
	unit    string  // one of Grafana's
	wide    uint32  // of the grid's 24 columns
	colors  []color // of series whose name means good or bad
	steps   []step  // where it turns from good to bad; none for no opinion
	most    float64 // of what the axis shows at least, or a bar at most; 0 leaves that to the data
	beside  bool    // the legend stands at the right, since its names are many and long
	empty   string  // a stat's words where there is nothing to show
	queries []query
	runbook string // the section of docs/runbook.md about it, if it has an alert
}

// kind is how a panel is drawn.
type kind int

const (
	number  kind = iota // one number, for the whole of the time shown
	lines               // each query's series over time
	stacked             // the same, where their sum means something
	bars                // one bar for each series, for the whole of the time shown
)

func (k kind) high() uint32 {
	if k == number {
		return 4
	}
	return 8
}

// over reports that a panel sums the time shown up, rather than drawing it.
func (k kind) over() bool { return k == number || k == bars }

// A query's expr is PromQL, in which {* stands for {app and instance as chosen
// above. Legend is Grafana's.
type query struct{ expr, legend string }

// A step is where a colour begins.
type step struct {
	from  float64
	color string
}

// A color is that of the series of one name.
type color struct{ name, color string }

// What the values of labels mean. Where the palette chose, a failure could be
// green.
var (
	states   = []color{{"asked", "blue"}, {"confirmed", "green"}, {"declined", "purple"}, {"lapsed", "yellow"}, {"unreachable", "orange"}, {"locked", "red"}}
	judged   = []color{{"matched", "green"}, {"proved", "dark-green"}, {"late", "blue"}, {"malformed", "purple"}, {"missed", "yellow"}, {"spent", "orange"}, {"last_miss", "red"}, {"barred", "dark-red"}}
	outcomes = []color{{"accepted", "green"}, {"waiting", "yellow"}, {"dropped", "blue"}, {"failed", "red"}}
	failures = []color{{"config", "dark-red"}, {"bug", "red"}, {"country", "dark-orange"}, {"retry", "yellow"}, {"unknown", "dark-yellow"}, {"expired", "light-orange"}, {"fraud", "purple"}, {"carrier", "orange"}, {"number", "blue"}, {"opted_out", "light-blue"}}
	remedies = []color{{"hold", "red"}, {"retry", "yellow"}, {"reconcile", "blue"}, {"unreachable", "orange"}, {"opt_out", "light-blue"}, {"drop", "purple"}}
	statuses = []color{{"sent", "blue"}, {"delivered", "green"}, {"canceled", "purple"}, {"undelivered", "orange"}, {"failed", "red"}}
	calls    = []color{{"ok", "green"}, {"duplicate", "blue"}, {"malformed", "yellow"}, {"bad_signature", "orange"}, {"error", "red"}}
	classes  = []color{{"2xx", "green"}, {"3xx", "blue"}, {"4xx", "yellow"}, {"5xx", "red"}}
	commits  = []color{{"ok", "green"}, {"heard", "blue"}, {"claimed", "purple"}, {"stale", "yellow"}, {"spent", "orange"}, {"error", "red"}}
)

// rising turns red where much is bad, falling where little is.
func rising(warn, bad float64) []step {
	return []step{{0, "green"}, {warn, "yellow"}, {bad, "red"}}
}

func falling(bad, warn float64) []step {
	return []step{{0, "red"}, {bad, "yellow"}, {warn, "green"}}
}

const (
	perMinute = units.CountsPerMinute // orders are sparse: per second, all would be 0.0x
	seconds   = units.Seconds
	share     = units.PercentUnit // of 1
	percent   = units.Percent     // of 100
	count     = units.Short
	dollars   = units.Dollars
	size      = units.BytesIEC
)

// chosen has every query look at the apps and machines that were chosen. Fly
// sets both labels; where app is missing, its "all" matches that too.
var chosen = strings.NewReplacer("{*", `{app=~"$app",instance=~"$instance"`)

const repository = "https://github.com/countersign/countersign/blob/main/"

var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

func (p panel) draw(id uint32) cog.Builder[dashboard.Panel] {
	switch p.kind {
	case number:
		b := stat.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source).
			Unit(p.unit).Span(p.wide).Height(p.kind.high()).Targets(p.targets()).Links(p.links()).
			Thresholds(thresholds(p.steps, "text")).ColorScheme(byThreshold).NoValue(p.empty).
			GraphMode(common.BigValueGraphModeNone).Orientation(common.VizOrientationAuto).ColorMode(common.BigValueColorModeValue).
			ReduceOptions(last)
		if p.unit == dollars {
			b.Decimals(2)
		}
		return b
	case bars:
		b := bargauge.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source).
			Unit(p.unit).Span(p.wide).Height(p.kind.high()).Targets(p.targets()).Links(p.links()).
			Thresholds(thresholds(p.steps, "blue")).ColorScheme(byThreshold).Min(0).NoValue(p.empty).
			Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).
			// A shop's only country would else fill the panel, its name cut off.
			Sizing(common.BarGaugeSizingManual).MinVizHeight(16).MaxVizHeight(32).
			ReduceOptions(last)
		if p.most > 0 {
			b.Max(p.most)
		}
		return b
	default:
		legend := common.LegendPlacementBottom
		if p.beside {
			legend = common.LegendPlacementRight
		}
		b := timeseries.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source).
			Unit(p.unit).Span(p.wide).Height(p.kind.high()).Targets(p.targets()).Links(p.links()).
			AxisSoftMin(0).ShowPoints(common.VisibilityModeNever).LineWidth(2).
			Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).
				DisplayMode(common.LegendDisplayModeList).Placement(legend)).
			Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
		if p.most > 0 {
			b.AxisSoftMax(p.most)
		}
		if p.kind == stacked {
			// Without lines, or the last of them, even at nothing, would run
			// along the top of all.
			b.LineWidth(0).FillOpacity(70).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
		}
		for _, c := range p.colors {
			b.OverrideByName(c.name, []dashboard.DynamicConfigValue{{
				Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": c.color},
			}})
		}
		if p.steps != nil {
			b.Thresholds(thresholds(p.steps, "text")).
				ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
		}
		return b
	}
}

var (
	last        = common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Values(false)
	byThreshold = dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)
)

func (p panel) targets() []cog.Builder[variants.Dataquery] {
	var targets []cog.Builder[variants.Dataquery]
	for i, q := range p.queries {
		t := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source).
			Expr(chosen.Replace(q.expr)).LegendFormat(q.legend)
		if p.kind.over() {
			t.Instant()
		} else {
			t.Range()
		}
		targets = append(targets, t)
	}
	return targets
}

func (p panel) links() []cog.Builder[dashboard.DashboardLink] {
	if p.runbook == "" {
		return nil
	}
	return []cog.Builder[dashboard.DashboardLink]{
		dashboard.NewDashboardLinkBuilder("What to do").Type(dashboard.DashboardLinkTypeLink).
			Url(repository + "docs/runbook.md#" + p.runbook).TargetBlank(true),
	}
}

// thresholds are the steps; plain is the color where there are none.
func thresholds(steps []step, plain string) cog.Builder[dashboard.ThresholdsConfig] {
	drawn := []dashboard.Threshold{{Color: plain}}
	if len(steps) > 0 {
		drawn = nil
	}
	for i, s := range steps {
		t := dashboard.Threshold{Color: s.color}
		if i > 0 { // the first reaches down without end
			t.Value = cog.ToPtr(s.from)
		}
		drawn = append(drawn, t)
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(drawn)
}
