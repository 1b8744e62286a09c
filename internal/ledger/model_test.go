package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// The fake and SQLite, with and without a cache, give the same answers to the
// same requests. The world is small, so that requests meet: three lines, few
// ids and sids, times some minutes apart.
func TestSQLiteDoesAsTheFakeDoes(t *testing.T) {
	doAsTheFakeDoes(t, "SQLite", func(rt *rapid.T) (flow.Ledger, func()) {
		l, err := Open(t.Context(), "file:"+tempFile(t))
		if err != nil {
			rt.Fatal(err)
		}
		// What survives a power cut is not asked here.
		if _, err := l.(*SQLite).conn.ExecContext(t.Context(), `PRAGMA synchronous = OFF`); err != nil {
			rt.Fatal(err)
		}
		return l, func() { _ = l.Close() }
	})
}

// So does PostgreSQL.
func TestPostgresDoesAsTheFakeDoes(t *testing.T) {
	t.Parallel()
	open := emptied(t)
	doAsTheFakeDoes(t, "PostgreSQL", func(*rapid.T) (flow.Ledger, func()) { return open(t), func() {} })
}

// doAsTheFakeDoes asks the fake and a ledger of that name, which open opens,
// for the same.
func doAsTheFakeDoes(t *testing.T, name string, open func(*rapid.T) (_ flow.Ledger, done func())) {
	rapid.Check(t, func(rt *rapid.T) {
		l, done := open(rt)
		defer done()
		w := world{T: rt, ctx: t, name: name, fake: flowtest.NewLedger(), real: l, cached: Cached(l, 2, 0)}
		rt.Repeat(map[string]func(*rapid.T){
			"save":      w.save,
			"take":      w.take,
			"receipt":   w.receipt,
			"scribble":  w.scribble,
			"compare":   w.compare,
			"lapsing":   w.lapsing,
			"cacheless": func(*rapid.T) { w.cached.Purge() },
			"":          w.lines,
		})
	})
}

type world struct {
	*rapid.T
	ctx    *testing.T
	name   string
	fake   *flowtest.Ledger
	real   flow.Ledger
	cached *Cache
}

// nth is the n-th id of the world, of about noon.
func nth(n int) uuid.UUID {
	id := floor(noon.Add(time.Duration(n) * time.Minute))
	id[6], id[15] = 0x70, byte(n) //nolint:gosec // n is small
	return id
}

func pick[T any](t *rapid.T, what string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, what)
}

func drawTime(t *rapid.T, what string) time.Time {
	minutes := rapid.IntRange(-1, 20).Draw(t, what)
	if minutes < 0 {
		return time.Time{}
	}
	return noon.Add(time.Duration(minutes) * time.Minute)
}

func drawLine(t *rapid.T) flow.LineID { return lineID(rapid.IntRange(1, 3).Draw(t, "line")) }

func drawOrder(t *rapid.T) uuid.UUID { return nth(rapid.IntRange(1, 5).Draw(t, "order")) }

func drawMessage(t *rapid.T) uuid.UUID { return nth(rapid.IntRange(1, 8).Draw(t, "message")) }

func drawSID(t *rapid.T) string { return pick(t, "sid", "", "SM1", "SM2", "SM3") }

// heardBy is a sid of a text to that line: no two lines hear the same.
func heardBy(line flow.LineID, sid string) string { return sid + line.Number.E164() }

