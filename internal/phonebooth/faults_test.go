package phonebooth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFaultsThatAnswer(t *testing.T) {
	for _, tt := range []struct {
		fault   string
		status  int
		header  [2]string
		body    string // a part of it
		texts   int    // that were taken nevertheless
		control string
	}{
		{fault: `{"kind":"429","count":1}`, status: 429, body: `"code":20429,"message":"Too Many Requests"`, header: [2]string{"Retry-After", ""}},
		{fault: `{"kind":"429","count":1,"retry_after":7}`, status: 429, header: [2]string{"Retry-After", "7"}},
		{fault: `{"kind":"500","count":1}`, status: 500, body: `"code":20500`},
		{fault: `{"kind":"503","count":1,"retry_after":1}`, status: 503, body: `"status":503`, header: [2]string{"Retry-After", "1"}},
		{fault: `{"kind":"302","count":1}`, status: 302, body: `{`},
		{fault: `{"kind":"html","count":1}`, status: 502, body: "<h1>", header: [2]string{"Content-Type", "text/html"}},
		{fault: `{"kind":"500-after-accept","count":1}`, status: 500, body: `"code":20500`, texts: 1},
		{fault: `{"kind":"error","count":1,"code":21614}`, status: 400, body: `"code":21614,"message":"To number: +14155550123, is not a mobile number"`},
		{fault: `{"kind":"error","count":1,"code":21608}`, status: 400, body: `"code":21608`},
		{fault: `{"kind":"error","count":1,"code":20003}`, status: 401, body: `"message":"Authenticate"`},
		{fault: `{"kind":"429","count":1,"to":"+14155550199"}`, status: 201, texts: 1},
		{fault: `{"kind":"429","count":1,"on":"read"}`, status: 201, texts: 1},
		{fault: `{"kind":"429","count":1,"to":"14155550123"}`, status: 429},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			s.fault(tt.fault)
			resp, body := s.rest("POST", "/Messages.json", s.toThem())
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("create = %s: %s, want %d with %s", resp.Status, body, tt.status, tt.body)
			}
			if got := resp.Header.Get(tt.header[0]); tt.header[0] != "" && got != tt.header[1] {
				t.Errorf("%s = %q, want %q", tt.header[0], got, tt.header[1])
			}
			if got := len(s.Messages(theirs)); got != tt.texts {
				t.Errorf("%d texts were taken, want %d", got, tt.texts)
			}
			if tt.status != 201 {
				s.create(s.toThem()) // once was once
			}
		})
	}
}

func TestFaultsThatBreakOff(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		texts int
		reset bool
	}{
		{"hang-before-accept", 0, false},
		{"hang-after-accept", 1, false},
		{"reset-before-accept", 0, true},
		{"reset-after-accept", 1, true},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			s.fault(fmt.Sprintf(`{"kind":%q,"count":1}`, tt.kind))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			failed := make(chan error, 1)
			go func() {
				failed <- s.try(ctx)
			}()
			if !tt.reset {
				until(t, "the fault strikes", func() bool { return len(decode[[]Fault](t, s.control("GET", "/booth/faults", "", 200))) == 0 })
				until(t, "the text is taken", func() bool { return len(s.Messages("")) == tt.texts })
				select {
				case err := <-failed:
					t.Fatalf("it was answered: %v", err)
				default:
				}
				leave()
			}
			if err := <-failed; err == nil || tt.reset && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
				t.Errorf("create = %v", err)
			}
			if got := len(s.Messages("")); got != tt.texts {
				t.Errorf("%d texts were taken, want %d", got, tt.texts)
			}
		})
	}
}

// try texts with ctx, and returns how that failed.
func (s *scene) try(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, "POST", s.door.URL+apiRoot+DefaultAccountSid+"/Messages.json", strings.NewReader(s.toThem().Encode()))
	if err != nil {
		return err
	}
	req.SetBasicAuth(DefaultAccountSid, DefaultAuthToken)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.ReadAll(resp.Body)
	return err
}

func TestHangEndsAfterItsDelay(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.fault(`{"kind":"hang-after-accept","count":1,"delay":"1ms"}`)
	if err := s.try(t.Context()); err == nil {
		t.Error("a hang was answered")
	}
}

func TestSlowBodyIsWholeInTheEnd(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.fault(`{"kind":"slow-body","count":1,"delay":"1us"}`)
	if got := s.create(s.toThem()); got.Status != queued {
		t.Errorf("it ends in %+v", got)
	}
}

