package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/phonebooth"
)

// TestServe starts the program as a stranger would, with no account at all,
// texts, reads the text on the telephone, and stops it.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--listen", "127.0.0.1:0"}, w, io.Discard)
		_ = w.Close()
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	address := strings.TrimSuffix(strings.Fields(lines.Text())[1], "/")
	go func() { _, _ = io.Copy(io.Discard, out) }()

	form := url.Values{"To": {"+14155550123"}, "From": {phonebooth.DefaultNumber}, "Body": {"Hello"}}
	req, err := http.NewRequestWithContext(ctx, "POST", address+"/2010-04-01/Accounts/"+phonebooth.DefaultAccountSid+"/Messages.json", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(phonebooth.DefaultAccountSid, phonebooth.DefaultAuthToken)
	if status, body := do(t, req); status != http.StatusCreated {
		t.Errorf("create = %d: %s", status, body)
	}
	if req, err = http.NewRequestWithContext(ctx, "GET", address+"/booth/messages?to=%2B14155550123", nil); err != nil {
		t.Fatal(err)
	}
	_, body := do(t, req)
	var texts []phonebooth.Message
	if err := json.Unmarshal(body, &texts); err != nil || len(texts) != 1 || texts[0].Body != "Hello" {
		t.Errorf("the telephone shows %s (%v)", body, err)
	}

	// A page that looks on must not hold up the end.
	if req, err = http.NewRequestWithContext(context.WithoutCancel(ctx), "GET", address+"/booth/events", nil); err != nil {
		t.Fatal(err)
	}
	watching, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watching.Body.Close() }()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func do(t *testing.T, req *http.Request) (int, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestRefusesToStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"a flag nobody knows", []string{"--coin"}, "--coin"},
		{"words after the flags", []string{"please"}, "please"},
		{"an account that is none", []string{"--account-sid", "me"}, "account SID"},
		{"an address that is none", []string{"--listen", "nowhere"}, "listen"},
		{"all that is wrong, at once", []string{"--account-sid", "me", "--from", "0"}, "neither E.164"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), tt.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("run = %v, want an error about %q", err, tt.says)
			}
		})
	}
}

func TestHelpNamesTheEnvironment(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"$BOOTH_LISTEN", "$TWILIO_ACCOUNT_SID", "$TWILIO_AUTH_TOKEN", "$TWILIO_FROM_NUMBER", "--deliver-to", "--mps"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("--help does not tell of %s", name)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TWILIO_ACCOUNT_SID", "from the environment")
	if err := run(t.Context(), nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "account SID") {
		t.Errorf("run = %v, want the environment's account refused", err)
	}
}
