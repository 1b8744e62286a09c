// Package twilio texts through Twilio's REST API. It is the only way out.
//
// A [Client] is a [flow.Sender]. [Client.Send] hands over a text once and
// [Client.Find] looks for one whose POST was never answered (client.go). What
// matters most is what is known after a failure: a text that was certainly not
// processed may be sent again, one that may have been must be looked for
// first. call.go observes each request closely enough to tell the two apart,
// and codes.go says what Twilio's error codes ask of us. account.go asks how
// the account is set up, for whoever checks it.
//
// To hand over a text it asks with a form and reads one field of the answer. Of
// twilio-go it uses, for what is asked seldom, the generated API and its types;
// not its HTTP client, which knows no context and no base URL, takes a redirect
// for success and loses the status, the headers and the connection of a failure.
//
// No error of this package holds a number, the body of a text or Twilio's
// words, which may repeat both.
package twilio

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	twilio "github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/countersign/countersign/flow"
)

// Config is our account at Twilio.
type Config struct {
	// APIURL is where the REST API is, https://api.twilio.com if empty; the
	// booth's address in demos and tests. The TWILIO_EDGE and TWILIO_REGION
	// that twilio-go reads from the environment have no effect.
	APIURL string
	// AccountSID names the account. It is not a secret.
	AccountSID string
	// AuthToken opens it, or else the API key does.
	AuthToken         string
	APIKey, APISecret string
	// From is our number, or else MessagingServiceSID names the service that
	// texts for us.
	From                string
	MessagingServiceSID string
	// StatusCallback returns the URL that receipts of a message are posted to, in
	// the context that the message is sent in; nil asks for none.
	StatusCallback func(ctx context.Context, message uuid.UUID) string
	// Timeout bounds each request, 0 for [flow.Deadline].
	Timeout time.Duration
	// Transport carries the requests, nil for [NewTransport]'s.
	Transport http.RoundTripper
	// Now is the clock that times given to the client are by, nil for
	// [time.Now].
	Now func() time.Time
}

// Client texts from one account and one sender.
type Client struct {
	account, from, service string
	base                   *url.URL
	messages               string      // the URL that texts are posted to
	headers                http.Header // of every request
	callback               func(context.Context, uuid.UUID) string
	timeout                time.Duration
	transport              http.RoundTripper
	now                    func() time.Time
}

var _ flow.Sender = (*Client)(nil)

// alphanumeric is what SIDs, tokens and secrets are made of. Anything else is
// a typing error, and could change the path it stands in.
var alphanumeric = regexp.MustCompile(`^[0-9A-Za-z]+$`)

// New returns a client, or an error that names everything that is wrong with
// c, and no secret. It asks nothing of the network.
func New(c Config) (*Client, error) {
	var wrong []error
	want := func(ok bool, why string) {
		if !ok {
			wrong = append(wrong, errors.New(why))
		}
	}
	if c.APIURL == "" {
		c.APIURL = "https://api.twilio.com"
	}
	base, err := url.Parse(c.APIURL)
	want(err == nil && (base.Scheme == "https" || base.Scheme == "http") && base.Host != "",
		"the API's URL is not an http or https one")
	want(strings.HasPrefix(c.AccountSID, "AC") && alphanumeric.MatchString(c.AccountSID),
		"the account's SID is not AC and letters and digits")

	user, password := c.AccountSID, c.AuthToken
	if c.APIKey != "" || c.APISecret != "" {
		user, password = c.APIKey, c.APISecret
		want(strings.HasPrefix(user, "SK") && alphanumeric.MatchString(user),
			"the API key is not SK and letters and digits")
		want(alphanumeric.MatchString(password), "the API key's secret is not letters and digits")
	} else {
		want(alphanumeric.MatchString(password), "the auth token is not letters and digits")
	}
	want((c.From == "") != (c.MessagingServiceSID == ""),
		"either a number or a Messaging Service is needed to text from, and not both")
	if c.MessagingServiceSID != "" {
		want(strings.HasPrefix(c.MessagingServiceSID, "MG") && alphanumeric.MatchString(c.MessagingServiceSID),
			"the Messaging Service's SID is not MG and letters and digits")
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("set up Twilio: %w", errors.Join(wrong...))
	}

	if c.Timeout <= 0 {
		c.Timeout = flow.Deadline
	}
	if c.Transport == nil {
		c.Transport = NewTransport()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	headers := http.Header{}
	headers.Set("Accept", "application/json")
	headers.Set("User-Agent", "countersign twilio-go/"+twilio.LibraryVersion)
	headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	return &Client{
		account: c.AccountSID, from: c.From, service: c.MessagingServiceSID,
		base: base, headers: headers,
		messages: base.JoinPath("2010-04-01/Accounts", c.AccountSID, "Messages.json").String(),
		callback: c.StatusCallback, timeout: c.Timeout, transport: c.Transport, now: c.Now,
	}, nil
}

// NewTransport differs from [http.DefaultTransport] in keeping a connection
// for every worker of the outbox, where that keeps two, and in giving up
// sooner on a connection that does not come about: nothing is lost by that,
// since nothing was sent.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		TLSHandshakeTimeout: 3 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
	}
}

