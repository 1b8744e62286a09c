package handlers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/twiml"
)

// A Desk carries conversations out: [flow.Desk], as far as the edge needs it.
type Desk interface {
	Ask(ctx context.Context, a flow.Asking) (flow.Standing, error)
	Place(ctx context.Context, p flow.Placing) (flow.Standing, error)
	Check(ctx context.Context, b flow.Browser, order uuid.UUID, pin string) (flow.Standing, error)
	Resend(ctx context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error)
	Renumber(ctx context.Context, b flow.Browser, order uuid.UUID, typed string) (flow.Standing, error)
	Decline(ctx context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error)
	Look(ctx context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error)
	Follow(order uuid.UUID) (<-chan struct{}, func())
	Hear(ctx context.Context, h flow.Heard) (flow.Answer, error)
	Receipt(ctx context.Context, r flow.Receipt) error
}

var _ Desk = (*flow.Desk)(nil)

// A Watcher is told what came in: [metrics.Metrics]. Its methods must not
// block.
type Watcher interface {
	// Request was answered. Route is a pattern of ours, empty if none matched.
	Request(route, method string, code int, took time.Duration)
	// Webhook was called, with that result.
	Webhook(hook metrics.Hook, result metrics.Result)
	// Refused: the valve refused a request that may have caused a text.
	Refused(reason flow.Reason)
}

var _ Watcher = (*metrics.Metrics)(nil)

// Config is what a [Server] is made of. All of it is required but for
// ClientIPHeader, Fields, Templates and Trace.
type Config struct {
	Desk    Desk
	Watcher Watcher

	// Verifier and AccountSID prove that a webhook is Twilio's and ours.
	Verifier   *twiml.Verifier
	AccountSID string
	// PublicURL is where customers and Twilio reach us. Signatures are of it,
	// whatever Host says.
	PublicURL *url.URL
	// Sender is our number, in E.164, or our Messaging Service's SID.
	Sender string

	// CookieKeys sign the browser's cookie, newest first: that one signs, and
	// all of them verify.
	CookieKeys [][]byte
	// ClientIPHeader names the header in which the proxy in front of us tells
	// the client's address; empty if there is no proxy.
	ClientIPHeader string
	// RequestsPerIP bounds the requests from one address that may cause a text.
	RequestsPerIP flow.Rate

	Shop      string // as the pages name it
	Region    string // ISO 3166 alpha-2, whose numbers need no country code
	PINLength int    // in digits
	// Fields of the order form that must be filled in. Nil means name, address
	// and items.
	Fields []string
	// Templates holds files that take the place of pages/*.html. Nil for none.
	Templates fs.FS

	// Ready reports whether we can serve: the database answers, and we are not
	// stopping. Of its error whoever asks is told what stands before the first
	// colon: which part is down.
	Ready func(ctx context.Context) error
	// Trace follows a request of that X-Request-Id: it returns the context to
	// answer it in, and what to call with how it was answered. Nil for nobody
	// who does.
	Trace func(r *http.Request, id string) (context.Context, func(route, method string, status int))
	Log   *slog.Logger
	Now   func() time.Time
}

// check returns what is missing or wrong, all of it.
func (c *Config) check() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Desk != nil, "no Desk")
	need(c.Watcher != nil, "no Watcher")
	need(c.Verifier != nil, "no Verifier")
	need(c.AccountSID != "", "no AccountSID")
	need(c.PublicURL != nil && c.PublicURL.Host != "", "no PublicURL with a host")
	need(c.Sender != "", "no Sender")
	need(len(c.CookieKeys) > 0, "no CookieKeys")
	for _, key := range c.CookieKeys {
		need(len(key) >= flow.MinKey, fmt.Sprintf("a cookie key of fewer than %d bytes", flow.MinKey))
	}
	need(c.RequestsPerIP.N > 0 && c.RequestsPerIP.Per > 0, "no RequestsPerIP")
	need(c.PINLength >= flow.MinPINLength && c.PINLength <= flow.MaxPINLength, "a PINLength out of range")
	need(c.Ready != nil, "no Ready")
	need(c.Log != nil, "no Log")
	need(c.Now != nil, "no Now")
	return errors.Join(errs...)
}

// A Server answers the public routes. See the package's doc.
type Server struct {
	Config
	public      string      // PublicURL without a trailing slash
	secure      bool        // PublicURL is https
	headers     http.Header // that every answer has
	crossOrigin *http.CrossOriginProtection
	valve       *valve
	errorPages  *lru.Cache[[2]string, []byte] // by title and message
	pages       *pages
	emptyForm   []byte // as GET / shows it
	home        string // Region's name
	handler     http.Handler

	// What we take on at once. Checks come before webhooks before new PINs:
	// who has a PIN in hand has been paid for.
	checks, hooks, asks, looks, streams class
	// lookEvery is how often a live page looks for what other machines did.
	lookEvery time.Duration
	// stopping ends what would not end by itself.
	stopping context.Context
	stop     context.CancelFunc
}

