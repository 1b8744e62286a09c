package handlers

import (
	"bytes"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// opsPages are the templates of the ops pages and what they refer to.
type opsPages struct {
	templates map[string]*template.Template
	assets    map[string]asset
}

// opsPageFiles are the pages below pages/ops/; layout.html there lays them out.
var opsPageFiles = []string{"orders.html", "order.html", "texts.html", "outbox.html", "flow.html", "settings.html", "error.html"}

var opsAssetFiles = map[string]string{
	"pico.css": assetFiles["pico.css"],
	"ops.css":  "ops/ops.css",
	"icon.svg": assetFiles["icon.svg"],
}

func readOpsPages() (*opsPages, error) {
	ours, err := fs.Sub(embedded, "pages")
	if err != nil {
		return nil, err
	}
	p := &opsPages{templates: make(map[string]*template.Template), assets: make(map[string]asset)}
	for name, file := range opsAssetFiles {
		body, err := fs.ReadFile(ours, file)
		if err != nil {
			return nil, err
		}
		if p.assets[name], err = newAsset(name, body); err != nil {
			return nil, err
		}
	}
	layout := template.New("layout.html").Funcs(template.FuncMap{
		"asset": func(name string) string { return "/ops/static/" + name + "?v=" + p.assets[name].version() },
		"stamp": stamp, "rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"meaning": reasonOf,
		"states":  func() []flow.State { return flow.States },
	})
	if _, err := layout.ParseFS(ours, "ops/layout.html"); err != nil {
		return nil, err
	}
	for _, file := range opsPageFiles {
		t, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if p.templates[file], err = t.ParseFS(ours, "ops/"+file); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// An opsPage is what the templates are given; each uses some of it.
type opsPage struct {
	Path    string // of the page, for the menu
	Now     time.Time
	Title   string
	Problem string // comes first
	// Every has the browser ask again after so many seconds; 0 for not.
	Every int

	// Lists of orders: what was searched for, and where older ones begin.
	Census flow.Census
	Search flow.Search
	Typed  string // the number as it was typed, if one was searched for
	Orders []orderRow
	Next   uuid.UUID

	// One order.
	Order    *orderRow
	Revealed bool // its number is shown
	Facts    []fact
	Line     []fact
	Moments  []flow.Moment

	// Texts.
	Code     string // of Twilio's, or "none"; empty for all
	Failures []failureRow
	Texts    []textRow
	Dead     []textRow

	Drawing  *drawing
	Settings []Setting
}

// More reports that there is more to list or to look at.
func (p opsPage) More() bool { return p.Next != uuid.Nil }

// Leased and Waiting count the outbox.
func (p opsPage) Leased() int  { return p.Census.Outbox[flow.Leased] }
func (p opsPage) Waiting() int { return p.Census.Outbox[flow.Waiting] }

// On reports whether a part of the menu is where we are.
func (p opsPage) On(path string) bool {
	if path == "/ops/" {
		return p.Path == path || strings.HasPrefix(p.Path, "/ops/orders/") || p.Path == "/ops/find"
	}
	return strings.HasPrefix(p.Path, path)
}

// render writes a page, whole or not at all.
func (o *Ops) render(w http.ResponseWriter, r *http.Request, status int, file string, p opsPage) {
	p.Path, p.Now = r.URL.Path, o.Now()
	var body bytes.Buffer
	if err := o.pages.templates[file].ExecuteTemplate(&body, "layout.html", p); err != nil {
		o.Log.ErrorContext(r.Context(), "render ops page", "page", file, "error", err)
		writeText(w, http.StatusInternalServerError, "This page could not be drawn; the log says why.\n")
		return
	}
	writePage(w, status, body.Bytes())
}

func (o *Ops) static(w http.ResponseWriter, r *http.Request) error {
	return serveAsset(w, r, o.pages.assets, r.PathValue("file"))
}
