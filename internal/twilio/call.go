package twilio

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	twilio "github.com/twilio/twilio-go/client"

	"github.com/countersign/countersign/flow"
)

// maxAnswer bounds what is read of an answer, in bytes. A page of a list is a
// hundredth of it.
const maxAnswer = 4 << 20

// usualAnswer is more than what is said of one text, in bytes.
const usualAnswer = 16 << 10

// A call is one request, and what became of it. It is a twilio-go BaseClient too,
// made anew for every request because that interface has no room for a
// context.
type call struct {
	*Client
	ctx    context.Context
	cancel context.CancelFunc

	// connected is set once the request has a connection and may begin to be
	// written. Before that Twilio cannot have heard of it.
	connected atomic.Bool
	// status is HTTP's, 0 until there is an answer.
	status     int
	retryAfter time.Duration
	// date is when Twilio answered, by its own clock; zero if it did not say.
	date time.Time
}

var _ twilio.BaseClient = (*call)(nil)

func (c *Client) newCall(ctx context.Context) *call {
	made := &call{Client: c}
	made.ctx, made.cancel = context.WithTimeout(ctx, c.timeout)
	made.ctx = httptrace.WithClientTrace(made.ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { made.connected.Store(true) },
	})
	return made
}

// end lets go of the call's timer.
func (c *call) end() { c.cancel() }

// AccountSid implements [twilio.BaseClient].
func (c *call) AccountSid() string { return c.account }

// SetTimeout implements [twilio.BaseClient]. The call's context has it.
func (c *call) SetTimeout(time.Duration) {}

// SetOauth implements [twilio.BaseClient]. We speak Basic.
func (c *call) SetOauth(twilio.OAuth) {}

// OAuth implements [twilio.BaseClient].
func (c *call) OAuth() twilio.OAuth { return nil }

// SendRequest implements [twilio.BaseClient]. It sends the request to the
// configured address, whatever host twilio-go chose. All that we ask by twilio-go
// is asked by GET.
func (c *call) SendRequest(method, rawURL string, data url.Values, _ map[string]any, _ ...byte) (*http.Response, error) {
	asked, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("twilio-go made no URL")
	}
	target := c.base.JoinPath(asked.Path)
	target.RawQuery = data.Encode()
	req, err := http.NewRequestWithContext(c.ctx, method, target.String(), nil)
	if err != nil {
		return nil, errors.New("twilio-go made no request")
	}
	answer, err := c.do(req)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: c.status, Body: io.NopCloser(bytes.NewReader(answer))}, nil
}

// post sends a form and returns the answer.
func (c *call) post(url string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the form made no request")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req)
}

// do sends a request and returns the answer, read to its end so that the
// connection is good for the next. It fails unless the status is 2xx.
func (c *call) do(req *http.Request) ([]byte, error) {
	maps.Copy(req.Header, c.headers)

	// The transport itself, not an http.Client: nothing is to be followed.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end; nothing is left to fail
	c.status, c.retryAfter = resp.StatusCode, retryAfter(resp.Header)
	c.date, _ = http.ParseTime(resp.Header.Get("Date"))
	var answer bytes.Buffer
	// At once, where it says how long it is; but it may say what it likes.
	answer.Grow(int(min(max(0, resp.ContentLength), usualAnswer)) + bytes.MinRead)
	_, err = answer.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case answer.Len() > maxAnswer:
		return nil, errTooLong
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		var told twilio.TwilioRestError
		_ = json.Unmarshal(answer.Bytes(), &told) // a proxy answers HTML: then the status has to do
		return nil, &refused{code: told.Code}
	}
	return answer.Bytes(), nil
}

// refused is an answer that is not 2xx.
type refused struct{ code int }

func (r *refused) Error() string { return "refused with code " + strconv.Itoa(r.code) }

var errTooLong = errors.New("the answer is too long")

// failed says what err means for the text that the call was about.
func (c *call) failed(err error) *flow.SendError {
	var r *refused
	switch {
	case errors.As(err, &r):
		return &flow.SendError{
			Class: refusal(c.status, r.code), Code: r.code, RetryAfter: c.retryAfter,
			Err: fmt.Errorf("HTTP status %d", c.status),
		}
	case c.status != 0: // answered, but with what?
		return &flow.SendError{Class: flow.ClassUnknown, Err: fmt.Errorf("HTTP status %d: %w", c.status, plain(err))}
	case c.connected.Load():
		return &flow.SendError{Class: flow.ClassUnknown, Err: fmt.Errorf("no answer: %w", plain(err))}
	default:
		return &flow.SendError{Class: flow.ClassRetry, Err: fmt.Errorf("no connection: %w", plain(err))}
	}
}

// plain returns what can be told of err. Errors quote what they choked on: a
// parser the answer, a transport its headers, and either may hold a number.
// Only those are kept whose texts are known to be made of other things; of the
// rest the type is told.
func plain(err error) error {
	var (
		dns    *net.DNSError
		dial   *net.OpError
		errno  syscall.Errno
		badCA  x509.UnknownAuthorityError
		badDNS x509.HostnameError
		bad    x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, errTooLong), errors.Is(err, errNoSID), errors.Is(err, errOther):
		return err
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &dial) && dial.Timeout():
		return fmt.Errorf("%s: timeout", dial.Op)
	case errors.As(err, &badCA):
		return badCA
	case errors.As(err, &badDNS):
		return badDNS
	case errors.As(err, &bad):
		return bad
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		return fmt.Errorf("%T", err)
	}
}

// maxRetryAfter bounds what a Retry-After may ask of us.
const maxRetryAfter = time.Hour

// retryAfter reads a Retry-After (RFC 9110 §10.2.3), given in seconds or as a
// date, which the answer's own Date is taken from: both are of one clock. It
// is 0 if there is none to be understood.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter) //nolint:gosec // 31 bits
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	sent, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(sent), 0), maxRetryAfter)
}
