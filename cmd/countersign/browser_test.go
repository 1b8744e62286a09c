package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/twiml"
)

// An answer is what came of a request to the service.
type answer struct {
	status int
	header http.Header
	text   string
}

// String is how a script sees it.
func (a answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", a.status, http.StatusText(a.status))
	for _, name := range []string{"Allow", "Content-Type", "Location", "Retry-After", "Set-Cookie"} {
		for _, value := range a.header.Values(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String() + "\n" + a.text
}

// A browser is a customer's, with cookies of its own.
type browser struct {
	public string // the service's PUBLIC_URL
	client *http.Client

	mu    sync.Mutex // it may do two things in the same instant
	order string     // that it was last told of
}

// throughProxy carries requests for PUBLIC_URL to where the service listens,
// as a proxy in front of it does.
type throughProxy struct{ addr string }

func (p throughProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = "http", p.addr
	return http.DefaultTransport.RoundTrip(r)
}

func newBrowser(public, addr string) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{public: strings.TrimSuffix(public, "/"), client: &http.Client{
		Jar:       jar,
		Transport: throughProxy{addr},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // scripts want to see it
		},
	}}, nil
}

// A visit is what a browser is to do.
type visit struct {
	method, path string
	fields       url.Values
	json         bool   // by the page's script, or a program
	from         string // the origin of the page that posts; empty for our own
}

// visit does v.
func (b *browser) visit(ctx context.Context, v visit) (answer, error) {
	var body io.Reader
	if v.method == http.MethodPost {
		body = strings.NewReader(v.fields.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, v.method, b.public+v.path, body)
	if err != nil {
		return answer{}, err
	}
	h := req.Header
	h.Set("Accept", "text/html,application/xhtml+xml")
	h.Set("Sec-Fetch-Mode", "navigate")
	if v.json {
		h.Set("Accept", "application/json")
		h.Set("Sec-Fetch-Mode", "cors")
	}
	h.Set("Sec-Fetch-Site", "same-origin")
	if v.method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Origin", b.public)
		if v.from != "" {
			h.Set("Origin", v.from)
			h.Set("Sec-Fetch-Site", "cross-site")
		}
	}
	return ask(b.client, req)
}

// ask makes a request and reads the answer.
func ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, text: string(body)}, err
}

// An order is named by where we are sent, in JSON, or in the form.
var orderIn = regexp.MustCompile(`(?:Location: /orders/|"order":"|name="order" type="hidden" value=")([0-9a-f-]{36})`)

// note remembers the order that the browser was told of.
func (b *browser) note(a answer) {
	if found := orderIn.FindStringSubmatch(a.String()); found != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.order = found[1]
	}
}

// told is the order that the browser was last told of; empty for none.
func (b *browser) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.order
}

// look asks where the browser's order stands.
func (b *browser) look(ctx context.Context) (state, text string, err error) {
	order := b.told()
	if order == "" {
		return "", "", errors.New("the browser has no order")
	}
	a, err := b.visit(ctx, visit{method: http.MethodGet, path: "/orders/" + order, json: true})
	if err != nil {
		return "", "", err
	}
	if a.status != http.StatusOK {
		return "", "", fmt.Errorf("the order's page answers:\n%s", a)
	}
	var seen struct{ State, Text string }
	err = json.Unmarshal([]byte(a.text), &seen)
	return seen.State, seen.Text, err
}

// A hook is a webhook as Twilio, or somebody else, calls it.
type hook struct {
	method, path string
	fields       url.Values
	body         io.Reader // in place of fields
	token        string    // that signs; empty for no signature
	url          string    // that is signed, if it is another than is called
}

// call calls it at the service.
func (h hook) call(ctx context.Context, public, addr string) (answer, error) {
	body := h.body
	if body == nil {
		body = strings.NewReader(h.fields.Encode())
	}
	called := strings.TrimSuffix(public, "/") + h.path
	signed := h.url
	if signed == "" {
		signed = called
	}
	if h.method == http.MethodGet {
		body, called = nil, called+"?"+h.fields.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, h.method, called, body)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if h.token != "" {
		req.Header.Set(twiml.SignatureHeader, twiml.Sign(h.token, signed, h.fields))
	}
	return ask(&http.Client{Transport: throughProxy{addr}}, req)
}

// newSid is a MessageSid that Twilio has not used.
func newSid() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails; see crypto/rand
	return "SM" + hex.EncodeToString(id[:])
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// trickle is a body that never ends and hardly begins.
type trickle struct{ ctx context.Context }

func (t trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p, "a"), nil
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	}
}
