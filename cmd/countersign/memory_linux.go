package main

import (
	"os"
	"syscall"

	"github.com/prometheus/procfs"
)

// unmapProgram lets go of the pages of the program's own file. Most are there
// for what only the start does; what is wanted again is mapped again, from the
// system's cache. Whatever fails leaves them to the kernel, who drops them when
// it must: until then they count as ours, to whoever watches.
func unmapProgram() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	self, err := procfs.Self()
	if err != nil {
		return
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return
	}
	for _, m := range maps {
		if m.Pathname == program && !m.Perms.Write { // so nothing is in them that is not in the file
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.StartAddr, m.EndAddr-m.StartAddr, syscall.MADV_DONTNEED)
		}
	}
}
