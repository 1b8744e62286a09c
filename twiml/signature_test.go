package twiml_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twilio/twilio-go/client"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/twiml"
)

// token signs all of Twilio's published vectors.
const token = "12345"

const (
	page     = "https://mycompany.com/myapp.php?foo=1&bar=2"
	jsonBody = `{"property": "value", "boolean": true}`
	jsonHash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
	smsURL   = "https://sms.example.com/webhooks/twilio/sms"
	smsBody  = "AccountSid=AC0123456789abcdef0123456789abcdef&ApiVersion=2010-04-01&Body=Confirm+482913+%26+thanks+%C3%B1&From=%2B14017122661&FromCity=SAN+FRANCISCO&FromCountry=US&FromState=CA&FromZip=94103&MessageSid=SM0123456789abcdef0123456789abcdef&NumMedia=0&NumSegments=1&SmsMessageSid=SM0123456789abcdef0123456789abcdef&SmsSid=SM0123456789abcdef0123456789abcdef&SmsStatus=received&To=%2B15558675310&ToCity=SAUSALITO&ToCountry=US&ToState=CA&ToZip=94965"
)

// How a vector's signature is checked.
type check string

const (
	asForm check = "Form" // Verifier.Form accepts it, and twilio-go does
	asBody check = "Body" // Verifier.Body accepts it, and twilio-go does
	ours   check = "Form, not twilio-go"
	never  check = "nobody"
)

