package handlers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// serve runs srv and returns where.
func serve(t *testing.T, srv *http.Server) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + l.Addr().String()
}

func TestRefusals(t *testing.T) {
	long := "items=" + strings.Repeat("x", maxForm)
	many := "mobile_number=4155552671"
	for i := range maxFields {
		many += fmt.Sprintf("&f%d=1", i)
	}
	for _, tt := range []struct {
		name, method, path, contentType, body string
		fails                                 error
		status                                int
	}{
		{"a page that is not", "GET", "/wp-login.php", "", "", nil, 404},
		{"an order that is no id", "GET", "/orders/118", "", "", nil, 404},
		{"an id in another spelling", "GET", "/orders/{" + uuid.Must(uuid.NewV7()).String() + "}", "", "", nil, 404},
		{"a path with two slashes", "POST", "//pin", formType, "mobile_number=4155552671", nil, 404},
		{"another site's path", "GET", "//evil.example", "", "", nil, 404},
		{"a path with dots", "GET", "/orders/../orders", "", "", nil, 404},
		{"a hidden order that is no id", "POST", "/pin", formType, "order=118&mobile_number=4155552671", nil, 404},
		{"placing an order that is no id", "POST", "/orders", formType, "order=118&pin=482913", nil, 404},
		{"a GET of what changes things", "GET", "/pin", "", "", nil, 405},
		{"a DELETE", "DELETE", "/orders", "", "", nil, 405},
		{"OPTIONS", "OPTIONS", "/", "", "", nil, 405},
		{"a method of one's own", "BREW", "/", "", "", nil, 405},
		{"JSON", "POST", "/pin", "application/json", "{}", nil, 415},
		{"files", "POST", "/orders", "multipart/form-data; boundary=x", "--x--", nil, 415},
		{"no type", "POST", "/pin", "", "mobile_number=4155552671", nil, 415},
		{"what is no form", "POST", "/pin", formType, "name=%zz", nil, 400},
		{"semicolons", "POST", "/pin", formType, "name=a;pin=b", nil, 400},
		{"more fields than a form has", "POST", "/pin", formType, many, nil, 400},
		{"too long a form", "POST", "/pin", formType, long, nil, 413},
		{"too long an order", "POST", "/orders", formType, long, nil, 413},
		{"no number", "POST", "/pin", formType, "", nil, 422},
		{"half a number", "POST", "/pin", formType, "mobile_number=555-0100", nil, 422},
		{"a number abroad", "POST", "/pin", formType, "mobile_number=%2B442071838750", nil, 422},
		{"a PIN of no order", "POST", "/orders", formType, "pin=482913&name=a&address=b&items=c&mobile_number=4155552671", nil, 422},
		{"what the order's state forbids", "POST", "/pin", formType, "mobile_number=4155552671",
			&flow.Error{Code: flow.Conflict, Message: "Too many orders wait."}, 409},
		{"a number texted too often", "POST", "/pin", formType, "mobile_number=4155552671",
			&flow.Error{Code: flow.TooMany, Field: flow.FieldNumber, Message: "Too often.", RetryAfter: time.Hour}, 429},
		{"a spent day", "POST", "/pin", formType, "mobile_number=4155552671",
			&flow.Error{Code: flow.Unavailable, Message: "No more texts today.", RetryAfter: time.Hour}, 503},
		{"a database that is away", "POST", "/orders", formType, "pin=482913",
			&flow.Error{Code: flow.Unavailable, Message: "Later."}, 503},
		{"a desk that takes too long", "POST", "/pin", formType, "mobile_number=4155552671",
			fmt.Errorf("save: %w", context.DeadlineExceeded), 503},
		{"a fault of ours", "POST", "/pin", formType, "mobile_number=4155552671", errBroken, 500},
		{"a fault of ours, wrapped", "POST", "/orders", formType, "pin=482913", fmt.Errorf("place: %w", errBroken), 500},
		{"an error of no code", "POST", "/pin", formType, "mobile_number=4155552671", &flow.Error{Message: "oops"}, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			s.desk.fails = tt.fails

			page := s.visitor().send(tt.method, tt.path, tt.contentType, tt.body)
			if page.StatusCode != tt.status {
				t.Fatalf("status = %d, want %d: %s", page.StatusCode, tt.status, page.body)
			}
			if !strings.Contains(page.body, "<title>Error: ") || !strings.Contains(page.body, "page.css") {
				t.Errorf("the page is not of ours: %s", page.body)
			}

			res := s.program().send(tt.method, tt.path, tt.contentType, tt.body)
			var got told
			decode(t, res, tt.status, &got)
			if got.Status != tt.status || got.Type != "about:blank" || got.Title != http.StatusText(tt.status) || got.Detail == "" {
				t.Errorf("the problem is %s", res.body)
			}
			for _, r := range []reply{page, res} {
				if strings.Contains(r.body, errBroken.Error()) {
					t.Error("our fault is shown")
				}
				if (r.Header.Get("Allow") != "") != (tt.status == 405) {
					t.Errorf("Allow = %q", r.Header.Get("Allow"))
				}
				if (r.Header.Get("Retry-After") != "") != (tt.status == 429 || tt.status == 503) {
					t.Errorf("Retry-After = %q", r.Header.Get("Retry-After"))
				}
				if r.Header.Get("Location") != "" {
					t.Errorf("leads to %q", r.Header.Get("Location"))
				}
			}
			ours := tt.status == 500 || errors.Is(tt.fails, context.DeadlineExceeded)
			if strings.Contains(s.log.String(), "level=ERROR") != ours {
				t.Errorf("the log says %s", s.log)
			}
		})
	}
}

