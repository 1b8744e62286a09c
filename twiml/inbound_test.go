package twiml_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/twilio/twilio-go/client"

	"github.com/countersign/countersign/twiml"
)

const (
	account   = "AC0123456789abcdef0123456789abcdef"
	stranger  = "ACffffffffffffffffffffffffffffffff"
	sid       = "SM0123456789abcdef0123456789abcdef"
	forgedSid = "SMffffffffffffffffffffffffffffffff"
	customer  = "+14017122661"
	victim    = "+14155550199"
	shop      = "+15558675310"
	service   = "MG0123456789abcdef0123456789abcdef"
)

func TestReadInbound(t *testing.T) {
	form := with(sms(), "MessagingServiceSid", service, "NumMedia", "2", "OptOutType", "HELP", "NewlyInvented", "1")
	got, err := twiml.ReadInbound(form, account)
	if err != nil {
		t.Fatal(err)
	}
	want := twiml.Inbound{
		MessageSid: sid, AccountSid: account,
		From: customer, FromKind: twiml.E164, To: shop, MessagingServiceSid: service,
		Body: "Confirm 482913 & thanks ñ", NumMedia: 2, OptOutType: "HELP",
	}
	if got != want {
		t.Errorf("ReadInbound = %+v, want %+v", got, want)
	}
}

func TestReadInboundTakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		form url.Values
	}{
		{"what Twilio sends at the least", url.Values{"AccountSid": {account}, "MessageSid": {sid}, "From": {customer}, "To": {shop}, "Body": {""}}},
		{"a picture message", with(sms(), "MessageSid", "MM"+sid[2:], "MediaUrl0", "https://api.twilio.com/x", "MediaContentType0", "image/png")},
		{"a sid in capitals", with(sms(), "MessageSid", "SM0123456789ABCDEF0123456789ABCDEF")},
		{"no place in FromCity", with(sms(), "FromCity", "", "FromState", "", "FromZip", "")},
		{"a city that begins with To", with(sms(), "ToCity", "Toledo")},
		{"a place in a parameter to come", with(sms(), "FromTimeZone", "PST")},
		{"fields that are empty", with(sms(), "MessagingServiceSid", "", "OptOutType", "", "NumMedia", "")},
		{"a text that names our fields", with(sms(), "Body", "From here To there, MessageSid AccountSid OptOutTypeSTOP")},
		{"a text of every sort of character", with(sms(), "Body", "\x00\xff\r\n\u2028👍")},
		{"a parameter we do not read, twice", with2(sms(), "MessagingBindings", "1", "2")},
		{"a text cut short before a word, as nobody can tell", with(texted("482913 "), "Do", " not")},
		{"the sender twice on WhatsApp", with(sms(), "From", "whatsapp:"+customer, "WaId", customer[1:])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := twiml.ReadInbound(tt.form, account); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadInboundRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		form    url.Values
		field   string
		problem twiml.Problem
	}{
		{"no AccountSid", without(sms(), "AccountSid"), "AccountSid", twiml.Missing},
		{"no MessageSid", without(sms(), "MessageSid"), "MessageSid", twiml.Missing},
		{"no From", without(sms(), "From"), "From", twiml.Missing},
		{"no To", without(sms(), "To"), "To", twiml.Missing},
		{"no Body", without(sms(), "Body"), "Body", twiml.Missing},
		{"nothing", url.Values{}, "AccountSid", twiml.Missing},
		{"no form", nil, "AccountSid", twiml.Missing},

		{"AccountSid twice", with2(sms(), "AccountSid", account, account), "AccountSid", twiml.Repeated},
		{"MessageSid twice", with2(sms(), "MessageSid", sid, forgedSid), "MessageSid", twiml.Repeated},
		{"From twice", with2(sms(), "From", customer, victim), "From", twiml.Repeated},
		{"the same From twice", with2(sms(), "From", customer, customer), "From", twiml.Repeated},
		{"To twice", with2(sms(), "To", shop, shop), "To", twiml.Repeated},
		{"Body twice", with2(sms(), "Body", "482913", "482914"), "Body", twiml.Repeated},
		{"OptOutType twice", with2(sms(), "OptOutType", "START", "STOP"), "OptOutType", twiml.Repeated},
		{"MessagingServiceSid twice", with2(sms(), "MessagingServiceSid", service, service), "MessagingServiceSid", twiml.Repeated},
		{"NumMedia twice", with2(sms(), "NumMedia", "0", "1"), "NumMedia", twiml.Repeated},

		{"another account", with(sms(), "AccountSid", stranger), "AccountSid", twiml.Foreign},
		{"an empty account", with(sms(), "AccountSid", ""), "AccountSid", twiml.Foreign},
		{"our account and more", with(sms(), "AccountSid", account+"0"), "AccountSid", twiml.Foreign},
		{"our account in capitals", with(sms(), "AccountSid", strings.ToUpper(account)), "AccountSid", twiml.Foreign},

		{"an empty sid", with(sms(), "MessageSid", ""), "MessageSid", twiml.Malformed},
		{"the sid of a call", with(sms(), "MessageSid", "CA"+sid[2:]), "MessageSid", twiml.Malformed},
		{"a sid's prefix in small letters", with(sms(), "MessageSid", "sm"+sid[2:]), "MessageSid", twiml.Malformed},
		{"a sid too short", with(sms(), "MessageSid", sid[:33]), "MessageSid", twiml.Malformed},
		{"a sid too long", with(sms(), "MessageSid", sid+"0"), "MessageSid", twiml.Malformed},
		{"a sid with a line end", with(sms(), "MessageSid", sid[:33]+"\n"), "MessageSid", twiml.Malformed},
		{"a sid that is not hexadecimal", with(sms(), "MessageSid", sid[:33]+"g"), "MessageSid", twiml.Malformed},
		{"a service's sid of another sort", with(sms(), "MessagingServiceSid", sid), "MessagingServiceSid", twiml.Malformed},
		{"an empty From", with(sms(), "From", ""), "From", twiml.Malformed},
		{"a From of words", with(sms(), "From", "+1 401 712 2661"), "From", twiml.Malformed},
		{"an empty To", with(sms(), "To", ""), "To", twiml.Malformed},
		{"a To that is a name", with(sms(), "To", "ACME"), "To", twiml.Malformed},
		{"a negative count", with(sms(), "NumMedia", "-1"), "NumMedia", twiml.Malformed},
		{"a count with a plus", with(sms(), "NumMedia", "+1"), "NumMedia", twiml.Malformed},
		{"a count out of reach", with(sms(), "NumMedia", "99999999999999999999"), "NumMedia", twiml.Malformed},
		{"an opt-out in small letters", with(sms(), "OptOutType", "stop"), "OptOutType", twiml.Malformed},

		{"a name of no letters", with(sms(), "", "1"), "", twiml.Malformed},
		{"a name in small letters", with(sms(), "from", customer), "", twiml.Malformed},
		{"a name with a space", with(sms(), "Do not", ""), "", twiml.Malformed},
		{"a name not in ASCII", with(sms(), "Ñame", ""), "", twiml.Malformed},
		{"a name of digits", with(sms(), "123456", ""), "", twiml.Malformed},
		{"a name with digits within", with(sms(), "Media0Url", ""), "", twiml.Malformed},
		{"a name that may be From and a sender", with(sms(), "FromACME", ""), "From", twiml.Ambiguous},
		{"a name that may be From and a short code", with(sms(), "From24273", ""), "From", twiml.Ambiguous},
		{"a name that ends like From", with(sms(), "ForwardedFrom", customer), "From", twiml.Ambiguous},
		{"a value that may be From", with(sms(), "FromCity", "From"+customer), "From", twiml.Ambiguous},
		{"a value that may be MessageSid", with(sms(), "ToZip", "1MessageSid"+sid), "MessageSid", twiml.Ambiguous},
		{"a value that may be AccountSid", with(sms(), "ToZip", "1AccountSid"+account), "AccountSid", twiml.Ambiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, err := twiml.ReadInbound(tt.form, account)
			refused(t, err, tt.field, tt.problem)
			if in != (twiml.Inbound{}) {
				t.Errorf("refused, yet read: %+v", in)
			}
		})
	}
}

func TestReadInboundRefusesAllIfNoAccountIsOurs(t *testing.T) {
	_, err := twiml.ReadInbound(with(sms(), "AccountSid", ""), "")
	refused(t, err, "AccountSid", twiml.Foreign)
}

