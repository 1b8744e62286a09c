package phonebooth

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// A text's life: accepted or scheduled if a Messaging Service sends it, then
// queued, sent, and delivered; or on the way failed (it never left) or
// undelivered (it left and did not arrive). Whoever made it was told its first
// status; each one after it is reported to its callback.

// launch puts m, new and remembered, on its way. The caller holds the lock,
// as of all below.
func (b *Booth) launch(m *message) {
	switch m.status {
	case scheduled:
		b.later(m.sendAt, func(context.Context) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if m.status == scheduled { // not canceled
				b.enqueue(m)
			}
		})
	case accepted:
		b.later(b.now(), func(context.Context) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.enqueue(m)
		})
	default:
		b.enqueue(m)
	}
}

// enqueue gives m to its sender's queue, and settles when it will leave it:
// after all before it, after what a fault holds it, never after it expired.
func (b *Booth) enqueue(m *message) {
	if m.status != queued {
		m.is(queued, b.now())
		b.report(m)
		b.changed()
	}
	fate := b.strikeFate(m.to)
	switch {
	case m.service != "" && b.blocked(m.from, m.to):
		b.fail(m, b.now().Add(b.sendDelay()), 21610)
		return
	case m.service != "" && b.overflows(m.from, m.segments):
		b.fail(m, b.now().Add(b.sendDelay()), 30001)
		return
	case fate.status == failed:
		b.fail(m, b.now().Add(b.sendDelay()), fate.code)
		return
	}
	leaves := b.queue(m.from, m.segments).Add(fate.hold + b.sendDelay())
	if leaves.After(m.expires) {
		b.fail(m, m.expires, 30001)
		return
	}
	b.later(leaves, func(context.Context) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.send(m, fate)
	})
}

// fail lets m, still queued, come to nothing at that time.
func (b *Booth) fail(m *message, at time.Time, code int) {
	b.later(at, func(context.Context) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.end(m, failed, code)
	})
}

func (b *Booth) sendDelay() time.Duration { return max(b.cfg.SendDelay, 0) }

// send lets m leave, to arrive or not.
func (b *Booth) send(m *message, fate fate) {
	now := b.now()
	m.sent = now
	m.is(sent, now)
	b.report(m)
	b.changed()
	if fate.status == sent {
		return // and nothing is heard of it again
	}
	b.later(now.Add(max(b.cfg.DeliverDelay, 0)), func(context.Context) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if fate.status == undelivered {
			b.end(m, undelivered, fate.code)
			return
		}
		b.end(m, delivered, 0)
	})
}

// end is the last that becomes of m.
func (b *Booth) end(m *message, status string, code int) {
	m.code = code
	m.is(status, b.now())
	b.report(m)
	b.changed()
}

// queue takes a place in number's queue for a text of n segments, and is when
// its turn comes. A queue is no more than the time at which it will be empty.
func (b *Booth) queue(number string, n int) time.Time {
	turn := b.now()
	if b.cfg.MPS <= 0 {
		return turn
	}
	if busy := b.queues[number]; busy.After(turn) {
		turn = busy
	}
	b.queues[number] = turn.Add(time.Duration(float64(n) / b.cfg.MPS * float64(time.Second)))
	return turn
}

// overflows reports whether number's queue has no room for n segments more.
func (b *Booth) overflows(number string, n int) bool {
	if b.cfg.MPS <= 0 {
		return false
	}
	takes := time.Duration(float64(n) / b.cfg.MPS * float64(time.Second))
	return b.queues[number].Add(takes).Sub(b.now()) > maxQueue
}

// report posts m's status to its callback, as the faults of the day will have
// it: not at all, twice, late, or after what came later.
func (b *Booth) report(m *message) {
	if m.callback == "" {
		return
	}
	h := hook{kind: "status", method: "POST", url: m.callback, sid: m.sid, to: m.to, params: b.receipt(m)}
	post := func(ctx context.Context) { b.notify(ctx, h) }
	for _, delay := range b.strikeReceipt(m.to, m.over()) {
		b.later(b.now().Add(delay), post)
	}
}

// receipt is what a status callback says of m.
func (b *Booth) receipt(m *message) url.Values {
	v := url.Values{
		"AccountSid":    {b.cfg.AccountSid},
		"ApiVersion":    {apiVersion},
		"From":          {m.from},
		"To":            {m.to},
		"MessageSid":    {m.sid},
		"MessageStatus": {m.status},
		"SmsSid":        {m.sid},
		"SmsStatus":     {m.status},
	}
	if m.service != "" {
		v.Set("MessagingServiceSid", m.service)
	}
	if m.code != 0 {
		v.Set("ErrorCode", strconv.Itoa(m.code))
	}
	if m.status == delivered || m.status == undelivered {
		v.Set("RawDlrDoneDate", m.updated.UTC().Format("0601021504"))
	}
	return v
}

// notify posts a receipt. What is answered to it matters to the debugger only.
func (b *Booth) notify(ctx context.Context, h hook) {
	a := b.call(ctx, h)
	if a.code != 0 {
		b.trouble(a.code, h.sid, h.url, a.problem)
	}
}
