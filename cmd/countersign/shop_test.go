package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// shopKey is where a script's shop is kept.
type shopKey struct{}

// A shop is what a script is played on.
type shop struct {
	ctx    context.Context
	dir    string
	getenv func(string) string // of the script

	program string // the booth's
	booth   *booth
	service *process
	served  bool // the service was up, so that there is a database

	browsers map[string]*browser
	browser  string       // used last
	handset  string       // used last
	lastSid  atomic.Value // of what it texted
	read     map[string]bool
	memory   memory
	wrongs   int
	typed    []string // numbers, as typed into the form

	answer  answer
	pending chan outcome // of begin

	passed, off time.Duration
}

// An outcome is an answer, or why there is none.
type outcome struct {
	answer
	err error
}

// settings are those of the service's that a script may want otherwise.
func settings(dir, listen, ops, booth string) map[string]string {
	return map[string]string{
		"PUBLIC_URL":         "http://" + listen,
		"TWILIO_ACCOUNT_SID": "AC0123456789abcdef0123456789abcdef",
		"TWILIO_AUTH_TOKEN":  "theTokenOfTheBooth",
		"TWILIO_FROM_NUMBER": "+14155550100",
		"TWILIO_API_URL":     "http://" + booth,
		"SECRET_KEY":         "the first of the keys which nobody else knows",
		"DATABASE_URL":       "file:" + filepath.Join(dir, databaseName),
		"LISTEN_ADDR":        listen,
		"OPS_ADDR":           ops,
		"SHOP_NAME":          "Acme",
		"DEFAULT_REGION":     "US",
		"REQUESTS_PER_IP":    "1000/1h",
		"LOG_LEVEL":          "debug",
	}
}

// others are settings that a script may add.
var others = []string{
	"TWILIO_MESSAGING_SERVICE_SID", "COUNTRIES", "PIN_LENGTH", "PIN_TTL", "ORDER_TTL", "PIN_CACHE",
	"TEXTS_PER_DAY", "TEXTS_PER_NUMBER", "CLIENT_IP_HEADER", "LOG_FORMAT", "OPS_TOKEN",
	"SECRET_KEY_FILE", "TWILIO_AUTH_TOKEN_FILE", "TEXTS_FILE", "TEMPLATES_DIR",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT",
}

const (
	databaseName = "shop.db"
	logName      = "service.log"
	clockName    = "clock"
	// firstHandset is used until a script names another.
	firstHandset = "+14155550123"
)

func newShop(ctx context.Context, env *testscript.Env, program string) (*shop, error) {
	var addrs [3]string
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(ctx); err != nil {
			return nil, err
		}
	}
	for name, value := range settings(env.WorkDir, addrs[0], addrs[1], addrs[2]) {
		env.Setenv(name, value)
	}
	clockFile := filepath.Join(env.WorkDir, clockName)
	env.Setenv("CLOCK", clockFile)
	return &shop{
		ctx: ctx, dir: env.WorkDir, program: program,
		booth:    &booth{url: "http://" + addrs[2]},
		browsers: map[string]*browser{}, handset: firstHandset,
		read: map[string]bool{}, memory: memory{},
	}, setClock(clockFile, 0)
}

// environment is the service's: the script's settings, and nothing of ours.
func (s *shop) environment() []string {
	env := []string{"CLOCK=" + s.getenv("CLOCK"), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.dir}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(settings("", "", "", ""))), others) {
		if value := s.getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// open opens the booth.
func (s *shop) open() error {
	if s.booth.process != nil {
		return errors.New("the booth is open already")
	}
	public := strings.TrimSuffix(s.getenv("PUBLIC_URL"), "/")
	p, err := start(s.ctx, s.program, nil, []string{
		"BOOTH_LISTEN=" + strings.TrimPrefix(s.booth.url, "http://"),
		"TWILIO_ACCOUNT_SID=" + s.getenv("TWILIO_ACCOUNT_SID"),
		"TWILIO_AUTH_TOKEN=" + s.getenv("TWILIO_AUTH_TOKEN"),
		"TWILIO_FROM_NUMBER=" + s.sender(),
		"TWILIO_MESSAGING_SERVICE_SID=" + s.getenv("TWILIO_MESSAGING_SERVICE_SID"),
		"BOOTH_INBOUND_URL=" + public + "/webhooks/twilio/message",
		"BOOTH_DELIVER_TO=http://" + s.getenv("LISTEN_ADDR"),
		"BOOTH_SEND_DELAY=0s", "BOOTH_DELIVER_DELAY=0s",
	}, s.dir, filepath.Join(s.dir, "booth.log"))
	if err != nil {
		return err
	}
	s.booth.process = p
	return s.answers(p, s.booth.url+"/booth/state")
}

// sender is our number.
func (s *shop) sender() string {
	return cmp.Or(s.getenv("TWILIO_FROM_NUMBER"), "+14155550100")
}

// serve starts the service.
func (s *shop) serve() error {
	if s.service != nil {
		return errors.New("the service is up already")
	}
	program, err := exec.LookPath("countersign")
	if err != nil {
		return err
	}
	s.service, err = start(s.ctx, program, []string{"serve"}, s.environment(), s.dir, filepath.Join(s.dir, logName))
	if err != nil {
		return err
	}
	if err := s.answers(s.service, "http://"+s.getenv("LISTEN_ADDR")+"/readyz"); err != nil {
		return err
	}
	s.served = true
	return nil
}

// answers waits for p to answer at that address.
func (s *shop) answers(p *process, at string) error {
	err := until(s.ctx, func() (bool, error) {
		if p.ended() {
			return false, fmt.Errorf("%s ended: %w", p.name, p.err)
		}
		req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, at, nil)
		if err != nil {
			return false, err
		}
		a, err := ask(http.DefaultClient, req)
		return err == nil && a.status < 300, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// end ends the service, which must be as its signal has it.
func (s *shop) end(sig syscall.Signal) error {
	if s.service == nil {
		return errors.New("the service is not up")
	}
	err := s.inspect()
	ended := s.service.end(sig)
	s.service = nil
	if sig == syscall.SIGKILL {
		ended = nil
	}
	if ended != nil {
		ended = fmt.Errorf("the service ended badly: %w", ended)
	}
	return errors.Join(err, ended)
}

// close ends a script: what it started, and with the proof that nobody was
// texted, and nothing was told, that it does not know of.
func (s *shop) close() error {
	var errs []error
	if s.service != nil {
		errs = append(errs, s.end(syscall.SIGTERM))
	}
	if s.booth.process == nil {
		return errors.Join(errs...)
	}
	unread, err := s.unread("")
	errs = append(errs, err)
	if len(unread) > 0 {
		errs = append(errs, fmt.Errorf("texts that the script has not read:%s", shown(unread)))
	}
	errs = append(errs, s.inspect(), s.inspectLog())
	if err := s.booth.end(syscall.SIGTERM); err != nil {
		errs = append(errs, fmt.Errorf("the booth ended badly: %w", err))
	}
	err = errors.Join(errs...)
	if log, readErr := os.ReadFile(filepath.Join(s.dir, logName)); err != nil && readErr == nil {
		err = fmt.Errorf("%w\nthe service's log:\n%s", err, log)
	}
	return err
}

// metrics are what the service tells Prometheus.
func (s *shop) metrics() (string, error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://"+s.getenv("OPS_ADDR")+"/metrics", nil)
	if err != nil {
		return "", err
	}
	a, err := ask(http.DefaultClient, req)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("the metrics answer %d", a.status)
	}
	return a.text, err
}