// refused fails t unless err is that FormError and tells nothing else.
func refused(t *testing.T, err error, field string, problem twiml.Problem) {
	t.Helper()
	var got *twiml.FormError
	if !errors.As(err, &got) {
		t.Fatalf("error is %v, want a FormError", err)
	}
	if want := (twiml.FormError{Field: field, Problem: problem}); *got != want {
		t.Errorf("refused for %+v, want %+v", *got, want)
	}
	if strings.ContainsAny(got.Error(), "0123456789") {
		t.Errorf("the error holds a value: %v", got)
	}
}

func without(form url.Values, name string) url.Values {
	form = maps.Clone(form)
	form.Del(name)
	return form
}

// Text before and after Body and From as Twilio signs it, for [parts].
const (
	head = "AccountSid=" + account + "|ApiVersion=2010-04-01|"
	tail = "|FromCity=SAN FRANCISCO|FromZip=94103|" + ids + "|To=" + shop + "|ToZip=94965"
	ids  = "MessageSid=" + sid + "|NumMedia=0|NumSegments=1|SmsMessageSid=" + sid + "|SmsStatus=received"
)

// parts makes a form of names and values written as a=1|b=2, unencoded.
func parts(s string) url.Values {
	form := url.Values{}
	for part := range strings.SplitSeq(s, "|") {
		name, value, _ := strings.Cut(part, "=")
		form.Add(name, value)
	}
	return form
}

// texted is what Twilio sends when customer texts that.
func texted(text string) url.Values {
	return parts(head + "Body=" + text + "|From=" + customer + tail)
}

// whole returns s as it is signed, without what shows where it was cut.
func whole(s string) string { return strings.NewReplacer("|", "", "=", "").Replace(s) }

