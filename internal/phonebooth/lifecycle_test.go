package phonebooth

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
)

func TestLifeOfAText(t *testing.T) {
	s := stageBooth(t, Config{SendDelay: time.Second, DeliverDelay: 10 * time.Second}, nil)
	sid := s.create(s.toThem()).Sid
	for _, tt := range []struct {
		after  time.Duration
		status string
	}{
		{0, queued},
		{time.Second - 1, queued},
		{1, sent},
		{10*time.Second - 1, sent},
		{1, delivered},
		{24 * time.Hour, delivered},
	} {
		s.Advance(tt.after)
		if got := s.fetchSid(sid).Status; got != tt.status {
			t.Errorf("%v after the start it is %s, want %s", s.now().Sub(epoch), got, tt.status)
		}
	}
	if got := s.shop.statuses(); !slices.Equal(got, []string{sent, delivered}) {
		t.Errorf("receipts = %v: the first status has none", got)
	}
}

func TestLifeOfATextByAService(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service}, nil)
	form := s.toThem()
	form.Del("From")
	form.Set("MessagingServiceSid", service)
	born := s.create(form)
	if born.Status != accepted || born.From != nil || born.NumSegments != "0" || born.Service == nil || *born.Service != service {
		t.Errorf("born %+v, want accepted, from nobody yet", born)
	}
	s.Advance(0)
	if got := s.fetchSid(born.Sid); got.Status != queued || got.From == nil || *got.From != ours || got.NumSegments != "1" {
		t.Errorf("then %+v, want queued at our number", got)
	}
	s.Advance(time.Minute)
	if got := s.shop.statuses(); !slices.Equal(got, []string{queued, sent, delivered}) {
		t.Errorf("receipts = %v", got)
	}
	if got := s.shop.heard("/status")[0].form.Get("MessagingServiceSid"); got != service {
		t.Errorf("the receipt names service %q", got)
	}
}

func TestServicesOwnCallback(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service, StatusCallback: "http://127.0.0.1:1/nobody"}, nil)
	s.create(url.Values{"To": {theirs}, "MessagingServiceSid": {service}, "Body": {"Hello"}})
	s.Advance(time.Minute)
	if got := s.troubles(); !slices.Equal(got, []int{11205, 11205, 11205}) {
		t.Errorf("troubles = %v, want each of three receipts to miss the service's callback", got)
	}
}

