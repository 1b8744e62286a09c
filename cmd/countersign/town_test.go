package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
)

// A town is what a service is soaked in: one or several of its processes on
// one database, a front door before them, a telephone booth, and customers.
type town struct {
	ctx     context.Context
	dir     string
	set     map[string]string // settings
	booth   *booth
	front   *door
	servers []*server
	book    *book
	numbers atomic.Int64  // handed out
	passed  time.Duration // beside the time that passes by itself
}

// newTown opens a booth and a front door; no service is up yet.
func newTown(t *testing.T, database string, servers int) *town {
	t.Helper()
	ctx := t.Context()
	w := &town{ctx: ctx, dir: t.TempDir(), front: newDoor(), book: newBook()}
	t.Cleanup(w.front.Close)
	if err := setClock(filepath.Join(w.dir, clockName), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(w.dir, logName)); err == nil && t.Failed() {
			t.Logf("the end of the service's log:\n%s", text[max(0, len(text)-16<<10):])
		}
	})
	at, err := freeAddr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.set = settings(w.dir, "", "", at)
	w.set["PUBLIC_URL"] = w.front.URL
	w.set["LOG_LEVEL"] = "info"
	w.set["REQUESTS_PER_IP"], w.set["TEXTS_PER_NUMBER"], w.set["TEXTS_PER_DAY"] = "10000/1h", "50/24h", "1000000"
	if database != "" {
		w.set["DATABASE_URL"] = database
	}
	for range servers {
		s := &server{town: w}
		for _, addr := range []*string{&s.addr, &s.ops} {
			if *addr, err = freeAddr(ctx); err != nil {
				t.Fatal(err)
			}
		}
		w.servers = append(w.servers, s)
	}
	p, err := start(ctx, buildBooth(t), nil, []string{
		"BOOTH_LISTEN=" + at,
		"TWILIO_ACCOUNT_SID=" + w.set["TWILIO_ACCOUNT_SID"],
		"TWILIO_AUTH_TOKEN=" + w.set["TWILIO_AUTH_TOKEN"],
		"TWILIO_FROM_NUMBER=" + w.set["TWILIO_FROM_NUMBER"],
		"BOOTH_INBOUND_URL=" + w.front.URL + "/webhooks/twilio/message",
		"BOOTH_SEND_DELAY=0s", "BOOTH_DELIVER_DELAY=0s", "BOOTH_KEEP=1000000",
	}, w.dir, filepath.Join(w.dir, "booth.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.booth = &booth{process: p, url: "http://" + at}
	if err := answers(ctx, p, w.booth.url+"/booth/state"); err != nil {
		t.Fatal(err)
	}
	return w
}

// buildService builds countersign as it is shipped, and returns the program.
func buildService(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "shipped")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the service: %v\n%s", err, out)
	}
	return program
}

// answers waits for p to answer at that address.
func answers(ctx context.Context, p *process, at string) error {
	return until(ctx, func() (bool, error) {
		if p.ended() {
			return false, fmt.Errorf("%s ended: %w", p.name, p.err)
		}
		a, err := fetch(ctx, at)
		return err == nil && a.status < 300, nil
	})
}

// fetch is a GET by nobody in particular.
func fetch(ctx context.Context, at string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return answer{}, err
	}
	return ask(http.DefaultClient, req)
}

// A server is one process of the service.
type server struct {
	*town
	addr, ops string
	proc      *process
	failpoint string // that it is to die at
	program   string // countersign as it is built; empty for what the tests are
}

// start starts it, to die at a failpoint if one is given, and opens the front
// door to it once it is ready.
func (s *server) start(failpoint string) error {
	program, err := s.program, error(nil)
	if program == "" {
		if program, err = exec.LookPath("countersign"); err != nil {
			return err
		}
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.dir, "CLOCK=" + filepath.Join(s.dir, clockName),
		failVar + "=" + failpoint, journalVar + "=" + filepath.Join(s.dir, journalName),
		gateVar + "=" + s.gate(),
	}
	for name, value := range s.set {
		env = append(env, name+"="+value)
	}
	env = append(env, "LISTEN_ADDR="+s.addr, "OPS_ADDR="+s.ops)
	s.proc, err = start(s.ctx, program, []string{"serve"}, env, s.dir, filepath.Join(s.dir, logName))
	if err != nil {
		return err
	}
	err = answers(s.ctx, s.proc, "http://"+s.addr+"/readyz")
	// At a failpoint it may die before it has said that it is ready.
	if err != nil && (failpoint == "" || !s.proc.ended()) {
		return err
	}
	s.front.open(s.addr)
	return nil
}

const journalName = "journal"

// gate is the file that closes the way to the database.
func (w *town) gate() string { return filepath.Join(w.dir, "gate") }

// shutGate has everything wait that is to be saved, until it is opened.
func (w *town) shutGate() (open func() error, err error) {
	return func() error { return os.Remove(w.gate()) }, os.WriteFile(w.gate(), nil, 0o600)
}