// Where one name ends and the next begins is not signed. Each of these moves
// such a boundary, and passes twilio-go and us; reading must refuse it.
func TestMovedBoundaries(t *testing.T) {
	for _, tt := range []struct {
		name    string
		signed  url.Values // by Twilio
		posted  url.Values // by someone who saw the signature
		field   string
		problem twiml.Problem
	}{
		{"From, and all after it, moved into the text and a name", texted("482913"),
			parts(head + "Body=482913F|rom" + customer + whole(tail)),
			"MessageSid", twiml.Missing},
		{"From moved into the text", texted("482913"),
			parts(head + "Body=482913From" + customer + tail),
			"From", twiml.Missing},
		{"all to MessageSid moved into From", texted("482913"),
			parts(head + "Body=482913|From=" + customer + "FromCitySAN FRANCISCOFromZip94103|" + ids + "|To=" + shop + "|ToZip=94965"),
			"From", twiml.Malformed},
		{"MessageSid moved into a zip code", texted("482913"),
			parts(head + "Body=482913|From=" + customer + "|FromCity=SAN FRANCISCO|FromZip=94103MessageSid" + sid + "NumMedia0NumSegments1Sms|MessageSid=" + sid + "|SmsStatus=received|To=" + shop + "|ToZip=94965"),
			"MessageSid", twiml.Ambiguous},
		{"a sender texted, the true one in a parameter made up for it", texted("482913From" + victim + "FromA"),
			parts(head + "Body=482913|From=" + victim + "|FromA=From" + customer + tail),
			"From", twiml.Ambiguous},
		{"a sender texted, the true one in a parameter that could be", texted("482913From" + victim + "FromAge"),
			parts(head + "Body=482913|From=" + victim + "|FromAge=From" + customer + tail),
			"From", twiml.Ambiguous},
		{"a sender texted, the true one in Twilio's own FromCity", texted("482913From" + victim + "FromCity"),
			parts(head + "Body=482913|From=" + victim + "|FromCity=From" + customer + "FromCitySAN FRANCISCO|FromZip=94103|" + ids + "|To=" + shop + "|ToZip=94965"),
			"From", twiml.Ambiguous},
		{"a sender texted, the true one a name", texted("482913From" + victim),
			parts(head + "Body=482913|From=" + victim + "|From" + customer + "=" + tail),
			"", twiml.Malformed},
		{"a sender texted, the true one's name the end of another", texted("482913From" + victim + "FromAge"),
			parts(head + "Body=482913|From=" + victim + "|FromAgeFrom=" + customer + tail),
			"From", twiml.Ambiguous},
		{"a whole text texted, the true one in a parameter made up for it", texted("482913From" + victim + "MessageSid" + forgedSid + "To" + shop + "Z"),
			parts(head + "Body=482913|From=" + victim + "|MessageSid=" + forgedSid + "|To=" + shop + "|Z=From" + customer + whole(tail)),
			"MessageSid", twiml.Ambiguous},
		{"a whole text texted, the true one's From broken in two", texted("482913From" + victim + "MessageSid" + forgedSid + "To" + shop + "Z"),
			parts(head + "Body=482913|From=" + victim + "|MessageSid=" + forgedSid + "|To=" + shop + "|Z=Fr|om" + customer + whole(tail)),
			"", twiml.Malformed},
		{"an opt-out moved into the number of segments", with(texted("STOP"), "OptOutType", "STOP"),
			with(texted("STOP"), "NumSegments", "1OptOutTypeSTOP"),
			"OptOutType", twiml.Ambiguous},
		{"an opt-out moved into a name", with(texted("STOP"), "OptOutType", "STOP"),
			without(with(texted("STOP"), "NumSegments1OptOutType", "STOP"), "NumSegments"),
			"", twiml.Malformed},
		{"an opt-out made a name, with all that it says", with(texted("STOP"), "OptOutType", "STOP"),
			with(texted("STOP"), "OptOutTypeSTOP", ""),
			"OptOutType", twiml.Ambiguous},
		{"an opt-out's name broken in two", with(texted("STOP"), "OptOutType", "STOP"),
			with(texted("STOP"), "NumSegments", "1Opt", "OutTypeSTOP", ""),
			"OptOutType", twiml.Ambiguous},
		{"half of the text moved into a name", texted("482913 Do not"),
			with(texted("482913 "), "Do not", ""),
			"", twiml.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signature := twiml.Sign(token, smsURL, tt.signed)
			if err := verifier(t, token).Form(signature, smsURL, tt.posted); err != nil {
				t.Fatalf("this is not how it was signed: %v", tt.posted)
			}
			other := client.NewRequestValidator(token)
			if !other.ValidateBody(smsURL, []byte(tt.posted.Encode()), signature) {
				t.Fatal("twilio-go is not fooled")
			}
			_, err := twiml.ReadInbound(tt.posted, account)
			refused(t, err, tt.field, tt.problem)
		})
	}
}

// However a text's signed string is cut, what is read of it is who sent what
// to whom; only the text may be shortened. The texter is to know all our names.
func TestNoOtherCutIsRead(t *testing.T) {
	words := []string{
		"482913", " ", "A", "Z", "x", "Do not", "Cancel", "Body", "From", "FromA", "FromCity", victim, "ACME", "24273", "MessageSid", forgedSid,
		"Sms", "SmsSid", "To", "+15550000000", "OptOutType", "STOP", "NumMedia", "NumSegments", "1", "Message", "Opt", "Fr",
	}
	required := []string{"AccountSid", "Body", "From", "MessageSid", "To"}
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same cuts in every run

	fooled, read := 0, 0
	for range 60_000 {
		var text strings.Builder
		for range rng.IntN(12) {
			text.WriteString(words[rng.IntN(len(words))])
		}
		if rng.IntN(2) == 0 { // the attack, in case chance does not find it
			text.WriteString("From" + victim + words[rng.IntN(len(words))])
		}
		signed := texted(text.String())
		if rng.IntN(2) == 0 {
			signed.Set("OptOutType", "STOP")
		}
		want, err := twiml.ReadInbound(signed, account)
		if err != nil {
			t.Fatal(err)
		}
		posted, ok := recut(rng, signedString(signed), required)
		if !ok || maps.EqualFunc(posted, signed, slices.Equal) {
			continue
		}
		if twiml.KindOf(posted.Get("From")) == twiml.E164 && posted.Get("From") != want.From {
			fooled++ // whoever looks at From and the signature alone
		}
		got, err := twiml.ReadInbound(posted, account)
		if err != nil || got.FromKind != twiml.E164 {
			continue
		}
		read++
		if !strings.Contains(want.Body, got.Body) {
			t.Errorf("of the text %q is read %q", want.Body, got.Body)
		}
		got.Body = want.Body
		if got != want {
			t.Errorf("%q\ncut as %q\nis read as %+v", signedString(signed), posted, got)
		}
	}
	if fooled < 100 || read < 10 {
		t.Errorf("the cuts are too wild to prove anything: %d would fool, %d were read", fooled, read)
	}
}

