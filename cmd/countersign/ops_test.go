package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/handlers"
	"github.com/countersign/countersign/metrics"
)

// ops has somebody in ops ask: METHOD PATH [FIELD=VALUE …].
func (s *shop) ops(out io.Writer, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: ops METHOD PATH [FIELD=VALUE …]")
	}
	path, err := s.fill(args[1], s.anyOrder)
	if err != nil {
		return err
	}
	fields, err := s.fields(args[2:], s.anyOrder)
	if err != nil {
		return err
	}
	if s.answer, err = s.askOps(args[0], path, strings.NewReader(fields.Encode())); err != nil {
		return err
	}
	_, err = io.WriteString(out, s.answer.String())
	return err
}

func (s *shop) askOps(method, path string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(s.ctx, method, "http://"+s.getenv("OPS_ADDR")+path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if token := s.getenv("OPS_TOKEN"); token != "" {
		req.SetBasicAuth("ops", token)
	}
	return ask(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, req)
}

// terminal has somebody in ops run countersign: ARG ….
func (s *shop) terminal(out io.Writer, args []string) error {
	for i := range args {
		var err error
		if args[i], err = s.fill(args[i], s.anyOrder); err != nil {
			return err
		}
	}
	program, err := exec.LookPath("countersign")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(s.ctx, program, args...)
	cmd.Env, cmd.Dir = s.environment(), s.dir
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("countersign %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	_, err = out.Write(said)
	return err
}

var orderLinks = regexp.MustCompile(`/ops/orders/[0-9a-f-]{36}`)

// opsPages are all that ops see without asking for a number.
func (s *shop) opsPages() (string, error) {
	paths := []string{"/ops/", "/ops/texts", "/ops/outbox", "/ops/flow", "/ops/settings"}
	var all strings.Builder
	for i := 0; i < len(paths); i++ {
		a, err := s.askOps(http.MethodGet, paths[i], nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s answers %d: %s", paths[i], a.status, a.text)
		}
		if err != nil {
			return "", err
		}
		all.WriteString(strings.ReplaceAll(a.text, s.sender(), "|")) // ours, in the settings
		if paths[i] == "/ops/" {
			paths = append(paths, distinct(orderLinks.FindAllString(a.text, -1))...)
		}
	}
	return all.String(), nil
}

func TestTrusted(t *testing.T) {
	const ours, theirs = "127.0.0.1:40000", "192.0.2.1:40000"
	const token = "the token of ops"
	basic := func(r *http.Request) { r.SetBasicAuth("anybody", token) }
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	none := func(*http.Request) {}
	for _, tt := range []struct {
		name, token, from, host string
		bring                   func(*http.Request)
		status                  int
	}{
		{"this machine", "", ours, "localhost:9091", none, 200},
		{"this machine by number", "", "[::1]:40000", "[::1]:9091", none, 200},
		{"another machine", "", theirs, "localhost:9091", none, 403},
		{"this machine, by a name of somebody's", "", ours, "evil.example", none, 403},
		{"this machine, by a name that only begins well", "", ours, "localhost.evil.example", none, 403},
		{"another machine with the token", token, theirs, "ops.internal", bearer, 200},
		{"a browser with the token", token, theirs, "ops.internal", basic, 200},
		{"this machine without the token", token, ours, "localhost", none, 401},
		{"an empty password", token, theirs, "ops.internal", func(r *http.Request) { r.SetBasicAuth("ops", "") }, 401},
		{"the token as the name", token, theirs, "ops.internal", func(r *http.Request) { r.SetBasicAuth(token, "") }, 401},
		{"a part of the token", token, theirs, "ops.internal", func(r *http.Request) { r.SetBasicAuth("ops", token[:5]) }, 401},
		{"the token without its scheme", token, theirs, "ops.internal", func(r *http.Request) { r.Header.Set("Authorization", token) }, 401},
		{"the token in the URL", token, theirs, "ops.internal", func(r *http.Request) { r.URL.RawQuery = "token=" + token }, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ops/", nil)
			r.RemoteAddr, r.Host = tt.from, tt.host
			tt.bring(r)
			w := httptest.NewRecorder()
			var said bytes.Buffer
			log := slog.New(slog.NewTextHandler(&said, nil))
			trusted(tt.token, log, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("%d, want %d", w.Code, tt.status)
			}
			if asks := strings.Join(w.Header().Values("WWW-Authenticate"), ", "); (w.Code == 401) != strings.HasPrefix(asks, "Basic ") {
				t.Errorf("WWW-Authenticate: %s", asks)
			}
			want := ""
			switch {
			case w.Code == 403:
				want = `level=WARN msg="ops refused" reason="not this machine" from=`
			case w.Code == 401 && r.Header.Get("Authorization") != "":
				want = `level=WARN msg="ops refused" reason="wrong token" from=`
			}
			if !strings.Contains(said.String(), want) || (want == "") != (said.Len() == 0) || strings.Contains(said.String(), token[:5]) {
				t.Errorf("the log says %q, want %q", &said, want)
			}
		})
	}
}

// Profiles are there for those who look after the service; what it was started
// with, which may hold its secrets, is not.
func TestProfiles(t *testing.T) {
	server := opsServer(checked{}, metrics.New(prometheus.NewRegistry(), metrics.Config{}), http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/debug/pprof/", 200},
		{"/debug/pprof/goroutine?debug=2", 200},
		{"/debug/pprof/heap", 200},
		{"/debug/pprof/symbol", 200},
		{"/debug/pprof/cmdline", 404},
		{"/debug/vars", 404},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil)
		r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost"
		w := httptest.NewRecorder()
		server.Handler.ServeHTTP(w, r)
		if w.Code != tt.status || strings.Contains(w.Body.String(), os.Args[0]+"\x00") {
			t.Errorf("%s: %d, want %d: %.100q", tt.path, w.Code, tt.status, w.Body)
		}
	}
}

