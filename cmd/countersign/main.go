// Command countersign confirms orders by a PIN that is texted to the
// customer's number and given back, on the page or by replying.
//
// Each command stands in a file of its own; what they work with is put
// together in serve.go, from the settings in settings.go.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/countersign/countersign/handlers"
	"github.com/countersign/countersign/internal/traces"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(1)
	}
}

// commands are the command line.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Take orders, text PINs, hear replies."`
	Demo    demoCommand    `cmd:"" help:"The same with telephones to type on, and no Twilio account."`
	Doctor  doctorCommand  `cmd:"" help:"Check that settings, Twilio, database and public address fit, and say what to do."`
	Orders  ordersCommand  `cmd:"" help:"List orders, newest first."`
	Show    showCommand    `cmd:"" help:"Tell what happened to an order."`
	Migrate migrateCommand `cmd:"" help:"Bring the database's tables up to date, which serve does too."`
	Backup  backupCommand  `cmd:"" help:"Copy the database file, beside the serve that is at work on it."`
	Flow    flowCommand    `cmd:"" help:"Print the conversation's table, or draw it."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// world is what a command has of the world besides its flags.
type world struct {
	getenv   func(string) string
	readFile func(string) ([]byte, error) // of secrets
	out, err io.Writer
}

// run carries out one command line.
func run(ctx context.Context, args []string, getenv func(string) string, out, errs io.Writer) error {
	var c commands
	exited := false
	parser, err := kong.New(&c,
		kong.Name("countersign"),
		kong.Description("Confirms orders by a PIN that is texted to the customer and given back."),
		kong.Writers(out, errs),
		kong.Exit(func(int) { exited = true }), // --help asks to exit
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	command, err := parser.Parse(args)
	if exited {
		return nil
	}
	if err != nil {
		return err
	}
	readFile, err := stepDown(getenv, databaseURL(command))
	if err != nil {
		return err
	}
	command.BindTo(ctx, (*context.Context)(nil))
	return command.Run(world{getenv, readFile, out, errs})
}

// databaseURL is the setting of the command that was chosen; empty if it has none.
func databaseURL(command *kong.Context) string {
	for _, flag := range command.Flags() {
		if flag.Name == "database-url" {
			return flag.Target.String()
		}
	}
	return ""
}

// logger writes what Settings ask for.
func logger(s Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // Settings.Check has seen it
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(handlers.Logged(slog.NewJSONHandler(w, options), traces.ID))
	}
	return slog.New(handlers.Logged(slog.NewTextHandler(w, options), traces.ID))
}

// version is set by the build; else it is what the module system knows.
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(w world) error {
	_, err := fmt.Fprintln(w.out, "countersign", buildVersion())
	return err
}
