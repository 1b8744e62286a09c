package handlers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// An OpsDesk does by hand what [flow.Desk] does for customers.
type OpsDesk interface {
	Inspect(ctx context.Context, order uuid.UUID) (flow.Inspection, error)
	ResendFor(ctx context.Context, order uuid.UUID) error
	DeclineFor(ctx context.Context, order uuid.UUID) error
}

var _ OpsDesk = (*flow.Desk)(nil)

// An OpsLedger is what ops asks of a [flow.Ledger].
type OpsLedger interface {
	flow.Records
	Reload(ctx context.Context, id flow.LineID) (flow.Line, error)
	Message(ctx context.Context, id uuid.UUID) (flow.Message, error)
	MessageBySID(ctx context.Context, sid string, since time.Time) (flow.Message, error)
	Census(ctx context.Context, now time.Time) (flow.Census, error)
}

// A Setting is one in force. Its value is fit to be shown: a secret's is not
// the secret.
type Setting struct{ Name, Value, Help string }

// OpsConfig is what the ops pages are made of. All of it is required.
type OpsConfig struct {
	Desk   OpsDesk
	Ledger OpsLedger
	// Class sorts Twilio's error codes; see [flow.Sender].
	Class func(code int) flow.Class
	Rules flow.Rules
	// Settings are those in force.
	Settings []Setting
	Log      *slog.Logger
	Now      func() time.Time
}

// Ops answers the ops pages below /ops/. It is for the private listener alone:
// [Follow] must stand in front of it, and who may ask is decided there too, but
// for posts from another site, which it refuses. Every number is masked until it is asked for by a POST.
type Ops struct {
	OpsConfig
	pages   *opsPages
	handler http.Handler
}

// NewOps returns the ops pages, or what is wrong with c.
func NewOps(c OpsConfig) (*Ops, error) {
	if c.Desk == nil || c.Ledger == nil || c.Class == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("set up the ops pages: something is missing")
	}
	pages, err := readOpsPages()
	if err != nil {
		return nil, fmt.Errorf("read the ops pages: %w", err)
	}
	o := &Ops{OpsConfig: c, pages: pages}
	o.handler = o.safeguard(http.NewCrossOriginProtection().Handler(o.routes()))
	return o, nil
}

// ServeHTTP answers below /ops/.
func (o *Ops) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.handler.ServeHTTP(w, r) }

// routes holds every ops page. Nothing but a POST changes anything; a search
// is one too, so that no URL holds a number.
func (o *Ops) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /ops/{$}":                  o.orders,
		"POST /ops/find":                o.find,
		"GET /ops/orders/{id}":          o.order,
		"POST /ops/orders/{id}/number":  o.reveal,
		"POST /ops/orders/{id}/resend":  o.byHand("resend", o.Desk.ResendFor),
		"POST /ops/orders/{id}/decline": o.byHand("decline", o.Desk.DeclineFor),
		"GET /ops/texts":                o.texts,
		"GET /ops/outbox":               o.outbox,
		"POST /ops/outbox/{id}/try":     o.tryNow,
		"GET /ops/flow":                 o.flow,
		"GET /ops/settings":             o.settings,
		"GET /ops/static/{file}":        o.static,
	} {
		mux.HandleFunc(pattern, o.handle(h))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if missing, pattern := mux.Handler(r); pattern == "" {
			o.handle(astray(missing))(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// astray says, on a page of ours, what a ServeMux's handler for what it has no
// route for says: that there is nothing, or which methods there are.
func astray(missing http.Handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		missing.ServeHTTP(mute{w}, r)
		w.Header().Del("Location") // of a path that is not clean
		if allow := w.Header().Get("Allow"); allow != "" {
			return wrongMethod(allow)
		}
		return errNoPage
	}
}

// mute lets an answer have its headers and no more.
type mute struct{ http.ResponseWriter }

func (mute) WriteHeader(int)             {}
func (mute) Write(b []byte) (int, error) { return len(b), nil }

// Follow gives each request to the private listener its id and a line in the
// log, as customers' have: what is done by hand must be found again, with the
// text that it led to. Where next is a [http.ServeMux], it names the route of
// what is not Ops'. A trace is as [Config]'s; nil for nobody who does.
func Follow(next http.Handler, trace func(*http.Request, string) (context.Context, func(route, method string, status int)), log *slog.Logger, now func() time.Time) http.Handler {
	if trace == nil {
		trace = untraced
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := now()
		rec := &record{ResponseWriter: w, id: rand.Text()}
		ctx, answered := trace(r, rec.id)
		r = r.WithContext(context.WithValue(ctx, recordKey{}, rec))
		w.Header().Set("X-Request-Id", rec.id)
		next.ServeHTTP(rec, r)
		if rec.route == "" && r.Pattern != "" {
			rec.route = r.Pattern[strings.IndexByte(r.Pattern, '/'):]
		}
		answered(rec.route, usualMethod(r.Method), cmp.Or(rec.status, http.StatusOK))
		level := slog.LevelInfo
		if rec.route == "/ops/static/{file}" || rec.route == "/metrics" {
			level = slog.LevelDebug
		}
		rec.log(r, log, level, now().Sub(began))
	})
}

// safeguard sets the headers that every answer has. No page has a script.
func (o *Ops) safeguard(next http.Handler) http.Handler {
	headers := safeguards("default-src 'none'; style-src 'self'; img-src 'self' data:; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), headers)
		next.ServeHTTP(w, r)
	})
}

