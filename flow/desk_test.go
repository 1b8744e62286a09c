package flow_test

import (
	"flag"
	"os"
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// The fake is fast: two thousand histories always, a hundred thousand in a
// soak; the same with real databases in internal/ledger.
func TestHistories(t *testing.T) {
	histories := "2000"
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		histories = "100000"
	}
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	t.Cleanup(func() { _ = checks.Set(before) })
	if err := checks.Set(histories); err != nil {
		t.Fatal(err)
	}
	flowtest.TestHistories(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() }, nil)
}

func TestRaces(t *testing.T) {
	flowtest.TestRaces(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() })
}
