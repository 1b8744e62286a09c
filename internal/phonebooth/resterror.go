package phonebooth

import (
	"encoding/xml"
	"fmt"
	"net/http"
)

// A restError is a refusal of the REST API, as Twilio words it. The words
// change over there; only the code is a promise.
type restError struct {
	XMLName  xml.Name `json:"-" xml:"RestException"`
	Code     int      `json:"code" xml:"Code"`
	Message  string   `json:"message" xml:"Message"`
	MoreInfo string   `json:"more_info" xml:"MoreInfo"`
	Status   int      `json:"status" xml:"Status"`
}

// refuse is the error of code, in Twilio's words; args fill them in.
func refuse(code int, args ...any) *restError {
	status, ok := codeStatus[code]
	if !ok {
		status = http.StatusBadRequest
	}
	message := fmt.Sprintf("Error %d", code)
	if words, ok := refusals[code]; ok {
		message = words
		if len(args) > 0 {
			message = fmt.Sprintf(words, args...)
		}
	}
	return &restError{
		Code: code, Message: message, Status: status,
		MoreInfo: fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code),
	}
}

// codeStatus has the codes that are not answered with 400.
var codeStatus = map[int]int{
	20003: http.StatusUnauthorized,
	20004: http.StatusMethodNotAllowed,
	20009: http.StatusConflict,
	20403: http.StatusForbidden,
	20404: http.StatusNotFound,
	20429: http.StatusTooManyRequests,
	20500: http.StatusInternalServerError,
	20503: http.StatusServiceUnavailable,
}

// refusals holds the words of what the REST API refuses at once.
var refusals = map[int]string{
	20001: "%s",
	20003: "Authenticate",
	20004: "Method not allowed",
	20009: "Cannot change message because delivery of the message has not been completed.",
	20403: "Forbidden",
	20404: "The requested resource %s was not found",
	20429: "Too Many Requests",
	20500: "Internal Server Error",
	20503: "Service Unavailable",
	21211: "The 'To' number %s is not a valid phone number.",
	21212: "The 'From' number %s is not a valid phone number, shortcode, or alphanumeric sender ID.",
	21266: "'To' and 'From' number cannot be the same: %s",
	21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: %s.",
	21602: "Message body is required.",
	21603: "A 'From' phone number is required.",
	21604: "A 'To' phone number is required.",
	21606: "The From phone number %s is not a valid, SMS-capable inbound phone number or short code for your account.",
	21609: "The 'StatusCallback' URL %s is not a valid URL.",
	21610: "Attempt to send to unsubscribed recipient",
	21611: "This 'From' number %s has exceeded the maximum number of queued messages",
	21612: "The 'To' phone number: %s, is not currently reachable using the 'From' phone number: %s via SMS.",
	21614: "To number: %s, is not a mobile number",
	21617: "The concatenated message body exceeds the 1600 character limit.",
	21701: "The Messaging Service %s does not exist",
	30409: "This message cannot be canceled",
	35114: "Scheduling does not support this timestamp",
}

// late holds the words of what befalls a text after it was taken.
var late = map[int]string{
	21610: "Attempt to send to unsubscribed recipient",
	30001: "Queue overflow",
	30002: "Account suspended",
	30003: "Unreachable destination handset",
	30004: "Message blocked",
	30005: "Unknown destination handset",
	30006: "Landline or unreachable carrier",
	30007: "Message filtered",
	30008: "Unknown error",
	30022: "US A2P 10DLC - Rate Limits Exceeded",
	30023: "US A2P 10DLC - Daily Message Cap Reached",
	30032: "Toll-Free Number Has Not Been Verified",
	30034: "US A2P 10DLC - Message from an Unregistered Number",
	30450: "Message delivery blocked",
	30453: "Message couldn't be delivered",
}
