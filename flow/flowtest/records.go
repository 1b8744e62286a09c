package flowtest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

var _ flow.Records = (*Ledger)(nil)

// Orders implements [flow.Records].
func (l *Ledger) Orders(ctx context.Context, s flow.Search) (flow.Page[flow.Conversation], error) {
	if err := ctx.Err(); err != nil {
		return flow.Page[flow.Conversation]{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []flow.Conversation
	for _, c := range l.conversations {
		all = append(all, keepConversation(c))
	}
	return search(all, s,
		func(c flow.Conversation) uuid.UUID { return c.ID },
		func(c flow.Conversation) bool {
			return (s.State == "" || c.State == s.State) && (s.Number == "" || c.Line.Number == s.Number) &&
				(s.Reference == "" || strings.EqualFold(c.Named.Reference, s.Reference))
		}), nil
}

// Failing implements [flow.Records].
func (l *Ledger) Failing(ctx context.Context, s flow.Search) (flow.Page[flow.Message], error) {
	if err := ctx.Err(); err != nil {
		return flow.Page[flow.Message]{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return search(l.sorted(), s,
		func(m flow.Message) uuid.UUID { return m.ID },
		func(m flow.Message) bool {
			code := m.Code
			if code == 0 {
				code = flow.NoCode
			}
			return m.Failing() && (s.Code == 0 || s.Code == code)
		}), nil
}

// search lists the rows that fit, newest first.
func search[T any](rows []T, s flow.Search, id func(T) uuid.UUID, fits func(T) bool) flow.Page[T] {
	slices.SortFunc(rows, func(a, b T) int { return older(id(b), id(a)) })
	var found flow.Page[T]
	looked := 0
	for _, row := range rows {
		switch {
		case s.Before != uuid.Nil && older(id(row), s.Before) >= 0:
		case looked == cmp.Or(s.Depth, flow.SearchDepth):
			return found
		case fits(row) && len(found.Rows) == cmp.Or(s.Limit, flow.SearchLimit):
			return found
		default:
			looked++
			found.Next = id(row)
			if fits(row) {
				found.Rows = append(found.Rows, row)
			}
		}
	}
	found.Next = uuid.Nil
	return found
}

// older compares ids, and with that when they were made.
func older(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// Timeline implements [flow.Records].
func (l *Ledger) Timeline(ctx context.Context, order uuid.UUID) (flow.Timeline, error) {
	if err := ctx.Err(); err != nil {
		return flow.Timeline{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.conversations[order]
	if !ok {
		return flow.Timeline{}, flow.ErrNotFound
	}
	t := flow.Timeline{Order: keepConversation(c)}
	for _, h := range l.happenings {
		if h.Order == order {
			h.At = ms(h.At)
			t.Events = append(t.Events, h)
		}
	}
	numbers := map[flow.Number]bool{c.Line.Number: true}
	for _, m := range l.sorted() {
		if m.Order == order {
			t.Texts = append(t.Texts, m)
			numbers[m.Line.Number] = true
		}
	}
	seen := map[flow.Receipt]bool{}
	for _, r := range l.receipts {
		r.At = ms(r.At)
		told := flow.Receipt{Message: r.Message, SID: r.SID, Status: r.Status}
		if m, ok := l.messages[r.Message]; ok && m.Order == order && !seen[told] {
			seen[told] = true
			t.Receipts = append(t.Receipts, r)
		}
	}
	from, to := t.Order.Span()
	for _, in := range l.inbound {
		if numbers[in.Line.Number] && (in.Order == uuid.Nil || in.Order == order) &&
			!in.At.Before(from) && (to.IsZero() || in.At.Before(to)) {
			t.Replies = append(t.Replies, keepInbound(in))
		}
	}
	slices.SortFunc(t.Receipts, func(a, b flow.Receipt) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Status, b.Status))
	})
	slices.SortFunc(t.Replies, func(a, b flow.Inbound) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.SID, b.SID))
	})
	t.Events, t.Texts = newest(t.Events), newest(t.Texts)
	t.Receipts, t.Replies = newest(t.Receipts), newest(t.Replies)
	return t, nil
}

// newest leaves out what is too much for a timeline.
func newest[T any](rows []T) []T { return rows[max(0, len(rows)-flow.TimelineLimit):] }

// Outbox implements [flow.Records].
func (l *Ledger) Outbox(ctx context.Context, limit int) ([]flow.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.DeleteFunc(l.sorted(), func(m flow.Message) bool {
		return m.State != flow.Leased && m.State != flow.Waiting
	})
	slices.SortStableFunc(out, func(a, b flow.Message) int { return a.Due.Compare(b.Due) })
	return out[:max(0, min(limit, len(out)))], nil
}

// Failures implements [flow.Records].
func (l *Ledger) Failures(ctx context.Context, since time.Time, depth int) ([]flow.Failure, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	by := map[int]*flow.Failure{}
	looked := 0
	for _, m := range slices.Backward(l.sorted()) {
		if looked == depth || born(m.ID).Before(ms(since)) {
			break
		}
		looked++
		if !m.Failing() {
			continue
		}
		if by[m.Code] == nil {
			by[m.Code] = &flow.Failure{Code: m.Code}
		}
		f := by[m.Code]
		f.N++
		if m.Created.After(f.Last) {
			f.Last = m.Created
		}
	}
	var failures []flow.Failure
	for _, f := range by {
		failures = append(failures, *f)
	}
	slices.SortFunc(failures, func(a, b flow.Failure) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Code, b.Code))
	})
	return failures, nil
}

// Steps implements [flow.Records].
func (l *Ledger) Steps(ctx context.Context, since time.Time, depth int) ([]flow.Step, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	recent := slices.DeleteFunc(slices.Clone(l.happenings), func(h flow.Happening) bool {
		return born(h.Order).Before(ms(since))
	})
	slices.SortStableFunc(recent, func(a, b flow.Happening) int { return bytes.Compare(a.Order[:], b.Order[:]) })
	counts := map[flow.Step]int{}
	for _, h := range recent[max(0, len(recent)-depth):] {
		counts[flow.Step{From: h.From, To: h.To, Event: h.Event}]++
	}
	var steps []flow.Step
	for step, n := range counts {
		step.N = n
		steps = append(steps, step)
	}
	return steps, nil
}

// born is the time in a UUIDv7.
func born(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// Hurry implements [flow.Records].
func (l *Ledger) Hurry(ctx context.Context, message uuid.UUID, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.messages[message]
	if !ok || m.State != flow.Waiting || m.Unknown > 0 || !m.Due.After(now) {
		return flow.ErrStale
	}
	m.Due = ms(now)
	l.messages[message] = m
	return nil
}
