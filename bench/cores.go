package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The cores: one for what is measured, one for those who ask it.
const (
	measuredCore = 0
	askingCore   = 1
)

// pinSelf keeps this process to a core. Threads that are begun later are where
// the one is that begins them.
func pinSelf(core int) error {
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed: one to be measured, one to ask")
	}
	return pinThreads(os.Getpid(), core)
}

// pinThreads keeps all threads that a process has to a core.
func pinThreads(pid, core int) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return err
	}
	var cores unix.CPUSet
	cores.Set(core)
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &cores); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("keep thread %d to core %d: %w", tid, core, err)
		}
	}
	return nil
}

// execPinned becomes the program in args, which has the core for all its life.
func execPinned(args []string) error {
	core, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := pinThreads(os.Getpid(), core); err != nil {
		return err
	}
	program, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	return syscall.Exec(program, args[1:], os.Environ()) //nolint:gosec // the conductor names it
}
