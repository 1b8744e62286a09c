package twilio_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/phonebooth"
	"github.com/countersign/countersign/internal/twilio"
)

const service = "MG0123456789abcdef0123456789abcdef"

// The suite that the client passes against a server of its own, against the
// pretend Twilio that demos and drills run on: they agree on the wire.
func TestClientTextsThroughTheBooth(t *testing.T) {
	for name, sender := range map[string]twilio.Config{
		"from a number":            {From: phonebooth.DefaultNumber},
		"from a Messaging Service": {MessagingServiceSID: service},
	} {
		t.Run(name, func(t *testing.T) {
			flowtest.TestSender(t, func(t *testing.T) flowtest.SenderBench { return atBooth(t, sender) })
		})
	}
}

func atBooth(t *testing.T, c twilio.Config) flowtest.SenderBench {
	booth, err := phonebooth.New(phonebooth.Config{ServiceSid: service, Transport: deaf{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(booth.Close)
	listener := &listener{next: booth.Handler(), forms: map[string]url.Values{}}
	server := httptest.NewServer(listener)
	t.Cleanup(server.Close)

	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c.APIURL, c.AccountSID, c.AuthToken = server.URL, phonebooth.DefaultAccountSid, phonebooth.DefaultAuthToken
	c.StatusCallback = func(_ context.Context, m uuid.UUID) string { return "https://shop.example/status/" + m.String() }
	c.Transport = transport
	client, err := twilio.New(c)
	if err != nil {
		t.Fatal(err)
	}

	fault := func(f string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/booth/faults", strings.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode > 299 {
			told, _ := io.ReadAll(resp.Body)
			t.Fatalf("fault %s: %s %s", f, resp.Status, told)
		}
	}
	var passed time.Duration
	return flowtest.SenderBench{
		Sender: client,
		Taken:  func() []flowtest.Taken { return listener.texts(booth.Messages("")) },
		Refuse: func(code int) {
			if code == 20429 {
				fault(`{"kind": "429", "count": 1}`)
				return
			}
			fault(fmt.Sprintf(`{"kind": "error", "count": 1, "code": %d}`, code))
		},
		Lose: func() { fault(`{"kind": "reset-after-accept", "count": 1}`) },
		Hang: func() { fault(`{"kind": "hang-before-accept", "count": 1}`) },
		Now:  func() time.Time { return time.Now().Add(passed) },
		Pass: func(d time.Duration) { booth.Advance(d); passed += d },
	}
}

// A listener overhears what the booth is asked but does not show.
type listener struct {
	next  http.Handler
	mu    sync.Mutex
	forms map[string]url.Values // by Body
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, _ := io.ReadAll(r.Body)
	if form, err := url.ParseQuery(string(asked)); err == nil {
		l.mu.Lock()
		l.forms[form.Get("Body")] = form
		l.mu.Unlock()
	}
	r.Body = io.NopCloser(bytes.NewReader(asked))
	l.next.ServeHTTP(w, r)
}

func (l *listener) texts(messages []phonebooth.Message) []flowtest.Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []flowtest.Taken
	for _, m := range messages {
		form := l.forms[m.Body]
		id, _ := uuid.Parse(path.Base(form.Get("StatusCallback")))
		seconds, _ := strconv.Atoi(form.Get("ValidityPeriod"))
		taken = append(taken, flowtest.Taken{
			SID: m.Sid, At: m.Date,
			Text: flow.Text{Message: id, To: flow.Number(m.To), Body: m.Body, ValidFor: time.Duration(seconds) * time.Second},
		})
	}
	return taken
}

// deaf takes every receipt, and does nothing about it.
type deaf struct{}

func (deaf) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
}
