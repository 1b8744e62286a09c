package handlers

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/countersign/countersign/flow"
)

//go:embed pages
var embedded embed.FS

// pages are the templates and what they refer to, read once.
type pages struct {
	templates map[string]*template.Template // by file
	assets    map[string]asset              // by the name they are served under
}

// pageFiles are the pages; each is laid out by layout.html.
var pageFiles = []string{"order.html", "complete.html", "error.html"}

// assetFiles are where the assets lie below pages/, by the name they are
// served under.
var assetFiles = map[string]string{
	"pico.css": "third_party/pico/css/pico.classless.min.css",
	"page.css": "page.css",
	"order.js": "order.js",
	"icon.svg": "icon.svg",
}

// An asset is a file that pages refer to.
type asset struct {
	contentType string
	body        []byte
	zipped      []byte // by gzip
	hash        string // of body, in hexadecimal
}

// readPages reads the pages, of which those in own take the place of ours.
func readPages(own fs.FS) (*pages, error) {
	ours, err := fs.Sub(embedded, "pages")
	if err != nil {
		return nil, err
	}
	p := &pages{templates: make(map[string]*template.Template), assets: make(map[string]asset)}
	for name, file := range assetFiles {
		body, err := fs.ReadFile(ours, file)
		if err != nil {
			return nil, err
		}
		if p.assets[name], err = newAsset(name, body); err != nil {
			return nil, err
		}
	}
	assets := p.placed()
	read := func(file string) (string, error) {
		if own != nil {
			text, err := fs.ReadFile(own, file)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return assets.Replace(string(text)), err
			}
		}
		text, err := fs.ReadFile(ours, file)
		return assets.Replace(string(text)), err
	}
	layout, err := read("layout.html")
	if err != nil {
		return nil, err
	}
	for _, file := range pageFiles {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		t := template.New("layout.html").Option("missingkey=error").Funcs(template.FuncMap{"asset": p.url})
		if _, err := t.Parse(layout); err != nil {
			return nil, err
		}
		if _, err := t.New(file).Parse(text); err != nil {
			return nil, err
		}
		p.templates[file] = t
	}
	return p, nil
}

