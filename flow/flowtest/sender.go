package flowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/flow"
)

// A Sender is a [flow.Sender] in memory. It takes every text, unless told
// otherwise about the next ones: each of [Sender.Refuse], [Sender.Lose],
// [Sender.Hang] and [Sender.Hold] is about one text, in the order of the calls.
// It is safe for use by many.
type Sender struct {
	// Now is when texts are taken; [time.Now] unless set before use.
	Now func() time.Time

	mu            sync.Mutex
	taken         []Taken
	fates         []fate // of the next texts
	findErr       error
	tried, looked int
}

// A fate is what becomes of a text, which take would take.
type fate func(ctx context.Context, take func() string) (sid string, err error)

// A Taken text is one that Twilio has.
type Taken struct {
	flow.Text
	SID string
	At  time.Time
}

var _ flow.Sender = (*Sender)(nil)

// NewSender returns a sender that has taken nothing yet.
func NewSender() *Sender { return &Sender{Now: time.Now} }

// Send implements [flow.Sender].
func (s *Sender) Send(ctx context.Context, t flow.Text) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", &flow.SendError{Class: flow.ClassRetry, Err: err}
	}
	take := func() string { return s.take(t) }
	s.mu.Lock()
	s.tried++
	meet := fate(func(context.Context, func() string) (string, error) { return take(), nil })
	if len(s.fates) > 0 {
		meet, s.fates = s.fates[0], s.fates[1:]
	}
	s.mu.Unlock()
	return meet(ctx, take)
}

func (s *Sender) take(t flow.Text) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sid := fmt.Sprintf("SM%032x", len(s.taken)+1)
	s.taken = append(s.taken, Taken{Text: t, SID: sid, At: s.Now()})
	return sid
}

// Find implements [flow.Sender].
func (s *Sender) Find(ctx context.Context, t flow.Text, since time.Time) ([]flow.Found, error) {
	if err := ctx.Err(); err != nil {
		return nil, &flow.SendError{Class: flow.ClassUnknown, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked++
	if s.findErr != nil {
		return nil, s.findErr
	}
	var found []flow.Found
	for _, k := range slices.Backward(s.taken) {
		if k.To == t.To && !k.At.Before(since) {
			found = append(found, flow.Found{SID: k.SID, Body: k.Body, Status: flow.StatusQueued, At: k.At})
		}
	}
	return found, nil
}

// Class implements [flow.Sender]; it knows a code of each class.
func (s *Sender) Class(code int) flow.Class {
	class, known := map[int]flow.Class{
		0: flow.ClassNone, 20429: flow.ClassRetry, 30001: flow.ClassRetry,
		21211: flow.ClassNumber, 30006: flow.ClassNumber, 30003: flow.ClassCarrier,
		21610: flow.ClassOptedOut, 21408: flow.ClassCountry, 20003: flow.ClassConfig,
		30450: flow.ClassFraud, 30036: flow.ClassExpired, 21602: flow.ClassBug,
	}[code]
	if !known {
		return flow.ClassCarrier
	}
	return class
}

// Refuse makes the next text be refused with err.
func (s *Sender) Refuse(err *flow.SendError) {
	s.next(func(context.Context, func() string) (string, error) { return "", err })
}

// Lose makes the next text be taken and its answer be lost.
func (s *Sender) Lose() {
	s.next(func(_ context.Context, take func() string) (string, error) {
		take()
		return "", &flow.SendError{Class: flow.ClassUnknown, Err: errors.New("the answer was lost")}
	})
}

// Hang makes the next text be neither taken nor answered until its context
// ends.
func (s *Sender) Hang() {
	s.next(func(ctx context.Context, _ func() string) (string, error) {
		<-ctx.Done()
		return "", &flow.SendError{Class: flow.ClassUnknown, Err: ctx.Err()}
	})
}

// Hold makes the next text wait, until release is called, before it is taken.
// Held is closed once that text has come.
func (s *Sender) Hold() (held <-chan struct{}, release func()) {
	came, let := make(chan struct{}), make(chan struct{})
	s.next(func(ctx context.Context, take func() string) (string, error) {
		close(came)
		select {
		case <-let:
			return take(), nil
		case <-ctx.Done():
			return "", &flow.SendError{Class: flow.ClassUnknown, Err: ctx.Err()}
		}
	})
	return came, sync.OnceFunc(func() { close(let) })
}

func (s *Sender) next(f fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fates = append(s.fates, f)
}

// FailFinds makes every Find fail with err; nil makes them work again.
func (s *Sender) FailFinds(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findErr = err
}

// Taken lists the texts that were taken, oldest first.
func (s *Sender) Taken() []Taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// Tried counts the texts that were handed over, whatever became of them.
func (s *Sender) Tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

// Looked counts the looks for a text.
func (s *Sender) Looked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looked
}