// vectors are the signatures that Twilio's documentation (SEC) and the tests
// of its libraries (PY, ND, JV and GO for Python, Node, Java and Go) publish,
// and one of a whole SMS.
var vectors = []struct {
	n         int
	source    string
	name      string
	check     check
	signedURL string // what was signed, if not url
	url       string
	form      url.Values
	body      string // for asBody
	signature string
}{
	{1, "SEC", "the manual's call", asForm, "", "https://example.com/myapp.php?foo=1&bar=2", callFrom("+14158675310"), "", "L/OH5YylLD5NRKLltdqwSvS0BnU="},
	{2, "SEC", "the older manual's call", asForm, "", page, callFrom("+12349013030"), "", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="},
	{3, "PY ND JV", "a call", asForm, "", page, call(), "", "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
	{4, "PY", "a port signed but not configured", asForm, "https://mycompany.com:443/myapp.php?foo=1&bar=2", page, call(), "", "kvajT1Ptam85bY51eRf/AJRuM3w="},
	{5, "PY", "plain http with its port", asForm, "", "http://mycompany.com:80/myapp.php?foo=1&bar=2", call(), "", "0ZXoZLH/DfblKGATFgpif+LLRf4="},
	{6, "PY", "plain http with a port of its own", asForm, "", "http://mycompany.com:1234/myapp.php?foo=1&bar=2", call(), "", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="},
	{7, "JV", "no query", asForm, "", "https://mycompany.com/myapp.php", call(), "", "1xaxFBvyzXYvWplzNOSs28HWO94="},
	{8, "JV", "no parameters", asForm, "", page, nil, "", "zYQTYrRWXE7LtzbG4PfP7/bkkGo="},
	{9, "JV", "a query encoded as it was", asForm, "", "https://mycompany.com/myapp.php?foo=hello%20world&bar=test%2Bvalue", call(), "", "er2tvAP1Wx+iuTTE2BPgvEaN1cs="},
	{10, "JV", "a URL that should have been encoded", asForm, "", "https://mycompany.com/webhook/España?año=2023", call(), "", "G/Hx6mqqnjUNlPAoi2Sp9bGst0g="},
	{11, "JV", "values of every sort", asForm, "", page, url.Values{"Message": {"Hello & goodbye! @#$%^*()"}, "From": {"+1 (415) 867-5309"}, "Special": {"unicode: ñáéíóú"}}, "", "dCPiR4WtQ6QFN6pJh81CtlCcWLQ="},
	{12, "JV", "empty values", asForm, "", page, url.Values{"CallSid": {"CA1234567890ABCDE"}, "Digits": {""}, "EmptyParam": {""}}, "", "9HHp/OqQMEwdrVebHDdA/+tqjX8="},
	{13, "JV", "names that differ by case", asForm, "", page, url.Values{"callSid": {"lowercase"}, "CallSid": {"uppercase"}, "CALLSID": {"allcaps"}}, "", "jDK7WKT8wiNrwggd4ceTv4e1MJ4="},
	{14, "JV", "a path of two slashes", asForm, "", "https://mycompany.com:443//myapp.php?foo=1&bar=2", call(), "", "A9lH3u16NjyiiM/+wylw5rirFUs="},
	{15, "PY ND", "a value given twice", ours, "", page, url.Values{"Sid": {"CA123"}, "SidAccount": {"AC123"}, "Digits": {"5678", "1234", "1234"}}, "", "IK+Dwps556ElfBT0I3Rgjkr1wJU="},
	{16, "ND", "two values of one name", ours, "", page, url.Values{"MessagingBinding.Address": {"+1325xxxxxxx", "+1415xxxxxxx"}}, "", "83O6e2vORAoJHUNzJjDWN1jz+BA="},
	{17, "GO", "a name that begins another", asForm, "", page, conference(), "", "vOEb5UThFn24KEfnOFLQY2AE5FY="},
	{17, "GO", "names and values sorted as one", never, "", page, conference(), "", "95+Bu0JVPi0r/SsESZCVf0dWAjw="},
	{18, "GO", "the same by plain http", asForm, "", "http" + page[len("https"):], conference(), "", "n2xBNyzSW7rfYStDtOFiFMv7qNo="},
	{19, "GO", "a small form", asForm, "", page, url.Values{"property": {"value"}, "boolean": {"true"}}, "", "NBdBDr/T/lgjI+tlgpXjKZQZs/k="},
	{20, "all", "JSON", asBody, "", page + "&bodySHA256=" + jsonHash, nil, jsonBody, "a9nBmqA0ju/hNViExpshrM61xv4="},
	{21, "JV GO", "JSON, its hash alone in the query", asBody, "", "https://mycompany.com/myapp.php?bodySHA256=" + jsonHash, nil, jsonBody, "y77kIzt2vzLz71DgmJGsen2scGs="},
	{22, "ND", "JSON, signed with the port", asBody, "https://mycompany.com:443" + emptyJSON, "https://mycompany.com" + emptyJSON, nil, "{}", "Ldidvp12m26NI7eqEvxnEpkd9Hc="},
	// Node's library also tries the query spelt as old Node versions spelt it.
	// We do not: Twilio signs a URL as it is configured, and that is how it is
	// asked for here. A guess more is a URL more that a signature is good for.
	{23, "ND", "an apostrophe signed as %27", never, page + "&Body=It%27s+amazing", page + "&Body=It's+amazing", call(), "", "TfZzewPq8wqrGlMfyAud8+/IvJ0="},
	{23, "ND", "an apostrophe asked for as %27", asForm, "", page + "&Body=It%27s+amazing", call(), "", "TfZzewPq8wqrGlMfyAud8+/IvJ0="},
	{24, "ours", "a text", asForm, "", smsURL, sms(), "", "yBM3PvI825926Pm3BYQ6w2MLieQ="},
	{24, "ours", "a text to a port of its own", asForm, "", "https://sms.example.com:8443/webhooks/twilio/sms", sms(), "", "k6qolH6z0kOL20O5t9hA3dTr3zo="},
}

const emptyJSON = "/myapp.php?foo=1&bar=2&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

func callFrom(number string) url.Values {
	return url.Values{"CallSid": {"CA1234567890ABCDE"}, "Caller": {number}, "Digits": {"1234"}, "From": {number}, "To": {"+18005551212"}}
}

func call() url.Values { return callFrom("+14158675309") }

func conference() url.Values {
	return with(call(), "Reason", "Participant", "ReasonConferenceEnded", "test")
}

func sms() url.Values {
	form, err := url.ParseQuery(smsBody)
	if err != nil {
		panic(err)
	}
	return form
}

// with returns form with other values, given as name, value, name, value.
func with(form url.Values, pairs ...string) url.Values {
	form = maps.Clone(form)
	for pair := range slices.Chunk(pairs, 2) {
		form.Set(pair[0], pair[1])
	}
	return form
}

func verifier(t testing.TB, tokens ...string) *twiml.Verifier {
	t.Helper()
	v, err := twiml.NewVerifier(tokens...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	v, stranger, other := verifier(t, token), verifier(t, "54321"), client.NewRequestValidator(token)
	for _, tt := range vectors {
		t.Run(fmt.Sprintf("%d %s", tt.n, tt.name), func(t *testing.T) {
			verify := func(v *twiml.Verifier, url string) error {
				if tt.check == asBody {
					return v.Body(tt.signature, url, []byte(tt.body))
				}
				return v.Form(tt.signature, url, tt.form)
			}
			signed := tt.signedURL
			if signed == "" {
				signed = tt.url
			}
			wrong := tt.n == 17 && tt.check == never // a vector of how not to sign
			if got := twiml.Sign(token, signed, tt.form); (got == tt.signature) == wrong {
				t.Errorf("Sign = %s, published is %s", got, tt.signature)
			}
			err := verify(v, tt.url)
			if want := tt.check != never; (err == nil) != want {
				t.Errorf("verify = %v, want success: %t", err, want)
			}
			if err != nil && !errors.Is(err, twiml.ErrSignature) {
				t.Errorf("verify = %v, want ErrSignature", err)
			}
			if err := verify(stranger, tt.url); !errors.Is(err, twiml.ErrSignature) {
				t.Errorf("verify with another token = %v", err)
			}
			if err := verify(v, tt.url+"x"); !errors.Is(err, twiml.ErrSignature) {
				t.Errorf("verify at another URL = %v", err)
			}
			body := tt.body
			if tt.check != asBody {
				body = tt.form.Encode()
			}
			theirs := other.ValidateBody(tt.url, []byte(body), tt.signature)
			if want := tt.check == asForm || tt.check == asBody; theirs != want {
				t.Errorf("twilio-go says %t, want %t", theirs, want)
			}
		})
	}
}

func TestFormURLs(t *testing.T) {
	v := verifier(t, token)
	for _, tt := range []struct {
		name        string
		signed, url string
		want        bool
	}{
		{"the same", smsURL, smsURL, true},
		{"the fragment that sets retries", smsURL, smsURL + "#rc=2&rp=ct,5xx", true},
		{"a fragment after a query", page, page + "#a?b", true},
		{"userinfo", smsURL, "https://user:p@ss@sms.example.com/webhooks/twilio/sms", true},
		{"userinfo and a port", "https://h:1/x", "https://u:p@h:1/x", true},
		{"an at sign in the path is no userinfo", "https://h/a@b", "https://h/a@b", true},
		{"a port signed, none configured", "https://h:443/x", "https://h/x", true},
		{"a port configured, none signed", "https://h/x", "https://h:443/x", true},
		{"an odd port configured, none signed", "https://h/x", "https://h:8443/x", true},
		{"plain http's port signed", "http://h:80/x", "http://h/x", true},
		{"a scheme in capitals", "HTTPS://h:443/x", "HTTPS://h/x", true},
		{"an IPv6 address", "https://[::1]/x", "https://[::1]/x", true},
		{"an IPv6 address, its port signed", "https://[::1]:443/x", "https://[::1]/x", true},
		{"an IPv6 address, its port not signed", "https://[::1]/x", "https://[::1]:8443/x", true},
		{"a host alone", "https://h:443?a", "https://h?a", true},
		{"no URL", "x", "x", true},
		{"an empty URL", "", "", true},

		{"another host", smsURL, "https://sms.example.org/webhooks/twilio/sms", false},
		{"another scheme", smsURL, "http://sms.example.com/webhooks/twilio/sms", false},
		{"an odd port signed, none configured", "https://h:8443/x", "https://h/x", false},
		{"the other scheme's port", "https://h:80/x", "https://h/x", false},
		{"another port", "https://h:8443/x", "https://h:443/x", false},
		{"a slash more", smsURL, smsURL + "/", false},
		{"a query more", smsURL, smsURL + "?a=1", false},
		{"a query less", page, "https://mycompany.com/myapp.php", false},
		{"a query in another order", page, "https://mycompany.com/myapp.php?bar=2&foo=1", false},
		{"a query spelt anew", "https://h/?a=%20", "https://h/?a=+", false},
		{"a path spelt anew", "https://h/%7ea", "https://h/~a", false},
		{"a host in capitals", "https://h/x", "https://H/x", false},
		{"the last group of an IPv6 address is no port", "https://[:]/x", "https://[::1]/x", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := v.Form(twiml.Sign(token, tt.signed, sms()), tt.url, sms())
			if (err == nil) != tt.want {
				t.Errorf("signed %q, verified %q: %v", tt.signed, tt.url, err)
			}
		})
	}
}

func TestFormRefusesWhatWasChanged(t *testing.T) {
	v := verifier(t, token)
	good := twiml.Sign(token, smsURL, sms())
	less := sms()
	less.Del("FromCity")
	for _, tt := range []struct {
		name      string
		signature string
		form      url.Values
	}{
		{"no signature", "", sms()},
		{"half a signature", good[:14], sms()},
		{"a signature and more", good + "=", sms()},
		{"a line end after the signature", good + "\n", sms()},
		{"the same bytes in another base64", otherBase64(t, good), sms()},
		{"a signature without padding", strings.TrimRight(good, "="), sms()},
		{"another text", good, with(sms(), "Body", "482914")},
		{"another sender", good, with(sms(), "From", "+14017122662")},
		{"a parameter more", good, with(sms(), "Zebra", "1")},
		{"an empty parameter more", good, with(sms(), "Zebra", "")},
		{"a second value", good, with2(sms(), "From", "+14017122661", "+14155550199")},
		{"a parameter less", good, less},
		{"no form", good, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := v.Form(tt.signature, smsURL, tt.form); !errors.Is(err, twiml.ErrSignature) {
				t.Errorf("Form = %v, want ErrSignature", err)
			}
		})
	}
}

func with2(form url.Values, name string, values ...string) url.Values {
	form = maps.Clone(form)
	form[name] = values
	return form
}

// otherBase64 returns another text that a lax decoder takes for the same bytes.
func otherBase64(t *testing.T, text string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(text) - 2 // before the padding
	other := text[:last] + string(alphabet[strings.IndexByte(alphabet, text[last])^1]) + "="
	want, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := base64.StdEncoding.DecodeString(other)
	if err != nil || string(got) != string(want) || other == text {
		t.Fatalf("%s is not another spelling of %s", other, text)
	}
	return other
}

func TestBodyRefuses(t *testing.T) {
	v := verifier(t, token)
	for _, tt := range []struct {
		name string
		url  string
		body string
	}{
		{"another body", page + "&bodySHA256=" + jsonHash, `{}`},
		{"no body", page + "&bodySHA256=" + jsonHash, ``},
		{"a URL without a hash", page, jsonBody},
		{"an empty hash", page + "&bodySHA256=", ``},
		{"half a hash", page + "&bodySHA256=" + jsonHash[:32], jsonBody},
		{"a hash that is none", page + "&bodySHA256=" + strings.Repeat("x", 64), jsonBody},
		{"a hash in the fragment", page + "#&bodySHA256=" + jsonHash, jsonBody},
		{"a hash in the path", "https://h/bodySHA256=" + jsonHash, jsonBody},
		{"a hash by another name", page + "&BodySHA256=" + jsonHash, jsonBody},
		{"a second hash", page + "&bodySHA256=" + strings.Repeat("0", 64) + "&bodySHA256=" + jsonHash, jsonBody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := v.Body(twiml.Sign(token, tt.url, nil), tt.url, []byte(tt.body))
			if !errors.Is(err, twiml.ErrSignature) {
				t.Errorf("Body = %v, want ErrSignature", err)
			}
		})
	}
	t.Run("a good hash, signed by another", func(t *testing.T) {
		at := page + "&bodySHA256=" + jsonHash
		if err := v.Body(twiml.Sign("54321", at, nil), at, []byte(jsonBody)); !errors.Is(err, twiml.ErrSignature) {
			t.Errorf("Body = %v, want ErrSignature", err)
		}
	})
}

func TestNewVerifierRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tokens []string
	}{
		{"no token", nil},
		{"an empty token", []string{""}},
		{"a blank token", []string{" \n"}},
		{"an empty token beside a good one", []string{token, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, err := twiml.NewVerifier(tt.tokens...); err == nil || v != nil {
				t.Errorf("NewVerifier(%q) = %v, %v", tt.tokens, v, err)
			}
		})
	}
}

