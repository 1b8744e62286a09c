package metrics

import (
	"net/http"
	"time"
)

// Hook names one of our webhooks.
type Hook string

// The webhooks that Twilio calls.
const (
	HookMessage Hook = "message" // a customer's text
	HookStatus  Hook = "status"  // a receipt
)

var hooks = []Hook{HookMessage, HookStatus}

// Result is what became of a webhook's call.
type Result string

// The results of a webhook's call.
const (
	ResultOK           Result = "ok"
	ResultBadSignature Result = "bad_signature" // not proven to be Twilio's
	ResultMalformed    Result = "malformed"     // signed, but not what Twilio sends
	ResultDuplicate    Result = "duplicate"     // answered before: the same answer again
	ResultError        Result = "error"         // ours
)

var results = []Result{ResultOK, ResultBadSignature, ResultMalformed, ResultDuplicate, ResultError}

// Webhook counts a call of a webhook.
func (m *Metrics) Webhook(hook Hook, result Result) {
	m.webhooks.at(string(hook), string(result)).Inc()
}

// Request times a request. Route is the pattern it matched, never the path
// that was asked for; empty if it matched none.
//
// Its series are made as they come, the only ones that are: most routes never
// answer most codes. Who tries methods at random must make none: what no route
// takes, be it for its path or its method (405), is none's, by whatever method;
// and HEAD is GET, which answers it.
func (m *Metrics) Request(route, method string, code int, took time.Duration) {
	if route == "" || code == http.StatusMethodNotAllowed {
		route, method = "none", "other"
	}
	switch method {
	case http.MethodGet, http.MethodPost:
	case http.MethodHead:
		method = http.MethodGet
	default: // a method can be any word
		method = "other"
	}
	m.requests.WithLabelValues(route, method, class(code)).Observe(seconds(took))
}

// classes are the hundreds of codes, by their first digit.
var classes = [...]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

// class is the code's hundred, such as 2xx.
func class(code int) string {
	if hundred := code / 100; 0 < hundred && hundred < len(classes) {
		return classes[hundred]
	}
	return "other"
}
