package flowtest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A shelf is a ledger whose records are under test.
type shelf struct{ bench }

// TestRecords holds a ledger to the contract of [flow.Records]. Open is called
// anew for each test, and closes what it opened by t.Cleanup.
func TestRecords(t *testing.T, open func(*testing.T) flow.Ledger) {
	t.Helper()
	names := make([]string, 0, len(recordPromises))
	for name := range recordPromises {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			recordPromises[name](shelf{bench{l, t}})
		})
	}
}

// orders saves an order a minute, from noon on, each on its own line.
func (s shelf) orders(states ...flow.State) []flow.Conversation {
	s.t.Helper()
	var all []flow.Conversation
	for i, state := range states {
		c := order(lineID(i), noon.Add(time.Duration(i)*time.Minute))
		c.State, c.Named.Reference = state, fmt.Sprintf("Ref-%d", i)
		s.save(flow.Change{Lines: []flow.Line{{LineID: c.Line, Conversations: []flow.Conversation{c}}}})
		all = append(all, c)
	}
	return all
}

// texts saves messages, a minute apart from noon on.
func (s shelf) texts(change ...func(*flow.Message)) []flow.Message {
	s.t.Helper()
	var all []flow.Message
	for i, change := range change {
		m := fresh(lineID(i), noon.Add(time.Duration(i)*time.Minute))
		m.State, m.Due = flow.Accepted, time.Time{}
		change(&m)
		all = append(all, m)
	}
	s.save(flow.Change{Messages: all})
	return all
}

