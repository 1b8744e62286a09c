package flowtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	cmpopts.IgnoreUnexported(flow.Conversation{}),
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
		State: flow.Leased, Attempt: 1, Unknown: true, Due: at.Add(15 * time.Second),
		Created: at, Attempted: at.Add(time.Millisecond),
		SID: fmt.Sprintf("SM%032x", rand.Uint64()), Status: flow.StatusQueued, Code: 20429,
	}
}

// fresh returns a message as it is written by an asking.
func fresh(line flow.LineID, at time.Time) flow.Message {
	m := text(line, at)
	m.Unknown, m.Attempted, m.SID, m.Status, m.Code = false, time.Time{}, "", flow.StatusNone, 0
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

// What a line is when it is loaded.
var linePromises = map[string]func(bench){
	"a line never saved has version 0": func(b bench) {
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
	},

	"a line comes back as it was saved, one version on": func(b bench) {
		line := flow.Line{
			LineID: lineID(1), OptedOut: noon, Misses: 2, Hints: 3,
			Texts:   flow.Recent{noon, noon.Add(time.Millisecond)},
			Serials: flow.Recent{noon.Add(time.Hour)},
			Answers: flow.Recent{noon.Add(time.Minute), noon.Add(2 * time.Minute), noon.Add(3 * time.Minute)},
		}
		line.Conversations = []flow.Conversation{order(line.LineID, noon), order(line.LineID, noon.Add(time.Second))}
		line.Topic = line.Conversations[1].ID
		b.save(flow.Change{Lines: []flow.Line{line}})
		line.Version = 1
		b.same("line", b.load(line.LineID), line)

		line.OptedOut, line.Misses, line.Hints = time.Time{}, 0, 0
		line.Texts, line.Serials, line.Answers, line.Topic = nil, nil, nil, uuid.Nil
		b.save(flow.Change{Lines: []flow.Line{line}})
		line.Version = 2
		b.same("line, emptied", b.load(line.LineID), line)
	},

	"an order comes back as it was saved, in any state": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		full := order(line.LineID, noon)
		bare := flow.Conversation{ID: NewID(noon), Line: line.LineID, State: flow.Asked, Created: noon}
		line.Conversations = []flow.Conversation{full, bare}
		for _, state := range flow.States {
			line.Conversations[0].State, line.Conversations[1].State = state, state
			b.save(flow.Change{Lines: []flow.Line{line}})
			line.Version++
			for _, want := range line.Conversations {
				b.same(string(state), got(b.Conversation(b.t.Context(), want.ID)), want)
			}
		}
	},

	"open orders are loaded with their line, oldest first": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		third, first, second := order(line.LineID, noon.Add(2*time.Hour)), order(line.LineID, noon), order(line.LineID, noon.Add(time.Hour))
		first.State, second.State = flow.Locked, flow.Unreachable
		line.Conversations = []flow.Conversation{third, first, second}
		b.save(flow.Change{Lines: []flow.Line{line}})
		b.same("open orders", b.load(line.LineID).Conversations, []flow.Conversation{first, second, third})
	},

	"the topic's ended order is loaded after the open ones, other ended ones are not": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		topic, other, open := order(line.LineID, noon), order(line.LineID, noon), order(line.LineID, noon.Add(time.Hour))
		topic.State, other.State = flow.Confirmed, flow.Declined
		line.Topic = topic.ID
		line.Conversations = []flow.Conversation{topic, other, open}
		b.save(flow.Change{Lines: []flow.Line{line}})
		line = b.load(line.LineID)
		b.same("orders", line.Conversations, []flow.Conversation{open, topic})

		line.Topic = uuid.Nil
		b.save(flow.Change{Lines: []flow.Line{line}})
		b.same("orders without a topic", b.load(line.LineID).Conversations, []flow.Conversation{open})
	},

	"a topic that is not listed with its line is found again": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		topic := order(line.LineID, noon)
		topic.State = flow.Confirmed
		line.Conversations = []flow.Conversation{topic}
		b.save(flow.Change{Lines: []flow.Line{line}})
		line = b.load(line.LineID)
		b.same("orders without a topic", line.Conversations, []flow.Conversation{})
		line.Topic = topic.ID
		b.save(flow.Change{Lines: []flow.Line{line}})
		b.same("orders", b.load(line.LineID).Conversations, []flow.Conversation{topic})
	},

	"lines of one number with two senders are two": func(b bench) {
		one, two := flow.Line{LineID: lineID(1), Misses: 1}, flow.Line{LineID: lineID(1), Misses: 2}
		two.Sender = "MG00000000000000000000000000000001"
		b.save(flow.Change{Lines: []flow.Line{one, two}})
		one.Version, two.Version = 1, 1
		b.same("one", b.load(one.LineID), one)
		b.same("the other", b.load(two.LineID), two)
	},

	"a loaded line is a copy": func(b bench) {
		line := flow.Line{LineID: lineID(1), Texts: flow.Recent{noon}}
		line.Conversations = []flow.Conversation{order(line.LineID, noon)}
		b.save(flow.Change{Lines: []flow.Line{line}})
		want := b.load(line.LineID)
		for range 2 { // what was saved, then what was loaded
			line.Texts[0] = noon.Add(time.Hour)
			line.Conversations[0].State = flow.Declined
			line.Conversations[0].Entries[0].Value = "scribbled over"
			b.same("line", got(b.Line(b.t.Context(), line.LineID)), want)
			line = must(b.Line(b.t.Context(), line.LineID))(b.t)
		}
	},

	"a conversation moved to another line is on that line only": func(b bench) {
		from, to := flow.Line{LineID: lineID(1)}, flow.Line{LineID: lineID(2)}
		stays, moves := order(from.LineID, noon), order(from.LineID, noon)
		from.Conversations = []flow.Conversation{stays, moves}
		from.Topic = moves.ID
		b.save(flow.Change{Lines: []flow.Line{from}})

		from = b.load(from.LineID)
		from.Conversations = []flow.Conversation{stays}
		moves.Line = to.LineID
		to.Conversations = []flow.Conversation{moves}
		b.save(flow.Change{Lines: []flow.Line{from, to}})

		b.same("where it was", b.load(from.LineID).Conversations, []flow.Conversation{stays})
		b.same("where it is", b.load(to.LineID).Conversations, []flow.Conversation{moves})
		b.same("the order", got(b.Conversation(b.t.Context(), moves.ID)), moves)
	},

	"an order, a message and a text unknown are not found": func(b bench) {
		ctx := b.t.Context()
		for what, err := range map[string]error{
			"Conversation": second(b.Conversation(ctx, NewID(noon))),
			"Message":      second(b.Message(ctx, NewID(noon))),
			"MessageBySID": second(b.MessageBySID(ctx, "SM00000000000000000000000000000001", noon)),
			"Heard":        second(b.Heard(ctx, "SM00000000000000000000000000000001")),
		} {
			if !errors.Is(err, flow.ErrNotFound) {
				b.t.Errorf("%s: %v, want ErrNotFound", what, err)
			}
		}
	},
}