func TestWhatIsAllowed(t *testing.T) {
	v := open(t).visitor()
	for path, want := range map[string]string{"/": "GET, HEAD", "/pin": "POST", "/webhooks/twilio/message": "POST"} {
		if got := v.send("PUT", path, "", "").Header.Get("Allow"); got != want {
			t.Errorf("Allow of %s = %q, want %q", path, got, want)
		}
	}
	if res := v.send("HEAD", "/", "", ""); res.StatusCode != 200 || res.body != "" || res.ContentLength <= 0 {
		t.Errorf("HEAD /: %d, %d bytes", res.StatusCode, res.ContentLength)
	}
}

// A form is kept as far as it can be, whatever goes wrong with it.
func TestEntriesSurviveARefusal(t *testing.T) {
	for _, err := range []error{
		&flow.Error{Code: flow.Invalid, Field: flow.FieldNumber, Message: "Too short."},
		&flow.Error{Code: flow.TooMany, Message: "Too often.", RetryAfter: time.Minute},
		&flow.Error{Code: flow.Conflict, Message: "Too many orders."},
		&flow.Error{Code: flow.Unavailable, Message: "Not today."},
	} {
		s := open(t)
		s.desk.fails = err
		for _, path := range []string{"/pin", "/orders"} {
			res := s.visitor().post(path, "name", "Ada", "address", "12 St James Square", "items", "1 engine", "mobile_number", "555")
			for _, want := range []string{"Ada", "12 St James Square", "1 engine", `value="555"`} {
				if !strings.Contains(res.text, want) {
					t.Errorf("%v at %s loses %q", err, path, want)
				}
			}
		}
	}
}

func TestPostsFromOtherSitesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"our own page's", map[string]string{"Sec-Fetch-Site": "same-origin"}, 303},
		{"a program's", nil, 303},
		{"our own page's behind a proxy that changes Host", map[string]string{"Origin": "http://shop.example.com"}, 303},
		{"another site's", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		{"a subdomain's", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://cdn.shop.example.com"}, 403},
		{"an old browser's from another site", map[string]string{"Origin": "https://evil.example"}, 403},
		{"one from nowhere", map[string]string{"Origin": "null"}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			v := s.visitor()
			for name, value := range tt.header {
				v.header.Set(name, value)
			}
			res := v.post("/pin", "mobile_number", theirs)
			if res.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", res.StatusCode, tt.status)
			}
			if (len(s.desk.orders) == 1) != (tt.status == 303) {
				t.Errorf("%d orders were kept", len(s.desk.orders))
			}
			if got := v.get("/").StatusCode; got != 200 {
				t.Errorf("following a link: %d", got)
			}
		})
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	s := open(t, func(c *Config) { c.PublicURL, _ = url.Parse("https://shop.example.com/") })
	v := s.visitor()
	v.get("/static/order.js") // which is to be cached, and must not have the others be
	for _, path := range []string{"/", "/nothing", "/pin", "/healthz", "/webhooks/twilio/message"} {
		h := v.get(path).Header
		for name, want := range map[string]string{
			"Referrer-Policy":           "same-origin",
			"X-Content-Type-Options":    "nosniff",
			"Strict-Transport-Security": "max-age=31536000",
			"Cache-Control":             "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", path, name, got, want)
			}
		}
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s", path, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %s", path, csp)
		}
		if len(h.Get("X-Request-Id")) < 16 {
			t.Errorf("%s: X-Request-Id = %q", path, h.Get("X-Request-Id"))
		}
	}
	if got := open(t).visitor().get("/").Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("a plain-http shop says Strict-Transport-Security: %s", got)
	}
}

