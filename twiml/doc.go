// Package twiml speaks Twilio's wire: it proves that a webhook comes from
// Twilio, reads what it says, and writes the answer.
//
// A webhook passes three gates, in this order:
//
//   - [ParseForm] reads the request's body, and nothing else, as a form.
//   - [Verifier.Form] checks that Twilio signed that form for our URL.
//   - [ReadInbound] or [ReadReceipt] takes out the fields we act on. It
//     distrusts even a signed form: the signature joins names and values
//     without delimiters, so one signature is good for many forms. What is
//     refused, and what that leaves, is told beside [FormError].
//
// The answer to an inbound text is TwiML: [Reply] for a plain answer or none,
// [Response] for anything longer.
//
// The package keeps no state, reads no clock, and leaves to others what a text
// means, whether its MessageSid was seen before (a signature carries no time,
// so that is the only guard against replay) and which HTTP status tells Twilio
// that a webhook was refused.
//
// It needs nothing but the standard library. Where a rule has a source, it is
// named: SEC is twilio.com/docs/usage/security, TM and TMM are
// twilio.com/docs/messaging/twiml and …/twiml/message, WR is
// twilio.com/docs/messaging/guides/webhook-request.
package twiml
