package flowtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A Ledger is a [flow.Ledger] in memory. One mutex makes each call atomic; a
// change is checked whole before any of it is written.
//
// Like the databases it keeps times in whole milliseconds UTC, and never a
// conversation's derived PIN.
type Ledger struct {
	mu            sync.Mutex
	lines         map[flow.LineID]flow.Line // without Conversations: those are below
	conversations map[uuid.UUID]flow.Conversation
	messages      map[uuid.UUID]flow.Message
	inbound       map[string]flow.Inbound
	totals        map[string]int
	receipts      []flow.Receipt
	happenings    []flow.Happening
	failing       *failing
}

// Failing is how the next save fails that nothing else is wrong with.
type failing struct {
	err     error
	written bool
}

var _ flow.Ledger = (*Ledger)(nil)

// NewLedger returns an empty one.
func NewLedger() *Ledger {
	return &Ledger{
		lines:         map[flow.LineID]flow.Line{},
		conversations: map[uuid.UUID]flow.Conversation{},
		messages:      map[uuid.UUID]flow.Message{},
		inbound:       map[string]flow.Inbound{},
		totals:        map[string]int{},
	}
}

// Line implements [flow.Ledger]; it is never stale.
func (l *Ledger) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	return l.Reload(ctx, id)
}

// Reload implements [flow.Ledger].
func (l *Ledger) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	if err := ctx.Err(); err != nil {
		return flow.Line{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.load(id), nil
}

// Lines implements [flow.Ledger].
func (l *Ledger) Lines(ctx context.Context, ids []flow.LineID) ([]flow.Line, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []flow.Line
	for _, id := range ids {
		lines = append(lines, l.load(id))
	}
	return lines, nil
}

func (l *Ledger) load(id flow.LineID) flow.Line {
	line, ok := l.lines[id]
	if !ok {
		return flow.Line{LineID: id}
	}
	line = keepLine(line) // a copy
	line.Conversations = l.open(id)
	topic, ok := l.conversations[line.Topic]
	if ok && topic.Line == id && !topic.State.Open() {
		line.Conversations = append(line.Conversations, keepConversation(topic))
	}
	return line
}

// open returns the line's open conversations, oldest first.
func (l *Ledger) open(id flow.LineID) []flow.Conversation {
	var open []flow.Conversation
	for _, c := range l.conversations {
		if c.Line == id && c.State.Open() {
			open = append(open, keepConversation(c))
		}
	}
	slices.SortFunc(open, func(a, b flow.Conversation) int {
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return open
}

// Conversation implements [flow.Ledger].
func (l *Ledger) Conversation(ctx context.Context, order uuid.UUID) (flow.Conversation, error) {
	return find(ctx, l, l.conversations, order, keepConversation)
}

// Message implements [flow.Ledger].
func (l *Ledger) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	return find(ctx, l, l.messages, id, keepMessage)
}

// Heard implements [flow.Ledger].
func (l *Ledger) Heard(ctx context.Context, _ flow.Number, sid string) (flow.Inbound, error) {
	return find(ctx, l, l.inbound, sid, keepInbound)
}

// find returns a copy of what is in rows under key.
func find[K comparable, V any](
	ctx context.Context, l *Ledger, rows map[K]V, key K, keep func(V) V,
) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v, ok := rows[key]; ok {
		return keep(v), nil
	}
	return none, flow.ErrNotFound
}

// MessageBySID implements [flow.Ledger].
func (l *Ledger) MessageBySID(ctx context.Context, sid string, since time.Time) (flow.Message, error) {
	if err := ctx.Err(); err != nil {
		return flow.Message{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.sorted() {
		if sid != "" && m.SID == sid && m.Created.After(since) {
			return m, nil
		}
	}
	return flow.Message{}, flow.ErrNotFound
}

// Save implements [flow.Ledger].
func (l *Ledger) Save(ctx context.Context, ch flow.Change) error {
	if err := cmp.Or(ctx.Err(), ch.Validate()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ch); err != nil {
		return err
	}
	fails := l.failing
	l.failing = nil
	if fails != nil && !fails.written {
		return fails.err
	}
	l.write(ch)
	if fails != nil {
		return fails.err
	}
	return nil
}

// Refuse makes the next save, if nothing else is wrong with it, fail with err,
// and write nothing.
func (l *Ledger) Refuse(err error) { l.fail(failing{err: err}) }

// Lose makes the next save, if nothing else is wrong with it, be written and
// yet fail with err, as if the answer to a commit was lost.
func (l *Ledger) Lose(err error) { l.fail(failing{err: err, written: true}) }

func (l *Ledger) fail(f failing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = &f
}

// check refuses ch, in the port's order of precedence, and after that what
// only a bug can ask for.
func (l *Ledger) check(ch flow.Change) error {
	if in := ch.Inbound; in != nil {
		if _, ok := l.inbound[in.SID]; ok {
			return flow.ErrHeard
		}
	}
	for _, line := range ch.Lines {
		if l.lines[line.LineID].Version != line.Version {
			return flow.ErrStale
		}
	}
	if s := ch.Settle; s != nil {
		m, ok := l.messages[s.Message]
		if !ok || m.State != flow.Leased || m.Attempt != s.Attempt {
			return flow.ErrStale
		}
		for _, other := range l.messages {
			if s.Adopted && s.SID != "" && other.ID != s.Message && other.SID == s.SID {
				return flow.ErrClaimed
			}
		}
	}
	spent := map[string]int{}
	for _, s := range ch.Spend {
		spent[s.Total] += s.N
		if l.totals[s.Total]+spent[s.Total] > s.Limit {
			return flow.ErrSpent
		}
	}
	return l.sound(ch)
}

// sound refuses a change that would break what a ledger is.
func (l *Ledger) sound(ch flow.Change) error {
	saved := map[flow.LineID]bool{}
	listed := map[uuid.UUID]bool{}
	for _, line := range ch.Lines {
		if saved[line.LineID] {
			return errors.New("save: a line is listed twice")
		}
		saved[line.LineID] = true
		for _, c := range line.Conversations {
			if listed[c.ID] {
				return fmt.Errorf("save: order %s is listed twice", c.ID)
			}
			listed[c.ID] = true
		}
	}
	for id := range listed {
		if was, ok := l.conversations[id]; ok && !saved[was.Line] {
			return fmt.Errorf("save: order %s leaves a line that is not saved with it", id)
		}
	}
	for id := range saved {
		for _, c := range l.open(id) {
			if !listed[c.ID] {
				return fmt.Errorf("save: open order %s is left out of its line", c.ID)
			}
		}
	}
	for _, h := range ch.Events {
		if _, ok := l.conversations[h.Order]; !ok && !written(ch.Lines, h.Order) {
			return fmt.Errorf("save: write event: there is no order %s", h.Order)
		}
	}
	fresh := map[uuid.UUID]bool{}
	for _, m := range ch.Messages {
		if _, ok := l.messages[m.ID]; ok || fresh[m.ID] {
			return fmt.Errorf("save: message %s exists", m.ID)
		}
		fresh[m.ID] = true
	}
	return nil
}

// written reports whether that order is written with one of lines.
func written(lines []flow.Line, order uuid.UUID) bool {
	return slices.ContainsFunc(lines, func(l flow.Line) bool {
		c := l.Find(order)
		return c != nil && !c.Unchanged
	})
}

// write does what check has let through.
func (l *Ledger) write(ch flow.Change) {
	for _, line := range ch.Lines {
		for _, c := range line.Conversations {
			if c.Unchanged {
				continue
			}
			c.Line = line.LineID // where it is listed is where it is
			l.conversations[c.ID] = keepConversation(c)
		}
		line.Version++
		l.lines[line.LineID] = keepLine(line)
	}
	for _, m := range ch.Messages {
		l.messages[m.ID] = keepMessage(m)
	}
	if s := ch.Settle; s != nil {
		m := l.messages[s.Message]
		m.State, m.Unknown, m.Due, m.Code = s.State, s.Unknown, s.Due, s.Code
		if m.Attempted.IsZero() {
			m.Attempted = s.Attempted
		}
		m.SID = cmp.Or(s.SID, m.SID)
		l.messages[s.Message] = keepMessage(m)
	}
	if in := ch.Inbound; in != nil {
		l.inbound[in.SID] = keepInbound(*in)
	}
	if r := ch.Receipt; r != nil {
		l.receipts = append(l.receipts, *r)
		if m, ok := l.messages[r.Message]; ok {
			l.messages[r.Message] = received(m, *r)
		}
	}
	l.happenings = append(l.happenings, ch.Events...)
	for _, s := range ch.Spend {
		l.totals[s.Total] += s.N
	}
}

// received returns m as receipt r leaves it.
func received(m flow.Message, r flow.Receipt) flow.Message {
	if r.Status.Rank() > m.Status.Rank() {
		m.Status, m.Code = r.Status, r.Code
	}
	if m.State == flow.Leased || m.State == flow.Waiting && m.Unknown > 0 {
		m.State, m.Unknown, m.Due = flow.Accepted, 0, time.Time{}
	}
	m.SID = cmp.Or(m.SID, r.SID)
	return m
}

// Take implements [flow.Ledger].
func (l *Ledger) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []flow.Message
	for _, m := range l.sorted() {
		if (m.State == flow.Leased || m.State == flow.Waiting) && !m.Due.IsZero() && !m.Due.After(now) {
			due = append(due, m)
		}
	}
	slices.SortStableFunc(due, func(a, b flow.Message) int { return a.Due.Compare(b.Due) })
	due = due[:max(0, min(limit, len(due)))]
	for i := range due {
		m := &due[i]
		if m.State == flow.Leased {
			m.Unknown++
		}
		m.State, m.Due = flow.Leased, ms(until)
		m.Attempt++
		l.messages[m.ID] = *m
	}
	return due, nil
}

// sorted returns the messages, oldest first.
func (l *Ledger) sorted() []flow.Message {
	var all []flow.Message
	for _, m := range l.messages {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b flow.Message) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all
}

// Lapsing implements [flow.Ledger].
func (l *Ledger) Lapsing(ctx context.Context, now time.Time, limit int) ([]flow.LineID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	soonest := map[flow.LineID]time.Time{}
	for _, c := range l.conversations {
		if !c.State.Open() || c.Deadline.IsZero() || c.Deadline.After(now) {
			continue
		}
		if first, ok := soonest[c.Line]; !ok || c.Deadline.Before(first) {
			soonest[c.Line] = c.Deadline
		}
	}
	var lines []flow.LineID
	for id := range soonest {
		lines = append(lines, id)
	}
	slices.SortFunc(lines, func(a, b flow.LineID) int {
		return cmp.Or(soonest[a].Compare(soonest[b]),
			cmp.Compare(a.Number, b.Number), cmp.Compare(a.Sender, b.Sender))
	})
	return lines[:max(0, min(limit, len(lines)))], nil
}

// Census implements [flow.Ledger].
func (l *Ledger) Census(ctx context.Context, _ time.Time) (flow.Census, error) {
	if err := ctx.Err(); err != nil {
		return flow.Census{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := flow.Census{
		Open:   map[flow.State]int{flow.Asked: 0, flow.Locked: 0, flow.Unreachable: 0},
		Outbox: map[flow.MessageState]int{flow.Leased: 0, flow.Waiting: 0},
	}
	for _, conversation := range l.conversations {
		if conversation.State.Open() {
			c.Open[conversation.State]++
		}
	}
	for _, m := range l.messages {
		if m.State != flow.Leased && m.State != flow.Waiting {
			continue
		}
		c.Outbox[m.State]++
		if !m.Due.IsZero() && (c.OldestDue.IsZero() || m.Due.Before(c.OldestDue)) {
			c.OldestDue = m.Due
		}
	}
	return c, nil
}

// Ping implements [flow.Ledger].
func (l *Ledger) Ping(ctx context.Context) error { return ctx.Err() }

// Close implements [flow.Ledger]; there is nothing to close.
func (l *Ledger) Close() error { return nil }

// Messages returns all of our texts, oldest first.
func (l *Ledger) Messages() []flow.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sorted()
}

// Receipts returns all receipts, as they came.
func (l *Ledger) Receipts() []flow.Receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.receipts)
}

// Happenings returns an order's history.
func (l *Ledger) Happenings(order uuid.UUID) []flow.Happening {
	l.mu.Lock()
	defer l.mu.Unlock()
	var history []flow.Happening
	for _, h := range l.happenings {
		if h.Order == order {
			history = append(history, h)
		}
	}
	return history
}

// Total returns what was spent of the total of that name.
func (l *Ledger) Total(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals[name]
}
