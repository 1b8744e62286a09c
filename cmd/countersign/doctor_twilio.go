package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/twilio"
)

// nobody is a number of Twilio's own, for tests, that is nobody's: no text to
// it is ever found.
const nobody = "+15005550006"

// twilioConfig is what serve texts with.
func (d *doctor) twilioConfig() twilio.Config {
	c := twilio.Config{
		AccountSID: d.TwilioAccountSID, APIKey: d.TwilioAPIKey, APISecret: d.TwilioAPISecret,
		From: d.from(), MessagingServiceSID: d.TwilioMessagingServiceSID,
	}
	if d.apiURL != nil {
		c.APIURL = d.apiURL.String()
	}
	if len(d.authTokens) > 0 {
		c.AuthToken = d.authTokens[0]
	}
	return c
}

// client returns one that opens the account with a token, or with the API key
// if token is empty. It is not for texting.
func (d *doctor) client(token string) (*twilio.Client, error) {
	switch {
	case d.apiURL == nil:
		return nil, errors.New("TWILIO_API_URL is not set right")
	case len(d.authTokens) == 0:
		return nil, errors.New("TWILIO_AUTH_TOKEN is not set")
	}
	c := d.twilioConfig()
	c.From, c.MessagingServiceSID = nobody, ""
	if token != "" {
		c.AuthToken, c.APIKey, c.APISecret = token, "", ""
	}
	return twilio.New(c)
}

// lookAtAccount asks Twilio for the account with each of the tokens, since
// webhooks are signed by whichever is the primary one.
func (d *doctor) lookAtAccount(ctx context.Context) []finding {
	if len(d.authTokens) == 0 {
		return unseen("TWILIO_AUTH_TOKEN is not set")
	}
	var found []finding
	for i, token := range d.authTokens {
		client, err := d.client(token)
		if err != nil {
			found = append(found, unseen(because(err))...)
			continue
		}
		asked := d.now()
		account, err := client.Account(ctx)
		answered := d.now()
		switch {
		case err != nil && i > 0:
			seen, _ := refusal(err, "")
			found = append(found, warning(fmt.Sprintf("auth token %d: %s", i+1, seen),
				"leave it out of TWILIO_AUTH_TOKEN when the rotation is over"))
		case err != nil:
			found = append(found, problem(refusal(err,
				"copy TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN anew from Twilio's console; was the token rotated?")))
		case i > 0:
			found = append(found, fine(fmt.Sprintf("auth token %d opens it too", i+1)))
		default:
			d.account = account
			// Twilio cut off a part of a second; half of one is the best guess.
			d.clockOff = asked.Add(answered.Sub(asked) / 2).Sub(account.At.Add(time.Second / 2))
			found = append(found, standing(account))
		}
	}
	return found
}

// standing judges an account that the credentials open.
func standing(a twilio.Account) finding {
	name := fmt.Sprintf("%q", a.Name)
	switch {
	case a.Status != "active":
		return problem(fmt.Sprintf("%s is %s: Twilio takes no text from it", name, cmp.Or(a.Status, "of unknown status")),
			"see Twilio's console, and what it says of payment")
	case a.Trial:
		return warning(name+" is active, but a trial account: it texts only numbers that were verified in the console, any other fails with 21608",
			"upgrade it before customers come")
	}
	return fine(name + " is active")
}

// refusal says why Twilio would not tell, and what to do; wrong is that where
// it is for the credentials.
func refusal(err error, wrong string) (seen, do string) {
	var e *flow.SendError
	if !errors.As(err, &e) {
		return because(err), wrong
	}
	code := ""
	if e.Code != 0 {
		code = fmt.Sprintf(", error %d", e.Code)
	}
	switch {
	case e.Code == 20008:
		return "these are test credentials, which cannot text (error 20008)", "set the live ones, from Twilio's console"
	case e.Class == flow.ClassConfig:
		return fmt.Sprintf("Twilio refuses the credentials (%v%s)", e.Err, code), wrong
	case e.Class == flow.ClassBug:
		return fmt.Sprintf("Twilio's API knows nothing of it (%v%s)", e.Err, code), "look at TWILIO_ACCOUNT_SID and TWILIO_API_URL"
	case e.Class == flow.ClassRetry && e.Code == 0:
		return fmt.Sprintf("Twilio's API cannot be reached (%v)", e.Err), "look at TWILIO_API_URL, and at this machine's DNS, proxy and firewall"
	default:
		return fmt.Sprintf("Twilio's API gives no good answer (%v%s)", e.Err, code), "ask again in a minute; is TWILIO_API_URL right? does status.twilio.com know of it?"
	}
}

// lookAtAPIKey has the key do what the service does with it besides texting:
// look for a text. Most keys may not read the account itself.
func (d *doctor) lookAtAPIKey(ctx context.Context) []finding {
	if d.TwilioAPIKey == "" {
		return nil
	}
	client, err := d.client("")
	if err != nil {
		return unseen(because(err))
	}
	if _, err := client.Find(ctx, flow.Text{To: nobody}, d.now()); err != nil {
		return []finding{problem(refusal(err,
			"is TWILIO_API_SECRET the key's, the key of this account, not revoked, and allowed to read and create messages?"))}
	}
	return []finding{fine("it may list texts")}
}

