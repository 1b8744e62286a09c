package flow

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// A memory is what this process has committed lately, kept to spare it a look
// at the database. It holds what is on our own sender's lines.
type memory struct {
	sender string
	alone  bool                // nobody else writes the ledger
	homes  generations[digits] // by order; it may have moved since
	texts  generations[texted] // by message, where alone
}

// A texted message is one that Twilio has taken. It changes no more but by
// receipts, which come within seconds.
type texted struct {
	order  uuid.UUID
	number digits
	rank   int // of its status
}

// settle remembers where an order is.
func (m *memory) settle(order uuid.UUID, line LineID) {
	if n, ok := m.pack(line); ok {
		m.homes.change(order, func(digits) digits { return n })
	}
}

// home returns the line that an order was on.
func (m *memory) home(order uuid.UUID) (LineID, bool) {
	n, ok := m.homes.get(order)
	return m.unpack(n), ok
}

// text remembers a text that Twilio has taken. Of what is told of its status at
// once, the highest counts, as in the ledger.
func (m *memory) text(t Message) {
	n, ok := m.pack(t.Line)
	if !ok || !m.alone || t.State != Accepted {
		return
	}
	m.texts.change(t.ID, func(was texted) texted {
		is := texted{t.Order, n, t.Status.Rank()}
		if was.order == t.Order {
			is.rank = max(is.rank, was.rank)
		}
		return is
	})
}

// received remembers what a receipt of t has told and done, see [Change].
func (m *memory) received(t Message, told Status) {
	if t.State == Leased || t.State == Waiting && t.Unknown > 0 {
		t.State = Accepted
	}
	t.Status = told
	m.text(t)
}

// forget forgets a text whose receipt may or may not be written.
func (m *memory) forget(text uuid.UUID) { m.texts.forget(text) }

// message returns a text that Twilio has taken, but for what it says.
func (m *memory) message(id uuid.UUID) (Message, bool) {
	t, ok := m.texts.get(id)
	if !ok {
		return Message{}, false
	}
	told := Message{ID: id, Order: t.order, Line: m.unpack(t.number), State: Accepted}
	sec, nsec := id.Time().UnixTime()
	told.Created = time.Unix(sec, nsec).UTC()
	if t.rank >= 0 {
		told.Status = ranked[t.rank]
	}
	return told, true
}

// Digits are a number's, without a pointer for the garbage collector to follow.
type digits uint64

func (m *memory) pack(line LineID) (digits, bool) {
	text, ok := strings.CutPrefix(line.Number.E164(), "+")
	n, err := strconv.ParseUint(text, 10, 64)
	return digits(n), ok && err == nil && line.Sender == m.sender
}

func (m *memory) unpack(n digits) LineID {
	return LineID{Number("+" + strconv.FormatUint(uint64(n), 10)), m.sender}
}

// generation is how many ids generations remember at least, and twice that at
// most.
const generation = 1 << 15

// Generations remember the latest. One that is full takes the place of the one
// before.
type generations[V any] struct {
	mu         sync.Mutex
	young, old map[uuid.UUID]V
}

func (g *generations[V]) get(id uuid.UUID) (V, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.find(id)
}

func (g *generations[V]) find(id uuid.UUID) (V, bool) {
	v, ok := g.young[id]
	if !ok {
		v, ok = g.old[id]
	}
	return v, ok
}

// change remembers what f makes of what was remembered of id, if anything was.
func (g *generations[V]) change(id uuid.UUID, f func(V) V) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, _ := g.find(id)
	if len(g.young) >= generation {
		g.young, g.old = nil, g.young
	}
	if g.young == nil {
		g.young = map[uuid.UUID]V{}
	}
	g.young[id] = f(v)
}

func (g *generations[V]) forget(id uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.young, id)
	delete(g.old, id)
}