// The pages keep to their own policy, and hold what the contract names.
func TestTheOrderForm(t *testing.T) {
	page := open(t).visitor().get("/").body
	if regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script[^>]*>[^<]|https?://`).MatchString(page) {
		t.Error("the page has styles, scripts or addresses that its policy forbids")
	}
	for _, want := range []string{
		`name="name"`, `name="address"`, `name="items"`, `name="mobile_number"`, `name="pin"`, `name="order"`,
		`formaction="/pin" formnovalidate`, `autocomplete="one-time-code"`, `inputmode="numeric"`, `lang="en"`,
		"We will send one text", "rates may apply",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the form lacks %q", want)
		}
	}
	if strings.Index(page, "Place order") > strings.Index(page, "Get PIN") {
		t.Error("Enter would press Get PIN")
	}
	if strings.Contains(page, "maxlength") {
		t.Error("a PIN that is pasted with spaces would be cut")
	}
}

func TestMeasuring(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := v.order().String()
	v.get("/orders/" + id)
	v.get("/nothing/" + id)
	v.get("/orders/" + id + "/pin")
	v.send("BREW", "/", "", "")
	for _, want := range []string{
		"request /pin POST See Other", "request /orders/{id} GET OK", "request none GET Not Found",
		"request /orders/{id}/pin GET Method Not Allowed", "request / BREW Method Not Allowed",
	} {
		if !s.watcher.saw(want) {
			t.Errorf("not measured: %s; but %q", want, s.watcher.notes)
		}
	}
	if strings.Contains(s.log.String(), "BREW") {
		t.Error("the log repeats a visitor's words")
	}
}

