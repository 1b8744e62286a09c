package phonebooth

import (
	"strings"
	"unicode/utf16"
)

// The two alphabets a text can travel in (3GPP TS 23.038).
const (
	gsm7 = "GSM-7"
	ucs2 = "UCS-2"
)

// What one segment holds: alone, and as one of several, where six octets go
// to the header that joins them.
const (
	gsmAlone, gsmJoined = 160, 153 // septets
	ucsAlone, ucsJoined = 70, 67   // UTF-16 units
)

// gsmBasic costs one septet a character, gsmExtension two: an escape and
// itself.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "^{}\\[~]|€\f"
)

// segments counts what body costs to text, and names the alphabet. A
// character that takes two places is never torn between two segments. An
// empty body, as of a picture, is one segment.
func segments(body string) (int, string) {
	encoding, cost, alone, joined := gsm7, gsmCost, gsmAlone, gsmJoined
	if strings.ContainsFunc(body, func(r rune) bool { return gsmCost(r) == 0 }) {
		encoding, cost, alone, joined = ucs2, utf16.RuneLen, ucsAlone, ucsJoined
	}
	total, n, room := 0, 1, joined
	for _, r := range body {
		c := cost(r)
		total += c
		if c > room {
			n, room = n+1, joined
		}
		room -= c
	}
	if total <= alone {
		return 1, encoding
	}
	return n, encoding
}

// gsmCost is what r takes in GSM-7, in septets; 0 if it is not of it.
func gsmCost(r rune) int {
	switch {
	case strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmExtension, r):
		return 2
	}
	return 0
}

// smarten is Twilio's Smart Encoding, as far as it is common: look-alikes
// that would cost a text its GSM-7 are set back.
var smarten = strings.NewReplacer(
	"‘", "'", "’", "'", "‚", "'", "‛", "'", "′", "'", "`", "'",
	"“", `"`, "”", `"`, "„", `"`, "‟", `"`, "″", `"`, "«", `"`, "»", `"`,
	"‐", "-", "‑", "-", "‒", "-", "–", "-", "—", "-", "―", "-", "−", "-",
	"…", "...", "\u00a0", " ", "\u2007", " ", "\u202f", " ", "\u200b", "", "\t", " ",
)
