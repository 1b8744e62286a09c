package flow

import (
	"sync"

	"github.com/google/uuid"
)

// followers wakes those who wait for an order to change in this process. It
// carries no news, only the hint to look: what is true stands in the ledger.
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

// awaited are the texts that an asker waits for Twilio's answer to.
type awaited struct {
	mu sync.Mutex
	of map[uuid.UUID]chan Message
}

// add awaits a text of that id: from before it is handed over until its asker
// is done.
func (a *awaited) add(id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[uuid.UUID]chan Message)
	}
	a.of[id] = make(chan Message, 1)
}

// news returns where the text will come, once something became of it, and what
// ends the waiting.
func (a *awaited) news(id uuid.UUID) (<-chan Message, func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of[id], func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.of, id)
	}
}

// tell hands m to who awaits it.
func (a *awaited) tell(m Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.of[m.ID] <- m: // which is nil and never ready, if nobody does
	default:
	}
}
