// Command bench measures countersign beside a limit: a server that does what
// any would have to and nothing more. It prints ratios, which hold from one
// machine to the next better than microseconds do.
//
//	go run . [-short] [-roads loop,wrong] [-out ../docs/performance.md]
//	go run . -roads scale [-most 10000000]
//
// The measured processes have one core to themselves and one at a time is
// asked anything; this one has another core, for the customers and for the far
// side, a Twilio that accepts every text. A road is a way that requests take
// through the service: road.go lists them, each
// beside what the [limit] does for the same bytes. What is told of besides, such
// as memory, is listed in measures.go.
//
// What a process costs is read from its own clock, as the kernel keeps it, and
// what it leaves to be done after it has answered is on its bill too. Start
// reading at [road].
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// enough is how many bytes of memory the customers take before they collect
// their garbage.
const enough = 4 << 30

// run is the program: the conductor, or the limit that it starts.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) > 0 && args[0] == "limit" {
		return serveLimit(ctx, args[1:])
	}
	// What the customers' own garbage collector takes would be on the bill of
	// those whom they wait for.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(enough)
	var c conductor
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.BoolVar(&c.short, "short", false, "fewer lines and rounds: a look, not a figure to publish")
	flags.StringVar(&only, "roads", "", "only these, comma-separated: "+strings.Join(names(), " ")+"; or scale, which is measured by name alone")
	flags.IntVar(&c.most, "most", 0, "how many conversations the scale goes up to, if more than a million")
	flags.StringVar(&c.out, "out", "", "the Markdown file whose tables are to be rewritten (none)")
	flags.StringVar(&c.dir, "dir", os.TempDir(), "where the databases are kept meanwhile: on the disk to be measured")
	flags.StringVar(&c.profiles, "profile", "", "a directory for a CPU profile of each of the service's rounds (none)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q? There are only flags", flags.Arg(0))
	}
	var err error
	if c.only, err = choose(only); err != nil {
		return err
	}
	c.stdout, c.log = out, log
	return c.run(ctx)
}
