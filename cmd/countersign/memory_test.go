package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryIsTheOperatorsWord(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	for _, tt := range []struct {
		name    string
		env     map[string]string
		lines   int
		percent int
		limit   int64
	}{
		{"both ours", nil, 100_000, 400, 64<<20 + 100_000<<10},
		{"a large cache has its room", nil, 1_000_000, 400, 64<<20 + 1_000_000<<10},
		{"GOGC theirs", map[string]string{"GOGC": "50"}, 1, 100, 64<<20 + 1<<10},
		{"GOMEMLIMIT theirs", map[string]string{"GOMEMLIMIT": "1GiB"}, 1, 400, math.MaxInt64},
	} {
		debug.SetGCPercent(100) // as Go has set it by then
		debug.SetMemoryLimit(math.MaxInt64)
		spendMemory(tt.lines, func(name string) string { return tt.env[name] })
		if p, l := debug.SetGCPercent(100), debug.SetMemoryLimit(-1); p != tt.percent || l != tt.limit {
			t.Errorf("%s: %d%% and at most %d bytes, want %d%% and %d", tt.name, p, l, tt.percent, tt.limit)
		}
	}
}
