package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be countersign too: a script's service is a
// process of its own, that can be killed, of the very code under test. All
// that tells it from the real one is its clock, and that it stops at once.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"countersign": func() {
			clock = offBy(os.Getenv("CLOCK"))
			unreadyFor = 0 // nobody balances here
			main()
		},
	})
}

// offBy returns a clock that is off by the duration in that file, which can
// change while the clock runs.
func offBy(file string) func() time.Time {
	return func() time.Time {
		text, err := os.ReadFile(file) //nolint:gosec // a script names it
		if err != nil {
			panic(fmt.Errorf("set the clock: %w", err))
		}
		off, err := time.ParseDuration(string(text))
		if err != nil {
			panic(fmt.Errorf("set the clock: %w", err))
		}
		return time.Now().Add(off)
	}
}

// setClock puts clocks by that file off by that much, with no moment in
// between at which the file is half written.
func setClock(file string, off time.Duration) error {
	if err := os.WriteFile(file+".new", []byte(off.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
