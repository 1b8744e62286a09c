package flowtest

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// What becomes of our texts.
var messagePromises = map[string]func(bench){
	"a message comes back as it was saved": func(b bench) {
		full, bare := text(lineID(1), noon), fresh(lineID(1), noon)
		b.full(full)
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
			Message: m.ID, Attempt: 1, State: flow.Waiting, Unknown: 1,
			Due: noon.Add(time.Minute), Attempted: noon.Add(time.Second), Code: 30001,
		}})
		m.State, m.Unknown, m.Due = flow.Waiting, 1, noon.Add(time.Minute)
		m.Attempted, m.Code = noon.Add(time.Second), 30001
		b.same("waiting", b.message(m.ID), m)
	},

	"the time of the first attempt of unknown outcome and the sid are kept": func(b bench) {
		m := text(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(flow.Change{Settle: &flow.Settlement{
			Message: m.ID, Attempt: 1, State: flow.Leased, Due: noon.Add(time.Minute), Attempted: noon.Add(time.Hour),
		}})
		m.Unknown, m.Due, m.Code = 0, noon.Add(time.Minute), 0
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
