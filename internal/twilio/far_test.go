package twilio

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	token   = "0123456789abcdef0123456789abcdef" //nolint:gosec // opens nothing
	from    = "+14155550100"
	to      = flow.Number("+14155550123")
	service = "MG0123456789abcdef0123456789abcdef"
)

// far is a small Messages resource to send to: what is asked of it is kept,
// and the next answers can be spoilt.
type far struct {
	*httptest.Server
	conns atomic.Int32

	mu       sync.Mutex
	now      time.Time
	messages []message
	requests []*http.Request // with their forms read
	// next are asked, in turn, before a text is taken: true if they have
	// answered. after are asked when one was.
	next, after []http.HandlerFunc
}

type message struct {
	SID       string  `json:"sid"`
	To        string  `json:"to"`
	From      *string `json:"from"`
	Service   *string `json:"messaging_service_sid"`
	Body      string  `json:"body"`
	Status    string  `json:"status"`
	Direction string  `json:"direction"`
	Created   string  `json:"date_created"`
	Sent      *string `json:"date_sent"`

	form url.Values
	at   time.Time
}

func newFar(t *testing.T) *far {
	f := &far{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// client returns one that sends here, in the way that the options ask for.
func (f *far) client(t *testing.T, options ...func(*Config)) *Client {
	t.Helper()
	transport := NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	c := Config{
		APIURL: f.URL, AccountSID: account, AuthToken: token, From: from, Transport: transport,
		StatusCallback: func(_ context.Context, m uuid.UUID) string {
			return "https://shop.example/webhooks/twilio/status/" + m.String()
		},
	}
	for _, option := range options {
		option(&c)
	}
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func byService(c *Config) { c.From, c.MessagingServiceSID = "", service }

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f.mu.Lock()
	f.requests = append(f.requests, r)
	var answer http.HandlerFunc
	if len(f.next) > 0 {
		answer, f.next = f.next[0], f.next[1:]
	}
	f.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, r)
	case r.URL.Path != "/2010-04-01/Accounts/"+account+"/Messages.json":
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		f.create(w, r)
	default:
		f.list(w, r)
	}
}

func (f *far) create(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	m := message{
		SID: fmt.Sprintf("SM%032x", len(f.messages)+1), To: r.PostForm.Get("To"), Body: r.PostForm.Get("Body"),
		Status: "queued", Direction: "outbound-api", Created: f.now.Format(time.RFC1123Z),
		form: r.PostForm, at: f.now,
	}
	if s := r.PostForm.Get("MessagingServiceSid"); s != "" {
		m.Service, m.Status = &s, "accepted"
	} else {
		s := r.PostForm.Get("From")
		m.From = &s
	}
	f.messages = append(f.messages, m)
	var answer http.HandlerFunc
	if len(f.after) > 0 {
		answer, f.after = f.after[0], f.after[1:]
	}
	f.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(m)
}

func (f *far) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	matching := []message{}
	for _, m := range slices.Backward(f.messages) {
		if m.To == q.Get("To") && (!q.Has("From") || m.From != nil && *m.From == q.Get("From")) {
			matching = append(matching, m)
		}
	}
	size, _ := strconv.Atoi(q.Get("PageSize"))
	number, _ := strconv.Atoi(q.Get("Page"))
	first, last := min(number*size, len(matching)), min((number+1)*size, len(matching))
	page := map[string]any{"messages": matching[first:last], "page": number, "page_size": size, "next_page_uri": nil}
	if last < len(matching) {
		q.Set("Page", strconv.Itoa(number+1))
		q.Set("PageToken", "PA"+matching[last-1].SID)
		page["next_page_uri"] = r.URL.Path + "?" + q.Encode()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(page)
}

// spoil has the next request answered by h, before anything is done.
func (f *far) spoil(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, h)
}

// spoilAfter has the next text taken and then answered by h.
func (f *far) spoilAfter(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = append(f.after, h)
}

// last is the latest request.
func (f *far) last() *http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

func (f *far) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func (f *far) taken() []flowtest.Taken {
	f.mu.Lock()
	defer f.mu.Unlock()
	var taken []flowtest.Taken
	for _, m := range f.messages {
		id, _ := uuid.Parse(path.Base(m.form.Get("StatusCallback")))
		seconds, _ := strconv.Atoi(m.form.Get("ValidityPeriod"))
		taken = append(taken, flowtest.Taken{
			SID: m.SID, At: m.at,
			Text: flow.Text{Message: id, To: flow.Number(m.To), Body: m.Body, ValidFor: time.Duration(seconds) * time.Second},
		})
	}
	return taken
}

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// refuses answers as Twilio refuses, its words repeating what was asked.
func refuses(status, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"code": code, "status": status,
			"message":   fmt.Sprintf("The 'To' number %s cannot be sent %q", r.Form.Get("To"), r.Form.Get("Body")),
			"more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code),
		})
	}
}

// hangs answers nothing until the request is given up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// resets closes the connection without an answer.
func resets(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// raw answers with bytes of any kind, and closes.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(answer))
		_ = conn.Close()
	}
}
