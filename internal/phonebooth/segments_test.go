package phonebooth

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSegments(t *testing.T) {
	for _, tt := range []struct {
		name     string
		body     string
		n        int
		encoding string
	}{
		{"nothing", "", 1, gsm7},
		{"one full segment", strings.Repeat("a", 160), 1, gsm7},
		{"one septet too many", strings.Repeat("a", 161), 2, gsm7},
		{"two full segments", strings.Repeat("a", 306), 2, gsm7},
		{"one more than two hold", strings.Repeat("a", 307), 3, gsm7},
		{"a euro costs two septets", strings.Repeat("€", 80), 1, gsm7},
		{"and one euro more is too many", strings.Repeat("€", 81), 2, gsm7},
		{"an escape is not torn from its euro", strings.Repeat("a", 152) + "€" + strings.Repeat("a", 10), 2, gsm7},
		{"nor where that costs a segment", strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), 3, gsm7},
		{"one full segment of emoji", strings.Repeat("👍", 35), 1, ucs2},
		{"one emoji too many", strings.Repeat("👍", 36), 2, ucs2},
		{"a surrogate is not torn from its pair", strings.Repeat("☺", 66) + "👍" + strings.Repeat("☺", 66), 3, ucs2},
		{"one curly quote makes all of it dear", strings.Repeat("’", 71), 2, ucs2},
		{"a backtick is not GSM-7", "`", 1, ucs2},
		{"nor is a lower-case c cedilla", "ç", 1, ucs2},
		{"nor is a tab", "\t", 1, ucs2},
		{"Greek capitals are", "ΔΦΓΛΩΠΨΣΘΞ", 1, gsm7},
		{"a WebOTP line is", "482913 is your PIN.\n\n@example.com #482913", 1, gsm7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, encoding := segments(tt.body); n != tt.n || encoding != tt.encoding {
				t.Errorf("segments = %d %s, want %d %s", n, encoding, tt.n, tt.encoding)
			}
		})
	}
}

func TestAlphabetIsWhole(t *testing.T) {
	if n := utf8.RuneCountInString(gsmBasic); n != 127 { // 128 places, one of them the escape
		t.Errorf("the basic alphabet has %d characters, want 127", n)
	}
	if n := utf8.RuneCountInString(gsmExtension); n != 10 {
		t.Errorf("the extension has %d characters, want 10", n)
	}
	for _, r := range gsmBasic {
		if strings.Count(gsmBasic+gsmExtension, string(r)) != 1 {
			t.Errorf("%q is there more than once", r)
		}
	}
}