// url is where an asset is served. It changes with its content, so that it may
// be cached forever.
func (p *pages) url(name string) (string, error) {
	a, ok := p.assets[name]
	if !ok {
		return "", fmt.Errorf("no asset %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(p.assets)), ", "))
	}
	return "/static/" + name + "?v=" + a.version(), nil
}

// placed puts the assets' addresses into a template, where they stand alone
// between quotes. They are the same on every page, and a template would call for
// each, and for each of its escapes, by reflection: a fifth of what it takes to
// draw one.
func (p *pages) placed() *strings.Replacer {
	var pairs []string
	for name := range p.assets {
		address, _ := p.url(name) // there is one of that name
		pairs = append(pairs, `"{{asset "`+name+`"}}"`, `"`+template.HTMLEscapeString(address)+`"`)
	}
	return strings.NewReplacer(pairs...)
}

func newAsset(name string, body []byte) (asset, error) {
	sum := sha256.Sum256(body)
	a := asset{body: body, hash: hex.EncodeToString(sum[:])}
	switch path.Ext(name) {
	case ".css":
		a.contentType = "text/css; charset=utf-8"
	case ".js":
		a.contentType = "text/javascript; charset=utf-8"
	case ".svg":
		a.contentType = "image/svg+xml"
	default:
		return asset{}, fmt.Errorf("no content type for %s", name)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(body); err != nil {
		return asset{}, err
	}
	if err := z.Close(); err != nil {
		return asset{}, err
	}
	a.zipped = zipped.Bytes()
	return a, nil
}

func (a asset) version() string { return a.hash[:12] }

// static serves an asset. One asked for by its present version never changes;
// any other, perhaps of a page that another release served, is asked about
// each time.
func (s *Server) static(w http.ResponseWriter, r *http.Request) error {
	return serveAsset(w, r, s.pages.assets, seen(r).vars["file"])
}

func serveAsset(w http.ResponseWriter, r *http.Request, assets map[string]asset, file string) error {
	a, ok := assets[file]
	if !ok {
		return errNoPage
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.version() {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Type", a.contentType)
	h.Add("Vary", "Accept-Encoding")
	body, etag := a.body, a.hash[:32]
	if acceptsGzip(r) {
		body, etag = a.zipped, etag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", strconv.Quote(etag))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, q, _ := strings.Cut(coding, ";")
		if strings.TrimSpace(name) == "gzip" {
			weight := strings.TrimSpace(q)
			return weight != "q=0" && weight != "q=0.0"
		}
	}
	return false
}

// A page is what a template is given.
type page struct {
	file string

	Shop  string
	Title string
	// Problems come first, where a screen reader and the eye begin.
	Problems []problem
	// Request is the id to quote where the fault is ours; else empty.
	Request string

	// Number and PIN are as typed, Values are the form's other fields.
	Number, PIN string
	Values      map[string]string

	Home   string // the country whose numbers need no country code
	Length int    // of the PIN

	// Order is nil until one is kept.
	Order *view
	// Given is what the order form held.
	Given []flow.Entry
	// Final reports that the order has ended.
	Final bool
	// Renew reports that a text would bring a new PIN.
	Renew bool
}

// Value is what a field of the form holds.
func (p *page) Value(field string) string { return p.Values[field] }

// Problem is what is wrong with a field; empty for nothing.
func (p *page) Problem(field string) string { return p.At(field).Message }

// At is what is wrong with a field, with the field.
func (p *page) At(field string) problem {
	for _, found := range p.Problems {
		if found.Field == field {
			return found
		}
	}
	return problem{Field: field}
}

// formPage is the form without an order, as it was posted.
func formPage(p posting) *page {
	return &page{file: "order.html", Title: "Place your order", Number: p.number, PIN: p.pin, Values: entered(p.entries)}
}

// orderPage is the form of an order: with the entries kept, and over them
// those just posted.
func (s *Server) orderPage(st flow.Standing, p posting) *page {
	v := s.view(st)
	values := entered(st.Conversation.Entries)
	maps.Copy(values, entered(p.entries))
	title := "Confirm your order"
	if !st.Conversation.State.Open() {
		title = "Your order"
	}
	return &page{
		file: "order.html", Title: title, Number: p.number, PIN: p.pin, Values: values,
		Length: s.length(st),
		Order:  &v, Given: st.Conversation.Entries, Final: !st.Conversation.State.Open(),
		Renew: !st.Live || st.Conversation.State == flow.Locked,
	}
}

// draw fills p in.
func (s *Server) draw(p *page) ([]byte, error) {
	if p.file == "error.html" && len(p.Problems) == 1 && p.Request == "" {
		return s.drawError(p)
	}
	return s.drawn(p)
}

func (s *Server) drawn(p *page) ([]byte, error) {
	p.Shop, p.Home, p.Length = s.Shop, s.home, cmp.Or(p.Length, s.PINLength)
	var body bytes.Buffer
	err := s.pages.templates[p.file].ExecuteTemplate(&body, "layout.html", p)
	return body.Bytes(), err
}

// drawError draws a page that only says what is wrong once for all that it is
// shown to: what is refused a thousand times a second must cost us no more than
// it costs to ask.
func (s *Server) drawError(p *page) ([]byte, error) {
	key := [...]string{p.Title, p.Problems[0].Message}
	if body, ok := s.errorPages.Get(key); ok {
		return body, nil
	}
	body, err := s.drawn(p)
	if err == nil {
		s.errorPages.Add(key, body)
	}
	return body, err
}

// rehearse draws every page once. One of the shop's own that cannot be drawn
// is better found at start than by a customer. The empty form is kept: it is the
// same for all.
func (s *Server) rehearse() (err error) {
	open, ended := s.orderPage(flow.Standing{}, posting{}), s.orderPage(flow.Standing{}, posting{})
	open.Final, ended.file = false, "complete.html"
	for _, p := range []*page{open, ended, {file: "error.html", Problems: []problem{{}}}} {
		if _, err := s.draw(p); err != nil {
			return err
		}
	}
	s.emptyForm, err = s.draw(formPage(posting{}))
	return err
}

// renderPage writes p, whole or not at all.
func (s *Server) renderPage(w http.ResponseWriter, r *http.Request, status int, p *page) {
	body, err := s.draw(p)
	if err != nil {
		s.Log.ErrorContext(r.Context(), "render page", "page", p.file, "error", err)
		writeText(w, http.StatusInternalServerError, ourFault+"\n")
		return
	}
	w.Header().Add("Vary", "Accept")
	writePage(w, status, body)
}

func writePage(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // html/template has escaped it
}

// countryName spells a country out as it is used in a sentence.
func countryName(region string) string {
	r, err := language.ParseRegion(region)
	if err != nil {
		return region
	}
	name := display.English.Regions().Name(r)
	for _, plural := range []string{"United", "Netherlands", "Philippines"} {
		if strings.HasPrefix(name, plural) {
			return "the " + name
		}
	}
	return name
}
