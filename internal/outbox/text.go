package outbox

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/countersign/countersign/flow"
)

const (
	// pause is how long a text waits that could not be rendered, most likely
	// for want of the database.
	pause = 5 * time.Second
	// skew is what our clock may be ahead of Twilio's when we look for a text
	// not older than its first POST.
	skew = 5 * time.Second
	// Between tries to settle, from and to.
	firstWait, longestWait = 50 * time.Millisecond, time.Second
)

// margin is what must be left of a lease after a POST, to settle it.
func (o *Outbox) margin() time.Duration { return (o.Lease - o.Deadline) / 3 }

// text brings one message as far as it gets under this lease.
func (o *Outbox) text(ctx context.Context, m flow.Message) {
	ctx, done := o.Trace(ctx, m)
	defer done()
	m, text, ok := o.prepare(ctx, m)
	if !ok {
		return
	}
	since := o.now()
	if m.Unknown > 0 {
		if since = m.Attempted; since.IsZero() {
			since = m.Created
		}
		if o.look(ctx, m, text, since) {
			return
		}
		// That took up to a deadline, in which the order may have ended, or
		// moved to another number.
		if m, text, ok = o.prepare(ctx, m); !ok {
			return
		}
	}
	sent := o.post(ctx, m, text)
	if m.Unknown == 0 {
		since = sent.Began
	}
	sent.Began = since
	o.settle(ctx, m, sent)
}

// prepare renders m under a lease that is good for one more request to Twilio.
// Nothing comes between the look at the order and the request: a lease that
// the look used up is renewed, and the order looked at again. A database that
// takes that long thrice gets m back.
func (o *Outbox) prepare(ctx context.Context, m flow.Message) (_ flow.Message, text flow.Text, ok bool) {
	for range 3 {
		if m, ok = o.hold(ctx, m); !ok {
			return m, text, false
		}
		if text, ok = o.render(ctx, m); !ok || o.good(m) {
			return m, text, ok
		}
	}
	o.Log.WarnContext(ctx, "the ledger is too slow to text by", "message", m.ID)
	o.giveBack(ctx, m, pause)
	return m, text, false
}

// good reports whether the lease on m lasts for one more request to Twilio and
// for settling it.
func (o *Outbox) good(m flow.Message) bool { return m.Due.Sub(o.now()) >= o.Deadline+o.margin() }

// hold makes sure that the lease on m is [Outbox.good], and renews it if not. It
// reports whether m is still ours.
func (o *Outbox) hold(ctx context.Context, m flow.Message) (flow.Message, bool) {
	if o.good(m) {
		return m, true
	}
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	m.Due = o.now().Add(o.Lease)
	switch err := o.save(ctx, m, flow.Leased, m.Due); {
	case errors.Is(err, flow.ErrStale):
		o.askers.Remove(m.ID)
		return m, false // somebody else's, or settled by a receipt
	case err != nil:
		o.Log.ErrorContext(ctx, "cannot renew the lease on a text", "message", m.ID, "err", err)
		return m, false
	}
	return m, true
}

// render asks the clerk for the text, and reports whether there is one to send.
func (o *Outbox) render(ctx context.Context, m flow.Message) (flow.Text, bool) {
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	o.At(BeforeRender, m)
	text, err := o.Clerk.Text(ctx, m)
	switch {
	case err == nil:
		return text, true
	case errors.Is(err, flow.ErrPutOff):
	case errors.Is(err, flow.ErrDropped), errors.Is(err, flow.ErrStale):
		o.askers.Remove(m.ID)
	default:
		o.Log.ErrorContext(ctx, "cannot render a text", "message", m.ID, "kind", m.Kind, "err", err)
		o.giveBack(context.WithoutCancel(ctx), m, pause)
	}
	return text, false
}

