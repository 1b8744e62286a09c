package flow

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// plain reduces the many ways to write a character to one: compatibility
// forms (full width, circled) and the digits of every script to ASCII, dashes
// to -, spaces and pictures to a space. Marks, and what steers the direction
// of writing, are dropped; so 4️⃣ becomes 4.
func plain(text string) []rune {
	out := make([]rune, 0, len(text))
	for _, r := range norm.NFKC.String(text) {
		d, isDigit := digit(r)
		switch {
		case isDigit:
			out = append(out, rune(d))
		case r == '\n':
			out = append(out, r)
		case isDash(r):
			out = append(out, '-')
		case r == '’', r == 'ʼ', r == '´':
			out = append(out, '\'')
		case unicode.IsSpace(r), unicode.In(r, unicode.So, unicode.Sk):
			out = append(out, ' ')
		case unicode.In(r, unicode.M, unicode.C):
		default:
			out = append(out, r)
		}
	}
	return out
}

// digit returns the ASCII digit that a decimal digit of any script stands for.
func digit(r rune) (byte, bool) {
	if r < unicode.MaxASCII {
		return byte(r), r >= '0' && r <= '9' //nolint:gosec // it is ASCII
	}
	// Unicode keeps the ten of a script together and in order, so each range
	// of the table holds whole scripts.
	const ten = "0123456789"
	for _, within := range unicode.Nd.R16 {
		if zero := rune(within.Lo); r >= zero && r <= rune(within.Hi) {
			return ten[(r-zero)%10], true
		}
	}
	for _, within := range unicode.Nd.R32 {
		if zero := rune(within.Lo); r >= zero && r <= rune(within.Hi) { //nolint:gosec // they are runes
			return ten[(r-zero)%10], true
		}
	}
	return 0, false
}

// isDash reports whether r is drawn as a dash. Unicode counts the minus sign
// among the mathematical symbols.
func isDash(r rune) bool { return unicode.Is(unicode.Pd, r) || r == '−' }

// A token is a word or number of a text, after the gap that parts it from the
// one before.
type token struct {
	kind kind
	text string // lower case; a reference as the order has it
	gap  string
}

type kind int

const (
	wordToken   kind = iota
	digitsToken      // part of a PIN, or all of it
	orderToken       // an order's reference
	figureToken      // digits that are no part of a PIN: a price, a time, room 12b
)

type tokens []token

