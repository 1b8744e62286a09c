// Command phonebooth is a Twilio to develop against: its messages API, its
// signed webhooks, and a page of telephones one can type on, with no account,
// no network and no bill. See docs/booth.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/countersign/countersign/internal/phonebooth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "phonebooth:", err)
		os.Exit(1)
	}
}

// flags are the command line, and the environment of the same names that the
// service itself reads, so that one .env serves both.
type flags struct {
	Listen         string        `default:":8081" env:"BOOTH_LISTEN" help:"Address of the page, the REST API and the control calls."`
	AccountSid     string        `default:"${sid}" env:"TWILIO_ACCOUNT_SID" help:"The account: AC and 32 hex digits."`
	AuthToken      []string      `default:"${token}" env:"TWILIO_AUTH_TOKEN" help:"Auth tokens, comma-separated. Each opens the API; the first signs."`
	APIKey         string        `env:"TWILIO_API_KEY" help:"An API key: it opens the API as well, and never signs." placeholder:"SK…"`
	APISecret      string        `env:"TWILIO_API_SECRET" help:"The API key's secret."`
	From           []string      `default:"${number}" env:"TWILIO_FROM_NUMBER" help:"The account's numbers, comma-separated."`
	Service        string        `env:"TWILIO_MESSAGING_SERVICE_SID" help:"A Messaging Service that has all of them." placeholder:"MG…"`
	AdvancedOptOut bool          `env:"BOOTH_ADVANCED_OPT_OUT" help:"Of the service: send OptOutType, and refuse opted-out numbers late."`
	InboundURL     string        `default:"http://localhost:8080/webhooks/twilio/message" env:"BOOTH_INBOUND_URL" help:"Told of every text from a telephone; signed for exactly this URL."`
	FallbackURL    string        `env:"BOOTH_FALLBACK_URL" help:"Asked when the inbound URL fails."`
	StatusCallback string        `env:"BOOTH_STATUS_CALLBACK" help:"The service's, for texts that name none."`
	DeliverTo      string        `env:"BOOTH_DELIVER_TO" help:"Where webhooks really go, whatever host they name and are signed for." placeholder:"http://localhost:8080"`
	SendDelay      time.Duration `default:"200ms" env:"BOOTH_SEND_DELAY" help:"From queued to sent."`
	DeliverDelay   time.Duration `default:"800ms" env:"BOOTH_DELIVER_DELAY" help:"From sent to delivered."`
	MPS            float64       `env:"BOOTH_MPS" help:"Segments a second for each number: 1 for a US long code; 0 is no limit."`
	Concurrency    int           `env:"BOOTH_CONCURRENCY" help:"API requests at once before 429; 0 is no limit."`
	Keep           int           `default:"10000" env:"BOOTH_KEEP" help:"Texts remembered."`
	Verbose        bool          `short:"v" help:"Log what the debugger hears."`
}

// run serves a booth until ctx ends.
func run(ctx context.Context, args []string, out, logs io.Writer) error {
	var f flags
	done := false
	parser, err := kong.New(&f, kong.Name("phonebooth"), kong.Writers(out, logs),
		kong.Exit(func(int) { done = true }), // --help asks to exit
		kong.Description("A pretend Twilio: REST API, signed webhooks and telephones to type on."),
		kong.Vars{
			"sid":    phonebooth.DefaultAccountSid,
			"token":  phonebooth.DefaultAuthToken,
			"number": phonebooth.DefaultNumber,
		})
	if err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	if _, err := parser.Parse(args); done || err != nil {
		return err
	}
	level := slog.LevelInfo
	if f.Verbose {
		level = slog.LevelDebug
	}
	keys := map[string]string{}
	if f.APIKey != "" {
		keys[f.APIKey] = f.APISecret
	}
	booth, err := phonebooth.New(phonebooth.Config{
		AccountSid: f.AccountSid, AuthTokens: f.AuthToken, APIKeys: keys,
		Numbers: f.From, ServiceSid: f.Service, AdvancedOptOut: f.AdvancedOptOut,
		InboundURL: f.InboundURL, FallbackURL: f.FallbackURL, StatusCallback: f.StatusCallback,
		DeliverTo: f.DeliverTo,
		SendDelay: orNone(f.SendDelay), DeliverDelay: orNone(f.DeliverDelay),
		MPS: f.MPS, Concurrency: f.Concurrency, Keep: f.Keep,
		Log: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	defer booth.Close()

	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", f.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	_, _ = fmt.Fprintf(out, "telephones  http://%s/\n", dialable(l.Addr()))
	_, _ = fmt.Fprintf(out, "Twilio API  http://%s as account %s, from %s\n", dialable(l.Addr()), f.AccountSid, f.From[0])
	_, _ = fmt.Fprintf(out, "texts go to %s\n", f.InboundURL)
	return serve(ctx, l, booth)
}

// serve answers on l until ctx ends, then lets those go who wait at the booth,
// and the rest be answered.
func serve(ctx context.Context, l net.Listener, booth *phonebooth.Booth) error {
	server := &http.Server{Handler: booth.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	booth.Close()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// orNone is d for a Config, to which 0 would mean the default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// dialable is an address that a browser on this machine can open.
func dialable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}
