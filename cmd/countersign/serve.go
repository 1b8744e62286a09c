package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/handlers"
	"github.com/countersign/countersign/internal/ledger"
	"github.com/countersign/countersign/internal/outbox"
	"github.com/countersign/countersign/internal/traces"
	"github.com/countersign/countersign/internal/twilio"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/twiml"
)

// What the tests put something else in place of, so that a service can be
// killed at the moments that matter.
var (
	// clock is what the whole service tells the time by.
	clock = time.Now
	// openLedger opens the database that a URL names.
	openLedger = func(ctx context.Context, url string) (flow.Ledger, error) { return ledger.Open(ctx, url) }
	// at is told of each point in a text's life; nil for nobody.
	at func(outbox.Point, flow.Message)
)

type serveCommand struct {
	Settings `embed:""`
}

// Run serves until ctx ends.
func (c serveCommand) Run(ctx context.Context, w world) error {
	settings, err := c.Check(w.getenv, w.readFile)
	if err != nil {
		return fmt.Errorf("the settings are not complete:\n%w", err)
	}
	spendMemory(settings.pinCache, w.getenv)
	said := newLines(w.err)
	defer func() { _ = said.Close() }() // it cannot fail
	defer context.AfterFunc(ctx, said.End)()
	s, err := newService(ctx, settings, logger(c.Settings, said), w.getenv)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// A service is all the parts of countersign, put together and listening, but
// not at work yet.
type service struct {
	log      *slog.Logger
	ledger   *ledger.Cache
	outbox   *outbox.Outbox
	metrics  *metrics.Metrics
	traces   *traces.Traces
	public   *http.Server
	ops      *http.Server
	listens  [2]net.Listener // of public and ops
	stopping atomic.Bool

	pinging sync.Mutex
	pinged  time.Time // when ping was the answer
	ping    error
}

// newService puts a service together. It takes the database and the ports
// first, so that what is in the way is told before anything is done.
func newService(ctx context.Context, c checked, log *slog.Logger, getenv func(string) string) (_ *service, err error) {
	s := &service{log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.traces, err = traces.New(ctx, traces.Config{Getenv: getenv, Version: buildVersion(), Log: log, Now: clock})
	if err != nil {
		return nil, err
	}
	s.metrics = metrics.New(prometheus.NewRegistry(), metrics.Config{Version: buildVersion(), Countries: c.countries})
	rows, err := openLedger(ctx, c.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	cache := ledger.Cached(s.metrics.Ledger(s.traces.Ledger(rows)), c.pinCache, c.pinTTL)
	cache.Lookup = s.metrics.CacheLookup
	s.ledger = cache
	s.metrics.CacheEntries(cache.Len)
	if pooled, ok := rows.(interface{ Pools() map[string]ledger.Pool }); ok {
		s.metrics.Pools(func() map[string]metrics.Pool {
			all := make(map[string]metrics.Pool)
			for name, pool := range pooled.Pools() {
				all[name] = metrics.Pool(pool)
			}
			return all
		})
	}

	if s.listens[0], err = listen(ctx, "LISTEN_ADDR", c.ListenAddr); err != nil {
		return nil, err
	}
	if s.listens[1], err = listen(ctx, "OPS_ADDR", c.OpsAddr); err != nil {
		return nil, err
	}

	desk, sender, err := s.desk(c)
	if err != nil {
		return nil, err
	}
	s.outbox = outbox.New(outbox.Config{
		Ledger: s.ledger, Clerk: desk, Sender: s.traces.Sender(sender), Trace: s.traces.Text, Asker: handlers.Asker, At: at, Now: clock, Log: s.log,
	})

	verifier, err := twiml.NewVerifier(c.authTokens...)
	if err != nil {
		return nil, fmt.Errorf("TWILIO_AUTH_TOKEN: %w", err)
	}
	edge, err := handlers.New(handlers.Config{
		Desk: desk, Watcher: s.metrics,
		Verifier: verifier, AccountSID: c.TwilioAccountSID, PublicURL: c.publicURL, Sender: c.sender,
		CookieKeys: cookieKeys(c.secretKeys), ClientIPHeader: c.ClientIPHeader, RequestsPerIP: c.requestsPerIP,
		Shop: c.ShopName, Region: c.DefaultRegion, PINLength: c.pinLength, Fields: required, Templates: c.templates,
		Ready: s.ready, Trace: s.traces.Request, Log: s.log, Now: clock,
	})
	if err != nil {
		return nil, err
	}
	s.public = edge.HTTP(c.ListenAddr)
	pages, err := s.opsPages(c, desk, sender)
	if err != nil {
		return nil, err
	}
	s.ops = opsServer(c, s.metrics, pages, s.traces, s.log)
	return s, nil
}

// required are the fields of the order form that must be filled in.
var required = []string{"name", "address", "items"}

// desk puts together what decides, and the way out that it decides about.
func (s *service) desk(c checked) (*flow.Desk, *twilio.Client, error) {
	keys, err := flow.NewKeyring(c.secretKeys...)
	if err != nil {
		return nil, nil, fmt.Errorf("SECRET_KEY: %w", err)
	}
	receipts := c.publicURL.String() + "/webhooks/twilio/status/"
	sender, err := twilio.New(twilio.Config{
		APIURL: c.apiURL.String(), AccountSID: c.TwilioAccountSID, AuthToken: c.authTokens[0],
		APIKey: c.TwilioAPIKey, APISecret: c.TwilioAPISecret,
		From: c.from(), MessagingServiceSID: c.TwilioMessagingServiceSID, Now: clock,
		Transport: s.traces.Transport(twilio.NewTransport()),
		StatusCallback: func(ctx context.Context, message uuid.UUID) string {
			return receipts + message.String() + handlers.AskedBy(ctx)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return flow.NewDesk(flow.Config{
		Ledger: s.ledger, Sender: sender, Watcher: s.metrics, Keys: keys, Texts: c.texts, Log: s.log, Now: clock,
		Alone: !ledger.Shared(c.DatabaseURL),
		Nudge: func(ctx context.Context, m flow.Message) { s.outbox.Nudge(ctx, m) },
		Rules: flow.Rules{
			Shop: c.ShopName, Host: c.publicURL.Hostname(), Sender: c.sender,
			Region: c.DefaultRegion, Countries: c.countries, Locale: "en",
			PINLength: c.pinLength, PINTTL: c.pinTTL, OrderTTL: c.orderTTL,
			Guard:    flow.Guard{PerNumber: c.textsPerNumber, PerDay: c.textsPerDay},
			Required: required,
		},
	}), sender, nil
}

// cookieKeys derives what cookies are signed with, so that a cookie's key says
// nothing of a PIN's.
func cookieKeys(secrets []flow.Key) [][]byte {
	keys := make([][]byte, 0, len(secrets))
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("countersign cookie key/v1"))
		keys = append(keys, mac.Sum(nil))
	}
	return keys
}

func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

// ready reports whether to send us customers. Whoever asks shares one look at
// the database a second, since that writes.
func (s *service) ready(ctx context.Context) error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	s.pinging.Lock()
	defer s.pinging.Unlock()
	if now := time.Now(); now.Sub(s.pinged) > time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		s.ping = s.ledger.Ping(ctx)
		cancel()
		s.pinged = now
	}
	if s.ping != nil {
		return fmt.Errorf("database: %w", s.ping)
	}
	return nil
}

// unreadyFor is how long we say that we are unready before we stop listening, so
// that whoever balances between machines can look elsewhere first.
var unreadyFor = time.Second

// Patience on the way out: accepted requests are answered, texts that were
// begun are settled.
const stopWithin = 20 * time.Second

// flushWithin is how long the last traces may take after that.
const flushWithin = 2 * time.Second

// run works until ctx ends or a listener fails. Then it turns unready, answers
// what it has accepted, lets texts under way be settled, and closes the
// database last.
func (s *service) run(ctx context.Context) error {
	defer s.close()
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { s.outbox.Run(working) })
	work.Go(func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		// Now as the ticks have it, whatever clock the service is given.
		s.metrics.Refresh(working, time.Now(), tick.C, s.log, s.ledger.Census)
	})
	work.Go(func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.ledger.Sweep()
			case <-working.Done():
				return
			}
		}
	})

	failed := make(chan error, 2)
	for i, server := range []*http.Server{s.public, s.ops} {
		go func() { failed <- server.Serve(s.listens[i]) }()
	}
	s.log.InfoContext(ctx, "serving", "version", buildVersion(), "public", s.listens[0].Addr().String(), "ops", s.listens[1].Addr().String())
	returnMemory()

	var err error
	select {
	case <-ctx.Done():
		s.log.InfoContext(ctx, "stopping")
	case err = <-failed:
	}
	s.stopping.Store(true)
	if err == nil {
		time.Sleep(unreadyFor)
	}
	answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if late := s.public.Shutdown(answering); late != nil {
		err = errors.Join(err, fmt.Errorf("requests were cut off after %v: %w", stopWithin, late))
	}
	stop()
	work.Wait()
	// Last, so that the end can be watched.
	_ = s.ops.Close()
	s.log.InfoContext(ctx, "stopped")
	return err
}

// close lets go of what newService took.
func (s *service) close() {
	for _, l := range s.listens {
		if l != nil {
			_ = l.Close()
		}
	}
	flushing, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := s.traces.Shutdown(flushing); err != nil {
		s.log.Warn("traces are lost", "err", err)
	}
	if s.ledger != nil {
		if err := s.ledger.Close(); err != nil {
			s.log.Error("close the database", "err", err)
		}
	}
}
