package main

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Twilio signs with
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// What the service is told it is.
const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	authToken  = "thetokenthatsignswhattwiliosays"
	sender     = "+14155550100"
	secretKey  = "a key of the measurements that is of no use elsewhere"
	publicHost = "shop.example.com"
	publicURL  = "https://" + publicHost
	// ipHeader tells customers apart, as a proxy in front of us would.
	ipHeader = "Fly-Client-IP"
)

// A customer is known by an ordinal. Neighbours have numbers far apart: no
// index is filled in its order.
type customer int

// subscribers is a prime, a little less than the numbers that an area code has
// if its exchanges begin with 2 to 9, and stride scatters them.
const (
	subscribers = 7_999_993
	stride      = 4_961_437
)

var areaCodes = []string{"212", "415", "312", "206", "617", "303"}

// number is the customer's, in E.164.
func (c customer) number() string {
	area := areaCodes[int(c)/subscribers%len(areaCodes)]
	return fmt.Sprintf("+1%s%07d", area, 2_000_000+int(c)%subscribers*stride%subscribers)
}

// ip is the address that the customer's browser has.
func (c customer) ip() string {
	return fmt.Sprintf("10.%d.%d.%d", int(c)>>16&255, int(c)>>8&255, int(c)&255)
}

// A browser is a cookie, as it is sent.
type browser string

// get is a request for a page.
func (b browser) get(road, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/html\r\n%s%s: %s\r\n\r\n",
		path, publicHost, b.cookie(), roadHeader, road)
}

// post is a form, as a browser posts it.
func (b browser) post(road, path, ip string, form url.Values) []byte {
	body := form.Encode()
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAccept: text/html\r\nOrigin: %s\r\nSec-Fetch-Site: same-origin\r\n"+
		"%s%s: %s\r\n%s: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		path, publicHost, publicURL, b.cookie(), ipHeader, ip, roadHeader, road, len(body), body)
}

func (b browser) cookie() string {
	if b == "" {
		return ""
	}
	return "Cookie: " + string(b) + "\r\n"
}

// order is the form as a customer fills it in.
func (c customer) order() url.Values {
	return url.Values{
		"name": {"Ada Lovelace"}, "address": {"12 St James's Square, London"}, "items": {"1 × Difference Engine"},
		"mobile_number": {c.number()},
	}
}

// inbound is a webhook of Twilio's: the customer has texted body.
func (c customer) inbound(road, sid, body string) []byte {
	return webhook(road, "/webhooks/twilio/message", url.Values{
		"ToCountry": {"US"}, "ToState": {"CA"}, "ToCity": {""}, "ToZip": {""},
		"FromCountry": {"US"}, "FromState": {"NY"}, "FromCity": {"NEW YORK"}, "FromZip": {"10012"},
		"SmsMessageSid": {sid}, "SmsSid": {sid}, "MessageSid": {sid}, "SmsStatus": {"received"},
		"NumMedia": {"0"}, "NumSegments": {"1"}, "ApiVersion": {"2010-04-01"},
		"AccountSid": {accountSID}, "From": {c.number()}, "To": {sender}, "Body": {body},
	})
}

// receipt is a webhook of Twilio's: the text to the customer got there.
func (c customer) receipt(road string, t text) []byte {
	return webhook(road, t.callback, url.Values{
		"AccountSid": {accountSID}, "ApiVersion": {"2010-04-01"}, "From": {sender}, "To": {c.number()},
		"MessageSid": {t.sid}, "SmsSid": {t.sid}, "MessageStatus": {"delivered"}, "SmsStatus": {"delivered"},
		"RawDlrDoneDate": {"2611231200"},
	})
}

func webhook(road, path string, form url.Values) []byte {
	body := form.Encode()
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"+
		"I-Twilio-Idempotency-Token: 1f3e4a2b-6c5d-4e7f-8a9b-0c1d2e3f4a5b\r\nX-Twilio-Signature: %s\r\n%s: %s\r\n"+
		"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		path, publicHost, sign(publicURL+path, form), roadHeader, road, len(body), body)
}

// sign signs as Twilio does.
// https://www.twilio.com/docs/usage/webhooks/webhooks-security
func sign(url string, form url.Values) string {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	mac := hmac.New(sha1.New, []byte(authToken))
	mac.Write([]byte(url))
	for _, name := range names {
		mac.Write([]byte(name))
		mac.Write([]byte(form.Get(name)))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// wrong is a PIN that differs from pin in its last digit.
func wrong(pin string) string {
	last := len(pin) - 1
	return pin[:last] + string('0'+(pin[last]-'0'+1)%10)
}

// messageSID makes a MessageSid of a road's n-th text.
func messageSID(road string, n int) string {
	return fmt.Sprintf("SM%016x%016x", uint64(n)*0x9e3779b97f4a7c15, fold(road)) //nolint:gosec // scattered, as Twilio's are
}

// fold makes a number of a name.
func fold(name string) (sum uint64) {
	for _, b := range []byte(strings.ToLower(name)) {
		sum = sum*1_000_003 + uint64(b)
	}
	return sum
}
