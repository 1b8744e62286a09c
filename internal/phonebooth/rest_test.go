package phonebooth

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCreatedBytes holds what is answered to the order, types and spelling of
// Twilio's own example.
func TestCreatedBytes(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	form := s.toThem()
	form.Set("Body", "Hello! 👍 <b>")
	resp, body := s.rest("POST", "/Messages.json", form)
	sid := decode[messageJSON](t, body).Sid
	want := fmt.Sprintf(`{"account_sid":"%[1]s","api_version":"2010-04-01","body":"Hello! 👍 <b>",`+
		`"date_created":"Sun, 01 Mar 2026 12:00:00 +0000","date_sent":null,"date_updated":"Sun, 01 Mar 2026 12:00:00 +0000",`+
		`"direction":"outbound-api","error_code":null,"error_message":null,"from":"+14155550100","num_media":"0","num_segments":"1",`+
		`"price":null,"price_unit":null,"messaging_service_sid":null,"sid":"%[2]s","status":"queued",`+
		`"subresource_uris":{"media":"/2010-04-01/Accounts/%[1]s/Messages/%[2]s/Media.json"},"to":"+14155550123",`+
		`"uri":"/2010-04-01/Accounts/%[1]s/Messages/%[2]s.json"}`, DefaultAccountSid, sid)
	if body != want {
		t.Errorf("created\n%s\nwant\n%s", body, want)
	}
	if !messageSid.MatchString(sid) {
		t.Errorf("sid = %q, want SM and 32 hex digits", sid)
	}
	if got := resp.Header.Get("Content-Length"); got != fmt.Sprint(len(body)) {
		t.Errorf("Content-Length = %q, want %d", got, len(body))
	}
	for name, want := range map[string]string{
		"Twilio-Request-Id":           `^RQ[0-9a-f]{32}$`,
		"Twilio-Concurrent-Requests":  `^1$`,
		"Twilio-Request-Duration":     `^\d+\.\d{3}$`,
		"X-Home-Region":               `^us1$`,
		"X-Powered-By":                `^AT-5000$`,
		"X-Shenanigans":               `^none$`,
		"X-Api-Domain":                `^api\.twilio\.com$`,
		"Strict-Transport-Security":   `^max-age=31536000$`,
		"Access-Control-Allow-Origin": `^\*$`,
		"Content-Type":                `^application/json`,
	} {
		if got := resp.Header.Get(name); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s = %q, want %s", name, got, want)
		}
	}
}

func TestDeliveredResource(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	form := s.toThem()
	form.Set("Body", strings.Repeat("a", 161))
	sid := s.create(form).Sid
	s.Advance(time.Minute)
	got := s.fetchSid(sid)
	if got.Status != delivered || got.DateSent == nil || *got.DateSent != "Sun, 01 Mar 2026 12:00:00 +0000" {
		t.Errorf("it is %s, sent %v", got.Status, got.DateSent)
	}
	if got.Price == nil || *got.Price != "-0.01660" {
		t.Errorf("price = %v, want two segments' as a string", got.Price)
	}
}

func TestXMLWithoutExtension(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	resp, body := s.rest("POST", "/Messages", s.toThem())
	if resp.StatusCode != http.StatusCreated || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/xml") {
		t.Errorf("create = %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	for _, part := range []string{"<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><Message><AccountSid>", "<DateSent></DateSent>", "<Status>queued</Status>"} {
		if !strings.Contains(body, part) {
			t.Errorf("%s\nhas no %s", body, part)
		}
	}
	_, body = s.rest("GET", "/Messages/SMffffffffffffffffffffffffffffffff", nil)
	want := "<TwilioResponse><RestException><Code>20404</Code><Message>The requested resource " + apiRoot + DefaultAccountSid +
		"/Messages/SMffffffffffffffffffffffffffffffff was not found</Message><MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo><Status>404</Status></RestException></TwilioResponse>"
	if !strings.HasSuffix(body, want) {
		t.Errorf("not found =\n%s\nwant\n%s", body, want)
	}
	if _, body := s.rest("GET", "/Messages", nil); !strings.Contains(body, "<Messages ") || strings.Count(body, "<Message>") != 1 {
		t.Errorf("list = %s", body)
	}
}

func TestWhoMayCome(t *testing.T) {
	key := "SK0123456789abcdef0123456789abcdef"
	s := stageBooth(t, Config{AuthTokens: []string{"primary", "secondary"}, APIKeys: map[string]string{key: "secret"}}, nil)
	for _, tt := range []struct {
		name, user, password string
		status               int
	}{
		{"the account, with its primary token", DefaultAccountSid, "primary", 200},
		{"the account, with its secondary token", DefaultAccountSid, "secondary", 200},
		{"an API key", key, "secret", 200},
		{"the account, with a wrong token", DefaultAccountSid, "tertiary", 401},
		{"the account, with a key's secret", DefaultAccountSid, "secret", 401},
		{"an API key, with the account's token", key, "primary", 401},
		{"an unknown key", "SKffffffffffffffffffffffffffffffff", "secret", 401},
		{"nobody", "", "", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := http.Request{Header: http.Header{}}
			if tt.user != "" {
				req.SetBasicAuth(tt.user, tt.password)
			}
			resp, body := s.do("GET", apiRoot+DefaultAccountSid+"/Messages.json", "", req.Header)
			if resp.StatusCode != tt.status {
				t.Errorf("%s, want %d", resp.Status, tt.status)
			}
			if tt.status == 401 && body != `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}` {
				t.Errorf("body = %s", body)
			}
		})
	}
}

