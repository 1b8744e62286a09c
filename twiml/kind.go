package twiml

import "strings"

// A Kind is what sort of address stands in From or To. Twilio writes numbers
// in E.164 "if possible" and passes on what the network said otherwise (TM).
type Kind int

// The kinds of address.
const (
	Unknown      Kind = iota // none of the others; never that of a form that was read
	E164                     // +14155550100: someone who can be texted
	ShortCode                // 24273: three to eight digits
	National                 // 4155550100: a number whose country is not told
	Alphanumeric             // ACME: a name that no one can answer
	Channel                  // whatsapp:+14155550100: not SMS
)

// KindOf returns what kind of address s is. It looks at the form of s only: a
// number may be E164 and be nobody's.
func KindOf(s string) Kind {
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		// At most 15 digits, by the standard; the shortest in use have 7.
		if len(rest) < 7 || len(rest) > 15 || rest[0] == '0' || !allOf(rest, isDigit) {
			return Unknown
		}
		return E164
	}
	if channel, id, ok := strings.Cut(s, ":"); ok {
		if channel == "" || len(channel) > 32 || !allOf(channel, isLower) ||
			id == "" || len(id) > 128 || !allOf(id, isVisible) {
			return Unknown
		}
		return Channel
	}
	if allOf(s, isDigit) {
		switch n := len(s); {
		case n < 3 || n > 15:
			return Unknown
		case n <= 8:
			return ShortCode
		default:
			return National
		}
	}
	// Twilio's rule for a sender's name: up to 11 letters, digits, spaces and
	// a few signs; and one letter, which is left when it is not all digits.
	named := false
	for i := range len(s) {
		c := s[i]
		letter := isUpper(c) || isLower(c)
		if !letter && !isDigit(c) && strings.IndexByte(" &+-_.", c) < 0 {
			return Unknown
		}
		named = named || letter
	}
	if !named || len(s) > 11 {
		return Unknown
	}
	return Alphanumeric
}

// String returns the kind's name, which is fit for a label.
func (k Kind) String() string {
	switch k {
	case E164:
		return "e164"
	case ShortCode:
		return "shortcode"
	case National:
		return "national"
	case Alphanumeric:
		return "alphanumeric"
	case Channel:
		return "channel"
	case Unknown:
	}
	return "unknown"
}

// addressable reports whether s is an address of any kind.
func addressable(s string) bool { return KindOf(s) != Unknown }

// callable reports whether s is an address that a text can be sent to.
func callable(s string) bool {
	k := KindOf(s)
	return k == E164 || k == ShortCode || k == Channel
}

func isVisible(c byte) bool { return '!' <= c && c <= '~' }
