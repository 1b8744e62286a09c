package metrics

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/flow"
)

// Describe sets what describes the database. Every machine on one database
// describes the same rows, so panels take the max of these, never the sum.
func (m *Metrics) Describe(c flow.Census, now time.Time) {
	open := 0
	for _, n := range c.Open {
		open += n
	}
	m.open.Set(float64(open))
	for _, state := range []flow.MessageState{flow.Leased, flow.Waiting} {
		m.outbox.at(string(state)).Set(float64(c.Outbox[state]))
	}
	late := time.Duration(0)
	if !c.OldestDue.IsZero() {
		late = max(0, now.Sub(c.OldestDue)) // what is due later is not late
	}
	m.oldest.Set(late.Seconds())
	m.counted.Set(float64(now.UnixMilli()) / 1000)
}

// Refresh takes a census now and at each tick, and describes it, until ctx ends.
// Before the first the gauges are zero. One that fails is logged and leaves them
// as they were; census_timestamp_seconds tells that they are old. The more rows
// there are the longer one takes, so that ticks are left out to keep it to a
// fiftieth of the time.
func (m *Metrics) Refresh(ctx context.Context, now time.Time, ticks <-chan time.Time, log *slog.Logger,
	census func(context.Context, time.Time) (flow.Census, error),
) {
	const (
		patience = 10 * time.Second
		rest     = 50               // times as long as the census took, but not
		longest  = 30 * time.Second // since alerts are judged by it
	)
	count := func(now time.Time) (next time.Time) {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		began := time.Now()
		c, err := census(limited, now)
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "census failed", "err", err)
			}
			return now
		}
		m.Describe(c, now)
		return now.Add(min(rest*time.Since(began), longest))
	}
	next := count(now)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks:
			if !now.Before(next) {
				next = count(now)
			}
		}
	}
}

// What became of a commit.
const (
	savedOK      = "ok"
	savedStale   = "stale"   // somebody else was faster
	savedHeard   = "heard"   // the text was answered before
	savedClaimed = "claimed" // the sid is another text's
	savedSpent   = "spent"   // a total is used up
	savedError   = "error"
)

var saved = []string{savedOK, savedStale, savedHeard, savedClaimed, savedSpent, savedError}

// Ledger returns l with its commits counted, and timed if they succeed.
func (m *Metrics) Ledger(l flow.Ledger) flow.Ledger { return timed{l, m} }

type timed struct {
	flow.Ledger
	m *Metrics
}

// Save is the ledger's.
func (t timed) Save(ctx context.Context, ch flow.Change) error {
	timer := prometheus.NewTimer(t.m.saving)
	err := t.Ledger.Save(ctx, ch)
	result := savedError
	switch {
	case err == nil:
		result = savedOK
		timer.ObserveDuration()
	case errors.Is(err, flow.ErrStale):
		result = savedStale
	case errors.Is(err, flow.ErrHeard):
		result = savedHeard
	case errors.Is(err, flow.ErrClaimed):
		result = savedClaimed
	case errors.Is(err, flow.ErrSpent):
		result = savedSpent
	}
	t.m.saves.at(result).Inc()
	return err
}

const hit, miss = "hit", "miss"

// CacheLookup counts a look into the PIN cache.
func (m *Metrics) CacheLookup(found bool) {
	if found {
		m.lookups.at(hit).Inc()
	} else {
		m.lookups.at(miss).Inc()
	}
}

// CacheEntries has n asked, at every scrape, how many lines the cache holds.
func (m *Metrics) CacheEntries(n func() int) { m.entries.Store(&n) }
