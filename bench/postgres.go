package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
)

// A postgres is a PostgreSQL of our own on the measured core, as Debian sets it
// up: it waits for the disk.
type postgres struct {
	server *pgtest.Server
	first  int // the process that the others are children of
}

func startPostgres() (*postgres, error) {
	server, err := pgtest.Start()
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p := &postgres{server: server}
	if p.first, err = server.PID(); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	pids, err := p.pids()
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	for _, pid := range pids { // those to come are where the first is
		if err := pinThreads(pid, measuredCore); err != nil {
			return nil, errors.Join(err, server.Close())
		}
	}
	return p, nil
}

// pids are PostgreSQL's processes, the first of all first.
func (p *postgres) pids() ([]int, error) {
	pids := []int{p.first}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range stats {
		fields, err := stat(file)
		if err != nil {
			continue // it has ended
		}
		if parent, _ := strconv.Atoi(fields[1]); parent == p.first {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// tick is the unit of times in /proc, the same on all of Linux.
const tick = 10 * time.Millisecond

// cpu is what all of PostgreSQL's processes have used of the core so far, those
// that have ended too.
func (p *postgres) cpu() (time.Duration, error) {
	pids, err := p.pids()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range pids {
		one, err := cpuOf(pid)
		if err != nil {
			continue // it has ended: then it is among the next
		}
		sum += one
	}
	fields, err := stat(fmt.Sprintf("/proc/%d/stat", p.first))
	if err != nil {
		return 0, err
	}
	for _, ended := range fields[13:15] { // cutime and cstime, proc(5)
		ticks, err := strconv.Atoi(ended)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// stat reads /proc/PID/stat from its third field on, the process's state. The
// one before is its name, which may hold anything.
func stat(file string) ([]string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // in /proc
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") "))
	var fields []string
	for field := range bytes.FieldsSeq(rest) {
		fields = append(fields, string(field))
	}
	if len(fields) < 15 {
		return nil, fmt.Errorf("%s: %d fields", file, len(fields))
	}
	return fields, nil
}