func second[T any](_ T, err error) error { return err }

// What Save refuses, and leaves.
var savePromises = map[string]func(bench){
	"a stale save leaves nothing behind": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		line.Conversations = []flow.Conversation{order(line.LineID, noon)}
		b.save(flow.Change{Lines: []flow.Line{line}})
		want := b.load(line.LineID)

		line.Version = 7
		line.Conversations = append(line.Conversations, order(line.LineID, noon))
		message, in := fresh(line.LineID, noon), inbound(line.LineID, noon)
		other := flow.Line{LineID: lineID(2)}
		b.refuse(flow.Change{
			Lines: []flow.Line{other, line}, Messages: []flow.Message{message}, Inbound: in,
			Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}},
		}, flow.ErrStale)

		b.same("line", b.load(line.LineID), want)
		b.same("the line beside it", b.load(other.LineID), other)
		for what, err := range map[string]error{
			"order":   second(b.Conversation(b.t.Context(), line.Conversations[1].ID)),
			"message": second(b.Message(b.t.Context(), message.ID)),
			"inbound": second(b.Heard(b.t.Context(), in.SID)),
		} {
			if !errors.Is(err, flow.ErrNotFound) {
				b.t.Errorf("%s: %v, want ErrNotFound", what, err)
			}
		}
		b.save(flow.Change{Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}}})
	},

	"a line of version 0 that exists by now is stale": func(b bench) {
		b.save(flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}})
		b.refuse(flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}, flow.ErrStale)
	},

	"a line of a version that never was is stale": func(b bench) {
		b.refuse(flow.Change{Lines: []flow.Line{{LineID: lineID(1), Version: 1}}}, flow.ErrStale)
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
	},

	"an inbound text is answered once": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		in := inbound(line.LineID, noon)
		b.save(flow.Change{Lines: []flow.Line{line}, Inbound: in})
		b.same("its first answer", got(b.Heard(b.t.Context(), in.SID)), *in)

		again := *in
		again.Reply = "another answer"
		b.refuse(flow.Change{Lines: []flow.Line{b.load(line.LineID)}, Inbound: &again}, flow.ErrHeard)
		b.same("its first answer", got(b.Heard(b.t.Context(), in.SID)), *in)
		if v := b.load(line.LineID).Version; v != 1 {
			b.t.Errorf("the line has version %d, want 1", v)
		}
	},

	"an inbound text about nothing and answered by silence comes back so": func(b bench) {
		in := inbound(lineID(1), noon)
		in.Order, in.Reply, in.Read = uuid.Nil, "", flow.IntentUnknown
		b.save(flow.Change{Inbound: in})
		b.same("inbound", got(b.Heard(b.t.Context(), in.SID)), *in)
	},

	"a total goes up to its limit and not over": func(b bench) {
		spend := func(name string, n, limit int) flow.Change {
			return flow.Change{Spend: []flow.Spend{{Total: name, N: n, Limit: limit}}}
		}
		b.refuse(spend("texts", 4, 3), flow.ErrSpent)
		b.save(spend("texts", 2, 3))
		b.refuse(spend("texts", 2, 3), flow.ErrSpent)
		b.save(spend("texts", 1, 3))
		b.refuse(spend("texts", 1, 3), flow.ErrSpent)
		b.save(spend("texts", 1, 4))
		b.save(spend("another", 3, 3))
	},

	"a total spent twice in a change is spent together": func(b bench) {
		twice := flow.Change{Spend: []flow.Spend{{Total: "texts", N: 2, Limit: 3}, {Total: "texts", N: 2, Limit: 3}}}
		b.refuse(twice, flow.ErrSpent)
		b.save(flow.Change{Spend: []flow.Spend{{Total: "texts", N: 3, Limit: 3}}})
	},

	"a spent total leaves the other and the line alone": func(b bench) {
		b.refuse(flow.Change{
			Lines: []flow.Line{{LineID: lineID(1)}},
			Spend: []flow.Spend{{Total: "credit", N: 5, Limit: 5}, {Total: "texts", N: 1, Limit: 0}},
		}, flow.ErrSpent)
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
		b.save(flow.Change{Spend: []flow.Spend{{Total: "credit", N: 5, Limit: 5}}})
	},

	"the refusals come in their order": func(b bench) {
		m, theirs := fresh(lineID(1), noon), text(lineID(1), noon)
		in := inbound(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m, theirs}, Inbound: in})
		all := flow.Change{
			Inbound: in,
			Lines:   []flow.Line{{LineID: lineID(1), Version: 1}},
			Settle:  &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: theirs.SID, Adopted: true},
			Spend:   []flow.Spend{{Total: "texts", N: 1, Limit: 0}},
		}
		b.refuse(all, flow.ErrHeard)
		all.Inbound = inbound(lineID(1), noon)
		b.refuse(all, flow.ErrStale)
		all.Lines[0].Version = 0
		all.Settle.Attempt = 2
		b.refuse(all, flow.ErrStale)
		all.Settle.Attempt = 1
		b.refuse(all, flow.ErrClaimed)
		all.Settle.Adopted = false
		b.refuse(all, flow.ErrSpent)
		all.Spend[0].Limit = 1
		b.save(all)
	},

	"an open order is not lost by leaving it out": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		line.Conversations = []flow.Conversation{order(line.LineID, noon), order(line.LineID, noon.Add(time.Second))}
		line.Topic = line.Conversations[0].ID
		b.save(flow.Change{Lines: []flow.Line{line}})
		want := b.load(line.LineID)
		for i := range want.Conversations {
			less := want.Clone()
			less.Conversations = slices.Delete(less.Conversations, i, i+1)
			b.refuse(flow.Change{Lines: []flow.Line{less}}, nil)
		}
		b.same("line", b.load(line.LineID), want)
	},

	"an order does not leave a line that is not saved with it": func(b bench) {
		from, to := flow.Line{LineID: lineID(1)}, flow.Line{LineID: lineID(2)}
		from.Conversations = []flow.Conversation{order(from.LineID, noon)}
		b.save(flow.Change{Lines: []flow.Line{from}})
		to.Conversations = []flow.Conversation{from.Conversations[0]}
		b.refuse(flow.Change{Lines: []flow.Line{to}}, nil)
		b.same("where it is", b.load(from.LineID).Conversations, from.Conversations)
	},

	"a line or an order listed twice is refused": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		b.refuse(flow.Change{Lines: []flow.Line{line, line}}, nil)
		c := order(line.LineID, noon)
		line.Conversations = []flow.Conversation{c, c}
		b.refuse(flow.Change{Lines: []flow.Line{line}}, nil)
		b.same("line", b.load(line.LineID), flow.Line{LineID: lineID(1)})
	},

	"a message's id is taken once, and what comes with a second is not written": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.refuse(flow.Change{
			Lines: []flow.Line{{LineID: lineID(1)}}, Messages: []flow.Message{m},
			Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}},
		}, nil)
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
		b.save(flow.Change{Spend: []flow.Spend{{Total: "texts", N: 1, Limit: 1}}})
	},

	"an empty change is taken": func(b bench) { b.save(flow.Change{}) },

	"a caller who gave up before is not served": func(b bench) {
		ctx, cancel := context.WithCancel(b.t.Context())
		cancel()
		for what, err := range map[string]error{
			"Save":   b.Save(ctx, flow.Change{Lines: []flow.Line{{LineID: lineID(1)}}}),
			"Reload": second(b.Reload(ctx, lineID(1))),
			"Take":   second(b.Take(ctx, noon, noon, 1)),
			"Ping":   b.Ping(ctx),
		} {
			if !errors.Is(err, context.Canceled) {
				b.t.Errorf("%s: %v, want %v", what, err, context.Canceled)
			}
		}
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
	},

	"the database answers": func(b bench) {
		for range 2 {
			if err := b.Ping(b.t.Context()); err != nil {
				b.t.Fatal(err)
			}
		}
	},
}

