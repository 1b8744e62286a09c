package flow_test

import (
	"flag"
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// Two thousand histories here, unless more are asked for by -rapid.checks; the
// same with real databases in internal/ledger.
func TestHistories(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.checks", "2000"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", checks.DefValue) })
	}
	flowtest.TestHistories(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() }, nil)
}

func TestRaces(t *testing.T) {
	flowtest.TestRaces(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() })
}
