package handlers

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/twiml"
)

// inbound is a text for us, as Twilio posts it, with some fields changed; an
// empty value takes its field away.
func inbound(change ...string) url.Values {
	return changed(fieldsOf(
		"AccountSid", accountSID, "MessageSid", messageSID, "SmsStatus", "received",
		"From", theirs, "To", ourNumber, "Body", "my pin is 482 913", "NumMedia", "0",
	), change)
}

func receipt(change ...string) url.Values {
	return changed(fieldsOf(
		"AccountSid", accountSID, "MessageSid", messageSID, "MessageStatus", "delivered", "From", ourNumber, "To", theirs,
	), change)
}

func changed(form url.Values, change []string) url.Values {
	for name, values := range fieldsOf(change...) {
		form[name] = values
		if values[0] == "" {
			form.Del(name)
		}
	}
	return form
}

// hook posts a form that Twilio signed for our public URL.
func (v *visitor) hook(path string, form url.Values) reply {
	v.t.Helper()
	v.header.Set(twiml.SignatureHeader, twiml.Sign(token, v.public+path, form))
	return v.send(http.MethodPost, path, formType, form.Encode())
}

func TestATextIsHeardAndAnswered(t *testing.T) {
	s := open(t)
	s.desk.answer = "Acme: order KPW284 is confirmed & <done>."
	v := s.visitor()
	// Host is the sender's word; what was signed is our public URL.
	v.header.Set("Host", "evil.example")
	res := v.hook("/webhooks/twilio/message?shop=1", inbound("OptOutType", "START"))

	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != twiml.ContentType {
		t.Fatalf("got %d, %s: %s", res.StatusCode, res.Header.Get("Content-Type"), res.body)
	}
	if !strings.Contains(res.body, "<Message>Acme: order KPW284 is confirmed &amp; &lt;done&gt;.</Message>") {
		t.Errorf("answered %s", res.body)
	}
	if got := res.Header.Get("Content-Length"); got != strconv.Itoa(len(res.body)) {
		t.Errorf("Content-Length = %q of %d", got, len(res.body))
	}
	want := flow.Heard{
		SID: messageSID, Line: flow.LineID{Number: theirs, Sender: ourNumber}, Body: "my pin is 482 913", OptOut: flow.IntentStart,
	}
	if len(s.desk.heard) != 1 || s.desk.heard[0] != want {
		t.Errorf("heard %+v", s.desk.heard)
	}
	if !s.watcher.saw("webhook message ok") {
		t.Errorf("ops saw %q", s.watcher.notes)
	}
}

func TestSilence(t *testing.T) {
	const service = "MG0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name  string
		form  url.Values
		heard int
	}{
		{"where the desk has nothing to say", inbound(), 1},
		{"for another channel", inbound("From", "whatsapp:"+theirs), 0},
		{"for a short code", inbound("From", "24273"), 0},
		{"for a name", inbound("From", "ACME"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			res := s.visitor().hook("/webhooks/twilio/message", tt.form)
			if res.StatusCode != http.StatusOK || strings.Contains(res.body, "<Message") || !strings.Contains(res.body, "Response") {
				t.Errorf("got %d: %s", res.StatusCode, res.body)
			}
			if len(s.desk.heard) != tt.heard {
				t.Errorf("the desk heard %d", len(s.desk.heard))
			}
		})
	}
	t.Run("never for the service's numbers", func(t *testing.T) {
		s := open(t, func(c *Config) { c.Sender = service })
		s.visitor().hook("/webhooks/twilio/message", inbound("To", "+14155550199", "MessagingServiceSid", service))
		if len(s.desk.heard) != 1 || s.desk.heard[0].Line.Sender != service {
			t.Errorf("heard %+v", s.desk.heard)
		}
	})
}

