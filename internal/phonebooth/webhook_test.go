package phonebooth

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
)

func TestInboundWebhook(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service}, nil)
	a := s.text("Confirm 482913 & thanks ñ")
	calls := s.shop.heard("/inbound")
	if len(calls) != 1 {
		t.Fatalf("the service was called %d times", len(calls))
	}
	c := calls[0]
	want := url.Values{
		"AccountSid": {DefaultAccountSid}, "ApiVersion": {"2010-04-01"}, "Body": {"Confirm 482913 & thanks ñ"},
		"From": {theirs}, "To": {ours}, "MessageSid": {a.Sid}, "SmsSid": {a.Sid}, "SmsMessageSid": {a.Sid},
		"SmsStatus": {"received"}, "NumMedia": {"0"}, "NumSegments": {"1"}, "MessagingServiceSid": {service},
		"FromCountry": {"US"}, "FromCity": {""}, "FromState": {""}, "FromZip": {""},
		"ToCountry": {"US"}, "ToCity": {""}, "ToState": {""}, "ToZip": {""},
	}
	if c.form.Encode() != want.Encode() {
		t.Errorf("it was told\n%s\nwant\n%s", c.form.Encode(), want.Encode())
	}
	if c.method != "POST" || c.header.Get("Content-Type") != "application/x-www-form-urlencoded; charset=UTF-8" {
		t.Errorf("%s of %s", c.method, c.header.Get("Content-Type"))
	}
	v := client.NewRequestValidator(DefaultAuthToken)
	if !v.ValidateBody(s.shop.URL+"/inbound", []byte(c.body), c.header.Get("X-Twilio-Signature")) {
		t.Error("Twilio's library does not take the signature")
	}
	if a.WebhookStatus != 200 || a.TwiML != "<Response/>" || len(a.Messages) != 0 || !a.Forwarded {
		t.Errorf("answer = %+v", a)
	}
}

