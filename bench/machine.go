package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// thisRun says when and where a run was made, and how busy the machine was.
func thisRun() string {
	load, _ := os.ReadFile("/proc/loadavg") // what cannot be told is left out
	busy := ""
	if fields := strings.Fields(string(load)); len(fields) > 1 {
		busy = ", load average " + fields[1] + " over five minutes, of which this run is about 2"
	}
	revision := "unknown"
	if out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output(); err == nil { //nolint:noctx // it reads a few files
		revision = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, at %s, on %s with %d cores, Linux %s, %s%s.\n",
		time.Now().UTC().Format("2 January 2006"), revision, processor(), runtime.NumCPU(), kernel(), runtime.Version(), busy)
}

// processor is the processor's name.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(release))
}
