package ledger

import (
	"time"

	"github.com/countersign/countersign/flow"
)

// An lru keeps lines by key, up to so many: for one more, the one that was used
// least recently goes. It is not for use by several at once.
//
// Each line is one pointer. The garbage collector follows every pointer of a
// hundred thousand lines in each of its cycles, whatever the requests of that
// cycle were about, and of the seven that a list and maps of entries took for a
// line it made a seventh of all that the processor did.
type lru struct {
	most  int
	ttl   time.Duration // 0: a line does not go by time
	index map[uint64]int32
	// slots are a ring by use: the newer of the first, which holds no line, is
	// the one that is next to go, and the older of it the last one used.
	slots []slot
	free  int32 // the first of those that hold nothing, by older; 0 if there is none
}

type slot struct {
	key          uint64
	line         flow.Packed
	kept         time.Duration // when, on the clock of who keeps
	newer, older int32
}

func newLRU(most int, ttl time.Duration) lru {
	return lru{most: most, ttl: ttl, index: map[uint64]int32{}, slots: make([]slot, 1)}
}

// len counts the lines, those too whose time is over.
func (l *lru) len() int { return len(l.index) }

// get uses a line, if it is there and its time is not over by now.
func (l *lru) get(key uint64, now time.Duration) (flow.Packed, bool) {
	at, ok := l.index[key]
	switch {
	case !ok:
		return "", false
	case l.over(at, now):
		l.drop(at)
		return "", false
	}
	l.unlink(at)
	l.link(at)
	return l.slots[at].line, true
}

// peek is get, but no use of the line.
func (l *lru) peek(key uint64, now time.Duration) (flow.Packed, bool) {
	at, ok := l.index[key]
	if !ok || l.over(at, now) {
		return "", false
	}
	return l.slots[at].line, true
}

// keep keeps a line from now on.
func (l *lru) keep(key uint64, line flow.Packed, now time.Duration) {
	l.remove(key)
	if len(l.index) == l.most {
		l.drop(l.slots[0].newer)
	}
	at := l.free
	if at != 0 {
		l.free = l.slots[at].older
	} else {
		at = int32(len(l.slots)) //nolint:gosec // a cache is not of billions
		l.slots = append(l.slots, slot{})
	}
	l.slots[at] = slot{key: key, line: line, kept: now}
	l.index[key] = at
	l.link(at)
}

func (l *lru) remove(key uint64) {
	if at, ok := l.index[key]; ok {
		l.drop(at)
	}
}

// sweep drops the lines whose time is over by now.
func (l *lru) sweep(now time.Duration) {
	if l.ttl == 0 {
		return
	}
	for _, at := range l.index {
		if l.over(at, now) {
			l.drop(at)
		}
	}
}

func (l *lru) over(at int32, now time.Duration) bool {
	return l.ttl > 0 && now-l.slots[at].kept >= l.ttl
}

func (l *lru) drop(at int32) {
	l.unlink(at)
	delete(l.index, l.slots[at].key)
	l.slots[at] = slot{older: l.free}
	l.free = at
}

// link puts a slot into the ring as the last one used.
func (l *lru) link(at int32) {
	last := l.slots[0].older
	l.slots[at].older, l.slots[at].newer = last, 0
	l.slots[last].newer, l.slots[0].older = at, at
}

func (l *lru) unlink(at int32) {
	s := l.slots[at]
	l.slots[s.older].newer, l.slots[s.newer].older = s.newer, s.older
}