// opsWithin bounds what a page may take: nobody waits longer, and the database
// has other things to do.
const opsWithin = 10 * time.Second

// handle adapts h to net/http. It alone logs and renders errors.
func (o *Ops) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, route, _ := strings.Cut(r.Pattern, " ")
		seen(r).route = strings.TrimSuffix(route, "{$}")
		ctx, cancel := context.WithTimeout(r.Context(), opsWithin)
		defer cancel()
		defer func() {
			if p := recover(); p != nil { // it may hold a number: only its kind is told
				o.Log.ErrorContext(ctx, "panic", "route", seen(r).route, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
				o.fail(w, r, errors.New("panic"))
			}
		}()
		if err := h(w, r.WithContext(ctx)); err != nil {
			o.fail(w, r, err)
		}
	}
}

// fail tells what went wrong: that much is ops' to know, except for what an
// error of the database may quote.
func (o *Ops) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, known := refused(err)
	switch {
	case e == errNoOrder: // which is in words for customers
		e = &refusal{Status: http.StatusNotFound, Message: "There is no such order."}
	case !known:
		o.Log.ErrorContext(r.Context(), "ops page failed", "route", seen(r).route, "error", err)
		e = &refusal{Status: http.StatusInternalServerError, Message: "That failed; the log says why."}
		if errors.Is(err, context.DeadlineExceeded) {
			e = &refusal{Status: http.StatusServiceUnavailable, Message: "The database took too long. Ask for less, or look at it first."}
		}
	}
	o.render(w, r, e.Status, "error.html", opsPage{Title: http.StatusText(e.Status), Problem: e.detail()})
}

// idIn is the id in the path.
func idIn(r *http.Request) (uuid.UUID, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return uuid.Nil, errNoPage
	}
	return id, nil
}

// olderThan is the id that a page goes on before.
func olderThan(text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, errNoPage
	}
	return id, nil
}

// codeIn is Twilio's code in a query: 0 for any, "none" for none.
func codeIn(text string) (int, error) {
	switch text {
	case "":
		return 0, nil
	case "none":
		return flow.NoCode, nil
	}
	code, err := strconv.ParseInt(text, 10, 32) // as a column holds it
	if err != nil || code <= 0 {
		return 0, errNoPage
	}
	return int(code), nil
}

func (o *Ops) settings(w http.ResponseWriter, r *http.Request) error {
	o.render(w, r, http.StatusOK, "settings.html", opsPage{Title: "Settings in force", Settings: o.Settings})
	return nil
}
