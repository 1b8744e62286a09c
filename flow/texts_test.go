package flow_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/flow"
)

var update = flag.Bool("update", false, "write testdata/texts.golden and docs/flow.md anew")

// usualValues and longestValues are values as most texts have them, and the longest.
var (
	usualValues = flow.Values{
		Shop: "Shop", Order: "KTR204", Amount: "$42.10", PIN: "482913", Host: "shop.example.com",
		Tries: 2, Length: 6, Orders: []string{"118", "KTR204"},
	}
	longestValues = flow.Values{
		Shop: "The Acme Company Ltd", Order: "ORDER-2026-11-23-017", Amount: "CAD 1,234,567.89", PIN: "48291377",
		Host: "the-acme-company.staging.eu2.example.com", Tries: 2, Length: 8,
		Orders: []string{"ORDER-2026-11-23-015", "ORDER-2026-11-23-016", "ORDER-2026-11-23-017", "ORDER-2026-11-23-018"},
	}
)

// withoutPIN returns v as the desk would give it: only two kinds hold a PIN.
func withoutPIN(v flow.Values, s flow.Saying) flow.Values {
	if s != flow.KindPIN && s != flow.KindPINAmount {
		v.PIN, v.Host = "", ""
	}
	return v
}

func loadTexts(t *testing.T) *flow.Texts {
	t.Helper()
	texts, err := flow.LoadTexts(nil, "", longestValues.Shop, longestValues.Host)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestEveryTextFitsOneSegmentAndNamesShopAndOrder(t *testing.T) {
	texts := loadTexts(t)
	for _, locale := range flow.Locales {
		for _, s := range flow.Sayings {
			for _, v := range []flow.Values{usualValues, longestValues} {
				text, err := texts.Say(s, locale, withoutPIN(v, s))
				if err != nil {
					t.Errorf("%s in %s: %v", s, locale, err)
					continue
				}
				if n, ucs2 := flow.Segments(text); n != 1 || ucs2 {
					t.Errorf("%s in %s takes %d segments (UCS-2: %v): %s", s, locale, n, ucs2, text)
				}
				if !strings.HasPrefix(text, v.Shop+": ") {
					t.Errorf("%s in %s does not begin with the shop: %s", s, locale, text)
				}
				named := strings.Contains(text, v.Order)
				if ofNone := s == flow.AnswerNoneOpen || s == flow.AnswerWhich; !named && !ofNone {
					t.Errorf("%s in %s does not name the order: %s", s, locale, text)
				}
				if pin := strings.Contains(text, v.PIN.Digits()); pin != (s == flow.KindPIN || s == flow.KindPINAmount) {
					t.Errorf("%s in %s: it is %v that it holds the PIN: %s", s, locale, pin, text)
				}
				if strings.ContainsAny(text, "{}") {
					t.Errorf("%s in %s has a placeholder left: %s", s, locale, text)
				}
			}
		}
	}
}

// The words in capitals are what customers will reply: each must do what the
// text promises, and none may be Twilio's.
func TestEveryWordWeSuggestIsUnderstood(t *testing.T) {
	texts := loadTexts(t)
	for _, locale := range flow.Locales {
		for _, s := range flow.Sayings {
			text, err := texts.Say(s, locale, withoutPIN(usualValues, s))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range regexp.MustCompile(`\b[A-Z]{2,}\b`).FindAllString(text, -1) {
				got := flow.Read(word, flow.Situation{Lengths: []int{6}, Locale: locale}).Intent
				if word != "PIN" && got != flow.IntentNew && got != flow.IntentNo && got != flow.IntentStatus {
					t.Errorf("%s in %s suggests %s, which is read as %s", s, locale, word, got)
				}
			}
		}
	}
}

// A machine may answer us with our own words.
func TestNoTextOfOursIsReadAsACommand(t *testing.T) {
	texts := loadTexts(t)
	for _, locale := range flow.Locales {
		for _, s := range flow.Sayings {
			text, err := texts.Say(s, locale, withoutPIN(usualValues, s))
			if err != nil {
				t.Fatal(err)
			}
			want := flow.IntentUnknown
			if s == flow.KindPIN || s == flow.KindPINAmount {
				want = flow.IntentPIN
			}
			got := flow.Read(text, flow.Situation{Lengths: []int{6}, References: []string{usualValues.Order, "118"}, Locale: locale})
			if got.Intent != want {
				t.Errorf("%s is read as %s: %s", s, got.Intent, text)
			}
		}
	}
}

// https://wicg.github.io/sms-one-time-codes/#parsing: the last line, @, the
// host, one space, # and the code.
func TestPINTextsEndWithTheLineForTheBrowser(t *testing.T) {
	texts := loadTexts(t)
	line := regexp.MustCompile(`^[^@]+\n\n@(\S+) #(\S+)$`)
	for _, s := range []flow.Saying{flow.KindPIN, flow.KindPINAmount} {
		for _, v := range []flow.Values{usualValues, longestValues} {
			text, err := texts.Say(s, "en", v)
			if err != nil {
				t.Fatal(err)
			}
			if m := line.FindStringSubmatch(text); m == nil || m[1] != v.Host || m[2] != v.PIN.Digits() {
				t.Errorf("%s ends with %q: %q", s, m, text)
			}
		}

		v := usualValues
		v.Host = "localhost:8080"
		if text, _ := texts.Say(s, "en", v); !strings.HasSuffix(text, "\n\n@localhost #482913") {
			t.Errorf("%s with a port is %q", s, text)
		}
		v.Host = ""
		if text, _ := texts.Say(s, "en", v); strings.ContainsAny(text, "@#\n") {
			t.Errorf("%s without a host is %q", s, text)
		}
	}
	for _, s := range flow.Answers {
		if text, _ := texts.Say(s, "en", usualValues); strings.Contains(text, "@") {
			t.Errorf("%s, which holds no PIN, is %q", s, text)
		}
	}
}

func TestSayTakesTheShorterTextWhereTheLongerDoesNotDo(t *testing.T) {
	texts := loadTexts(t)
	without := usualValues
	without.Order = ""
	for _, tt := range []struct {
		name string
		s    flow.Saying
		v    flow.Values
		want string
	}{
		{"usually the first", flow.KindPIN, usualValues, "Shop: 482913 confirms order KTR204. Reply with it or type it in. Not you? Reply NO.\n\n@shop.example.com #482913"},
		{"where it is too long", flow.KindPIN, longestValues, "The Acme Company Ltd: reply 48291377 to confirm order ORDER-2026-11-23-017. Not you? Reply NO.\n\n@the-acme-company.staging.eu2.example.com #48291377"},
		{"where no order is known", flow.AnswerHint, without, "Shop: we could not read that. Reply with the 6 digits of your PIN, NEW for a new text, or NO to decline."},
		{"the newest orders, where they are many", flow.AnswerWhich, longestValues, "The Acme Company Ltd: your open orders are ..., ORDER-2026-11-23-017, ORDER-2026-11-23-018. To decline one, reply NO and its number."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := texts.Say(tt.s, "en", tt.v)
			if got != tt.want || err != nil {
				t.Errorf("Say = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestSayIsFrugalWithTypography(t *testing.T) {
	v := usualValues
	v.Shop, v.Amount = "Joe’s “Café”", "−1\u202f042,10\u00a0€"
	text, err := loadTexts(t).Say(flow.KindPINAmount, "en", v)
	if n, ucs2 := flow.Segments(text); err != nil || n != 1 || ucs2 || !strings.HasPrefix(text, `Joe's "Café": `) || !strings.Contains(text, ", -1 042,10 €.") {
		t.Errorf("Say = %q, %v, in %d segments", text, err, n)
	}
}

func TestSayRefusesToLeaveAHole(t *testing.T) {
	texts := loadTexts(t)
	for _, tt := range []struct {
		name string
		s    flow.Saying
		v    flow.Values
	}{
		{"a PIN text without a PIN", flow.KindPIN, flow.Values{Shop: "Shop", Order: "118"}},
		{"a PIN text without an order", flow.KindPIN, flow.Values{Shop: "Shop", PIN: "482913"}},
		{"an amount that is not there", flow.KindPINAmount, flow.Values{Shop: "Shop", Order: "118", PIN: "482913"}},
		{"an answer without a shop", flow.AnswerNoneOpen, flow.Values{}},
		{"silence, which is no text", flow.Silence, usualValues},
		{"a saying that nobody knows", "greeting", usualValues},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := texts.Say(tt.s, "en", tt.v); got != "" || err == nil || strings.Contains(err.Error(), "482913") {
				t.Errorf("Say = %q, %v", got, err)
			}
		})
	}
}

func TestSayLeavesValuesAsTheyAre(t *testing.T) {
	v := withoutPIN(usualValues, flow.AnswerConfirmed)
	v.Shop = "{pin} & {order}"
	got, err := loadTexts(t).Say(flow.AnswerConfirmed, "en", v)
	if want := "{pin} & {order}: thank you! Order KTR204 is confirmed."; got != want || err != nil {
		t.Errorf("Say = %q, %v; want %q", got, err, want)
	}
}

func TestALocaleThatWeLackGetsEnglish(t *testing.T) {
	texts := loadTexts(t)
	want, _ := texts.Say(flow.AnswerConfirmed, "en", usualValues)
	for _, locale := range []string{"", "en-GB", "tlh"} {
		if got, err := texts.Say(flow.AnswerConfirmed, locale, usualValues); got != want || err != nil {
			t.Errorf("in %q: %q, %v", locale, got, err)
		}
	}
}

func TestAShopsFileReplacesWhatItNames(t *testing.T) {
	file := "\ufeff# Ours\r\n\r\n  confirmed :  Danke! {order} ist bestätigt: {shop}  \r\n" +
		"pin: {pin} für {order}, {shop}. Das ist Ihre PIN, die Sie uns bitte antworten oder auf unserer Seite eingeben, damit auch wirklich alles gut wird.\n" +
		"shorter: {pin} für {order}, {shop}\n" +
		"segments: 3\ndeclined: Заказ {order} отменён. {shop}\n"
	texts, err := flow.LoadTexts(strings.NewReader(file), "shop.txt", "Shop", "shop.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[flow.Saying]string{
		flow.AnswerConfirmed: "Danke! KTR204 ist bestätigt: Shop",
		flow.KindPIN:         "482913 für KTR204, Shop\n\n@shop.example.com #482913",
		flow.AnswerDeclined:  "Заказ KTR204 отменён. Shop",
		flow.AnswerNoneOpen:  "Shop: you have no order that waits for a PIN.",
	} {
		for _, locale := range flow.Locales {
			if got, err := texts.Say(s, locale, usualValues); got != want || err != nil {
				t.Errorf("%s in %s is %q, %v; want %q", s, locale, got, err, want)
			}
		}
	}
}

func TestABadShopsFileIsRefusedWithItsLine(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"a name that there is not", "\n# x\nconfirmd: {shop}", `shop.txt:3: no text is called "confirmd"; there are pin, pin_amount, confirmed,`},
		{"silence", "silence: {shop}", `shop.txt:1: no text is called "silence"`},
		{"no colon", "confirmed {shop}", "shop.txt:1: write a name, a colon and the text"},
		{"no text", "confirmed:", "shop.txt:1: write a name, a colon and the text"},
		{"twice the same", "confirmed: a\nconfirmed: b", `shop.txt:2: confirmed stands at shop.txt:1 already: leave one out, or call this "shorter"`},
		{"shorter than nothing", "shorter: a", "shop.txt:1: nothing stands above"},
		{"a placeholder that there is not", "confirmed: {ordr} is confirmed", "shop.txt:1: confirmed: there is no {ordr}, only {shop}, {order},"},
		{"a placeholder in capitals", "confirmed: {ORDER}", "there is no {ORDER}"},
		{"an empty placeholder", "confirmed: {}", "there is no {}"},
		{"half a placeholder", "confirmed: {order is confirmed", "shop.txt:1: confirmed: a brace stands alone"},
		{"a PIN text without its PIN", "pin: {order} of {shop}", "shop.txt:1: pin: it must name {pin}"},
		{"a PIN text without its order", "pin: {pin} of {shop}", "shop.txt:1: pin: it must name {order}"},
		{"a shorter PIN text without its order", "pin: {pin} {order}\nshorter: {pin}", "shop.txt:2: pin: it must name {order}"},
		{"an amount that is left out", "pin_amount: {pin} {order}", "shop.txt:1: pin_amount: it must name {amount}"},
		{"an amount that may not be there", "pin: {pin} {order} {amount}", `shop.txt:1: pin: {amount} is not always known: add a line "shorter: …" below`},
		{"an order that may not be there", "hint: what about {order}?", "shop.txt:1: hint: {order} is not always known"},
		{"orders that are left out", "which: which?", "shop.txt:1: which: it must name {orders}"},
		{"an answer with a PIN", "confirmed: {pin} was right", "shop.txt:1: confirmed: answers never hold a PIN"},
		{"tries before any was made", "pin: {pin} {order} {tries}", "shop.txt:1: pin: {tries} is known in answers only"},
		{"Twilio's word in capitals", "pin: {pin} {order}. CANCEL to cancel", "shop.txt:1: pin: CANCEL must not be asked for, since Twilio acts on it itself; the commands are NEW, NO and STATUS"},
		{"Twilio's word asked for", "hint: reply yes if you mean it", "hint: YES must not be asked for"},
		{"Twilio's word asked for in quotes", `hint: answer with "stop"`, "hint: STOP must not be asked for"},
		{"one character too many", "confirmed: " + strings.Repeat("a", 141) + "{order}", `shop.txt:1: confirmed is too long by 1 with the longest values: shorten it, or add a line "shorter: …" below`},
		{"too long for its host", "pin: {pin} {order}" + strings.Repeat("a", 103), "pin is too long by 1 with the longest values"},
		{"a curly quote in a long text", "confirmed: it’s confirmed, that order {order} of yours, which you made with us", `shop.txt:1: confirmed takes 2 segments, since the GSM alphabet lacks '’'. Write it without, or allow more by a line "segments: 2" above`},
		{"no number of segments", "segments: many", "shop.txt:1: segments must be a number from 1 to 9"},
		{"no segment", "segments: 0", "shop.txt:1: segments must be a number from 1 to 9"},
		{"a line without end", "confirmed: " + strings.Repeat("a", 100_000), "read shop.txt: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts, err := flow.LoadTexts(strings.NewReader(tt.file), "shop.txt", "Shop", "shop.example.com")
			if texts != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

func TestWhatJustFitsIsTaken(t *testing.T) {
	for _, file := range []string{
		"confirmed: " + strings.Repeat("a", 140) + "{order}",
		"pin: {pin} {order}" + strings.Repeat("a", 102),
		"confirmed: it’s confirmed: your order {order}, from us", // 51 UTF-16 units of 70
		"confirmed: At the end you start, cancel, stop or answer the door: yes, {order}",
	} {
		if _, err := flow.LoadTexts(strings.NewReader(file), "shop.txt", "Shop", "shop.example.com"); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	_, err := flow.LoadTexts(strings.NewReader("a: b\nconfirmed: {x}\n\nhint: STOP"), "shop.txt", "Shop", "")
	for _, want := range []string{"shop.txt:1: ", "shop.txt:2: ", "shop.txt:4: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// The golden file is the catalogue as customers see it; read it when a text
// has changed.
func TestTheCatalogueAsItReads(t *testing.T) {
	texts := loadTexts(t)
	var b bytes.Buffer
	for _, locale := range flow.Locales {
		for _, s := range flow.Sayings {
			for _, v := range []flow.Values{usualValues, longestValues} {
				text, err := texts.Say(s, locale, withoutPIN(v, s))
				if err != nil {
					t.Fatal(err)
				}
				n, _ := flow.Segments(text)
				fmt.Fprintf(&b, "%s %s: %d characters, %d segment\n\t%s\n", locale, s, len([]rune(text)), n, strings.ReplaceAll(text, "\n", "\n\t"))
			}
		}
	}
	const golden = "testdata/texts.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("texts have changed (-update writes them anew):\n%s", diff)
	}
}

func TestSayingsAreAllThereIs(t *testing.T) {
	if got := len(flow.Sayings); got != len(flow.Answers)+2 || slices.Contains(flow.Sayings, flow.Silence) {
		t.Errorf("%d sayings for %d answers", got, len(flow.Answers))
	}
}

func FuzzLoadTexts(f *testing.F) {
	built, err := os.ReadFile("texts/en.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range []string{string(built), "pin: {pin} {order}\nshorter: {pin}{order}", "segments: 3\nhint: ж", ":", "{", "confirmed: {{order}}"} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		texts, err := flow.LoadTexts(strings.NewReader(file), "shop.txt", longestValues.Shop, longestValues.Host)
		if (texts == nil) == (err == nil) {
			t.Fatalf("LoadTexts = %v, %v", texts, err)
		}
		if err != nil {
			return
		}
		// What is accepted can be said, with a PIN or without.
		for _, s := range flow.Sayings {
			v := withoutPIN(longestValues, s)
			if text, err := texts.Say(s, "en", v); err != nil || text == "" {
				t.Errorf("Say(%s) = %q, %v", s, text, err)
			} else if n, _ := flow.Segments(text); n > 1 && !strings.Contains(file, "segments") {
				t.Errorf("Say(%s) takes %d segments: %q", s, n, text)
			}
		}
	})
}

func ExampleTexts_Say() {
	texts, err := flow.LoadTexts(nil, "", "Acme", "shop.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	v := flow.Values{Shop: "Acme", Order: "118", Amount: "$42.10", PIN: "482913", Host: "shop.example.com"}
	text, err := texts.Say(flow.KindPINAmount, "en", v)
	fmt.Println(text, err)
	// Output:
	// Acme: 482913 confirms order 118, $42.10. Reply with it or type it in. Not you? Reply NO.
	//
	// @shop.example.com #482913 <nil>
}