func TestEitherTokenSignsDuringRotation(t *testing.T) {
	tokens := []string{"old", "new"}
	v := verifier(t, tokens...)
	tokens[0] = "changed by its owner"
	for _, tt := range []struct {
		token string
		want  bool
	}{
		{"old", true}, {"new", true},
		{"oldnew", false}, {"", false}, {"changed by its owner", false},
	} {
		if err := v.Form(twiml.Sign(tt.token, smsURL, sms()), smsURL, sms()); (err == nil) != tt.want {
			t.Errorf("signed with %q: %v", tt.token, err)
		}
	}
}

func TestVerifierHidesItsTokens(t *testing.T) {
	const secret = "f00dfeedf00dfeedf00dfeedf00dfeed"
	v := verifier(t, secret)
	_ = v.Form("", smsURL, sms())
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, v); strings.Contains(got, secret) {
			t.Errorf("Sprintf(%s) = %s", format, got)
		}
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	v := verifier(t, "54321", token)
	var wg sync.WaitGroup
	for i := range 8 {
		form := with(sms(), "Body", strings.Repeat("x", i*100))
		good := twiml.Sign(token, smsURL, form)
		wg.Go(func() {
			for range 200 {
				if err := v.Form(good, smsURL, form); err != nil {
					t.Errorf("the text of %d: %v", i*100, err)
				}
				if err := v.Form(good, page, form); err == nil {
					t.Errorf("the text of %d passes at another URL", i*100)
				}
			}
		})
	}
	wg.Wait()
}

