package flowtest

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

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
		b.full(line)
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
		b.full(full)
		b.full(full.Serial)
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

	"an order that is unchanged stays on its line as it was": func(b bench) {
		line := flow.Line{LineID: lineID(1)}
		line.Conversations = []flow.Conversation{order(line.LineID, noon)}
		b.save(flow.Change{Lines: []flow.Line{line}})
		for range 2 {
			loaded := b.load(line.LineID)
			b.same("orders", loaded.Conversations, line.Conversations)
			loaded.Hints++
			loaded.Conversations[0].Unchanged = true
			b.save(flow.Change{Lines: []flow.Line{loaded}})
		}
		b.same("hints", b.load(line.LineID).Hints, 2)
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

	"lines are loaded together, as each by itself": func(b bench) {
		full := flow.Line{LineID: lineID(1), Misses: 2, Texts: flow.Recent{noon}}
		ended, open := order(full.LineID, noon), order(full.LineID, noon.Add(time.Hour))
		ended.State, full.Topic = flow.Confirmed, ended.ID
		full.Conversations = []flow.Conversation{ended, open}
		bare := flow.Line{LineID: lineID(2), Hints: 1}
		b.save(flow.Change{Lines: []flow.Line{full, bare}})
		ids := []flow.LineID{bare.LineID, lineID(3), full.LineID}
		want := []flow.Line{b.load(ids[0]), b.load(ids[1]), b.load(ids[2])}
		b.same("lines", got(b.Lines(b.t.Context(), ids)), want)
		b.same("no lines", len(must(b.Lines(b.t.Context(), nil))(b.t)), 0)
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
			"Heard":        second(b.Heard(ctx, lineID(1).Number, "SM00000000000000000000000000000001")),
		} {
			if !errors.Is(err, flow.ErrNotFound) {
				b.t.Errorf("%s: %v, want ErrNotFound", what, err)
			}
		}
	},
}

func second[T any](_ T, err error) error { return err }
