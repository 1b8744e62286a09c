package twiml_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/twiml"
)

// callback is a status callback with all that it can hold.
func callback() url.Values {
	return parts("AccountSid=" + account + "|ApiVersion=2010-04-01|ErrorCode=30003|From=" + shop +
		"|MessageSid=" + sid + "|MessageStatus=undelivered|MessagingServiceSid=" + service +
		"|RawDlrDoneDate=2607011200|SmsSid=" + sid + "|SmsStatus=undelivered|To=" + customer)
}

func TestReadReceipt(t *testing.T) {
	got, err := twiml.ReadReceipt(callback(), account)
	if err != nil {
		t.Fatal(err)
	}
	want := twiml.Receipt{
		MessageSid: sid, AccountSid: account, MessageStatus: "undelivered", ErrorCode: 30003,
		From: shop, To: customer, MessagingServiceSid: service, RawDlrDoneDate: "2607011200",
	}
	if got != want {
		t.Errorf("ReadReceipt = %+v, want %+v", got, want)
	}
}

func TestReadReceiptTakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		form url.Values
	}{
		{"what Twilio's manual shows, which has no To", parts("AccountSid=" + account + "|From=" + shop + "|MessageSid=" + sid + "|MessageStatus=sent|SmsSid=" + sid + "|SmsStatus=sent")},
		{"no sender, before one is chosen", with(callback(), "From", "", "MessageStatus", "queued", "ErrorCode", "")},
		{"a sender with a name", with(callback(), "From", "ACME")},
		{"a status of two words", with(callback(), "MessageStatus", "partially_delivered")},
		{"a status yet unheard of", with(callback(), "MessageStatus", "teleported")},
		{"a carrier's odd date", with(callback(), "RawDlrDoneDate", "0000-00-00 ??")},
		{"what channels add", with(callback(), "ChannelPrefix", "whatsapp", "EventType", "READ", "ChannelToAddress", "+1401712XXXX")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := twiml.ReadReceipt(tt.form, account); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadReceiptRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		form    url.Values
		field   string
		problem twiml.Problem
	}{
		{"an inbound text", sms(), "MessageStatus", twiml.Missing},
		{"no MessageSid", without(callback(), "MessageSid"), "MessageSid", twiml.Missing},
		{"no AccountSid", without(callback(), "AccountSid"), "AccountSid", twiml.Missing},
		{"another account", with(callback(), "AccountSid", stranger), "AccountSid", twiml.Foreign},
		{"two statuses", with2(callback(), "MessageStatus", "undelivered", "delivered"), "MessageStatus", twiml.Repeated},
		{"two sids", with2(callback(), "MessageSid", sid, forgedSid), "MessageSid", twiml.Repeated},
		{"two reasons", with2(callback(), "ErrorCode", "30003", "30004"), "ErrorCode", twiml.Repeated},
		{"two addressees", with2(callback(), "To", customer, victim), "To", twiml.Repeated},
		{"an empty status", with(callback(), "MessageStatus", ""), "MessageStatus", twiml.Malformed},
		{"a status in capitals", with(callback(), "MessageStatus", "Delivered"), "MessageStatus", twiml.Malformed},
		{"a status too long to be one", with(callback(), "MessageStatus", strings.Repeat("a", 33)), "MessageStatus", twiml.Malformed},
		{"the sid of a call", with(callback(), "MessageSid", "CA"+sid[2:]), "MessageSid", twiml.Malformed},
		{"a reason in words", with(callback(), "ErrorCode", "unreachable"), "ErrorCode", twiml.Malformed},
		{"a negative reason", with(callback(), "ErrorCode", "-1"), "ErrorCode", twiml.Malformed},
		{"a sender of no kind", with(callback(), "From", "+"), "From", twiml.Malformed},
		{"an addressee of no kind", with(callback(), "To", "+"), "To", twiml.Malformed},

		// As signed, but cut otherwise.
		{"the reason moved into the version", without(with(callback(), "ApiVersion", "2010-04-01ErrorCode30003"), "ErrorCode"), "ErrorCode", twiml.Ambiguous},
		{"the reason made a name", without(with(callback(), "ErrorCode30003", ""), "ErrorCode"), "ErrorCode", twiml.Ambiguous},
		{"the sender moved into the reason", without(with(callback(), "ErrorCode", "30003From"+shop), "From"), "ErrorCode", twiml.Malformed},
		{"the end of the status made a name", with(callback(), "MessageStatus", "un", "delivered", ""), "", twiml.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rc, err := twiml.ReadReceipt(tt.form, account)
			refused(t, err, tt.field, tt.problem)
			if rc != (twiml.Receipt{}) {
				t.Errorf("refused, yet read: %+v", rc)
			}
		})
	}
}

func TestReceiptDoesNotLogNumbers(t *testing.T) {
	rc, err := twiml.ReadReceipt(callback(), account)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("receipt", "rc", rc)
	for _, secret := range []string{customer[1:], shop[1:]} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %s: %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), sid) || !strings.Contains(log.String(), "30003") {
		t.Errorf("the log does not tell what happened: %s", &log)
	}
}