// Where names do not repeat and the URL needs no respelling, twilio-go and we
// agree on every signature, good or bad.
func TestFormAgreesWithTwilio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOfN(rapid.StringMatching(`[0-9a-f]{1,80}`), 1, 3).Draw(t, "tokens")
		v, err := twiml.NewVerifier(tokens...)
		if err != nil {
			t.Fatal(err)
		}
		scheme := rapid.SampledFrom([]string{"https", "http"}).Draw(t, "scheme")
		host := rapid.StringMatching(`[a-z]{1,8}(\.[a-z]{2,3})?`).Draw(t, "host")
		rest := rapid.StringMatching(`/[a-z]{0,5}(//?[a-z]{1,3})?(\?[a-z]=[a-z0-9]{0,4}(%2B|\+)?(&foo=[0-9])?)?`).Draw(t, "rest")
		port := rapid.SampledFrom([]string{"", ":80", ":443", ":8443"})
		at := scheme + "://" + host + port.Draw(t, "port configured") + rest

		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9+&=; ]{0,20}`))
		params := rapid.MapOfN(text, text, 0, 12).Draw(t, "params")
		form := url.Values{}
		for name, value := range params {
			form.Set(name, value)
		}

		signed := maps.Clone(form)
		if rapid.IntRange(0, 4).Draw(t, "tamper") == 0 {
			signed.Set(text.Draw(t, "name"), text.Draw(t, "value"))
		}
		key := rapid.OneOf(rapid.SampledFrom(tokens), rapid.Just("stranger")).Draw(t, "key")
		signature := twiml.Sign(key, scheme+"://"+host+port.Draw(t, "port signed")+rest, signed)

		theirs := false
		for _, token := range tokens {
			other := client.NewRequestValidator(token)
			theirs = other.Validate(at, params, signature) || theirs
		}
		if ours := v.Form(signature, at, form) == nil; ours != theirs {
			t.Fatalf("%s at %s: we say %t, twilio-go says %t", form, at, ours, theirs)
		}
	})
}

func BenchmarkVerifier(b *testing.B) {
	form := sms()
	good := twiml.Sign(token, smsURL, form)
	for _, bb := range []struct {
		name   string
		tokens []string
		url    string
		want   error
	}{
		{"one token", []string{token}, smsURL, nil},
		{"two tokens", []string{"54321", token}, smsURL, nil},
		{"forged", []string{"54321"}, smsURL, twiml.ErrSignature},
	} {
		b.Run(bb.name, func(b *testing.B) {
			v := verifier(b, bb.tokens...)
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Form(good, bb.url, form); !errors.Is(err, bb.want) {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("twilio-go", func(b *testing.B) {
		other := client.NewRequestValidator(token)
		body := []byte(smsBody)
		b.ReportAllocs()
		for b.Loop() {
			if !other.ValidateBody(smsURL, body, good) {
				b.Fatal("refused")
			}
		}
	})
}