// killed reports whether it ended by SIGKILL.
func (s *server) killed() bool {
	status, ok := s.proc.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// kill ends it by SIGKILL.
func (s *server) kill() error {
	defer s.front.shut(s.addr)
	if err := s.proc.end(syscall.SIGKILL); !s.proc.ended() {
		return err
	}
	return nil
}

// A door is the door that customers and Twilio come through: a proxy that
// knows which servers are up, as a balancer does.
type door struct {
	*httptest.Server
	mu sync.Mutex
	up []string
}

// goneHeader marks that nobody answered: the server behind the front door died
// or was not there.
const goneHeader = "X-Front-Door"

func newDoor() *door {
	f := &door{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: f.pick()})
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set(goneHeader, "nobody answers")
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0),
		// A connection that died with its server must not be mistaken for the
		// next one's.
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second},
	}
	f.Server = httptest.NewServer(proxy)
	return f
}

func (f *door) pick() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.up) == 0 {
		return "127.0.0.1:1" // where nobody listens
	}
	return f.up[rand.IntN(len(f.up))]
}

func (f *door) open(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.up, addr) {
		f.up = append(f.up, addr)
	}
}

func (f *door) shut(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = slices.DeleteFunc(f.up, func(a string) bool { return a == addr })
}

// number is a mobile number that nobody has had.
func (w *town) number() string {
	n := w.numbers.Add(1)
	return fmt.Sprintf("+1%s%07d", []string{"415", "212", "312", "206", "713"}[n/1_000_000%5], 2_000_000+n%1_000_000)
}

// A boothText is a text as the booth remembers it, with when it came.
type boothText struct {
	text
	Date time.Time
}

// record is what the booth knows of a number, or of all for "".
func (w *town) record(number string) ([]boothText, error) {
	var all []boothText
	err := w.booth.call(w.ctx, http.MethodGet, "/booth/messages?to="+url.QueryEscape(number), nil, &all)
	return all, err
}

// faults break Twilio: each request, text and receipt with these odds.
func (w *town) faults(seed uint64, all []map[string]any) error {
	for i, fault := range all {
		fault["seed"] = seed + uint64(i) //nolint:gosec // a handful
		if err := w.booth.call(w.ctx, http.MethodPost, "/booth/faults", fault, nil); err != nil {
			return err
		}
	}
	return nil
}

// pass lets time pass, for Twilio and for the service. Twilio is asked first: by
// the time it answers, it has taken down what was on its way when a service
// died, for which it would in truth have had d.
func (w *town) pass(d time.Duration) error {
	if err := w.booth.call(w.ctx, http.MethodPost, "/booth/clock", map[string]string{"advance": d.String()}, nil); err != nil {
		return err
	}
	w.passed += d
	return setClock(filepath.Join(w.dir, clockName), w.passed)
}

// mend lifts all faults.
func (w *town) mend() error { return w.booth.call(w.ctx, http.MethodDelete, "/booth/faults", nil, nil) }

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A promise is something that the service must never break, as the report has
// it.
type promise string

const (
	lostOrders   promise = "orders lost"
	twice        promise = "orders confirmed twice"
	overLimit    promise = "tries over the limit"
	givenBack    promise = "tries given back"
	otherPIN     promise = "texts with another PIN than their serial's"
	changedAway  promise = "texts to a number that was changed away"
	extraTexts   promise = "texts that Twilio's list could have spared"
	otherAnswer  promise = "texts answered otherwise when Twilio asked again"
	notEnded     promise = "orders that have not ended"
	notTexted    promise = "orders that waited untexted 30 s after the last kill"
	unreadable   promise = "rows that contradict one another"
	leakedSecret promise = "secrets at rest or in the log"
	ourFaults    promise = "answers that blame the service itself"
)

// promises are all of them.
var promises = []promise{
	lostOrders, twice, overLimit, givenBack, otherPIN, changedAway, extraTexts,
	otherAnswer, notEnded, notTexted, unreadable, leakedSecret, ourFaults,
}

// A book is where everybody notes what they saw: breaches of a promise, and
// how often what happened.
type book struct {
	mu       sync.Mutex
	breaches map[promise][]string
	counts   map[string]int
	orders   map[string]*told       // by id
	heard    map[string]*heardTexts // by MessageSid
}

// told is what a customer was told of an order.
type told struct {
	reference string
	ended     string   // as they were told: confirmed or declined; empty for neither
	thanked   []string // the texts to which we answered that it is confirmed now
	changes   int      // of the number
}

// heardTexts are the answers to one text of a customer's.
type heardTexts struct {
	from        flow.Number
	answers     []string
	interrupted bool // once, nobody answered
}

func newBook() *book {
	return &book{breaches: map[promise][]string{}, counts: map[string]int{}, orders: map[string]*told{}, heard: map[string]*heardTexts{}}
}

// breach notes that a promise was broken.
func (b *book) breach(p promise, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breaches[p] = append(b.breaches[p], fmt.Sprintf(format, args...))
}

// count notes that something happened.
func (b *book) count(what string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[what] += n
}

// order opens a page for an order, or finds it, for f to write on.
func (b *book) order(id string, f func(*told)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.orders[id] == nil {
		b.orders[id] = &told{}
	}
	f(b.orders[id])
}

// errGone is what a customer sees of a service that died.
var errGone = errors.New("nobody answers")
