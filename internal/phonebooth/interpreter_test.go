package phonebooth

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTwiML(t *testing.T) {
	for _, tt := range []struct {
		name     string
		kind     string // Content-Type
		document string
		says     []string
		troubles []int
	}{
		{"nothing to say", "text/xml", `<Response/>`, nil, nil},
		{"a message", "text/xml", `<?xml version="1.0" encoding="UTF-8"?><Response><Message>Tom &amp; Jerry</Message></Response>`, []string{"Tom & Jerry"}, nil},
		{"a body", "application/xml; charset=utf-8", `<Response><Message><Body>Hi</Body></Message></Response>`, []string{"Hi"}, nil},
		{"several bodies are joined", "text/html", `<Response><Message><Body>one</Body><Body>two</Body></Message></Response>`, []string{"onetwo"}, nil},
		{"two messages", "text/xml", `<Response><Message>1</Message><Message>2</Message></Response>`, []string{"1", "2"}, nil},
		{"plain text is said as it is", "text/plain", "1 < 2", []string{"1 < 2"}, nil},
		{"no plain text", "text/plain", "", nil, nil},
		{"a picture", "text/xml", `<Response><Message><Media>https://shop.example/cat</Media></Message></Response>`, []string{""}, nil},
		{"a verb for calls", "text/xml", `<Response><Say>Hi</Say><Message>there</Message></Response>`, []string{"there"}, []int{12200}},
		{"a verb in small letters", "text/xml", `<Response><message>Hi</message></Response>`, nil, []int{12200}},
		{"an odd child", "text/xml", `<Response><Message><b>Hi</b>there</Message></Response>`, []string{"there"}, []int{12200}},
		{"no words", "text/xml", `<Response><Message> </Message></Response>`, nil, []int{14103}},
		{"too many words", "text/xml", `<Response><Message>` + strings.Repeat("x", 1601) + `</Message></Response>`, nil, []int{14103}},
		{"from somebody else", "text/xml", `<Response><Message from="+14155550199">Hi</Message></Response>`, nil, []int{21606}},
		{"to no number", "text/xml", `<Response><Message to="mum">Hi</Message></Response>`, nil, []int{21211}},
		{"not closed", "text/xml", `<Response><Message>Hi</Response>`, nil, []int{12100}},
		{"not escaped", "text/xml", `<Response><Message>Tom & Jerry</Message></Response>`, nil, []int{12100}},
		{"another root", "text/xml", `<Reply/>`, nil, []int{12100}},
		{"two roots", "text/xml", `<Response/><Response/>`, nil, []int{12100}},
		{"words after the end", "text/xml", `<Response/>Hi`, nil, []int{12100}},
		{"an empty document", "text/xml", ``, nil, []int{12100}},
		{"JSON", "application/json", `{}`, nil, []int{12300}},
		{"no content type at all", "", `<Response/>`, nil, []int{12300}},
		{"longer than is read", "text/xml", `<Response><!--` + strings.Repeat("x", 1<<16) + `--></Response>`, nil, []int{11200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stageBooth(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				if tt.kind != "" {
					w.Header().Set("Content-Type", tt.kind)
				}
				_, _ = io.WriteString(w, tt.document)
			})
			a := s.text("hello")
			var said []string
			for _, m := range a.Messages {
				said = append(said, m.Body)
				if m.From != ours || m.To != theirs || m.Direction != "outbound-reply" {
					t.Errorf("said by %+v", m)
				}
			}
			if !slices.Equal(said, tt.says) {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if got := s.troubles(); !slices.Equal(got, tt.troubles) && len(got)+len(tt.troubles) > 0 {
				t.Errorf("troubles = %v, want %v", got, tt.troubles)
			}
			s.Advance(time.Minute)
			for _, m := range s.Messages(theirs) {
				if m.Direction == outboundReply && m.Status != delivered {
					t.Errorf("the reply is %s, want it on the telephone", m.Status)
				}
			}
		})
	}
}

func TestNoContentSaysNothing(t *testing.T) {
	s := stageBooth(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if a := s.text("hello"); a.WebhookStatus != 204 || a.ErrorCode != 0 {
		t.Errorf("answer = %+v", a)
	}
}

func TestTwiMLGoesElsewhere(t *testing.T) {
	documents := map[string]string{
		"/redirect":   `<Response><Message>first</Message><Redirect>/next?x=1</Redirect><Message>never</Message></Response>`,
		"/get":        `<Response><Redirect method="GET">/next</Redirect></Response>`,
		"/action":     `<Response><Message action="/next">first</Message><Message>never</Message></Response>`,
		"/loop":       `<Response><Redirect>/loop</Redirect></Response>`,
		"/next":       `<Response><Message>second</Message></Response>`,
		"/elsewhere":  `<Response><Message to="+14155550124" statusCallback="/status">to a friend</Message></Response>`,
		"/actionless": `<Response><Message action="/status">its action hears of it</Message></Response>`,
	}
	open := func(t *testing.T, start string) *scene {
		s := stageBooth(t, Config{}, func(w http.ResponseWriter, r *http.Request) { twimlSays(documents[r.URL.Path])(w, r) })
		s.cfg.InboundURL = s.shop.URL + start
		return s
	}
	words := func(a Answer) string {
		var w []string
		for _, m := range a.Messages {
			w = append(w, m.Body)
		}
		return strings.Join(w, ", ")
	}
	t.Run("Redirect ends the document", func(t *testing.T) {
		s := open(t, "/redirect")
		if got := words(s.text("hello")); got != "first, second" {
			t.Errorf("it says %s", got)
		}
		if c := s.shop.heard("/next?x=1"); len(c) != 1 || c[0].form.Get("Body") != "hello" {
			t.Errorf("the next document was asked for with %+v", c)
		}
	})
	t.Run("Redirect by GET", func(t *testing.T) {
		s := open(t, "/get")
		s.text("hello")
		if c := s.shop.heard("/next?"); len(c) != 1 || c[0].method != "GET" || c[0].body != "" || !strings.Contains(c[0].path, "Body=hello") {
			t.Errorf("asked for with %+v", c)
		}
	})
	t.Run("action ends the document, and is told of the message", func(t *testing.T) {
		s := open(t, "/action")
		a := s.text("hello")
		if got := words(a); got != "first, second" {
			t.Errorf("it says %s", got)
		}
		if c := s.shop.heard("/next"); c[0].form.Get("MessageSid") != a.Messages[0].Sid || c[0].form.Get("MessageStatus") != queued {
			t.Errorf("action was told %v", c[0].form)
		}
	})
	t.Run("a loop ends", func(t *testing.T) {
		s := open(t, "/loop")
		if a := s.text("hello"); a.ErrorCode != 11200 {
			t.Errorf("answer = %+v", a)
		}
		if n := len(s.shop.heard("/loop")); n != maxHops+1 {
			t.Errorf("it went round %d times", n)
		}
	})
	t.Run("to somebody else, with receipts", func(t *testing.T) {
		s := open(t, "/elsewhere")
		s.text("hello")
		s.Advance(time.Minute)
		if got := s.Messages("+14155550124"); len(got) != 1 || got[0].Status != delivered {
			t.Errorf("the friend got %+v", got)
		}
		if got := s.shop.statuses(); !slices.Equal(got, []string{sent, delivered}) {
			t.Errorf("receipts = %v", got)
		}
	})
}
