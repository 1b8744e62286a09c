package phonebooth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/twiml"
)

// maxAnswer is how much of an answer to a webhook is read, in bytes.
const maxAnswer = 1 << 16

// A request is a webhook as it goes over the wire.
type request struct {
	method, url string
	form        url.Values // what is signed; nil for GET
	body        string     // what is sent
	header      http.Header
	sign        func(string, url.Values) (signature, signedURL string)
	user        *url.Userinfo // to answer a challenge with
	cookies     *[2]string
}

// A caller calls webhooks.
type caller struct {
	transport http.RoundTripper

	mu   sync.Mutex
	jars map[[2]string]jar
}

// A jar holds the cookies of a customer's conversation with one of our
// numbers, for four hours (twilio.com/docs/messaging/twiml).
type jar struct {
	http.CookieJar
	until time.Time
}

const (
	cookieLife = 4 * time.Hour
	maxJars    = 1000
)

// newCaller carries webhooks by transport, or the network if it is nil, to
// where they are addressed, or to host if it is not "".
func newCaller(transport http.RoundTripper, host string) *caller {
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = nil // a service on this machine is not behind one
		t.MaxIdleConnsPerHost = 64
		transport = t
	}
	if host != "" {
		transport = elsewhere{host, transport}
	}
	return &caller{transport: transport, jars: map[[2]string]jar{}}
}

// elsewhere carries requests to a host they do not name, and leaves Host as it
// was: a tunnel, or a reverse proxy, as seen by the service behind it.
type elsewhere struct {
	host string // scheme://host
	by   http.RoundTripper
}

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	host, err := url.Parse(e.host)
	if err != nil {
		return nil, err
	}
	named := r.URL.Host
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = host.Scheme, host.Host
	if r.Host == "" {
		r.Host = named
	}
	return e.by.RoundTrip(r)
}

func (c *caller) close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// forget throws all cookies away.
func (c *caller) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.jars)
}

func (c *caller) jar(pair *[2]string, now time.Time) http.CookieJar {
	if pair == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	j, ok := c.jars[*pair]
	if !ok || now.After(j.until) {
		fresh, _ := cookiejar.New(nil) // fails never
		j.CookieJar = fresh
	}
	if !ok && len(c.jars) >= maxJars {
		for other := range c.jars {
			delete(c.jars, other)
			break
		}
	}
	j.until = now.Add(cookieLife)
	c.jars[*pair] = j
	return j
}

// failure says how far a call came.
type failure string

const (
	noFailure     failure = ""
	cannotConnect failure = "ct"
	cannotRead    failure = "rt"
	clientError   failure = "4xx"
	serverError   failure = "5xx"
)

// call makes r, and makes it again where o says so.
func (c *caller) call(ctx context.Context, r request, o overrides, now time.Time) answer {
	total, cancel := context.WithTimeout(ctx, o.total)
	defer cancel()
	jar := c.jar(r.cookies, now)
	for attempt := 1; ; attempt++ {
		a, failed := c.try(total, r, o, jar)
		a.attempts = attempt
		if ctx.Err() != nil {
			return answer{attempts: attempt, problem: "the booth was reset"}
		}
		if failed == noFailure || attempt > o.retries || !o.retriesOn(failed) || total.Err() != nil {
			return a
		}
	}
}

// Why a call was broken off.
var (
	errConnect = errors.New("no connection in time")
	errRead    = errors.New("no answer in time")
)

// try makes r once. A watchdog barks when connecting, the first byte, or the
// next one takes too long.
func (c *caller) try(ctx context.Context, r request, o overrides, jar http.CookieJar) (answer, failure) {
	ctx, bark := context.WithCancelCause(ctx)
	defer bark(nil)
	connecting := time.AfterFunc(o.connect, func() { bark(errConnect) })
	defer connecting.Stop()
	reading := time.AfterFunc(time.Hour, func() { bark(errRead) }) // set when there is something to read
	defer reading.Stop()
	connected := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connecting.Reset(o.connect) },
		GotConn: func(httptrace.GotConnInfo) {
			connected = true
			connecting.Stop()
			reading.Reset(o.read)
		},
	})

	resp, err := c.send(ctx, r, jar)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && r.user != nil {
		// Credentials in the URL wait for the challenge.
		_ = resp.Body.Close()
		r.header = r.header.Clone()
		password, _ := r.user.Password()
		basic := http.Request{Header: r.header}
		basic.SetBasicAuth(r.user.Username(), password)
		resp, err = c.send(ctx, r, jar)
	}
	if err != nil {
		failed := cannotRead
		if cause := context.Cause(ctx); errors.Is(cause, errConnect) || !connected {
			failed = cannotConnect
		}
		return answer{code: 11205, problem: cause(ctx, err)}, failed
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(barking{resp.Body, reading, o.read}, maxAnswer+1))
	a := answer{status: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), body: body}
	switch {
	case err != nil:
		a.code, a.problem = 11205, cause(ctx, err)
		return a, cannotRead
	case len(body) > maxAnswer:
		a.body, a.code, a.problem = body[:maxAnswer], 11200, "the answer is longer than 64 KB"
		return a, noFailure
	case resp.StatusCode >= 500:
		a.code, a.problem = 11200, resp.Status
		return a, serverError
	case resp.StatusCode >= 400:
		a.code, a.problem = 11200, resp.Status
		return a, clientError
	case resp.StatusCode >= 300:
		a.code, a.problem = 11200, resp.Status
	}
	return a, noFailure
}

// send sends r, and follows redirects as Twilio does: 301 and 302 lose the
// parameters; each new address is signed anew.
func (c *caller) send(ctx context.Context, r request, jar http.CookieJar) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header = r.header.Clone()
	sign := func(req *http.Request, form url.Values) {
		req.Header.Del(twiml.SignatureHeader)
		if signature, _ := r.sign(bare(req.URL.String()), form); signature != "" {
			req.Header.Set(twiml.SignatureHeader, signature)
		}
	}
	if signature, _ := r.sign(r.url, r.form); signature != "" { // as configured, not as net/url spells it
		req.Header.Set(twiml.SignatureHeader, signature)
	}
	client := http.Client{
		Transport: c.transport,
		Jar:       jar,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) >= 10 {
				return errors.New("too many redirects")
			}
			if next.Method == http.MethodGet {
				sign(next, nil)
				return nil
			}
			sign(next, r.form)
			return nil
		},
	}
	return client.Do(req)
}

func cause(ctx context.Context, err error) string {
	if c := context.Cause(ctx); errors.Is(c, errConnect) || errors.Is(c, errRead) {
		return c.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in all the time there was"
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which is told beside it
	}
	return err.Error()
}

// barking sets the watchdog back at every read.
type barking struct {
	io.Reader
	dog   *time.Timer
	after time.Duration
}

func (b barking) Read(p []byte) (int, error) {
	b.dog.Reset(b.after)
	return b.Reader.Read(p)
}