// What becomes of our texts.
var messagePromises = map[string]func(bench){
	"a message comes back as it was saved": func(b bench) {
		full, bare := text(lineID(1), noon), fresh(lineID(1), noon)
		bare.State, bare.Due, bare.Order = flow.Dropped, time.Time{}, uuid.UUID{15: 1}
		b.save(flow.Change{Messages: []flow.Message{full, bare}})
		b.same("full", b.message(full.ID), full)
		b.same("bare", b.message(bare.ID), bare)
	},

	"a message is found by its sid among those written since": func(b bench) {
		old, young := text(lineID(1), noon), text(lineID(1), noon.Add(time.Hour))
		b.save(flow.Change{Messages: []flow.Message{old, young}})
		ctx := b.t.Context()
		b.same("old", got(b.MessageBySID(ctx, old.SID, noon.Add(-time.Millisecond))), old)
		b.same("young", got(b.MessageBySID(ctx, young.SID, noon)), young)
		if _, err := b.MessageBySID(ctx, old.SID, noon); !errors.Is(err, flow.ErrNotFound) {
			b.t.Errorf("the old one, since it was written: %v, want ErrNotFound", err)
		}
	},

	"no sid is nobody's": func(b bench) {
		b.save(flow.Change{Messages: []flow.Message{fresh(lineID(1), noon)}})
		if _, err := b.MessageBySID(b.t.Context(), "", noon.Add(-time.Hour)); !errors.Is(err, flow.ErrNotFound) {
			b.t.Errorf("MessageBySID of none: %v, want ErrNotFound", err)
		}
	},

	"a settled message is as the settlement says": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(flow.Change{Settle: &flow.Settlement{
			Message: m.ID, Attempt: 1, State: flow.Waiting, Unknown: true,
			Due: noon.Add(time.Minute), Attempted: noon.Add(time.Second), Code: 30001,
		}})
		m.State, m.Unknown, m.Due = flow.Waiting, true, noon.Add(time.Minute)
		m.Attempted, m.Code = noon.Add(time.Second), 30001
		b.same("waiting", b.message(m.ID), m)
	},

	"the time of the first attempt of unknown outcome and the sid are kept": func(b bench) {
		m := text(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(flow.Change{Settle: &flow.Settlement{
			Message: m.ID, Attempt: 1, State: flow.Leased, Due: noon.Add(time.Minute), Attempted: noon.Add(time.Hour),
		}})
		m.Unknown, m.Due, m.Code = false, noon.Add(time.Minute), 0
		b.same("message", b.message(m.ID), m)
	},

	"a renewed lease is settled under the same attempt": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(flow.Change{Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Leased, Due: noon.Add(time.Minute)}})
		b.save(flow.Change{Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: "SM1"}})
		m.State, m.Due, m.SID = flow.Accepted, time.Time{}, "SM1"
		b.same("message", b.message(m.ID), m)
	},

	"a settlement under an old attempt is stale": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		must(b.Take(b.t.Context(), noon.Add(time.Minute), noon.Add(2*time.Minute), 1))(b.t)
		want := b.message(m.ID)
		b.refuse(flow.Change{
			Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: "SM1"},
			Lines:  []flow.Line{{LineID: lineID(1)}},
		}, flow.ErrStale)
		b.same("message", b.message(m.ID), want)
		b.same("line", b.load(lineID(1)), flow.Line{LineID: lineID(1)})
	},

	"a settlement of what is not leased is stale": func(b bench) {
		for _, state := range flow.MessageStates {
			m := fresh(lineID(1), noon)
			m.State = state
			b.save(flow.Change{Messages: []flow.Message{m}})
			settle := flow.Change{Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Dropped}}
			if state == flow.Leased {
				b.save(settle)
			} else {
				b.refuse(settle, flow.ErrStale)
			}
		}
		b.refuse(flow.Change{Settle: &flow.Settlement{Message: NewID(noon), Attempt: 1, State: flow.Dropped}}, flow.ErrStale)
	},

	"an adopted sid that another message has is refused": func(b bench) {
		m, theirs := fresh(lineID(1), noon), text(lineID(1), noon.Add(-24*time.Hour))
		b.save(flow.Change{Messages: []flow.Message{m, theirs}})
		adopt := &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: theirs.SID, Adopted: true}
		b.refuse(flow.Change{Settle: adopt}, flow.ErrClaimed)
		b.same("message", b.message(m.ID), m)
		adopt.SID = "SM1"
		b.save(flow.Change{Settle: adopt})
		if sid := b.message(m.ID).SID; sid != "SM1" {
			b.t.Errorf("its sid is %q, want SM1", sid)
		}
	},

	"a younger message's sid is not adopted either, one's own is": func(b bench) {
		m, theirs := text(lineID(1), noon), text(lineID(1), noon.Add(24*time.Hour))
		b.save(flow.Change{Messages: []flow.Message{m, theirs}})
		adopt := &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: theirs.SID, Adopted: true}
		b.refuse(flow.Change{Settle: adopt}, flow.ErrClaimed)
		adopt.SID = m.SID
		b.save(flow.Change{Settle: adopt})
	},
}

