package phonebooth

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	ours    = "+14155550100"
	theirs  = "+14155550123"
	service = "MG0123456789abcdef0123456789abcdef"
)

// epoch is when every test begins; time passes only when it is advanced.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A scene is a booth, behind a real listener, and a service that it calls.
type scene struct {
	*testing.T
	*Booth
	door *httptest.Server
	shop *shop
}

// stageBooth opens a booth whose webhooks go to answer at /inbound, /fallback and
// wherever else they are sent; nil answers <Response/>.
func stageBooth(t *testing.T, cfg Config, answer http.HandlerFunc) *scene {
	t.Helper()
	if answer == nil {
		answer = twimlSays("<Response/>")
	}
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.keep(t, r)
		answer(w, r)
	}))
	if cfg.InboundURL == "" {
		cfg.InboundURL = s.URL + "/inbound"
	}
	cfg.Now = func() time.Time { return epoch }
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(b.Handler())
	t.Cleanup(func() {
		b.Close()
		door.Close()
		s.Close()
	})
	return &scene{t, b, door, s}
}

// twimlSays answers every webhook with one document.
func twimlSays(document string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, document)
	}
}

// A shop is the service that the booth calls, and remembers the calls.
type shop struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

type call struct {
	method, path string
	body         string
	form         url.Values
	header       http.Header
	host         string
}

func (s *shop) keep(t *testing.T, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("the webhook's body: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Errorf("the webhook's form: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{r.Method, r.URL.RequestURI(), string(body), form, r.Header.Clone(), r.Host})
}

// heard is every call so far whose path begins with prefix.
func (s *shop) heard(prefix string) []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []call
	for _, c := range s.calls {
		if strings.HasPrefix(c.path, prefix) {
			found = append(found, c)
		}
	}
	return found
}

// statuses is the MessageStatus of every receipt so far.
func (s *shop) statuses() []string {
	list := []string{}
	for _, c := range s.heard("/status") {
		list = append(list, c.form.Get("MessageStatus"))
	}
	return list
}

// A reply is the head of an answer, whose body was read.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// do sends a request to the booth and reads the answer whole.
func (s *scene) do(method, path, body string, header http.Header) (reply, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.door.URL+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects followed
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return reply{resp.Status, resp.StatusCode, resp.Header}, string(data)
}

// rest calls the REST API with the account's token; path follows the account.
func (s *scene) rest(method, path string, form url.Values) (reply, string) {
	s.Helper()
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(DefaultAccountSid, DefaultAuthToken)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(method, apiRoot+DefaultAccountSid+path, form.Encode(), req.Header)
}

// create texts, expecting to be allowed to.
func (s *scene) create(form url.Values) messageJSON {
	s.Helper()
	resp, body := s.rest("POST", "/Messages.json", form)
	if resp.StatusCode != http.StatusCreated {
		s.Fatalf("create = %s: %s", resp.Status, body)
	}
	return decode[messageJSON](s, body)
}

// fetchSid is the message of sid as the REST API has it now.
func (s *scene) fetchSid(sid string) messageJSON {
	s.Helper()
	_, body := s.rest("GET", "/Messages/"+sid+".json", nil)
	return decode[messageJSON](s, body)
}

// control calls the booth itself, and expects status.
func (s *scene) control(method, path, body string, status int) string {
	s.Helper()
	resp, answer := s.do(method, path, body, nil)
	if resp.StatusCode != status {
		s.Fatalf("%s %s = %s, want %d: %s", method, path, resp.Status, status, answer)
	}
	return answer
}

// text has theirs text body to the account.
func (s *scene) text(body string) Answer {
	s.Helper()
	data, err := json.Marshal(Text{Body: body})
	if err != nil {
		s.Fatal(err)
	}
	return decode[Answer](s, s.control("POST", "/booth/phones/"+theirs+"/texts", string(data), http.StatusOK))
}

// fault puts a fault in force, given as JSON.
func (s *scene) fault(fault string) {
	s.Helper()
	s.control("POST", "/booth/faults", fault, http.StatusCreated)
}

// troubles is the codes in the debugger, oldest first.
func (s *scene) troubles() []int {
	s.Helper()
	codes := []int{}
	for _, tr := range decode[[]Trouble](s, s.control("GET", "/booth/debugger", "", http.StatusOK)) {
		codes = append(codes, tr.Code)
	}
	slices.Reverse(codes)
	return codes
}

