package phonebooth

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestMessagesOfANumber(t *testing.T) {
	s := stageBooth(t, Config{}, twimlSays("<Response><Message>Pong</Message></Response>"))
	s.create(s.toThem())
	s.text("Ping")
	form := s.toThem()
	form.Set("To", "+14155550124")
	s.create(form)
	for _, tt := range []struct {
		query string
		want  string
	}{
		{"", "Hello Ping Pong Hello"},
		{"?to=%2B14155550123", "Hello Ping Pong"},
		{"?to=+14155550123", "Hello Ping Pong"}, // the plus reads as a space
		{"?to=14155550123", "Hello Ping Pong"},
		{"?to=%2B14155550199", ""},
	} {
		list := decode[[]Message](t, s.control("GET", "/booth/messages"+tt.query, "", 200))
		var words []string
		for _, m := range list {
			words = append(words, m.Body)
		}
		if got := strings.Join(words, " "); got != tt.want {
			t.Errorf("messages%s = %q, want %q, oldest first", tt.query, got, tt.want)
		}
	}
	m := decode[[]Message](t, s.control("GET", "/booth/messages?to="+theirs, "", 200))[1]
	if m.From != theirs || m.To != ours || m.Direction != "inbound" || m.Status != "received" || m.Segments != 1 || !m.Date.Equal(epoch) {
		t.Errorf("inbound = %+v", m)
	}
}

func TestReset(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.create(s.toThem())
	s.text("STOP")
	s.fault(`{"kind":"429"}`)
	s.control("POST", "/booth/clock", `{"advance":"100ms"}`, 200)
	s.control("POST", "/booth/reset", "", 200)

	if got := s.Messages(""); len(got) != 0 {
		t.Errorf("messages = %+v", got)
	}
	if got := s.now(); !got.Equal(epoch) {
		t.Errorf("now = %v, want real time again", got)
	}
	before := len(s.shop.heard("/"))
	s.Advance(time.Hour)
	if n := len(s.shop.heard("/")); n != before {
		t.Errorf("%d webhooks of before the reset came after it", n-before)
	}
	s.create(s.toThem()) // no fault, no opt-out
	st := decode[State](t, s.control("GET", "/booth/state", "", 200))
	if len(st.Phones) != 1 || len(st.Faults)+len(st.OptOuts)+len(st.Webhooks)+len(st.Debugger) != 0 {
		t.Errorf("state = %+v", st)
	}
}

func TestClock(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	sid := s.create(s.toThem()).Sid
	s.control("POST", "/booth/clock", `{"advance":"10m"}`, 200)
	if got := s.fetchSid(sid).Status; got != delivered {
		t.Errorf("ten minutes later it is %s", got)
	}
	for _, bad := range []string{`{"advance":"-1s"}`, `{"advance":"tomorrow"}`, `{"advance":5}`} {
		s.control("POST", "/booth/clock", bad, http.StatusUnprocessableEntity)
	}
}

func TestTelephones(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.control("POST", "/booth/phones", `{"number":"+46701234567"}`, 201)
	s.control("POST", "/booth/phones", `{"number":"mum"}`, 422)
	s.create(s.toThem())
	s.text("STOP")
	st := decode[State](t, s.control("GET", "/booth/state", "", 200))
	if len(st.Phones) != 2 || st.Phones[0] != "+46701234567" || st.Phones[1] != theirs {
		t.Errorf("phones = %v", st.Phones)
	}
	if len(st.OptOuts) != 1 || st.OptOuts[0] != (OptOut{theirs, ours}) {
		t.Errorf("opt-outs = %v", st.OptOuts)
	}
	if len(st.Messages) != 3 || len(st.Webhooks) != 1 || len(st.Kinds) != len(kinds) {
		t.Errorf("state has %d messages, %d webhooks and %d kinds", len(st.Messages), len(st.Webhooks), len(st.Kinds))
	}
	s.control("DELETE", "/booth/phones/"+theirs, "", 200)
	if st := decode[State](t, s.control("GET", "/booth/state", "", 200)); len(st.Phones) != 1 || len(st.Messages) != 0 {
		t.Errorf("after it was put away: %v with %d messages", st.Phones, len(st.Messages))
	}
}

func TestOtherPagesMayNotReachIn(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	header := http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	if resp, _ := s.do("POST", "/booth/phones/"+theirs+"/texts", `{"body":"x"}`, header); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a cross-site text = %s", resp.Status)
	}
	if n := len(s.Messages("")); n != 0 {
		t.Errorf("%d texts were taken", n)
	}
}

func TestUnknownControls(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	if resp, _ := s.do("GET", "/booth/tea", "", nil); resp.StatusCode != 404 {
		t.Errorf("an unknown path = %s", resp.Status)
	}
	if resp, _ := s.do("GET", "/booth/reset", "", nil); resp.StatusCode != 405 {
		t.Errorf("a reset by GET = %s", resp.Status)
	}
}