func TestWrongDoors(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	sid := s.create(s.toThem()).Sid
	for _, tt := range []struct {
		name, method, path string
		status, code       int
	}{
		{"a text that never was", "GET", "/Messages/SMffffffffffffffffffffffffffffffff.json", 404, 20404},
		{"a resource that never was", "GET", "/Calls.json", 404, 20404},
		{"a part of a text that never was", "GET", "/Messages/" + sid + "/Soul.json", 404, 20404},
		{"deleting the list", "DELETE", "/Messages.json", 405, 20004},
		{"putting a text", "PUT", "/Messages/" + sid + ".json", 405, 20004},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := s.rest(tt.method, tt.path, nil)
			if resp.StatusCode != tt.status || !strings.Contains(body, fmt.Sprintf(`{"code":%d,`, tt.code)) {
				t.Errorf("%s: %s, want %d and code %d", resp.Status, body, tt.status, tt.code)
			}
		})
	}
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(DefaultAccountSid, DefaultAuthToken)
	if resp, _ := s.do("GET", apiRoot+"ACffffffffffffffffffffffffffffffff/Messages.json", "", req.Header); resp.StatusCode != 404 {
		t.Errorf("another's account = %s, want 404", resp.Status)
	}
}

func TestRedactingAndDeletingAWaitingText(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	sid := s.create(s.toThem()).Sid
	path := "/Messages/" + sid + ".json"
	for _, tt := range []struct {
		name, method string
		form         url.Values
	}{
		{"redact", "POST", url.Values{"Body": {""}}},
		{"delete", "DELETE", nil},
	} {
		if resp, body := s.rest(tt.method, path, tt.form); resp.StatusCode != 409 || !strings.Contains(body, "20009") {
			t.Errorf("%s before it is over = %s: %s", tt.name, resp.Status, body)
		}
	}
	s.Advance(time.Minute)

	resp, body := s.rest("POST", path, url.Values{"Body": {""}})
	if resp.StatusCode != 200 || decode[messageJSON](t, body).Body != "" {
		t.Errorf("redact = %s: %s", resp.Status, body)
	}
	if resp, _ := s.rest("POST", path, url.Values{"Body": {"other words"}}); resp.StatusCode != 400 {
		t.Errorf("rewriting a text = %s, want 400", resp.Status)
	}
	if got := s.Messages(theirs)[0]; got.Body != "Hello" || !got.Redacted {
		t.Errorf("the telephone shows %+v; what was read cannot be unread", got)
	}
	if resp, body := s.rest("DELETE", path, nil); resp.StatusCode != 204 || body != "" {
		t.Errorf("delete = %s: %q", resp.Status, body)
	}
	if resp, _ := s.rest("GET", path, nil); resp.StatusCode != 404 {
		t.Errorf("after it was deleted = %s", resp.Status)
	}
	if _, body := s.rest("GET", "/Messages.json", nil); strings.Contains(body, sid) {
		t.Errorf("the list still has it")
	}
}

func TestFeedback(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	form := s.toThem()
	form.Set("ProvideFeedback", "true")
	path := "/Messages/" + s.create(form).Sid + "/Feedback.json"
	if resp, body := s.rest("POST", path, url.Values{"Outcome": {"confirmed"}}); resp.StatusCode != 201 || !strings.Contains(body, `"outcome":"confirmed"`) {
		t.Errorf("feedback = %s: %s", resp.Status, body)
	}
	if resp, _ := s.rest("POST", path, url.Values{"Outcome": {"maybe"}}); resp.StatusCode != 400 {
		t.Errorf("an unknown outcome = %s", resp.Status)
	}
}

