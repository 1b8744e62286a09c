package twilio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestClientIsASender(t *testing.T) {
	for name, options := range map[string][]func(*Config){
		"from a number":            nil,
		"from a Messaging Service": {byService},
	} {
		t.Run(name, func(t *testing.T) {
			flowtest.TestSender(t, func(t *testing.T) flowtest.SenderBench {
				f := newFar(t)
				return flowtest.SenderBench{
					Sender: f.client(t, options...),
					Taken:  f.taken,
					Refuse: func(code int) { f.spoil(refuses(statusOf(code), code)) },
					Lose:   func() { f.spoilAfter(resets) },
					Hang:   func() { f.spoil(hangs) },
					Now:    func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
					Pass:   func(d time.Duration) { f.mu.Lock(); defer f.mu.Unlock(); f.now = f.now.Add(d) },
				}
			})
		})
	}
}

// statusOf is the HTTP status that Twilio refuses with.
func statusOf(code int) int {
	return cmp.Or(map[int]int{20003: http.StatusUnauthorized, 20429: http.StatusTooManyRequests}[code], http.StatusBadRequest)
}

var text = flow.Text{
	Message: uuid.MustParse("0194f3c2-0000-7000-8000-000000000001"), To: to, ValidFor: 10 * time.Minute,
	Body: "Acme: 482913 confirms order 118.\n@shop.example #482913",
}

func TestSendAsksWhatTwilioWants(t *testing.T) {
	t.Setenv("TWILIO_EDGE", "dublin") // twilio-go would send elsewhere
	t.Setenv("TWILIO_REGION", "ie1")
	apiKey := func(c *Config) { c.AuthToken, c.APIKey, c.APISecret = "", "SK0123", "s3cret" }
	silent := func(c *Config) { c.StatusCallback = nil }
	for _, tt := range []struct {
		name    string
		options []func(*Config)
		user    string
		form    string // encoded, without what all have
	}{
		{"a number texts", nil, account, "From=%2B14155550100&StatusCallback=https%3A%2F%2Fshop.example%2Fwebhooks%2Ftwilio%2Fstatus%2F0194f3c2-0000-7000-8000-000000000001"},
		{"a service texts", []func(*Config){byService, silent}, account, "MessagingServiceSid=" + service},
		{"an API key opens", []func(*Config){apiKey, silent}, "SK0123", "From=%2B14155550100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			if _, err := f.client(t, tt.options...).Send(t.Context(), text); err != nil {
				t.Fatal(err)
			}
			r := f.last()
			if want := "/2010-04-01/Accounts/" + account + "/Messages.json"; r.Method != http.MethodPost || r.URL.Path != want {
				t.Errorf("asked %s %s, want POST %s", r.Method, r.URL.Path, want)
			}
			if user, _, _ := r.BasicAuth(); user != tt.user {
				t.Errorf("authenticated as %q, want %q", user, tt.user)
			}
			form := r.PostForm
			for name, want := range map[string]string{"To": to.E164(), "Body": text.Body, "ValidityPeriod": "600"} {
				if got := form[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
				form.Del(name)
			}
			if got := form.Encode(); got != tt.form {
				t.Errorf("and besides %s\nwant %s", got, tt.form)
			}
		})
	}
}

func TestTheAPIMayStandBelowAPath(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		says(http.StatusCreated, `{"sid":"SM1"}`)(w, r)
	}))
	defer s.Close()
	c, err := New(Config{APIURL: s.URL + "/twilio/", AccountSID: account, AuthToken: token, From: from})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), text); err != nil || asked != "/twilio/2010-04-01/Accounts/"+account+"/Messages.json" {
		t.Errorf("asked %s: %v", asked, err)
	}
}

