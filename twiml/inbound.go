package twiml

import (
	"log/slog"
	"net/url"
	"strconv"
)

// IdempotencyHeader tells retries of one webhook apart, Twilio says. It does
// not promise that they share its value, so deduplicate by MessageSid.
const IdempotencyHeader = "I-Twilio-Idempotency-Token"

// An Inbound is a text that someone sent us (WR).
type Inbound struct {
	MessageSid string // SM or MM and 32 hexadecimal digits; the same in every retry
	AccountSid string
	From       string // who sent it, or so the network claims
	FromKind   Kind   // only an E164 From can be a customer
	To         string // the number of ours it was sent to

	// MessagingServiceSid is the service that To belongs to, or empty.
	MessagingServiceSid string

	Body     string // as typed, up to 1600 characters, perhaps none
	NumMedia int    // how many pictures came along

	// OptOutType is STOP, START or HELP where Twilio's Advanced Opt-Out took
	// the text for a keyword and has answered it, else empty (TM).
	OptOutType string

	// IdempotencyToken is for whoever keeps [IdempotencyHeader] for diagnosis.
	// It is no part of the form, so ReadInbound leaves it empty.
	IdempotencyToken string
}

// ReadInbound reads an inbound text from a form whose signature is good. It
// fails with a [*FormError] if the form is not of that account, or may have
// been cut otherwise than Twilio did.
func ReadInbound(form url.Values, account string) (Inbound, error) {
	f := fields{form: form}
	in := Inbound{
		AccountSid:          f.account(account),
		MessageSid:          f.required("MessageSid", sid("SM", "MM")),
		From:                f.required("From", addressable),
		To:                  f.required("To", callable),
		Body:                f.required("Body", anything),
		MessagingServiceSid: f.optional("MessagingServiceSid", sid("MG")),
		NumMedia:            f.number("NumMedia"),
		OptOutType:          f.optional("OptOutType", keyword),
	}
	if err := f.done(); err != nil {
		return Inbound{}, err
	}
	in.FromKind = KindOf(in.From)
	return in, nil
}

// LogValue shows what may be logged of in: neither its numbers nor its body.
func (in Inbound) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("message_sid", in.MessageSid),
		slog.String("from_kind", in.FromKind.String()),
		slog.String("opt_out_type", in.OptOutType),
	)
}

// number reads an optional count or code; without it, it is 0.
func (f *fields) number(name string) int {
	n, _ := strconv.Atoi(f.optional(name, number)) // where that fails, so did number
	return n
}
