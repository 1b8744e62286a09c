package main

import (
	"io"
	"runtime"
	"sync"
	"time"
)

// lines write the log so that no customer waits for it: what is said while some
// is being written goes out together, by one call of the kernel. Nothing is
// kept for a clock to strike: a line that is alone is written at once.
//
// What has not left when the process is killed is lost, which is what was said
// in the last instant; the orders themselves are in the database.
type lines struct {
	to io.Writer

	mu       sync.Mutex
	changed  sync.Cond // of what follows
	waiting  []byte
	spare    []byte // to wait in, when what waits now is being written
	underWay bool
	ending   bool
	closed   bool
	left     bool // with something unwritten
}

// mostWaiting is how many bytes may wait to be written. Who would say more
// waits, and is not unheard.
const mostWaiting = 256 << 10

// lastWords is how long Close waits for what is still to be written.
const lastWords = time.Second

func newLines(to io.Writer) *lines {
	l := &lines{to: to}
	l.changed.L = &l.mu
	return l
}

// Write takes a line. That it could not be written nobody is told: there would
// be nowhere to say so.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.ending && len(l.waiting) >= mostWaiting || l.closed && l.underWay && !l.left {
		l.changed.Wait()
	}
	switch {
	case l.left, l.ending && len(l.waiting) >= mostWaiting:
		return len(line), nil
	case l.closed:
		return l.to.Write(line)
	}
	l.waiting = append(l.waiting, line...)
	if !l.underWay {
		l.underWay = true
		go l.run()
	}
	return len(line), nil
}

// run writes for as long as there is something.
func (l *lines) run() {
	runtime.Gosched() // who is about to say something goes along
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		now := l.waiting
		l.waiting, l.spare = l.spare[:0], nil
		l.changed.Broadcast()
		l.mu.Unlock()
		_, _ = l.to.Write(now)
		l.mu.Lock()
		l.spare = now
	}
	l.underWay = false
	l.changed.Broadcast()
}

// End is told when the process is to end. From then on nobody waits: a reader
// who takes no more must not keep what was accepted from being finished, nor the
// process from ending. What finds no room is unsaid.
func (l *lines) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	l.changed.Broadcast()
}

// Close returns when all is written, or after [lastWords]. What is said later is
// written at once, or not at all.
func (l *lines) Close() error {
	patience := time.AfterFunc(lastWords, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.left = l.underWay
		l.changed.Broadcast()
	})
	defer patience.Stop()
	l.End()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for l.underWay && !l.left {
		l.changed.Wait()
	}
	return nil
}
