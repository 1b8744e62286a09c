package ledger

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// maxShards bounds how many pieces a cache is in. One big one would stall its
// readers for as long as it takes to sweep it.
const maxShards = 32

// A Cache is a ledger that answers for lines in use without a read. It holds
// each as it was saved, with the PINs that were derived for it.
//
// It can be stale, where another process has saved, but never wrong: what a
// line leads to is saved under the line's version by the ledger behind it, and
// whatever fails there is forgotten here. Evicting loses nothing.
type Cache struct {
	flow.Ledger
	// Lookup is called after each lookup of a line. It is set before the
	// first, or left nil, and must not block.
	Lookup func(hit bool)
	// Age is how long the cache has been there. It may be set before the first
	// use, for a test.
	Age func() time.Duration

	seed   maphash.Seed
	shards []shard
	turn   atomic.Uint64 // whose it is to be swept
}

// A shard is a piece of a cache. Its keys are hashes, which are smaller than
// lines' names, and whose rare collisions are misses.
type shard struct {
	mu        sync.Mutex
	lines     lru
	forgotten int // so many times
}

// Cached puts a cache of that many lines, at least 1, in front of next. A line
// is no longer answered for ttl after it was last saved or loaded, and is let go
// of by the next [Cache.Sweep]; never if ttl is 0.
func Cached(next flow.Ledger, size int, ttl time.Duration) *Cache {
	size = max(1, size)
	n := min(size, maxShards)
	began := time.Now()
	c := &Cache{
		Ledger: next, Age: func() time.Duration { return time.Since(began) },
		seed: maphash.MakeSeed(), shards: make([]shard, n),
	}
	for i := range c.shards {
		part := size / n
		if i < size%n {
			part++
		}
		c.shards[i].lines = newLRU(part, ttl)
	}
	return c
}

// place is where a line is kept, and under which key.
func (c *Cache) place(id flow.LineID) (*shard, uint64) {
	key := maphash.Comparable(c.seed, id)
	return &c.shards[key%uint64(len(c.shards))], key
}

// Line implements [flow.Ledger].
func (c *Cache) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	packed, hit := c.kept(id)
	var line flow.Line
	if hit {
		line = packed.Unpack()
		hit = line.LineID == id
	}
	if c.Lookup != nil {
		c.Lookup(hit)
	}
	if hit {
		return line, nil
	}
	return c.Reload(ctx, id)
}

// kept uses what is kept of a line, or of one with the same hash.
func (c *Cache) kept(id flow.LineID) (flow.Packed, bool) {
	s, key := c.place(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.get(key, c.Age())
}

// Reload implements [flow.Ledger]: it reads through, and keeps what it read,
// unless something was forgotten meanwhile. That may have been what a later
// save had kept, and nothing would tell that this is older.
func (c *Cache) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	s, key := c.place(id)
	s.mu.Lock()
	before := s.forgotten
	s.mu.Unlock()
	line, err := c.Ledger.Reload(ctx, id)
	if err == nil && line.Version > 0 { // anybody's number could fill it with lines that are none
		packed := line.Pack()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.forgotten == before {
			s.keep(key, &line, packed, c.Age())
		}
	}
	return line, err
}

// Save implements [flow.Ledger].
func (c *Cache) Save(ctx context.Context, ch flow.Change) error {
	err := c.Ledger.Save(ctx, ch)
	for _, line := range ch.Lines {
		switch {
		case err == nil:
			c.saved(line)
		case errors.Is(err, flow.ErrHeard), errors.Is(err, flow.ErrSpent), errors.Is(err, flow.ErrClaimed):
			// Nothing was written, and nothing is wrong with what is kept.
		default:
			c.forget(line.LineID)
		}
	}
	return err
}

// saved keeps a line as the next Line would load it. One whose orders have all
// ended, and which nobody has asked for, may be the first of a million whose
// orders lapse: it takes no other's place.
func (c *Cache) saved(line flow.Line) {
	s, key := c.place(line.LineID)
	if len(line.Conversations) > 0 && len(line.Open()) == 0 && !s.has(key, c.Age()) {
		c.forget(line.LineID) // or who has read an older one would keep that
		return
	}
	line.Conversations = slices.Clone(line.Conversations)
	line.Version++
	for i := range line.Conversations {
		line.Conversations[i].Line = line.LineID
		line.Conversations[i].Unchanged = false
	}
	listed := slices.ContainsFunc(line.Conversations, func(o flow.Conversation) bool { return o.ID == line.Topic })
	if line.Topic != uuid.Nil && !listed {
		// The topic is loaded with it, and is not here.
		c.forget(line.LineID)
		return
	}
	arrange(&line)
	packed := line.Pack()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(key, &line, packed, c.Age())
}

func (c *Cache) forget(id flow.LineID) {
	s, key := c.place(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten++
	s.lines.remove(key)
}

// keep keeps line unless a newer one is kept already: who read before another
// saved may get here after. The shard is locked.
func (s *shard) keep(key uint64, line *flow.Line, packed flow.Packed, now time.Duration) {
	if kept, ok := s.lines.peek(key, now); ok && kept.Version() > line.Version && kept.Unpack().LineID == line.LineID {
		return
	}
	s.lines.keep(key, packed, now)
}

func (s *shard) has(key uint64, now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.lines.peek(key, now)
	return ok
}

// Len counts the lines that are kept, those too whose time is over.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		n += c.shards[i].len()
	}
	return n
}

func (s *shard) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.len()
}

// Sweep lets go of the lines whose time is over, and which nobody may ask for
// again, in one piece of the cache, each time another: of many calls none
// holds anybody up.
func (c *Cache) Sweep() {
	s := &c.shards[c.turn.Add(1)%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines.sweep(c.Age())
}

// Purge forgets all lines.
func (c *Cache) Purge() {
	for i := range c.shards {
		c.shards[i].purge()
	}
}

func (s *shard) purge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = newLRU(s.lines.most, s.lines.ttl)
}