// toThem is a plain text to theirs, with receipts.
func (s *scene) toThem() url.Values {
	return url.Values{"To": {theirs}, "From": {ours}, "Body": {"Hello"}, "StatusCallback": {s.shop.URL + "/status"}}
}

// messageJSON has what JSON tells as a string as a string, and so on: to
// decode into it checks the types.
type messageJSON struct {
	Sid         string  `json:"sid"`
	Body        string  `json:"body"`
	Status      string  `json:"status"`
	From        *string `json:"from"`
	To          string  `json:"to"`
	NumSegments string  `json:"num_segments"`
	Price       *string `json:"price"`
	ErrorCode   *int    `json:"error_code"`
	DateSent    *string `json:"date_sent"`
	Service     *string `json:"messaging_service_sid"`
}

func decode[T any](t testing.TB, data string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	return v
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		says string
	}{
		{"an account that is none", Config{AccountSid: "AC1"}, "account SID"},
		{"an empty token, which would open to all", Config{AuthTokens: []string{"x", ""}}, "auth token is empty"},
		{"an API key without a secret", Config{APIKeys: map[string]string{"SKx": ""}}, "API key"},
		{"a service that is none", Config{ServiceSid: "MGx"}, "Messaging Service SID"},
		{"advanced opt-out without a service", Config{AdvancedOptOut: true}, "advanced opt-out"},
		{"a number without a plus", Config{Numbers: []string{"14155550100"}}, `"14155550100"`},
		{"a webhook that is no URL", Config{InboundURL: "localhost:8080"}, "inbound URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := New(tt.cfg)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("New = %v, want an error about %s", err, tt.says)
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := stageBooth(t, Config{Keep: 8}, nil)
	first := s.create(s.toThem()).Sid
	var last string
	for range 20 {
		last = s.create(s.toThem()).Sid
	}
	if n := len(s.Messages("")); n < 8 || n > 9 {
		t.Errorf("after 21 texts %d are kept, want 8 or 9", n)
	}
	if resp, _ := s.rest("GET", "/Messages/"+first+".json", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the oldest text = %s, want it forgotten", resp.Status)
	}
	if got := s.fetchSid(last).Sid; got != last {
		t.Errorf("the newest text = %q, want it kept", got)
	}
	s.Advance(time.Minute) // what was forgotten on its way must still come to an end
}

func TestCloseLetsGoOfThoseWhoHang(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.fault(`{"kind":"hang-before-accept"}`)
	failed := make(chan error, 1)
	req, err := http.NewRequestWithContext(context.Background(), "POST", s.door.URL+apiRoot+DefaultAccountSid+"/Messages.json",
		strings.NewReader(s.toThem().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(DefaultAccountSid, DefaultAuthToken)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	until(t, "the request hangs", func() bool { return s.busy.Load() == 1 })
	s.Close()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

// TestManyAtOnce is for the race detector, and for deadlocks.
func TestManyAtOnce(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service, MPS: 100, Keep: 50}, twimlSays(`<Response><Message statusCallback="/status">ok</Message></Response>`))
	var all sync.WaitGroup
	for _, do := range []func(){
		func() { s.rest("POST", "/Messages.json", s.toThem()) },
		func() {
			s.rest("POST", "/Messages.json", url.Values{"To": {theirs}, "MessagingServiceSid": {service}, "Body": {"Hello"}})
		},
		func() { s.rest("GET", "/Messages.json?PageSize=5", nil) },
		func() { s.do("POST", "/booth/phones/"+theirs+"/texts", `{"body":"stop"}`, nil) },
		func() { s.do("POST", "/booth/phones/"+theirs+"/texts", `{"body":"start"}`, nil) },
		func() { s.do("POST", "/booth/faults", `{"kind":"receipts-double","count":1}`, nil) },
		func() { s.do("GET", "/booth/state", "", nil) },
		func() { s.Advance(time.Second) },
		func() { s.Reset() },
	} {
		all.Go(func() {
			for range 15 {
				do()
			}
		})
	}
	all.Wait()
	s.Reset()
	if n := len(s.Messages("")); n != 0 {
		t.Errorf("%d texts outlived the last reset", n)
	}
}

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