// Whatever the private listener answers has an id, under which its line is in
// the log.
func TestOpsAnswersHaveAnID(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(handlers.Logged(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	server := opsServer(checked{Settings: Settings{OpsToken: "open"}}, metrics.New(prometheus.NewRegistry(), metrics.Config{}), http.NotFoundHandler(), nil, log)
	for _, tt := range []struct{ name, path, token, line string }{
		{"a scrape", "/metrics", "", "level=DEBUG msg=request route=/metrics method=GET status=200"},
		{"a profile", "/debug/pprof/heap", "open", "level=INFO msg=request route=/debug/pprof/ method=GET status=200"},
		{"no token", "/debug/pprof/symbol", "", "level=INFO msg=request route=/debug/pprof/symbol method=GET status=401"},
		{"a wrong token", "/ops/", "guess", "level=INFO msg=request route=/ops/ method=GET status=401"},
		{"nothing", "/4155550123", "", `level=INFO msg=request route="" method=GET status=404`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said.Reset()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil)
			if tt.token != "" {
				r.SetBasicAuth("ops", tt.token)
			}
			w := httptest.NewRecorder()
			server.Handler.ServeHTTP(w, r)
			id := w.Header().Get("X-Request-Id")
			if len(id) != 26 || !strings.Contains(said.String(), tt.line) {
				t.Errorf("X-Request-Id: %q, and the log says\n%s, want %s", id, &said, tt.line)
			}
			for line := range strings.Lines(said.String()) {
				if !strings.HasSuffix(line, " request_id="+id+"\n") {
					t.Errorf("not of %s: %s", id, line)
				}
			}
		})
	}
}

func TestSettingsInForceHoldNoSecret(t *testing.T) {
	key := "the first of the keys which nobody else knows"
	c := checked{Settings: Settings{
		PublicURL: "https://shop.example.com", TwilioAuthToken: "secretToken1,secretToken2", TwilioAPISecret: "secretAPI",
		SecretKey: key, DatabaseURL: "postgres://us:secretWord@db/shop?password=secretWord&sslmode=require", OpsToken: "secretOps",
	}, secretKeys: []flow.Key{flow.Key(key)}, countries: []string{"US", "CA"}}
	values := map[string]string{}
	for _, s := range c.inForce() {
		values[s.Name] = s.Value
		if strings.Contains(s.Value, "secret") || strings.Contains(s.Value, "nobody") || s.Help == "" {
			t.Errorf("%s: %q, %q", s.Name, s.Value, s.Help)
		}
	}
	for name, want := range map[string]string{
		"PUBLIC_URL": "https://shop.example.com", "TWILIO_AUTH_TOKEN": "set (2)", "TWILIO_API_SECRET": "set (1)",
		"SECRET_KEY": "ids, newest first: " + flow.Key(key).ID(), "DATABASE_URL": "postgres://db/shop", "OPS_TOKEN": "set (1)",
		"TWILIO_API_KEY": "", "COUNTRIES": "US,CA",
	} {
		if values[name] != want {
			t.Errorf("%s: %q, want %q", name, values[name], want)
		}
	}
}