// save saves lines as they are or not quite, with orders that come, change,
// move and vanish, and whatever else a change may hold.
func (w world) save(t *rapid.T) {
	var ch flow.Change
	lines := rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 0, 2, rapid.ID).Draw(t, "lines")
	for _, n := range lines {
		line, err := w.fake.Line(w.ctx.Context(), lineID(n))
		if err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
			line.Version--
		}
		line.Misses = rapid.IntRange(0, 3).Draw(t, "misses")
		line.OptedOut = drawTime(t, "opted out")
		line.Texts = line.Texts.Add(noon, time.Hour)
		line.Topic = uuid.Nil
		if rapid.Bool().Draw(t, "topical") {
			line.Topic = drawOrder(t)
		}
		ch.Lines = append(ch.Lines, line)
	}
	for i := range ch.Lines {
		w.reorder(t, ch.Lines, i)
	}
	for range rapid.IntRange(0, 2).Draw(t, "messages") {
		ch.Messages = append(ch.Messages, flow.Message{
			ID: drawMessage(t), Order: drawOrder(t), Line: drawLine(t), Kind: flow.KindPIN,
			State: pick(t, "state", flow.MessageStates...), Attempt: 1, Unknown: rapid.IntRange(0, 2).Draw(t, "unknown"),
			Due: drawTime(t, "due"), Created: noon, Attempted: drawTime(t, "attempted"), SID: drawSID(t),
		})
		ch.Messages[len(ch.Messages)-1].Created = born(ch.Messages[len(ch.Messages)-1].ID)
	}
	if rapid.Bool().Draw(t, "settles") {
		ch.Settle = &flow.Settlement{
			Message: drawMessage(t), Attempt: rapid.IntRange(1, 2).Draw(t, "attempt"),
			State: pick(t, "state", flow.MessageStates...), Unknown: rapid.IntRange(0, 2).Draw(t, "unknown"),
			Due: drawTime(t, "due"), Attempted: drawTime(t, "attempted"),
			SID: drawSID(t), Adopted: rapid.Bool().Draw(t, "adopted"), Code: rapid.IntRange(0, 2).Draw(t, "code"),
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "inbound") == 0 {
		line := drawLine(t)
		ch.Inbound = &flow.Inbound{SID: heardBy(line, drawSID(t)), Line: line, At: drawTime(t, "at"), Reply: "Hello."}
	}
	for range rapid.IntRange(0, 2).Draw(t, "spends") {
		ch.Spend = append(ch.Spend, flow.Spend{Total: pick(t, "total", "texts", "credit"), N: rapid.IntRange(0, 3).Draw(t, "n"), Limit: 6})
	}
	w.change(ch)
}

