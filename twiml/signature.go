package twiml

import (
	"crypto/hmac"
	"crypto/sha1" // Twilio signs with HMAC-SHA1; the choice is not ours
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// SignatureHeader carries the signature of every webhook.
const SignatureHeader = "X-Twilio-Signature"

// ErrSignature says that a request was not signed, for this URL and with this
// content, by the holder of one of the tokens.
var ErrSignature = errors.New("twiml: signature does not match")

// Sign returns Twilio's signature of form posted to rawURL: the base64 of
// HMAC-SHA1, keyed with the account's auth token, over the URL and then each
// name and value, names sorted bytewise (SEC). A name with several values is
// written once with each, and those sorted and without duplicates, as Twilio's
// Python and Node libraries do.
//
// The URL is signed as it is written, byte for byte, but for its userinfo and
// its fragment, which never reach the server. A GET, or a JSON body whose hash
// stands in the URL as bodySHA256, is signed with a nil form.
func Sign(token, rawURL string, form url.Values) string {
	address := splitURL(rawURL)
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write(appendFields(address.append(nil, address.port), form, sortedNames(nil, form)))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// A Verifier checks signatures against an account's auth tokens. It is safe
// for concurrent use, and does not show its tokens when printed.
type Verifier struct {
	work sync.Pool // of *work, which alone know the tokens
}

// NewVerifier returns a Verifier that accepts what any of the tokens signed:
// one usually, two while they rotate. Only auth tokens sign webhooks, never an
// API key's secret. No token, or a blank one, is refused, for anyone can sign
// with that.
func NewVerifier(tokens ...string) (*Verifier, error) {
	if len(tokens) == 0 {
		return nil, errors.New("twiml: no auth token to verify with")
	}
	for _, token := range tokens {
		if strings.TrimSpace(token) == "" {
			return nil, errors.New("twiml: an auth token to verify with is blank")
		}
	}
	tokens = slices.Clone(tokens)
	v := new(Verifier)
	v.work.New = func() any {
		w := new(work)
		for _, token := range tokens {
			w.macs = append(w.macs, hmac.New(sha1.New, []byte(token)))
		}
		return w
	}
	return v, nil
}

// Form returns nil if signature is Twilio's for form posted to rawURL, else
// [ErrSignature]. The form must hold every parameter of the body, known or
// not; it is nil for a GET.
//
// rawURL is what Twilio was told to call, so the configured public URL and the
// query received, never one put together from the request's Host. The port may
// have been signed or not: Twilio keeps it for SMS and drops it for Voice over
// HTTPS (SEC), so both are tried, as in Twilio's libraries.
func (v *Verifier) Form(signature, rawURL string, form url.Values) error {
	if !v.signed(signature, rawURL, form) {
		return ErrSignature
	}
	return nil
}

// Body returns nil if signature is Twilio's for rawURL, and the URL's
// bodySHA256 is the SHA-256 of body, in hexadecimal. That is how Twilio signs
// what is not a form. A URL without bodySHA256 vouches for no body.
func (v *Verifier) Body(signature, rawURL string, body []byte) error {
	signed := v.signed(signature, rawURL, nil)
	sum := sha256.Sum256(body)
	claimed, err := hex.DecodeString(queryValue(rawURL, "bodySHA256"))
	if err != nil || subtle.ConstantTimeCompare(claimed, sum[:]) != 1 || !signed {
		return ErrSignature
	}
	return nil
}

func (v *Verifier) signed(signature, rawURL string, form url.Values) bool {
	w := v.work.Get().(*work)
	defer v.work.Put(w)

	w.names = sortedNames(w.names[:0], form)
	w.fields = appendFields(w.fields[:0], form, w.names)
	clear(w.names) // a pooled work must not keep a request's strings alive

	address := splitURL(rawURL)
	return w.signed(signature, address, address.port) ||
		w.signed(signature, address, address.otherPort())
}

// work is what verifying needs besides its arguments, kept from one request to
// the next: setting up an HMAC costs as much as signing a text with it.
type work struct {
	macs   []hash.Hash // one keyed with each token
	names  []string
	url    []byte
	fields []byte
	sum    [sha1.Size]byte
	text   [(sha1.Size + 2) / 3 * 4]byte
}

// signed reports whether signature is that of the address with this port and
// of w.fields. It asks every token, so that its time does not tell which one
// signs.
func (w *work) signed(signature string, address address, port string) bool {
	w.url = address.append(w.url[:0], port)
	got := []byte(signature)
	match := 0
	for _, mac := range w.macs {
		mac.Reset()
		mac.Write(w.url)
		mac.Write(w.fields)
		// Compare the texts: base64 has several spellings of the same bytes.
		base64.StdEncoding.Encode(w.text[:], mac.Sum(w.sum[:0]))
		match |= subtle.ConstantTimeCompare(w.text[:], got)
	}
	return match == 1
}

// sortedNames appends the names in form to dst, in the order they are signed.
func sortedNames(dst []string, form url.Values) []string {
	for name := range form {
		dst = append(dst, name)
	}
	slices.Sort(dst)
	return dst
}

// appendFields appends to dst what is signed of form, whose names are given
// sorted.
func appendFields(dst []byte, form url.Values, names []string) []byte {
	for _, name := range names {
		values := form[name]
		if len(values) > 1 {
			values = slices.Clone(values)
			slices.Sort(values)
			values = slices.Compact(values)
		}
		for _, value := range values {
			dst = append(dst, name...)
			dst = append(dst, value...)
		}
	}
	return dst
}

// An address is a URL in the parts that signing cares about. net/url is of no
// use here: it would spell some URLs anew, and the signature is of the old
// spelling.
type address struct {
	scheme string // with "://"
	host   string
	port   string // with ":", or empty
	rest   string // path and query
}

// splitURL takes rawURL apart, and drops its userinfo and fragment.
func splitURL(rawURL string) address {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	i := strings.Index(rawURL, "://")
	if i < 0 {
		return address{rest: rawURL}
	}
	scheme, rest := rawURL[:i+3], rawURL[i+3:]
	host := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host = rest[:i]
	}
	rest = rest[len(host):]
	host = host[strings.LastIndexByte(host, '@')+1:]
	port := ""
	// A colon within brackets is the IPv6 address's own.
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i:]
	}
	return address{scheme, host, port, rest}
}

// append appends the URL to dst, with that port.
func (a address) append(dst []byte, port string) []byte {
	dst = append(dst, a.scheme...)
	dst = append(dst, a.host...)
	dst = append(dst, port...)
	return append(dst, a.rest...)
}

// otherPort is the port that a may have been signed with, if not its own: none
// if it has one, else its scheme's.
func (a address) otherPort() string {
	switch {
	case a.port != "":
		return ""
	case strings.EqualFold(a.scheme, "https://"):
		return ":443"
	default:
		return ":80"
	}
}

// queryValue returns the first value of name in rawURL's query, as written.
func queryValue(rawURL, name string) string {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	_, query, _ := strings.Cut(rawURL, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}
