package flowtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

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
			"inbound": second(b.Heard(b.t.Context(), in.Line.Number, in.SID)),
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
		b.full(*in)
		b.save(flow.Change{Lines: []flow.Line{line}, Inbound: in})
		b.same("its first answer", got(b.Heard(b.t.Context(), in.Line.Number, in.SID)), *in)

		again := *in
		again.Reply = "another answer"
		b.refuse(flow.Change{Lines: []flow.Line{b.load(line.LineID)}, Inbound: &again}, flow.ErrHeard)
		b.same("its first answer", got(b.Heard(b.t.Context(), in.Line.Number, in.SID)), *in)
		if v := b.load(line.LineID).Version; v != 1 {
			b.t.Errorf("the line has version %d, want 1", v)
		}
	},

	"a line that hears much answers each text once": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		var all []flow.Inbound
		for i := range 30 {
			in := *inbound(line.LineID, noon.Add(time.Duration(i/3)*time.Second))
			b.save(flow.Change{Lines: []flow.Line{line}, Inbound: &in})
			b.save(flow.Change{Lines: []flow.Line{b.load(line.LineID)}}) // which is about no text
			all, line = append(all, in), b.load(line.LineID)
		}
		for _, in := range all {
			again := in
			again.At, again.Reply = noon.Add(time.Hour), "another answer"
			b.refuse(flow.Change{Lines: []flow.Line{line}, Inbound: &again}, flow.ErrHeard)
			b.same("its first answer", got(b.Heard(b.t.Context(), in.Line.Number, in.SID)), in)
		}
	},

	"a text is answered once, whatever sender of ours it is to": func(b bench) {
		before, after := lineID(1), lineID(1)
		after.Sender = "MG0123456789abcdef0123456789abcdef" // the shop has changed it
		in := inbound(before, noon)
		b.save(flow.Change{Lines: []flow.Line{{LineID: before}}, Inbound: in})
		again := *in
		again.Line, again.At, again.Reply = after, noon.Add(time.Second), "another answer"
		b.refuse(flow.Change{Lines: []flow.Line{{LineID: after}}, Inbound: &again}, flow.ErrHeard)
		for i := range 20 {
			for _, id := range []flow.LineID{before, after} {
				b.save(flow.Change{Lines: []flow.Line{b.load(id)}, Inbound: inbound(id, noon.Add(time.Duration(i)*time.Minute))})
			}
		}
		b.refuse(flow.Change{Lines: []flow.Line{b.load(after)}, Inbound: &again}, flow.ErrHeard)
		b.same("its first answer", got(b.Heard(b.t.Context(), after.Number, in.SID)), *in)
	},

	"a text is not heard without its line": func(b bench) {
		in := inbound(lineID(1), noon)
		b.refuse(flow.Change{Lines: []flow.Line{{LineID: lineID(2)}}, Inbound: in}, nil)
		b.same("the other line", b.load(lineID(2)), flow.Line{LineID: lineID(2)})
		if _, err := b.Heard(b.t.Context(), in.Line.Number, in.SID); !errors.Is(err, flow.ErrNotFound) {
			b.t.Errorf("Heard: %v, want ErrNotFound", err)
		}
	},

	"an inbound text about nothing and answered by silence comes back so": func(b bench) {
		in := inbound(lineID(1), noon)
		in.Order, in.Reply, in.Read = uuid.Nil, "", flow.IntentUnknown
		b.save(flow.Change{Lines: []flow.Line{{LineID: in.Line}}, Inbound: in})
		b.same("inbound", got(b.Heard(b.t.Context(), in.Line.Number, in.SID)), *in)
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
		b.save(flow.Change{Lines: []flow.Line{{LineID: in.Line}}, Messages: []flow.Message{m, theirs}, Inbound: in})
		all := flow.Change{
			Inbound: in,
			Lines:   []flow.Line{{LineID: lineID(1), Version: 2}},
			Settle:  &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: theirs.SID, Adopted: true},
			Spend:   []flow.Spend{{Total: "texts", N: 1, Limit: 0}},
		}
		b.refuse(all, flow.ErrHeard)
		all.Inbound = inbound(lineID(1), noon)
		b.refuse(all, flow.ErrStale)
		all.Lines[0].Version = 1
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

		// Nor does it as the other line's topic.
		b.save(flow.Change{Lines: []flow.Line{{LineID: to.LineID, Topic: from.Conversations[0].ID}}})
		to = b.load(to.LineID)
		b.same("what the topic brings", to.Conversations, []flow.Conversation{})
		b.save(flow.Change{Lines: []flow.Line{to}})
		to = b.load(to.LineID)
		to.Conversations = []flow.Conversation{from.Conversations[0]}
		b.refuse(flow.Change{Lines: []flow.Line{to}}, nil)
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