func TestWebhooksThatAreRefused(t *testing.T) {
	const message, status = "/webhooks/twilio/message", "/webhooks/twilio/status"
	signed := func(path string, form url.Values) func(*visitor) reply {
		return func(v *visitor) reply { return v.hook(path, form) }
	}
	for _, tt := range []struct {
		name   string
		send   func(*visitor) reply
		status int
		result string
	}{
		{"a text that nobody signed", func(v *visitor) reply {
			return v.send(http.MethodPost, message, formType, inbound().Encode())
		}, 403, "message bad_signature"},
		{"one signed with another token", func(v *visitor) reply {
			v.header.Set(twiml.SignatureHeader, twiml.Sign("guess", v.public+message, inbound()))
			return v.send(http.MethodPost, message, formType, inbound().Encode())
		}, 403, "message bad_signature"},
		{"one signed for another URL", func(v *visitor) reply {
			v.header.Set(twiml.SignatureHeader, twiml.Sign(token, v.url+message, inbound()))
			return v.send(http.MethodPost, message, formType, inbound().Encode())
		}, 403, "message bad_signature"},
		{"one with a query that was not signed", func(v *visitor) reply {
			v.header.Set(twiml.SignatureHeader, twiml.Sign(token, v.public+message, inbound()))
			return v.send(http.MethodPost, message+"?From=x", formType, inbound().Encode())
		}, 403, "message bad_signature"},
		{"one with another body than was signed", func(v *visitor) reply {
			v.header.Set(twiml.SignatureHeader, twiml.Sign(token, v.public+message, inbound()))
			return v.send(http.MethodPost, message, formType, inbound("Body", "482914").Encode())
		}, 403, "message bad_signature"},
		{"one of another account", signed(message, inbound("AccountSid", "AC"+strings.Repeat("0", 32))), 403, "message malformed"},
		{"one to a number that is not ours", signed(message, inbound("To", "+14155550199")), 403, "message malformed"},
		{"one to another's service", signed(message, inbound("To", "+14155550199", "MessagingServiceSid", "MG"+strings.Repeat("0", 32))), 403, "message malformed"},
		{"one without a sid", signed(message, inbound("MessageSid", "")), 400, "message malformed"},
		{"one cut anew", signed(message, changed(inbound("Body", ""), []string{"B", "odymy pin is 482 913"})), 400, "message malformed"},
		{"JSON", func(v *visitor) reply { return v.send(http.MethodPost, message, "application/json", "{}") }, 415, "message malformed"},
		{"no form", func(v *visitor) reply { return v.send(http.MethodPost, message, formType, "%zz") }, 400, "message malformed"},
		{"a form that is too long", func(v *visitor) reply {
			return v.send(http.MethodPost, message, formType, "Body="+strings.Repeat("x", twiml.MaxForm))
		}, 413, "message malformed"},
		{"a receipt that nobody signed", func(v *visitor) reply {
			return v.send(http.MethodPost, status, formType, receipt().Encode())
		}, 403, "status bad_signature"},
		{"a receipt for no text's id", signed(status+"/118", receipt()), 404, "status malformed"},
		{"a receipt without a status", signed(status, receipt("MessageStatus", "")), 400, "status malformed"},
		{"a receipt of another account", signed(status, receipt("AccountSid", "AC"+strings.Repeat("0", 32))), 403, "status malformed"},
		{"a GET", func(v *visitor) reply { return v.get(message) }, 405, ""},
		{"a GET of a receipt's", func(v *visitor) reply { return v.get(status) }, 405, ""},
		{"a text while we fail", func(v *visitor) reply {
			v.desk.fails = errBroken
			return v.hook(message, inbound())
		}, 500, "message error"},
		{"a text while the database is away", func(v *visitor) reply {
			v.desk.fails = &flow.Error{Code: flow.Unavailable, Message: "Later."}
			return v.hook(message, inbound())
		}, 503, "message error"},
		{"a receipt while we fail", func(v *visitor) reply {
			v.desk.fails = errBroken
			return v.hook(status, receipt())
		}, 500, "status error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			res := tt.send(s.visitor())
			if res.StatusCode != tt.status {
				t.Errorf("status = %d, want %d: %s", res.StatusCode, tt.status, res.body)
			}
			if tt.result != "" && !s.watcher.saw("webhook "+tt.result) {
				t.Errorf("ops saw %q", s.watcher.notes)
			}
			if tt.status == 503 && res.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if tt.status < 500 && len(s.desk.heard)+len(s.desk.got) > 0 {
				t.Error("it reached the desk")
			}
			if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("Content-Type = %q", res.Header.Get("Content-Type"))
			}
		})
	}
}

func TestReceipts(t *testing.T) {
	s := open(t)
	id := uuid.Must(uuid.NewV7())
	v := s.visitor()
	for _, path := range []string{"/webhooks/twilio/status/" + id.String(), "/webhooks/twilio/status"} {
		if res := v.hook(path, receipt("MessageStatus", "undelivered", "ErrorCode", "30006")); res.StatusCode != http.StatusNoContent || res.body != "" {
			t.Errorf("POST %s: %d %q", path, res.StatusCode, res.body)
		}
	}
	want := flow.Receipt{Message: id, SID: messageSID, Status: flow.StatusUndelivered, Code: 30006, At: began}
	without := want
	without.Message = uuid.Nil
	if len(s.desk.got) != 2 || s.desk.got[0] != want || s.desk.got[1] != without {
		t.Errorf("noted %+v", s.desk.got)
	}
}
