package twiml

import (
	"log/slog"
	"net/url"
)

// A Receipt tells how far a text of ours got: Twilio's status callback
// (twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks).
// Receipts come in any order, more than once, or not at all.
type Receipt struct {
	MessageSid    string // SM or MM and 32 hexadecimal digits
	AccountSid    string
	MessageStatus string // sent, delivered, undelivered, failed …, or one yet unheard of
	ErrorCode     int    // why it is undelivered or failed; 0 for no reason given
	From          string // our sender, or empty: not every callback tells
	To            string // the customer, or empty: not every callback tells

	// MessagingServiceSid is the service that sent it, or empty.
	MessagingServiceSid string

	// RawDlrDoneDate is when the carrier says it was done, as YYMMDDhhmm in
	// the carrier's own time zone; empty, or whatever else the carrier wrote.
	RawDlrDoneDate string
}

// ReadReceipt reads a status callback from a form whose signature is good. It
// fails with a [*FormError] if the form is not of that account, or may have
// been cut otherwise than Twilio did.
func ReadReceipt(form url.Values, account string) (Receipt, error) {
	f := fields{form: form}
	rc := Receipt{
		AccountSid:          f.account(account),
		MessageSid:          f.required("MessageSid", sid("SM", "MM")),
		MessageStatus:       f.required("MessageStatus", status),
		ErrorCode:           f.number("ErrorCode"),
		From:                f.optional("From", addressable),
		To:                  f.optional("To", addressable),
		MessagingServiceSid: f.optional("MessagingServiceSid", sid("MG")),
		RawDlrDoneDate:      f.optional("RawDlrDoneDate", anything),
	}
	if err := f.done(); err != nil {
		return Receipt{}, err
	}
	return rc, nil
}

// LogValue shows what may be logged of rc: not its numbers.
func (rc Receipt) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("message_sid", rc.MessageSid),
		slog.String("message_status", rc.MessageStatus),
		slog.Int("error_code", rc.ErrorCode),
	)
}

// status reports whether s is a word such as partially_delivered.
func status(s string) bool {
	return s != "" && len(s) <= 32 && allOf(s, func(c byte) bool { return isLower(c) || c == '_' })
}