// fails compares what is returned with the error that is wanted.
func (s shelf) fails(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func found[T any](next uuid.UUID, rows ...T) flow.Page[T] {
	return flow.Page[T]{Rows: rows, Next: next}
}

// Texts that met an error, or did not.
var (
	fine      = func(*flow.Message) {}
	refusedBy = func(code int) func(*flow.Message) {
		return func(m *flow.Message) { m.State, m.Code = flow.Failed, code }
	}
	undelivered = func(code int) func(*flow.Message) {
		return func(m *flow.Message) { m.Status, m.Code = flow.StatusUndelivered, code }
	}
	retried = func(m *flow.Message) { m.State, m.Due, m.Code = flow.Waiting, m.Created.Add(time.Hour), 20429 }
	unknown = func(m *flow.Message) { m.State, m.Due, m.Unknown = flow.Waiting, m.Created.Add(time.Hour), 1 }
	dropped = func(m *flow.Message) { m.State, m.Code, m.Unknown = flow.Dropped, 20429, 1 }
)

var recordPromises = map[string]func(shelf){
	"orders are listed newest first": func(s shelf) {
		all := s.orders(flow.Asked, flow.Confirmed, flow.Lapsed)
		s.same("orders", got(s.Orders(s.t.Context(), flow.Search{})), found(uuid.Nil, all[2], all[1], all[0]))
	},

	"orders are listed page by page": func(s shelf) {
		all := s.orders(flow.Asked, flow.Confirmed, flow.Lapsed)
		ctx := s.t.Context()
		s.same("the first", got(s.Orders(ctx, flow.Search{Limit: 2})), found(all[1].ID, all[2], all[1]))
		s.same("the last", got(s.Orders(ctx, flow.Search{Limit: 2, Before: all[1].ID})), found(uuid.Nil, all[0]))
		s.same("beyond it", got(s.Orders(ctx, flow.Search{Before: all[0].ID})), found[flow.Conversation](uuid.Nil))
	},

	"orders are found by state, number and reference": func(s shelf) {
		all := s.orders(flow.Asked, flow.Confirmed, flow.Asked)
		for _, tt := range []struct {
			name   string
			search flow.Search
			want   []flow.Conversation
		}{
			{"a state", flow.Search{State: flow.Asked}, []flow.Conversation{all[2], all[0]}},
			{"a number", flow.Search{Number: all[1].Line.Number}, []flow.Conversation{all[1]}},
			{"a reference in another case", flow.Search{Reference: "rEF-2"}, []flow.Conversation{all[2]}},
			{"a state and a number", flow.Search{State: flow.Asked, Number: all[0].Line.Number}, []flow.Conversation{all[0]}},
			{"a state that none is in", flow.Search{State: flow.Locked}, nil},
			{"a number that differs in a digit", flow.Search{Number: all[1].Line.Number + "0"}, nil},
			{"the beginning of a reference", flow.Search{Reference: "Ref-"}, nil},
			{"a reference like a pattern", flow.Search{Reference: "Ref-_"}, nil},
			{"what would be SQL", flow.Search{Reference: "' OR 1=1 --"}, nil},
			{"what is no text at all", flow.Search{Reference: "Ref-2\xff"}, nil},
			{"a byte that ends other languages' strings", flow.Search{Reference: "Ref-2\x00"}, nil},
		} {
			s.same(tt.name, got(s.Orders(s.t.Context(), tt.search)), found(uuid.Nil, tt.want...))
		}
	},

	"a search looks no deeper than it may, and says where it stopped": func(s shelf) {
		all := s.orders(flow.Locked, flow.Asked, flow.Asked, flow.Asked, flow.Locked)
		ctx, locked := s.t.Context(), flow.Search{State: flow.Locked, Depth: 2}
		s.same("the newest two", got(s.Orders(ctx, locked)), found(all[3].ID, all[4]))
		locked.Before = all[3].ID
		s.same("the next two", got(s.Orders(ctx, locked)), found[flow.Conversation](all[1].ID))
		locked.Before = all[1].ID
		s.same("the last", got(s.Orders(ctx, locked)), found(uuid.Nil, all[0]))
	},

	"a timeline is all of an order": func(s shelf) {
		line, c, m := lineID(1), order(lineID(1), noon), fresh(lineID(1), noon)
		c.Ended = time.Time{}
		m.Order = c.ID
		events := []flow.Happening{
			{Order: c.ID, At: noon, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web, Note: "of ours"},
			{Order: c.ID, At: noon.Add(time.Minute), Event: flow.Missed, From: flow.Asked, To: flow.Asked, Channel: flow.Reply},
			{Order: c.ID, At: noon.Add(time.Minute), Event: flow.Again, From: flow.Asked, To: flow.Asked, Channel: flow.Ops},
		}
		s.full(events[0])
		again := fresh(line, noon.Add(time.Minute))
		again.Order = c.ID
		miss := inbound(line, noon.Add(time.Minute))
		miss.Order = c.ID
		s.save(flow.Change{
			Lines:    []flow.Line{{LineID: line, Conversations: []flow.Conversation{c}}},
			Messages: []flow.Message{m}, Events: events[:1],
		})
		s.save(flow.Change{Lines: []flow.Line{s.load(line)}, Messages: []flow.Message{again}, Events: events[1:], Inbound: miss})
		receipts := []flow.Receipt{
			{Message: m.ID, SID: "SM1", Status: flow.StatusSent, At: noon.Add(time.Second)},
			{Message: again.ID, SID: "SM2", Status: flow.StatusUndelivered, Code: 30003, At: noon.Add(2 * time.Minute)},
		}
		for i := range receipts {
			s.save(flow.Change{Receipt: &receipts[i]})
		}
		twice := receipts[0]
		twice.At = noon.Add(time.Hour)
		s.save(flow.Change{Receipt: &twice}) // told again: the same
		s.same("timeline", got(s.Timeline(s.t.Context(), c.ID)), flow.Timeline{
			Order: c, Events: events, Texts: []flow.Message{s.message(m.ID), s.message(again.ID)},
			Receipts: receipts, Replies: []flow.Inbound{*miss},
		})
	},

	"a timeline has nothing of another order": func(s shelf) {
		line := lineID(1)
		c, other := order(line, noon), order(line, noon) // in the same millisecond
		var both []flow.Change
		for _, o := range []flow.Conversation{c, other} {
			m := fresh(line, noon)
			m.Order = o.ID
			in := inbound(line, noon.Add(time.Second))
			in.Order = o.ID
			both = append(both, flow.Change{
				Messages: []flow.Message{m}, Inbound: in,
				Events:  []flow.Happening{{Order: o.ID, At: noon, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web}},
				Receipt: &flow.Receipt{Message: m.ID, SID: "SM1", Status: flow.StatusSent, At: noon},
			})
		}
		both[0].Lines = []flow.Line{{LineID: line, Conversations: []flow.Conversation{c, other}}}
		s.save(both[0])
		both[1].Lines = []flow.Line{s.load(line)}
		s.save(both[1])
		t := must(s.Timeline(s.t.Context(), c.ID))(s.t)
		s.same("counts", []int{len(t.Events), len(t.Texts), len(t.Receipts), len(t.Replies)}, []int{1, 1, 1, 1})
		s.same("reply", t.Replies[0], *both[0].Inbound)
		s.same("text", t.Texts[0].Order, c.ID)
	},

	"a timeline has what its numbers texted in its time": func(s shelf) {
		was, is := lineID(1), lineID(2)
		c := order(is, noon)
		c.State, c.Ended = flow.Confirmed, noon.Add(time.Hour)
		m := fresh(was, noon)
		m.Order = c.ID
		s.save(flow.Change{
			Lines: []flow.Line{{LineID: is, Conversations: []flow.Conversation{c}}}, Messages: []flow.Message{m},
			Events: []flow.Happening{{Order: c.ID, At: noon, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web}},
		})
		var want []flow.Inbound
		for _, tt := range []struct {
			line  flow.LineID
			after time.Duration
			about uuid.UUID
			in    bool
		}{
			{is, 0, c.ID, true},
			{was, time.Minute, uuid.Nil, true}, // STOP is about no order
			{is, 25*time.Hour - time.Millisecond, c.ID, true},
			{is, -time.Millisecond, uuid.Nil, false},
			{is, 25 * time.Hour, c.ID, false},
			{is, time.Minute, NewID(noon), false},
			{lineID(3), time.Minute, uuid.Nil, false},
		} {
			in := inbound(tt.line, noon.Add(tt.after))
			in.Order = tt.about
			s.save(flow.Change{Lines: []flow.Line{s.load(tt.line)}, Inbound: in})
			if tt.in {
				want = append(want, *in)
			}
		}
		s.same("replies", must(s.Timeline(s.t.Context(), c.ID))(s.t).Replies, want)
	},

	"a long timeline keeps the newest": func(s shelf) {
		c := order(lineID(1), noon)
		s.save(flow.Change{Lines: []flow.Line{{LineID: c.Line, Conversations: []flow.Conversation{c}}}})
		var events []flow.Happening
		for i := range flow.TimelineLimit + 2 {
			events = append(events, flow.Happening{
				Order: c.ID, At: noon.Add(time.Duration(i) * time.Second), Event: flow.Late, From: flow.Asked, To: flow.Asked, Channel: flow.Reply,
			})
		}
		s.save(flow.Change{Events: events})
		s.same("events", must(s.Timeline(s.t.Context(), c.ID))(s.t).Events, events[2:])
	},

	"an order that is not there has no timeline": func(s shelf) {
		s.orders(flow.Asked)
		_, err := s.Timeline(s.t.Context(), NewID(noon))
		s.fails("Timeline", err, flow.ErrNotFound)
	},

	"the outbox is what is leased or waits, soonest due first": func(s shelf) {
		all := s.texts(fine, retried, unknown, dropped, refusedBy(21211))
		leased := fresh(lineID(1), noon)
		s.save(flow.Change{Messages: []flow.Message{leased}})
		ctx := s.t.Context()
		s.same("outbox", got(s.Outbox(ctx, 9)), []flow.Message{leased, all[1], all[2]})
		s.same("its first", got(s.Outbox(ctx, 1)), []flow.Message{leased})
		s.same("none of it", got(s.Outbox(ctx, 0)), []flow.Message(nil))
	},

	"failing texts are listed newest first, and by code": func(s shelf) {
		all := s.texts(fine, refusedBy(21211), undelivered(30003), retried, unknown, dropped, refusedBy(21211), undelivered(0))
		ctx := s.t.Context()
		s.same("all", got(s.Failing(ctx, flow.Search{})), found(uuid.Nil, all[7], all[6], all[4], all[3], all[2], all[1]))
		s.same("one code", got(s.Failing(ctx, flow.Search{Code: 21211})), found(uuid.Nil, all[6], all[1]))
		s.same("no code", got(s.Failing(ctx, flow.Search{Code: flow.NoCode})), found(uuid.Nil, all[7], all[4]))
		s.same("a code that is too large", got(s.Failing(ctx, flow.Search{Code: math.MaxInt})), found[flow.Message](uuid.Nil))
		s.same("a page", got(s.Failing(ctx, flow.Search{Limit: 2, Before: all[7].ID})), found(all[4].ID, all[6], all[4]))
		for _, m := range all {
			listed := slices.ContainsFunc(must(s.Failing(ctx, flow.Search{}))(s.t).Rows, func(f flow.Message) bool { return f.ID == m.ID })
			if listed != m.Failing() {
				s.t.Errorf("%v is listed: %t", m, listed)
			}
		}
	},

	"failures are counted by code": func(s shelf) {
		all := s.texts(refusedBy(21211), fine, undelivered(30003), refusedBy(21211), unknown, dropped)
		ctx := s.t.Context()
		s.same("all", got(s.Failures(ctx, noon, 99)), []flow.Failure{
			{Code: 21211, N: 2, Last: all[3].Created}, {Code: 0, N: 1, Last: all[4].Created}, {Code: 30003, N: 1, Last: all[2].Created},
		})
		s.same("since", got(s.Failures(ctx, all[3].Created, 99)), []flow.Failure{
			{Code: 0, N: 1, Last: all[4].Created}, {Code: 21211, N: 1, Last: all[3].Created},
		})
		s.same("of the newest two", got(s.Failures(ctx, noon, 2)), []flow.Failure{{Code: 0, N: 1, Last: all[4].Created}})
		s.same("of none", got(s.Failures(ctx, noon.Add(time.Hour), 99)), []flow.Failure(nil))
	},

	"steps are counted, of recent orders": func(s shelf) {
		var events []flow.Happening
		for _, c := range s.orders(flow.Asked, flow.Asked, flow.Asked) {
			order := c.ID
			events = append(events,
				flow.Happening{Order: order, At: noon, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web},
				flow.Happening{Order: order, At: noon, Event: flow.Matched, From: flow.Asked, To: flow.Confirmed, Channel: flow.Reply})
		}
		s.save(flow.Change{Events: events})
		ordered := flow.Step{From: flow.New, Event: flow.Ordered, To: flow.Asked}
		matched := flow.Step{From: flow.Asked, Event: flow.Matched, To: flow.Confirmed}
		for _, tt := range []struct {
			name             string
			since            time.Time
			depth            int
			ordered, matched int
		}{
			{"all", noon, 99, 3, 3},
			{"of orders since", noon.Add(time.Minute), 99, 2, 2},
			{"of the newest events", noon, 3, 1, 2},
			{"of none", noon.Add(time.Hour), 99, 0, 0},
		} {
			var want []flow.Step
			matched.N, ordered.N = tt.matched, tt.ordered
			for _, step := range []flow.Step{matched, ordered} {
				if step.N > 0 {
					want = append(want, step)
				}
			}
			steps := must(s.Steps(s.t.Context(), tt.since, tt.depth))(s.t)
			slices.SortFunc(steps, func(a, b flow.Step) int { return cmp.Compare(a.From, b.From) })
			s.same(tt.name, steps, want)
		}
	},

	"what waits can be hurried, once": func(s shelf) {
		m := s.texts(retried)[0]
		ctx := s.t.Context()
		if err := s.Hurry(ctx, m.ID, noon); err != nil {
			s.t.Fatal(err)
		}
		m.Due = noon
		s.same("message", s.message(m.ID), m)
		s.fails("once more", s.Hurry(ctx, m.ID, noon), flow.ErrStale)
		m.State, m.Attempt, m.Due = flow.Leased, 2, noon.Add(time.Minute)
		s.same("taken", got(s.Take(ctx, noon, m.Due, 9)), []flow.Message{m})
	},

	"nothing else can be hurried": func(s shelf) {
		leased := func(m *flow.Message) { m.State, m.Due = flow.Leased, m.Created.Add(time.Hour) }
		due := func(m *flow.Message) { m.State, m.Due = flow.Waiting, noon }
		all := s.texts(fine, unknown, dropped, refusedBy(21211), leased, due)
		for _, m := range all {
			s.fails(string(m.State), s.Hurry(s.t.Context(), m.ID, noon), flow.ErrStale)
			s.same("message", s.message(m.ID), m)
		}
		s.fails("one that is not there", s.Hurry(s.t.Context(), NewID(noon), noon), flow.ErrStale)
	},
}
