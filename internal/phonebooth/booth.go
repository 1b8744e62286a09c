// Package phonebooth pretends to be Twilio, as faithfully as it can be known
// without an account: the REST API for messages, the signed webhooks and
// receipts, opt-outs, queues and expiry, the ways it fails, and a page of
// telephones one can type on. A service that texts cannot tell the difference.
//
// [New] opens a booth and [Booth.Handler] is its door. Through it come three
// kinds of callers:
//
//   - the service, at /2010-04-01/… (rest.go reads the request, create.go
//     judges it, lifecycle.go carries the text to the telephone and the
//     receipts back);
//   - a customer, at /booth/phones/{number}/texts, or on the page at / (text.go
//     takes the text, optout.go hears Twilio's own words, webhook.go asks the
//     service, interpreter.go does what its TwiML says);
//   - a test or a drill, at the other /booth/… paths (control.go), which
//     breaks things on demand (faults.go) and may let time pass (schedule.go).
//
// Everything lives in memory and under one lock; nothing is asked of the
// network while it is held. Of this module it borrows one function, the
// signature's: a bug in how the service counts segments or writes TwiML must
// not be repeated here, where it would agree with itself.
package phonebooth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An account that exists nowhere else, so that a booth works out of the box.
const (
	DefaultAccountSid = "ACb0075b0075b0075b0075b0075b0075b0"
	DefaultAuthToken  = "5ec2e75ec2e75ec2e75ec2e75ec2e75e" // #nosec G101 -- opens nothing but a booth
	DefaultNumber     = "+14155550100"
)

// Config is an account at the pretend Twilio, and how the pretence behaves.
// The zero value works: an account of the Default names that nobody's webhook
// hears of.
type Config struct {
	AccountSid string            // AC and 32 hex digits
	AuthTokens []string          // each opens the REST API; the first one signs
	APIKeys    map[string]string // SK… and its secret: open the REST API, never sign

	Numbers        []string // the account's numbers, E.164 or short codes; a handset texts the first
	ServiceSid     string   // a Messaging Service that has all Numbers; "" for none
	AdvancedOptOut bool     // of the service: OptOutType, and 21610 that comes late

	InboundURL     string // told of every text to Numbers; connection overrides go in its fragment
	FallbackURL    string // asked when InboundURL fails
	StatusCallback string // the service's, for texts that name none

	SendDelay    time.Duration // from queued to sent; 0 is DefaultSendDelay, below 0 none
	DeliverDelay time.Duration // from sent to delivered; 0 is DefaultDeliverDelay, below 0 none
	MPS          float64       // segments a second that each number sends; 0 is no limit
	Concurrency  int           // REST requests at once before 429; 0 is no limit
	Keep         int           // texts remembered; 0 is DefaultKeep

	DeliverTo string            // scheme and host that webhooks really go to, whatever they name; "" for what they name
	Transport http.RoundTripper // carries webhooks; nil is the network
	Log       *slog.Logger      // nil is silence
	Now       func() time.Time  // nil is time.Now
}

// What a [Config] that says nothing means.
const (
	DefaultSendDelay    = 200 * time.Millisecond
	DefaultDeliverDelay = 800 * time.Millisecond
	DefaultKeep         = 10_000
)

// A Booth is one pretend Twilio account. It is safe for use by many.
type Booth struct {
	cfg      Config
	log      *slog.Logger
	schedule *schedule
	hooks    *caller
	handler  http.Handler
	closed   chan struct{}
	closing  sync.Once
	busy     atomic.Int64 // REST requests being answered
	bell     bell

	mu       sync.Mutex
	tokens   []string // AuthTokens not yet retired
	messages messages
	queues   map[string]time.Time // by our number: when its last text will have left
	optouts  map[line]bool
	faults   faults
	phones   []string // telephones that were used or added, in that order
	debugger ring[Trouble]
	webhooks ring[Webhook]
	era      context.Context // ends at a reset
	endEra   context.CancelFunc
}

// New opens a booth. Close it.
func New(cfg Config) (*Booth, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("open phonebooth: %w", err)
	}
	b := &Booth{
		cfg:      cfg,
		log:      cfg.Log,
		schedule: newSchedule(cfg.Now),
		hooks:    newCaller(cfg.Transport, cfg.DeliverTo),
		closed:   make(chan struct{}),
	}
	b.wipe()
	b.handler = b.routes()
	return b, nil
}

// Handler is the whole booth: REST API, control calls and page.
func (b *Booth) Handler() http.Handler { return b.handler }

