package flowtest_test

import (
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestFakeLedger(t *testing.T) {
	flowtest.TestLedger(t, func(*testing.T) flow.Ledger { return flowtest.NewLedger() })
}
