package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/countersign/countersign/flow"
)

// known is a line with three orders, and PINs of six digits.
var known = flow.Situation{
	Lengths:    []int{6},
	References: []string{"118", "1042", "KTR204", "ACME-2026-17"},
	Locale:     "en",
}

func TestReadFindsThePIN(t *testing.T) {
	for _, tt := range []struct{ name, text, pin, order string }{
		{"bare", "482913", "482913", ""},
		{"with spaces around", "  482913\n", "482913", ""},
		{"in two halves", "482 913", "482913", ""},
		{"in three pairs with dashes", "48-29-13", "482913", ""},
		{"digit by digit", "4 8 2 9 1 3", "482913", ""},
		{"with dots", "4.8.2.9.1.3", "482913", ""},
		{"with a comma that autocorrection put in", "482,913", "482913", ""},
		{"with a slash", "482/913", "482913", ""},
		{"with an em dash", "482—913", "482913", ""},
		{"with a non-breaking space", "482\u00a0913", "482913", ""},
		{"with a zero-width space", "482\u200b913", "482913", ""},
		{"in brackets", "(482913)", "482913", ""},
		{"in quotes", "“482913”", "482913", ""},
		{"as the web one-time-code line", "@shop.example.com #482913", "482913", ""},
		{"in a sentence", "my pin is 482-913.", "482913", ""},
		{"before a sentence", "482913. 2 of us will be there", "482913", ""},
		{"glued to its label", "PIN482913", "482913", ""},
		{"after its label", "Code: 482913", "482913", ""},
		{"with thanks and emoji", "482913 👍🏽 thanks!!", "482913", ""},
		{"between emoji", "🎉482913🎉", "482913", ""},
		{"in keycap emoji", "4️⃣8️⃣2️⃣9️⃣1️⃣3️⃣", "482913", ""},
		{"in circled digits", "④⑧②⑨①③", "482913", ""},
		{"in mathematical bold", "𝟒𝟖𝟐𝟗𝟏𝟑", "482913", ""},
		{"in full width", "４８２９１３", "482913", ""},
		{"in Arabic-Indic digits", "الرمز ٤٨٢٩١٣ شكرا", "482913", ""},
		{"in Arabic-Indic digits with marks of direction", "\u200f٤٨٢ ٩١٣\u200e", "482913", ""},
		{"in Persian digits", "کد من ۴۸۲۹۱۳ است", "482913", ""},
		{"in Devanagari", "मेरा पिन ४८२९१३", "482913", ""},
		{"in Bengali", "৪৮২৯১৩", "482913", ""},
		{"in Thai, without spaces", "รหัสคือ๔๘๒๙๑๓ครับ", "482913", ""},
		{"in Chinese, without spaces", "验证码是482913谢谢", "482913", ""},
		{"with O for 0", "48O913", "480913", ""},
		{"with o, I and l", "4o2 9Il", "402911", ""},
		{"twice the same", "482913 482913", "482913", ""},
		{"twice, differently written", "482913, I said 482 913!", "482913", ""},
		{"as a copy of our text", "Acme: 482913 confirms order 118, $42.10. Reply with it or type it in. Not you? Reply NO.\n\n@shop.example.com #482913", "482913", "118"},
		{"after the order", "1042 482913", "482913", "1042"},
		{"after our own reference", "KTR204 482 913", "482913", "KTR204"},
		{"after a reference in lower case", "ktr204: 482913", "482913", "KTR204"},
		{"after a reference typed apart", "ktr 204 482913", "482913", "KTR204"},
		{"after a reference with O for 0", "KTR2O4 482913", "482913", "KTR204"},
		{"after a reference with dashes", "acme-2026-17 482913", "482913", "ACME-2026-17"},
		{"after a reference without its dashes", "ACME 2026 17 482913", "482913", "ACME-2026-17"},
		{"before the order", "482913 for order #118", "482913", "118"},
		{"as the number of the order", "order no. 118 pin 482913", "482913", "118"},
		{"that begins like an order", "118204", "118204", ""},
		{"that begins like an order, apart", "118 204", "118204", ""},
		{"that begins like an order, digit by digit", "1 1 8 2 0 4", "118204", ""},
		{"beside an order that we do not know", "77 482913", "482913", ""},
		{"beside two orders", "118 and 1042: 482913", "482913", ""},
		{"beside a price", "482913 for the $42.10 order", "482913", ""},
		{"beside a price that begins the text", "$1,234.56 482913", "482913", ""},
		{"beside a price in words", "it said 42.10 USD and 482913", "482913", ""},
		{"beside a time", "10:30 482913", "482913", ""},
		{"beside a date", "23/11/2026 482913", "482913", ""},
		{"beside a telephone number", "482913, call me at (415) 555-0123", "482913", ""},
		{"with NEW in it", "is the new pin 482913", "482913", ""},
		{"with STATUS in it", "482913 status?", "482913", ""},
		{"with YES", "Yes 482913", "482913", ""},
		{"with no worries", "no worries, it's 482913", "482913", ""},
		{"with no problem", "482913 no problem", "482913", ""},
		{"with a plea not to cancel", "482913, don't cancel my order", "482913", ""},
		{"with an apology", "sorry, no idea why that took so long: 482913", "482913", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := flow.Read(tt.text, known)
			want := flow.Reading{Intent: flow.IntentPIN, PIN: flow.PIN(tt.pin), Reference: tt.order}
			if got != want {
				t.Errorf("Read(%q) = %s %q of %q, want %q of %q", tt.text, got.Intent, got.PIN.Digits(), got.Reference, tt.pin, tt.order)
			}
		})
	}
}

