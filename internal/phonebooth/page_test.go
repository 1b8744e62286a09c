package phonebooth

import (
	"bufio"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestPageIsStrict(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/booth/app.js": "text/javascript; charset=utf-8", "/booth/app.css": "text/css; charset=utf-8",
	} {
		resp, body := s.do("GET", path, "", nil)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind || body == "" {
			t.Errorf("%s = %s of %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s has policy %q", path, csp)
		}
	}
	_, html := s.do("GET", "/", "", nil)
	for _, forbidden := range []string{`<script>`, `<style`, ` style=`, ` onclick=`, `javascript:`, `https://`, `http://`} {
		if strings.Contains(html, forbidden) {
			t.Errorf("the page has %s, which its policy would not allow", forbidden)
		}
	}
}

// TestPageIsWhole checks that every id the script asks for is in the page.
func TestPageIsWhole(t *testing.T) {
	read := func(name string) string {
		data, err := fs.ReadFile(files, "page/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	html, js := read("index.html"), read("app.js")
	ids := regexp.MustCompile(`\$\("([a-z-]+)"\)`).FindAllStringSubmatch(js, -1)
	if len(ids) == 0 {
		t.Fatal("the script asks for nothing")
	}
	for _, id := range ids {
		if !strings.Contains(html, `id="`+id[1]+`"`) {
			t.Errorf("the page has no #%s", id[1])
		}
	}
	for _, path := range regexp.MustCompile(`"(/booth/[a-z./]*[a-z])"`).FindAllStringSubmatch(js, -1) {
		s := stageBooth(t, Config{}, nil)
		if resp, _ := s.do("OPTIONS", path[1], "", nil); resp.StatusCode == http.StatusNotFound {
			t.Errorf("the script asks for %s, which is nowhere", path[1])
		}
	}
	if strings.Contains(js, "innerHTML") {
		t.Error("the script writes HTML: a text could")
	}
}

func TestEventsTellOfChanges(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.door.URL+"/booth/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return "the end"
	}
	if got := next(); got != "data: changed" { // so that a page that comes late looks at once
		t.Errorf("first %q", got)
	}
	s.create(s.toThem())
	if got := next(); got != "data: changed" {
		t.Errorf("after a text %q", got)
	}
	s.Close()
	for got := next(); got != "the end"; got = next() {
		if got != "data: changed" {
			t.Errorf("at the end %q", got)
		}
	}
}
