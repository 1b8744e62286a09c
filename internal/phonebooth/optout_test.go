package phonebooth

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTwiliosOwnWords(t *testing.T) {
	for _, tt := range []struct {
		body    string
		blocks  bool
		says    string // the beginning of Twilio's own answer
		reaches bool   // the webhook
	}{
		{"STOP", true, "You have successfully been unsubscribed.", true},
		{"stop", true, "You have successfully been unsubscribed.", true},
		{" Stop ", true, "You have successfully been unsubscribed.", true},
		{"STOPALL", true, "You have successfully been unsubscribed.", true},
		{"UNSUBSCRIBE", true, "You have successfully been unsubscribed.", true},
		{"cancel", true, "You have successfully been unsubscribed.", true},
		{"END", true, "You have successfully been unsubscribed.", true},
		{"QUIT", true, "You have successfully been unsubscribed.", true},
		{"REVOKE", true, "You have successfully been unsubscribed.", true},
		{"OPTOUT", true, "You have successfully been unsubscribed.", true},
		{"HELP", false, "Reply STOP to unsubscribe.", false},
		{"info", false, "Reply STOP to unsubscribe.", false},
		{"START", false, "", true}, // there is nothing to undo
		{"OPT OUT", false, "", true},
		{"STOP PLEASE", false, "", true},
		{"CANCEL 1234", false, "", true},
		{"STOP.", false, "", true},
		{"482913", false, "", true},
	} {
		t.Run(tt.body, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			a := s.text(tt.body)
			if tt.says == "" && len(a.Messages) > 0 || tt.says != "" && (len(a.Messages) != 1 || !strings.HasPrefix(a.Messages[0].Body, tt.says)) {
				t.Errorf("Twilio answers %+v, want %q", a.Messages, tt.says)
			}
			if got := len(s.shop.heard("/inbound")); (got == 1) != tt.reaches || a.Forwarded != tt.reaches {
				t.Errorf("the webhook was called %d times, want it reached: %v", got, tt.reaches)
			}
			if tt.reaches && s.shop.heard("/inbound")[0].form.Has("OptOutType") {
				t.Error("OptOutType came without an advanced opt-out")
			}
			resp, body := s.rest("POST", "/Messages.json", s.toThem())
			if blocked := resp.StatusCode == 400 && strings.Contains(body, `"code":21610`); blocked != tt.blocks {
				t.Errorf("afterwards a text = %s: %s; want it blocked: %v", resp.Status, body, tt.blocks)
			}
		})
	}
}

func TestBlocked(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "+14155550101"}}, twimlSays("<Response><Message>Farewell</Message></Response>"))
	if a := s.text("STOP"); len(a.Messages) != 1 {
		t.Errorf("after STOP there came %+v, want Twilio's words alone", a.Messages)
	}
	if got := s.troubles(); len(got) != 1 || got[0] != 21610 {
		t.Errorf("troubles = %v, want the service's blocked reply", got)
	}
	if a := s.text("stop"); len(a.Messages) != 0 {
		t.Errorf("a second STOP is answered with %+v", a.Messages)
	}
	for _, free := range []url.Values{
		{"To": {theirs}, "From": {"+14155550101"}, "Body": {"another number of ours"}},
		{"To": {"+14155550124"}, "From": {ours}, "Body": {"another customer"}},
	} {
		s.create(free)
	}
	for _, word := range []string{"YES", "start", "UNSTOP"} {
		s.text("STOP")
		a := s.text(word)
		if len(a.Messages) != 2 || !strings.HasPrefix(a.Messages[0].Body, "You have successfully been re-subscribed") || a.Messages[1].Body != "Farewell" {
			t.Errorf("after %s there came %+v, want Twilio's words and the service's", word, a.Messages)
		}
		s.create(s.toThem())
	}
}

func TestServiceIsBlockedWhole(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "+14155550101"}, ServiceSid: service}, nil)
	s.text("STOP")
	form := s.toThem()
	form.Set("From", "+14155550101")
	if resp, body := s.rest("POST", "/Messages.json", form); resp.StatusCode != 400 || !strings.Contains(body, "21610") {
		t.Errorf("from another number of the service = %s: %s", resp.Status, body)
	}
}

func TestAdvancedOptOut(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service, AdvancedOptOut: true}, nil)
	for _, tt := range []struct{ word, kind string }{
		{"STOP", "STOP"}, {"REVOKE", "STOP"}, {"HELP", "HELP"}, {"INFO", "HELP"}, {"UNSTOP", "START"}, {"hello", ""}, {"optout", "STOP"},
	} {
		a := s.text(tt.word)
		calls := s.shop.heard("/inbound")
		if got := calls[len(calls)-1].form.Get("OptOutType"); got != tt.kind || a.OptOutType != tt.kind {
			t.Errorf("%s comes with OptOutType %q, want %q", tt.word, got, tt.kind)
		}
	}
	m := s.create(url.Values{"To": {theirs}, "MessagingServiceSid": {service}, "Body": {"Hello"}, "StatusCallback": {s.shop.URL + "/status"}})
	s.Advance(time.Minute)
	got := s.fetchSid(m.Sid)
	if m.Status != accepted || got.Status != failed || got.ErrorCode == nil || *got.ErrorCode != 21610 {
		t.Errorf("a blocked text is %s and then %+v, want it to fail late with 21610", m.Status, got)
	}
	calls := s.shop.heard("/status")
	if last := calls[len(calls)-1].form; last.Get("ErrorCode") != "21610" || last.Get("MessageStatus") != failed {
		t.Errorf("its receipt says %v", last)
	}
}

func TestSendersWithRulesOfTheirOwn(t *testing.T) {
	const tollFree, short = "+18005550100", "12345"
	for _, tt := range []struct {
		name, ours string
		words      []string
		blocked    bool
		says       string
	}{
		{"toll-free: STOP blocks, in the carriers' words", tollFree, []string{"STOP"}, true, `NETWORK MSG: You replied with the word "stop"`},
		{"toll-free: CANCEL does not", tollFree, []string{"CANCEL"}, false, ""},
		{"toll-free: YES does not undo it", tollFree, []string{"STOP", "YES"}, true, ""},
		{"toll-free: UNSTOP does", tollFree, []string{"STOP", "UNSTOP"}, false, "NETWORK MSG"},
		{"toll-free: HELP reaches the service", tollFree, []string{"HELP"}, false, ""},
		{"a short code is left to its owner", short, []string{"STOP"}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stageBooth(t, Config{Numbers: []string{tt.ours}}, nil)
			var a Answer
			for _, word := range tt.words {
				a = s.text(word)
			}
			said := ""
			for _, m := range a.Messages {
				said += m.Body
			}
			if !strings.HasPrefix(said, tt.says) || (said == "") != (tt.says == "") {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			form := s.toThem()
			form.Set("From", tt.ours)
			if resp, _ := s.rest("POST", "/Messages.json", form); (resp.StatusCode == 400) != tt.blocked {
				t.Errorf("afterwards a text = %s, want it blocked: %v", resp.Status, tt.blocked)
			}
			if !a.Forwarded {
				t.Error("the service did not hear of it")
			}
		})
	}
}
