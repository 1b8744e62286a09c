package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/flow"
)

func TestSegments(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		name, text string
		want       int
		ucs2       bool
	}{
		{"nothing", "", 1, false},
		{"one full", a(160), 1, false},
		{"one septet more", a(161), 2, false},
		{"two full", a(306), 2, false},
		{"one septet more than two", a(307), 3, false},
		{"euros take two septets", strings.Repeat("€", 80), 1, false},
		{"one euro more", strings.Repeat("€", 81), 2, false},
		{"an escaped character is not torn apart", a(152) + "€" + a(10), 2, false},
		{"which can cost a segment", a(152) + "€" + a(151) + "€" + a(1), 3, false},
		{"every basic character", "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà", 1, false},
		{"every extended character", "^{}\\[~]|€\f", 1, false},
		{"a backtick is not GSM", "`", 1, true},
		{"nor is a lower-case c with cedilla", "ç", 1, true},
		{"nor a tab", "\t", 1, true},
		{"nor a no-break space", "\u00a0", 1, true},
		{"nor a broken byte", "\xff", 1, true},
		{"thumbs are pairs", strings.Repeat("👍", 35), 1, true},
		{"one thumb more", strings.Repeat("👍", 36), 2, true},
		{"a pair is not torn apart", a(66) + strings.Repeat("👍", 33) + "👍👍", 3, true},
		{"one full of curly quotes", strings.Repeat("’", 70), 1, true},
		{"one curly quote more", strings.Repeat("’", 71), 2, true},
		{"two full of curly quotes", strings.Repeat("’", 134), 2, true},
		{"one curly quote more than two", strings.Repeat("’", 135), 3, true},
		{"one curly quote makes a long text three", a(159) + "’", 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, ucs2 := flow.Segments(tt.text); n != tt.want || ucs2 != tt.ucs2 {
				t.Errorf("Segments = %d, %v; want %d, %v", n, ucs2, tt.want, tt.ucs2)
			}
		})
	}
}

func FuzzSegments(f *testing.F) {
	for _, text := range []string{"", strings.Repeat("a", 161), strings.Repeat("€", 81), strings.Repeat("👍", 36), "\xff’"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ucs2 := flow.Segments(text)
		chars := utf8.RuneCountInString(text)
		// Between one septet or unit a character, and two.
		least, most := (chars+159)/160, max(1, (chars+75)/76)
		if ucs2 {
			least, most = (chars+69)/70, max(1, (chars+32)/33)
		}
		if n < max(1, least) || n > most {
			t.Errorf("%d characters take %d segments", chars, n)
		}
		if more, _ := flow.Segments(text + "a"); more < n || more > n+1 {
			t.Errorf("%d segments, and with one character more %d", n, more)
		}
		if _, still := flow.Segments("a" + text); still != ucs2 {
			t.Errorf("UCS-2 is %v, and with an a in front %v", ucs2, still)
		}
	})
}

func ExampleSegments() {
	for _, text := range []string{
		strings.Repeat("It's fine. ", 14),
		strings.Repeat("It’s fine. ", 14), // that quote is not in the GSM alphabet
	} {
		n, ucs2 := flow.Segments(text)
		fmt.Println(len([]rune(text)), "characters:", n, "segments, UCS-2:", ucs2)
	}
	// Output:
	// 154 characters: 1 segments, UCS-2: false
	// 154 characters: 3 segments, UCS-2: true
}
