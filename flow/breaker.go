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
	// taken is when a text to each country was last taken.
	taken map[string]time.Time
}

type breaker struct {
	until    time.Time
	failures int
}

// left is how long it stays open; 0 if it is closed. If that is longer than any
// stays, the clock was set back: when it was opened cannot be told.
func (b breaker) left(now time.Time) time.Duration {
	if left := b.until.Sub(now); left <= breakerLongest {
		return max(0, left)
	}
	return 0
}

// trip opens the breaker of key, and returns how long for; 0 if it stays
// closed. A country's stays closed where another text was taken an hour ago or
// less: then it is that number's, not the country's, and nobody may shut a
// country by typing an odd number.
func (b *breakers) trip(key string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if key != "" && now.Before(b.taken[key].Add(time.Hour)) {
		return 0
	}
	at := b.of[key]
	// Texts that were under way together fail together: that is one failure.
	if left := at.left(now); left > 0 {
		return left
	}
	wait := min(breakerFirst<<min(at.failures, 10), breakerLongest)
	if b.of == nil {
		b.of = make(map[string]breaker)
	}
	b.of[key] = breaker{now.Add(wait), at.failures + 1}
	return wait
}

// open reports whether any is open.
func (b *breakers) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.of {
		if at.left(now) > 0 {
			return true
		}
	}
	return false
}

// close closes the breakers that a text to country went through.
func (b *breakers) close(country string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken == nil {
		b.taken = make(map[string]time.Time)
	}
	b.taken[country] = now
	delete(b.of, "")
	delete(b.of, country)
}

// wait is how long texts to n are held back; 0 for not at all.
func (b *breakers) wait(n Number, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.of) == 0 {
		return 0 // without asking for n's country, which is slow
	}
	return max(b.of[""].left(now), b.of[n.Country()].left(now))
}
