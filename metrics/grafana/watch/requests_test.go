package watch

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
)

// However many ask for whatever they like, by whatever method and header, the
// series are those that there were: a visitor cannot fill our memory, or that
// of Prometheus. First every route is asked by every kind of method, since HTTP
// series alone are born by being asked for.
func TestNoRequestMakesASeries(t *testing.T) {
	requests := 5_000 // 100,000 take long under the race detector
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		requests = 100_000
	}
	bin := t.TempDir()
	build(t, bin)
	s := open(t, "is-asked-anything", bin, map[string]string{"LOG_LEVEL": "error", "TEXTS_PER_DAY": "20"})
	s.opened()

	for range 2 {
		for _, m := range methods {
			for _, path := range paths {
				s.asked(t, m, path, nil)
				s.asked(t, m, path, url.Values{"mobile_number": {"+46701234567"}})
			}
		}
	}
	for range 25 { // until the day is spent, and one more
		s.american().asks(t.Context())
	}
	var before map[string]bool
	if err := until(t.Context(), func() bool { // Twilio tells of the first text when it likes
		before, _ = s.series(t)
		return before[`countersign_http_request_duration_seconds_count{code="2xx",method="POST",route="/webhooks/twilio/status/{message}"}`]
	}); err != nil {
		t.Fatalf("no receipt comes: %v", err)
	}

	var all sync.WaitGroup
	for seed := range uint64(8) {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(seed, 0))
			for range requests / 8 {
				method, path := methods[dice.IntN(len(methods))], paths[dice.IntN(len(paths))]
				switch dice.IntN(3) {
				case 0:
					path += "/" + word(dice)
				case 1:
					path = "/" + word(dice) + "?" + word(dice) + "=" + word(dice)
				}
				if dice.IntN(2) == 0 {
					method = strings.ToUpper(word(dice))
				}
				s.asked(t, method, path, url.Values{
					"mobile_number": {fmt.Sprintf("+1%010d", dice.Uint64N(1e10))}, "order": {word(dice)}, "pin": {fmt.Sprint(dice.IntN(1e6))},
					word(dice): {word(dice)},
				}, word(dice), word(dice))
			}
		})
	}
	all.Wait()

	after, text := s.series(t)
	for name := range after {
		if !before[name] {
			t.Errorf("%s was born", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("of %d series there are %d", len(before), len(after))
	}
	const limit = 60_000
	if len(text) > limit {
		t.Errorf("a scrape takes %d bytes, want at most %d", len(text), limit)
	}
	t.Logf("after %d requests there are %d series in %d bytes", requests, len(after), len(text))
}

var (
	methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodPut, http.MethodDelete, "BREW"}
	paths   = []string{
		"/", "/pin", "/orders", order, order + "/pin", order + "/resend", order + "/number", order + "/decline",
		order + "/live", order + "/complete", "/webhooks/twilio/message", "/webhooks/twilio/status",
		"/webhooks/twilio/status/0199c3a2-6b1e-7c44-9d0e-5f2a8b7c6d10", "/healthz", "/readyz", "/static/pages.css", "/metrics", "//x", "/.env",
	}
)

const order = "/orders/0199c3a2-6b1e-7c44-9d0e-5f2a8b7c6d10"

// word is a few letters and digits.
func word(dice *rand.Rand) string {
	const from = "abcdefghijklmnopqrstuvwxyz0123456789"
	w := []byte{from[dice.IntN(26)]}
	for range dice.IntN(9) {
		w = append(w, from[dice.IntN(len(from))])
	}
	return string(w)
}

// stranger keeps no cookies and follows nobody.
var stranger = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{MaxIdleConnsPerHost: 8},
}

// asked asks the shop anything, and takes any answer. A word or two more make
// the host, and a header.
func (s *shop) asked(t *testing.T, method, path string, form url.Values, words ...string) {
	req, err := http.NewRequestWithContext(t.Context(), method, s.public+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(ipHeader, fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256)))
	for _, w := range words {
		req.Host = w + ".example"
		req.Header.Set("X-"+w, w)
	}
	if _, err := ask(stranger, req, nil); err != nil && t.Context().Err() == nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
}

// series are the shop's, with the text that has them.
func (s *shop) series(t *testing.T) (map[string]bool, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			all[name] = true
		}
	}
	return all, string(text)
}