// The bounds of ValidityPeriod, in seconds. Twilio takes 1 to 36000 and advises
// more than 5, as less can pass within its own machines.
// https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
const (
	minValidity = 6
	maxValidity = 36000
)

// sid is what a MessageSid looks like, for a text or for one with media.
var sid = regexp.MustCompile(`^(SM|MM)[0-9A-Za-z]+$`)

// Send implements [flow.Sender]. RiskCheck is left as the account has it,
// which is enabled: Twilio then blocks what looks like pumping.
func (c *Client) Send(ctx context.Context, t flow.Text) (string, error) {
	validity := min(max(int(t.ValidFor/time.Second), minValidity), maxValidity)
	form := url.Values{
		"To": {t.To.E164()}, "Body": {t.Body}, "ValidityPeriod": {strconv.Itoa(validity)},
	}
	if c.service != "" {
		form.Set("MessagingServiceSid", c.service)
	} else {
		form.Set("From", c.from)
	}
	if c.callback != nil {
		form.Set("StatusCallback", c.callback(ctx, t.Message))
	}

	call := c.newCall(ctx)
	defer call.end()
	answer, err := call.post(c.messages, form)
	if err != nil {
		return "", call.failed(err)
	}
	var made struct {
		SID string `json:"sid"`
	}
	switch err := json.Unmarshal(answer, &made); {
	case err != nil:
		return "", call.failed(err)
	case !sid.MatchString(made.SID):
		return "", call.failed(errNoSID)
	}
	return made.SID, nil
}

var errNoSID = errors.New("the answer names no message")

// A look for a text reads at most so many of the newest to its number. A
// customer is texted a few times a day.
const (
	pageSize = 50
	maxPages = 4
)

// Find implements [flow.Sender]. It asks for all texts to the number and does
// not let Twilio choose by date: DateSent is what can be asked for, and a text
// that is still queued has none, so that just the one we look for could be
// missing. Whole seconds are compared, as Twilio cuts its times to them, and by
// Twilio's clock: ours may be an hour off, and would hide the text too.
func (c *Client) Find(ctx context.Context, t flow.Text, since time.Time) ([]flow.Found, error) {
	params := &api.ListMessageParams{}
	params.SetTo(t.To.E164())
	params.SetPageSize(pageSize)
	if c.service == "" {
		params.SetFrom(c.from) // a service texts from a number of its choice
	}
	var found []flow.Found
	token, number := "", ""
	for range maxPages {
		page, ahead, err := c.page(ctx, params, token, number)
		if err != nil {
			return nil, err
		}
		since, recent := since.Add(ahead).Truncate(time.Second), 0
		for _, m := range page.Messages {
			at, err := time.Parse(time.RFC1123Z, value(m.DateCreated))
			if err != nil {
				return nil, &flow.SendError{Class: flow.ClassUnknown, Err: errors.New("a listed text has no readable time")}
			}
			if at.Before(since) {
				continue
			}
			recent++
			if c.ours(m) {
				found = append(found, flow.Found{
					SID: value(m.Sid), Body: value(m.Body), Status: flow.Status(value(m.Status)), At: at.UTC(),
				})
			}
		}
		next, err := url.Parse(value(page.NextPageUri))
		if recent == 0 || err != nil || next.RawQuery == "" {
			break
		}
		token, number = next.Query().Get("PageToken"), next.Query().Get("Page")
	}
	slices.SortStableFunc(found, func(a, b flow.Found) int { return b.At.Compare(a.At) })
	return found, nil
}

// page reads one page of the list, a request of its own. Ahead is how far
// Twilio's clock is before ours; 0 if that cannot be told.
func (c *Client) page(ctx context.Context, p *api.ListMessageParams, token, number string) (_ *api.ListMessageResponse, ahead time.Duration, _ error) {
	call := c.newCall(ctx)
	defer call.end()
	page, err := call.api().PageMessage(p, token, number)
	if err != nil {
		return nil, 0, call.failed(err)
	}
	// Two seconds are the header's own coarseness and the way here; whoever
	// looks for a text allows for that.
	if d := call.date.Sub(c.now()); !call.date.IsZero() && d.Abs() > 2*time.Second {
		ahead = d
	}
	return page, ahead, nil
}

// ours reports whether a listed text may be one that we POSTed. TwiML's answers
// and other services' texts are listed too, and say so.
func (c *Client) ours(m api.ApiV2010Message) bool {
	direction, service := value(m.Direction), value(m.MessagingServiceSid)
	return sid.MatchString(value(m.Sid)) && (direction == "outbound-api" || direction == "") &&
		(c.service == "" || service == c.service || service == "")
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// api returns twilio-go's generated API on top of this one request.
func (c *call) api() *api.ApiService { return api.NewApiServiceWithClient(c) }
