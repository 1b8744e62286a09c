package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// A spy is a ledger that counts how often a line is read from it, and may be
// told to fail, or to dawdle between reading a line and answering.
type spy struct {
	flow.Ledger
	reads  atomic.Int32
	fail   error
	dawdle func()
}

func (s *spy) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	s.reads.Add(1)
	line, err := s.Ledger.Reload(ctx, id)
	if s.dawdle != nil {
		s.dawdle()
	}
	return line, err
}

func (s *spy) Save(ctx context.Context, ch flow.Change) error {
	if s.fail != nil {
		return s.fail
	}
	return s.Ledger.Save(ctx, ch)
}

// saved saves a line and returns it with its new version.
func saved(t *testing.T, l flow.Ledger, line flow.Line) flow.Line {
	t.Helper()
	if err := l.Save(t.Context(), flow.Change{Lines: []flow.Line{line}}); err != nil {
		t.Fatal(err)
	}
	line.Version++
	return line
}

// lineOf returns the line as l has it.
func lineOf(t *testing.T, l flow.Ledger, id flow.LineID) flow.Line {
	t.Helper()
	line, err := l.Line(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestCacheAnswersWithoutARead(t *testing.T) {
	behind := &spy{Ledger: flowtest.NewLedger()}
	c := Cached(behind, 10, 0)
	lookups := map[bool]int{}
	c.Lookup = func(hit bool) { lookups[hit]++ }

	lineOf(t, c, lineID(1)) // never saved: read, and not kept
	lineOf(t, c, lineID(1))
	if c.Len() != 0 {
		t.Errorf("it keeps %d lines that were never saved", c.Len())
	}
	saved(t, c, flow.Line{LineID: lineID(1)})
	if line := lineOf(t, c, lineID(1)); line.Version != 1 {
		t.Errorf("the saved line has version %d", line.Version)
	}
	if n := behind.reads.Load(); n != 2 {
		t.Errorf("the ledger behind was read %d times, want twice, before the save", n)
	}
	if want := map[bool]int{false: 2, true: 1}; !cmp.Equal(lookups, want) {
		t.Errorf("lookups by hit are %v, want %v", lookups, want)
	}
	if c.Len() != 1 {
		t.Errorf("it keeps %d lines, want 1", c.Len())
	}
	c.Purge()
	if c.Len() != 0 {
		t.Errorf("purged, it keeps %d lines", c.Len())
	}
	lineOf(t, c, lineID(1))
	lineOf(t, c, lineID(1))
	if n := behind.reads.Load(); n != 3 {
		t.Errorf("after a purge it was read %d times, want one more", n)
	}
}

// A million orders may lapse that nobody asks for.
func TestWhatLapsesTakesNoPlaceInTheCache(t *testing.T) {
	c := Cached(flowtest.NewLedger(), 100, 0)
	lapse := func(n int) {
		lines, err := c.Lines(t.Context(), []flow.LineID{lineID(n)})
		if err != nil {
			t.Fatal(err)
		}
		lines[0].Conversations[0].State = flow.Lapsed
		lines[0].Topic = lines[0].Conversations[0].ID
		saved(t, c, lines[0])
	}
	for n := range 6 {
		saved(t, c, asking(n).Lines[0])
	}
	c.Purge()
	for _, n := range []int{0, 1} {
		lineOf(t, c, lineID(n))
	}
	for _, n := range []int{1, 2, 3, 4, 5} {
		lapse(n)
	}
	hits := 0
	c.Lookup = func(hit bool) {
		if hit {
			hits++
		}
	}
	if line := lineOf(t, c, lineID(0)); len(line.Open()) != 1 {
		t.Errorf("the line in use is %+v", line)
	}
	if line := lineOf(t, c, lineID(1)); line.Version != 2 || len(line.Open()) != 0 {
		t.Errorf("a line in use, on which an order lapsed, is %+v", line)
	}
	if hits != 2 || c.Len() != 2 {
		t.Errorf("of the 2 lines in use %d are kept, and of all %d", hits, c.Len())
	}
}

func TestCacheReloadsPastItself(t *testing.T) {
	behind := flowtest.NewLedger()
	c := Cached(behind, 10, 0)
	line := saved(t, c, flow.Line{LineID: lineID(1)})
	line.Misses = 1
	saved(t, behind, line) // by another process
	if v := lineOf(t, c, lineID(1)).Version; v != 1 {
		t.Errorf("Line has version %d, want the stale one", v)
	}
	fresh, err := c.Reload(t.Context(), lineID(1))
	if err != nil || fresh.Version != 2 {
		t.Errorf("Reload has version %d, %v; want 2", fresh.Version, err)
	}
	if v := lineOf(t, c, lineID(1)).Version; v != 2 {
		t.Errorf("after Reload, Line has version %d, want 2", v)
	}
}

func TestCacheForgetsWhatFails(t *testing.T) {
	behind := &spy{Ledger: flowtest.NewLedger()}
	c := Cached(behind, 10, 0)
	line := saved(t, c, flow.Line{LineID: lineID(1)})
	for failure, kept := range map[error]int{
		flow.ErrStale: 0, context.Canceled: 0, errors.New("the disk is full"): 0,
		// Nothing was written, for what has nothing to do with the line.
		flow.ErrHeard: 1, flow.ErrSpent: 1, flow.ErrClaimed: 1,
	} {
		lineOf(t, c, lineID(1))
		behind.fail = failure
		if err := c.Save(t.Context(), flow.Change{Lines: []flow.Line{line}}); !errors.Is(err, failure) {
			t.Errorf("Save: %v, want %v", err, failure)
		}
		if c.Len() != kept {
			t.Errorf("after %v it keeps %d lines, want %d", failure, c.Len(), kept)
		}
	}
}

// Who has read a line before it was saved gets to keep it after.
func TestCacheKeepsTheNewer(t *testing.T) {
	behind := &spy{Ledger: flowtest.NewLedger()}
	c := Cached(behind, 10, 0)
	line := saved(t, behind, flow.Line{LineID: lineID(1)})
	behind.dawdle = func() {
		behind.dawdle = nil
		saved(t, c, line)
	}
	if v := lineOf(t, c, lineID(1)).Version; v != 1 {
		t.Fatalf("the slow reader has version %d, want 1", v)
	}
	if v := lineOf(t, c, lineID(1)).Version; v != 2 {
		t.Errorf("after the slow reader version %d is kept, want 2", v)
	}
}

// Nor if what was kept has been forgotten meanwhile: a desk that is alone takes
// what is kept for what is committed.
func TestCacheKeepsNothingFromBeforeItForgot(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(*testing.T, *Cache, flow.Line)
	}{
		{"what a stale save might have left", func(t *testing.T, c *Cache, line flow.Line) {
			saved(t, c, line)
			if err := c.Save(t.Context(), flow.Change{Lines: []flow.Line{line}}); !errors.Is(err, flow.ErrStale) {
				t.Errorf("Save: %v, want %v", err, flow.ErrStale)
			}
		}},
		{"a line whose orders have all ended", func(t *testing.T, c *Cache, line flow.Line) {
			line = line.Clone()
			line.Conversations[0].State, line.Topic = flow.Lapsed, line.Conversations[0].ID
			saved(t, c, line)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behind := &spy{Ledger: flowtest.NewLedger()}
			c := Cached(behind, 10, 0)
			line := saved(t, behind, asking(1).Lines[0])
			behind.dawdle = func() {
				behind.dawdle = nil
				tt.meanwhile(t, c, line)
			}
			if v := lineOf(t, c, lineID(1)).Version; v != 1 {
				t.Fatalf("the slow reader has version %d, want 1", v)
			}
			if v := lineOf(t, c, lineID(1)).Version; v != 2 {
				t.Errorf("after the slow reader version %d is kept, want 2", v)
			}
		})
	}
}

func TestCacheKeepsWhatWouldBeLoaded(t *testing.T) {
	conversation := func(state flow.State, after time.Duration) flow.Conversation {
		return flow.Conversation{
			ID: flowtest.NewID(noon), Line: lineID(1), State: state, Created: noon.Add(after),
			Entries: []flow.Entry{{Field: "name", Value: "Zoë"}},
		}
	}
	young, old := conversation(flow.Asked, time.Hour), conversation(flow.Locked, 0)
	topic, ended := conversation(flow.Confirmed, 0), conversation(flow.Declined, 0)
	for _, tt := range []struct {
		name          string
		topic         uuid.UUID
		conversations []flow.Conversation
	}{
		{"nothing", uuid.Nil, nil},
		{"two open ones, the younger first", uuid.Nil, []flow.Conversation{young, old}},
		{"the topic before the open, and another that ended", topic.ID, []flow.Conversation{topic, ended, young, old}},
		{"a topic that is still open", old.ID, []flow.Conversation{young, old}},
		{"a topic that is not listed", topic.ID, []flow.Conversation{young, old}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behind := flowtest.NewLedger()
			first := flow.Line{LineID: lineID(1), Conversations: []flow.Conversation{topic, ended}}
			line := saved(t, behind, first)
			line.Topic, line.Conversations, line.Texts = tt.topic, tt.conversations, flow.Recent{noon}
			c := Cached(behind, 10, 0)
			saved(t, c, line)
			want := lineOf(t, behind, lineID(1))
			if diff := cmp.Diff(want, lineOf(t, c, lineID(1)), flowtest.SameRows); diff != "" {
				t.Errorf("kept (-as loaded +as kept):\n%s", diff)
			}
		})
	}
}

