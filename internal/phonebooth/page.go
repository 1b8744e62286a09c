package phonebooth

import (
	"embed"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

//go:embed page
var files embed.FS

// pages serves the page of telephones.
func (b *Booth) pages(mux *http.ServeMux) {
	for path, name := range map[string]string{
		"GET /{$}":           "page/index.html",
		"GET /booth/app.js":  "page/app.js",
		"GET /booth/app.css": "page/app.css",
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "same-origin")
			h.Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, files, name)
		})
	}
}

// State is all that the page shows.
type State struct {
	Account    string      `json:"account"`
	Numbers    []string    `json:"numbers"`
	Service    string      `json:"service,omitempty"`
	InboundURL string      `json:"inbound_url,omitempty"`
	Now        time.Time   `json:"now"`
	Phones     []string    `json:"phones"`
	Messages   []Message   `json:"messages"` // of these telephones, the latest of each
	OptOuts    []OptOut    `json:"opt_outs"`
	Webhooks   []Webhook   `json:"webhooks"` // newest first
	Debugger   []Trouble   `json:"debugger"` // newest first
	Faults     []Fault     `json:"faults"`
	Kinds      []FaultKind `json:"kinds"`
}

// An OptOut is a telephone that wants no texts from Scope: a number, or a
// Messaging Service.
type OptOut struct {
	Number string `json:"number"`
	Scope  string `json:"scope"`
}

// A FaultKind is a kind of fault and what it means.
type FaultKind struct {
	Kind  string `json:"kind"`
	Means string `json:"means"`
}

// What the page shows at most.
const (
	shownPerPhone = 60
	shownTroubles = 30
	shownWebhooks = 20
)

func (b *Booth) state() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := State{
		Account: b.cfg.AccountSid, Numbers: b.cfg.Numbers, Service: b.cfg.ServiceSid,
		InboundURL: b.cfg.InboundURL, Now: b.now().UTC(),
		Phones: append([]string{}, b.phones...), Messages: b.onPhones(), OptOuts: []OptOut{},
		Webhooks: b.webhooks.list(), Debugger: b.debugger.list(), Faults: b.faults.list(),
	}
	s.Webhooks = s.Webhooks[:min(len(s.Webhooks), shownWebhooks)]
	s.Debugger = s.Debugger[:min(len(s.Debugger), shownTroubles)]
	for l := range b.optouts {
		if slices.Contains(s.Phones, l.handset) {
			s.OptOuts = append(s.OptOuts, OptOut{l.handset, l.scope})
		}
	}
	for _, k := range Kinds() {
		s.Kinds = append(s.Kinds, FaultKind{k, kinds[k].Means})
	}
	return s
}

// onPhones is the latest texts of each telephone on the page, oldest first.
// The caller holds the lock.
func (b *Booth) onPhones() []Message {
	left := map[string]int{}
	for _, p := range b.phones {
		left[p] = shownPerPhone
	}
	list := []Message{}
	for i := len(b.messages.order) - 1; i >= 0; i-- {
		m := b.messages.order[i]
		if left[m.handset()] > 0 {
			left[m.handset()]--
			list = append(list, m.shown())
		}
	}
	slices.Reverse(list)
	return list
}

// A bell rings for all who listen. Those who are slow hear one ring for many.
type bell struct {
	mu        sync.Mutex
	listeners map[chan struct{}]bool
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (b *bell) listen() (rings <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[chan struct{}]bool{}
	}
	b.listeners[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}

// changed tells the pages that look on that there is something to see.
func (b *Booth) changed() { b.bell.ring() }

// events says, as server-sent events, that something changed: the page then
// asks for the state. A comment now and then keeps proxies from hanging up.
func (b *Booth) events(w http.ResponseWriter, r *http.Request) {
	rings, stop := b.bell.listen()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	say := "data: changed\n\n"
	for {
		if _, err := fmt.Fprint(w, say); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case <-rings:
			say = "data: changed\n\n"
		case <-tick.C:
			say = ":\n\n"
		case <-r.Context().Done():
			return
		case <-b.closed:
			return
		}
	}
}
