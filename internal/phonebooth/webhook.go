package phonebooth

import (
	"cmp"
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/twiml"
)

// maxShown is how much of an answer the page shows, in bytes.
const maxShown = 8 << 10

// A hook is one webhook to be called.
type hook struct {
	kind    string // inbound, fallback, redirect, action or status
	method  string
	url     string // as configured, connection overrides and all
	params  url.Values
	sid     string
	to      string     // the handset it is about
	cookies *[2]string // whose cookies go along: handset and our number; nil for none
}

// An answer is what came of calling a hook: what the service said, or a code
// of Twilio's debugger and the problem in words.
type answer struct {
	url         string
	status      int
	contentType string
	body        []byte
	attempts    int
	code        int
	problem     string
}

// A Webhook is a call that was made, as the page and GET /booth/webhooks show
// it: enough to compute its signature by hand.
type Webhook struct {
	At          time.Time   `json:"at"`
	Kind        string      `json:"kind"` // inbound, fallback, redirect, action or status
	Sid         string      `json:"sid"`
	Method      string      `json:"method"`
	URL         string      `json:"url"`        // as it was called
	SignedURL   string      `json:"signed_url"` // what the signature begins with
	Params      [][2]string `json:"params"`     // what it goes on with, name by name
	Signature   string      `json:"signature"`
	Fault       string      `json:"fault,omitempty"` // why the signature is wrong, if it is
	Headers     [][2]string `json:"headers"`
	Attempts    int         `json:"attempts"`
	Status      int         `json:"status"` // of the answer; 0 if there was none
	ContentType string      `json:"content_type,omitempty"`
	Answer      string      `json:"answer,omitempty"`
	Problem     string      `json:"problem,omitempty"`
	TookMS      int64       `json:"took_ms"`
}

// call calls h: signed, retried as its overrides say, and kept for the page.
// It needs the network, so the caller does not hold the lock.
func (b *Booth) call(ctx context.Context, h hook) answer {
	started := b.now()
	o := overridesIn(h.url)
	target := bare(h.url)
	form := h.params
	if h.method == http.MethodGet {
		target, form = addQuery(target, h.params), nil
	}

	b.mu.Lock()
	token := b.tokens[0]
	tamper := ""
	if f := b.faults.strike(h.to, func(f *Fault) bool {
		return f.at(signing) && (f.On == "any" || f.On == h.kind || f.On == "inbound" && h.kind != "status")
	}); f != nil {
		tamper = f.Kind
	}
	b.mu.Unlock()
	sign, body := signer(token, tamper, form)

	header := http.Header{
		"Accept":                     {"*/*"},
		"User-Agent":                 {"TwilioProxy/1.1"},
		"X-Home-Region":              {"us1"},
		"I-Twilio-Idempotency-Token": {newUUID()},
	}
	if form != nil {
		header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}
	req := request{method: h.method, url: target, form: form, body: body, header: header, sign: sign, cookies: h.cookies, user: userinfo(h.url)}
	a := b.hooks.call(ctx, req, o, started)
	a.url = h.url

	signature, signedURL := sign(target, form)
	shown := Webhook{
		At: started.UTC(), Kind: h.kind, Sid: h.sid, Method: h.method, URL: target,
		SignedURL: signedURL, Params: pairs(form), Signature: signature, Fault: tamper,
		Headers: pairs(url.Values(header)), Attempts: a.attempts, Status: a.status,
		ContentType: a.contentType, Answer: string(a.body[:min(len(a.body), maxShown)]), Problem: a.problem,
		TookMS: b.now().Sub(started).Milliseconds(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil { // else it is of before a reset
		b.webhooks.add(shown)
		b.changed()
	}
	return a
}

// signer is how a webhook is signed, rightly or as a fault will have it, and
// the body that goes with it. sign returns the signature and the URL it is of.
func signer(token, tamper string, form url.Values) (sign func(string, url.Values) (string, string), body string) {
	if form != nil {
		body = form.Encode()
	}
	address := func(u string) string { return u }
	switch tamper {
	case "sign-none":
		return func(u string, _ url.Values) (string, string) { return "", u }, body
	case "sign-wrong-token":
		token = hex.EncodeToString([]byte(token))
	case "sign-wrong-port":
		address = otherPort
	case "sign-tampered":
		body = strings.TrimPrefix(body+"&Tampered=1", "&")
	}
	return func(u string, form url.Values) (string, string) {
		u = address(u)
		return twiml.Sign(token, u, form), u
	}, body
}

// pairs is v in the order in which it is signed.
func pairs(v url.Values) [][2]string {
	list := [][2]string{}
	for name, values := range v {
		for _, value := range values {
			list = append(list, [2]string{name, value})
		}
	}
	slices.SortFunc(list, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return list
}