func TestReadUnderstands(t *testing.T) {
	const (
		pins, fresh, no, status = flow.IntentPINs, flow.IntentNew, flow.IntentNo, flow.IntentStatus
		stop, start, unknown    = flow.IntentStop, flow.IntentStart, flow.IntentUnknown
	)
	for _, tt := range []struct {
		text  string
		want  flow.Intent
		order string
	}{
		// Several PINs.
		{"482913 or 113355", pins, ""},
		{"482913\n113355", pins, ""},
		{"first 482 913, then 113 355", pins, ""},

		// What is not a PIN costs no try.
		{"", unknown, ""},
		{"   ", unknown, ""},
		{"👍", unknown, ""},
		{"Hello", unknown, ""},
		{"lol", unknown, ""},
		{"48291", unknown, ""},
		{"4829131", unknown, ""},
		{"48291 3x", unknown, ""},
		{"call me at 415 555 0123", unknown, ""},
		{"+1 (415) 555-0123", unknown, ""},
		{"+14155550123", unknown, ""},
		{"415-555-0123", unknown, ""},
		{"I paid $4,829.13 for it", unknown, ""},
		{"4829,13 kr", unknown, ""},
		{"1200 EUR", unknown, ""},
		{"€482913", unknown, ""},
		{"at 10:30:45", unknown, ""},
		{"on 2026-11-23", unknown, ""},
		{"23.11.2026", unknown, ""},
		{"11/23/26", unknown, ""},
		{"room A482913", unknown, ""},
		{"see https://example.com/482913abc", unknown, ""},
		{"118", unknown, "118"},
		{"what about KTR204", unknown, "KTR204"},

		// NEW.
		{"NEW", fresh, ""},
		{"new", fresh, ""},
		{"New.", fresh, ""},
		{"ＮＥＷ", fresh, ""},
		{"new please", fresh, ""},
		{"NEW PIN", fresh, ""},
		{"Please send me a new code", fresh, ""},
		{"can you send another one?", fresh, ""},
		{"Can I have a new pin please", fresh, ""},
		{"resend", fresh, ""},
		{"send it again pls 🙏", fresh, ""},
		{"I didn't get the code", fresh, ""},
		{"never received it", fresh, ""},
		{"send me the pin", fresh, ""},
		{"Text my code please", fresh, ""},
		{"new 118", fresh, "118"},
		{"new pin for order KTR204", fresh, "KTR204"},
		{"I need a new pin for my order", fresh, ""},
		{"I have no new pin", unknown, ""},
		{"new order", unknown, ""},
		{"new phone who dis", unknown, ""},
		{"news", unknown, ""},
		{"what's new?", unknown, ""},

		// NO is final, and so is read narrowly.
		{"NO", no, ""},
		{"no", no, ""},
		{"No.", no, ""},
		{"NO!!!", no, ""},
		{"no no no", no, ""},
		{"No thanks", no, ""},
		{"no, thank you", no, ""},
		{"Sorry, no.", no, ""},
		{"nope", no, ""},
		{"N", no, ""},
		{"no 118", no, "118"},
		{"NO 118!", no, "118"},
		{"118 no", no, "118"},
		{"No, order 118 please", no, "118"},
		{"no to ktr 204", no, "KTR204"},
		{"not me", no, ""},
		{"That wasn’t me", no, ""},
		{"No, I did not order this", no, ""},
		{"I didn't order anything!", no, ""},
		{"I don't want it", no, ""},
		{"wrong number", no, ""},
		{"cancel my order", no, ""},
		{"Please cancel order 118", no, "118"},
		{"cancel 118", no, "118"},
		{"I want to cancel the order", no, ""},
		{"stop my order", no, ""},
		{"no idea what this is", unknown, ""},
		{"No problem", unknown, ""},
		{"no pin came", unknown, ""},
		{"no new text", unknown, ""},
		{"no ok", unknown, ""},
		{"not yet", unknown, ""},
		{"don't cancel my order", unknown, ""},
		{"did you cancel my order?", unknown, ""},
		{"no 119", unknown, ""},
		{"no 118 77", unknown, "118"},
		{"No, I want order 118", unknown, "118"},
		{"nobody", unknown, ""},
		{"know", unknown, ""},

		// A PIN beside a no: one confirms, the other declines, so we ask.
		{"no, 482913?", unknown, ""},
		{"no 482913", unknown, ""},
		{"482913 NO", unknown, ""},
		{"No! 482913 is wrong", unknown, ""},
		{"482913 wasn't me", unknown, ""},
		{"I got 482913 but I did not order anything from you", unknown, ""},
		{"cancel my order 118, pin 482913", unknown, "118"},
		{"no 118 204", unknown, ""},

		// STATUS.
		{"STATUS", status, ""},
		{"status?", status, ""},
		{"Status of order 118?", status, "118"},
		{"order status please", status, ""},
		{"what's the status of my order", status, ""},
		{"where is my order", status, ""},
		{"118 status", status, "118"},
		{"marital status", unknown, ""},

		// Opting out in free text, which Twilio does not act on.
		{"STOP!!!", stop, ""},
		{"stop.", stop, ""},
		{"ＳＴＯＰ", stop, ""},
		{"STOP 4821", stop, ""},
		{"STOP 482913", stop, ""},
		{"stop please", stop, ""},
		{"please stop", stop, ""},
		{"Please stop texting me", stop, ""},
		{"Stop sending me these messages", stop, ""},
		{"No, stop texting me", stop, ""},
		{"opt out please", stop, ""},
		{"opt-out", stop, ""},
		{"I want to opt out of this", stop, ""},
		{"Opt me out", stop, ""},
		{"unsubscribe me", stop, ""},
		{"How do I unsubscribe?", stop, ""},
		{"remove me from your list", stop, ""},
		{"Take me off this list", stop, ""},
		{"delete my number", stop, ""},
		{"don't text me again", stop, ""},
		{"Do not contact me", stop, ""},
		{"no more texts!", stop, ""},
		{"leave me alone", stop, ""},
		{"quit it", stop, ""},
		{"Cancel.", stop, ""},
		{"482913 and then stop texting me", stop, ""},
		{"cancel my order and stop texting me", stop, ""},
		{"why do you not stop texting me", stop, ""},
		{"I can not opt out", stop, ""},
		{"don't stop", unknown, ""},
		{"take me to your shop", unknown, ""},
		{"Please don't stop the texts", unknown, ""},
		{"I did not unsubscribe", unknown, ""},
		{"I'll stop by later", unknown, ""},
		{"it won't stop raining", unknown, ""},
		{"the bus stop", unknown, ""},
		{"cancel please", unknown, ""},
		{"the end", unknown, ""},

		// Opting in again, in words that Twilio does not act on.
		{"Start.", start, ""},
		{"start again please", start, ""},
		{"unstop!", start, ""},
		{"yes please", unknown, ""},
		{"Yes!", unknown, ""},
		{"when do you start", unknown, ""},

		// For these Twilio has no answer, so we hint.
		{"help me", unknown, ""},
		{"HELP!", unknown, ""},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got := flow.Read(tt.text, known)
			want := flow.Reading{Intent: tt.want, Reference: tt.order}
			if got != want {
				t.Errorf("Read(%q) = %s %q of %q %q, want %s of %q", tt.text, got.Intent, got.PIN.Digits(), got.Reference, got.Word, tt.want, tt.order)
			}
		})
	}
}

