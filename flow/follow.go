package flow

import (
	"sync"

	"github.com/google/uuid"
)

// followers wakes those who wait for an order or a text of this process to
// change. It carries no news, only the hint to look: what is true stands in
// the ledger.
type followers struct {
	mu sync.Mutex
	of map[uuid.UUID]map[chan struct{}]struct{}
}

// add returns a channel that is sent to after each wake of id, and what ends
// that. Wakes that nobody has read yet run together.
func (f *followers) add(id uuid.UUID) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[uuid.UUID]map[chan struct{}]struct{})
	}
	if f.of[id] == nil {
		f.of[id] = make(map[chan struct{}]struct{})
	}
	f.of[id][ch] = struct{}{}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.of[id], ch)
		if len(f.of[id]) == 0 {
			delete(f.of, id)
		}
	}
}

func (f *followers) wake(id uuid.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.of[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
