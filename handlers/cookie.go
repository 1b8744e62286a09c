package handlers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/countersign/countersign/flow"
)

// The cookie tells a browser from others and says nothing of who uses it. Its
// value is base64url(id ‖ MAC): 16 random bytes, and the first 16 of
// HMAC-SHA256(key, "cookie/v1" ‖ id).
const (
	cookieLabel = "cookie/v1"
	macSize     = 16
	// cookieAge outlives any order; each visit begins it anew.
	cookieAge = 30 * 24 * time.Hour
)

// cookieName has the prefix by which browsers keep other hosts and plain HTTP
// from setting the cookie, where there is HTTPS at all.
func (s *Server) cookieName() string {
	if s.secure {
		return "__Host-countersign"
	}
	return "countersign"
}

// visitorOf returns the browser that r comes from, zero if r does not say or
// what it says was not signed by us.
func (s *Server) visitorOf(r *http.Request) flow.Browser {
	for _, cookie := range r.CookiesNamed(s.cookieName()) {
		if b, ok := s.readCookie(cookie.Value); ok {
			return b
		}
	}
	return flow.Browser{}
}

// welcome returns the browser that r comes from, a new one if need be, and
// sets its cookie, signed with the newest key.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request) flow.Browser {
	b := s.visitorOf(r)
	if b == (flow.Browser{}) {
		_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is HTTPS
		Name:     s.cookieName(),
		Value:    s.writeCookie(b),
		Path:     "/",
		MaxAge:   int(cookieAge.Seconds()),
		Secure:   s.secure, // a plain-http PUBLIC_URL is for trying things out
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
	return b
}

func (s *Server) writeCookie(b flow.Browser) string {
	return base64.RawURLEncoding.EncodeToString(append(b[:], cookieMAC(s.CookieKeys[0], b)...))
}

func (s *Server) readCookie(value string) (flow.Browser, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) != len(flow.Browser{})+macSize {
		return flow.Browser{}, false
	}
	b := flow.Browser(raw[:len(flow.Browser{})])
	for _, key := range s.CookieKeys {
		if hmac.Equal(raw[len(b):], cookieMAC(key, b)) {
			return b, b != flow.Browser{}
		}
	}
	return flow.Browser{}, false
}

func cookieMAC(key []byte, b flow.Browser) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(cookieLabel))
	mac.Write(b[:])
	return mac.Sum(nil)[:macSize]
}