// tokenize takes plain text apart. References are recognized first, since
// they can look like anything else.
func tokenize(text []rune, names []orderName) tokens {
	var all tokens
	gap := 0 // where it begins
	add := func(k kind, s string, from int) {
		all = append(all, token{k, s, string(text[gap:from])})
	}
	for i := 0; i < len(text); {
		if !isWordy(text[i]) {
			i++
			continue
		}
		if name, n := findName(names, text[i:]); n > 0 {
			add(orderToken, name, i)
			i += n
			gap = i
			continue
		}
		end, hasDigit := i, false
		for end < len(text) && (isWordy(text[end]) || text[end] == '\'') {
			hasDigit = hasDigit || isDigit(text[end])
			end++
		}
		if hasDigit {
			// Chinese, say, is written without spaces: only ASCII letters
			// make one word with digits.
			ascii := text[i] < unicode.MaxASCII
			end = i
			for end < len(text) && isWordy(text[end]) && (text[end] < unicode.MaxASCII) == ascii {
				end++
			}
		}
		k, s := classify(string(text[i:end]))
		add(k, s, i)
		i, gap = end, end
	}
	// What follows the last word is the gap before nothing.
	all = append(all, token{wordToken, "", string(text[gap:])})
	all.setFiguresAside()
	return all[:len(all)-1]
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
func isWordy(r rune) bool { return isDigit(r) || unicode.IsLetter(r) }

// labels may stand right before a PIN.
var labels = []string{"pin", "code", "otp"}

// lookalikes are typed, or dictated, for a digit.
var lookalikes = strings.NewReplacer("O", "0", "o", "0", "I", "1", "l", "1")

// classify tells words from digits. A letter counts as the digit it looks
// like only beside real ones, so that "lol" stays a word.
func classify(s string) (kind, string) {
	if !strings.ContainsAny(s, "0123456789") {
		return wordToken, strings.ReplaceAll(strings.ToLower(s), "'", "")
	}
	number := s
	for _, label := range labels {
		if len(s) > len(label) && strings.EqualFold(s[:len(label)], label) {
			number = s[len(label):]
		}
	}
	number = lookalikes.Replace(number)
	if strings.Trim(number, "0123456789") != "" {
		return figureToken, s
	}
	return digitsToken, number
}

// An orderName is a reference as it may be found in a text.
type orderName struct {
	reference string
	exact     string // lower case
	// loose leaves the dashes out: KTR204 is also typed as "ktr 204". Empty if
	// that could be something else: 10 42 is not 1042 when a PIN is about.
	loose string
}

// orderNames prepares references, the longest first: of 118 and 118-2, the
// text 118-2 names the latter.
func orderNames(references []string) []orderName {
	var names []orderName
	for _, ref := range references {
		n := orderName{reference: ref, exact: strings.ToLower(ref)}
		hasDigit := strings.ContainsAny(ref, "0123456789")
		if hasDigit && strings.ContainsFunc(ref, unicode.IsLetter) {
			n.loose = strings.ReplaceAll(n.exact, "-", "")
		}
		// An order could be called NEW, and then only ops can tell.
		if ref != "" && (hasDigit || !slices.Contains(commands, n.exact)) {
			names = append(names, n)
		}
	}
	slices.SortStableFunc(names, func(a, b orderName) int { return len(b.exact) - len(a.exact) })
	return names
}

// findName returns the reference that text begins with, and the runes it
// takes there; 0 if there is none.
func findName(names []orderName, text []rune) (string, int) {
	for _, n := range names {
		if taken := match(text, n.exact, false); taken > 0 {
			return n.reference, taken
		}
	}
	for _, n := range names {
		if taken := match(text, n.loose, true); taken > 0 {
			return n.reference, taken
		}
	}
	return "", 0
}

// match returns how many runes of text, from its beginning, spell name and end
// there; 0 if they do not. Loosely, a dash or space may stand anywhere in it,
// and letters for the digits that they look like.
func match(text []rune, name string, loosely bool) int {
	i := 0
	for j := range len(name) {
		if loosely && j > 0 && i < len(text) && (text[i] == ' ' || text[i] == '-') {
			i++
		}
		if i == len(text) {
			return 0
		}
		r, want := unicode.ToLower(text[i]), rune(name[j])
		same := r == want || loosely && (want == '0' && r == 'o' || want == '1' && (r == 'i' || r == 'l'))
		if !same {
			return 0
		}
		i++
	}
	if i < len(text) && text[i] < unicode.MaxASCII && isWordy(text[i]) {
		return 0
	}
	return i
}

// joins reports whether two groups of digits with that gap between them may be
// one number.
func joins(gap string) bool {
	return gap == "," || gap == "/" || strings.Trim(gap, " -._()") == ""
}

// currencies, lower case, before or after a sum.
var currencies = map[string]bool{
	"usd": true, "cad": true, "aud": true, "eur": true, "gbp": true, "chf": true,
	"sek": true, "nok": true, "dkk": true, "inr": true, "jpy": true, "kr": true,
	"dollar": true, "dollars": true, "bucks": true, "euro": true, "euros": true,
	"pound": true, "pounds": true, "cents": true, "rs": true,
}

// setFiguresAside marks the digits of prices, times and dates, so that they
// are no part of a PIN. The last token is the end of the text.
func (t tokens) setFiguresAside() {
	for i := 0; i < len(t)-1; i++ {
		if t[i].kind != digitsToken {
			continue
		}
		// A figure is written without spaces: 1,234.56 or 2026-11-23.
		end := i + 1
		for end < len(t)-1 && t[end].kind == digitsToken && len(t[end].gap) == 1 && strings.Contains(".,:/-", t[end].gap) {
			end++
		}
		before, after := token{}, t[end]
		if i > 0 {
			before = t[i-1]
		}
		if isPrice(before, t[i:end], after) || isTime(t[i:end], after) || isDate(t[i:end]) {
			for j := i; j < end; j++ {
				t[j].kind = figureToken
			}
		}
		i = end - 1
	}
}

func isPrice(before token, sum tokens, after token) bool {
	left, right := []rune(strings.TrimSpace(sum[0].gap)), []rune(strings.TrimSpace(after.gap))
	return len(left) > 0 && unicode.Is(unicode.Sc, left[len(left)-1]) ||
		len(right) > 0 && (unicode.Is(unicode.Sc, right[0]) || right[0] == '%') ||
		len(left) == 0 && before.kind == wordToken && currencies[before.text] ||
		len(right) == 0 && after.kind == wordToken && currencies[after.text]
}

func isTime(clock tokens, after token) bool {
	if len(clock) == 1 {
		return len(clock[0].text) <= 4 && strings.TrimSpace(after.gap) == "" && (after.text == "am" || after.text == "pm")
	}
	for i, t := range clock {
		if len(t.text) > 2 || i > 0 && t.gap != ":" {
			return false
		}
	}
	return true
}

// isDate knows 23/11, 23/11/26 and, with a dash or dot, only what has the year
// in full: people write their PIN as 48-29-13.
func isDate(day tokens) bool {
	if len(day) < 2 || len(day) > 3 {
		return false
	}
	years := 0
	for i, t := range day {
		if i > 0 && t.gap != day[1].gap {
			return false
		}
		switch n := len(t.text); {
		case n == 4 && (strings.HasPrefix(t.text, "19") || strings.HasPrefix(t.text, "20")):
			years++
		case n > 2 || t.text > "31" && n == 2:
			return false
		}
	}
	return day[1].gap == "/" || len(day) == 3 && years == 1 && day[1].gap != ":" && day[1].gap != ","
}

// pins returns the different candidates for a PIN, up to two. References that
// turn out to be digits of one are made digits.
func (t tokens) pins(lengths []int) []string {
	var found []string
	for i := 0; i < len(t); i++ {
		if t[i].kind != digitsToken && t[i].kind != orderToken {
			continue
		}
		end := i + 1
		for end < len(t) && (t[end].kind == digitsToken || t[end].kind == orderToken) && joins(t[end].gap) {
			end++
		}
		for _, pin := range t[i:end].pinsInRun(lengths) {
			if !slices.Contains(found, pin) {
				found = append(found, pin)
			}
			if len(found) == 2 {
				return found
			}
		}
		i = end - 1
	}
	return found
}

// pinsInRun reads groups of digits, and references, that could be one number.
func (run tokens) pinsInRun(lengths []int) []string {
	var all, groups, single []string // of groups: all, those that name no order, those that could be a PIN
	for _, t := range run {
		all = append(all, t.text)
		if t.kind == orderToken {
			continue
		}
		groups = append(groups, t.text)
		if isPIN(t.text, lengths) {
			single = append(single, t.text)
		}
	}
	joined, whole := strings.Join(groups, ""), strings.Join(all, "")
	abroad := strings.HasSuffix(strings.TrimRight(run[0].gap, "("), "+")
	switch {
	case len(groups) == 0, abroad && len(joined) > 6:
		return nil // +1 415 555 0123
	case isPIN(joined, lengths):
		return []string{joined} // 482 913, or 118 482 913 if 118 is an order
	case isPIN(whole, lengths):
		for i := range run {
			run[i].kind = digitsToken
		}
		return []string{whole} // 118 204, although 118 is an order
	case len(groups) > 2 && len(joined) > 9 && len(single) < len(groups):
		return nil // 415 555 0123
	default:
		return single // 482913 twice, or beside a number that we do not know
	}
}

// reference returns the one that the text names; empty if none, or several.
func (t tokens) reference() string {
	name := ""
	for _, part := range t {
		if part.kind != orderToken {
			continue
		}
		if name != "" && name != part.text {
			return ""
		}
		name = part.text
	}
	return name
}

// speech writes the text down for the grammar: words in lower case, each with
// a space after it, @ for an order and # for other digits.
func (t tokens) speech() string {
	var b strings.Builder
	for _, part := range t {
		switch part.kind {
		case wordToken:
			b.WriteString(part.text)
		case orderToken:
			b.WriteByte('@')
		case digitsToken, figureToken:
			b.WriteByte('#')
		}
		b.WriteByte(' ')
	}
	return b.String()
}