// hookFragment asks Twilio to try a webhook again where it would give up; see
// https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides.
const hookFragment = "#rc=2&rp=ct,5xx&ct=2000"

// lookAtSender judges whether our number can text, and whether what customers
// reply gets here.
func (d *doctor) lookAtSender(ctx context.Context) []finding {
	switch _, isNumber := flow.E164(d.TwilioFromNumber); {
	case d.publicURL == nil:
		return unseen(errNoURL.Error())
	case d.TwilioMessagingServiceSID != "":
		// Services have an API of their own at another host, which
		// TWILIO_API_URL does not name.
		return []finding{warning(
			"where the Messaging Service sends replies was not checked: it is not told by the API at TWILIO_API_URL, but by messaging.twilio.com",
			"look in Twilio's console, Messaging > Services > this one: Sender Pool must have a number; Integration must say “Send a webhook”, Request URL "+
				d.inboundURL()+hookFragment+", HTTP Post")}
	case !isNumber:
		return unseen("TWILIO_FROM_NUMBER is not set right")
	}
	if len(d.authTokens) == 0 {
		return unseen("TWILIO_AUTH_TOKEN is not set")
	}
	client, err := d.client(d.authTokens[0])
	switch {
	case err != nil:
		return unseen(because(err))
	case d.account == twilio.Account{}:
		return unseen("the account could not be opened")
	}
	number, ours, err := client.Number(ctx, d.TwilioFromNumber)
	switch {
	case err != nil:
		return []finding{problem(refusal(err, "may these credentials read the account's phone numbers?"))}
	case !ours:
		return []finding{problem("the account has no number "+d.TwilioFromNumber,
			"set TWILIO_FROM_NUMBER to one of its numbers, or the credentials to those of the account that has it")}
	case !number.SMS:
		return []finding{problem(d.TwilioFromNumber+" cannot text", "buy one that can, and set TWILIO_FROM_NUMBER to it"), d.inbound(number)}
	}
	return []finding{fine(d.TwilioFromNumber + " is the account's, and can text"), d.inbound(number)}
}

// at is the URL of a path of ours.
func (d *doctor) at(path string) *url.URL {
	return &url.URL{Scheme: d.publicURL.Scheme, Host: d.publicURL.Host, Path: path}
}

func (d *doctor) inboundURL() string { return d.at(inboundPath).String() }

// inbound judges what Twilio calls for a text to our number.
func (d *doctor) inbound(n twilio.Number) finding {
	set := "set the number's “A message comes in” to " + d.inboundURL() + hookFragment + ", HTTP POST"
	if n.Application != "" {
		return problem("replies go to the TwiML App "+n.Application+", whatever the number's own URL",
			"take the app off the number's messaging, then "+set)
	}
	if n.URL == "" {
		return problem("replies go nowhere: the number has no webhook", set)
	}
	got, err := url.Parse(n.URL)
	if err != nil {
		return problem("replies go to a URL that cannot be read", set)
	}
	// The query is signed like the rest of the URL, and does no harm. Userinfo
	// may be a password, a query or fragment of another service a key: neither
	// is shown.
	shown := plainly(got)
	if part := apart(got, d.at(inboundPath)); part != "" {
		return problem(fmt.Sprintf("replies go to %s, which has another %s than %s", shown, part, d.inboundURL()), set)
	}
	if !strings.EqualFold(n.Method, http.MethodPost) {
		return problem(fmt.Sprintf("replies go to %s by %q, which is refused there", shown, n.Method), set)
	}
	if asked, err := url.ParseQuery(got.EscapedFragment()); err != nil || !asked.Has("rc") {
		return warning(fmt.Sprintf("replies go to %s, but where we answer 5xx Twilio gives up at once, and the reply is lost", shown),
			"add "+hookFragment+" to the URL")
	}
	return fine("replies go to " + shown)
}

// plainly is u without what may be secret, or is not signed.
func plainly(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// apart names the first part in which two URLs differ as far as they are
// signed; empty if none.
func apart(got, want *url.URL) string {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	switch {
	case got.Scheme != want.Scheme:
		return "scheme"
	case !strings.EqualFold(got.Hostname(), want.Hostname()):
		return "host"
	case port(got) != port(want):
		return "port"
	case strings.TrimSuffix(got.EscapedPath(), "/") == want.EscapedPath() && got.EscapedPath() != want.EscapedPath():
		return "end, a slash,"
	case got.EscapedPath() != want.EscapedPath():
		return "path"
	}
	return ""
}

// tolerable is how far off the clock may be. PINs and orders expire by it, and
// where several machines serve, so do their claims on a text.
const tolerable = 30 * time.Second

// lookAtClock compares our clock with Twilio's.
func (d *doctor) lookAtClock(context.Context) []finding {
	if d.account.At.IsZero() {
		return unseen("Twilio did not tell the time")
	}
	off := d.clockOff.Round(time.Second)
	if off.Abs() <= tolerable {
		return []finding{fine(fmt.Sprintf("within %v of Twilio's", max(off.Abs(), time.Second)))}
	}
	how := "ahead of"
	if off < 0 {
		how = "behind"
	}
	return []finding{warning(fmt.Sprintf("%v %s Twilio's", off.Abs(), how),
		"have this machine keep time (NTP): PINs, orders and the day's limits go by it")}
}
