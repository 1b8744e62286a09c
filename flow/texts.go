package flow

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed texts/*.txt
var builtIn embed.FS

// Locales are the languages of the built-in catalogue.
var Locales = []string{"en"}

// Texts is the catalogue: what every [Saying] is in words. The built-in ones
// stand in texts/, whose en.txt tells of the form.
type Texts struct {
	locales map[string]catalogue
	shop    catalogue // replaces what it names in every locale
}

type catalogue map[Saying]entry

// An entry is a text and its shorter forms, longest first.
type entry struct {
	wordings []wording
	segments int // that each should not exceed
}

type wording struct {
	text  string
	where string // file:line
}

// What the longest values are taken to be. References are bounded where
// orders are created; orders by [Texts.Say] itself.
const (
	longestReference = 20
	longestAmount    = 16
	longestOrders    = 64
)

// LoadTexts returns the built-in catalogue with the texts of a shop's file in
// their stead. A nil file is none; name is the file's, for complaints. The
// shop's name and host are those that will be said.
//
// It fails with all that is wrong in file, each with its line and what to do.
// Built-in texts fit one segment while the shop's name and host have no more
// than 20 and 40 characters; with longer ones they cost more, but are said.
func LoadTexts(file io.Reader, name, shop, host string) (*Texts, error) {
	t := &Texts{locales: make(map[string]catalogue, len(Locales))}
	for _, locale := range Locales {
		path := "texts/" + locale + ".txt"
		f, err := builtIn.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open built-in texts: %w", err)
		}
		if t.locales[locale], err = parseTexts(f, path); err != nil {
			return nil, err
		}
	}
	if file == nil {
		return t, nil
	}
	var err error
	if t.shop, err = parseTexts(file, name); err != nil {
		return nil, err
	}
	var wrong []error
	for _, saying := range Sayings {
		if e, ok := t.shop[saying]; ok {
			wrong = append(wrong, e.fits(saying, longest(saying, shop, host)))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return t, nil
}

// Say renders a text. Those with a PIN end with the line that binds it to
// v.Host, if there is one; see https://wicg.github.io/sms-one-time-codes.
// A locale that the catalogue lacks gets English.
//
// It fails if no wording does without a value that v lacks.
func (t *Texts) Say(s Saying, locale string, v Values) (string, error) {
	e, ok := t.shop[s]
	if !ok {
		language, _, _ := strings.Cut(locale, "-")
		texts, known := t.locales[language]
		if !known {
			texts = t.locales["en"]
		}
		e, ok = texts[s]
	}
	if !ok {
		return "", fmt.Errorf("no text is called %q", s)
	}

	said, err := "", error(nil)
	for _, w := range e.wordings {
		text, lacks := w.fill(v.byName())
		if lacks != "" {
			err = fmt.Errorf("%s: %s needs {%s}, which has no value", w.where, s, lacks)
			continue
		}
		said = text + binding(s, v)
		if n, _ := Segments(said); n <= e.segments {
			break
		}
	}
	if said == "" {
		return "", err
	}
	return said, nil
}

// binding is the line that tells a phone whose page the PIN belongs to. It
// can express no port, and nothing may follow it.
func binding(s Saying, v Values) string {
	host, _, _ := strings.Cut(v.Host, ":")
	if !s.holdsPIN() || host == "" {
		return ""
	}
	return "\n\n@" + host + " #" + v.PIN.Digits()
}

// frugal replaces what typesetters and number formats put in, and the GSM
// alphabet lacks: one of these more than doubles what a text costs.
var frugal = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "\u2009", " ",
	"‘", "'", "’", "'", "“", `"`, "”", `"`, "‐", "-", "‑", "-", "–", "-", "—", "-", "−", "-", "…", "...")

// byName returns the values by placeholder; unset ones are empty.
func (v Values) byName() map[string]string {
	values := map[string]string{
		"shop": frugal.Replace(v.Shop), "order": v.Order, "amount": frugal.Replace(v.Amount),
		"pin": v.PIN.Digits(), "orders": list(v.Orders),
		"tries": strconv.Itoa(v.Tries),
	}
	if v.Length > 0 {
		values["length"] = strconv.Itoa(v.Length)
	}
	return values
}

// list joins references, as many as fit; the newest are last and are kept.
func list(references []string) string {
	var shown []string
	room := longestOrders
	for i := len(references) - 1; i >= 0; i-- {
		if room -= len(references[i]) + len(", "); room < 0 {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, references[i])
	}
	slices.Reverse(shown)
	return strings.Join(shown, ", ")
}

// longest returns values that take as much room as any.
func longest(s Saying, shop, host string) Values {
	v := Values{
		Shop:   shop,
		Host:   host,
		Order:  strings.Repeat("8", longestReference),
		Amount: "€" + strings.Repeat("8", longestAmount-1),
		Tries:  ReplyTries,
		Length: MaxPINLength,
		Orders: []string{strings.Repeat("8", longestOrders-len(", "))},
	}
	if s.holdsPIN() {
		v.PIN = PIN(strings.Repeat("8", MaxPINLength))
	}
	return v
}

// fits reports whether the shortest wording stays within the entry's segments.
func (e entry) fits(s Saying, v Values) error {
	w := e.wordings[len(e.wordings)-1]
	text, _ := w.fill(v.byName())
	text += binding(s, v)
	n, ucs2 := Segments(text)
	if n <= e.segments {
		return nil
	}
	if r, found := foreign(text); ucs2 && found {
		return fmt.Errorf("%s: %s takes %d segments, since the GSM alphabet lacks %q. Write it without, or allow more by a line \"segments: %d\" above", w.where, s, n, r, n)
	}
	return fmt.Errorf("%s: %s is too long by %d with the longest values: shorten it, or add a line \"shorter: …\" below", w.where, s, excess(text, e.segments))
}

// excess counts the characters to be taken off text until it fits.
func excess(text string, segments int) int {
	runes := []rune(text)
	for cut := range runes {
		if n, _ := Segments(string(runes[:len(runes)-cut])); n <= segments {
			return cut
		}
	}
	return len(runes)
}

// foreign returns the first character that the GSM alphabet lacks.
func foreign(text string) (rune, bool) {
	i := strings.IndexFunc(text, func(r rune) bool { return gsmWidth(r) == 0 })
	if i < 0 {
		return 0, false
	}
	return []rune(text[i:])[0], true
}

// parseTexts reads a catalogue, and checks what can be checked of each text
// by itself.
func parseTexts(file io.Reader, name string) (catalogue, error) {
	texts := make(catalogue)
	defined := make(map[Saying]string) // where
	var wrong []error
	var last Saying // that a shorter form belongs to
	segments := 1

	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		where := fmt.Sprintf("%s:%d", name, n)
		complain := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("%s: "+format, append([]any{where}, args...)...))
		}
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		key, text, ok := strings.Cut(line, ":")
		key, text = strings.TrimSpace(key), strings.TrimSpace(text)
		saying := Saying(key)
		switch {
		case !ok || text == "":
			complain("write a name, a colon and the text, such as \"confirmed: {shop}: thank you!\"")
			continue
		case key == "segments":
			var err error
			if segments, err = strconv.Atoi(text); err != nil || segments < 1 || segments > 9 {
				complain("segments must be a number from 1 to 9")
				segments = 9 // complain of this alone
			}
			continue
		case key == "shorter" && last == "":
			complain("nothing stands above that this could be a shorter form of")
			continue
		case key == "shorter":
			saying = last
		case !slices.Contains(Sayings, saying):
			complain("no text is called %q; there are %s", key, join(Sayings))
			last = ""
			continue
		case defined[saying] != "":
			complain("%s stands at %s already: leave one out, or call this \"shorter\"", key, defined[saying])
			last = ""
			continue
		default:
			defined[saying] = where
			last = saying
		}
		for _, problem := range problems(saying, text) {
			complain("%s: %s", saying, problem)
		}
		texts[saying] = entry{append(texts[saying].wordings, wording{text, where}), segments}
	}
	if err := lines.Err(); err != nil {
		wrong = append(wrong, fmt.Errorf("read %s: %w", name, err))
	}
	for _, saying := range Sayings {
		if e, ok := texts[saying]; ok {
			wrong = append(wrong, e.certain(saying))
		}
	}
	return texts, errors.Join(wrong...)
}

// Say's values by saying: those it must name, and those it may lack.
var (
	required = map[Saying][]string{
		KindPIN:       {"pin", "order"},
		KindPINAmount: {"pin", "order", "amount"},
		AnswerWhich:   {"orders"},
	}
	// Every answer is about an order but these, or at times these.
	orderless = []Saying{AnswerWhich, AnswerNoneOpen, AnswerNoMore, AnswerTwoPINs, AnswerHint}

	placeholders = []string{"shop", "order", "amount", "pin", "tries", "length", "orders"}
)

// holdsPIN reports whether the text carries a PIN. Answers never do.
func (s Saying) holdsPIN() bool { return s == KindPIN || s == KindPINAmount }

// certain reports whether the last wording does with what is always known.
func (e entry) certain(s Saying) error {
	w := e.wordings[len(e.wordings)-1]
	for _, name := range w.placeholders() {
		if name == "amount" && s != KindPINAmount || name == "order" && slices.Contains(orderless, s) {
			return fmt.Errorf("%s: %s: {%s} is not always known: add a line \"shorter: …\" below that does without", w.where, s, name)
		}
	}
	return nil
}

var (
	placeholder = regexp.MustCompile(`\{([^{}]*)\}`)
	// A word of Twilio's is a command in capitals, or after a word that asks
	// for it.
	capitals = regexp.MustCompile(`\b[A-Z]{3,}\b`)
	asked    = regexp.MustCompile(`(?i)\b(?:reply|replying|text|texting|send|sending|answer|type|write|respond)(?: with| by)? ["'*]?([a-z]+)`)
)

// problems lists what is wrong with a text, and what to do.
func problems(s Saying, text string) []string {
	var all []string
	w := wording{text: text}
	names := w.placeholders()
	for _, name := range names {
		switch {
		case !slices.Contains(placeholders, name):
			all = append(all, fmt.Sprintf("there is no {%s}, only {%s}", name, strings.Join(placeholders, "}, {")))
		case name == "pin" && !s.holdsPIN():
			all = append(all, "answers never hold a PIN: leave {pin} out")
		case (name == "tries" || name == "orders") && s.holdsPIN():
			all = append(all, fmt.Sprintf("{%s} is known in answers only: leave it out", name))
		}
	}
	for _, name := range required[s] {
		if !slices.Contains(names, name) {
			all = append(all, fmt.Sprintf("it must name {%s}", name))
		}
	}
	rest := placeholder.ReplaceAllString(text, "")
	if strings.ContainsAny(rest, "{}") {
		all = append(all, "a brace stands alone: write placeholders like {order}, and no other braces")
	}
	words := capitals.FindAllString(rest, -1)
	for _, m := range asked.FindAllStringSubmatch(rest, -1) {
		words = append(words, strings.ToUpper(m[1]))
	}
	slices.Sort(words)
	for _, word := range slices.Compact(words) {
		if _, ok := twiliosWords[word]; ok {
			all = append(all, fmt.Sprintf("%s must not be asked for, since Twilio acts on it itself; the commands are NEW, NO and STATUS", word))
		}
	}
	return all
}

// placeholders lists the names in w.
func (w wording) placeholders() []string {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(w.text, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// fill puts the values in, or returns the name of one that is empty. What
// looks like a placeholder in a value stays as it is.
func (w wording) fill(values map[string]string) (text, lacks string) {
	var filled strings.Builder
	for rest := w.text; ; {
		before, after, more := strings.Cut(rest, "{")
		filled.WriteString(before)
		if !more {
			return filled.String(), lacks
		}
		var name string
		name, rest, _ = strings.Cut(after, "}") // as problems has seen to: no brace stands alone
		if values[name] == "" {
			lacks = name
		}
		filled.WriteString(values[name])
	}
}

func join(sayings []Saying) string {
	names := make([]string, len(sayings))
	for i, s := range sayings {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}