// look looks for a text that may have reached Twilio since then, and reports
// whether that settled m, one way or the other: found, it is adopted; and
// unless it can be looked for, it is not sent. It is not waited for either:
// when an unknown outcome is due again is the clerk's to say, and Twilio has
// had the time since to list it.
func (o *Outbox) look(ctx context.Context, m flow.Message, text flow.Text, since time.Time) bool {
	segments, _ := flow.Segments(text.Body)
	within, cancel := context.WithTimeout(ctx, o.within(m))
	defer cancel()
	found, err := o.Sender.Find(within, text, since.Add(-skew))
	if err != nil {
		o.settle(ctx, m, flow.Sent{Err: unknown(err), Began: since})
		return true
	}
	for _, f := range found {
		if !same(f.Body, text.Body) {
			continue
		}
		claimed := o.settle(ctx, m, flow.Sent{SID: f.SID, Adopted: true, Began: since, Segments: segments})
		if !claimed {
			return true
		}
	}
	if m.Unknown >= flow.MaxUnknown {
		o.settle(ctx, m, flow.Sent{Err: unknown(errLost), Lost: true, Began: since})
		return true
	}
	return false
}

var errLost = errors.New("handed over too often without an outcome")

// same reports whether Twilio's body is that of our text: whether it ends with
// the same line. That line has the PIN, and whole bodies would not do: Twilio
// puts a sentence before those of trial accounts, and a restart may have
// brought another catalogue. The PIN is as good as a name for a text, as a
// resend has the same but a sid of its own, which another message can claim.
//
// Bodies are Twilio's and ours, both of which know the PIN: that the comparison
// takes longer for likelier ones tells nobody anything. A body that Twilio was
// told not to keep is empty and resembles nothing. Then the text is sent once
// more, with the same PIN, which is the lesser evil.
func same(theirs, ours string) bool {
	ours = strings.TrimSpace(ours)
	line := ours[strings.LastIndexByte(ours, '\n')+1:]
	return line != "" && strings.HasSuffix(strings.TrimSpace(theirs), line)
}

// unknown says that err leaves the outcome as unknown as it was.
func unknown(err error) *flow.SendError {
	u := &flow.SendError{Class: flow.ClassUnknown, Err: err}
	var e *flow.SendError
	if errors.As(err, &e) {
		u.Code, u.RetryAfter, u.Err = e.Code, e.RetryAfter, e.Err
	}
	return u
}

// post hands the text to Twilio.
func (o *Outbox) post(ctx context.Context, m flow.Message, text flow.Text) flow.Sent {
	segments, _ := flow.Segments(text.Body)
	o.At(BeforePost, m)
	within, cancel := context.WithTimeout(ctx, o.within(m))
	defer cancel()
	start := o.Now()
	sid, err := o.Sender.Send(within, text)
	took := o.Now().Sub(start)
	o.At(AfterPost, m)
	return flow.Sent{
		SID: sid, Err: err, Segments: segments,
		Began: start.UTC().Truncate(time.Millisecond), Took: took, Posted: true,
	}
}

// within is how long a request to Twilio about m may take: it ends before the
// lease does, whatever the clock did since that was last looked at.
func (o *Outbox) within(m flow.Message) time.Duration {
	return min(o.Deadline, m.Due.Sub(o.now())-o.margin())
}

// settle has the clerk write what became of m, and tries again while the lease
// lasts: what is not written by then has to be looked for. It reports whether
// the sid is another message's, and m still unsettled.
func (o *Outbox) settle(ctx context.Context, m flow.Message, s flow.Sent) (claimed bool) {
	o.At(BeforeSettle, m)
	// At least the margin, if the clock jumped: whether the lease is lost is
	// for the ledger to say.
	ctx, cancel := context.WithTimeout(ctx, max(m.Due.Sub(o.now()), o.margin()))
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := o.Clerk.Sent(ctx, m, s)
		switch {
		case err == nil:
			if s.Final() {
				o.askers.Remove(m.ID)
			}
			return false
		case errors.Is(err, flow.ErrClaimed):
			return true
		case errors.Is(err, flow.ErrStale):
			// A receipt was faster, or another process has it by now.
			o.askers.Remove(m.ID)
			o.Log.InfoContext(ctx, "a text was settled by others", "message", m.ID, "sid", s.SID)
			return false
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			o.Log.ErrorContext(ctx, "cannot settle a text", "message", m.ID, "sid", s.SID, "err", err)
			return false
		}
	}
}