// What receipts do.
var receiptPromises = map[string]func(bench){
	"a receipt moves a status up": func(b bench) {
		m := accepted(b)
		for _, status := range []flow.Status{
			flow.StatusAccepted, flow.StatusQueued, flow.StatusSending, flow.StatusSent, flow.StatusDelivered, flow.StatusRead,
		} {
			b.save(receipt(m, status, 0))
			m.Status = status
			b.same(string(status), b.message(m.ID), m)
		}
	},

	"a receipt never moves a status down": func(b bench) {
		m := accepted(b)
		b.save(receipt(m, flow.StatusUndelivered, 30003))
		m.Status, m.Code = flow.StatusUndelivered, 30003
		for _, late := range []flow.Status{
			"", "unheard-of", flow.StatusAccepted, flow.StatusQueued, flow.StatusSending, flow.StatusSent,
			flow.StatusDelivered, flow.StatusFailed, flow.StatusCanceled,
		} {
			b.save(receipt(m, late, 1))
			b.same("after a late "+string(late), b.message(m.ID), m)
		}
	},

	"the statuses end the same in whatever order they come": func(b bench) {
		statuses := []flow.Status{flow.StatusQueued, flow.StatusSent, flow.StatusDelivered, flow.StatusSent}
		for range 20 {
			rand.Shuffle(len(statuses), func(i, j int) { statuses[i], statuses[j] = statuses[j], statuses[i] })
			m := accepted(b)
			for _, status := range statuses {
				b.save(receipt(m, status, 0))
			}
			if is := b.message(m.ID).Status; is != flow.StatusDelivered {
				b.t.Errorf("after %v the status is %q", statuses, is)
			}
		}
	},

	"a receipt before our 201 settles the message": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		first := receipt(m, flow.StatusSent, 0)
		first.Receipt.SID = "SM1"
		b.save(first)
		m.State, m.Due, m.SID, m.Status = flow.Accepted, time.Time{}, "SM1", flow.StatusSent
		b.same("message", b.message(m.ID), m)
		b.refuse(flow.Change{Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Failed}}, flow.ErrStale)
	},

	"a receipt settles what waits with an unknown outcome": func(b bench) {
		m := fresh(lineID(1), noon)
		m.State, m.Unknown = flow.Waiting, true
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(receipt(m, flow.StatusFailed, 30007))
		m.State, m.Unknown, m.Due, m.Status, m.Code = flow.Accepted, false, time.Time{}, flow.StatusFailed, 30007
		b.same("message", b.message(m.ID), m)
	},

	"a receipt settles nothing else": func(b bench) {
		for _, state := range []flow.MessageState{flow.Waiting, flow.Failed, flow.Dropped} {
			m := fresh(lineID(1), noon)
			m.State = state
			b.save(flow.Change{Messages: []flow.Message{m}})
			b.save(receipt(m, flow.StatusSent, 0))
			m.Status = flow.StatusSent
			b.same(string(state), b.message(m.ID), m)
		}
	},

	"a receipt tells the sid that we do not know, and changes none": func(b bench) {
		m := accepted(b)
		other := receipt(m, flow.StatusSent, 0)
		other.Receipt.SID = "SM2"
		b.save(other)
		m.Status = flow.StatusSent
		b.same("message", b.message(m.ID), m)
	},

	"a receipt of an unknown message is taken, and again": func(b bench) {
		for range 2 {
			b.save(receipt(flow.Message{ID: NewID(noon), SID: "SM1"}, flow.StatusSent, 0))
			b.save(receipt(flow.Message{SID: "SM1"}, flow.StatusSent, 0))
		}
	},

	"a settlement and a receipt in one change leave both": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		ch := receipt(m, flow.StatusUndelivered, 30003)
		ch.Settle = &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: "SM1"}
		b.save(ch)
		m.State, m.Due, m.SID, m.Status, m.Code = flow.Accepted, time.Time{}, "SM1", flow.StatusUndelivered, 30003
		b.same("message", b.message(m.ID), m)
	},
}