// Whatever the road, the log tells nothing of what a visitor typed.
func TestTheLogKeepsSecrets(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := v.order().String()
	v.post("/orders", "order", id, "pin", "739155", "name", "Ada", "address", "12 St James Square", "items", "1 engine", "mobile_number", theirs)
	v.post("/orders/"+id+"/pin?pin=739155", "pin", rightPIN)
	v.get("/orders/" + id + "?mobile_number=" + url.QueryEscape(theirs))
	v.get("/4155552671/482913")
	v.hook("/webhooks/twilio/message", inbound())
	v.post("/webhooks/twilio/message", "Body", rightPIN, "From", theirs)
	s.desk.fails = errBroken
	v.hook("/webhooks/twilio/message", inbound())
	v.post("/pin", "mobile_number", theirs)
	s.desk.fails = nil
	s.desk.asked = func(*flow.Standing) { panic("the PIN is 482913") }
	away := &flow.Error{Code: flow.Unavailable, Message: "We are away.", Err: errBroken}
	for _, tt := range []struct {
		fails  error
		status int
	}{{nil, 500}, {nil, 500}, {errBroken, 500}, {away, 503}, {away, 503}} {
		s.desk.fails = tt.fails
		res := v.post("/pin", "mobile_number", theirs)
		if res.StatusCode != tt.status || !strings.Contains(res.body, "<title>Error: ") {
			t.Errorf("a fault of ours is answered by %d: %s", res.StatusCode, res.body)
		} else if id := res.Header.Get("X-Request-Id"); !strings.Contains(res.body, "quote "+id) || !strings.Contains(s.log.String(), "request_id="+id) {
			t.Errorf("request %s is not named on the page and in the log: %s", id, res.body)
		}
	}

	log := s.log.String()
	for _, secret := range []string{rightPIN, "482 913", "739155", "4155552671", "555-2671", "Ada", "St James", "engine", id, v.client.Jar.Cookies(mustURL(s.url))[0].Value} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
	for _, want := range []string{"route=/orders/{id}/pin", "status=422", "request_id=", "msg=panic", "on fire"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// An answer that broke off is told of all the same.
func TestAPanicAfterTheHeader(t *testing.T) {
	s := open(t)
	traced := 0
	s.Trace = func(r *http.Request, _ string) (context.Context, func(string, string, int)) {
		return r.Context(), func(string, string, int) { traced++ }
	}
	h := s.measure(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic("on the way")
	}))
	defer func() {
		p := recover()
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("the client is not told that it broke off: %v", p)
		}
		if log := s.log.String(); traced != 1 || !strings.Contains(log, "msg=panic") || !strings.Contains(log, "msg=request ") {
			t.Errorf("it was traced %d times, and the log says\n%s", traced, log)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func TestHealth(t *testing.T) {
	var err error
	s := open(t, func(c *Config) { c.Ready = func(context.Context) error { return err } })
	v := s.visitor()
	if res := v.get("/readyz"); res.StatusCode != 200 {
		t.Errorf("ready: %d", res.StatusCode)
	}
	err = errors.New("database: dial 10.0.0.7: no answer")
	res := v.get("/readyz")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(res.body, "not ready: database") || strings.Contains(res.body, "10.0.0.7") {
		t.Errorf("not ready: %d: %s", res.StatusCode, res.body)
	}
	if got := v.get("/healthz").StatusCode; got != 200 {
		t.Errorf("alive though not ready: %d", got)
	}
}

func TestAssets(t *testing.T) {
	v := open(t).visitor()
	page := v.get("/").text
	links := regexp.MustCompile(`"(/static/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 4 {
		t.Fatalf("the page has %d assets, want 4", len(links))
	}
	for _, link := range links {
		res := v.get(link[1])
		if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.body == "" {
			t.Errorf("%s: %d, %q", link[1], res.StatusCode, res.Header.Get("Cache-Control"))
		}
		bare, _, _ := strings.Cut(link[1], "?")
		old := v.get(bare + "?v=old")
		if old.StatusCode != 200 || old.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of another release: %d, %q", bare, old.StatusCode, old.Header.Get("Cache-Control"))
		}
		v.header.Set("If-None-Match", old.Header.Get("ETag"))
		if got := v.get(bare).StatusCode; got != http.StatusNotModified {
			t.Errorf("%s again: %d", bare, got)
		}
		v.header.Del("If-None-Match")
		v.header.Set("Accept-Encoding", "gzip;q=0")
		if plain := v.get(bare); plain.Header.Get("Content-Encoding") != "" || plain.body != res.body {
			t.Errorf("%s differs when it is not zipped", bare)
		}
		v.header.Del("Accept-Encoding")
	}
	for _, path := range []string{"/static/", "/static/order.html", "/static/..%2forder.html", "/static/vendor"} {
		if got := v.get(path).StatusCode; got != 404 {
			t.Errorf("GET %s: %d", path, got)
		}
	}
}

func TestTheShopsOwnPages(t *testing.T) {
	own := func(files fstest.MapFS) func(*Config) { return func(c *Config) { c.Templates = files } }
	s := open(t, own(fstest.MapFS{
		"error.html": {Data: []byte(`{{define "main"}}<p>Nothing at {{.Shop}}.</p>` +
			`<img src="{{asset "icon.svg"}}">{{with "icon.svg"}}<img src="{{asset .}}">{{end}}{{end}}`)},
	}))
	images := regexp.MustCompile(`<img src="(/static/icon.svg\?v=[0-9a-f]+)">`).FindAllStringSubmatch(s.visitor().get("/nothing").text, -1)
	if len(images) != 2 || images[0][1] != images[1][1] {
		t.Errorf("an asset that is named outright, and one that is not: %q", images)
	}
	if res := s.visitor().get("/nothing"); !strings.Contains(res.body, "<p>Nothing at Acme.</p>") {
		t.Errorf("got %s", res.body)
	}
	if res := s.visitor().get("/"); !strings.Contains(res.body, "Get PIN") {
		t.Error("the other pages are gone")
	}

	c := s.Config
	for name, page := range map[string]string{
		"does not parse":        `{{define "main"}}{{if}}{{end}}`,
		"asks for what is not":  `{{define "main"}}{{.Pin}}{{end}}`,
		"refers to no asset":    `{{define "main"}}{{asset "logo.png"}}{{end}}`,
		"would not be a page":   ``,
		"escapes in no context": `{{define "main"}}<a href='{{if .Shop}}x'{{end}}>{{end}}`,
	} {
		c.Templates = fstest.MapFS{"complete.html": {Data: []byte(page)}}
		if _, err := New(c); err == nil {
			t.Errorf("a page that %s is taken", name)
		}
	}
}

// A shop may ask for other things than we do.
func TestTheShopsOwnFields(t *testing.T) {
	s := open(t, func(c *Config) { c.Fields = []string{"table_number"} })
	v := s.program()
	id := v.order()
	s.desk.change(id, false, func(st *flow.Standing) { st.Conversation.Complete = false })
	var got told
	decode(t, v.post("/orders/"+id.String()+"/pin", "pin", rightPIN), 422, &got)
	if got.Field != "table_number" || got.Detail != "Fill in table number." {
		t.Errorf("got %+v", got)
	}
	kept := entries(fieldsOf("z", "1", "a", "2", "table_number", "3", "pin", "4", "order", "5", "mobile_number", "6"), s.Fields)
	want := []flow.Entry{{Field: "table_number", Value: "3"}, {Field: "a", Value: "2"}, {Field: "z", Value: "1"}}
	if fmt.Sprint(kept) != fmt.Sprint(want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
}

func TestWhatAServerIsMadeOf(t *testing.T) {
	_, err := New(Config{CookieKeys: [][]byte{[]byte("short")}, PublicURL: &url.URL{}, PINLength: 9})
	if err == nil {
		t.Fatal("an empty Config is taken")
	}
	for _, want := range []string{
		"Desk", "Watcher", "Verifier", "AccountSID", "PublicURL", "Sender", "fewer than 32 bytes",
		"RequestsPerIP", "PINLength", "Ready", "Log", "Now",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}

	srv := open(t).HTTP(":8080")
	if srv.ReadHeaderTimeout > 5*time.Second || srv.ReadTimeout > 10*time.Second || srv.WriteTimeout > 15*time.Second ||
		srv.IdleTimeout > time.Minute || srv.MaxHeaderBytes > 16<<10 {
		t.Errorf("the server lets clients take %+v", srv)
	}
	for _, d := range []time.Duration{srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout} {
		if d <= 0 {
			t.Error("a timeout is not set")
		}
	}
}

// Whoever has left is not a failure of ours. But they may have closed only what
// they write to: nothing was done, and they must not read that it was.
func TestAVisitorWhoLeaves(t *testing.T) {
	s := open(t)
	s.desk.fails = context.Canceled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/pin", strings.NewReader("mobile_number=4155552671"))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || !strings.Contains(log, "status=499") {
		t.Errorf("the log says %s", log)
	}
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("they read %d", w.Code)
	}
}

func TestPagesAreWholeOrNot(t *testing.T) {
	v := open(t).visitor()
	res := v.get("/")
	if res.ContentLength != int64(len(res.body)) || !strings.HasSuffix(strings.TrimSpace(res.body), "</html>") {
		t.Errorf("%d bytes of %d", len(res.body), res.ContentLength)
	}
}

func TestAnAskerIsOfARequest(t *testing.T) {
	kept := func(ctx context.Context) context.Context {
		asker, _ := Asker(ctx)
		return asker
	}
	request := context.WithValue(t.Context(), recordKey{}, &record{id: "r1"})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want string
	}{
		{"of a request", request, "?asked_by=r1"},
		{"of what was kept of one", kept(request), "?asked_by=r1"},
		{"of nobody's", t.Context(), ""},
		{"of what was kept of nobody's", kept(t.Context()), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asker, known := Asker(tt.ctx)
			if got := AskedBy(asker); got != tt.want || known != (tt.want != "") {
				t.Errorf("Asker is of %q, known: %v; want %q", got, known, tt.want)
			}
		})
	}
}
