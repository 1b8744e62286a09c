package twilio

import (
	"net/http"

	"github.com/countersign/countersign/flow"
)

// classes sorts the error codes that a text can meet, whether its POST was
// refused with them or a receipt brings them. Beside each stands what its page
// says, at https://www.twilio.com/docs/api/errors/{code}. Twilio's texts
// change, its codes rarely: nothing branches on a text.
var classes = map[int]flow.Class{
	// The account, whoever is texted.
	10001:  flow.ClassConfig,  // account is not active
	20003:  flow.ClassConfig,  // authentication failed, or the account is suspended
	20005:  flow.ClassConfig,  // account is not active
	20008:  flow.ClassConfig,  // not with test credentials
	20403:  flow.ClassConfig,  // the account lacks access
	30002:  flow.ClassConfig,  // account suspended between the queue and the carrier
	21408:  flow.ClassCountry, // the destination's country is not enabled
	20429:  flow.ClassRetry,   // too many concurrent requests; this one was not processed
	21608:  flow.ClassNumber,  // trial account, and this recipient is not verified
	572005: flow.ClassNumber,  // the same: the recipient's verification is incomplete

	// The sender.
	21212: flow.ClassConfig, // invalid From
	21603: flow.ClassConfig, // From is missing, and so is a Messaging Service
	21606: flow.ClassConfig, // From is not ours, or cannot text
	21609: flow.ClassConfig, // invalid StatusCallback: PUBLIC_URL cannot be called
	21611: flow.ClassRetry,  // From has its ten hours of texts in the queue
	21659: flow.ClassConfig, // From is not a Twilio number, or a foreign short code
	21660: flow.ClassConfig, // From is another account's
	21661: flow.ClassConfig, // From cannot text
	21701: flow.ClassConfig, // the Messaging Service does not exist
	21703: flow.ClassConfig, // the Messaging Service has no number
	21705: flow.ClassConfig, // the Messaging Service's SID is malformed
	30001: flow.ClassRetry,  // queue overflow: not sent
	30022: flow.ClassRetry,  // US A2P 10DLC: rate limit exceeded
	30023: flow.ClassConfig, // US A2P 10DLC: daily cap reached; resumes at midnight, Pacific
	30032: flow.ClassConfig, // toll-free number not verified
	30034: flow.ClassConfig, // US A2P 10DLC: number not registered

	// The number texted.
	21211: flow.ClassNumber,   // invalid To
	21610: flow.ClassOptedOut, // To opted out of this sender
	21612: flow.ClassNumber,   // To cannot be reached from From
	21614: flow.ClassNumber,   // To is not a mobile number
	21635: flow.ClassNumber,   // To is a landline
	30004: flow.ClassNumber,   // blocked by the recipient or the carrier
	30005: flow.ClassNumber,   // unknown or inactive handset
	30006: flow.ClassNumber,   // landline or unreachable carrier; not to be retried

	// The way there. The number may be good and the customer standing by: they
	// may ask again, and we do not by ourselves.
	30003: flow.ClassCarrier, // unreachable handset: off, or out of coverage
	30007: flow.ClassCarrier, // filtered by Twilio or the carrier
	30008: flow.ClassCarrier, // unknown error
	30410: flow.ClassCarrier, // provider timeout; not retried lest it arrive twice
	30036: flow.ClassExpired, // waited longer than its ValidityPeriod

	// Twilio suspects SMS pumping and has closed the number's range for a
	// while. 30451 and 30452 are unseen on texts, and treated as their
	// neighbours.
	30450: flow.ClassFraud, // for 15 to 30 minutes
	30451: flow.ClassFraud,
	30452: flow.ClassFraud,
	30453: flow.ClassFraud, // for a few hours

	// Nonsense that only we can have made.
	20001: flow.ClassBug, // unknown parameter, or one out of range
	20404: flow.ClassBug, // no such account, path or host
	21266: flow.ClassBug, // To is From
	21602: flow.ClassBug, // Body is missing
	21604: flow.ClassBug, // To is missing
	21605: flow.ClassBug, // Body is over 1600 characters; superseded
	21617: flow.ClassBug, // Body is over 1600 characters
}

// Class sorts a receipt's error code. A code that is not known says only that
// the text did not get there; 0 is no error.
func (*Client) Class(code int) flow.Class {
	if code == 0 {
		return flow.ClassNone
	}
	if class, ok := classes[code]; ok {
		return class
	}
	return flow.ClassCarrier
}

// refusal sorts an answer to a request that was not a success, by its HTTP
// status and the code in its body, 0 if it had none that could be read.
func refusal(status, code int) flow.Class {
	class, known := classes[code]
	switch {
	case status == http.StatusTooManyRequests:
		return flow.ClassRetry // "never processed, always safe to retry"
	case status >= 500, status == http.StatusRequestTimeout:
		return flow.ClassUnknown // it may have failed after it took the text
	case status < 400:
		return flow.ClassUnknown // sent elsewhere, by something in between
	case known:
		return class
	}
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden,
		http.StatusProxyAuthRequired:
		return flow.ClassConfig
	default:
		// Refused, so not processed, and the same request would be refused
		// again: somebody has to look.
		return flow.ClassBug
	}
}