// signedString is what is signed of form, if no name repeats.
func signedString(form url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		b.WriteString(name + form.Get(name))
	}
	return b.String()
}

// recut cuts what is signed into another form that is signed the same and has
// the required names, which are sorted. It gives up where chance leads nowhere.
func recut(rng *rand.Rand, signed string, required []string) (url.Values, bool) {
	form := url.Values{}
	last := ""
	for i, name := range required {
		if !strings.HasPrefix(signed, name) || name <= last {
			return nil, false
		}
		end, next := len(signed), "~"
		if i+1 < len(required) {
			next = required[i+1]
			if end = choose(rng, signed, func(rest string) bool { return strings.HasPrefix(rest, next) }); end < 0 {
				return nil, false
			}
		}
		part := signed[:end]
		signed = signed[end:]
		// The part is the required field, and names and values yet to be cut.
		for cut := len(name); ; {
			start := choose(rng, part[cut:], func(rest string) bool {
				return rest > name && rest < next && (begins(rest) || rng.IntN(30) == 0)
			})
			if start < 0 || rng.IntN(10) == 0 {
				form.Set(name, part[cut:])
				last = name
				break
			}
			form.Set(name, part[cut:cut+start])
			part = part[cut+start:]
			last = name
			cut = nameEnd(rng, part)
			if name = part[:cut]; name <= last {
				return nil, false
			}
		}
	}
	return form, true
}

var twilioNames = slices.Sorted(maps.Keys(texted("")))

// nameEnd returns how long a name at the start of s may be: as long as one of
// Twilio's, mostly.
func nameEnd(rng *rand.Rand, s string) int {
	if rng.IntN(8) > 0 {
		for _, name := range slices.Backward(twilioNames) { // FromZip before From
			if strings.HasPrefix(s, name) {
				return len(name)
			}
		}
	}
	if end := choose(rng, s[1:], begins); end >= 0 {
		return end + 1
	}
	return len(s)
}

// choose returns one of the places in s whose rest is good, or -1. Near ones
// are likelier, so that a form is cut into many parts, as forms are.
func choose(rng *rand.Rand, s string, good func(rest string) bool) int {
	place := -1
	for i := range s {
		if good(s[i:]) {
			if place = i; rng.IntN(5) > 0 {
				break
			}
		}
	}
	return place
}

// begins reports whether s begins as values and names do: with a word, a
// number, an id.
func begins(s string) bool {
	capital := s[0] >= 'A' && s[0] <= 'Z'
	return s[0] == '+' || capital && (len(s) == 1 || s[1] >= 'a') ||
		strings.HasPrefix(s, "SM0") || strings.HasPrefix(s, "SMf") || strings.HasPrefix(s, "AC0")
}

func TestInboundDoesNotLogWhatItSays(t *testing.T) {
	in, err := twiml.ReadInbound(sms(), account)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "in", in)
	for _, secret := range []string{"482913", customer[1:], shop[1:]} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %s: %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), sid) {
		t.Errorf("the log does not tell which text: %s", &log)
	}
}