// reorder changes what is listed on the i-th line.
func (w world) reorder(t *rapid.T, lines []flow.Line, i int) {
	line := &lines[i]
	for j := range line.Conversations {
		c := &line.Conversations[j]
		if rapid.Bool().Draw(t, "changes") {
			c.State = pick(t, "state", flow.States...)
			c.Deadline = drawTime(t, "deadline")
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "orders") {
	case 0, 1: // perhaps new, perhaps another line's or an old one
		id := drawOrder(t)
		if !slices.ContainsFunc(line.Conversations, func(c flow.Conversation) bool { return c.ID == id }) {
			line.Conversations = append(line.Conversations, flow.Conversation{
				ID: id, State: flow.Asked, Created: drawTime(t, "created"), Deadline: drawTime(t, "deadline"),
			})
		}
	case 2: // vanishes, or moves to the change's other line
		if n := len(line.Conversations); n > 0 {
			c := line.Conversations[n-1]
			line.Conversations = line.Conversations[:n-1]
			if other := &lines[len(lines)-1-i]; len(lines) == 2 {
				other.Conversations = append(other.Conversations, c)
			}
		}
	}
}

func (w world) receipt(t *rapid.T) {
	w.change(flow.Change{Receipt: &flow.Receipt{
		Message: drawMessage(t), SID: drawSID(t), At: noon, Code: rapid.IntRange(0, 2).Draw(t, "code"),
		Status: pick(t, "status", flow.Statuses...),
	}})
}

// change has both save ch, which both must take or refuse alike.
func (w world) change(ch flow.Change) {
	fake, real := w.fake.Save(w.ctx.Context(), ch), w.cached.Save(w.ctx.Context(), ch)
	if kind(fake) != kind(real) {
		w.Fatalf("the fake says %v, %s %v", fake, w.name, real)
	}
}

// kind tells apart what the port names.
func kind(err error) string {
	for _, named := range []error{flow.ErrHeard, flow.ErrStale, flow.ErrClaimed, flow.ErrSpent, flow.ErrNotFound} {
		if errors.Is(err, named) {
			return named.Error()
		}
	}
	if err != nil {
		return "failed"
	}
	return ""
}

func (w world) take(t *rapid.T) {
	now, limit := noon.Add(time.Duration(rapid.IntRange(0, 25).Draw(t, "now"))*time.Minute), rapid.IntRange(0, 4).Draw(t, "limit")
	fake, fakeErr := w.fake.Take(w.ctx.Context(), now, now.Add(time.Minute), limit)
	real, realErr := w.cached.Take(w.ctx.Context(), now, now.Add(time.Minute), limit)
	w.same("Take", fake, fakeErr, real, realErr)
}

func (w world) lapsing(t *rapid.T) {
	now := drawTime(t, "now")
	const all = 1000 // of those with one deadline, fewer may be any
	fake, fakeErr := w.fake.Lapsing(w.ctx.Context(), now, all)
	real, realErr := w.cached.Lapsing(w.ctx.Context(), now, all)
	w.same("Lapsing", fake, fakeErr, real, realErr)
}

// scribble changes a loaded line, which is the caller's own.
func (w world) scribble(t *rapid.T) {
	line, err := w.cached.Line(w.ctx.Context(), drawLine(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range line.Texts {
		line.Texts[i] = noon.AddDate(1, 0, 0)
	}
	for i := range line.Conversations {
		line.Conversations[i] = flow.Conversation{}
	}
}

// lines reads the lines from both, by the cache.
func (w world) lines(*rapid.T) {
	for n := 1; n <= 3; n++ {
		fake, fakeErr := w.fake.Line(w.ctx.Context(), lineID(n))
		real, realErr := w.cached.Line(w.ctx.Context(), lineID(n))
		w.same(fmt.Sprint("line, cached ", n), fake, fakeErr, real, realErr)
	}
}

// compare reads everything from both.
func (w world) compare(*rapid.T) {
	ctx := w.ctx.Context()
	for n := 1; n <= 3; n++ {
		fake, fakeErr := w.fake.Line(ctx, lineID(n))
		real, realErr := w.real.Line(ctx, lineID(n))
		w.same(fmt.Sprint("line ", n), fake, fakeErr, real, realErr)
	}
	for n := 1; n <= 8; n++ {
		fakeC, fakeErr := w.fake.Conversation(ctx, nth(n))
		realC, realErr := w.real.Conversation(ctx, nth(n))
		w.same(fmt.Sprint("order ", n), fakeC, fakeErr, realC, realErr)
		fakeM, fakeErr := w.fake.Message(ctx, nth(n))
		realM, realErr := w.real.Message(ctx, nth(n))
		w.same(fmt.Sprint("message ", n), fakeM, fakeErr, realM, realErr)
	}
	for _, sid := range []string{"", "SM1", "SM2", "SM3"} {
		fakeM, fakeErr := w.fake.MessageBySID(ctx, sid, noon.Add(3*time.Minute))
		realM, realErr := w.real.MessageBySID(ctx, sid, noon.Add(3*time.Minute))
		w.same("message by sid "+sid, fakeM, fakeErr, realM, realErr)
		for n := 1; n <= 3; n++ {
			fakeI, fakeErr := w.fake.Heard(ctx, lineID(n).Number, heardBy(lineID(n), sid))
			realI, realErr := w.real.Heard(ctx, lineID(n).Number, heardBy(lineID(n), sid))
			w.same(fmt.Sprint("heard ", sid, " by ", n), fakeI, fakeErr, realI, realErr)
		}
	}
	if s, ok := w.real.(*SQLite); ok {
		wantHeardOnce(w.ctx, s)
	}
	fake, fakeErr := w.fake.Census(ctx, noon)
	real, realErr := w.real.Census(ctx, noon)
	w.same("census", fake, fakeErr, real, realErr)
}

func (w world) same(what string, fake any, fakeErr error, real any, realErr error) {
	if kind(fakeErr) != kind(realErr) {
		w.Fatalf("%s: the fake says %v, %s %v", what, fakeErr, w.name, realErr)
	}
	if diff := cmp.Diff(fake, real, flowtest.SameRows); diff != "" {
		w.Fatalf("%s (-fake +%s):\n%s", what, w.name, diff)
	}
}
