package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// A slow writer writes when it is told to.
type slowWriter struct {
	asked   chan string
	resume  chan struct{}
	written bytes.Buffer
}

func newSlowWriter() *slowWriter {
	return &slowWriter{asked: make(chan string), resume: make(chan struct{})}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.asked <- string(b)
	<-w.resume
	return w.written.Write(b)
}

func say(t *testing.T, l *lines, line string) {
	t.Helper()
	if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
}

func TestLinesThatAreSaidMeanwhileGoOutTogether(t *testing.T) {
	w := newSlowWriter()
	l := newLines(w)
	say(t, l, "one\n")
	if got := <-w.asked; got != "one\n" {
		t.Errorf("first goes %q", got)
	}
	say(t, l, "two\n") // and does not wait
	say(t, l, "three\n")
	w.resume <- struct{}{}
	if got := <-w.asked; got != "two\nthree\n" {
		t.Errorf("then goes %q", got)
	}
	w.resume <- struct{}{}
	if err := l.Close(); err != nil || w.written.String() != "one\ntwo\nthree\n" {
		t.Errorf("written is %q, %v", w.written.String(), err)
	}
}

// Whoever ends sees to it that all has been written, and may say a last word.
func TestLinesAreAllWrittenInTheEnd(t *testing.T) {
	var w bytes.Buffer
	l := newLines(&w)
	var all sync.WaitGroup
	const speakers, each = 8, 200
	for n := range speakers {
		all.Go(func() {
			for i := range each {
				say(t, l, fmt.Sprintf("%d says %d\n", n, i))
			}
		})
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	say(t, l, "goodbye\n")
	if !strings.HasSuffix(w.String(), "\ngoodbye\n") {
		t.Errorf("the last word is missing after %d bytes", w.Len())
	}
	next := make([]int, speakers)
	for line := range strings.Lines(strings.TrimSuffix(w.String(), "goodbye\n")) {
		var n, i int
		if _, err := fmt.Sscanf(line, "%d says %d\n", &n, &i); err != nil || i != next[n] {
			t.Fatalf("%q, where %d was to say %d: %v", line, n, next[n], err)
		}
		next[n]++
	}
	for n, i := range next {
		if i != each {
			t.Errorf("%d was heard to %d", n, i)
		}
	}
}

// Where nobody takes the log, so much is kept and no more: who says more waits.
func TestLinesWaitWhereNobodyReads(t *testing.T) {
	w := newSlowWriter()
	l := newLines(w)
	say(t, l, "one\n")
	<-w.asked
	say(t, l, strings.Repeat("x", mostWaiting))
	said := make(chan struct{})
	go func() {
		say(t, l, "more\n")
		close(said)
	}()
	l.mu.Lock()
	waiting := len(l.waiting)
	l.mu.Unlock()
	if waiting != mostWaiting {
		t.Errorf("%d bytes wait", waiting)
	}
	w.resume <- struct{}{} // and only now there is room
	if got := <-w.asked; len(got) != mostWaiting {
		t.Errorf("%d bytes go", len(got))
	}
	<-said
	w.resume <- struct{}{}
	if got := <-w.asked; got != "more\n" {
		t.Errorf("last goes %q", got)
	}
	w.resume <- struct{}{}
	_ = l.Close()
}

type deafWriter struct{}

func (deafWriter) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }

func TestLinesThatNobodyTakesStopNobody(t *testing.T) {
	l := newLines(deafWriter{})
	for range 3 {
		say(t, l, strings.Repeat("x", mostWaiting)+"\n")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A reader who takes no more keeps nobody who is to end.
func TestNobodyWaitsForTheLogInTheEnd(t *testing.T) {
	w := newSlowWriter()
	l := newLines(w)
	say(t, l, "one\n")
	<-w.asked // and is never answered
	say(t, l, strings.Repeat("x", mostWaiting))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		say(t, l, "waits\n")
		say(t, l, "stopping\n")
		_ = l.Close()
		say(t, l, "goodbye\n")
	}()
	select {
	case <-ended:
		t.Error("before the end, nobody waits")
	case <-time.After(10 * time.Millisecond):
	}
	l.End()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("they wait for a reader who takes no more")
	}
	if got := len(l.waiting); got != mostWaiting {
		t.Errorf("%d bytes wait", got)
	}
}
