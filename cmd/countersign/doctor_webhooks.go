package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/countersign/countersign/twiml"
)

// What the doctor posts, as Twilio would. The text is from a name, not from a
// number, to whom the service has nothing to say: it looks at the signature,
// the account and the sender, and writes nothing. The receipt is of a text that
// never was. The service keeps it, as it keeps all: one row, the same at every
// examination.
const (
	probeSID     = "SM00000000000000000000000000000000"
	probeMessage = "00000000-0000-7000-8000-000000000000"
	probeFrom    = "COUNTERSIGN"

	inboundPath = "/webhooks/twilio/message"
	receiptPath = "/webhooks/twilio/status/" + probeMessage
)

// A probed is an answer to the doctor, as much as is looked at.
type probed struct {
	status   int
	location string
	body     string
}

// probe asks for a path of PUBLIC_URL and follows no redirect, as it is the
// first answer that counts for a webhook.
func (d *doctor) probe(ctx context.Context, method, path string, form url.Values, signature string) (probed, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, d.at(path).String(), body)
	if err != nil {
		return probed{}, err
	}
	req.Header.Set("User-Agent", "countersign-doctor/"+buildVersion())
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if signature != "" {
		req.Header.Set(twiml.SignatureHeader, signature)
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return probed{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return probed{resp.StatusCode, resp.Header.Get("Location"), string(bytes.TrimSpace(text))}, err
}

// ready asks the service at PUBLIC_URL whether it is.
func (d *doctor) ready(ctx context.Context) []finding {
	if d.publicURL == nil {
		return unseen(errNoURL.Error())
	}
	got, err := d.probe(ctx, http.MethodGet, "/readyz", nil, "")
	switch {
	case err != nil:
		d.noAnswer = true
		return []finding{problem(unreached(err))}
	case got.status == http.StatusOK && got.body == "ready":
		return []finding{fine(d.publicURL.String() + " answers, and is ready")}
	case got.status == http.StatusServiceUnavailable && got.body == "not ready":
		return []finding{problem("the service answers, but is not ready: its database takes no writes, or it is stopping",
			"look at its log")}
	}
	return []finding{problem(d.astray("/readyz", got))}
}

// webhooks posts signed webhooks and an unsigned one to PUBLIC_URL, the way
// that Twilio's come.
func (d *doctor) webhooks(ctx context.Context) []finding {
	switch {
	case d.publicURL == nil:
		return unseen(errNoURL.Error())
	case len(d.authTokens) == 0:
		return unseen("TWILIO_AUTH_TOKEN is not set")
	case d.sender == "":
		return unseen("neither TWILIO_FROM_NUMBER nor TWILIO_MESSAGING_SERVICE_SID is set")
	case d.noAnswer:
		return unseen("nothing answers at PUBLIC_URL")
	}
	inbound := url.Values{
		"AccountSid": {d.TwilioAccountSID}, "MessageSid": {probeSID}, "From": {probeFrom}, "To": {d.sender}, "Body": {"doctor"},
	}
	if d.TwilioMessagingServiceSID != "" {
		inbound.Set("To", nobody)
		inbound.Set("MessagingServiceSid", d.TwilioMessagingServiceSID)
	}
	receipt := url.Values{"AccountSid": {d.TwilioAccountSID}, "MessageSid": {probeSID}, "MessageStatus": {"sent"}}

	found := []finding{
		d.signed(ctx, "a signed text", inboundPath, inbound, http.StatusOK),
		d.signed(ctx, "a signed receipt", receiptPath, receipt, http.StatusNoContent),
		d.unsigned(ctx, inbound),
	}
	for i, token := range d.authTokens[1:] {
		found = append(found, d.otherToken(ctx, i+2, token, inbound))
	}
	return found
}

// signed posts a webhook that the service should take.
func (d *doctor) signed(ctx context.Context, what, path string, form url.Values, want int) finding {
	got, err := d.probe(ctx, http.MethodPost, path, form, twiml.Sign(d.authTokens[0], d.at(path).String(), form))
	switch {
	case err != nil:
		return problem(unreached(err))
	case got.status == want && (want != http.StatusOK || strings.Contains(got.body, "<Response")):
		return fine(what + " is taken")
	case got.status == http.StatusForbidden && strings.Contains(got.body, "signature"):
		return d.mistrusted(ctx, what, path, form, want)
	case got.status == http.StatusForbidden && strings.Contains(got.body, "our account or our sender"):
		return problem(what+" is refused (403), since it is not for the account or sender of the service there",
			"start it with these TWILIO_ACCOUNT_SID and TWILIO_FROM_NUMBER or TWILIO_MESSAGING_SERVICE_SID, or examine it with its own")
	}
	return problem(d.astray(path, got))
}

// mistrusted says why a good signature is refused: the service must hold
// another URL or another token than we signed with. A URL that differs by its
// scheme is the most common slip, and can be told by signing for it.
func (d *doctor) mistrusted(ctx context.Context, what, path string, form url.Values, want int) finding {
	other := d.at(path)
	other.Scheme = map[string]string{"http": "https", "https": "http"}[other.Scheme]
	got, err := d.probe(ctx, http.MethodPost, path, form, twiml.Sign(d.authTokens[0], other.String(), form))
	if err == nil && got.status == want {
		return problem(fmt.Sprintf("%s is refused (403): the service there takes its PUBLIC_URL to be %s://%s", what, other.Scheme, other.Host),
			"start it with PUBLIC_URL="+d.publicURL.String()+", which is what Twilio calls")
	}
	return problem(what+" is refused (403), since its signature does not match: the service there has another auth token or another PUBLIC_URL than is examined here, or a proxy changes path, query or form on the way",
		"start it with these TWILIO_AUTH_TOKEN and PUBLIC_URL, and have the proxy pass /webhooks/ on as it came")
}

// unsigned posts a webhook that nobody signed.
func (d *doctor) unsigned(ctx context.Context, form url.Values) finding {
	got, err := d.probe(ctx, http.MethodPost, inboundPath, form, "")
	switch {
	case err != nil:
		return problem(unreached(err))
	case got.status == http.StatusForbidden:
		return fine("an unsigned one is refused")
	case got.status < http.StatusMultipleChoices:
		return problem(fmt.Sprintf("an unsigned text is taken (%d): whatever answers there does not look at signatures", got.status),
			"is it countersign? anybody could confirm or decline orders")
	}
	return problem(d.astray(inboundPath, got))
}

// otherToken posts a text signed by a further token, which Twilio will sign
// with once it is the primary one.
func (d *doctor) otherToken(ctx context.Context, n int, token string, form url.Values) finding {
	got, err := d.probe(ctx, http.MethodPost, inboundPath, form, twiml.Sign(token, d.inboundURL(), form))
	switch {
	case err != nil:
		return problem(unreached(err))
	case got.status == http.StatusOK:
		return fine(fmt.Sprintf("auth token %d is taken too", n))
	}
	return warning(fmt.Sprintf("a text signed with auth token %d is refused (%d)", n, got.status),
		"restart the service with both tokens before Twilio signs with this one")
}

// astray says what an answer means that is none of the service's.
func (d *doctor) astray(path string, got probed) (seen, do string) {
	seen = fmt.Sprintf("%s answers %d %s", path, got.status, http.StatusText(got.status))
	switch got.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return d.redirected(path, got)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusOK, http.StatusNoContent:
		return seen + ": something else answers there, or a proxy changes the path or the method",
			"have it pass " + path + " on to LISTEN_ADDR, as it came; does PUBLIC_URL say what it should?"
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return seen + ": something before the service keeps it out", "let /webhooks/ and /readyz through the proxy or firewall; signatures protect them"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return seen + ": the proxy does not reach the service, or it is overloaded", "is serve running, and does the proxy know its LISTEN_ADDR?"
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return seen + ": what was posted did not get there as it was", "have the proxy leave body and headers alone"
	case http.StatusTooManyRequests:
		return seen + ": something before the service limits requests", "exempt /webhooks/: all texts come from Twilio"
	}
	return seen, "look at the service's log, and at what stands before it"
}

