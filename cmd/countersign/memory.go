package main

import "runtime/debug"

// spendMemory has garbage collected less often than Go does by itself: a fifth
// of the processor went into that, over a heap of a few megabytes, on a machine
// with hundreds. It grows to five times what lives, but not beyond what a small
// machine has; a cache of that many lines is left its room.
//
// GOGC and GOMEMLIMIT, where they are set, are the operator's word
// (https://pkg.go.dev/runtime#hdr-Environment_Variables).
func spendMemory(cachedLines int, getenv func(string) string) {
	const (
		percent = 400
		base    = 64 << 20 // bytes
		line    = 1 << 10  // of a line in the cache, more than twice what it takes
	)
	if getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(base + line*int64(cachedLines))
	}
}

// returnMemory gives back to the system what only the start took. By
// spendMemory's leave it would else be kept for as long as nobody comes.
func returnMemory() {
	debug.FreeOSMemory()
	unmapProgram()
}
