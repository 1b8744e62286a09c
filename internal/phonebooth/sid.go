package phonebooth

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// newSid is a fresh name in Twilio's manner: two letters and 32 hex digits.
func newSid(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

var (
	accountSid = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	serviceSid = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	messageSid = regexp.MustCompile(`^(SM|MM)[0-9a-fA-F]{32}$`)
)