// New returns a Server, or everything that is wrong with c.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("set up the HTTP edge: %w", err)
	}
	if c.Fields == nil {
		c.Fields = []string{"name", "address", "items"}
	}
	if c.Trace == nil {
		c.Trace = untraced
	}
	c.ClientIPHeader = http.CanonicalHeaderKey(c.ClientIPHeader)
	pages, err := readPages(c.Templates)
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	errorPages, err := lru.New[[2]string, []byte](128)
	if err != nil {
		return nil, fmt.Errorf("set up the HTTP edge: %w", err)
	}
	s := &Server{
		Config:      c,
		public:      strings.TrimSuffix(c.PublicURL.String(), "/"),
		secure:      c.PublicURL.Scheme == "https",
		crossOrigin: http.NewCrossOriginProtection(),
		valve:       newValve(c.RequestsPerIP),
		errorPages:  errorPages,
		pages:       pages,
		home:        countryName(c.Region),

		checks:    newClass(512, 10*time.Second),
		hooks:     newClass(256, 10*time.Second),
		asks:      newClass(128, 10*time.Second),
		looks:     newClass(256, 10*time.Second),
		streams:   newClass(768, 0),
		lookEvery: 3 * time.Second,
	}
	// Pages may use their own styles and scripts and nothing else; data: is for
	// Pico's icons.
	s.headers = safeguards("default-src 'none'; style-src 'self'; script-src 'self'; " +
		"img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	if s.secure {
		s.headers.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if err := s.crossOrigin.AddTrustedOrigin(c.PublicURL.Scheme + "://" + c.PublicURL.Host); err != nil {
		return nil, fmt.Errorf("trust our own origin: %w", err)
	}
	if err := s.rehearse(); err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	s.stopping, s.stop = context.WithCancel(context.Background()) //nolint:gosec // Shutdown calls it, see HTTP
	s.handler = s.measure(s.routes())
	return s, nil
}

func untraced(r *http.Request, _ string) (context.Context, func(string, string, int)) {
	return r.Context(), func(string, string, int) {}
}

// Handler answers the public routes.
func (s *Server) Handler() http.Handler { return s.handler }

// HTTP returns a server of [Server.Handler] on addr, with bounds on what a
// client may take of our time and memory. Its Shutdown ends live pages.
func (s *Server) HTTP(addr string) *http.Server {
	srv := &http.Server{
		Addr:              addr,
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	srv.RegisterOnShutdown(s.stop)
	return srv
}

// A handler answers a request, or says why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// methods are a path's handlers. HEAD is answered as GET.
type methods map[string]handler

// routes holds every public route. Nothing but a POST changes anything.
func (s *Server) routes() http.Handler {
	// A path is taken as it came. Cleaning it would answer //pin by a redirect,
	// which turns a POST into a GET.
	router := mux.NewRouter().SkipClean(true)
	for _, route := range []struct {
		path string
		on   methods
	}{
		{"/", methods{"GET": s.blank}},
		{"/pin", methods{"POST": s.metered(s.asks.bound(s.ask))}},
		{"/orders", methods{"POST": s.checks.bound(s.place)}},
		{"/orders/{id}", methods{"GET": s.looks.bound(s.show)}},
		{"/orders/{id}/pin", methods{"POST": s.checks.bound(s.check)}},
		{"/orders/{id}/resend", methods{"POST": s.metered(s.asks.bound(s.resend))}},
		{"/orders/{id}/number", methods{"POST": s.metered(s.asks.bound(s.renumber))}},
		{"/orders/{id}/decline", methods{"POST": s.checks.bound(s.decline)}},
		{"/orders/{id}/live", methods{"GET": s.streams.bound(s.live)}},
		{"/orders/{id}/complete", methods{"GET": s.looks.bound(s.complete)}},
		{"/webhooks/twilio/message", methods{"POST": s.hooked(metrics.HookMessage, s.message)}},
		{"/webhooks/twilio/status", methods{"POST": s.hooked(metrics.HookStatus, s.status)}},
		{"/webhooks/twilio/status/{message}", methods{"POST": s.hooked(metrics.HookStatus, s.status)}},
		{"/healthz", methods{"GET": s.healthz}},
		{"/readyz", methods{"GET": s.readyz}},
		{"/static/{file}", methods{"GET": s.static}},
	} {
		router.Handle(route.path, s.route(route.path, route.on))
	}
	router.NotFoundHandler = s.handle(func(http.ResponseWriter, *http.Request) error {
		return errNoPage
	})
	// The router would tell of the route and its variables by two copies of the
	// request.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var match mux.RouteMatch
		router.Match(r, &match) // there is a handler of what is not found
		seen(r).vars = match.Vars
		match.Handler.ServeHTTP(w, r)
	})
}

