package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/twiml"
)

// What the tests' shop is made of.
const (
	rightPIN   = "482913"
	ourNumber  = "+14155550100"
	theirs     = "+14155552671"
	accountSID = "AC0123456789abcdef0123456789abcdef"
	messageSID = "SMfedcba9876543210fedcba9876543210"
	token      = "12345"
)

var began = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// A desk keeps orders in memory and knows one PIN. It answers as [flow.Desk]
// documents that it does, as far as the edge can tell.
type desk struct {
	mu     sync.Mutex
	orders map[uuid.UUID]*flow.Standing
	wake   map[chan struct{}]bool
	heard  []flow.Heard
	got    []flow.Receipt

	// fails is returned by all methods; asked is what Ask leaves to be told.
	fails    error
	asked    func(*flow.Standing)
	answer   string
	repeated bool          // the text came before
	hold     chan struct{} // what Hear waits for, if anything
}

func (d *desk) reach(b flow.Browser, order uuid.UUID) (*flow.Standing, error) {
	if d.fails != nil {
		return nil, d.fails
	}
	st := d.orders[order]
	if st == nil || st.Conversation.Browser != b {
		return nil, &flow.Error{Code: flow.NotFound, Message: "no"}
	}
	return st, nil
}

// open is reach, for changing.
func (d *desk) open(b flow.Browser, order uuid.UUID) (*flow.Standing, error) {
	st, err := d.reach(b, order)
	if err == nil && !st.Conversation.State.Open() {
		return nil, &flow.Error{Code: flow.Conflict, Message: "It has ended.", Order: order, State: st.Conversation.State}
	}
	return st, err
}

func (d *desk) number(typed string) (flow.Number, error) {
	n, _, err := flow.ParseNumber(typed, "US", []string{"US"})
	return n, err
}

func (d *desk) Ask(_ context.Context, a flow.Asking) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails != nil {
		return flow.Standing{}, d.fails
	}
	if a.Order != uuid.Nil {
		st, err := d.open(a.Browser, a.Order)
		if err != nil {
			return flow.Standing{}, err
		}
		if a.Typed != "" {
			n, err := d.number(a.Typed)
			if err != nil {
				return flow.Standing{}, err
			}
			st.Conversation.Line.Number = n
		}
		d.text(st, a.Entries)
		return *st, nil
	}
	n, err := d.number(a.Typed)
	if err != nil {
		return flow.Standing{}, err
	}
	st := &flow.Standing{Conversation: flow.Conversation{
		ID: uuid.Must(uuid.NewV7()), Browser: a.Browser, State: flow.Asked,
		Line:     flow.LineID{Number: n, Sender: ourNumber},
		Named:    flow.Named{Reference: "KPW284"},
		Serial:   flow.Serial{N: 1, Length: 6, Expires: began.Add(24 * time.Hour)},
		Deadline: began.Add(72 * time.Hour),
	}, Event: flow.Ordered, Tries: flow.WebTries, Live: true}
	d.orders[st.Conversation.ID] = st
	d.text(st, a.Entries)
	return *st, nil
}

func (d *desk) text(st *flow.Standing, entries []flow.Entry) {
	d.fill(st, entries)
	st.ResendAfter = flow.ResendWait
	st.Text = flow.Message{ID: uuid.Must(uuid.NewV7()), State: flow.Accepted, SID: messageSID, Status: flow.StatusQueued}
	if d.asked != nil {
		d.asked(st)
	}
	d.changed()
}

func (d *desk) fill(st *flow.Standing, entries []flow.Entry) {
	c := &st.Conversation
	for _, e := range entries {
		c.Entries = slices.DeleteFunc(c.Entries, func(kept flow.Entry) bool { return kept.Field == e.Field })
		c.Entries = append(c.Entries, e)
	}
	c.Complete = d.missing(c) == ""
}

func (d *desk) missing(c *flow.Conversation) string {
	for _, field := range []string{"name", "address", "items"} {
		if entered(c.Entries)[field] == "" {
			return field
		}
	}
	return ""
}

