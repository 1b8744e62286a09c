package twilio

import (
	"context"
	"errors"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// An Account is ours, as Twilio has it. For whoever checks how we are set up:
// nothing that texts depends on it.
type Account struct {
	Name   string // that its owner gave it
	Status string // active, suspended or closed
	Trial  bool   // it texts verified numbers only
	// At is Twilio's clock as it answered, cut to the second; zero if it did
	// not tell.
	At time.Time
}

// Account asks for our account. An API key may be refused it and still text;
// the auth token opens it. What fails is a [*flow.SendError].
//
// https://www.twilio.com/docs/iam/api/account#fetch-an-account-resource
func (c *Client) Account(ctx context.Context) (Account, error) {
	call := c.newCall(ctx)
	defer call.end()
	told, err := call.api().FetchAccount(c.account)
	if err != nil {
		return Account{}, call.failed(err)
	}
	if value(told.Sid) != c.account {
		return Account{}, call.failed(errOther)
	}
	return Account{
		Name: value(told.FriendlyName), Status: value(told.Status), Trial: value(told.Type) == "Trial", At: call.date,
	}, nil
}

var errOther = errors.New("the answer is not about our account")

// A Number is one of our account's, and where Twilio takes its texts.
type Number struct {
	SMS bool // it can text
	// URL is what is called for a text to it, by Method; empty for nothing.
	URL, Method string
	// Application is the SID of a TwiML App that is asked instead of URL;
	// empty for none.
	Application string
}

// Number asks for the account's number e164, and reports whether it has it.
// What fails is a [*flow.SendError].
//
// https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
func (c *Client) Number(ctx context.Context, e164 string) (Number, bool, error) {
	params := &api.ListIncomingPhoneNumberParams{}
	params.SetPhoneNumber(e164) // a pattern: longer numbers match too
	params.SetPageSize(pageSize)
	call := c.newCall(ctx)
	defer call.end()
	page, err := call.api().PageIncomingPhoneNumber(params, "", "")
	if err != nil {
		return Number{}, false, call.failed(err)
	}
	for _, n := range page.IncomingPhoneNumbers {
		if value(n.PhoneNumber) == e164 {
			return Number{
				SMS: n.Capabilities != nil && n.Capabilities.Sms,
				URL: value(n.SmsUrl), Method: value(n.SmsMethod), Application: value(n.SmsApplicationSid),
			}, true, nil
		}
	}
	return Number{}, false, nil
}
