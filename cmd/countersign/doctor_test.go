package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/phonebooth"
	"github.com/countersign/countersign/twiml"
)

// A patient is a shop for the doctor: the real service behind a proxy, and a
// Twilio, both of which can be made to misbehave.
type patient struct {
	Settings
	public, api *front
	booth       *phonebooth.Booth
}

// A front stands before a handler. What is set as instead answers the requests
// that it does not turn down by returning false.
type front struct {
	*httptest.Server
	mu      sync.Mutex
	behind  http.Handler
	instead func(http.ResponseWriter, *http.Request) bool
}

func newFront(t *testing.T) *front {
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		behind, instead := f.behind, f.instead
		f.mu.Unlock()
		if instead == nil || !instead(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(f.Close)
	return f
}

func (f *front) put(instead func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = instead
}

const (
	patientKey    = "a key of thirty-two bytes at least for tests"
	patientSecret = "0therSecret0therSecret0therSecre"
	patientSK     = "SK0123456789abcdef0123456789abcdef"
)

// newPatient returns a shop in the best of health. Its service is started with
// the settings as changed; its doctor is not.
func newPatient(t *testing.T, changes ...func(*Settings)) *patient {
	t.Helper()
	p := &patient{public: newFront(t), api: newFront(t)}
	var err error
	p.booth, err = phonebooth.New(phonebooth.Config{
		APIKeys:    map[string]string{patientSK: patientSecret},
		InboundURL: p.public.URL + inboundPath + hookFragment,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.booth.Close)
	p.api.behind = p.booth.Handler()

	p.Settings = Settings{
		PublicURL:        p.public.URL,
		TwilioAccountSID: phonebooth.DefaultAccountSid,
		TwilioAuthToken:  phonebooth.DefaultAuthToken,
		TwilioFromNumber: phonebooth.DefaultNumber,
		TwilioAPIURL:     p.api.URL,
		SecretKey:        patientKey,
		DatabaseURL:      "file:" + filepath.Join(t.TempDir(), "shop.db"),
		ListenAddr:       "127.0.0.1:0",
		OpsAddr:          "127.0.0.1:0",
		ShopName:         "Acme",
		DefaultRegion:    "US",
		PINLength:        "6", PINTTL: "24h", OrderTTL: "72h", PINCache: "100",
		TextsPerDay: "2000", TextsPerNumber: "5/24h", RequestsPerIP: "300/1h",
		LogFormat: "text", LogLevel: "error",
	}
	served := p.Settings
	for _, change := range changes {
		change(&served)
	}
	settings, err := served.Check(noEnv, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), settings, slog.New(slog.DiscardHandler), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	p.public.behind = s.public.Handler
	return p
}

func noEnv(string) string { return "" }

// seen has a doctor look at the shop with the settings as changed, and returns
// what it says of one check.
func (p *patient) seen(t *testing.T, check string, changes ...func(*doctor)) []finding {
	t.Helper()
	return seenOf(t, p.Settings, check, changes...)
}

func seenOf(t *testing.T, s Settings, check string, changes ...func(*doctor)) []finding {
	t.Helper()
	settings, err := s.Check(noEnv, os.ReadFile)
	d := doctor{checked: settings, refused: err, now: time.Now, free: freeSpace}
	for _, change := range changes {
		change(&d)
	}
	var found []finding
	for _, f := range d.examine(t.Context()) {
		if (f.Do == "") != (f.Verdict == isFine) {
			t.Errorf("%s is %s, and what to do is %q: %s", f.Check, f.Verdict, f.Do, f.Seen)
		}
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// wantSeen checks that one of the findings has that verdict and holds those
// words, in what was seen or what to do; and that none is worse.
func wantSeen(t *testing.T, found []finding, v verdict, words ...string) {
	t.Helper()
	worse := map[verdict]int{isFine: 0, isWarning: 1, isProblem: 2}
	hit := false
	for _, f := range found {
		if worse[f.Verdict] > worse[v] {
			t.Errorf("%s, worse than %s: %s", f.Verdict, v, f.Seen)
		}
		all := f.Verdict == v
		for _, word := range words {
			all = all && strings.Contains(f.Seen+" → "+f.Do, word)
		}
		hit = hit || all
	}
	if !hit {
		t.Errorf("no %s with %q among:\n%s", v, words, printed(found))
	}
}

// told runs the command as one would.
func (p *patient) told(ctx context.Context, args ...string) (out string, err error) {
	s := p.Settings
	env := map[string]string{
		"PUBLIC_URL": s.PublicURL, "TWILIO_ACCOUNT_SID": s.TwilioAccountSID, "TWILIO_AUTH_TOKEN": s.TwilioAuthToken,
		"TWILIO_FROM_NUMBER": s.TwilioFromNumber, "TWILIO_API_URL": s.TwilioAPIURL,
		"SECRET_KEY": s.SecretKey, "DATABASE_URL": s.DatabaseURL, "SHOP_NAME": s.ShopName,
	}
	var b bytes.Buffer
	args = append([]string{"doctor"}, args...)
	for name, value := range env {
		args = append(args, "--"+strings.ReplaceAll(strings.ToLower(name), "_", "-")+"="+value)
	}
	err = run(ctx, args, noEnv, &b, io.Discard)
	return b.String(), err
}

func TestDoctorFindsNothingWithAHealthyShop(t *testing.T) {
	p := newPatient(t)
	out, err := p.told(t.Context())
	if err != nil {
		t.Errorf("doctor fails: %v", err)
	}
	if !strings.HasSuffix(out, "\nno problem, no warning.\n") {
		t.Errorf("doctor says:\n%s", out)
	}
	for _, want := range []string{
		"ok       settings    all there",
		"ok       database    its tables are as this version wants them",
		`ok       account     "phonebooth" is active`,
		"ok       sender      " + phonebooth.DefaultNumber + " is the account's, and can text",
		"ok       sender      replies go to " + p.PublicURL + inboundPath + "\n",
		"ok       clock       within 1s of Twilio's",
		"ok       public URL  " + p.PublicURL + " answers, and is ready",
		"ok       webhooks    a signed text is taken",
		"ok       webhooks    a signed receipt is taken",
		"ok       webhooks    an unsigned one is refused",
		"ok       texts       every text fits one segment",
		"pin_amount    1         GSM-7",
		"ok       guessing    6 digits, 5 PINs a line and day",
		"ok       spending    2,000 texts a day at most",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if len([]rune(line)) > verdictWidth+checkWidth+seenWidth+1 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestDoctorTellsTheSameAsJSON(t *testing.T) {
	p := newPatient(t)
	p.PublicURL += "/" // is taken off
	p.ShopName = "Čajovna"
	out, err := p.told(t.Context(), "--json")
	if err != nil {
		t.Fatalf("doctor fails of a warning: %v", err)
	}
	var told struct {
		Findings []struct {
			Check, Verdict, Seen, Do string
			Texts                    []struct {
				Text, Encoding string
				Segments       int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	var checks []string
	for _, f := range told.Findings {
		if len(checks) == 0 || checks[len(checks)-1] != f.Check {
			checks = append(checks, f.Check)
		}
		if f.Check == "texts" {
			if f.Verdict != "warning" || f.Do == "" || len(f.Texts) != len(flow.Sayings) || f.Texts[0].Text != "pin" || f.Texts[0].Encoding != "UCS-2" || f.Texts[0].Segments != 2 {
				t.Errorf("of the texts it tells %+v", f)
			}
		}
	}
	if got, want := strings.Join(checks, ", "), "settings, database, account, sender, clock, public URL, webhooks, texts, guessing, spending"; got != want {
		t.Errorf("checks: %s\nwant:   %s", got, want)
	}
}

func TestDoctorFailsOfAProblem(t *testing.T) {
	p := newPatient(t)
	p.TwilioAuthToken = strings.Repeat("0", 32)
	for _, args := range [][]string{nil, {"--json"}} {
		out, err := p.told(t.Context(), args...)
		if err == nil || !strings.Contains(err.Error(), "problems") {
			t.Errorf("%q: %v, having told:\n%s", args, err, out)
		}
	}
}

func TestDoctorTextsNobodyAndWritesOneReceipt(t *testing.T) {
	p := newPatient(t)
	// To be ready is to write a row, whoever asks.
	p.public.behind.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	before := rowsOf(t, p.DatabaseURL)
	for range 2 {
		if out, err := p.told(t.Context()); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
	}
	after := rowsOf(t, p.DatabaseURL)
	const receipts = "stray_receipts" // it is of no text
	if before[receipts] != 0 || after[receipts] != 1 {
		t.Errorf("%d receipts, then %d; want 0, then 1", before[receipts], after[receipts])
	}
	for table := range after {
		if table != receipts && after[table] != before[table] {
			t.Errorf("%s had %d rows, and has %d", table, before[table], after[table])
		}
	}
	if m := p.booth.Messages(""); len(m) != 0 {
		t.Errorf("texted: %+v", m)
	}
}

// rowsOf counts each table's rows, beside the service.
func rowsOf(t *testing.T, databaseURL string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", databaseURL+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tables, err := db.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tables.Close() }()
	counts := map[string]int{}
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			t.Fatal(err)
		}
		counts[name] = 0
	}
	if err := tables.Err(); err != nil {
		t.Fatal(err)
	}
	for name := range counts {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM "`+name+`"`).Scan(&n); err != nil { //nolint:gosec // the schema's own names
			t.Fatal(err)
		}
		counts[name] = n
	}
	return counts
}

func TestDoctorNeverTellsASecret(t *testing.T) {
	p := newPatient(t)
	p.TwilioAPIKey, p.TwilioAPISecret = patientSK, patientSecret
	p.OpsToken = "ops token that nobody tells"
	p.TwilioAuthToken += ",secondTokenSecondTokenSecondToke"
	// Twilio, and what stands before the service, say what they know.
	p.api.put(func(w http.ResponseWriter, r *http.Request) bool {
		_, password, _ := r.BasicAuth()
		if strings.Contains(r.URL.Path, "IncomingPhoneNumbers") {
			says(w, 200, fmt.Sprintf(`{"incoming_phone_numbers":[{"phone_number":%q,"capabilities":{"sms":true},"sms_method":"POST",
				"sms_url":"https://user:%[2]s@shop.example/hook?key=%[2]s#%[2]s"}]}`, p.TwilioFromNumber, password))
			return true
		}
		says(w, 200, fmt.Sprintf(`{"sid":%q,"status":"active","friendly_name":%q}`, p.TwilioAccountSID, password))
		return true
	})
	p.public.put(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://user:"+p.OpsToken+"@shop.example/?key="+patientKey, http.StatusFound)
		return true
	})
	settings, err := p.Check(noEnv, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	d := doctor{checked: settings, now: time.Now, free: freeSpace}
	told := printed(d.examine(t.Context()))
	secrets := append(list(p.TwilioAuthToken), patientKey, patientSecret, p.OpsToken)
	for _, secret := range secrets {
		if strings.Contains(told, secret) {
			t.Errorf("told %q:\n%s", secret, told)
		}
	}
	if !strings.Contains(told, "[secret]") {
		t.Errorf("nothing had to be hushed: the test proves nothing:\n%s", told)
	}
}

func TestDoctorTellsOfAllSettingsAndLooksOn(t *testing.T) {
	broken := Settings{TwilioAPIURL: "https://api.twilio.com", DatabaseURL: "file:" + filepath.Join(t.TempDir(), "shop.db"), PINLength: "3", TextsPerNumber: "many"}
	found := seenOf(t, broken, "settings")
	for _, setting := range []string{
		"PUBLIC_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER", "SECRET_KEY", "SHOP_NAME",
		"PIN_LENGTH", "PIN_TTL", "TEXTS_PER_DAY", "TEXTS_PER_NUMBER", "LISTEN_ADDR",
	} {
		wantSeen(t, found, isProblem, setting)
	}
	wantSeen(t, seenOf(t, broken, "database"), isWarning, "there is no", "serve makes it")
	for check, why := range map[string]string{
		"account": "TWILIO_AUTH_TOKEN", "sender": "PUBLIC_URL", "clock": "time", "public URL": "PUBLIC_URL", "webhooks": "PUBLIC_URL",
		"texts": "SHOP_NAME", "guessing": "PIN_LENGTH", "spending": "TEXTS_PER_DAY",
	} {
		wantSeen(t, seenOf(t, broken, check), isWarning, "not checked", why)
	}

	t.Run("an API key that is none", func(t *testing.T) {
		p := newPatient(t)
		p.TwilioAPIKey, p.TwilioAPISecret = "key", patientSecret
		wantSeen(t, p.seen(t, "settings"), isProblem, "TWILIO_API_KEY")
		wantSeen(t, p.seen(t, "API key"), isWarning, "not checked", "SK")
		wantSeen(t, p.seen(t, "account"), isFine, "is active")
	})
	t.Run("a bad line of the shop's texts", func(t *testing.T) {
		p := newPatient(t)
		p.TextsFile = filepath.Join(t.TempDir(), "texts.txt")
		if err := os.WriteFile(p.TextsFile, []byte("pin: {pin} {order}, or reply CANCEL\nnonsense\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantSeen(t, p.seen(t, "settings"), isProblem, "texts.txt:1", "texts.txt:2")
		wantSeen(t, p.seen(t, "texts"), isWarning, "not checked", "TEXTS_FILE")
	})
	t.Run("without a sender", func(t *testing.T) {
		p := newPatient(t)
		p.TwilioFromNumber = ""
		wantSeen(t, p.seen(t, "account"), isFine, "is active")
		wantSeen(t, p.seen(t, "sender"), isWarning, "not checked", "TWILIO_FROM_NUMBER")
		wantSeen(t, p.seen(t, "webhooks"), isWarning, "not checked", "TWILIO_FROM_NUMBER")
	})
	t.Run("without a token", func(t *testing.T) {
		p := newPatient(t)
		p.TwilioAuthToken = ""
		wantSeen(t, p.seen(t, "public URL"), isFine, "is ready")
		wantSeen(t, p.seen(t, "sender"), isWarning, "not checked", "TWILIO_AUTH_TOKEN")
		wantSeen(t, p.seen(t, "webhooks"), isWarning, "not checked", "TWILIO_AUTH_TOKEN")
	})
}

func TestDoctorLooksAtTheDatabase(t *testing.T) {
	const setVersion = `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`
	fill := func(t *testing.T, path, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	migrated := func(t *testing.T, path string) {
		t.Helper()
		if err := run(t.Context(), []string{"migrate", "--database-url=file:" + path}, noEnv, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		make    func(t *testing.T, path string)
		verdict verdict
		words   []string
	}{
		{"as it should be", migrated, isFine, []string{"as this version wants"}},
		{"not there yet", func(*testing.T, string) {}, isWarning, []string{"there is no", "serve makes it"}},
		{"older", func(t *testing.T, path string) { fill(t, path, `PRAGMA user_version = 1`) }, isWarning, []string{"older", "countersign migrate"}},
		{"newer", func(t *testing.T, path string) { migrated(t, path); fill(t, path, setVersion) }, isProblem, []string{"newer", "999"}},
		{"another program's", func(t *testing.T, path string) { fill(t, path, `CREATE TABLE recipes (name TEXT)`) }, isProblem, []string{"not countersign's", "DATABASE_URL"}},
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("recipe "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, isProblem, []string{"DATABASE_URL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "shop.db")
			tt.make(t, path)
			wantSeen(t, seenOf(t, Settings{DatabaseURL: "file:" + path}, "database"), tt.verdict, tt.words...)
		})
	}
	t.Run("in no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "nowhere", "shop.db")
		wantSeen(t, seenOf(t, Settings{DatabaseURL: "file:" + path}, "database"), isProblem, "directory", "no such file")
	})
	t.Run("of no known kind", func(t *testing.T) {
		wantSeen(t, seenOf(t, Settings{DatabaseURL: "oracle://shop"}, "database"), isProblem, "postgres://", "DATABASE_URL")
	})
	for _, tt := range []struct {
		name    string
		free    uint64
		err     error
		verdict verdict
		words   string
	}{
		{"room for long", 20e9, nil, isFine, "20.0 GB free"},
		{"room for a while", 500e6, nil, isWarning, "0.5 GB free"},
		{"no room", 10e6, nil, isProblem, "0.0 GB free"},
		{"room unknown", 0, errors.New("not supported"), isWarning, "not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "shop.db")
			migrated(t, path)
			found := seenOf(t, Settings{DatabaseURL: "file:" + path}, "database", func(d *doctor) {
				d.free = func(dir string) (uint64, error) {
					if dir != filepath.Dir(path) {
						t.Errorf("asked for the room of %s", dir)
					}
					return tt.free, tt.err
				}
			})
			wantSeen(t, found, tt.verdict, tt.words)
		})
	}
	if free, err := freeSpace(t.TempDir()); err != nil || free == 0 {
		t.Errorf("freeSpace = %d, %v", free, err)
	}
}

// says answers with a status and a body, as JSON.
func says(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) //nolint:gosec // no browser reads it
}

// answering answers requests whose path ends so.
func answering(suffix string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		says(w, status, body)
		return true
	}
}

func TestDoctorLooksAtTheAccount(t *testing.T) {
	p := newPatient(t)
	accountPath := "/Accounts/" + p.TwilioAccountSID + ".json"
	account := func(fields string) func(http.ResponseWriter, *http.Request) bool {
		return answering(accountPath, 200, fmt.Sprintf(`{"sid":%q,"friendly_name":"Acme",%s}`, p.TwilioAccountSID, fields))
	}
	for _, tt := range []struct {
		name    string
		api     func(http.ResponseWriter, *http.Request) bool
		verdict verdict
		words   []string
	}{
		{"active", account(`"status":"active","type":"Full"`), isFine, []string{`"Acme" is active`}},
		{"on trial", account(`"status":"active","type":"Trial"`), isWarning, []string{"trial", "21608", "upgrade"}},
		{"suspended", account(`"status":"suspended","type":"Full"`), isProblem, []string{"suspended", "payment"}},
		{"suspended on trial", account(`"status":"suspended","type":"Trial"`), isProblem, []string{"suspended"}},
		{"closed", account(`"status":"closed"`), isProblem, []string{"closed"}},
		{"of another SID", answering(accountPath, 200, `{"sid":"AC0","status":"active"}`), isProblem, []string{"not about our account"}},
		{"with wrong credentials", answering(accountPath, 401, `{"code":20003}`), isProblem, []string{"401", "20003", "TWILIO_AUTH_TOKEN", "console"}},
		{"with test credentials", answering(accountPath, 403, `{"code":20008}`), isProblem, []string{"test credentials", "live ones"}},
		{"that Twilio does not know", answering(accountPath, 404, `{"code":20404}`), isProblem, []string{"404", "TWILIO_ACCOUNT_SID"}},
		{"while Twilio is down", answering(accountPath, 503, `{"code":20503}`), isProblem, []string{"503", "status.twilio.com"}},
		{"while Twilio is busy", answering(accountPath, 429, `{"code":20429}`), isProblem, []string{"429", "again"}},
		{"at something else", answering(accountPath, 200, `<html>`), isProblem, []string{"TWILIO_API_URL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.api.put(tt.api)
			wantSeen(t, p.seen(t, "account"), tt.verdict, tt.words...)
		})
	}
	p.api.put(nil)
	t.Run("that is not opened has no number and tells no time", func(t *testing.T) {
		p.api.put(answering(accountPath, 401, `{"code":20003}`))
		defer p.api.put(nil)
		wantSeen(t, p.seen(t, "sender"), isWarning, "not checked", "account")
		wantSeen(t, p.seen(t, "clock"), isWarning, "not checked")
	})
	t.Run("where nobody listens", func(t *testing.T) {
		unreachable := *p
		unreachable.TwilioAPIURL = closedURL(t)
		wantSeen(t, unreachable.seen(t, "account"), isProblem, "cannot be reached", "refused", "TWILIO_API_URL")
	})
	t.Run("with two tokens that open it", func(t *testing.T) {
		rotating := *p
		rotating.TwilioAuthToken += "," + p.TwilioAuthToken
		wantSeen(t, rotating.seen(t, "account"), isFine, "token 2 opens it too")
	})
	t.Run("with a second token that does not", func(t *testing.T) {
		rotating := *p
		rotating.TwilioAuthToken += "," + strings.Repeat("0", 32)
		wantSeen(t, rotating.seen(t, "account"), isWarning, "token 2", "401", "leave it out")
	})
}

// closedURL is one at which nobody listens.
func closedURL(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.URL
}

func TestDoctorLooksAtTheAPIKey(t *testing.T) {
	p := newPatient(t)
	if found := p.seen(t, "API key"); len(found) > 0 {
		t.Errorf("without a key: %+v", found)
	}
	p.TwilioAPIKey, p.TwilioAPISecret = patientSK, patientSecret
	wantSeen(t, p.seen(t, "API key"), isFine, "list texts")
	// The account is the token's to open.
	wantSeen(t, p.seen(t, "account"), isFine, "active")
	p.TwilioAPISecret = "another"
	wantSeen(t, p.seen(t, "API key"), isProblem, "401", "TWILIO_API_SECRET")
	wantSeen(t, p.seen(t, "account"), isFine, "active")
}

func TestDoctorLooksAtTheSender(t *testing.T) {
	p := newPatient(t)
	number := func(fields string) string {
		return fmt.Sprintf(`{"incoming_phone_numbers":[{"phone_number":%q,%s}]}`, p.TwilioFromNumber, fields)
	}
	hook := func(url, method string) string {
		return number(fmt.Sprintf(`"capabilities":{"sms":true},"sms_url":%q,"sms_method":%q`, url, method))
	}
	ours := p.PublicURL + inboundPath
	host := strings.TrimPrefix(p.PublicURL, "http://")
	for _, tt := range []struct {
		name    string
		numbers string
		verdict verdict
		words   []string
	}{
		{"as it should be", hook(ours+hookFragment, "POST"), isFine, []string{"replies go to " + ours}},
		{"with a query and a password, which do no harm", hook("http://user:pass@"+host+inboundPath+"?shop=1#rc=1", "POST"), isFine, []string{"replies go to " + ours}},
		{"without retries", hook(ours, "POST"), isWarning, []string{"5xx", hookFragment}},
		{"with a fragment that asks for no retries", hook(ours+"#ct=2000", "POST"), isWarning, []string{hookFragment}},
		{"by GET", hook(ours+hookFragment, "GET"), isProblem, []string{`"GET"`, "HTTP POST"}},
		{"by https", hook("https://"+host+inboundPath+"#rc=2", "POST"), isProblem, []string{"another scheme", ours}},
		{"at another host", hook("http://demo.twilio.com/welcome/sms/reply/", "POST"), isProblem, []string{"another host", "demo.twilio.com", ours}},
		{"at another port", hook("http://127.0.0.1:1"+inboundPath, "POST"), isProblem, []string{"another port"}},
		{"at another path", hook(p.PublicURL+"/sms", "POST"), isProblem, []string{"another path", ours}},
		{"with a slash at the end", hook(ours+"/", "POST"), isProblem, []string{"slash"}},
		{"that cannot be read", hook("http://[", "POST"), isProblem, []string{"cannot be read", ours}},
		{"nowhere", number(`"capabilities":{"sms":true},"sms_url":null`), isProblem, []string{"nowhere", ours}},
		{"at a TwiML App", number(`"capabilities":{"sms":true},"sms_url":` + strconv.Quote(ours+hookFragment) + `,"sms_method":"POST","sms_application_sid":"AP012"`),
			isProblem, []string{"AP012", ours}},
		{"at a number that cannot text", number(`"capabilities":{"voice":true},"sms_url":` + strconv.Quote(ours+hookFragment) + `,"sms_method":"POST"`),
			isProblem, []string{"cannot text"}},
		{"at a number that is not ours", `{"incoming_phone_numbers":[]}`, isProblem, []string{"no number " + p.TwilioFromNumber}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.api.put(answering("/IncomingPhoneNumbers.json", 200, tt.numbers))
			wantSeen(t, p.seen(t, "sender"), tt.verdict, tt.words...)
		})
	}
	t.Run("at a number that may not be asked for", func(t *testing.T) {
		p.api.put(answering("/IncomingPhoneNumbers.json", 403, `{"code":20403}`))
		wantSeen(t, p.seen(t, "sender"), isProblem, "403", "read the account's phone numbers")
	})
	p.api.put(nil)
	t.Run("a number that the booth lacks", func(t *testing.T) {
		other := *p
		other.TwilioFromNumber = "+14155550199"
		wantSeen(t, other.seen(t, "sender"), isProblem, "no number +14155550199")
	})
	t.Run("a Messaging Service is not looked at, and it says so", func(t *testing.T) {
		other := *p
		other.TwilioFromNumber, other.TwilioMessagingServiceSID = "", "MG0123456789abcdef0123456789abcdef"
		wantSeen(t, other.seen(t, "sender"), isWarning, "was not checked", "messaging.twilio.com", "Integration", ours)
	})
}

func TestDoctorLooksAtTheClock(t *testing.T) {
	p := newPatient(t)
	for _, tt := range []struct {
		name    string
		off     time.Duration
		verdict verdict
		words   string
	}{
		{"right", 0, isFine, "within 1s"},
		{"a little ahead", 20 * time.Second, isFine, "within"},
		{"ahead", 2 * time.Minute, isWarning, "ahead of"},
		{"behind", -2 * time.Minute, isWarning, "behind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := p.seen(t, "clock", func(d *doctor) {
				d.now = func() time.Time { return time.Now().Add(tt.off) }
			})
			wantSeen(t, found, tt.verdict, tt.words)
		})
	}
	t.Run("that Twilio does not tell", func(t *testing.T) {
		p.api.put(func(w http.ResponseWriter, _ *http.Request) bool { w.Header()["Date"] = nil; return false })
		wantSeen(t, p.seen(t, "clock"), isWarning, "not checked", "time")
	})
}

func TestDoctorLooksThroughThePublicURL(t *testing.T) {
	p := newPatient(t)
	all := func(status int, location, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if location != "" {
				w.Header().Set("Location", strings.ReplaceAll(location, "{path}", r.URL.Path))
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	https := strings.Replace(p.PublicURL, "http://", "https://", 1)
	for _, tt := range []struct {
		name  string
		proxy func(http.ResponseWriter, *http.Request) bool
		words []string
	}{
		{"a proxy that does not know the path", all(404, "", "<html>no such page"), []string{"404", "something else answers", "LISTEN_ADDR"}},
		{"a page for everything", all(200, "", "<html>Welcome"), []string{"200", "something else answers"}},
		{"a proxy that asks for a password", all(401, "", ""), []string{"401", "keeps it out"}},
		{"a firewall", all(403, "", "blocked"), []string{"403", "keeps it out"}},
		{"a proxy that does not reach us", all(502, "", "Bad Gateway"), []string{"502", "is serve running"}},
		{"a proxy that limits requests", all(429, "", ""), []string{"429", "limits", "exempt"}},
		{"a proxy that spoils forms", all(400, "", ""), []string{"400", "not get there as it was"}},
		{"a service that fails", all(500, "", ""), []string{"500", "log"}},
		{"a redirect to https", all(301, https+"{path}", ""), []string{"redirects (301)", "set PUBLIC_URL", https}},
		{"a redirect to another host", all(308, "http://www.shop.example{path}", ""), []string{"308", "set PUBLIC_URL", "http://www.shop.example"}},
		{"a redirect to a slash", all(302, "{path}/", ""), []string{"302", "add no slash"}},
		{"a redirect to a page of its own", all(303, "/login", ""), []string{"303", "/login", "LISTEN_ADDR"}},
		{"a redirect to nowhere", all(307, "", ""), []string{"307", "nowhere"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.public.put(tt.proxy)
			wantSeen(t, p.seen(t, "public URL"), isProblem, append(tt.words, "/readyz")...)
			wantSeen(t, p.seen(t, "webhooks"), isProblem, append(tt.words, inboundPath)...)
		})
	}
	t.Run("a service that is not ready", func(t *testing.T) {
		p.public.put(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == "/readyz" && all(503, "", "not ready\n")(w, r)
		})
		wantSeen(t, p.seen(t, "public URL"), isProblem, "not ready", "database")
		wantSeen(t, p.seen(t, "webhooks"), isFine, "a signed text is taken")
	})
	for _, tt := range []struct {
		name  string
		url   func(t *testing.T) string
		words []string
	}{
		{"where nobody listens", closedURL, []string{"connection refused", "serve"}},
		{"plain HTTP where TLS is wanted", func(*testing.T) string { return https }, []string{"TLS error", "plain HTTP"}},
		{"a certificate that nobody trusts", func(t *testing.T) string {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, []string{"TLS error", "certificate"}},
		{"a connection that breaks", func(t *testing.T) string {
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
			t.Cleanup(s.Close)
			return s.URL
		}, []string{"EOF"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := *p
			other.PublicURL = tt.url(t)
			wantSeen(t, other.seen(t, "public URL"), isProblem, tt.words...)
			wantSeen(t, other.seen(t, "webhooks"), isWarning, "not checked", "nothing answers")
		})
	}
	// These would be asked of the network.
	for words, err := range map[string]error{
		"within 10s":                   context.DeadlineExceeded,
		"host is not found: lookup sh": &net.DNSError{Err: "no such host", Name: "shop.invalid", IsNotFound: true},
	} {
		if seen, do := unreached(&url.Error{Op: "Post", URL: "http://shop.invalid", Err: err}); !strings.Contains(seen, words) || do == "" {
			t.Errorf("unreached(%v) = %q, %q; want %q", err, seen, do, words)
		}
	}
}

func TestDoctorLooksAtWebhooks(t *testing.T) {
	otherToken := strings.Repeat("0", 32)
	for _, tt := range []struct {
		name    string
		serve   func(*Settings) // the service's settings, if others
		look    func(*Settings) // the doctor's, if others
		proxy   func(http.ResponseWriter, *http.Request) bool
		verdict verdict
		words   []string
	}{
		{"with another token there", func(s *Settings) { s.TwilioAuthToken = otherToken }, nil, nil,
			isProblem, []string{"403", "auth token", "PUBLIC_URL", "proxy changes"}},
		{"with https as its URL there", func(s *Settings) { s.PublicURL = strings.Replace(s.PublicURL, "http:", "https:", 1) }, nil, nil,
			isProblem, []string{"403", "takes its PUBLIC_URL to be https://"}},
		{"with another host as its URL there", func(s *Settings) { s.PublicURL = "http://shop.example" }, nil, nil,
			isProblem, []string{"403", "PUBLIC_URL"}},
		{"with another account there", func(s *Settings) { s.TwilioAccountSID = "AC" + otherToken }, nil, nil,
			isProblem, []string{"403", "TWILIO_ACCOUNT_SID"}},
		{"with another sender there", func(s *Settings) { s.TwilioFromNumber = "+14155550199" }, nil, nil,
			isProblem, []string{"403", "TWILIO_FROM_NUMBER"}},
		{"with a service as sender", func(s *Settings) { s.TwilioMessagingServiceSID = "MG" + otherToken },
			func(s *Settings) { s.TwilioMessagingServiceSID = "MG" + otherToken }, nil,
			isFine, []string{"a signed text is taken"}},
		{"through a proxy that changes the query", nil, nil, func(_ http.ResponseWriter, r *http.Request) bool {
			r.RequestURI += "?utm=1"
			return false
		}, isProblem, []string{"403", "changes path, query or form"}},
		{"through a proxy that loses receipts", nil, nil, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != receiptPath {
				return false
			}
			http.NotFound(w, r)
			return true
		}, isProblem, []string{receiptPath, "404"}},
		{"through a proxy that answers 200 for a receipt", nil, nil, func(_ http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == receiptPath
		}, isProblem, []string{receiptPath, "something else answers"}},
		{"of something that takes all", nil, nil, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == inboundPath {
				_, _ = io.WriteString(w, "<Response/>")
			}
			return r.URL.Path == inboundPath
		}, isProblem, []string{"unsigned", "taken (200)"}},
		{"signed with either of two tokens", func(s *Settings) { s.TwilioAuthToken += "," + otherToken },
			func(s *Settings) { s.TwilioAuthToken += "," + otherToken }, nil, isFine, []string{"token 2 is taken too"}},
		{"signed with a token that is new there", nil,
			func(s *Settings) { s.TwilioAuthToken += "," + otherToken }, nil, isWarning, []string{"token 2", "403", "restart"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var serve []func(*Settings)
			if tt.serve != nil {
				serve = append(serve, tt.serve)
			}
			p := newPatient(t, serve...)
			p.public.put(tt.proxy)
			if tt.look != nil {
				tt.look(&p.Settings)
			}
			wantSeen(t, p.seen(t, "webhooks"), tt.verdict, tt.words...)
		})
	}
}

// What the doctor takes for the service's words are the service's words.
func TestDoctorReadsRefusals(t *testing.T) {
	p := newPatient(t)
	settings, err := p.Check(noEnv, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	d := doctor{checked: settings}
	form := map[string][]string{"AccountSid": {"AC" + strings.Repeat("0", 32)}}
	for signature, words := range map[string]string{
		"":    "signature",
		"bad": "signature",
		twiml.Sign(p.TwilioAuthToken, d.inboundURL(), form): "our account or our sender",
	} {
		got, err := d.probe(t.Context(), http.MethodPost, inboundPath, form, signature)
		if err != nil || got.status != http.StatusForbidden || !strings.Contains(got.body, words) {
			t.Errorf("signed %q: %d %q, %v; want 403 and %q", signature, got.status, got.body, err, words)
		}
	}
}

func TestDoctorMeasuresTexts(t *testing.T) {
	p := newPatient(t)
	for _, tt := range []struct {
		name    string
		change  func(*Settings)
		verdict verdict
		words   []string
	}{
		{"of a shop with a short name", func(*Settings) {}, isFine, []string{"one segment"}},
		{"of a shop with a long name", func(s *Settings) { s.ShopName = strings.Repeat("Acme ", 12) + "Teas" },
			isWarning, []string{"more than one segment", "SHOP_NAME (64 characters)"}},
		{"of a shop whose name the alphabet lacks", func(s *Settings) { s.ShopName = "Čaj" },
			isWarning, []string{`'Č' is not in the GSM alphabet`}},
		{"of a shop's own file", func(s *Settings) {
			s.TextsFile = filepath.Join(t.TempDir(), "texts.txt")
			text := "segments: 2\nhint: {shop}: " + strings.Repeat("please ", 30) + "reply with the {length} digits.\n"
			if err := os.WriteFile(s.TextsFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}, isWarning, []string{"1 of 20 texts", "TEXTS_FILE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := *p
			tt.change(&other.Settings)
			found := other.seen(t, "texts")
			wantSeen(t, found, tt.verdict, tt.words...)
			if len(found) != 1 || len(found[0].Texts) != len(flow.Sayings) {
				t.Errorf("%d findings: %+v", len(found), found)
			}
		})
	}
	t.Run("that are shown in a table", func(t *testing.T) {
		out := printed(p.seen(t, "texts"))
		for _, saying := range flow.Sayings {
			if !strings.Contains(out, "\n"+strings.Repeat(" ", verdictWidth+checkWidth)+string(saying)+" ") {
				t.Errorf("no %s in:\n%s", saying, out)
			}
		}
	})
}

func TestDoctorTellsTheOdds(t *testing.T) {
	p := newPatient(t)
	for _, tt := range []struct {
		name    string
		change  func(*Settings)
		verdict verdict
		words   []string
	}{
		{"of six digits", func(*Settings) {}, isFine, []string{"6 digits, 5 PINs", "1 in 25,000", "1 in 14,286", "1 in 15"}},
		{"of eight digits", func(s *Settings) { s.PINLength = "8"; s.TextsPerNumber = "100/1h" }, isFine, []string{"8 digits, 10 PINs"}},
		{"of four digits", func(s *Settings) { s.PINLength = "4" }, isWarning, []string{"set PIN_LENGTH to 6"}},
		{"of many PINs a day", func(s *Settings) { s.TextsPerNumber = "20/24h" }, isWarning, []string{"10 PINs", "set PIN_LENGTH to 7, or TEXTS_PER_NUMBER to 6/24h"}},
		{"of one PIN an hour", func(s *Settings) { s.TextsPerNumber = "1/1h" }, isWarning, []string{"10 PINs"}},
		{"of two PINs a week", func(s *Settings) { s.TextsPerNumber = "2/168h" }, isFine, []string{"2 PINs"}},
		{"of one text a day for all", func(s *Settings) { s.TextsPerDay = "1" }, isFine, []string{"1 PIN a line"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := *p
			tt.change(&other.Settings)
			wantSeen(t, other.seen(t, "guessing"), tt.verdict, tt.words...)
		})
	}
}

func TestOdds(t *testing.T) {
	near := func(t *testing.T, what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want*1e-6 {
			t.Errorf("%s = %g, want %g", what, got, want)
		}
	}
	// One PIN: eight guesses at it, by both roads.
	near(t, "oddsOfOrder(6, 1)", oddsOfOrder(6, 1), 8e-6)
	near(t, "oddsOfLine(6, 1)", oddsOfLine(6, 1), 8e-6)
	// Two PINs of four digits: neither is guessed with (1 − 8/N) twice; on a
	// line whose first order stays open, the second's replies hit either.
	near(t, "oddsOfOrder(4, 2)", oddsOfOrder(4, 2), 1-0.9992*0.9992)
	near(t, "oddsOfLine(4, 2)", oddsOfLine(4, 2), 1-0.9992*0.9989)
	// From the fifth on, five are open: 5 + 3×5 guesses each.
	near(t, "oddsOfLine(6, 7) against (6, 6)", 1-(1-oddsOfLine(6, 7))/(1-oddsOfLine(6, 6)), 20e-6)
	// A PIN has no certainty to give.
	if p := oddsOfLine(4, flow.SerialsPerDay); p <= oddsOfOrder(4, flow.SerialsPerDay) || p >= 1 {
		t.Errorf("oddsOfLine = %g", p)
	}
	for p, want := range map[float64]string{1e-6: "1 in 1,000,000", 0.05: "1 in 20", 0.5: "50 %"} {
		if got := odds(p); got != want {
			t.Errorf("odds(%g) = %q, want %q", p, got, want)
		}
	}
}

func TestDoctorTellsWhatADayCanCost(t *testing.T) {
	p := newPatient(t)
	for _, tt := range []struct {
		name   string
		change func(*Settings)
		words  []string
	}{
		{"at home", func(*Settings) {}, []string{"2,000 texts", "of 1 segment", "$24", "US"}},
		{"in the dearest country", func(s *Settings) { s.Countries = "US,ID,CA" }, []string{"ID", "$800"}},
		{"in a country of no known price", func(s *Settings) { s.Countries = "US,CU" }, []string{"CU", "$600"}},
		{"of longer texts", func(s *Settings) { s.ShopName = "Čajovna" }, []string{"of 2 segments", "$48"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := *p
			tt.change(&other.Settings)
			wantSeen(t, other.seen(t, "spending"), isFine, tt.words...)
		})
	}
}