func TestCacheIsAsLargeAsAskedFor(t *testing.T) {
	for _, tt := range []struct{ size, most int }{{-1, 1}, {0, 1}, {1, 1}, {2, 2}, {33, 33}, {100, 100}} {
		c := Cached(flowtest.NewLedger(), tt.size, 0)
		for n := range 1000 {
			saved(t, c, flow.Line{LineID: lineID(n)})
		}
		if c.Len() != tt.most {
			t.Errorf("a cache of %d keeps %d of 1000 lines, want %d", tt.size, c.Len(), tt.most)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	behind := &spy{Ledger: flowtest.NewLedger()}
	c := Cached(behind, 100, time.Minute)
	var now time.Duration
	c.Age = func() time.Duration { return now }
	for n := range 3 {
		saved(t, c, flow.Line{LineID: lineID(n)})
	}
	now = time.Minute - 1
	saved(t, c, lineOf(t, c, lineID(0))) // for a minute more
	lineOf(t, c, lineID(1))              // which is no reason to keep it longer
	if n := behind.reads.Load(); n != 0 {
		t.Errorf("within its time, a line was read %d times", n)
	}
	now = time.Minute
	lineOf(t, c, lineID(0))
	lineOf(t, c, lineID(1))
	if n := behind.reads.Load(); n != 1 {
		t.Errorf("after the time of one of two, they were read %d times, want 1", n)
	}
	for range maxShards {
		c.Sweep()
	}
	if n := c.Len(); n != 2 {
		t.Errorf("swept, it keeps %d lines, want the 2 whose time is not over", n)
	}
}

// An lru does what the plain one does that keeps a list, oldest use first.
func TestLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ttl = 10
		most := rapid.IntRange(1, 4).Draw(t, "most")
		type plain struct {
			key  uint64
			line flow.Packed
			kept time.Duration
		}
		var now time.Duration
		var list []plain
		l := newLRU(most, ttl)
		find := func(key uint64) int {
			return slices.IndexFunc(list, func(p plain) bool { return p.key == key && now-p.kept < ttl })
		}
		forget := func(key uint64) { list = slices.DeleteFunc(list, func(p plain) bool { return p.key == key }) }
		key := func() uint64 { return rapid.Uint64Range(1, 6).Draw(t, "key") }
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, 6).Draw(t, "passes")) },
			"keep": func(t *rapid.T) {
				k, line := key(), flow.Packed(rapid.StringN(1, 3, -1).Draw(t, "line"))
				l.keep(k, line, now)
				forget(k)
				if len(list) == most {
					list = list[1:]
				}
				list = append(list, plain{k, line, now})
			},
			"get": func(t *rapid.T) {
				k := key()
				line, ok := l.get(k, now)
				i := find(k)
				if ok != (i >= 0) || ok && line != list[i].line {
					t.Fatalf("get %d is %q, %v, of %v at %d", k, line, ok, list, now)
				}
				if i >= 0 {
					used := list[i]
					forget(k)
					list = append(list, used)
				} else {
					forget(k) // whose time is over
				}
			},
			"remove": func(t *rapid.T) {
				k := key()
				l.remove(k)
				forget(k)
			},
			"sweep": func(*rapid.T) {
				l.sweep(now)
				list = slices.DeleteFunc(list, func(p plain) bool { return now-p.kept >= ttl })
			},
			"": func(t *rapid.T) {
				if l.len() != len(list) {
					t.Fatalf("it keeps %d, want %v", l.len(), list)
				}
				for k := range uint64(8) {
					line, ok := l.peek(k, now)
					if i := find(k); ok != (i >= 0) || ok && line != list[i].line {
						t.Fatalf("peek %d is %q, %v, of %v at %d", k, line, ok, list, now)
					}
				}
				if len(l.slots) > most+1 {
					t.Fatalf("%d slots for %d lines", len(l.slots), most)
				}
			},
		})
	})
}

// Readers and savers at once, on a cache too small for them: whatever Line
// says was true once, and versions never go back for who asks one shard.
func TestCacheUnderARace(t *testing.T) {
	c := Cached(flowtest.NewLedger(), 100, 0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var last int64
			for range 300 {
				line, err := c.Line(t.Context(), lineID(1))
				if err != nil {
					t.Errorf("Line: %v", err)
					return
				}
				if int64(line.Misses) != line.Version {
					t.Errorf("version %d has %d misses", line.Version, line.Misses)
				}
				line.Misses++
				err = c.Save(t.Context(), flow.Change{Lines: []flow.Line{line}})
				switch {
				case errors.Is(err, flow.ErrStale):
				case err != nil:
					t.Errorf("Save: %v", err)
				case line.Version < last:
					t.Errorf("version %d was saved after %d", line.Version, last)
				default:
					last = line.Version
				}
			}
		})
	}
	all.Wait()
}