func TestReadLeavesTwiliosWordsToTwilio(t *testing.T) {
	for word, want := range map[string]flow.Intent{
		"STOP": flow.IntentStop, "STOPALL": flow.IntentStop, "UNSUBSCRIBE": flow.IntentStop,
		"CANCEL": flow.IntentStop, "END": flow.IntentStop, "QUIT": flow.IntentStop,
		"REVOKE": flow.IntentStop, "OPTOUT": flow.IntentStop,
		"START": flow.IntentStart, "UNSTOP": flow.IntentStart, "YES": flow.IntentStart,
		"HELP": flow.IntentHelp, "INFO": flow.IntentHelp,
	} {
		for _, text := range []string{word, strings.ToLower(word), " " + word + "\r\n", word[:1] + strings.ToLower(word[1:])} {
			// Even if an order is called so.
			s := flow.Situation{Lengths: []int{6}, References: []string{word}}
			if got := flow.Read(text, s); got != (flow.Reading{Intent: want, Word: word}) {
				t.Errorf("Read(%q) = %v", text, got)
			}
		}
		if got := flow.Read(word+"!", known); got.Word != "" {
			t.Errorf("Read(%q) takes it for Twilio's word, which has no punctuation", word+"!")
		}
	}
}

func TestReadKnowsTheLengthsOfPINs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lengths []int
		orders  []string
		text    string
		want    flow.Intent
		pin     string
	}{
		{"four digits", []int{4}, nil, "4821", flow.IntentPIN, "4821"},
		{"six where four are asked for", []int{4}, nil, "482913", flow.IntentUnknown, ""},
		{"both, after the length was changed", []int{4, 6}, nil, "482 913", flow.IntentPIN, "482913"},
		{"an old and a new one", []int{4, 6}, nil, "4821 482913", flow.IntentPINs, ""},
		{"two halves are one, not two", []int{4, 8}, nil, "4829 1313", flow.IntentPIN, "48291313"},
		{"a price is not four digits", []int{4}, nil, "$42.10", flow.IntentUnknown, ""},
		{"a year in a date is not four digits", []int{4}, nil, "23.11.2026", flow.IntentUnknown, ""},
		{"a time is not four digits", []int{4}, nil, "10:30", flow.IntentUnknown, ""},
		{"a time without its colon", []int{4}, nil, "1030 pm", flow.IntentUnknown, ""},
		{"the end of a telephone number is not four digits", []int{4}, nil, "(415) 555-0123", flow.IntentUnknown, ""},
		{"an opt-out with a PIN", []int{4}, nil, "STOP 4821", flow.IntentStop, ""},
		{"nothing is a PIN where none can be", nil, nil, "482913", flow.IntentUnknown, ""},
		{"an order that looks like a PIN, beside the PIN", []int{6}, []string{"482913"}, "482913 113355", flow.IntentPIN, "113355"},
		{"an order that looks like a PIN, alone", []int{6}, []string{"482913"}, "482913", flow.IntentPIN, "482913"},
		{"an order that looks like a PIN, declined", []int{6}, []string{"482913"}, "NO 482913", flow.IntentNo, ""},
		{"a single digit is an order", []int{6}, []string{"1"}, "4 8 2 9 1 3", flow.IntentPIN, "482913"},
		{"an order is called NEW", []int{6}, []string{"NEW"}, "NEW", flow.IntentNew, ""},
		{"the longer of two references", []int{6}, []string{"A1", "A1-2"}, "no a1-2", flow.IntentNo, ""},
		{"a reference inside a word is none", []int{6}, []string{"118"}, "no 1185", flow.IntentUnknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := flow.Read(tt.text, flow.Situation{Lengths: tt.lengths, References: tt.orders})
			if got.Intent != tt.want || got.PIN.Digits() != tt.pin {
				t.Errorf("Read(%q) = %s %q, want %s %q", tt.text, got.Intent, got.PIN.Digits(), tt.want, tt.pin)
			}
		})
	}
}

