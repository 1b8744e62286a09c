package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

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
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := pinThread(tid, core); err != nil && !errors.Is(err, unix.ESRCH) { // one that has ended
			return err
		}
	}
	return nil
}

// pinThread keeps a thread to a core; 0 is the caller's.
func pinThread(tid, core int) error {
	var cores unix.CPUSet
	cores.Set(core)
	if err := unix.SchedSetaffinity(tid, &cores); err != nil {
		return fmt.Errorf("keep thread %d to core %d: %w", tid, core, err)
	}
	return nil
}

// startOn starts a process that has the core for all its life, and its children
// too: a process begins where the thread is that begins it.
func startOn(core int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pinThread(0, core); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), pinThread(0, askingCore))
}
