package phonebooth

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func still() time.Time { return epoch }

func TestAdvanceRunsWhatFallsDueInOrder(t *testing.T) {
	s := newSchedule(still)
	defer s.Stop()
	var mu sync.Mutex
	var ran []time.Duration
	at := func(d time.Duration, more func()) {
		s.At(epoch.Add(d), func() {
			mu.Lock()
			ran = append(ran, s.Now().Sub(epoch))
			mu.Unlock()
			if more != nil {
				more()
			}
		})
	}
	at(3*time.Second, nil)
	at(time.Second, func() { at(2*time.Second, nil) }) // a job may make a job
	at(5*time.Second, nil)
	s.Advance(4 * time.Second)
	if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(ran, want) {
		t.Errorf("ran at %v, want %v", ran, want)
	}
	if got := s.Now().Sub(epoch); got != 4*time.Second {
		t.Errorf("now = %v after an advance of 4s", got)
	}
	s.Clear()
	s.Advance(time.Hour)
	if len(ran) != 3 {
		t.Errorf("what was cleared ran")
	}
}

func TestScheduleRunsByItselfInRealTime(t *testing.T) {
	s := newSchedule(time.Now)
	defer s.Stop()
	ran := make(chan struct{})
	s.At(s.Now().Add(time.Millisecond), func() { close(ran) })
	select {
	case <-ran:
	case <-time.After(10 * time.Second):
		t.Fatal("it never ran")
	}
}

func TestStopWaitsForWhatRuns(t *testing.T) {
	s := newSchedule(still)
	begun, finish, ended := make(chan struct{}), make(chan struct{}), false
	s.At(epoch, func() {
		close(begun)
		<-finish
		ended = true
	})
	<-begun
	go close(finish)
	s.Stop()
	if !ended {
		t.Error("Stop did not wait")
	}
	s.At(epoch, func() { t.Error("a job was taken after the end") })
	s.Advance(time.Hour)
}
