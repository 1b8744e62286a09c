package twiml_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"

	"github.com/countersign/countersign/twiml"
)

// A webhook as a shop might answer it. The URL that Twilio signs is the one it
// was told to call: configured, not taken from the request's Host.
func Example() {
	const (
		account = "AC0123456789abcdef0123456789abcdef"
		token   = "the account's auth token"
		hook    = "https://shop.example/webhooks/twilio/message"
	)
	verifier, err := twiml.NewVerifier(token)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		form, err := twiml.ParseForm(r, twiml.MaxForm)
		switch {
		case errors.Is(err, twiml.ErrTooLarge):
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		case errors.Is(err, twiml.ErrMediaType):
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if verifier.Form(r.Header.Get(twiml.SignatureHeader), hook, form) != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		in, err := twiml.ReadInbound(form, account)
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", twiml.ContentType)
		_ = twiml.Reply(w, "You said: "+in.Body)
	}

	// Twilio calls.
	form := url.Values{
		"AccountSid": {account}, "MessageSid": {"SM0123456789abcdef0123456789abcdef"},
		"From": {"+14155550100"}, "To": {"+15558675310"}, "Body": {"my pin is <482 913>"},
	}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, hook, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	r.Header.Set(twiml.SignatureHeader, twiml.Sign(token, hook, form))
	w := httptest.NewRecorder()
	answer(w, r)
	fmt.Println(w.Code)
	fmt.Print(w.Body)
	// Output:
	// 200
	// <?xml version="1.0" encoding="UTF-8"?>
	// <Response><Message>You said: my pin is &lt;482 913&gt;</Message></Response>
}

func ExampleReply() {
	_ = twiml.Reply(os.Stdout, `Tom & Jerry's order is confirmed.`)
	_ = twiml.Reply(os.Stdout, "")
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <Response><Message>Tom &amp; Jerry&#39;s order is confirmed.</Message></Response>
	// <?xml version="1.0" encoding="UTF-8"?>
	// <Response/>
}

func ExampleResponse() {
	_, _ = twiml.Response{
		twiml.Message{To: "+14155550100", Body: "Order 118 is confirmed."},
		twiml.Redirect{URL: "https://shop.example/next?step=2&of=3", Method: "GET"},
	}.WriteTo(os.Stdout)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <Response><Message to="+14155550100">Order 118 is confirmed.</Message><Redirect method="GET">https://shop.example/next?step=2&amp;of=3</Redirect></Response>
}

// The call of Twilio's manual, and its signature there.
func ExampleSign() {
	fmt.Println(twiml.Sign("12345", "https://example.com/myapp.php?foo=1&bar=2", url.Values{
		"CallSid": {"CA1234567890ABCDE"},
		"Caller":  {"+14158675310"},
		"Digits":  {"1234"},
		"From":    {"+14158675310"},
		"To":      {"+18005551212"},
	}))
	// Output: L/OH5YylLD5NRKLltdqwSvS0BnU=
}

// While the auth token is changed for another, either may have signed.
func ExampleVerifier_Form() {
	form := url.Values{"Body": {"482913"}}
	v, err := twiml.NewVerifier("new token", "old token")
	if err != nil {
		fmt.Println(err)
		return
	}
	const hook = "https://shop.example/sms#rc=2&rp=ct,5xx"
	fmt.Println(v.Form(twiml.Sign("old token", "https://shop.example/sms", form), hook, form))
	form.Set("Body", "482914")
	fmt.Println(v.Form(twiml.Sign("guess", hook, form), hook, form))
	// Output:
	// <nil>
	// twiml: signature does not match
}

// A good signature is not enough: where one name ends and the next begins is
// not signed.
func ExampleFormError() {
	signed := url.Values{"Body": {"482913"}, "From": {"+14155550100"}}
	posted := url.Values{"Body": {"482913From+14155550100"}}
	fmt.Println(twiml.Sign("token", "https://shop.example/", signed) == twiml.Sign("token", "https://shop.example/", posted))

	posted.Set("AccountSid", "AC0123456789abcdef0123456789abcdef")
	posted.Set("MessageSid", "SM0123456789abcdef0123456789abcdef")
	_, err := twiml.ReadInbound(posted, "AC0123456789abcdef0123456789abcdef")
	fmt.Println(err)
	// Output:
	// true
	// twiml: the form's From is missing
}

func ExampleKindOf() {
	for _, from := range []string{"+14155550100", "24273", "ACME", "whatsapp:+14155550100"} {
		fmt.Println(from, twiml.KindOf(from))
	}
	// Output:
	// +14155550100 e164
	// 24273 shortcode
	// ACME alphanumeric
	// whatsapp:+14155550100 channel
}
