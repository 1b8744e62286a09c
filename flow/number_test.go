package flow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/flow"
)

func TestParseNumberReads(t *testing.T) {
	for _, tt := range []struct{ name, typed, region, want, country string }{
		{"the recipe's example", "111-111-1111", "US", "+11111111111", "US"},
		{"an American one", "(415) 555-0123", "US", "+14155550123", "US"},
		{"dots", "415.555.0123", "US", "+14155550123", "US"},
		{"bare digits", "4155550123", "US", "+14155550123", "US"},
		{"the 1 in front", "1 415 555 0123", "US", "+14155550123", "US"},
		{"E.164", "+14155550123", "US", "+14155550123", "US"},
		{"a number of Twilio's tests", "+15005550006", "US", "+15005550006", "US"},
		{"spaces around", " +1 415 555 0123\n", "US", "+14155550123", "US"},
		{"a link", "tel:+1-415-555-0123", "US", "+14155550123", "US"},
		{"marks of direction", "\u202a+1 415 555 0123\u202c", "US", "+14155550123", "US"},
		{"full width", "（４１５）５５５－０１２３", "US", "+14155550123", "US"},
		{"a full-width plus", "＋１ ４１５ ５５５ ０１２３", "US", "+14155550123", "US"},
		{"Arabic-Indic digits", "٤١٥٥٥٥٠١٢٣", "US", "+14155550123", "US"},
		{"Devanagari, which the parser itself does not know", "४१५ ५५५ ०१२३", "US", "+14155550123", "US"},
		{"no-break hyphens", "415‑555‑0123", "US", "+14155550123", "US"},
		{"00 for +", "0046 70 123 45 67", "US", "+46701234567", "SE"},
		{"00 at home in Sweden", "0046701234567", "SE", "+46701234567", "SE"},
		{"011 for + in the US", "011 46 70 123 45 67", "US", "+46701234567", "SE"},
		{"0011 for + in Australia", "0011 46 70 123 45 67", "AU", "+46701234567", "SE"},
		{"00 for + in Australia", "0046 70 123 45 67", "AU", "+46701234567", "SE"},
		{"the 0 of Swedish numbers", "070-123 45 67", "SE", "+46701234567", "SE"},
		{"the 0 in brackets", "+46 (0)70 123 45 67", "US", "+46701234567", "SE"},
		{"a range that is reserved for films", "+44 7700 900123", "US", "+447700900123", "GB"},
		{"Canada shares +1", "604 555 0123", "US", "+16045550123", "CA"},
		{"the 0 of Italian numbers, which stays", "06 1234 5678", "IT", "+390612345678", "IT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, country, err := flow.ParseNumber(tt.typed, tt.region, []string{"US", "CA", "SE", "GB", "IT"})
			if n.E164() != tt.want || country != tt.country || err != nil {
				t.Errorf("ParseNumber(%q, %s) = %q, %s, %v; want %q, %s", tt.typed, tt.region, n.E164(), country, err, tt.want, tt.country)
			}
			if n.Country() != country {
				t.Errorf("Country() = %s, but it was parsed as of %s", n.Country(), country)
			}
		})
	}
}