func (d *desk) Place(_ context.Context, p flow.Placing) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails != nil {
		return flow.Standing{}, d.fails
	}
	if p.Order == uuid.Nil {
		for id, st := range d.orders {
			if st.Conversation.Browser == p.Browser {
				p.Order = id
			}
		}
		if p.Order == uuid.Nil {
			return flow.Standing{}, &flow.Error{Code: flow.Invalid, Field: flow.FieldPIN, Message: "Press Get PIN first."}
		}
	}
	st, err := d.open(p.Browser, p.Order)
	if err != nil {
		return flow.Standing{}, err
	}
	filled := *st
	filled.Conversation.Entries = slices.Clone(st.Conversation.Entries)
	d.fill(&filled, p.Entries)
	if field := d.missing(&filled.Conversation); field != "" {
		return flow.Standing{}, &flow.Error{Code: flow.Invalid, Field: field, Message: "This must be filled in."}
	}
	*st = filled
	if !st.Conversation.Proved.IsZero() {
		d.confirm(st)
		return *st, nil
	}
	return d.check(st, p.PIN)
}

func (d *desk) Check(_ context.Context, b flow.Browser, order uuid.UUID, pin string) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.open(b, order)
	if err != nil {
		return flow.Standing{}, err
	}
	return d.check(st, pin)
}

func (d *desk) check(st *flow.Standing, pin string) (flow.Standing, error) {
	pin = strings.ReplaceAll(pin, " ", "")
	st.Malformed, st.Event = false, ""
	switch {
	case pin == "":
		return flow.Standing{}, &flow.Error{Code: flow.Invalid, Field: flow.FieldPIN, Message: "Type the PIN that we texted you."}
	case len(pin) != 6:
		st.Malformed = true
	case st.Conversation.State == flow.Locked || st.Tries == 0:
		st.Event = flow.Barred
	case !st.Live:
		st.Event = flow.Late
	case pin == rightPIN && !st.Conversation.Complete:
		st.Event, st.Conversation.Proved = flow.Proved, began
	case pin == rightPIN:
		d.confirm(st)
	case st.Tries == 1 && st.Conversation.Misses > 100: // as if the replies' tries were gone too
		st.Event, st.Tries, st.Conversation.State = flow.LastMiss, 0, flow.Locked
	case st.Tries == 1:
		st.Event, st.Tries = flow.Spent, 0
	default:
		st.Event = flow.Missed
		st.Tries--
	}
	d.changed()
	return *st, nil
}

func (d *desk) confirm(st *flow.Standing) {
	st.Event, st.Conversation.State = flow.Matched, flow.Confirmed
	d.changed()
}

func (d *desk) Resend(_ context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.open(b, order)
	if err != nil {
		return flow.Standing{}, err
	}
	if st.ResendAfter > 0 {
		return flow.Standing{}, &flow.Error{Code: flow.TooMany, Message: "Please wait a little.", RetryAfter: st.ResendAfter}
	}
	d.text(st, nil)
	return *st, nil
}

func (d *desk) Renumber(ctx context.Context, b flow.Browser, order uuid.UUID, typed string) (flow.Standing, error) {
	if _, err := d.number(typed); err != nil {
		return flow.Standing{}, err
	}
	return d.Ask(ctx, flow.Asking{Browser: b, Order: order, Typed: typed})
}

func (d *desk) Decline(_ context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.open(b, order)
	if err != nil {
		return flow.Standing{}, err
	}
	st.Conversation.State = flow.Declined
	d.changed()
	return *st, nil
}

func (d *desk) Look(_ context.Context, b flow.Browser, order uuid.UUID) (flow.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.reach(b, order)
	if err != nil {
		return flow.Standing{}, err
	}
	seen := *st
	seen.Event, seen.Malformed = "", false
	return seen, nil
}

func (d *desk) Follow(uuid.UUID) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake[ch] = true
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.wake, ch)
	}
}

func (d *desk) changed() {
	for ch := range d.wake {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// change has something happen to an order from elsewhere, and wakes those who
// follow it, or not.
func (d *desk) change(order uuid.UUID, wake bool, f func(*flow.Standing)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.orders[order])
	if wake {
		d.changed()
	}
}

func (d *desk) Hear(ctx context.Context, h flow.Heard) (flow.Answer, error) {
	if d.hold != nil {
		select {
		case <-d.hold:
		case <-ctx.Done():
			return flow.Answer{}, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, h)
	return flow.Answer{Text: d.answer, Repeated: d.repeated}, d.fails
}

func (d *desk) Receipt(_ context.Context, r flow.Receipt) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, r)
	return d.fails
}

// A watcher notes what it is told, a line each.
type watcher struct {
	mu    sync.Mutex
	notes []string
}

func (o *watcher) note(words ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes = append(o.notes, strings.Join(words, " "))
}

func (o *watcher) Request(route, method string, code int, _ time.Duration) {
	o.note("request", cmp.Or(route, "none"), method, http.StatusText(code))
}