func TestInboundFromAbroadAndWithPictures(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.control("POST", "/booth/phones/%2B46701234567/texts", `{"media":[{"url":"https://pictures.example/1","content_type":"image/png"}]}`, 200)
	form := s.shop.heard("/inbound")[0].form
	for name, want := range map[string]string{
		"From": "+46701234567", "FromCountry": "SE", "NumMedia": "1", "Body": "",
		"MediaUrl0": "https://pictures.example/1", "MediaContentType0": "image/png",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(form.Get("MessageSid"), "MM") {
		t.Errorf("MessageSid = %q, want MM…", form.Get("MessageSid"))
	}
	s.control("POST", "/booth/phones/4670/texts", `{"body":"a number that says nothing of a country"}`, 200)
	if form := s.shop.heard("/inbound")[1].form; form.Has("FromCountry") || form.Get("From") != "4670" {
		t.Errorf("told %v", form)
	}
}

func TestReplay(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	a := s.text("STOP")
	again := decode[Answer](t, s.control("POST", "/booth/phones/"+theirs+"/texts", fmt.Sprintf(`{"sid":%q,"body":"STOP"}`, a.Sid), 200))
	if again.Sid != a.Sid || len(again.Messages) != 0 {
		t.Errorf("again = %+v, want the same sid, and no second answer of Twilio's", again)
	}
	calls := s.shop.heard("/inbound")
	if len(calls) != 2 || calls[0].body != calls[1].body {
		t.Errorf("the service was told %d different things", len(calls))
	}
	if n := len(s.Messages("")); n != 2 { // the text and Twilio's words
		t.Errorf("%d messages, want no new one", n)
	}
	s.control("POST", "/booth/phones/+14155550124/texts", fmt.Sprintf(`{"sid":%q,"body":"STOP"}`, a.Sid), 422)
	mine := "SM" + strings.Repeat("5", 32)
	if got := decode[Answer](t, s.control("POST", "/booth/phones/"+theirs+"/texts", fmt.Sprintf(`{"sid":%q,"body":"x"}`, mine), 200)); got.Sid != mine {
		t.Errorf("a sid of one's own = %q", got.Sid)
	}
}

func TestWebhookDouble(t *testing.T) {
	s := stageBooth(t, Config{}, twimlSays("<Response><Message>once</Message></Response>"))
	s.fault(`{"kind":"webhook-double","count":1}`)
	a := s.text("hello")
	calls := s.shop.heard("/inbound")
	if len(calls) != 2 || calls[0].body != calls[1].body || len(a.Messages) != 2 {
		t.Errorf("%d calls and %d replies, want two the same", len(calls), len(a.Messages))
	}
}

func TestTextsRefused(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	for _, bad := range []string{
		``, `{}`, `{"body":""}`, `{"body":"x","to":"+14155550199"}`, `{"body":"x","sid":"SM1"}`,
		`{"text":"a body by another name"}`, `not JSON`, fmt.Sprintf(`{"body":%q}`, strings.Repeat("x", 1601)),
	} {
		s.control("POST", "/booth/phones/"+theirs+"/texts", bad, http.StatusUnprocessableEntity)
	}
	if n := len(s.shop.heard("/")); n != 0 {
		t.Errorf("the service heard of %d of them", n)
	}
}

func TestOverrides(t *testing.T) {
	def := overrides{5 * time.Second, 15 * time.Second, 15 * time.Second, 1, []string{"ct"}}
	with := func(change func(*overrides)) overrides {
		o := def
		change(&o)
		return o
	}
	for _, tt := range []struct {
		fragment string
		want     overrides
	}{
		{"", def},
		{"#", def},
		{"#rc=2&rp=ct,5xx&ct=2000", with(func(o *overrides) { o.retries, o.on, o.connect = 2, []string{"ct", "5xx"}, 2*time.Second })},
		{"#rt=100&tt=200", with(func(o *overrides) { o.read, o.total = 100*time.Millisecond, 200*time.Millisecond })},
		{"#rc=0", with(func(o *overrides) { o.retries = 0 })},
		{"#rc=6&ct=99&rt=15001&tt=x", def},
		{"#sni=n&e=dublin", def},
	} {
		got := overridesIn("https://shop.example/in" + tt.fragment)
		if got.connect != tt.want.connect || got.read != tt.want.read || got.total != tt.want.total || got.retries != tt.want.retries || !slices.Equal(got.on, tt.want.on) {
			t.Errorf("overrides of %q = %+v, want %+v", tt.fragment, got, tt.want)
		}
	}
}

// TestRetries has a service that fails a few times before it answers.
func TestRetries(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fragment string
		failing  int // answers 503 so often
		status   int
		attempts int
	}{
		{"a 5xx is not retried by default", "", 1, 503, 1},
		{"a 5xx is retried on request", "#rc=2&rp=5xx", 2, 200, 3},
		{"but no more often than asked", "#rc=1&rp=5xx", 2, 503, 2},
		{"all covers it", "#rc=1&rp=all", 1, 200, 2},
		{"4xx does not", "#rc=5&rp=4xx,ct,rt", 1, 503, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				if int(n.Add(1)) <= tt.failing {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				twimlSays("<Response/>")(w, r)
			})
			s.cfg.InboundURL += tt.fragment
			a := s.text("hello")
			if a.WebhookStatus != tt.status || a.Attempts != tt.attempts {
				t.Errorf("answer = %+v, want %d after %d attempts", a, tt.status, tt.attempts)
			}
			calls := s.shop.heard("/inbound")
			v := client.NewRequestValidator(DefaultAuthToken)
			for _, c := range calls {
				if c.path != "/inbound" || !v.ValidateBody(s.shop.URL+"/inbound", []byte(c.body), c.header.Get("X-Twilio-Signature")) {
					t.Errorf("%s is not signed without its fragment", c.path)
				}
				if c.header.Get("I-Twilio-Idempotency-Token") != calls[0].header.Get("I-Twilio-Idempotency-Token") {
					t.Error("attempts do not share their idempotency token")
				}
			}
		})
	}
}

