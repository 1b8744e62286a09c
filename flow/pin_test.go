package flow

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// The secret and values of RFC 4226, Appendix D.
func TestHOTPOfRFC4226(t *testing.T) {
	secret := []byte("12345678901234567890")
	for counter, want := range []PIN{
		"755224", "287082", "359152", "969429", "338314",
		"254676", "287922", "162583", "399871", "520489",
	} {
		if got := hotp(secret, uint64(counter), 6); got.Digits() != want.Digits() {
			t.Errorf("count %d: %s, want %s", counter, got.Digits(), want.Digits())
		}
	}
	// The table's truncated values before they are cut to six digits.
	for counter, want := range []string{"84755224", "94287082", "37359152"} {
		if got := hotp(secret, uint64(counter), 8); got.Digits() != want {
			t.Errorf("count %d in 8 digits: %s, want %s", counter, got.Digits(), want)
		}
	}
}

var (
	goldenKey   = Key("an example key of thirty-two bytes")
	goldenOrder = uuid.MustParse("01890f3e-7b1a-7cc2-98c4-dc0c0c07398f")
)

func goldenSerial() Serial {
	return Serial{N: 1, Key: goldenKey.ID(), Length: 6, Named: Named{Reference: "KTR204", Amount: "$42.10"}}
}

// PINs of texts already sent must stay what they are: this vector may only
// change together with the label pin/v1.
func TestPINsStayWhatTheyAre(t *testing.T) {
	ring, err := NewKeyring(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	pin, ok := ring.PIN(goldenOrder, "+14155550123", goldenSerial())
	if want := "033429"; !ok || pin.Digits() != want {
		t.Errorf("PIN = %s, %v; want %s", pin.Digits(), ok, want)
	}
	if want := "0e793779"; goldenKey.ID() != want {
		t.Errorf("key id = %s, want %s", goldenKey.ID(), want)
	}
}

func TestEveryFieldChangesThePIN(t *testing.T) {
	ring, err := NewKeyring(goldenKey, Key("another key that is long enough for it"))
	if err != nil {
		t.Fatal(err)
	}
	derive := func(order uuid.UUID, n Number, change func(*Serial)) PIN {
		s := goldenSerial()
		s.Length = 8 // where two equal PINs are no accident
		if change != nil {
			change(&s)
		}
		pin, ok := ring.PIN(order, n, s)
		if !ok {
			t.Fatal("no PIN")
		}
		return pin
	}
	seen := map[PIN]string{}
	for what, pin := range map[string]PIN{
		"nothing":       derive(goldenOrder, "+14155550123", nil),
		"the order":     derive(uuid.MustParse("01890f3e-7b1a-7cc2-98c4-dc0c0c073990"), "+14155550123", nil),
		"the number":    derive(goldenOrder, "+14155550124", nil),
		"the counter":   derive(goldenOrder, "+14155550123", func(s *Serial) { s.N++ }),
		"the key":       derive(goldenOrder, "+14155550123", func(s *Serial) { s.Key = Key("another key that is long enough for it").ID() }),
		"the reference": derive(goldenOrder, "+14155550123", func(s *Serial) { s.Named.Reference = "KTR205" }),
		"the amount":    derive(goldenOrder, "+14155550123", func(s *Serial) { s.Named.Amount = "$42.11" }),
		// Without lengths before the fields these three would be one.
		"a border between fields moved left":  derive(goldenOrder, "+14155550123", func(s *Serial) { s.Named = Named{"KTR20", "4$42.10"} }),
		"a border between fields moved right": derive(goldenOrder, "+14155550123", func(s *Serial) { s.Named = Named{"KTR204$", "42.10"} }),
	} {
		if other, ok := seen[pin]; ok {
			t.Errorf("changing %s gives the PIN that changing %s gives", what, other)
		}
		seen[pin] = what
	}
}

func TestPINsOfEveryLengthHaveIt(t *testing.T) {
	ring, _ := NewKeyring(goldenKey)
	rapid.Check(t, func(t *rapid.T) {
		s := goldenSerial()
		s.N = rapid.Int64Min(1).Draw(t, "n")
		s.Length = rapid.IntRange(MinPINLength, MaxPINLength).Draw(t, "length")
		pin, ok := ring.PIN(goldenOrder, "+14155550123", s)
		if !ok || len(pin) != s.Length || strings.Trim(pin.Digits(), "0123456789") != "" {
			t.Fatalf("PIN of length %d is %q", s.Length, pin.Digits())
		}
	})
}

func TestNoPINWithoutItsKey(t *testing.T) {
	ring, _ := NewKeyring(Key("another key that is long enough for it"))
	if pin, ok := ring.PIN(goldenOrder, "+14155550123", goldenSerial()); ok || pin != "" {
		t.Errorf("a keyring without the serial's key gave %q", pin.Digits())
	}
	if PIN("").Equal("") {
		t.Error("no PIN equals no PIN: an order without one could be confirmed by nothing")
	}
}

func TestKeyringRefuses(t *testing.T) {
	for name, keys := range map[string][]Key{
		"no key":                    nil,
		"a key one byte short":      {Key(strings.Repeat("k", MinKey-1))},
		"an empty key":              {Key("")},
		"a short key behind a good": {goldenKey, Key("short")},
	} {
		if _, err := NewKeyring(keys...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	pin, number := PIN("482913"), Number("+14155550123")
	var out bytes.Buffer
	c := Conversation{pin: pin, Line: LineID{Number: number}}
	texts := []any{Text{To: number, Body: "482913"}, Found{Body: "482913"}, Heard{Line: LineID{Number: number}, Body: "482913"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+" "+verb+"\n", pin, number, goldenKey, c)
	}
	fmt.Fprintf(&out, "%v %+v %#v", texts, texts, texts)
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "pin", pin, "number", number, "key", goldenKey, "c", c)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "pin", pin, "number", number, "key", goldenKey, "c", c)
	for _, secret := range []string{"482913", "343832393133", "4155550123", string(goldenKey), "34313535"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is printed:\n%s", secret, &out)
		}
	}
}