// accepted saves a message that Twilio has taken.
func accepted(b bench) flow.Message {
	b.t.Helper()
	m := fresh(lineID(1), noon)
	m.State, m.Due, m.SID = flow.Accepted, time.Time{}, fmt.Sprintf("SM%032x", rand.Uint64())
	b.save(flow.Change{Messages: []flow.Message{m}})
	return m
}

// receipt is the change that a receipt for m asks for.
func receipt(m flow.Message, status flow.Status, code int) flow.Change {
	return flow.Change{Receipt: &flow.Receipt{Message: m.ID, SID: m.SID, Status: status, Code: code, At: noon.Add(time.Second)}}
}

// What the outbox and the clock ask for.
var sweepPromises = map[string]func(bench){
	"what is due is taken, oldest due first, and no more than asked for": func(b bench) {
		var due []flow.Message
		for i := range 5 {
			m := fresh(lineID(1), noon)
			m.State, m.Due = flow.Waiting, noon.Add(-time.Duration(i)*time.Minute)
			due = append(due, m)
		}
		b.save(flow.Change{Messages: due})
		slices.Reverse(due)
		until := noon.Add(15 * time.Second)
		for i := range due {
			due[i].State, due[i].Attempt, due[i].Due = flow.Leased, 2, until
		}
		b.same("two", got(b.Take(b.t.Context(), noon, until, 2)), due[:2])
		b.same("the rest", got(b.Take(b.t.Context(), noon, until, 9)), due[2:])
		b.same("nothing", got(b.Take(b.t.Context(), noon, until, 9)), []flow.Message(nil))
		for _, want := range due {
			b.same("message", b.message(want.ID), want)
		}
	},

	"nothing is taken before it is due, nor what is done with": func(b bench) {
		for _, state := range flow.MessageStates {
			m := fresh(lineID(1), noon)
			m.State, m.Due = state, noon.Add(time.Millisecond)
			b.save(flow.Change{Messages: []flow.Message{m}})
			if state != flow.Leased && state != flow.Waiting {
				m.ID, m.Due = NewID(noon), noon.Add(-time.Hour)
			} else {
				m.ID, m.Due = NewID(noon), time.Time{}
			}
			b.save(flow.Change{Messages: []flow.Message{m}})
		}
		b.same("taken", got(b.Take(b.t.Context(), noon, noon.Add(time.Minute), 9)), []flow.Message(nil))
		if taken := must(b.Take(b.t.Context(), noon.Add(time.Millisecond), noon.Add(time.Minute), 9))(b.t); len(taken) != 2 {
			b.t.Errorf("a millisecond later %d are taken, want the 2 that are due", len(taken))
		}
	},

	"an expired lease is taken as unknown": func(b bench) {
		leased, waiting, unknown := fresh(lineID(1), noon), fresh(lineID(1), noon), fresh(lineID(1), noon)
		leased.Due, waiting.Due, unknown.Due = noon.Add(1), noon.Add(2*time.Millisecond), noon.Add(3*time.Millisecond)
		waiting.State, unknown.State, unknown.Unknown = flow.Waiting, flow.Waiting, true
		b.save(flow.Change{Messages: []flow.Message{leased, waiting, unknown}})
		taken := must(b.Take(b.t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 9))(b.t)
		var is []bool
		for _, m := range taken {
			is = append(is, m.Unknown)
		}
		b.same("Unknown of the leased, the waiting and the unknown", is, []bool{true, false, true})
	},

	"none is taken for a limit of none": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.same("taken", got(b.Take(b.t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 0)), []flow.Message(nil))
		b.same("message", b.message(m.ID), m)
	},

	"lines lapse by their open orders, soonest first, each once": func(b bench) {
		save := func(n int, states map[time.Duration]flow.State) {
			line := flow.Line{LineID: lineID(n)}
			for after, state := range states {
				c := order(line.LineID, noon)
				c.State, c.Deadline = state, noon.Add(after)
				line.Conversations = append(line.Conversations, c)
			}
			b.save(flow.Change{Lines: []flow.Line{line}})
		}
		save(1, map[time.Duration]flow.State{-time.Minute: flow.Asked, 0: flow.Locked})
		save(2, map[time.Duration]flow.State{-time.Hour: flow.Unreachable, time.Hour: flow.Asked})
		save(3, map[time.Duration]flow.State{-2 * time.Hour: flow.Confirmed, -3 * time.Hour: flow.Lapsed, time.Millisecond: flow.Asked})
		save(4, map[time.Duration]flow.State{noon.Sub(noon): flow.Locked})
		ctx := b.t.Context()
		b.same("lapsing", got(b.Lapsing(ctx, noon, 9)), []flow.LineID{lineID(2), lineID(1), lineID(4)})
		b.same("the first", got(b.Lapsing(ctx, noon, 1)), []flow.LineID{lineID(2)})
		b.same("before", got(b.Lapsing(ctx, noon.Add(-time.Hour-time.Millisecond), 9)), []flow.LineID(nil))
	},

	"an order without a deadline does not lapse": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		line.Conversations = []flow.Conversation{order(line.LineID, noon)}
		line.Conversations[0].Deadline = time.Time{}
		b.save(flow.Change{Lines: []flow.Line{line}})
		b.same("lapsing", got(b.Lapsing(b.t.Context(), noon.AddDate(100, 0, 0), 9)), []flow.LineID(nil))
	},

	"the census counts what is open and what is to be sent": func(b bench) {
		none := flow.Census{
			Open:   map[flow.State]int{flow.Asked: 0, flow.Locked: 0, flow.Unreachable: 0},
			Outbox: map[flow.MessageState]int{flow.Leased: 0, flow.Waiting: 0},
		}
		b.same("at first", got(b.Census(b.t.Context(), noon)), none)
		line := flow.Line{LineID: lineID(1)}
		for i, state := range flow.States {
			for range i + 1 {
				c := order(line.LineID, noon)
				c.State = state
				line.Conversations = append(line.Conversations, c)
			}
		}
		var messages []flow.Message
		for i, state := range flow.MessageStates {
			for j := range i + 1 {
				m := fresh(line.LineID, noon)
				m.State, m.Due = state, noon.Add(time.Duration(10-i-j)*time.Minute)
				messages = append(messages, m)
			}
		}
		messages[0].Due = time.Time{} // done with, by whatever mistake
		b.save(flow.Change{Lines: []flow.Line{line}, Messages: messages})
		b.same("census", got(b.Census(b.t.Context(), noon)), flow.Census{
			Open:      map[flow.State]int{flow.Asked: 1, flow.Locked: 2, flow.Unreachable: 3},
			Outbox:    map[flow.MessageState]int{flow.Leased: 1, flow.Waiting: 2},
			OldestDue: noon.Add(8 * time.Minute),
		})
	},
}

