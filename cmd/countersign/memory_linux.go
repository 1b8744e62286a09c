package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// unmapProgram lets go of the pages of the program's own file. Most are there
// for what only the start does; what is wanted again is mapped again, from the
// system's cache. Whatever fails leaves them to the kernel, who drops them when
// it must: until then they count as ours, to whoever watches.
func unmapProgram() {
	for _, m := range programMaps() {
		// What was written, by the loader too, is not in the file.
		if m.own == 0 && !m.writable {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED)
		}
	}
}

// A programMap is a stretch of memory that the program's file is mapped to.
type programMap struct {
	start, end uintptr
	writable   bool
	resident   int // kB
	own        int // of these, kB that are no longer the file's
}

// programMaps reads /proc/self/smaps, see proc_pid_smaps(5).
func programMaps() (all []programMap) {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	var m *programMap // that the lines are about, if it is one
	for line := range strings.Lines(string(smaps)) {
		if first, _, _ := strings.Cut(line, " "); strings.Contains(first, "-") { // a new stretch's addresses
			m = nil
			var start, end uintptr
			var mode string
			if n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); n == 3 && strings.HasSuffix(line, " "+program+"\n") {
				all = append(all, programMap{start: start, end: end, writable: strings.Contains(mode, "w")})
				m = &all[len(all)-1]
			}
		}
		if m != nil {
			_, _ = fmt.Sscanf(line, "Rss: %d kB", &m.resident)
			_, _ = fmt.Sscanf(line, "Anonymous: %d kB", &m.own)
		}
	}
	return all
}