func TestServiceThatDoesNotAnswer(t *testing.T) {
	t.Run("nobody listens: tried twice, then the debugger", func(t *testing.T) {
		s := stageBooth(t, Config{InboundURL: "http://127.0.0.1:1/"}, nil)
		if a := s.text("hello"); a.WebhookStatus != 0 || a.Attempts != 2 || a.ErrorCode != 11205 {
			t.Errorf("answer = %+v", a)
		}
	})
	t.Run("nothing to read in time: not retried", func(t *testing.T) {
		release := make(chan struct{})
		s := stageBooth(t, Config{}, func(http.ResponseWriter, *http.Request) { <-release })
		defer close(release)
		s.cfg.InboundURL += "#rt=100"
		if a := s.text("hello"); a.WebhookStatus != 0 || a.Attempts != 1 || a.ErrorCode != 11205 {
			t.Errorf("answer = %+v", a)
		}
	})
	t.Run("half an answer, and no more in time", func(t *testing.T) {
		release := make(chan struct{})
		s := stageBooth(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, "<Response>")
			_ = http.NewResponseController(w).Flush()
			<-release
		})
		defer close(release)
		s.cfg.InboundURL += "#rt=100&rc=1&rp=rt"
		if a := s.text("hello"); a.Attempts != 2 || a.ErrorCode != 11205 {
			t.Errorf("answer = %+v", a)
		}
	})
	t.Run("a reset lets go of it", func(t *testing.T) {
		entered, release := make(chan struct{}, 1), make(chan struct{})
		s := stageBooth(t, Config{}, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release })
		defer close(release)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.Text(theirs, Text{Body: "hello"})
		}()
		<-entered
		s.Reset()
		<-done
		if got := s.troubles(); len(got) != 0 {
			t.Errorf("troubles of before the reset: %v", got)
		}
	})
}

func TestFallback(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  http.HandlerFunc
		code string
	}{
		{"a server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "11200"},
		{"not allowed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "11200"},
		{"bad TwiML", twimlSays("<Response><Message>"), "12100"},
		{"a redirect to nowhere", twimlSays("<Response><Redirect>gopher://x/</Redirect></Response>"), "11200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/fallback" {
					twimlSays("<Response><Message>Sorry</Message></Response>")(w, r)
					return
				}
				tt.bad(w, r)
			})
			s.cfg.FallbackURL = s.shop.URL + "/fallback"
			a := s.text("hello")
			if len(a.Messages) != 1 || a.Messages[0].Body != "Sorry" || a.FallbackStatus != 200 {
				t.Errorf("answer = %+v", a)
			}
			form := s.shop.heard("/fallback")[0].form
			if form.Get("ErrorCode") != tt.code || form.Get("ErrorUrl") != s.shop.URL+"/inbound" || form.Get("Body") != "hello" {
				t.Errorf("the fallback was told %v", form)
			}
		})
	}
}

func TestRedirectedWebhooks(t *testing.T) {
	for _, tt := range []struct {
		status int
		method string
	}{
		{http.StatusMovedPermanently, "GET"},
		{http.StatusFound, "GET"},
		{http.StatusTemporaryRedirect, "POST"},
		{http.StatusPermanentRedirect, "POST"},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/inbound" {
					http.Redirect(w, r, "/moved?x=1", tt.status)
					return
				}
				twimlSays("<Response/>")(w, r)
			})
			if a := s.text("hello"); a.WebhookStatus != 200 {
				t.Errorf("answer = %+v", a)
			}
			c := s.shop.heard("/moved")[0]
			if c.method != tt.method || (c.body == "") != (tt.method == "GET") {
				t.Errorf("it came as %s %q, want %s", c.method, c.body, tt.method)
			}
			v := client.NewRequestValidator(DefaultAuthToken)
			if !v.ValidateBody(s.shop.URL+"/moved?x=1", []byte(c.body), c.header.Get("X-Twilio-Signature")) {
				t.Error("it was not signed anew")
			}
		})
	}
}

func TestCredentialsWaitForTheChallenge(t *testing.T) {
	s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "shop" || password != "p@ss" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		twimlSays("<Response/>")(w, r)
	})
	s.cfg.InboundURL = strings.Replace(s.cfg.InboundURL, "http://", "http://shop:p%40ss@", 1)
	if a := s.text("hello"); a.WebhookStatus != 200 {
		t.Errorf("answer = %+v", a)
	}
	calls := s.shop.heard("/inbound")
	if len(calls) != 2 || calls[0].header.Get("Authorization") != "" {
		t.Errorf("%d calls, the first with %q", len(calls), calls[0].header.Get("Authorization"))
	}
	v := client.NewRequestValidator(DefaultAuthToken)
	if !v.ValidateBody(s.shop.URL+"/inbound", []byte(calls[1].body), calls[1].header.Get("X-Twilio-Signature")) {
		t.Error("the credentials were signed too")
	}
}

