package phonebooth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCreateRefuses(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "12345"}, ServiceSid: service}, nil)
	for _, tt := range []struct {
		name   string
		change url.Values
		code   int
		says   string
	}{
		{"nobody to text", url.Values{"To": {""}}, 21604, "A 'To' phone number is required."},
		{"nobody to text from", url.Values{"From": {""}}, 21603, "A 'From' phone number is required."},
		{"nothing to say", url.Values{"Body": {""}}, 21602, "Message body is required."},
		{"too much to say", url.Values{"Body": {strings.Repeat("é", 1601)}}, 21617, "The concatenated message body exceeds the 1600 character limit."},
		{"a number that is somebody else's", url.Values{"From": {"+14155550199"}}, 21606, "The From phone number +14155550199 is not a valid, SMS-capable inbound phone number or short code for your account."},
		{"a service that is somebody else's", url.Values{"MessagingServiceSid": {"MGffffffffffffffffffffffffffffffff"}}, 21701, ""},
		{"words for a number", url.Values{"To": {"my mother"}}, 21211, "The 'To' number my mother is not a valid phone number."},
		{"a number too short for its country", url.Values{"To": {"+1415555012"}}, 21211, ""},
		{"our own number", url.Values{"To": {ours}}, 21266, ""},
		{"a callback whose host has an underscore", url.Values{"StatusCallback": {"https://my_shop.example/s"}}, 21609, ""},
		{"a callback that is no URL", url.Values{"StatusCallback": {"shop.example"}}, 21609, ""},
		{"a validity of no time", url.Values{"ValidityPeriod": {"0"}}, 20001, ""},
		{"a validity beyond ten hours", url.Values{"ValidityPeriod": {"36001"}}, 20001, ""},
		{"a validity that is no number", url.Values{"ValidityPeriod": {"1h"}}, 20001, ""},
		{"scheduling too soon", url.Values{"MessagingServiceSid": {service}, "ScheduleType": {"fixed"}, "SendAt": {epoch.Add(14 * time.Minute).Format(time.RFC3339)}}, 35114, ""},
		{"scheduling too far ahead", url.Values{"MessagingServiceSid": {service}, "ScheduleType": {"fixed"}, "SendAt": {epoch.Add(36 * 24 * time.Hour).Format(time.RFC3339)}}, 35114, ""},

		{"magic: invalid", url.Values{"To": {"+15005550001"}}, 21211, "The 'To' number +15005550001 is not a valid phone number."},
		{"magic: unroutable", url.Values{"To": {"+15005550002"}, "From": {"+15005550006"}}, 21612, "The 'To' phone number: +15005550002, is not currently reachable using the 'From' phone number: +15005550006 via SMS."},
		{"magic: a country not allowed", url.Values{"To": {"+15005550003"}}, 21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: +15005550003."},
		{"magic: opted out", url.Values{"To": {"+15005550004"}}, 21610, "Attempt to send to unsubscribed recipient"},
		{"magic: not mobile", url.Values{"To": {"+15005550009"}}, 21614, "To number: +15005550009, is not a mobile number"},
		{"magic: an invalid sender", url.Values{"From": {"+15005550001"}}, 21212, ""},
		{"magic: a sender that is not ours", url.Values{"From": {"+15005550007"}}, 21606, ""},
		{"magic: a sender whose queue is full", url.Values{"From": {"+15005550008"}}, 21611, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := s.toThem()
			for name, value := range tt.change {
				form[name] = value
			}
			resp, body := s.rest("POST", "/Messages.json", form)
			var e struct {
				Code     int    `json:"code"`
				Message  string `json:"message"`
				MoreInfo string `json:"more_info"`
				Status   int    `json:"status"`
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if resp.StatusCode != http.StatusBadRequest || e.Status != http.StatusBadRequest || e.Code != tt.code {
				t.Errorf("create = %s: %s, want 400 with code %d", resp.Status, body, tt.code)
			}
			if tt.says != "" && e.Message != tt.says {
				t.Errorf("it says %q, want %q", e.Message, tt.says)
			}
		})
	}
	if n := len(s.Messages("")); n != 0 {
		t.Errorf("%d refused texts were kept", n)
	}
}

func TestCreateAllows(t *testing.T) {
	s := stageBooth(t, Config{Numbers: []string{ours, "12345"}}, nil)
	for _, tt := range []struct {
		name   string
		change url.Values
	}{
		{"the longest text", url.Values{"Body": {strings.Repeat("é", 1600)}}},
		{"the shortest validity", url.Values{"ValidityPeriod": {"1"}}},
		{"the longest validity", url.Values{"ValidityPeriod": {"36000"}}},
		{"the magic sender", url.Values{"From": {"+15005550006"}}},
		{"a short code of ours", url.Values{"From": {"12345"}}},
		{"a picture without words", url.Values{"Body": {""}, "MediaUrl": {"https://shop.example/cat.jpg"}}},
		{"a plus that was not encoded", url.Values{"To": {" 14155550123"}}},
		{"a parameter nobody knows", url.Values{"Marmalade": {"1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := s.toThem()
			for name, value := range tt.change {
				form[name] = value
			}
			if got := s.create(form); got.Status != queued {
				t.Errorf("status = %q, want queued", got.Status)
			}
		})
	}
}

func TestSmartEncodingIsOnlyOnRequest(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	form := s.toThem()
	form.Set("Body", strings.Repeat("’", 71))
	if got := s.create(form); got.NumSegments != "2" {
		t.Errorf("without it %s segments, want 2", got.NumSegments)
	}
	form.Set("SmartEncoded", "true")
	if got := s.create(form); got.NumSegments != "1" || strings.Contains(got.Body, "’") {
		t.Errorf("with it %s segments of %q, want 1 of straight quotes", got.NumSegments, got.Body)
	}
}
