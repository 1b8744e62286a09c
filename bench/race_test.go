//go:build race

package main

// raceEnabled: the race detector allocates too.
const raceEnabled = true