// Whatever is posted, nothing panics, nothing verifies without the token, and
// what is read is well-formed.
func FuzzForm(f *testing.F) {
	f.Add(smsBody, "yBM3PvI825926Pm3BYQ6w2MLieQ=")
	f.Add("a=1;b=2", "")
	f.Add("a=%zz&&=&a=1&a=2", "====")
	f.Add("AccountSid="+account+"&Body=&From=24273&MessageSid="+sid+"&MessageStatus=sent&To=24273", twiml.Sign("guess", smsURL, nil))
	const secret = "f00dfeedf00dfeedf00dfeedf00dfeed"
	v := verifier(f, secret)
	f.Fuzz(func(t *testing.T, body, signature string) {
		form, err := twiml.ParseForm(post(urlencoded, strings.NewReader(body)), twiml.MaxForm)
		if err != nil {
			return
		}
		if v.Form(signature, smsURL, form) == nil || v.Body(signature, smsURL, []byte(body)) == nil {
			t.Fatalf("%q verifies %q", signature, body)
		}
		good := twiml.Sign(secret, smsURL, form)
		if err := v.Form(good, smsURL, form); err != nil {
			t.Fatalf("what we sign does not verify: %q", body)
		}
		if in, err := twiml.ReadInbound(form, account); err == nil {
			if in.AccountSid != account || in.FromKind == twiml.Unknown || len(in.MessageSid) != 34 {
				t.Errorf("%q is read as %+v", body, in)
			}
		}
		if rc, err := twiml.ReadReceipt(form, account); err == nil {
			if rc.AccountSid != account || rc.MessageStatus == "" || len(rc.MessageSid) != 34 {
				t.Errorf("%q is read as %+v", body, rc)
			}
		}
	})
}

func BenchmarkReadInbound(b *testing.B) {
	form := sms()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := twiml.ReadInbound(form, account); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole webhook: parsed, verified, read and answered.
func BenchmarkWebhook(b *testing.B) {
	v := verifier(b, token)
	signature := twiml.Sign(token, smsURL, sms())
	var answer bytes.Buffer
	body := strings.NewReader(smsBody)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, smsURL, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", urlencoded)
	r.Body = readCloser{body}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(smsBody)
		form, err := twiml.ParseForm(r, twiml.MaxForm)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Form(signature, smsURL, form); err != nil {
			b.Fatal(err)
		}
		if _, err := twiml.ReadInbound(form, account); err != nil {
			b.Fatal(err)
		}
		answer.Reset()
		if err := twiml.Reply(&answer, "Thank you! Order 118 is confirmed."); err != nil {
			b.Fatal(err)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		address string
		want    twiml.Kind
	}{
		{"+14155550100", twiml.E164},
		{"+4670123456", twiml.E164},
		{"+2901234", twiml.E164}, // Saint Helena has the shortest
		{"+123456789012345", twiml.E164},
		{"+1234567890123456", twiml.Unknown},
		{"+123456", twiml.Unknown},
		{"+04155550100", twiml.Unknown},
		{"+1415555o100", twiml.Unknown},
		{"+1 415 555 0100", twiml.Unknown},
		{"++14155550100", twiml.Unknown},
		{"+14155550100\n", twiml.Unknown},
		{"+１４１５５５５０１００", twiml.Unknown},
		{"+", twiml.Unknown},
		{"24273", twiml.ShortCode},
		{"112", twiml.ShortCode},
		{"12345678", twiml.ShortCode},
		{"12", twiml.Unknown},
		{"4155550100", twiml.National},
		{"004614155550100", twiml.National},
		{"0046141555501000", twiml.Unknown},
		{"ACME", twiml.Alphanumeric},
		{"7-Eleven", twiml.Alphanumeric},
		{"Ben & Jerry", twiml.Alphanumeric},
		{"anonymous", twiml.Alphanumeric},
		{"Ben and Jerry", twiml.Unknown},
		{"A<b>", twiml.Unknown},
		{"Ñandú", twiml.Unknown},
		{"--", twiml.Unknown},
		{" ", twiml.Unknown},
		{"", twiml.Unknown},
		{"whatsapp:+14155550100", twiml.Channel},
		{"rcs:brand_agent", twiml.Channel},
		{"messenger:108", twiml.Channel},
		{"whatsapp:", twiml.Unknown},
		{":+14155550100", twiml.Unknown},
		{"WhatsApp:+14155550100", twiml.Unknown},
		{"whatsapp:+1 415", twiml.Unknown},
	} {
		if got := twiml.KindOf(tt.address); got != tt.want {
			t.Errorf("KindOf(%q) = %v, want %v", tt.address, got, tt.want)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := twiml.Unknown; k <= twiml.Channel; k++ {
		if name := fmt.Sprint(k); seen[name] || name == "" {
			t.Errorf("kind %d is called %q, as another is", int(k), name)
		} else {
			seen[name] = true
		}
	}
}