// redirected says where a redirect leads. Twilio would follow it by GET, and
// leave the form behind.
func (d *doctor) redirected(path string, got probed) (seen, do string) {
	asked := d.at(path)
	to, err := asked.Parse(got.location)
	if err != nil || got.location == "" {
		return fmt.Sprintf("%s redirects (%d) to nowhere", path, got.status), "look at what stands before the service"
	}
	seen = fmt.Sprintf("%s redirects (%d) to %s, and a webhook that is redirected loses its form", path, got.status, plainly(to))
	switch part := apart(to, asked); part {
	case "scheme", "host", "port":
		return seen, fmt.Sprintf("set PUBLIC_URL, and Twilio's webhook, to %s://%s", to.Scheme, to.Host)
	case "end, a slash,":
		return seen, "have the proxy add no slash"
	default:
		return seen, "have the proxy pass " + path + " on to LISTEN_ADDR, as it came"
	}
}

// unreached says why nothing answered at PUBLIC_URL.
func unreached(err error) (seen, do string) {
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		alert   tls.AlertError
		record  tls.RecordHeaderError
		waited  net.Error
	)
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err // without the URL, which is ours and known
	}
	switch {
	case errors.As(err, &dns):
		return "PUBLIC_URL: its host is not found: " + dns.Error(), "is the name right, and its DNS record there?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "PUBLIC_URL: connection refused", "is serve, or the proxy before it, running and listening there?"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "PUBLIC_URL: TLS error: plain HTTP is spoken there", "set PUBLIC_URL to http://…, or have TLS spoken there"
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &alert), errors.As(err, &record):
		return "PUBLIC_URL: TLS error: " + err.Error(), "Twilio calls no host without a good certificate: renew it, with its whole chain and for this name"
	case errors.As(err, &waited) && waited.Timeout():
		return fmt.Sprintf("PUBLIC_URL: no answer within %v", lookWithin),
			"look at firewalls and the proxy; if only this machine cannot reach its own public address, ask from another one"
	}
	return "PUBLIC_URL: " + because(err), "look at what stands before the service"
}