// route answers one path: by its methods, or by 405 and what they are. It
// refuses what another site's page makes a browser post.
func (s *Server) route(path string, on methods) http.Handler {
	allow := slices.Sorted(maps.Keys(on))
	if on["GET"] != nil {
		on["HEAD"] = on["GET"]
		allow = append(allow, "HEAD")
	}
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		seen(r).route = path
		answer, ok := on[r.Method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			return wrongMethod(strings.Join(allow, ", "))
		}
		if s.crossOrigin.Check(r) != nil {
			return &refusal{Status: http.StatusForbidden, Message: "This request came from another site, so nothing was done. Use the form on our own page."}
		}
		return answer(w, r)
	})
}

// handle adapts h to net/http. It alone logs and renders errors, so that each
// failure is reported once.
func (s *Server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// A record is what the log line and the metrics say of a request, and the
// ResponseWriter that notes it.
type record struct {
	http.ResponseWriter
	id     string
	route  string
	vars   map[string]string // of the path, by their names in the route
	status int               // 0 until it is written
	// repeated reports that the webhook came before, and was answered as then.
	repeated bool
	// askedBy is the id of the request that asked for the text whose receipt
	// this is; empty if it is none, or nobody knows.
	askedBy string
}

func (rec *record) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *record) Write(b []byte) (int, error) {
	rec.status = cmp.Or(rec.status, http.StatusOK)
	return rec.ResponseWriter.Write(b)
}

// Unwrap lets an [http.ResponseController] through.
func (rec *record) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// log writes the request's line: the route's pattern, never the path or the
// query, which are the visitor's.
func (rec *record) log(r *http.Request, log *slog.Logger, level slog.Level, took time.Duration) {
	log.LogAttrs(r.Context(), level, "request", slog.String("route", rec.route),
		slog.String("method", usualMethod(r.Method)), slog.Int("status", cmp.Or(rec.status, http.StatusOK)), slog.Duration("took", took))
}

type recordKey struct{}

// seen returns r's record, which [Server.measure] made.
func seen(r *http.Request) *record { return r.Context().Value(recordKey{}).(*record) }

// measure gives each request its id, its headers, a line in the log and its
// metrics. It stands outside the router, which would not show it a 404.
func (s *Server) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.Now()
		rec := &record{ResponseWriter: w, id: rand.Text()}
		ctx, answered := s.Trace(r, rec.id)
		r = r.WithContext(context.WithValue(ctx, recordKey{}, rec))
		maps.Copy(w.Header(), s.headers)
		w.Header().Set("X-Request-Id", rec.id)

		defer func() {
			p := recover()
			tooLate := p != nil && rec.status != 0
			if p != nil {
				s.panicked(rec, r, p)
			}
			took, status := s.Now().Sub(began), cmp.Or(rec.status, http.StatusOK)
			s.Watcher.Request(rec.route, r.Method, status, took)
			answered(rec.route, usualMethod(r.Method), status)
			level := slog.LevelInfo
			if rec.route == "/healthz" || rec.route == "/readyz" || rec.route == "/static/{file}" {
				level = slog.LevelDebug
			}
			rec.log(r, s.Log, level, took)
			if tooLate { // for an answer: let the client see that it broke off
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// panicked answers and logs a panic. Its value is logged only where the
// runtime made it: another may quote what a visitor typed.
func (s *Server) panicked(rec *record, r *http.Request, p any) {
	what := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	s.Log.ErrorContext(r.Context(), "panic", "route", rec.route,
		"panic", what, "stack", string(debug.Stack()))
	if rec.status == 0 {
		s.render(rec, r, &refusal{Status: http.StatusInternalServerError, Message: ourFault, Request: rec.id}, nil)
	}
}

// safeguards are the headers that answers to anybody have. They are made once,
// and copied into each answer by [maps.Copy]: a handler may set one anew, but
// not write into its values, which are everybody's.
func safeguards(contentPolicy string) http.Header {
	h := http.Header{}
	h.Set("Content-Security-Policy", contentPolicy)
	// Not no-referrer, by which browsers post with Origin: null.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	return h
}

// usualMethod keeps what a visitor may write out of the log.
func usualMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "other"
	}
}