func TestFates(t *testing.T) {
	for _, tt := range []struct {
		fault    string
		statuses []string // of the receipts
		code     string   // of the last
		status   string
	}{
		{`{"kind":"failed","count":1}`, []string{failed}, "30001", failed},
		{`{"kind":"failed","count":1,"code":30034}`, []string{failed}, "30034", failed},
		{`{"kind":"undelivered","count":1}`, []string{sent, undelivered}, "30003", undelivered},
		{`{"kind":"undelivered","count":1,"code":30450}`, []string{sent, undelivered}, "30450", undelivered},
		{`{"kind":"lost","count":1}`, []string{sent}, "", sent},
		{`{"kind":"hold","count":1,"delay":"2h"}`, []string{}, "", queued},
		{`{"kind":"hold","count":1,"delay":"20h"}`, []string{}, "", queued},
		{`{"kind":"receipts-drop"}`, []string{}, "", delivered},
		{`{"kind":"receipts-drop","count":1}`, []string{delivered}, "", delivered},
		{`{"kind":"receipts-double"}`, []string{sent, sent, delivered, delivered}, "", delivered},
		{`{"kind":"receipts-delay","count":1,"delay":"30s"}`, []string{delivered, sent}, "", delivered},
		{`{"kind":"receipts-shuffle"}`, []string{delivered, sent}, "", delivered},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			s.fault(tt.fault)
			sid := s.create(s.toThem()).Sid
			s.Advance(time.Hour)
			if got := s.shop.statuses(); !slices.Equal(got, tt.statuses) {
				t.Errorf("receipts = %v, want %v", got, tt.statuses)
			}
			if calls := s.shop.heard("/status"); len(calls) > 0 {
				if got := calls[len(calls)-1].form.Get("ErrorCode"); got != tt.code {
					t.Errorf("ErrorCode = %q, want %q", got, tt.code)
				}
			}
			if got := s.fetchSid(sid).Status; got != tt.status {
				t.Errorf("status = %s, want %s", got, tt.status)
			}
		})
	}
}

func TestHeldTextLeavesOrExpires(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.fault(`{"kind":"hold","delay":"1h"}`)
	leaves := s.create(s.toThem()).Sid
	form := s.toThem()
	form.Set("ValidityPeriod", "600")
	expires := s.create(form).Sid
	s.Advance(2 * time.Hour)
	if a, b := s.fetchSid(leaves).Status, s.fetchSid(expires).Status; a != delivered || b != failed {
		t.Errorf("they are %s and %s, want delivered and failed", a, b)
	}
}

func TestFaultByChanceIsRepeatable(t *testing.T) {
	strikes := func(seed int) string {
		s := stageBooth(t, Config{}, nil)
		s.fault(fmt.Sprintf(`{"kind":"503","probability":0.5,"seed":%d}`, seed))
		var pattern strings.Builder
		for range 40 {
			resp, _ := s.rest("POST", "/Messages.json", s.toThem())
			pattern.WriteString(map[int]string{201: ".", 503: "x"}[resp.StatusCode])
		}
		return pattern.String()
	}
	first := strikes(7)
	if again := strikes(7); first != again {
		t.Errorf("the same seed struck\n%s and\n%s", first, again)
	}
	if other := strikes(8); first == other {
		t.Errorf("another seed struck the same")
	}
	if n := strings.Count(first, "x"); len(first) != 40 || n < 8 || n > 32 {
		t.Errorf("half the time struck %s", first)
	}
}

func TestFaultsAreListedAndLifted(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	s.fault(`{"kind":"429","count":3}`)
	s.fault(`{"kind":"lost","to":"+14155550199"}`)
	s.rest("POST", "/Messages.json", s.toThem())
	list := decode[[]Fault](t, s.control("GET", "/booth/faults", "", 200))
	if len(list) != 2 || list[0].Struck != 1 || list[0].Count != 3 || list[1].Kind != "lost" {
		t.Fatalf("in force: %+v", list)
	}
	s.control("DELETE", fmt.Sprintf("/booth/faults/%d", list[0].ID), "", 200)
	s.create(s.toThem())
	s.control("DELETE", fmt.Sprintf("/booth/faults/%d", list[0].ID), "", 404)
	if got := s.control("DELETE", "/booth/faults", "", 200); strings.TrimSpace(got) != "[]" {
		t.Errorf("after all are lifted: %s", got)
	}
}

func TestFaultsRefused(t *testing.T) {
	s := stageBooth(t, Config{}, nil)
	for _, bad := range []string{
		`{"kind":"earthquake"}`, `{}`, `{"kind":"429","probability":1.5}`, `{"kind":"429","count":-1}`,
		`{"kind":"429","on":"tuesdays"}`, `{"kind":"lost","on":"create"}`, `{"kind":"hold","delay":"soon"}`,
		`{"kind":"429","cuont":3}`, `[`,
	} {
		body := s.control("POST", "/booth/faults", bad, http.StatusUnprocessableEntity)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == "" {
			t.Errorf("%s is refused with %s", bad, body)
		}
	}
	if got := decode[[]Fault](t, s.control("GET", "/booth/faults", "", 200)); len(got) != 0 {
		t.Errorf("in force: %+v", got)
	}
}

// TestEveryKindOfFaultStrikes holds the table of kinds to what is done with it.
func TestEveryKindOfFaultStrikes(t *testing.T) {
	for _, name := range Kinds() {
		t.Run(name, func(t *testing.T) {
			s := stageBooth(t, Config{}, nil)
			s.fault(fmt.Sprintf(`{"kind":%q,"delay":"1ms"}`, name))
			s.text("hello")
			_ = s.try(t.Context())
			s.Advance(time.Minute)
			if got := decode[[]Fault](t, s.control("GET", "/booth/faults", "", 200)); got[0].Struck == 0 {
				t.Errorf("it never struck: %+v", got[0])
			}
		})
	}
}

// TestManualNamesEveryKind holds docs/booth.md to the table of kinds.
func TestManualNamesEveryKind(t *testing.T) {
	manual, err := os.ReadFile("../../docs/booth.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Kinds() {
		if !strings.Contains(string(manual), "`"+name+"`") {
			t.Errorf("docs/booth.md does not tell of %s", name)
		}
	}
}