func TestValidityPeriod(t *testing.T) {
	for _, tt := range []struct {
		name  string
		valid time.Duration
		want  string
	}{
		{"what is left of the PIN", 90*time.Second + 900*time.Millisecond, "90"},
		{"no more than Twilio takes", 24 * time.Hour, "36000"},
		{"no less than Twilio advises", 2 * time.Second, "6"},
		{"nor less when nothing is left", -time.Minute, "6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			x := text
			x.ValidFor = tt.valid
			if _, err := f.client(t).Send(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			if got := f.last().PostForm.Get("ValidityPeriod"); got != tt.want {
				t.Errorf("ValidityPeriod = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	const html = "<html><body>Bad gateway for +14155550123</body></html>"
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		class  flow.Class
		code   int
	}{
		{"429 was never processed", refuses(429, 20429), flow.ClassRetry, 20429},
		{"429 without a body too", says(429, ""), flow.ClassRetry, 0},
		{"a 500 may have taken it", refuses(500, 20500), flow.ClassUnknown, 20500},
		{"a 503 may have taken it", refuses(503, 20503), flow.ClassUnknown, 20503},
		{"a proxy's 502 may have passed it on", says(502, html), flow.ClassUnknown, 0},
		{"a 408 may come after it was taken", says(408, ""), flow.ClassUnknown, 0},
		{"200 with HTML names no message", says(200, html), flow.ClassUnknown, 0},
		{"201 with half an answer", says(201, `{"sid":"SM01234`), flow.ClassUnknown, 0},
		{"201 with nothing", says(201, ""), flow.ClassUnknown, 0},
		{"201 with another resource", says(201, `{"sid":"CA0123456789"}`), flow.ClassUnknown, 0},
		{"201 with null", says(201, "null"), flow.ClassUnknown, 0},
		{"201 with wrong types", says(201, `{"sid":14155550123}`), flow.ClassUnknown, 0},
		{"a redirect", says(302, `{"sid":"SM0123"}`), flow.ClassUnknown, 0},
		{"a closed connection", resets, flow.ClassUnknown, 0},
		{"not HTTP", raw("220 smtp +14155550123\r\n"), flow.ClassUnknown, 0},
		{"a broken header", raw("HTTP/1.1 201 Created\r\nTo +14155550123\r\n\r\n"), flow.ClassUnknown, 0},
		{"a body cut short", raw("HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{\"sid\":\"SM01\""), flow.ClassUnknown, 0},
		{"a body without end", says(201, strings.Repeat(" ", maxAnswer+1)), flow.ClassUnknown, 0},

		{"wrong credentials", refuses(401, 20003), flow.ClassConfig, 20003},
		{"no access", says(403, html), flow.ClassConfig, 0},
		{"an account unpaid", says(402, ""), flow.ClassConfig, 0},
		{"a wrong path", refuses(404, 20404), flow.ClassBug, 20404},
		{"a refusal that says nothing", says(400, "{}"), flow.ClassBug, 0},
		{"a refusal of an unknown kind", refuses(400, 29999), flow.ClassBug, 29999},

		{"an invalid number", refuses(400, 21211), flow.ClassNumber, 21211},
		{"an unverified number, on trial", refuses(400, 21608), flow.ClassNumber, 21608},
		{"an opted out customer", refuses(400, 21610), flow.ClassOptedOut, 21610},
		{"an unreachable pair", refuses(400, 21612), flow.ClassNumber, 21612},
		{"not a mobile", refuses(400, 21614), flow.ClassNumber, 21614},
		{"a landline", refuses(400, 21635), flow.ClassNumber, 21635},
		{"a country not enabled", refuses(400, 21408), flow.ClassCountry, 21408},
		{"a sender that is not ours", refuses(400, 21606), flow.ClassConfig, 21606},
		{"a full queue", refuses(400, 21611), flow.ClassRetry, 21611},
		{"suspected pumping", refuses(400, 30450), flow.ClassFraud, 30450},
		{"a body too long", refuses(400, 21617), flow.ClassBug, 21617},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			f.spoil(tt.answer)
			_, err := f.client(t).Send(t.Context(), text)
			var e *flow.SendError
			if !errors.As(err, &e) {
				t.Fatalf("Send: %v; want a *flow.SendError", err)
			}
			if e.Class != tt.class || e.Code != tt.code {
				t.Errorf("class %q, code %d; want %q, %d (%v)", e.Class, e.Code, tt.class, tt.code, err)
			}
			if n := f.asked(); n != 1 {
				t.Errorf("%d requests for one text", n)
			}
			if strings.Contains(err.Error(), "4155550123") || strings.Contains(err.Error(), "482913") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestWithoutAConnectionItWasNeverProcessed(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	nowhere := NewTransport()
	nowhere.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	unknown := NewTransport()
	unknown.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
	}
	for _, tt := range []struct {
		name      string
		url       string
		transport http.RoundTripper
	}{
		{"nobody listens", closed.URL, NewTransport()},
		{"no such host", "https://api.twilio.invalid", unknown},
		{"a certificate not to be trusted", untrusted.URL, NewTransport()},
		{"packets that vanish", closed.URL, nowhere},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(Config{
				APIURL: tt.url, AccountSID: account, AuthToken: token, From: from,
				Transport: tt.transport, Timeout: 300 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Send(t.Context(), text)
			var e *flow.SendError
			if !errors.As(err, &e) || e.Class != flow.ClassRetry {
				t.Errorf("Send: %v; want class retry", err)
			}
		})
	}
}

func TestOnceConnectedTheOutcomeIsUnknown(t *testing.T) {
	// A far end that reads the whole text and then says nothing, or that dies
	// in the middle: to us it looks the same.
	for name, answer := range map[string]http.HandlerFunc{"silent": hangs, "dying": resets} {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			c := f.client(t, func(c *Config) { c.Timeout = 200 * time.Millisecond })
			if _, err := c.Send(t.Context(), text); err != nil { // leaves an idle connection behind
				t.Fatal(err)
			}
			f.spoil(answer)
			_, err := c.Send(t.Context(), text)
			var e *flow.SendError
			if !errors.As(err, &e) || e.Class != flow.ClassUnknown {
				t.Errorf("Send: %v; want class unknown", err)
			}
			if n := f.asked(); n != 2 {
				t.Errorf("%d requests for two texts: one was sent again", n)
			}
		})
	}
}

func TestTheOutcomeIsJudgedAlikeOverHTTP2(t *testing.T) {
	f := newFar(t)
	secure := httptest.NewUnstartedServer(f)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	c := f.client(t, func(c *Config) { c.APIURL, c.Transport = secure.URL, transport })
	if _, err := c.Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if got := f.last().ProtoMajor; got != 2 {
		t.Fatalf("this is HTTP/%d", got)
	}
	f.spoil(resets)
	_, err := c.Send(t.Context(), text)
	var e *flow.SendError
	if !errors.As(err, &e) || e.Class != flow.ClassUnknown || f.asked() != 2 {
		t.Errorf("after %d requests for two texts: %v; want class unknown", f.asked(), err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	f, elsewhere := newFar(t), newFar(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		f.spoil(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
		})
		if sid, err := f.client(t).Send(t.Context(), text); err == nil {
			t.Errorf("%d: taken as %s", status, sid)
		}
	}
	if n := elsewhere.asked(); n != 0 {
		t.Errorf("a text, with its credentials, went elsewhere %d times", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	late := func(w http.ResponseWriter, r *http.Request) { // what twilio-go leaks a connection on
		refuses(400, 21211)(w, r)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(slices.Repeat([]byte(" "), 64<<10))
	}
	for name, answer := range map[string]http.HandlerFunc{
		"texts that are taken":         nil,
		"refusals":                     refuses(400, 21211),
		"refusals with a late end":     late,
		"a proxy's pages":              says(502, strings.Repeat("<p>", 10_000)),
		"answers that cannot be read":  says(201, "{"),
		"redirects with a body":        says(302, "moved"),
		"rate limits without a body":   says(429, ""),
		"answers with trailing spaces": says(201, `{"sid":"SM1"}`+strings.Repeat(" ", 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			c := f.client(t)
			for range 10 {
				if answer != nil {
					f.spoil(answer)
				}
				_, _ = c.Send(t.Context(), text)
			}
			if n := f.conns.Load(); n != 1 {
				t.Errorf("10 texts took %d connections", n)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	const date = "Mon, 23 Nov 2026 12:00:00 GMT"
	for _, tt := range []struct {
		name, value string
		want        time.Duration
	}{
		{"none", "", 0},
		{"seconds", "7", 7 * time.Second},
		{"a date, by the answer's clock", "Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second},
		{"a date gone by", "Mon, 23 Nov 2026 11:00:00 GMT", 0},
		{"too long to heed", "86400", time.Hour},
		{"too large to count", "99999999999999999999", 0},
		{"below zero", "-5", 0},
		{"nonsense", "soon", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			f.spoil(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", date)
				if tt.value != "" {
					w.Header().Set("Retry-After", tt.value)
				}
				refuses(429, 20429)(w, r)
			})
			_, err := f.client(t).Send(t.Context(), text)
			var e *flow.SendError
			if !errors.As(err, &e) || e.RetryAfter != tt.want {
				t.Errorf("Send: %v, to be tried again after %v; want %v", err, e.RetryAfter, tt.want)
			}
		})
	}
}

func TestFindLooksThroughPages(t *testing.T) {
	f := newFar(t)
	c := f.client(t)
	since := f.now
	for i := range pageSize + 10 {
		x := text
		x.Body = fmt.Sprintf("text %d", i)
		if _, err := c.Send(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(time.Second)
	}
	found, err := c.Find(t.Context(), text, since)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(found); n != pageSize+10 || found[0].Body != "text 59" || found[n-1].Body != "text 0" {
		t.Errorf("found %d texts, from %q", n, found[0].Body)
	}
	if r := f.last(); r.URL.Query().Get("Page") != "1" || r.URL.Query().Get("PageToken") == "" {
		t.Errorf("the second page was asked for by %s", r.URL.RawQuery)
	}
	if q := f.last().URL.Query(); q.Get("From") != from || q.Get("To") != to.E164() {
		t.Errorf("it was looked for among From=%s To=%s", q.Get("From"), q.Get("To"))
	}
}

func TestFindReadsNoMoreThanItNeeds(t *testing.T) {
	f := newFar(t)
	c := f.client(t)
	for i := range 5 * pageSize {
		f.messages = append(f.messages, message{
			SID: fmt.Sprintf("SM%032x", i), To: to.E164(), From: new(from), Direction: "outbound-api",
			Created: f.now.Add(time.Duration(i) * time.Second).Format(time.RFC1123Z),
		})
	}
	end := f.now.Add(5 * pageSize * time.Second)

	found, err := c.Find(t.Context(), text, end.Add(-10*time.Second))
	if err != nil || len(found) != 10 || f.asked() != 2 {
		t.Errorf("of the last 10 s it found %d texts in %d requests: %v", len(found), f.asked(), err)
	}
	asked := f.asked()
	found, err = c.Find(t.Context(), text, time.Time{})
	if err != nil || len(found) != maxPages*pageSize || f.asked()-asked != maxPages {
		t.Errorf("of all time it found %d texts in %d requests: %v", len(found), f.asked()-asked, err)
	}
}

func TestFindKnowsThatTwilioCutsTimesToSeconds(t *testing.T) {
	f := newFar(t)
	f.now = f.now.Add(950 * time.Millisecond) // listed as of 0 ms
	c := f.client(t)
	if _, err := c.Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Find(t.Context(), text, f.now.Add(-50*time.Millisecond)); err != nil || len(found) != 1 {
		t.Errorf("found %+v: %v", found, err)
	}
}

// Where our clock is off, the times that we ask by are off too.
func TestFindGoesByTwiliosClock(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		f := newFar(t)
		f.now = time.Now().UTC() // which is what its Date header says
		ours := func() time.Time { return time.Now().Add(off) }
		c := f.client(t, func(c *Config) { c.Now = ours })
		began := ours()
		if _, err := c.Send(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		old := message{SID: "SMold", To: to.E164(), From: new(from), Direction: "outbound-api", Created: time.Now().Add(-10 * time.Minute).UTC().Format(time.RFC1123Z)}
		f.messages = append([]message{old}, f.messages...)
		if found, err := c.Find(t.Context(), text, began.Add(-5*time.Second)); err != nil || len(found) != 1 || found[0].SID == "SMold" {
			t.Errorf("with our clock %v off it found %+v: %v", off, found, err)
		}
	}
}

func TestFindLeavesOutWhatIsNotOurPOST(t *testing.T) {
	f := newFar(t)
	at := f.now.Format(time.RFC1123Z)
	f.messages = []message{
		{SID: "SM1", To: to.E164(), Service: new(service), Direction: "outbound-api", Created: at},
		{SID: "SM2", To: to.E164(), Service: new(service), Direction: "outbound-reply", Created: at},
		{SID: "SM3", To: to.E164(), Service: new("MGffff"), Direction: "outbound-api", Created: at},
		{SID: "SM4", To: to.E164(), Direction: "inbound", Created: at},
	}
	found, err := f.client(t, byService).Find(t.Context(), text, f.now)
	if err != nil || len(found) != 1 || found[0].SID != "SM1" {
		t.Errorf("found %+v: %v", found, err)
	}
}

func TestFindDoesNotTakeAFailureForNothing(t *testing.T) {
	f := newFar(t)
	f.messages = []message{{SID: "SM1", To: to.E164(), From: new(from), Direction: "outbound-api", Created: "yesterday"}}
	for name, spoil := range map[string]http.HandlerFunc{
		"a time that cannot be read": nil, "HTML": says(200, "<html>"), "a refusal": refuses(401, 20003),
		"an outage": says(503, ""), "a closed connection": resets,
	} {
		t.Run(name, func(t *testing.T) {
			if spoil != nil {
				f.spoil(spoil)
			}
			found, err := f.client(t).Find(t.Context(), text, f.now)
			var e *flow.SendError
			if !errors.As(err, &e) {
				t.Errorf("Find = %v, %v; want a *flow.SendError", found, err)
			}
			if err != nil && strings.Contains(err.Error(), "4155550123") {
				t.Errorf("the error tells the number: %v", err)
			}
		})
	}
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	good := Config{AccountSID: account, AuthToken: token, From: from}
	for _, tt := range []struct {
		name  string
		spoil func(*Config)
		want  []string
	}{
		{"nothing", func(*Config) {}, nil},
		{"no account", func(c *Config) { c.AccountSID = "" }, []string{"account's SID"}},
		{"an account that would climb", func(c *Config) { c.AccountSID = "AC/../x" }, []string{"account's SID"}},
		{"no token", func(c *Config) { c.AuthToken = "" }, []string{"auth token"}},
		{"a token with a blank", func(c *Config) { c.AuthToken = token + " " }, []string{"auth token"}},
		{"half a key", func(c *Config) { c.APIKey = "SK0123" }, []string{"secret"}},
		{"the other half", func(c *Config) { c.APISecret = "s3cret" }, []string{"API key"}},
		{"nobody to text from", func(c *Config) { c.From = "" }, []string{"text from"}},
		{"two to text from", func(c *Config) { c.MessagingServiceSID = service }, []string{"text from"}},
		{"a service that is none", func(c *Config) { byService(c); c.MessagingServiceSID = "SM0123" }, []string{"Messaging Service's SID"}},
		{"not a URL", func(c *Config) { c.APIURL = "api.twilio.com" }, []string{"URL"}},
		{"a URL of another kind", func(c *Config) { c.APIURL = "ftp://api.twilio.com" }, []string{"URL"}},
		{"all at once", func(c *Config) { *c = Config{APIURL: "::", AuthToken: "t0p-secret"} },
			[]string{"URL", "account's SID", "auth token", "text from"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.spoil(&c)
			_, err := New(c)
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("New: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New: %v; it does not name the %s", err, want)
				}
			}
			if err != nil && (strings.Contains(err.Error(), c.AuthToken) && c.AuthToken != "" || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("New tells a secret: %v", err)
			}
		})
	}
}

func TestEveryCodeHasAClass(t *testing.T) {
	for code, class := range classes {
		if !slices.Contains(flow.Classes, class) {
			t.Errorf("%d is of class %q, which is none", code, class)
		}
		if class == flow.ClassUnknown {
			t.Errorf("%d is unknown, but Twilio knew", code)
		}
	}
}
