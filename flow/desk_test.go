package flow_test

import (
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestHistories(t *testing.T) {
	flowtest.TestHistories(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() }, nil)
}

func TestRaces(t *testing.T) {
	flowtest.TestRaces(t, func(testing.TB) flow.Ledger { return flowtest.NewLedger() })
}
