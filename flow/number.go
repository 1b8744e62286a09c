package flow

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/unicode/norm"
)

// A Number is a telephone number in E.164, such as +14155550123. It prints
// masked, so that it can be logged by accident and do no harm; [Number.E164]
// is for the wire and the database.
type Number string

// E164 reads a number as Twilio writes it: + and 7 to 15 digits, of which the
// first is not 0. It knows no numbering plan. Twilio's From can also be a short
// code or a name, which are not numbers that we could text.
func E164(s string) (Number, bool) {
	digits, ok := strings.CutPrefix(s, "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return "", false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return "", false
		}
	}
	return Number(s), true
}

// E164 returns the whole number.
func (n Number) E164() string { return string(n) }

// Masked shows enough for its owner to know it: +1••••••••23.
func (n Number) Masked() string {
	if _, ok := E164(string(n)); !ok {
		return "•••"
	}
	return string(n[:2]) + strings.Repeat("•", len(n)-4) + string(n[len(n)-2:])
}

// String masks n: it is for logs.
func (n Number) String() string { return n.Masked() }

// Format masks n under every verb of package fmt, the wrong ones too.
func (n Number) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, n.Masked()) }

// LogValue hides n from slog.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

// MarshalText masks n in JSON, but for the key of a map, which encoding/json
// takes as it is. What must have the whole of it asks for [Number.E164], and so
// says that it does.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.Masked()), nil }

// Country returns the ISO 3166 alpha-2 code of the country that n is in, or
// ZZ if its country code is nobody's or belongs to no one country (such as
// +800). To match the numbering plans takes some 10 µs, so that of numbers that
// were asked about lately the answer is kept. The plans are loaded when the
// process starts, which takes 7 ms and 2.5 MB.
func (n Number) Country() string {
	if c, ok := located.Get(n); ok {
		return c
	}
	c := unknownCountry
	if number, err := phonenumbers.Parse(string(n), unknownCountry); err == nil {
		c = country(number)
	}
	located.Add(n, c)
	return c
}

// located are the countries of the numbers that were asked about last: of an order,
// several times from its text to its end.
var located = remembering[Number, string]()

const unknownCountry = "ZZ"

func country(number *phonenumbers.PhoneNumber) string {
	c := phonenumbers.GetRegionCodeForNumber(number)
	if c == "" {
		// A number that is not handed out, in a country code that several
		// countries share. The small ones are known by their area codes, so it
		// is the main one's: the United States' of +1.
		c = phonenumbers.GetRegionCodeForCountryCode(int(number.GetCountryCode()))
	}
	if len(c) != 2 { // "001" is for the whole world
		return unknownCountry
	}
	return c
}

// KnownRegion reports whether code is an ISO 3166 alpha-2 country that has
// telephone numbers.
func KnownRegion(code string) bool { return phonenumbers.GetSupportedRegions()[code] }

// ParseNumber reads a number as a person types it in region, such as (415)
// 555-0123 or 0046 70 123 45 67 in the US, in the digits of any script. It
// returns the number and its country. Region and countries, which are the ones
// we text, are ISO 3166 alpha-2.
//
// It takes every number that has the right length for its country, not only
// those in ranges that are handed out: new ranges come before our tables know
// them, and examples (111-111-1111, Twilio's +15005550006) should go as far as
// Twilio, who refuses a bad one without a charge. Premium numbers are refused.
//
// It fails with an [*Error] whose message says what to type instead, and
// never what was typed.
func ParseNumber(typed, region string, countries []string) (Number, string, error) {
	digits, err := dial(typed)
	if err != nil {
		return "", "", err
	}
	number, err := parseDigits(digits, region)
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return "", "", badNumber("No country has that code. Start with + and your country's code, such as %s.", example(region, phonenumbers.INTERNATIONAL))
	case errors.Is(err, phonenumbers.ErrNumTooLong):
		return "", "", tooLong(region)
	case err != nil:
		return "", "", tooShort(region)
	}

	switch phonenumbers.IsPossibleNumberWithReason(number) {
	case phonenumbers.IS_POSSIBLE:
	case phonenumbers.TOO_LONG:
		return "", "", tooLong(region)
	case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return "", "", tooShort(region)
	case phonenumbers.INVALID_COUNTRY_CODE, phonenumbers.INVALID_LENGTH:
		return "", "", badNumber("That number has a digit too many or too few. Type it like %s.", example(region, phonenumbers.NATIONAL))
	}

	c := country(number)
	if !slices.Contains(countries, c) {
		refused := badNumber("We can text numbers in: %s.", countryNames(countries))
		refused.Reason = ReasonCountry
		return "", "", refused
	}
	switch phonenumbers.GetNumberType(number) { //nolint:exhaustive // the others can be texted, or Twilio knows better
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST, phonenumbers.VOICEMAIL, phonenumbers.UAN:
		return "", "", badNumber("That is not a mobile number. Type the one of your phone, like %s.", example(region, phonenumbers.NATIONAL))
	}
	n, ok := E164(phonenumbers.Format(number, phonenumbers.E164))
	if !ok || digits != n.E164() && !reads(n) {
		return "", "", badNumber("No telephone has that number. Type one like %s.", example(region, phonenumbers.NATIONAL))
	}
	located.Add(n, c)
	return n, c, nil
}

