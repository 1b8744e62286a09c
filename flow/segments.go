package flow

import "strings"

// Twilio bills and queues texts by the segment: 140 octets, of which a text
// of several gives 6 away to the header that joins them. Hence 160 septets
// alone and 153 each together in the GSM alphabet, 70 and 67 UTF-16 units
// otherwise. https://www.twilio.com/docs/glossary/what-sms-character-limit
const (
	segmentGSM, segmentGSMJoined = 160, 153
	segmentUCS, segmentUCSJoined = 70, 67
)

// The GSM 7-bit default alphabet, 3GPP TS 23.038 §6.2.1, and its extension
// table, whose characters take two septets.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "\f^{}\\[~]|€"
)

// Segments counts what text is billed as, and whether it leaves the GSM
// alphabet and is sent as UCS-2, in less than half the characters a segment.
// It counts as if Twilio's Smart Encoding were off; that can only lessen it.
// The empty text counts as one.
func Segments(text string) (n int, ucs2 bool) {
	width, alone, joined := gsmWidth, segmentGSM, segmentGSMJoined
	for _, r := range text {
		if gsmWidth(r) == 0 {
			width, alone, joined, ucs2 = ucsWidth, segmentUCS, segmentUCSJoined, true
			break
		}
	}

	total, segments, room := 0, 1, joined
	for _, r := range text {
		w := width(r)
		total += w
		if w > room { // a pair is never torn apart
			segments++
			room = joined
		}
		room -= w
	}
	if total <= alone {
		return 1, ucs2
	}
	return segments, ucs2
}

// gsmWidth returns the septets that r takes, or 0 if the alphabet lacks it.
func gsmWidth(r rune) int {
	switch {
	case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == ' ', strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmExtended, r):
		return 2
	default:
		return 0
	}
}

// ucsWidth returns the UTF-16 units that r takes.
func ucsWidth(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}
