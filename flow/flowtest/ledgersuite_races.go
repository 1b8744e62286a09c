package flowtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

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
			err := b.Save(b.t.Context(), flow.Change{Lines: []flow.Line{{LineID: mine.Line}}, Inbound: &mine})
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
		b.same("the answer", got(b.Heard(b.t.Context(), in.Line.Number, in.SID)), *in)
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
			_, heardErr := b.Heard(b.t.Context(), in.Line.Number, in.SID)
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
		defer readers.Wait() // whatever becomes of a save
		defer close(done)
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
						b.t.Errorf("version %d of %v has %d orders", line.Version, first, len(line.Conversations))
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