func TestCookiesBelongToAConversation(t *testing.T) {
	s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "seen=1")
		twimlSays("<Response/>")(w, r)
	})
	s.text("one")
	s.text("two")
	s.control("POST", "/booth/phones/+14155550124/texts", `{"body":"a stranger"}`, 200)
	s.Advance(4*time.Hour + 1)
	s.text("much later")
	var got []string
	for _, c := range s.shop.heard("/inbound") {
		got = append(got, c.header.Get("Cookie"))
	}
	if want := []string{"", "seen=1", "", ""}; !slices.Equal(got, want) {
		t.Errorf("cookies = %q, want %q", got, want)
	}
}

func TestSigningFaults(t *testing.T) {
	for _, kind := range []string{"sign-none", "sign-wrong-token", "sign-wrong-port", "sign-tampered"} {
		t.Run(kind, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			s.fault(fmt.Sprintf(`{"kind":%q,"on":"inbound","count":1}`, kind))
			s.create(s.toThem())
			s.Advance(time.Minute)
			s.text("forged")
			s.text("honest")
			v := client.NewRequestValidator(DefaultAuthToken)
			valid := func(c call) bool {
				u := s.shop.URL + c.path
				return v.ValidateBody(u, []byte(c.body), c.header.Get("X-Twilio-Signature"))
			}
			calls := s.shop.heard("/inbound")
			if valid(calls[0]) || !valid(calls[1]) {
				t.Errorf("the forged one is valid: %v, the honest one after it: %v", valid(calls[0]), valid(calls[1]))
			}
			if (calls[0].header.Get("X-Twilio-Signature") == "") != (kind == "sign-none") {
				t.Errorf("signature = %q", calls[0].header.Get("X-Twilio-Signature"))
			}
			for _, c := range s.shop.heard("/status") {
				if !valid(c) {
					t.Error("a receipt was forged too")
				}
			}
			shown := decode[[]Webhook](t, s.control("GET", "/booth/webhooks", "", 200))
			if shown[1].Fault != kind || shown[0].Fault != "" {
				t.Errorf("shown as %q and %q", shown[1].Fault, shown[0].Fault)
			}
		})
	}
}

func TestTokensRotate(t *testing.T) {
	s := stageBooth(t, Config{AuthTokens: []string{DefaultAuthToken, "secondary"}}, nil)
	signedBy := func(token string) bool {
		s.text("hello")
		calls := s.shop.heard("/inbound")
		c := calls[len(calls)-1]
		v := client.NewRequestValidator(token)
		return v.ValidateBody(s.shop.URL+"/inbound", []byte(c.body), c.header.Get("X-Twilio-Signature"))
	}
	if !signedBy(DefaultAuthToken) {
		t.Error("the primary token does not sign")
	}
	s.control("POST", "/booth/tokens/promote", "", 200)
	if !signedBy("secondary") {
		t.Error("the promoted token does not sign")
	}
	if resp, _ := s.rest("GET", "/Messages.json", nil); resp.StatusCode != 401 {
		t.Errorf("the old token still opens: %s", resp.Status)
	}
	s.control("POST", "/booth/tokens/promote", "", 409)
	s.Reset()
	if !signedBy(DefaultAuthToken) {
		t.Error("a reset does not bring the primary token back")
	}
}

func TestDeliverTo(t *testing.T) {
	s := stageBooth(t, Config{InboundURL: "https://shop.example/inbound#rc=0"}, nil)
	s.hooks = newCaller(nil, s.shop.URL)
	if a := s.text("hello"); a.WebhookStatus != 200 {
		t.Fatalf("answer = %+v", a)
	}
	c := s.shop.heard("/inbound")[0]
	v := client.NewRequestValidator(DefaultAuthToken)
	if c.host != "shop.example" || !v.ValidateBody("https://shop.example/inbound", []byte(c.body), c.header.Get("X-Twilio-Signature")) {
		t.Errorf("it came for %s, or signed for another", c.host)
	}
}

func TestWebhookIsShownAsItWas(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.text("hello")
	w := decode[[]Webhook](t, s.control("GET", "/booth/webhooks", "", 200))[0]
	c := s.shop.heard("/inbound")[0]
	if w.Signature != c.header.Get("X-Twilio-Signature") || w.SignedURL != s.shop.URL+"/inbound" || w.Status != 200 || w.Answer != "<Response/>" {
		t.Errorf("shown %+v", w)
	}
	if !slices.IsSortedFunc(w.Params, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) }) || len(w.Params) != len(c.form) {
		t.Errorf("params %v are not those signed, in order", w.Params)
	}
}
