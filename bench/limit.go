package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what RFC 4226 is made of
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
)

// roadHeader tells the limit which road a request is of. The service is sent
// it too, and takes no notice.
const roadHeader = "X-Road"

// An answer is what a server says to a request of a road, and what the limit
// has to do before it says the same.
type answer struct {
	Status int
	Header http.Header
	Body   []byte

	Signed  bool // the webhook's signature is checked
	Derived bool // a PIN is derived
	Cookie  bool // the browser's cookie is checked
	Texts   bool // Twilio is called, and waited for
}

// A limit is a server that does what every one has to: it finds the route,
// reads the form, computes the same HMACs, says the same bytes, calls Twilio
// where that is called for. It keeps nothing and logs nothing. What it is to
// say it learns of the service, see [limit.learn].
type limit struct {
	twilio  string // API's URL
	client  *http.Client
	mu      sync.RWMutex
	answers map[string]answer
}

// serveLimit is the limit's process.
func serveLimit(ctx context.Context, args []string) error {
	l := &limit{
		answers: map[string]answer{},
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	flags := flag.NewFlagSet("bench limit", flag.ContinueOnError)
	addr := flags.String("listen", "127.0.0.1:0", "the address to listen on")
	flags.StringVar(&l.twilio, "twilio", "", "the URL of the far side")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server := &http.Server{Addr: *addr, Handler: l.routes(), ReadHeaderTimeout: time.Minute}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (l *limit) routes() http.Handler {
	router := mux.NewRouter().SkipClean(true)
	for _, path := range []string{
		"/", "/metrics", "/pin", "/orders/{id}/pin",
		"/webhooks/twilio/message", "/webhooks/twilio/status/{message}",
	} {
		router.HandleFunc(path, l.serve)
	}
	router.HandleFunc("/limit/answers/{road}", l.learn).Methods(http.MethodPut)
	router.HandleFunc("/limit/mallocs", mallocs)
	return router
}

// learn takes what is to be said on a road.
func (l *limit) learn(w http.ResponseWriter, r *http.Request) {
	var a answer
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[mux.Vars(r)["road"]] = a
}

func mallocs(w http.ResponseWriter, _ *http.Request) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	_, _ = io.WriteString(w, strconv.FormatUint(stats.Mallocs, 10))
}

func (l *limit) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.RLock()
	a, ok := l.answers[r.Header.Get(roadHeader)]
	l.mu.RUnlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if a.Signed && !hmac.Equal([]byte(r.Header.Get("X-Twilio-Signature")), []byte(sign(publicURL+r.RequestURI, r.PostForm))) {
		http.Error(w, "signature", http.StatusForbidden)
		return
	}
	if a.Cookie {
		cookieMAC(r)
	}
	if a.Derived {
		pin := derive(r.PostForm.Get("From") + r.PostForm.Get("mobile_number"))
		if a.Texts {
			if err := l.text(r.Context(), r.PostForm.Get("mobile_number"), pin); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
	}
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// text has Twilio text a PIN: one call, and the sid in its answer is read.
func (l *limit) text(ctx context.Context, to, pin string) error {
	form := url.Values{
		"To": {to}, "From": {sender}, "ValidityPeriod": {"14400"},
		"Body":           {pin + " is your Shop PIN for order K7Q2-118. Reply with it or type it in.\n\n@" + publicHost + " #" + pin},
		"StatusCallback": {publicURL + "/webhooks/twilio/status/019abcde-0000-7000-8000-000000000000"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		l.twilio+"/2010-04-01/Accounts/"+accountSID+"/Messages.json", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(accountSID, authToken)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var made struct{ SID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if made.SID == "" {
		return fmt.Errorf("the far side answered %s", resp.Status)
	}
	return nil
}

// cookieMAC does the work of verifying a cookie.
func cookieMAC(r *http.Request) []byte {
	for _, cookie := range r.Cookies() {
		mac := hmac.New(sha256.New, []byte(secretKey))
		_, _ = io.WriteString(mac, cookie.Value)
		return mac.Sum(nil)
	}
	return nil
}

// derive does the work of deriving a PIN: a key by HMAC-SHA256, and of it an
// RFC 4226 HOTP.
func derive(number string) string {
	key := hmac.New(sha256.New, []byte(secretKey))
	_, _ = io.WriteString(key, number)
	mac := hmac.New(sha1.New, key.Sum(nil))
	mac.Write(binary.BigEndian.AppendUint64(nil, 1))
	sum := mac.Sum(nil)
	code := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Sprintf("%06d", code%1_000_000)
}
