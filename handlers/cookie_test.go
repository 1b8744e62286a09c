package handlers

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/flow"
)

func TestTheCookieIsAsSafeAsItsSite(t *testing.T) {
	for _, tt := range []struct {
		public, name string
		secure       bool
	}{
		{"https://shop.example.com", "__Host-countersign", true},
		{"http://localhost:8080", "countersign", false},
	} {
		t.Run(tt.public, func(t *testing.T) {
			s := open(t, func(c *Config) { c.PublicURL, _ = url.Parse(tt.public) })
			for _, res := range []reply{s.visitor().get("/"), s.visitor().post("/pin", "mobile_number", theirs)} {
				cookies := res.Cookies()
				if len(cookies) != 1 {
					t.Fatalf("%d cookies are set, want 1", len(cookies))
				}
				c := cookies[0]
				if c.Name != tt.name || c.Secure != tt.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
					t.Errorf("the cookie is %s", c)
				}
			}
		})
	}
}

func TestABrowserKeepsItsID(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := func(res reply) flow.Browser {
		b, ok := s.readCookie(res.Cookies()[0].Value)
		if !ok {
			t.Fatal("the cookie is not ours")
		}
		return b
	}
	first := id(v.get("/"))
	if again := id(v.post("/pin", "mobile_number", theirs)); again != first {
		t.Error("the second request made it another browser")
	}
	if other := id(s.visitor().get("/")); other == first {
		t.Error("two browsers are one")
	}
}

func TestForgedCookies(t *testing.T) {
	older, newer := []byte("the key that was before this one"), []byte("the key that is in use right now")
	s := open(t, func(c *Config) { c.CookieKeys = [][]byte{newer, older} })
	sign := func(key []byte) func(flow.Browser) string {
		return func(b flow.Browser) string {
			return base64.RawURLEncoding.EncodeToString(append(b[:], cookieMAC(key, b)...))
		}
	}
	for _, tt := range []struct {
		name  string
		value func(flow.Browser) string
		good  bool
	}{
		{"signed with the newest key", sign(newer), true},
		{"signed with the one before", sign(older), true},
		{"signed with somebody else's", sign([]byte("a key of somebody else's, 32 long")), false},
		{"not signed", func(b flow.Browser) string { return base64.RawURLEncoding.EncodeToString(b[:]) }, false},
		{"with another browser's MAC", func(b flow.Browser) string {
			other := flow.Browser{1}
			return base64.RawURLEncoding.EncodeToString(append(b[:], cookieMAC(newer, other)...))
		}, false},
		{"with a MAC cut short", func(b flow.Browser) string { v := sign(newer)(b); return v[:len(v)-4] }, false},
		{"with bytes after it", func(b flow.Browser) string { return sign(newer)(b) + "AAAA" }, false},
		{"spelled another way", func(b flow.Browser) string {
			// The last character's low bits are none of the value's.
			v := sign(newer)(b)
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			return v[:len(v)-1] + string(digits[strings.IndexByte(digits, v[len(v)-1])|1])
		}, false},
		{"of no browser", func(flow.Browser) string { return sign(newer)(flow.Browser{}) }, false},
		{"empty", func(flow.Browser) string { return "" }, false},
		{"nonsense", func(flow.Browser) string { return "!!" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := flow.Browser{7, 7, 7}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set("Cookie", s.cookieName()+"="+tt.value(b))
			got := s.visitorOf(r)
			if tt.good && got != b || !tt.good && got != (flow.Browser{}) {
				t.Errorf("taken as %x", got)
			}
			// A bad one is replaced, a good one signed anew with the newest key.
			w := httptest.NewRecorder()
			welcomed := s.welcome(w, r)
			if tt.good != (welcomed == b) {
				t.Errorf("welcomed as %x", welcomed)
			}
			if set := w.Result().Cookies()[0].Value; set != sign(newer)(welcomed) {
				t.Errorf("is sent %q", set)
			}
		})
	}
}

// A golden value: changing what is signed would log every browser out.
func TestTheCookiesForm(t *testing.T) {
	s := open(t)
	const want = "AQIDBAUGBwgJCgsMDQ4PEHeTJbLSZrtdrliFjCQymH4"
	if got := s.writeCookie(flow.Browser{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzReadCookie(f *testing.F) {
	s := open(f)
	f.Add("AQIDBAUGBwgJCgsMDQ4PEA")
	f.Fuzz(func(t *testing.T, value string) {
		if b, ok := s.readCookie(value); ok && s.writeCookie(b) != value {
			t.Errorf("%q was taken for %x", value, b)
		}
	})
}