// reads reports whether n is read back as itself. A national part that begins
// with the prefix for calls at home (+46 0…) is not: each reading takes one off.
// What was typed as it is has just been.
func reads(n Number) bool {
	number, err := phonenumbers.Parse(n.E164(), unknownCountry)
	return err == nil && phonenumbers.Format(number, phonenumbers.E164) == n.E164()
}

// parseDigits reads an optional + and digits.
func parseDigits(digits, region string) (*phonenumbers.PhoneNumber, error) {
	number, err := phonenumbers.ParseAndKeepRawInput(digits, region)
	// 00 is how most of the world dials +. Where it is not, as in the US, the
	// parser takes 0046… for a number at home.
	if after, ok := strings.CutPrefix(digits, "00"); ok &&
		(err != nil || number.GetCountryCodeSource() != phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD) {
		return phonenumbers.Parse("+"+after, region)
	}
	return number, err
}

// dial reduces what was typed to what would be dialled: digits, perhaps after
// a +. Everything that is not plainly a number's is refused, so that nothing
// is guessed: not the digits of letters, not where an extension begins.
func dial(typed string) (string, error) {
	const longest = 64 // bytes; the parser takes 250 characters
	if len(typed) > longest {
		return "", badNumber("That is too long for a mobile number. Type only its digits.")
	}
	text := strings.ToLower(strings.TrimSpace(norm.NFKC.String(typed)))
	text = strings.TrimPrefix(text, "tel:")
	var b strings.Builder
	for _, r := range text {
		d, isDigit := digit(r)
		switch {
		case isDigit:
			b.WriteByte(d)
		case r == '+' && b.Len() == 0:
			b.WriteByte('+')
		case unicode.IsSpace(r), isDash(r), strings.ContainsRune(".()/", r), unicode.In(r, unicode.Cf, unicode.Mn):
		case strings.ContainsRune("x#,;e", r) && b.Len() > 1:
			return "", badNumber("An extension cannot be texted. Type the number without it.")
		case unicode.IsLetter(r):
			return "", badNumber("Type the number in digits, without letters.")
		default:
			return "", badNumber("Type only the digits of one number, with + in front if it is from abroad.")
		}
	}
	if b.Len() == 0 {
		return "", badNumber("Type your mobile number.")
	}
	return b.String(), nil
}

func tooShort(region string) *Error {
	return badNumber("That number is too short. Type all of it, with the area code, like %s.", example(region, phonenumbers.NATIONAL))
}

func tooLong(region string) *Error {
	return badNumber("That number is too long. Type one like %s, or start with + and the country code.", example(region, phonenumbers.NATIONAL))
}

func badNumber(format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: FieldNumber, Message: fmt.Sprintf(format, args...)}
}

// example returns a number of region that is nobody's.
func example(region string, format phonenumbers.PhoneNumberFormat) string {
	number := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE)
	if number == nil {
		return "+1 201-555-0123"
	}
	return phonenumbers.Format(number, format)
}

// countryNames spells the countries out, in English.
func countryNames(countries []string) string {
	names := make([]string, 0, len(countries))
	for _, c := range countries {
		name := c
		if region, err := language.ParseRegion(c); err == nil {
			name = display.English.Regions().Name(region)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