// Close lets go of all who wait at the booth and drops what is under way. It
// does not wait for requests that are being answered: that is the server's.
func (b *Booth) Close() {
	b.closing.Do(func() {
		close(b.closed)
		b.mu.Lock()
		b.endEra()
		b.mu.Unlock()
		b.schedule.Stop()
		b.hooks.close()
	})
}

// Advance lets d pass at once, for the booth alone: what falls due meanwhile,
// receipts among it, has happened when Advance returns.
func (b *Booth) Advance(d time.Duration) { b.schedule.Advance(d) }

// Messages is every text to or from number, or all if number is "", oldest
// first.
func (b *Booth) Messages(number string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.messages.shown(number)
}

// Reset makes the booth new: no texts, opt-outs, faults or advanced time, and
// nothing still under way.
func (b *Booth) Reset() {
	b.mu.Lock()
	b.endEra()
	b.mu.Unlock()
	b.schedule.Clear()
	b.mu.Lock()
	b.wipe()
	b.mu.Unlock()
	b.hooks.forget()
	b.changed()
}

// wipe begins an era in which nothing has happened yet.
func (b *Booth) wipe() {
	b.tokens = slices.Clone(b.cfg.AuthTokens)
	b.messages = newMessages(b.cfg.Keep)
	b.queues = map[string]time.Time{}
	b.optouts = map[line]bool{}
	b.faults = faults{}
	b.phones = nil
	b.debugger = ring[Trouble]{keep: 200}
	b.webhooks = ring[Webhook]{keep: 50}
	b.era, b.endEra = context.WithCancel(context.Background())
}

// now is the booth's time.
func (b *Booth) now() time.Time { return b.schedule.Now() }

// later runs f at that time, unless the booth is reset before. The caller holds
// the lock.
func (b *Booth) later(at time.Time, f func(ctx context.Context)) {
	era := b.era
	b.schedule.At(at, func() {
		if era.Err() == nil {
			f(era)
		}
	})
}

var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// complete fills in the defaults, and names everything that is wrong.
func (c *Config) complete() error {
	if c.AccountSid == "" {
		c.AccountSid = DefaultAccountSid
	}
	if len(c.AuthTokens) == 0 {
		c.AuthTokens = []string{DefaultAuthToken}
	}
	if len(c.Numbers) == 0 {
		c.Numbers = []string{DefaultNumber}
	}
	if c.SendDelay == 0 {
		c.SendDelay = DefaultSendDelay
	}
	if c.DeliverDelay == 0 {
		c.DeliverDelay = DefaultDeliverDelay
	}
	if c.Keep <= 0 {
		c.Keep = DefaultKeep
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}

	var errs []error
	if !accountSid.MatchString(c.AccountSid) {
		errs = append(errs, errors.New("the account SID is not AC and 32 hex digits"))
	}
	if slices.Contains(c.AuthTokens, "") {
		errs = append(errs, errors.New("an auth token is empty"))
	}
	for sid, secret := range c.APIKeys {
		if !strings.HasPrefix(sid, "SK") || secret == "" {
			errs = append(errs, errors.New("an API key is not SK… with a secret"))
		}
	}
	if c.ServiceSid != "" && !serviceSid.MatchString(c.ServiceSid) {
		errs = append(errs, errors.New("the Messaging Service SID is not MG and 32 hex digits"))
	}
	if c.AdvancedOptOut && c.ServiceSid == "" {
		errs = append(errs, errors.New("advanced opt-out belongs to a Messaging Service, and there is none"))
	}
	for _, n := range c.Numbers {
		if !e164.MatchString(n) && !shortCode(n) {
			errs = append(errs, fmt.Errorf("number %q is neither E.164 nor a short code", n))
		}
	}
	for name, hook := range map[string]string{
		"inbound URL": c.InboundURL, "fallback URL": c.FallbackURL, "status callback": c.StatusCallback,
		"deliver-to": c.DeliverTo,
	} {
		if u, err := url.Parse(hook); hook != "" && (err != nil || u.Host == "" || !isHTTP(u)) {
			errs = append(errs, fmt.Errorf("%s %q is not an http or https URL", name, hook))
		}
	}
	return errors.Join(errs...)
}

func isHTTP(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

// owns reports whether number is the account's.
func (b *Booth) owns(number string) bool { return slices.Contains(b.cfg.Numbers, number) }

// A ring keeps the latest few, newest first when listed.
type ring[T any] struct {
	keep  int
	items []T
}

func (r *ring[T]) add(item T) {
	r.items = append(r.items, item)
	if len(r.items) > r.keep {
		r.items = slices.Clone(r.items[len(r.items)-r.keep:])
	}
}

func (r *ring[T]) list() []T {
	out := slices.Clone(r.items)
	slices.Reverse(out)
	if out == nil {
		out = []T{}
	}
	return out
}