func (o *watcher) Webhook(hook metrics.Hook, result metrics.Result) {
	o.note("webhook", string(hook), string(result))
}

func (o *watcher) Refused(reason flow.Reason) { o.note("refused", string(reason)) }

func (o *watcher) saw(note string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.notes, note)
}

// A logbook is a log that can be read while it is written.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A shop is a Server in front of a desk that the test can look into.
type shop struct {
	*Server
	t       testing.TB
	desk    *desk
	watcher *watcher
	log     *logbook
	clock   func(time.Duration) // moves it
	url     string
}

// open makes a shop. Its PUBLIC_URL is http, so that its cookies reach a test
// server; set may ask for something else.
func open(t testing.TB, set ...func(*Config)) *shop {
	t.Helper()
	verifier, err := twiml.NewVerifier(token)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	now := began
	s := &shop{
		t:       t,
		desk:    &desk{orders: make(map[uuid.UUID]*flow.Standing), wake: make(map[chan struct{}]bool)},
		watcher: &watcher{},
		log:     &logbook{},
		clock: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		},
	}
	c := Config{
		Desk: s.desk, Watcher: s.watcher, Verifier: verifier, AccountSID: accountSID,
		PublicURL: &url.URL{Scheme: "http", Host: "shop.example.com"}, Sender: ourNumber,
		CookieKeys:    [][]byte{[]byte("a cookie key of thirty-two bytes")},
		RequestsPerIP: flow.Rate{N: 1000, Per: time.Hour},
		Shop:          "Acme", Region: "US", PINLength: 6,
		Ready: func(context.Context) error { return nil },
		Log:   slog.New(Logged(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		},
	}
	for _, f := range set {
		f(&c)
	}
	if s.Server, err = New(c); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	s.lookEvery = 20 * time.Millisecond
	t.Cleanup(srv.Close)
	t.Cleanup(s.stop)
	s.url = srv.URL
	return s
}

// A visitor is a browser without scripts.
type visitor struct {
	*shop
	client *http.Client
	header http.Header // of each request
}

func (s *shop) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return &visitor{s, client, http.Header{}}
}

// program is a visitor that reads JSON.
func (s *shop) program() *visitor {
	v := s.visitor()
	v.header.Set("Accept", "application/json")
	return v
}

// A reply is a response, read.
type reply struct {
	*http.Response
	body string // as it was sent
	text string // as it is read
}

func (v *visitor) send(method, path, contentType, body string) reply {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	for name, values := range v.header {
		req.Header[name] = values
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if host := v.header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return reply{res, string(read), html.UnescapeString(string(read))}
}

func (v *visitor) get(path string) reply {
	v.t.Helper()
	return v.send(http.MethodGet, path, "", "")
}

const formType = "application/x-www-form-urlencoded"

// post posts a form, given as name, value, name, value.
func (v *visitor) post(path string, fields ...string) reply {
	v.t.Helper()
	return v.send(http.MethodPost, path, formType, fieldsOf(fields...).Encode())
}

func fieldsOf(fields ...string) url.Values {
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return form
}

// order has a PIN texted for a whole order, and returns its id.
func (v *visitor) order() uuid.UUID {
	v.t.Helper()
	res := v.post("/pin", "name", "Ada", "address", "12 St James Square", "items", "1 engine", "mobile_number", "(415) 555-2671")
	if v.header.Get("Accept") == "application/json" {
		var got ticket
		decode(v.t, res, http.StatusAccepted, &got)
		return got.Order
	}
	id, err := uuid.Parse(strings.TrimPrefix(res.Header.Get("Location"), "/orders/"))
	if res.StatusCode != http.StatusSeeOther || err != nil {
		v.t.Fatalf("POST /pin = %d to %q: %s", res.StatusCode, res.Header.Get("Location"), res.body)
	}
	return id
}

var errBroken = errors.New("the database is on fire")

// decode reads a JSON answer that has that status.
func decode(t testing.TB, res reply, status int, v any) {
	t.Helper()
	if res.StatusCode != status {
		t.Fatalf("status = %d, want %d: %s", res.StatusCode, status, res.body)
	}
	want := "application/json"
	if status >= 400 {
		want = "application/problem+json"
	}
	if got := res.Header.Get("Content-Type"); got != want {
		t.Errorf("Content-Type = %q, want %q", got, want)
	}
	if err := json.Unmarshal([]byte(res.body), v); err != nil {
		t.Fatalf("read %s: %v", res.body, err)
	}
}