func TestParseNumberRefusesAndSaysWhatToType(t *testing.T) {
	for _, tt := range []struct{ name, typed, says string }{
		{"nothing", "", "Type your mobile number."},
		{"blanks", " \u00a0\u200e ", "Type your mobile number."},
		{"a plus", "+", "too short"},
		{"one digit", "4", "too short"},
		{"a number without its area code", "777-0123", "with the area code"},
		{"a digit too few", "415 555 012", "too short"},
		{"a digit too few abroad", "+46 70 12", "too short"},
		{"an emergency number", "911", "too short"},
		{"a short code", "12345", "too short"},
		{"a digit too many", "415 555 01234", "too long"},
		{"two numbers", "415 555 0123 / 0124", "too long"},
		{"no end of digits", strings.Repeat("4", 60), "too long"},
		{"more than anybody types", strings.Repeat("4", 5000), "too long"},
		{"a code that no country has", "+999 1234567890", "No country has that code"},
		{"zeros", "0000000000", "No country has that code"},
		{"letters", "1-800-FLOWERS", "without letters"},
		{"a word", "mobile", "without letters"},
		{"Cyrillic letters", "415 555 О123", "without letters"},
		{"a name and number", "Ann 415 555 0123", "without letters"},
		{"an extension", "415 555 0123 x5", "without it"},
		{"an extension in full", "415 555 0123 ext. 5", "without it"},
		{"an extension by #", "415 555 0123 #5", "without it"},
		{"an extension by pauses", "415 555 0123,,5", "without it"},
		{"an extension in a link", "tel:+14155550123;ext=5", "without it"},
		{"two pluses", "++14155550123", "only the digits"},
		{"a plus within", "1+4155550123", "only the digits"},
		{"a price", "$4155550123", "only the digits"},
		{"markup", "<4155550123>", "only the digits"},
		{"a premium number", "+1 900 555 0123", "not a mobile number"},
		{"a country that we do not text", "+46 70 123 45 67", "We can text numbers in: United States, Canada."},
		{"an island that shares +1", "+1 876 555 0123", "We can text numbers in: United States, Canada."},
		{"an island that shares +1, unassigned", "+1 809 111 1111", "We can text numbers in: United States, Canada."},
		{"a free number of no country", "+800 1234 5678", "We can text numbers in: United States, Canada."},
		{"a satellite telephone", "+8816 1234 5678", "We can text numbers in: United States, Canada."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, _, err := flow.ParseNumber(tt.typed, "US", []string{"US", "CA"})
			var refused *flow.Error
			if n != "" || !errors.As(err, &refused) {
				t.Fatalf("ParseNumber(%q) = %q, %v; want an *Error", tt.typed, n.E164(), err)
			}
			if refused.Code != flow.Invalid || refused.Field != flow.FieldNumber || !strings.Contains(refused.Message, tt.says) {
				t.Errorf("ParseNumber(%q) refuses with %+v, want %q", tt.typed, refused, tt.says)
			}
			if foreign := strings.HasPrefix(tt.says, "We can text"); foreign != (refused.Reason == flow.ReasonCountry) {
				t.Errorf("ParseNumber(%q) gives reason %q", tt.typed, refused.Reason)
			}
			if typed := strings.TrimSpace(tt.typed); len(typed) > 4 && strings.Contains(err.Error(), typed) {
				t.Errorf("ParseNumber(%q) repeats it: %v", tt.typed, err)
			}
		})
	}
}

func TestParseNumberRefusesWhatWouldBeReadOtherwiseAgain(t *testing.T) {
	_, _, err := flow.ParseNumber("+46 0000 000 01", "US", []string{"SE"})
	if err == nil || !strings.Contains(err.Error(), "No telephone has that number") {
		t.Errorf("error is %v", err)
	}
}

func TestE164IsStrict(t *testing.T) {
	for s, want := range map[string]bool{
		"+14155550123": true, "+15005550006": true, "+2904123": true, "+123456789012345": true,
		"": false, "+": false, "14155550123": false, "+04155550123": false, "+123456": false,
		"+1234567890123456": false, "+1415555012x": false, "+1 415 555 0123": false, " +14155550123": false,
		"+14155550123\n": false, "+١٤١٥٥٥٥٠١٢٣": false, "12345": false, "ACME": false, "whatsapp:+14155550123": false,
	} {
		n, ok := flow.E164(s)
		if ok != want || ok && n.E164() != s || !ok && n != "" {
			t.Errorf("E164(%q) = %q, %v", s, n.E164(), ok)
		}
	}
}

func TestCountry(t *testing.T) {
	for n, want := range map[flow.Number]string{
		"+14155550123": "US", "+11111111111": "US", "+16045550123": "CA", "+18765550123": "JM",
		"+447700900123": "GB", "+77011234567": "KZ", "+79161234567": "RU", "+80012345678": "ZZ",
		"+9991234567": "ZZ", "": "ZZ", "ACME": "ZZ", "+": "ZZ",
	} {
		if got := n.Country(); got != want {
			t.Errorf("Country of %q = %s, want %s", n.E164(), got, want)
		}
	}
}