// TestReceipt has Twilio's own library judge the signature.
func TestReceipt(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	sid := s.create(s.toThem()).Sid
	s.Advance(time.Minute)
	calls := s.shop.heard("/status")
	if len(calls) != 2 {
		t.Fatalf("%d receipts, want 2", len(calls))
	}
	last := calls[1]
	for name, want := range map[string]string{
		"AccountSid": DefaultAccountSid, "ApiVersion": "2010-04-01", "From": ours, "To": theirs,
		"MessageSid": sid, "SmsSid": sid, "MessageStatus": delivered, "SmsStatus": delivered,
		"RawDlrDoneDate": "2603011200",
	} {
		if got := last.form.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	v := client.NewRequestValidator(DefaultAuthToken)
	if !v.ValidateBody(s.shop.URL+"/status", []byte(last.body), last.header.Get("X-Twilio-Signature")) {
		t.Error("Twilio's library does not take the signature")
	}
	for name, want := range map[string]string{"User-Agent": "TwilioProxy/1.1", "Accept": "*/*", "X-Home-Region": "us1"} {
		if got := last.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if last.header.Get("I-Twilio-Idempotency-Token") == calls[0].header.Get("I-Twilio-Idempotency-Token") {
		t.Error("two receipts share an idempotency token")
	}
}

func TestSenderQueue(t *testing.T) {
	s := stageBooth(t, Config{MPS: 1, SendDelay: -1, DeliverDelay: -1}, nil)
	long := s.toThem()
	long.Set("Body", strings.Repeat("a", 307)) // three segments, three seconds
	first, second := s.create(long).Sid, s.create(long).Sid
	s.Advance(0)
	if a, b := s.fetchSid(first).Status, s.fetchSid(second).Status; a != delivered || b != queued {
		t.Errorf("at once %s and %s, want the second to wait its turn", a, b)
	}
	s.Advance(3*time.Second - 1)
	if got := s.fetchSid(second).Status; got != queued {
		t.Errorf("before the first has left it is %s", got)
	}
	s.Advance(1)
	if got := s.fetchSid(second).Status; got != delivered {
		t.Errorf("after the first has left it is %s", got)
	}
}

func TestQueueOverflows(t *testing.T) {
	t.Run("of a number, at once", func(t *testing.T) {
		s := stageBooth(t, Config{MPS: 1.0 / 3600, SendDelay: -1}, nil) // a text an hour
		for range 10 {
			s.create(s.toThem())
		}
		if resp, body := s.rest("POST", "/Messages.json", s.toThem()); resp.StatusCode != 400 || !strings.Contains(body, "21611") {
			t.Errorf("the eleventh = %s: %s", resp.Status, body)
		}
		s.Advance(time.Hour)
		s.create(s.toThem()) // there is room again
	})
	t.Run("of a service, later", func(t *testing.T) {
		s := stageBooth(t, Config{MPS: 1.0 / 3600, SendDelay: -1, ServiceSid: service}, nil)
		form := url.Values{"To": {theirs}, "MessagingServiceSid": {service}, "Body": {"Hello"}, "StatusCallback": {s.shop.URL + "/status"}}
		var last string
		for range 11 {
			last = s.create(form).Sid
			s.Advance(0)
		}
		if got := s.fetchSid(last); got.Status != failed || got.ErrorCode == nil || *got.ErrorCode != 30001 {
			t.Errorf("the eleventh = %+v, want failed with 30001", got)
		}
	})
}

func TestWaitingTextExpires(t *testing.T) {
	s := stageBooth(t, Config{MPS: 1.0 / 60, SendDelay: -1, DeliverDelay: -1}, nil) // a text a minute
	s.create(s.toThem())
	form := s.toThem()
	form.Set("ValidityPeriod", "59")
	late := s.create(form).Sid
	s.Advance(59*time.Second - 1)
	if got := s.fetchSid(late).Status; got != queued {
		t.Errorf("while it is valid it is %s", got)
	}
	s.Advance(1)
	if got := s.fetchSid(late); got.Status != failed || got.ErrorCode == nil || *got.ErrorCode != 30001 || got.DateSent != nil {
		t.Errorf("after its validity it is %+v, want failed with 30001 and never sent", got)
	}
	s.Advance(time.Hour)
	if got := s.fetchSid(late).Status; got != failed {
		t.Errorf("an hour later it is %s", got)
	}
	receipt := s.shop.heard("/status")
	if got := receipt[len(receipt)-1].form; got.Get("MessageStatus") != failed || got.Get("ErrorCode") != "30001" {
		t.Errorf("the last receipt says %v", got)
	}
}

func TestScheduledText(t *testing.T) {
	s := stageBooth(t, Config{ServiceSid: service}, nil)
	form := url.Values{
		"To": {theirs}, "MessagingServiceSid": {service}, "Body": {"Hello"},
		"ScheduleType": {"fixed"}, "SendAt": {epoch.Add(time.Hour).Format(time.RFC3339)},
	}
	kept, dropped := s.create(form).Sid, s.create(form).Sid
	resp, body := s.rest("POST", "/Messages/"+dropped+".json", url.Values{"Status": {"canceled"}})
	if resp.StatusCode != 200 || decode[messageJSON](t, body).Status != canceled {
		t.Errorf("cancel = %s: %s", resp.Status, body)
	}
	s.Advance(time.Hour - 1)
	if got := s.fetchSid(kept).Status; got != scheduled {
		t.Errorf("before its time it is %s", got)
	}
	s.Advance(time.Minute)
	if a, b := s.fetchSid(kept).Status, s.fetchSid(dropped).Status; a != delivered || b != canceled {
		t.Errorf("after its time it is %s, and the canceled one %s", a, b)
	}
	if resp, body := s.rest("POST", "/Messages/"+kept+".json", url.Values{"Status": {"canceled"}}); resp.StatusCode != 400 || !strings.Contains(body, "30409") {
		t.Errorf("canceling too late = %s: %s", resp.Status, body)
	}
}
