package flow

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/google/uuid"
)

// PIN lengths that can be asked for, in digits. HOTP truncates to 31 bits:
// beyond 8 digits some PINs would be visibly likelier than others.
const (
	MinPINLength = 4
	MaxPINLength = 8
)

// A PIN is a one-time code's digits. It prints as [PIN]; [PIN.Digits] is for
// the text that carries it.
type PIN string

// Digits returns the PIN itself.
func (p PIN) Digits() string { return string(p) }

// Format hides p from every verb of fmt.
func (p PIN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[PIN]") }

// String hides p.
func (p PIN) String() string { return "[PIN]" }

// LogValue hides p from slog.
func (p PIN) LogValue() slog.Value { return slog.StringValue("[PIN]") }

// Equal compares in constant time. An empty PIN equals nothing.
func (p PIN) Equal(q PIN) bool {
	return p != "" && subtle.ConstantTimeCompare([]byte(p), []byte(q)) == 1
}

// MinKey is the shortest secret key that is accepted, in bytes.
const MinKey = 32

// A Key is a secret that PINs are derived from.
type Key []byte

// ID names k without telling anything of it: a prefix of a labelled hash. It
// is kept with each serial, so that rotation finds the key again.
func (k Key) ID() string {
	sum := sha256.Sum256(append([]byte("countersign key id/v1\x00"), k...))
	return hex.EncodeToString(sum[:4])
}

// LogValue hides k from slog.
func (k Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// Format hides k from every verb of fmt.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[key]") }

// A Keyring holds the secret keys, newest first. New PINs are derived from the
// newest; the others keep the PINs good that they have issued.
type Keyring struct {
	newest string
	keys   map[string]Key
}

// NewKeyring takes the secret keys, newest first.
func NewKeyring(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a secret key is needed")
	}
	r := &Keyring{newest: keys[0].ID(), keys: make(map[string]Key, len(keys))}
	for i, k := range keys {
		if len(k) < MinKey {
			return nil, fmt.Errorf("secret key %d has %d bytes; at least %d are needed", i+1, len(k), MinKey)
		}
		r.keys[k.ID()] = bytes.Clone(k)
	}
	return r, nil
}

// PIN derives the PIN of serial s of an order on a number: HOTP (RFC 4226)
// with s.N as the counter, under a key of its own for each order, number and
// wording. It returns false if the serial's key is gone.
func (r *Keyring) PIN(order uuid.UUID, number Number, s Serial) (PIN, bool) {
	secret, ok := r.keys[s.Key]
	if !ok || s.N < 1 {
		return "", false
	}
	mac := hmac.New(sha256.New, secret)
	// Each field is preceded by its length: no two lists of fields run
	// together into the same bytes.
	for _, field := range [...]string{
		"pin/v1", string(order[:]), number.E164(), s.Named.Reference, s.Named.Amount,
	} {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(field))) //nolint:gosec // fields are short
		mac.Write(length[:])
		mac.Write([]byte(field))
	}
	return hotp(mac.Sum(nil), uint64(s.N), s.Length), true //nolint:gosec // N ≥ 1
}

// hotp is RFC 4226 §5.3.
func hotp(key []byte, counter uint64, digits int) PIN {
	var message [8]byte
	binary.BigEndian.PutUint64(message[:], counter)
	mac := hmac.New(sha1.New, key)
	mac.Write(message[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	code := binary.BigEndian.Uint32(sum[offset:offset+4]) & 0x7fffffff

	pin := make([]byte, digits)
	for i := digits - 1; i >= 0; i-- {
		pin[i] = '0' + byte(code%10)
		code /= 10
	}
	return PIN(pin)
}
