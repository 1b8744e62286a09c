package flow

import (
	"sync"
	"time"
)

// How long a breaker stays open after the first failure; twice as long after
// each further one, up to the longest.
const (
	breakerFirst   = 15 * time.Second
	breakerLongest = 5 * time.Minute
)

// breakers hold new texts back while Twilio refuses all of them for what is
// ours to mend: the account, the sender, or a country that the account may not
// text. It would refuse the next one too, and say so the sooner the more we
// ask. Checks and replies go on, since their PINs are out already.
//
// There is one for everything, under "", and one for each country. When the
// time is up the next text tries; what Twilio takes closes its breakers.
type breakers struct {
	mu sync.Mutex
	of map[string]breaker
}

type breaker struct {
	until    time.Time
	failures int
}

// trip opens the breaker of key, and returns how long for.
func (b *breakers) trip(key string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.of[key]
	// Texts that were under way together fail together: that is one failure.
	if now.Before(at.until) {
		return at.until.Sub(now)
	}
	wait := min(breakerFirst<<min(at.failures, 10), breakerLongest)
	if b.of == nil {
		b.of = make(map[string]breaker)
	}
	b.of[key] = breaker{now.Add(wait), at.failures + 1}
	return wait
}

// close closes the breakers that a text to n went through. It reports whether
// none is open any more, where one was.
func (b *breakers) close(n Number) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.of) == 0 {
		return false
	}
	delete(b.of, "")
	delete(b.of, n.Country())
	return len(b.of) == 0
}

// wait is how long texts to n are held back; 0 for not at all.
func (b *breakers) wait(n Number, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.of) == 0 {
		return 0 // without asking for n's country, which is slow
	}
	return max(0, b.of[""].until.Sub(now), b.of[n.Country()].until.Sub(now))
}
