package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/internal/phonebooth"
)

type demoCommand struct {
	ListenAddr string `default:":8080" placeholder:"ADDR" help:"The shop (${default})."`
	BoothAddr  string `default:":8081" placeholder:"ADDR" help:"The telephones (${default})."`
	OpsAddr    string `default:"127.0.0.1:9091" placeholder:"ADDR" help:"Orders, the outbox, metrics (${default})."`
	LogLevel   string `env:"LOG_LEVEL" default:"warn" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
}

// Run serves beside a phone booth until ctx ends. What was ordered is gone
// with it.
func (c demoCommand) Run(ctx context.Context, w world) (err error) {
	dir, err := os.MkdirTemp("", "countersign-demo-")
	if err != nil {
		return fmt.Errorf("make room for the database: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	telephones, err := listen(ctx, "--booth-addr", c.BoothAddr)
	if err != nil {
		return err
	}
	defer func() { _ = telephones.Close() }()

	// The booth must know where the shop is, so its port is taken before it is
	// served on; nothing else binds it in between but by ill luck, which is told.
	shop, err := listen(ctx, "--listen-addr", c.ListenAddr)
	if err != nil {
		return err
	}
	shopURL := "http://" + dialable(shop.Addr())
	c.ListenAddr = shop.Addr().String()
	if err := shop.Close(); err != nil {
		return fmt.Errorf("--listen-addr: %w", err)
	}

	settings, err := Settings{
		PublicURL:        shopURL,
		TwilioAccountSID: phonebooth.DefaultAccountSid,
		TwilioAuthToken:  phonebooth.DefaultAuthToken,
		TwilioFromNumber: phonebooth.DefaultNumber,
		TwilioAPIURL:     "http://" + dialable(telephones.Addr()),
		SecretKey:        rand.Text() + rand.Text(),
		DatabaseURL:      "file:" + filepath.Join(dir, "demo.db"),
		ListenAddr:       c.ListenAddr,
		OpsAddr:          c.OpsAddr,
		ShopName:         "Acme Teas",
		DefaultRegion:    "US",
		PINLength:        "6", PINTTL: "24h", OrderTTL: "72h", PINCache: "100000",
		TextsPerDay: "2000", TextsPerNumber: "20/24h", RequestsPerIP: "300/1h",
		LogFormat: "text", LogLevel: c.LogLevel,
	}.Check(func(string) string { return "" }, w.readFile)
	if err != nil {
		return fmt.Errorf("the demo's own settings: %w", err)
	}
	said := newLines(w.err)
	defer func() { _ = said.Close() }() // it cannot fail
	defer context.AfterFunc(ctx, said.End)()
	log := logger(settings.Settings, said)
	s, err := newService(ctx, settings, log, w.getenv)
	if err != nil {
		return err
	}
	booth, err := phonebooth.New(phonebooth.Config{
		AccountSid: settings.TwilioAccountSID,
		AuthTokens: settings.authTokens,
		Numbers:    []string{settings.TwilioFromNumber},
		InboundURL: shopURL + "/webhooks/twilio/message",
		Log:        log,
	})
	if err != nil {
		s.close()
		return fmt.Errorf("set up the booth: %w", err)
	}
	defer booth.Close()
	server := &http.Server{Handler: booth.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(telephones) }()
	defer func() { _ = server.Close() }()

	_, _ = fmt.Fprintf(w.out, `countersign demo: no account, no bill, nothing leaves this machine.

  shop        %s
  telephones  http://%s
  ops         http://%s/ops/

Try it: order at the shop with any US mobile number, such as (415) 555-0123,
and press Get PIN. Read the text at the telephones. Type the PIN into the
order, or just reply with it there: my pin is … and watch the order's page.
Then try a wrong PIN, NEW, NO, STATUS, and STOP. Ctrl-C ends it all.

`, shopURL, dialable(telephones.Addr()), dialable(s.listens[1].Addr()))
	return s.run(ctx)
}

// dialable is an address that a browser on this machine can open.
func dialable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}
