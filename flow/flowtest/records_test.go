package flowtest_test

import (
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestFakeRecords(t *testing.T) {
	flowtest.TestRecords(t, func(*testing.T) flow.Ledger { return flowtest.NewLedger() })
}