// The first digit of every script that Unicode had in version 15, from its
// data file and not from Go's tables.
const zeros = "0٠۰߀०০੦૦୦௦౦೦൦෦๐໐༠၀႐០᠐᥆᧐᪀᪐᭐᮰᱀᱐꘠꣐꤀꧐꧰꩐꯰０𐒠𐴰𑁦𑃰𑄶𑇐𑋰𑑐𑓐𑙐𑛀𑜰𑣠𑥐𑱐𑵐𑶠𑽐𖩠𖫀𖭐𝟎𝟘𝟢𝟬𝟶𞅀𞋰𞓰𞥐🯰"

func TestReadKnowsTheDigitsOfEveryScript(t *testing.T) {
	for _, zero := range zeros {
		if !unicode.IsDigit(zero) {
			continue // newer than this Go
		}
		for _, pin := range []string{"012345", "567890"} {
			text := strings.Map(func(r rune) rune { return zero + r - '0' }, pin)
			if got := flow.Read(text, known); got.PIN.Digits() != pin {
				t.Errorf("Read(%q), from %U, = %q, want %q", text, zero, got.PIN.Digits(), pin)
			}
		}
	}
}

// Time cannot be asserted, but memory can: what is quadratic in one is so in
// the other wherever pieces are copied or joined.
func TestReadTakesLinearMemory(t *testing.T) {
	took := func(text string) float64 {
		return testing.AllocsPerRun(5, func() { flow.Read(text, known) })
	}
	for _, piece := range []string{
		"482913 ", "4 ", "no ", "no problem ", "please ", "stop ", "A-", "1 1 8 ", "order no 118 ",
		"4.8,", "not me ", "send me a new pin ", "ﷺ", "'", "$4", "(((", "KTR ",
	} {
		n := 600/len(piece) + 1
		once, tenfold := took(strings.Repeat(piece, n)), took(strings.Repeat(piece, 10*n))
		if tenfold > 20*once+100 { // were it quadratic, it would be 100 times
			t.Errorf("%q %d times takes %v allocations, and ten times as often %v", piece, n, once, tenfold)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"482913", "my pin is 482 913.", "NO 118", "STOP 4821", "４８２９１３", "٤٨٢٩١٣", "4️⃣8️⃣2️⃣9️⃣1️⃣3️⃣",
		"ktr 204 48O913", "$1,234.56", "10:30", "\xff\xfe4829\u200f13", "don't stop", "ﷺ", "+1 (415) 555-0123",
	} {
		f.Add(text, uint8(6), "118", uint32(482913))
	}
	f.Fuzz(func(t *testing.T, text string, length uint8, reference string, number uint32) {
		reference = reference[:min(len(reference), 20)]
		s := flow.Situation{Lengths: []int{4 + int(length%5), 6}, References: []string{reference, "KTR204"}, Locale: "en"}
		got := flow.Read(text, s)
		pin := got.PIN.Digits()
		if (got.Intent == flow.IntentPIN) != (pin != "") {
			t.Errorf("Read(%q) is %s with %d digits of a PIN", text, got.Intent, len(pin))
		}
		if pin != "" && (len(pin) != s.Lengths[0] && len(pin) != s.Lengths[1] || strings.Trim(pin, "0123456789") != "") {
			t.Errorf("Read(%q) takes %q for a PIN", text, pin)
		}
		if got.Reference != "" && got.Reference != reference && got.Reference != "KTR204" {
			t.Errorf("Read(%q) names order %q, which there is not", text, got.Reference)
		}
		if again := flow.Read(text, s); again != got {
			t.Errorf("Read(%q) is %v, then %v", text, got, again)
		}

		// However a PIN is spaced, and wherever it goes from right to left.
		s = flow.Situation{Lengths: []int{6}}
		pin = fmt.Sprintf("%06d", number%1_000_000)
		gaps := []string{"", " ", "-", "\u200e", "\u202b", "\u00a0", "\u200b", "."}
		var spaced strings.Builder
		for i, r := range pin {
			gap := gaps[int(number>>(3*i))%len(gaps)]
			if gap == "." || gap == "-" {
				gap += " " // else it can look like a date
			}
			spaced.WriteString(gap + string(r))
		}
		if got := flow.Read(spaced.String(), s); got.PIN.Digits() != pin {
			t.Errorf("Read(%q) = %s %q, want %q", spaced.String(), got.Intent, got.PIN.Digits(), pin)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, text := range map[string]string{"a PIN": "482913", "a sentence": "Hi, my pin is 482 913. Thanks!", "the longest": strings.Repeat("no idea ", 200)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				flow.Read(text, known)
			}
		})
	}
}

func ExampleRead() {
	line := flow.Situation{Lengths: []int{6}, References: []string{"118"}}
	for _, text := range []string{
		"my pin is 482-913.",
		"٤٨٢٩١٣",
		"118: 48O913 👍",
		"No thanks",
		"no 118",
		"no idea what this is",
		"stop",
		"please stop texting me",
	} {
		r := flow.Read(text, line)
		fmt.Printf("%s: %s, PIN %q, order %q\n", text, r.Intent, r.PIN.Digits(), r.Reference)
	}
	// Output:
	// my pin is 482-913.: pin, PIN "482913", order ""
	// ٤٨٢٩١٣: pin, PIN "482913", order ""
	// 118: 48O913 👍: pin, PIN "480913", order "118"
	// No thanks: no, PIN "", order ""
	// no 118: no, PIN "", order "118"
	// no idea what this is: unknown, PIN "", order ""
	// stop: stop, PIN "", order ""
	// please stop texting me: stop, PIN "", order ""
}