func TestList(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "+14155550101"}, SendDelay: time.Second}, nil)
	other := "+14155550124"
	say := func(to, from, body string) {
		s.create(url.Values{"To": {to}, "From": {from}, "Body": {body}})
	}
	say(theirs, ours, "first") // sent a second past noon on 1 March
	s.Advance(24 * time.Hour)
	say(theirs, "+14155550101", "second") // a second past noon on 2 March
	say(other, ours, "third")
	s.Advance(time.Hour)
	s.text("inbound")
	say(theirs, ours, "waiting") // created at 13:00 on 2 March, not sent yet

	for _, tt := range []struct {
		name  string
		query url.Values
		want  string
	}{
		{"all, newest first", nil, "waiting inbound third second first"},
		{"to a number", url.Values{"To": {theirs}}, "waiting second first"},
		{"from a number", url.Values{"From": {"+14155550101"}}, "second"},
		{"from a customer", url.Values{"From": {theirs}}, "inbound"},
		{"to and from", url.Values{"To": {theirs}, "From": {ours}}, "waiting first"},
		{"on a day", url.Values{"DateSent": {"2026-03-01"}}, "first"},
		{"on the day of a moment", url.Values{"DateSent": {"2026-03-01T00:00:00Z"}}, "first"},
		{"since a day", url.Values{"DateSent>": {"2026-03-02"}}, "waiting inbound third second"},
		{"until a day", url.Values{"DateSent<": {"2026-03-01"}}, "first"},
		{"since the very second", url.Values{"DateSent>": {"2026-03-02T12:00:01Z"}}, "waiting inbound third second"},
		{"since the second after", url.Values{"DateSent>": {"2026-03-02T12:00:02Z"}}, "waiting inbound"},
		{"until the very second", url.Values{"DateSent<": {"2026-03-02T12:00:01Z"}}, "third second first"},
		{"until the second before", url.Values{"DateSent<": {"2026-03-02T12:00:00Z"}}, "first"},
		{"between", url.Values{"DateSent>": {"2026-03-02T12:00:01Z"}, "DateSent<": {"2026-03-02T12:59:00Z"}}, "third second"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, body := s.rest("GET", "/Messages.json?"+tt.query.Encode(), nil)
			if got := bodies(decode[listJSON](t, body)); got != tt.want {
				t.Errorf("list = %s, want %s", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"DateSent=yesterday", "PageSize=0", "PageSize=many", "Page=-1"} {
		if resp, _ := s.rest("GET", "/Messages.json?"+bad, nil); resp.StatusCode != 400 {
			t.Errorf("list with %s = %s, want 400", bad, resp.Status)
		}
	}
}

type listJSON struct {
	Messages []messageJSON `json:"messages"`
	Next     *string       `json:"next_page_uri"`
	Previous *string       `json:"previous_page_uri"`
	Page     int           `json:"page"`
	PageSize int           `json:"page_size"`
	Start    int           `json:"start"`
	End      int           `json:"end"`
}

func bodies(l listJSON) string {
	var words []string
	for _, m := range l.Messages {
		words = append(words, m.Body)
	}
	return strings.Join(words, " ")
}

func TestPages(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	for i := range 5 {
		form := s.toThem()
		form.Set("Body", fmt.Sprint(i))
		s.create(form)
	}
	uri := "/Messages.json?PageSize=2&To=" + url.QueryEscape(theirs)
	var got []string
	for n := 0; ; n++ {
		_, body := s.rest("GET", uri, nil)
		l := decode[listJSON](t, body)
		got = append(got, bodies(l))
		if l.Page != n || l.PageSize != 2 || l.Start != 2*n || (l.Previous == nil) != (n == 0) {
			t.Errorf("page %d says %+v", n, l)
		}
		if n == 0 { // what comes meanwhile does not shift the pages
			s.create(s.toThem())
		}
		if l.Next == nil {
			break
		}
		uri = strings.TrimPrefix(*l.Next, apiRoot+DefaultAccountSid)
	}
	if want := "4 3|2 1|0"; strings.Join(got, "|") != want {
		t.Errorf("pages = %s, want %s", strings.Join(got, "|"), want)
	}
}

func TestAccountForThoseWhoCheck(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "12345"}}, nil)
	if resp, body := s.rest("GET", ".json", nil); resp.StatusCode != 200 || !strings.Contains(body, `"status":"active"`) {
		t.Errorf("account = %s: %s", resp.Status, body)
	}
	_, body := s.rest("GET", "/IncomingPhoneNumbers.json?PhoneNumber="+url.QueryEscape(ours), nil)
	list := decode[struct {
		Numbers []struct {
			PhoneNumber string `json:"phone_number"`
			SmsURL      string `json:"sms_url"`
			Sid         string `json:"sid"`
		} `json:"incoming_phone_numbers"`
	}](t, body)
	if len(list.Numbers) != 1 || list.Numbers[0].PhoneNumber != ours || list.Numbers[0].SmsURL != s.shop.URL+"/inbound" {
		t.Errorf("numbers = %s", body)
	}
	if !regexp.MustCompile(`^PN[0-9a-f]{32}$`).MatchString(list.Numbers[0].Sid) {
		t.Errorf("number's sid = %q", list.Numbers[0].Sid)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	s := stageBooth(t, Config{Concurrency: 1}, nil)
	s.busy.Add(1) // somebody else
	resp, body := s.rest("POST", "/Messages.json", s.toThem())
	if resp.StatusCode != 429 || body != `{"code":20429,"message":"Too Many Requests","more_info":"https://www.twilio.com/docs/errors/20429","status":429}` {
		t.Errorf("%s: %s", resp.Status, body)
	}
	s.busy.Add(-1)
	s.create(s.toThem())
}
