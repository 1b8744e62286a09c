package phonebooth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// toBooth carries what twilio-go sends to api.twilio.com to a booth: the
// library can be told no other host.
type toBooth struct{ host *url.URL }

func (b toBooth) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = b.host.Scheme, b.host.Host
	return http.DefaultTransport.RoundTrip(r)
}

func twilioGo(s *scene, user, password string) *api.ApiService {
	s.Helper()
	host, err := url.Parse(s.door.URL)
	if err != nil {
		s.Fatal(err)
	}
	c := &client.Client{
		Credentials: client.NewCredentials(user, password),
		HTTPClient:  &http.Client{Transport: toBooth{host}, Timeout: 10 * time.Second},
	}
	c.SetAccountSid(DefaultAccountSid)
	return api.NewApiServiceWithClient(c)
}

func TestTwilioGoTexts(t *testing.T) {
	key := "SK0123456789abcdef0123456789abcdef"
	s := stageBooth(t, Config{APIKeys: map[string]string{key: "secret"}}, nil)
	twilio := twilioGo(s, key, "secret")
	created, err := twilio.CreateMessage(new(api.CreateMessageParams).
		SetTo(theirs).SetFrom(ours).SetBody("Tea & coffee?").SetValidityPeriod(120).SetStatusCallback(s.shop.URL + "/status"))
	if err != nil {
		t.Fatal(err)
	}
	if *created.Status != queued || *created.Body != "Tea & coffee?" || created.ErrorCode != nil || created.DateSent != nil || *created.NumSegments != "1" {
		t.Errorf("created %+v", created)
	}
	s.Advance(time.Minute)
	fetched, err := twilio.FetchMessage(*created.Sid, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *fetched.Status != delivered || *fetched.Price != "-0.00830" || *fetched.PriceUnit != "USD" {
		t.Errorf("fetched %+v", fetched)
	}
	if _, err := time.Parse(time.RFC1123Z, *fetched.DateSent); err != nil {
		t.Errorf("date_sent: %v", err)
	}
	if _, err := twilio.UpdateMessage(*created.Sid, new(api.UpdateMessageParams).SetBody("")); err != nil {
		t.Errorf("redact: %v", err)
	}
	if fetched, err := twilio.FetchMessage(*created.Sid, nil); err != nil || *fetched.Body != "" {
		t.Errorf("after it was redacted: %v, %v", fetched, err)
	}
	if err := twilio.DeleteMessage(*created.Sid, nil); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// TestTwilioGoReconciles lists as one does whose answer got lost.
func TestTwilioGoReconciles(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	twilio := twilioGo(s, DefaultAccountSid, DefaultAuthToken)
	s.fault(`{"kind":"500-after-accept","count":1}`)
	_, err := twilio.CreateMessage(new(api.CreateMessageParams).SetTo(theirs).SetFrom(ours).SetBody("lost answer"))
	if e := new(client.TwilioRestError); !errors.As(err, &e) || e.Code != 20500 {
		t.Fatalf("create = %v, want 20500", err)
	}
	for i := range 7 {
		s.create(url.Values{"To": {"+1415555020" + fmt.Sprint(i)}, "From": {ours}, "Body": {"another"}})
	}
	found, err := twilio.ListMessage(new(api.ListMessageParams).SetTo(theirs).SetFrom(ours).SetDateSentAfter(epoch))
	if err != nil || len(found) != 1 || *found[0].Body != "lost answer" {
		t.Errorf("list = %v, %v, want the text that was taken", found, err)
	}
	found, err = twilio.ListMessage(new(api.ListMessageParams).SetTo(theirs).SetDateSentAfter(epoch.Add(time.Second)))
	if err != nil || len(found) != 0 {
		t.Errorf("list since a second later = %v, %v", found, err)
	}
	all, err := twilio.ListMessage(new(api.ListMessageParams).SetPageSize(3))
	if err != nil || len(all) != 8 {
		t.Errorf("list by threes = %d, %v, want all 8", len(all), err)
	}
}

func TestTwilioGoErrors(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	twilio := twilioGo(s, DefaultAccountSid, DefaultAuthToken)
	texting := func(to, from string) error {
		_, err := twilio.CreateMessage(new(api.CreateMessageParams).SetTo(to).SetFrom(from).SetBody("Hi"))
		return err
	}
	for _, tt := range []struct {
		name         string
		do           func() error
		status, code int
	}{
		{"a wrong token", func() error {
			_, err := twilioGo(s, DefaultAccountSid, "wrong").FetchMessage("SM1", nil)
			return err
		}, 401, 20003},
		{"an unknown text", func() error { _, err := twilio.FetchMessage("SMffffffffffffffffffffffffffffffff", nil); return err }, 404, 20404},
		{"an invalid number", func() error { return texting("+15005550001", magicSender) }, 400, 21211},
		{"an opted-out number", func() error { return texting("+15005550004", magicSender) }, 400, 21610},
		{"a sender that is not ours", func() error { return texting(theirs, "+15005550007") }, 400, 21606},
		{"too many at once", func() error { s.fault(`{"kind":"429","count":1}`); return texting(theirs, ours) }, 429, 20429},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			if e := new(client.TwilioRestError); !errors.As(err, &e) || e.Code != tt.code || e.Status != tt.status {
				t.Errorf("%v, want status %d and code %d", err, tt.status, tt.code)
			}
		})
	}
	t.Run("a proxy's page is no Twilio error", func(t *testing.T) {
		s.fault(`{"kind":"html","count":1}`)
		err := texting(theirs, ours)
		if e := new(client.TwilioRestError); err == nil || errors.As(err, &e) {
			t.Errorf("%v, want an error that is not Twilio's", err)
		}
	})
}
