package flowtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// noon is when the suite's stories begin.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// NewID returns a UUIDv7 of time t: what a ledger takes for the time of what
// it names.
func NewID(t time.Time) uuid.UUID {
	id := uuid.Must(uuid.NewRandom())
	for ms, i := t.UnixMilli(), 5; i >= 0; ms, i = ms>>8, i-1 {
		id[i] = byte(ms)
	}
	id[6] = id[6]&0x0f | 0x70
	return id
}

// SameRows compares what ledgers return: an empty list is as good as none.
var SameRows = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreUnexported(flow.Line{}, flow.Conversation{}),
}

// lineID returns the n-th line of the suite.
func lineID(n int) flow.LineID {
	return flow.LineID{Number: flow.Number(fmt.Sprintf("+1415555%04d", n)), Sender: "+18005550100"}
}

// A bench is a ledger under test, with what its stories need.
type bench struct {
	flow.Ledger
	t *testing.T
}

// save saves ch, which must be taken.
func (b bench) save(ch flow.Change) {
	b.t.Helper()
	if err := b.Save(b.t.Context(), ch); err != nil {
		b.t.Fatalf("Save: %v", err)
	}
}

// refuse saves ch, which must fail with want; a nil want is any error that
// the port does not name.
func (b bench) refuse(ch flow.Change, want error) {
	b.t.Helper()
	err := b.Save(b.t.Context(), ch)
	if err == nil {
		b.t.Fatalf("Save was taken, want %v", want)
	}
	for _, named := range []error{flow.ErrHeard, flow.ErrStale, flow.ErrClaimed, flow.ErrSpent} {
		if errors.Is(err, named) != errors.Is(named, want) {
			b.t.Fatalf("Save: %v, want %v", err, want)
		}
	}
}

// load returns the line as it is committed, which Line must return as well.
func (b bench) load(id flow.LineID) flow.Line {
	b.t.Helper()
	line, err := b.Reload(b.t.Context(), id)
	if err != nil {
		b.t.Fatalf("Reload: %v", err)
	}
	b.same("Line, after Reload", got(b.Line(b.t.Context(), id)), line)
	return line
}

// same compares what with what is wanted.
func (b bench) same(what string, got, want any) {
	b.t.Helper()
	if diff := cmp.Diff(want, got, SameRows); diff != "" {
		b.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// message returns one of our texts as it is committed.
func (b bench) message(id uuid.UUID) flow.Message {
	b.t.Helper()
	return must(b.Message(b.t.Context(), id))(b.t)
}

// full fails if a field of v is zero: what is not filled in is not tested.
func (b bench) full(v any) {
	b.t.Helper()
	for field, value := range reflect.ValueOf(v).Fields() {
		if field.IsExported() && value.IsZero() && field.Name != "Unchanged" { // which is no row's
			b.t.Fatalf("the suite's %T has no %s", v, field.Name)
		}
	}
}

// got passes a value on, and an error as a value that is never wanted.
func got[T any](v T, err error) any {
	if err != nil {
		return err
	}
	return v
}

// must passes a value on if there is no error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// order returns an open order made at t, every field of it filled in.
func order(line flow.LineID, at time.Time) flow.Conversation {
	named := flow.Named{Reference: "118", Amount: "$42.10"}
	return flow.Conversation{
		ID: NewID(at), Line: line, Browser: flow.Browser{1, 2, 3}, State: flow.Asked, Named: named,
		Entries:  []flow.Entry{{Field: "name", Value: "Zoë <x> & \"y\""}, {Field: "items", Value: ""}},
		Complete: true, Proved: at.Add(time.Millisecond),
		Serial: flow.Serial{N: 7, Key: "0badcafe", Length: 6, Named: named, Expires: at.Add(24 * time.Hour)},
		Misses: 2, Texted: at.Add(2 * time.Millisecond), Message: NewID(at), Failure: flow.ClassCarrier,
		Created: at, Deadline: at.Add(72 * time.Hour), Ended: at.Add(3 * time.Millisecond),
	}
}

// text returns a message leased at t, every field of it filled in.
func text(line flow.LineID, at time.Time) flow.Message {
	return flow.Message{
		ID: NewID(at), Order: NewID(at), Line: line, Kind: flow.KindPINAmount, Serial: 7, Locale: "en",
		Named: flow.Named{Reference: "118", Amount: "$42.10"},
		State: flow.Leased, Attempt: 1, Unknown: 3, Due: at.Add(15 * time.Second),
		Created: at, Attempted: at.Add(time.Millisecond),
		SID: fmt.Sprintf("SM%032x", rand.Uint64()), Status: flow.StatusQueued, Code: 20429,
	}
}

// fresh returns a message as it is written by an asking.
func fresh(line flow.LineID, at time.Time) flow.Message {
	m := text(line, at)
	m.Unknown, m.Attempted, m.SID, m.Status, m.Code = 0, time.Time{}, "", flow.StatusNone, 0
	return m
}

func inbound(line flow.LineID, at time.Time) *flow.Inbound {
	return &flow.Inbound{
		SID: fmt.Sprintf("SM%032x", rand.Uint64()), Line: line, At: at,
		Read: flow.IntentNo, Order: NewID(at), Reply: "Acme: order 118 is declined.",
	}
}

// TestLedger holds a [flow.Ledger] to its contract. Open is called anew for
// each test, and closes what it opened by t.Cleanup.
func TestLedger(t *testing.T, open func(*testing.T) flow.Ledger) {
	t.Helper()
	for _, promises := range []map[string]func(bench){
		linePromises, savePromises, messagePromises, receiptPromises, sweepPromises, racePromises,
	} {
		names := make([]string, 0, len(promises))
		for name := range promises {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			t.Run(name, func(t *testing.T) { promises[name](bench{open(t), t}) })
		}
	}
}
