// Command grafana writes the dashboards of dashboards/ from the tables in this
// directory. One dashboard asks whether it works for customers, one where the
// money goes, one what goes on inside: overview.go, money.go and inside.go hold
// their panels, panel.go draws them.
//
//	go run .
//
// The JSON is in Grafana's classic model and names no data source, so that it
// can be pasted into any Grafana (Dashboards, New, Import; Fly's managed one
// too) or be provisioned: see provisioning.yaml. This is a module of its own
// because what makes and checks dashboards is far larger than the service.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

func main() {
	for _, b := range boards {
		text, err := b.json()
		if err == nil {
			err = os.WriteFile(b.file(), text, 0o644) //nolint:gosec // for everyone to read
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "grafana:", err)
			os.Exit(1)
		}
	}
}

// boards are all dashboards.
var boards = []board{overview, money, inside}

// A board is a dashboard: rows of panels, the most urgent first.
type board struct {
	uid   string // fixed, so that links and a second import find it again
	title string
	about string
	from  string // the time shown at first, up to now
	rows  []row
}

// A row is named by what its panels are about together.
type row struct {
	title  string
	closed bool // needs a click, for what is not there everywhere
	panels []panel
}

func (b board) file() string { return filepath.Join("dashboards", b.uid+".json") }

func (b board) json() ([]byte, error) {
	d, err := b.draw()
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", b.title, err)
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", b.title, err)
	}
	// PromQL compares, and is to be read; nobody pastes this into HTML.
	return append(bytes.ReplaceAll(text, []byte(`\u003e`), []byte(">")), '\n'), nil
}

// The classic model is deprecated for the new one, which older Grafanas cannot
// import; and Fly does not say which it runs.
type classic = dashboard.Dashboard //nolint:staticcheck // see above

func (b board) draw() (classic, error) {
	d := dashboard.NewDashboardBuilder(b.title) //nolint:staticcheck // see classic
	d.Uid(b.uid).Description(b.about).Tags([]string{tag}).
		Readonly().Timezone("utc").Time(b.from, "now").Refresh("1m").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Variables(variables()).Annotations(annotations()).Links(links())
	id := uint32(0)
	next := func() uint32 { id++; return id }
	for _, r := range b.rows {
		drawn := dashboard.NewRowBuilder(r.title).Id(next()).Collapsed(r.closed)
		if r.closed {
			for _, p := range r.panels {
				drawn.WithPanel(p.draw(next()))
			}
			d.WithRow(drawn)
			continue
		}
		d.WithRow(drawn)
		for _, p := range r.panels {
			d.WithPanel(p.draw(next()))
		}
	}
	built, err := d.Build()
	if err != nil {
		return built, err
	}
	// The SDK would tuck these away in a menu.
	untuck(built.Links)
	for i := range built.Annotations.List {
		built.Annotations.List[i].Placement = nil
	}
	for _, p := range built.Panels {
		if p.Panel != nil {
			untuck(p.Panel.Links)
			continue
		}
		for i := range p.RowPanel.Panels {
			untuck(p.RowPanel.Panels[i].Links)
		}
	}
	return built, nil
}

func untuck(links []dashboard.DashboardLink) {
	for i := range links {
		links[i].Placement = nil
	}
}

const tag = "countersign"

func variables() []cog.Builder[dashboard.VariableModel] {
	of := func(name, label, query string) cog.Builder[dashboard.VariableModel] {
		return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).
			Query(dashboard.StringOrMap{String: &query}).Definition(query).
			IncludeAll(true).Multi(true).AllValue(".*").Current(all).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
	}
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"),
		of("app", "App", "label_values(countersign_build_info, app)"),
		of("instance", "Machine", `label_values(countersign_build_info{app=~"$app"}, instance)`),
	}
}

var all = dashboard.VariableOption{
	Selected: cog.ToPtr(true),
	Text:     dashboard.StringOrArrayOfString{String: cog.ToPtr("All")},
	Value:    dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
}

func annotations() []cog.Builder[dashboard.AnnotationQuery] {
	of := func(name, color, expr, text string) cog.Builder[dashboard.AnnotationQuery] {
		expr = chosen.Replace(expr)
		return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(source).Enable(true).IconColor(color).
			Target(prometheus.NewDataqueryBuilder().RefId(name).Datasource(source).Expr(expr).Range()).
			Expr(expr).Step("60s").TitleFormat(name).TextFormat(text)
	}
	return []cog.Builder[dashboard.AnnotationQuery]{
		of("Deploy", "blue",
			`count by (version) (countersign_build_info{*}) unless count by (version) (countersign_build_info{*} offset 2m)`, "{{version}}"),
		of("Start", "orange",
			`changes(process_start_time_seconds{*}[2m]) > 0 and on (instance) countersign_build_info{*}`, "{{instance}}"),
	}
}

func links() []cog.Builder[dashboard.DashboardLink] {
	return []cog.Builder[dashboard.DashboardLink]{
		dashboard.NewDashboardLinkBuilder("Dashboards").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{tag}).KeepTime(true).IncludeVars(true),
		dashboard.NewDashboardLinkBuilder("Runbook").Type(dashboard.DashboardLinkTypeLink).Icon("doc").
			Url(repository + "docs/runbook.md").TargetBlank(true).Tooltip("What to do when an alert fires"),
		dashboard.NewDashboardLinkBuilder("Metrics").Type(dashboard.DashboardLinkTypeLink).Icon("doc").
			Url(repository + "docs/metrics.md").TargetBlank(true).Tooltip("What each metric answers"),
	}
}
