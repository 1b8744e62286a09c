package main

import "testing"

func TestTheProgramIsUnmapped(t *testing.T) {
	resident := func() (kb int) {
		for _, m := range programMaps() {
			if m.own == 0 && !m.writable {
				kb += m.resident
			}
		}
		return kb
	}
	before := resident()
	unmapProgram()
	if after := resident(); before == 0 || after > before/2 {
		t.Errorf("of %d kB of the program that were mapped, %d still are", before, after)
	}
}
