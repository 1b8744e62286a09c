package flow_test

import (
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// The fake is fast: two thousand histories always, a hundred thousand in a
// soak; the same with real databases in internal/ledger.
func TestHistories(t *testing.T) {
	flowtest.Often(t, 2000)
	flowtest.TestHistories(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() }, nil)
}

func TestRaces(t *testing.T) {
	flowtest.TestRaces(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() })
}
