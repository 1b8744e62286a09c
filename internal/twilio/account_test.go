package twilio

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/flow"
)

// has answers 200 with v, at a time of Twilio's.
func has(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", "Mon, 23 Nov 2026 12:00:00 GMT")
		_ = json.NewEncoder(w).Encode(v)
	}
}

type object = map[string]any

func TestAccount(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		told object
		want Account
	}{
		{"a good one", object{"sid": account, "friendly_name": "Acme", "status": "active", "type": "Full", "auth_token": token},
			Account{Name: "Acme", Status: "active", At: noon}},
		{"on trial", object{"sid": account, "status": "active", "type": "Trial"},
			Account{Status: "active", Trial: true, At: noon}},
		{"suspended", object{"sid": account, "status": "suspended", "type": "Full"},
			Account{Status: "suspended", At: noon}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			f.spoil(has(tt.told))
			got, err := f.client(t).Account(t.Context())
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("Account: %v (-want +got):\n%s", err, diff)
			}
			r := f.last()
			if want := "/2010-04-01/Accounts/" + account + ".json"; r.Method != http.MethodGet || r.URL.Path != want {
				t.Errorf("asked %s %s, want GET %s", r.Method, r.URL.Path, want)
			}
			if user, password, _ := r.BasicAuth(); user != account || password != token {
				t.Errorf("authenticated as %q", user)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	with := func(numbers ...object) object { return object{"incoming_phone_numbers": numbers} }
	ours := object{
		"phone_number": from, "capabilities": object{"sms": true, "voice": true},
		"sms_url": "https://shop.example/sms#rc=2", "sms_method": "POST", "sms_application_sid": "",
	}
	for _, tt := range []struct {
		name  string
		told  object
		want  Number
		found bool
	}{
		{"ours", with(ours), Number{SMS: true, URL: "https://shop.example/sms#rc=2", Method: "POST"}, true},
		{"ours, after a longer one that matches", with(object{"phone_number": from + "9"}, ours),
			Number{SMS: true, URL: "https://shop.example/sms#rc=2", Method: "POST"}, true},
		{"one that cannot text", with(object{"phone_number": from, "capabilities": object{"voice": true}, "sms_url": nil}),
			Number{}, true},
		{"one that a TwiML App answers for", with(object{"phone_number": from, "sms_application_sid": "AP0123"}),
			Number{Application: "AP0123"}, true},
		{"a longer one alone", with(object{"phone_number": from + "9"}), Number{}, false},
		{"none", with(), Number{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFar(t)
			f.spoil(has(tt.told))
			got, found, err := f.client(t).Number(t.Context(), from)
			if err != nil || found != tt.found || got != tt.want {
				t.Errorf("Number = %+v, %t, %v; want %+v, %t", got, found, err, tt.want, tt.found)
			}
			r := f.last()
			if want := "/2010-04-01/Accounts/" + account + "/IncomingPhoneNumbers.json"; r.Method != http.MethodGet || r.URL.Path != want {
				t.Errorf("asked %s %s, want GET %s", r.Method, r.URL.Path, want)
			}
			if got := r.Form.Get("PhoneNumber"); got != from {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		class  flow.Class
		code   int
		says   string
	}{
		{"with wrong credentials", refuses(401, 20003), flow.ClassConfig, 20003, "401"},
		{"with test credentials", refuses(403, 20008), flow.ClassConfig, 20008, "403"},
		{"of an account that is not there", refuses(404, 20404), flow.ClassBug, 20404, "404"},
		{"while Twilio is down", refuses(503, 20503), flow.ClassUnknown, 20503, "503"},
		{"of something that is not Twilio", says(200, "<html>"), flow.ClassUnknown, 0, "200"},
		{"when the connection breaks", resets, flow.ClassUnknown, 0, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for what, ask := range map[string]func(*Client) error{
				"the account": func(c *Client) error { _, err := c.Account(t.Context()); return err },
				"a number":    func(c *Client) error { _, _, err := c.Number(t.Context(), from); return err },
			} {
				f := newFar(t)
				f.spoil(tt.answer)
				err := ask(f.client(t))
				var e *flow.SendError
				if !errors.As(err, &e) || e.Class != tt.class || e.Code != tt.code || !strings.Contains(e.Err.Error(), tt.says) {
					t.Errorf("%s: %v; want class %q, code %d, %q", what, err, tt.class, tt.code, tt.says)
				}
				if err != nil && strings.Contains(err.Error(), from) {
					t.Errorf("%s: the error tells too much: %v", what, err)
				}
			}
		})
	}
	t.Run("another account's answer", func(t *testing.T) {
		f := newFar(t)
		f.spoil(has(object{"sid": "AC00000000000000000000000000000000", "status": "active"}))
		if a, err := f.client(t).Account(t.Context()); err == nil || !strings.Contains(err.Error(), errOther.Error()) {
			t.Errorf("Account = %+v, %v; want %q", a, err, errOther)
		}
	})
}