func TestMasked(t *testing.T) {
	for n, want := range map[flow.Number]string{
		"+14155550123": "+1••••••••23", "+2904123": "+2••••23",
		"": "•••", "+": "•••", "12345": "•••", "+12345": "•••", "ACME": "•••", "+1415555é": "•••", "415 555 0123": "•••",
	} {
		if got := n.Masked(); got != want {
			t.Errorf("Masked of %q = %s, want %s", n.E164(), got, want)
		}
	}
}

func TestNumberNeverPrintsWhole(t *testing.T) {
	const n, secret = flow.Number("+14155550123"), "4155550"
	line := flow.LineID{Number: n, Sender: "+15005550006"}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%5.20s", "%c", "%t", "%U"} {
		printed = append(printed,
			fmt.Sprintf(verb, n), fmt.Sprintf(verb, &line.Number), fmt.Sprintf(verb, line), fmt.Sprintf(verb, []flow.Number{n}))
	}
	printed = append(printed, fmt.Sprint(n), fmt.Sprintln(line), fmt.Errorf("text %v: %w", n, errors.ErrUnsupported).Error())

	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("texted", "to", n, "line", line, "all", []flow.Number{n})
	}
	printed = append(printed, log.String(), mustJSON(t, line), mustJSON(t, []flow.Number{n}))

	hex := fmt.Sprintf("%x", secret)
	for _, s := range printed {
		if strings.Contains(s, secret) || strings.Contains(strings.ToLower(s), hex) {
			t.Errorf("the number is in %q", s)
		}
	}
	if got, want := mustJSON(t, line), `{"Number":"+1••••••••23","Sender":"+15005550006"}`; got != want {
		t.Errorf("the JSON of a line is %s, want %s", got, want)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzParseNumber(f *testing.F) {
	for _, typed := range []string{
		"(415) 555-0123", "111-111-1111", "+46 70 123 45 67", "0046701234567", "٤١٥٥٥٥٠١٢٣", "1-800-FLOWERS",
		"+1415555012 x5", "００４６７０１２３４５６７", "+39 06 1234", "0011 46 70", "", "+", "\xff", "+44 (0)7700 900123",
	} {
		f.Add(typed, uint8(0))
		f.Add(typed, uint8(3))
	}
	regions := []string{"US", "SE", "AU", "IT", "RU", "JP", "DE", "BR", "ZZ", ""}
	served := []string{"US", "CA", "SE", "AU", "IT", "RU", "JP", "DE", "BR"}
	f.Fuzz(func(t *testing.T, typed string, at uint8) {
		region := regions[int(at)%len(regions)]
		n, country, err := flow.ParseNumber(typed, region, served)
		if err != nil {
			var refused *flow.Error
			if n != "" || country != "" || !errors.As(err, &refused) || refused.Message == "" {
				t.Errorf("ParseNumber(%q) = %q, %q, %v", typed, n.E164(), country, err)
			}
			return
		}
		if _, ok := flow.E164(n.E164()); !ok {
			t.Errorf("ParseNumber(%q) = %q, which is no E.164", typed, n.E164())
		}
		if n.Country() != country {
			t.Errorf("ParseNumber(%q) is of %s, then of %s", typed, country, n.Country())
		}
		// What we print is what we read: anywhere, and again.
		again, _, err := flow.ParseNumber(n.E164(), "US", served)
		if again != n || err != nil {
			t.Errorf("ParseNumber(%q) = %q, but of that %q, %v", typed, n.E164(), again.E164(), err)
		}
	})
}

func ExampleParseNumber() {
	for _, typed := range []string{"(415) 555-0123", "0046 70 123 45 67", "555-0123", "415 555 0123 x5"} {
		n, country, err := flow.ParseNumber(typed, "US", []string{"US", "CA"})
		fmt.Println(n, country, err)
	}
	// Output:
	// +1••••••••23 US <nil>
	// •••  invalid: We can text numbers in: United States, Canada.
	// •••  invalid: That number is too short. Type all of it, with the area code, like (201) 555-0123.
	// •••  invalid: An extension cannot be texted. Type the number without it.
}

func BenchmarkCountry(b *testing.B) {
	for b.Loop() {
		flow.Number("+14155550123").Country()
	}
}
