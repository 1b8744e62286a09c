package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/ledger"
	"github.com/countersign/countersign/internal/outbox"
)

// failpoints are where a service can be told to die: on both sides of each kind
// of commit, and around a text's POST. What follows the commit of a reply or of
// a check is its answer, so that a service that dies after:reply has acted on a
// customer's text and told nobody.
var failpoints = []string{
	"before:order", "after:order",
	"before:check", "after:check",
	"before:reply", "after:reply",
	"before:receipt", "after:receipt",
	"before:settle", "after:settle",
	"after:take",
	string(outbox.BeforePost), string(outbox.AfterPost), string(outbox.BeforeSettle),
}

// What a service under test is told by, in its environment.
const (
	failVar    = "FAILPOINT" // POINT#N: die when it is reached for the nth time
	journalVar = "JOURNAL"   // a file for what was committed
	gateVar    = "GATE"      // a file: while it is there, nothing is saved
)

// init arms what this process was started with, if it was started to be a
// service.
func init() {
	if spec := os.Getenv(failVar); spec != "" {
		armed = newFuse(spec)
	}
	journal, gate := os.Getenv(journalVar), os.Getenv(gateVar)
	if armed == nil && journal == "" && gate == "" {
		return
	}
	log := &notebook{file: journal}
	at = func(p outbox.Point, m flow.Message) {
		switch p {
		case outbox.BeforeRender:
			log.write(noted{Rendered: m.ID})
		case outbox.BeforePost:
			log.write(noted{Posted: m.ID})
		default:
		}
		armed.reach(string(p))
	}
	openLedger = func(ctx context.Context, url string) (flow.Ledger, error) {
		rows, err := ledger.Open(ctx, url)
		if err != nil {
			return nil, err
		}
		return &mortal{Ledger: rows, log: log, gate: gate}, nil
	}
}

// armed is this process's fuse; nil for none.
var armed *fuse

// A fuse kills its process when a point is reached for the nth time.
type fuse struct {
	point string
	left  atomic.Int64
}

func newFuse(spec string) *fuse {
	point, times, _ := strings.Cut(spec, "#")
	n, err := strconv.Atoi(times)
	if err != nil || n < 1 || !slices.Contains(failpoints, point) {
		panic(fmt.Sprintf("%s: %q is no failpoint", failVar, spec))
	}
	f := &fuse{point: point}
	f.left.Store(int64(n))
	return f
}

// reach dies if it is time. It is a death by SIGKILL: nothing is deferred,
// flushed or closed.
func (f *fuse) reach(point string) {
	if f == nil || f.point != point || f.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more is done until it arrives
}

// A mortal ledger dies at its failpoints, notes what was answered to
// customers' texts, and waits at its gate.
type mortal struct {
	flow.Ledger
	log  *notebook
	gate string
}

// Save implements [flow.Ledger].
func (m *mortal) Save(ctx context.Context, ch flow.Change) error {
	if err := m.pass(ctx); err != nil {
		return err
	}
	kind := kindOf(ch)
	armed.reach("before:" + kind)
	err := m.Ledger.Save(ctx, ch)
	if err != nil {
		return err
	}
	m.note(ch)
	armed.reach("after:" + kind)
	return nil
}

// pass waits at the gate.
func (m *mortal) pass(ctx context.Context) error {
	if m.gate == "" {
		return nil
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := os.Stat(m.gate); err != nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Take implements [flow.Ledger].
func (m *mortal) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	taken, err := m.Ledger.Take(ctx, now, until, limit)
	if len(taken) > 0 {
		armed.reach("after:take")
	}
	return taken, err
}

// kindOf is what a change is the outcome of.
func kindOf(ch flow.Change) string {
	switch {
	case ch.Inbound != nil:
		return "reply"
	case ch.Settle != nil:
		return "settle"
	case ch.Receipt != nil:
		return "receipt"
	case len(ch.Messages) > 0:
		return "order"
	default:
		return "check"
	}
}

// noted is what was just committed, a reply with what is to be answered to it
// and texts that are to be sent; or a text whose order is looked at now, or that
// is posted now.
type noted struct {
	At               time.Time
	SID, Reply       string
	Written          []uuid.UUID
	Rendered, Posted uuid.UUID
}

// note notes what was committed.
func (m *mortal) note(ch flow.Change) {
	var n noted
	if ch.Inbound != nil {
		n.SID, n.Reply = ch.Inbound.SID, ch.Inbound.Reply
	}
	for _, text := range ch.Messages {
		n.Written = append(n.Written, text.ID)
	}
	if n.SID != "" || n.Written != nil {
		m.log.write(n)
	}
}

// A notebook is this process's hand in the journal.
type notebook struct {
	file    string // empty to note nothing
	writing sync.Mutex
}

// write appends to the journal in one write, which a death may precede but not
// cut short.
func (b *notebook) write(n noted) {
	if b.file == "" {
		return
	}
	n.At = clock()
	line, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	f, err := os.OpenFile(b.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		panic(err)
	}
}

// A journal is what all processes of a service have noted.
type journal struct {
	replies map[string]string         // by MessageSid
	written map[uuid.UUID]time.Time   // texts, and when they were committed
	posted  map[uuid.UUID][]time.Time // and for each time that one was posted, when its order was looked at before
}

func readJournal(file string) (journal, error) {
	j := journal{map[string]string{}, map[uuid.UUID]time.Time{}, map[uuid.UUID][]time.Time{}}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return j, err
	}
	looked := map[uuid.UUID]time.Time{}
	for line := range strings.Lines(string(text)) {
		var n noted
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			return j, fmt.Errorf("read the journal: %w", err)
		}
		for _, id := range n.Written {
			j.written[id] = n.At
		}
		if n.Rendered != uuid.Nil {
			looked[n.Rendered] = n.At
		}
		if n.Posted != uuid.Nil {
			j.posted[n.Posted] = append(j.posted[n.Posted], looked[n.Posted])
		}
		if n.SID == "" {
			continue
		}
		if first, ok := j.replies[n.SID]; ok && first != n.Reply {
			return j, fmt.Errorf("the text %s was committed twice", n.SID)
		}
		j.replies[n.SID] = n.Reply
	}
	return j, nil
}
