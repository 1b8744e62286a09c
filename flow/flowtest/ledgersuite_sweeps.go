package flowtest

import (
	"slices"
	"time"

	"github.com/countersign/countersign/flow"
)

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
		waiting.State, unknown.State, unknown.Unknown = flow.Waiting, flow.Waiting, 2
		b.save(flow.Change{Messages: []flow.Message{leased, waiting, unknown}})
		taken := must(b.Take(b.t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 9))(b.t)
		var is []int
		for _, m := range taken {
			is = append(is, m.Unknown)
		}
		b.same("Unknown of the leased, the waiting and the unknown", is, []int{1, 0, 2})
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

	"of orders with one deadline some lapse, and in the end all": func(b bench) {
		const all = 7
		for n := range all {
			line := flow.Line{LineID: lineID(n)}
			for range 2 {
				c := order(line.LineID, noon)
				c.Deadline = noon
				line.Conversations = append(line.Conversations, c)
			}
			b.save(flow.Change{Lines: []flow.Line{line}})
		}
		lapsed := map[flow.LineID]bool{}
		for {
			ids := must(b.Lapsing(b.t.Context(), noon, 3))(b.t)
			if len(ids) == 0 {
				break
			}
			lines := must(b.Lines(b.t.Context(), ids))(b.t)
			for i, line := range lines {
				if line.LineID != ids[i] || lapsed[line.LineID] || len(lines) > 3 {
					b.t.Fatalf("lapsing are %v, lines %v, after %v", ids, lines, lapsed)
				}
				lapsed[line.LineID] = true
				for n := range line.Conversations {
					line.Conversations[n].State = flow.Lapsed
				}
			}
			b.save(flow.Change{Lines: lines})
		}
		b.same("lines that lapsed", len(lapsed), all)
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
