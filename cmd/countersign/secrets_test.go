package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// innocent is what may hold six digits by chance: ids, SIDs and times. It is
// taken out before the search for a PIN, so that a find is no chance.
var innocent = regexp.MustCompile(strings.Join([]string{
	`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, // an order's or a message's id
	`(?:[A-Z]{2})?[0-9a-f]{32}`,                                    // a SID, or an id in the database
	`\b[A-Z2-7]{26}\b`,                                             // a request's id
	`\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+`,                        // a time
	`\b1[0-9]{12}\b`,                                               // in milliseconds
	`\b[0-9]+(?:\.[0-9]+)?(?:ns|µs|ms|s|m|h)\b`,                    // a duration
	`\b127\.0\.0\.1:[0-9]+\b`,                                      // an address
	`\?v=[0-9a-f]{12}\b`,                                           // a version of a page's file
}, "|"))

// leaked are the secrets that text holds. What is known to be there, such as
// a number beside which a PIN could stand, is not searched.
func leaked(text string, known, secrets []string) []string {
	secrets = heldBy(text, secrets)
	if len(secrets) == 0 {
		return nil
	}
	for _, k := range known {
		text = strings.ReplaceAll(text, k, "|")
	}
	text = innocent.ReplaceAllString(text, "|")
	return heldBy(text, secrets)
}

func heldBy(text string, secrets []string) []string {
	return slices.DeleteFunc(slices.Clone(secrets), func(secret string) bool {
		return !strings.Contains(text, secret)
	})
}

// samples are metrics without their values, which are anything.
func samples(metrics string) string {
	var b strings.Builder
	for line := range strings.Lines(metrics) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			line = line[:i]
		}
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// secrets are what was texted, and to whom, until now.
func (s *shop) secrets() (pins, numbers, bodies []string, err error) {
	all, err := s.booth.texts(s.ctx, "")
	if err != nil {
		return nil, nil, nil, err
	}
	for _, t := range all {
		numbers = append(numbers, t.From, t.To)
		if len(t.Body) > 20 {
			bodies = append(bodies, t.Body)
		}
		if t.Direction != "outbound-api" {
			continue
		}
		pin := pinIn(t.Body)
		if pin == "" {
			return nil, nil, nil, errors.New("a text by REST has no PIN to search for")
		}
		pins = append(pins, pin)
	}
	numbers = slices.DeleteFunc(numbers, func(n string) bool { return n == s.sender() })
	return distinct(pins), distinct(numbers), distinct(bodies), nil
}

// inspect searches the database, and the metrics if there is somebody to tell
// them. The error quotes nothing of what it found.
func (s *shop) inspect() error {
	if !s.served {
		return nil
	}
	pins, numbers, bodies, err := s.secrets()
	if err != nil {
		return err
	}
	database, err := databaseFiles(filepath.Join(s.dir, databaseName))
	if err != nil && (!os.IsNotExist(err) || strings.HasPrefix(s.getenv("DATABASE_URL"), "file:")) {
		return err
	}
	if found := leaked(database, append(numbers, s.sender()), pins); len(found) > 0 {
		return fmt.Errorf("the database holds %d PINs", len(found))
	}
	if s.service == nil || s.service.ended() {
		return nil
	}
	metrics, err := s.metrics()
	if err != nil {
		return err
	}
	if found := leaked(samples(metrics), nil, slices.Concat(pins, s.national(numbers), bodies)); len(found) > 0 {
		return fmt.Errorf("the metrics hold %q", found)
	}
	pages, err := s.opsPages()
	if err != nil {
		return err
	}
	if found := leaked(pages, nil, append(pins, s.national(numbers)...)); len(found) > 0 {
		return fmt.Errorf("the ops pages hold %q", found)
	}
	return nil
}

// inspectLog searches all that the service has logged.
func (s *shop) inspectLog() error {
	pins, numbers, bodies, err := s.secrets()
	if err != nil {
		return err
	}
	log, err := os.ReadFile(filepath.Join(s.dir, logName))
	if err != nil {
		return err
	}
	if found := leaked(string(log), nil, slices.Concat(pins, s.national(numbers), bodies)); len(found) > 0 {
		return fmt.Errorf("the log holds %q", found)
	}
	for _, fault := range []string{"DATA RACE", "panic"} {
		if bytes.Contains(log, []byte(fault)) {
			return fmt.Errorf("the log tells of a %s", fault)
		}
	}
	return nil
}

// national are numbers as they would be found however they are written, with
// those that were typed into the form.
func (s *shop) national(numbers []string) []string {
	var found []string
	for _, n := range slices.Concat(numbers, s.typed) {
		n = strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, n)
		if len(n) >= 10 {
			found = append(found, n[len(n)-10:])
		}
	}
	return distinct(found)
}

func distinct(items []string) []string {
	slices.Sort(items)
	return slices.Compact(items)
}

func TestTheSearchFindsSecrets(t *testing.T) {
	const pin, number = "482913", "4155550123"
	for _, tt := range []struct {
		name, text string
	}{
		{"in a log line", `time=2026-03-01T09:30:00.123Z level=INFO msg="text PIN" pin=482913`},
		{"in a text", `Acme: 482913 confirms order QRS234.`},
		{"at a line's end", "@shop.example.com #482913\n"},
		{"in JSON", `{"pin":"482913"}`},
		{"in a URL", `GET /orders/0199c3a2-6b1e-7c44-9d0e-5f2a8b7c6d10?pin=482913`},
		{"between a row's columns", "\x08asked482913en\x00"},
		{"between numbers of a row", "QRS234482913\x01"},
		{"after a number that is known", "+14155550123482913"},
		{"after a SID", "SM0123456789abcdef0123456789abcdef482913"},
		{"after a time", "1772357400123 482913"},
		{"in a metric's label", samples(`countersign_pins_total{pin="482913"} 1`)},
		{"a number in a log line", `msg=text to=+14155550123`},
		{"a number as it was typed", `mobile_number=4155550123`},
		{"a number in a label", samples(`countersign_texts_total{to="+14155550123"} 1`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known := []string{"+14155550123"}
			if strings.HasPrefix(tt.name, "a number") {
				known = nil
			}
			if len(leaked(tt.text, known, []string{pin, number})) != 1 {
				t.Errorf("nothing is found in %q", tt.text)
			}
		})
	}
}

func TestTheSearchIsNotFooledByChance(t *testing.T) {
	for _, tt := range []struct {
		name, text string
	}{
		{"an order's id", "/orders/0199c3a2-6b1e-7c44-9d0e-5f4829136d10"},
		{"a SID", "sid=SM0123456789abcdef01234482913bcdef"},
		{"an id in the database", `["0199c3a26b1e7c449d0e5f4829136d10"]`},
		{"a request's id", "request_id=ABCDEF462735ABCDEFABCDEFAB"},
		{"milliseconds", "[1748291300123]"},
		{"a duration", "took=1.482913ms"},
		{"an address", "public=127.0.0.1:48291"},
		{"a metric's value", samples("countersign_text_accept_seconds_sum 0.482913")},
		{"another PIN", "pin=482914"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if found := leaked(tt.text, nil, []string{"482913", "462735"}); len(found) > 0 {
				t.Errorf("a PIN is found in %q", tt.text)
			}
		})
	}
}

func TestAllOfTheDatabaseIsSearched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.WriteFile(path+suffix, []byte("in"+suffix), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := databaseFiles(path)
	if err != nil || text != "in|in-wal|in-shm|in-journal|" {
		t.Errorf("databaseFiles = %q, %v", text, err)
	}
	if _, err := databaseFiles(path + ".other"); err == nil {
		t.Error("a database that is not there is searched without an error")
	}
}