// What holds when many do it at once.
var racePromises = map[string]func(bench){
	"of two racing saves one is stale": func(b bench) {
		for n := range 50 {
			var won atomic.Int32
			racers(2, func(int) {
				err := b.Save(b.t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(n)}}})
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, flow.ErrStale):
					b.t.Errorf("Save: %v", err)
				}
			})
			if won.Load() != 1 {
				b.t.Fatalf("%d of 2 have won", won.Load())
			}
		}
	},

	// 60 lines, 16 racers each, and a rule of five: load, look, save, and if
	// that was stale, again.
	"a rule of a line holds against many at once": func(b bench) {
		const lines, racing, allowed = 60, 16, 5
		var spent atomic.Int32
		racers(lines*racing, func(i int) {
			id, message := lineID(i%lines), fresh(lineID(i%lines), noon)
			for line := must(b.Line(b.t.Context(), id))(b.t); len(line.Texts) < allowed; {
				line.Texts = line.Texts.Add(noon, time.Hour)
				err := b.Save(b.t.Context(), flow.Change{Lines: []flow.Line{line}, Messages: []flow.Message{message}})
				if err == nil {
					spent.Add(1)
					return
				}
				if !errors.Is(err, flow.ErrStale) {
					b.t.Errorf("Save: %v", err)
					return
				}
				line, err = b.Reload(b.t.Context(), id)
				if err != nil {
					b.t.Errorf("Reload: %v", err)
					return
				}
			}
		})
		if spent.Load() != lines*allowed {
			b.t.Errorf("%d texts were written, want %d", spent.Load(), lines*allowed)
		}
		out := must(b.Census(b.t.Context(), noon))(b.t).Outbox[flow.Leased]
		if out != lines*allowed {
			b.t.Errorf("%d texts are in the outbox, want %d", out, lines*allowed)
		}
		for n := range lines {
			if line := b.load(lineID(n)); len(line.Texts) != allowed || line.Version != allowed {
				b.t.Errorf("line %d has %d texts and version %d, want %d", n, len(line.Texts), line.Version, allowed)
			}
		}
	},

	"a total is never overspent by racers": func(b bench) {
		const limit = 25
		var won atomic.Int32
		racers(64, func(i int) {
			err := b.Save(b.t.Context(), flow.Change{
				Lines: []flow.Line{{LineID: lineID(i)}},
				Spend: []flow.Spend{{Total: "texts", N: 1, Limit: limit}},
			})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, flow.ErrSpent):
				b.t.Errorf("Save: %v", err)
			}
		})
		if won.Load() != limit {
			b.t.Errorf("%d have spent, want %d", won.Load(), limit)
		}
	},

	"one of many who bring the same text is heard": func(b bench) {
		in := inbound(lineID(1), noon)
		answers := make(chan string, 32)
		racers(cap(answers), func(i int) {
			mine := *in
			mine.Reply = fmt.Sprint(i)
			err := b.Save(b.t.Context(), flow.Change{Lines: []flow.Line{{LineID: lineID(i)}}, Inbound: &mine})
			switch {
			case err == nil:
				answers <- mine.Reply
			case !errors.Is(err, flow.ErrHeard):
				b.t.Errorf("Save: %v", err)
			}
		})
		if len(answers) != 1 {
			b.t.Fatalf("%d were heard", len(answers))
		}
		in.Reply = <-answers
		b.same("the answer", got(b.Heard(b.t.Context(), in.SID)), *in)
	},

	"two takers never get the same message": func(b bench) {
		const messages = 200
		var due []flow.Message
		for range messages {
			m := fresh(lineID(1), noon)
			m.State, m.Due = flow.Waiting, noon
			due = append(due, m)
		}
		b.save(flow.Change{Messages: due})
		var mu sync.Mutex
		takers := map[uuid.UUID]int{}
		racers(8, func(int) {
			for {
				taken, err := b.Take(b.t.Context(), noon, noon.Add(time.Minute), 7)
				if err != nil {
					b.t.Errorf("Take: %v", err)
				}
				if len(taken) == 0 {
					return
				}
				mu.Lock()
				for _, m := range taken {
					takers[m.ID]++
				}
				mu.Unlock()
			}
		})
		if len(takers) != messages {
			b.t.Errorf("%d messages were taken, want %d", len(takers), messages)
		}
		for id, n := range takers {
			if n != 1 {
				b.t.Errorf("message %s was taken %d times", id, n)
			}
		}
	},

	"a save among failing ones is not undone with them": func(b bench) {
		taken := fresh(lineID(0), noon)
		b.save(flow.Change{Messages: []flow.Message{taken}})
		racers(64, func(i int) {
			ch := flow.Change{Lines: []flow.Line{{LineID: lineID(i)}}}
			if i%4 == 0 {
				ch.Messages = []flow.Message{taken} // cannot be written twice
			}
			if err := b.Save(b.t.Context(), ch); (err != nil) != (i%4 == 0) {
				b.t.Errorf("Save %d: %v", i, err)
			}
		})
		for i := range 64 {
			if v := b.load(lineID(i)).Version; (v == 0) != (i%4 == 0) {
				b.t.Errorf("line %d has version %d", i, v)
			}
		}
	},

	// A caller's context ends at any moment of the save. It is all there or
	// nothing is, and no error means that it is there.
	"a cancelled caller's context does not half-write": func(b bench) {
		const saves = 200
		racers(saves, func(i int) {
			ctx, cancel := context.WithCancel(b.t.Context())
			defer cancel()
			message, in := fresh(lineID(i), noon), inbound(lineID(i), noon)
			line := flow.Line{LineID: lineID(i), Conversations: []flow.Conversation{order(lineID(i), noon)}}
			go cancel()
			err := b.Save(ctx, flow.Change{Lines: []flow.Line{line}, Messages: []flow.Message{message}, Inbound: in})
			if err != nil && !errors.Is(err, context.Canceled) {
				b.t.Errorf("Save: %v", err)
			}
			after, loadErr := b.Reload(b.t.Context(), line.LineID)
			_, messageErr := b.Message(b.t.Context(), message.ID)
			_, heardErr := b.Heard(b.t.Context(), in.SID)
			if loadErr != nil {
				b.t.Errorf("Reload: %v", loadErr)
			}
			is := []bool{err == nil, after.Version == 1, len(after.Conversations) == 1, messageErr == nil, heardErr == nil}
			for _, there := range is {
				if there != is[0] {
					b.t.Errorf("saved, its line, its order, its message, its inbound text: %v", is)
					break
				}
			}
		})
	},

	"nobody reads half a change": func(b bench) {
		// The order goes to and fro between two lines; a reader of either
		// sees it with the version that moved it, or not at all.
		here, there := flow.Line{LineID: lineID(1)}, flow.Line{LineID: lineID(2)}
		c := order(here.LineID, noon)
		here.Conversations = []flow.Conversation{c}
		b.save(flow.Change{Lines: []flow.Line{here, there}})
		done := make(chan struct{})
		var readers sync.WaitGroup
		for _, first := range []flow.LineID{here.LineID, there.LineID} {
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					line, err := b.Reload(b.t.Context(), first)
					if err != nil {
						b.t.Errorf("Reload: %v", err)
						return
					}
					odd := line.Version%2 == 1
					if has := len(line.Conversations) == 1; has != (odd == (first == here.LineID)) {
						b.t.Errorf("version %d of %v has %d orders", line.Version, bytes.TrimLeft([]byte(first.Number), "+1"), len(line.Conversations))
						return
					}
				}
			})
		}
		for v := int64(1); v < 100; v++ {
			here.Version, there.Version = v, v
			here.Conversations, there.Conversations = there.Conversations, here.Conversations
			b.save(flow.Change{Lines: []flow.Line{here, there}})
		}
		close(done)
		readers.Wait()
	},
}

// racers runs n of them at once and waits for all.
func racers(n int, run func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	all.Wait()
}
