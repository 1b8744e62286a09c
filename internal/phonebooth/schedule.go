package phonebooth

import (
	"container/heap"
	"sync"
	"time"
)

// A schedule runs functions when their time comes: in real time by itself,
// and in no time at all when it is told to [schedule.Advance].
//
// Its clock is the shell's clock plus all that was ever advanced. A job runs
// on a goroutine of its own, so that a webhook that hangs holds up nobody
// else's text.
type schedule struct {
	clock func() time.Time

	mu      sync.Mutex
	idle    *sync.Cond // no job is running
	offset  time.Duration
	jobs    jobs
	made    int // jobs ever made: the tie-breaker between equals
	running int
	stopped bool

	wake chan struct{} // an earlier job was added, or the clock moved
	gone chan struct{} // the loop has ended

	advancing sync.Mutex // one Advance at a time
}

func newSchedule(clock func() time.Time) *schedule {
	s := &schedule{clock: clock, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	s.idle = sync.NewCond(&s.mu)
	go s.loop()
	return s
}

// Now is the booth's time: the shell's, and what was advanced.
func (s *schedule) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *schedule) now() time.Time { return s.clock().Add(s.offset) }

// At runs f once the booth's time has reached t.
func (s *schedule) At(t time.Time, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.made++
	heap.Push(&s.jobs, job{due: t, seq: s.made, run: f})
	s.nudge()
}

// Advance moves the booth's time on by d, and runs what falls due on the way,
// each job at its own time and before anything later starts. It returns when
// all of it has ended.
func (s *schedule) Advance(d time.Duration) {
	s.advancing.Lock()
	defer s.advancing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.now().Add(d)
	for {
		s.settle()
		if len(s.jobs) == 0 || s.jobs[0].due.After(end) {
			break
		}
		if ahead := s.jobs[0].due.Sub(s.now()); ahead > 0 {
			s.offset += ahead
		}
		s.startDue()
	}
	if ahead := end.Sub(s.now()); ahead > 0 {
		s.offset += ahead
	}
	s.nudge()
}

// Clear forgets every job, and waits for those that have begun.
func (s *schedule) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.jobs = nil
		if s.running == 0 {
			s.offset = 0
			return
		}
		s.idle.Wait()
	}
}

// Stop forgets every job, waits for those that have begun, and ends the loop.
func (s *schedule) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.jobs = nil
	s.nudge()
	s.settle()
	s.mu.Unlock()
	<-s.gone
}

func (s *schedule) loop() {
	defer close(s.gone)
	for {
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			return
		}
		s.startDue()
		wait := time.Hour
		if len(s.jobs) > 0 {
			wait = s.jobs[0].due.Sub(s.now())
		}
		s.mu.Unlock()

		timer := time.NewTimer(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// startDue starts every job that is due. The caller holds the lock.
func (s *schedule) startDue() {
	for len(s.jobs) > 0 && !s.jobs[0].due.After(s.now()) {
		j := heap.Pop(&s.jobs).(job)
		s.running++
		go func() {
			j.run()
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.running--; s.running == 0 {
				s.idle.Broadcast()
			}
		}()
	}
}

// settle waits until no job runs. The caller holds the lock.
func (s *schedule) settle() {
	for s.running > 0 {
		s.idle.Wait()
	}
}

func (s *schedule) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

type job struct {
	due time.Time
	seq int
	run func()
}

// jobs is a heap, soonest first.
type jobs []job

func (j jobs) Len() int { return len(j) }
func (j jobs) Less(a, b int) bool {
	if !j[a].due.Equal(j[b].due) {
		return j[a].due.Before(j[b].due)
	}
	return j[a].seq < j[b].seq
}
func (j jobs) Swap(a, b int) { j[a], j[b] = j[b], j[a] }
func (j *jobs) Push(x any)   { *j = append(*j, x.(job)) }
func (j *jobs) Pop() any {
	old := *j
	last := old[len(old)-1]
	old[len(old)-1] = job{}
	*j = old[:len(old)-1]
	return last
}
