package main

import (
	"testing"

	"github.com/prometheus/procfs"
)

func TestTheProgramIsUnmapped(t *testing.T) {
	mapped := func() uint64 {
		self, err := procfs.Self()
		if err != nil {
			t.Fatal(err)
		}
		status, err := self.NewStatus()
		if err != nil {
			t.Fatal(err)
		}
		return status.RssFile
	}
	before := mapped()
	unmapProgram()
	if after := mapped(); after > before/2 {
		t.Errorf("of %d bytes of files that were mapped, %d still are", before, after)
	}
}
