package ledger

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A batch is changes as countersign_group takes them: their rows, table by
// table.
type batch struct {
	flaws []string // why a change is refused if nothing else is against it, or ""

	lines, conversations, messages, settlements, inbound, receipts, events, spends rows
}

// add adds a change.
func (b *batch) add(ch flow.Change) {
	b.flaws = append(b.flaws, flaw(ch.Lines))
	n := len(b.flaws)
	for _, l := range ch.Lines {
		b.addLine(n, l)
		for _, c := range l.Conversations {
			if !c.Unchanged {
				b.addConversation(n, l.LineID, c)
			}
		}
	}
	for _, m := range ch.Messages {
		b.messages.begin(n).id(m.ID).id(m.Order).line(m.Line).text(string(m.Kind)).int(m.Serial).text(m.Locale).
			text(m.Named.Reference).text(m.Named.Amount).text(string(m.State)).int(int64(m.Attempt)).int(int64(m.Unknown)).
			time(m.Due).time(m.Created).time(m.Attempted).
			text(m.SID).text(string(m.Status)).int(int64(m.Status.Rank())).int(int64(m.Code)).end()
	}
	if s := ch.Settle; s != nil {
		var since uuid.UUID
		if s.Adopted && s.SID != "" {
			since = floor(born(s.Message).Add(-adoptable))
		}
		b.settlements.begin(n).id(s.Message).int(int64(s.Attempt)).text(string(s.State)).int(int64(s.Unknown)).
			time(s.Due).time(s.Attempted).text(s.SID).int(int64(s.Code)).optional(since).end()
	}
	if in := ch.Inbound; in != nil {
		b.inbound.begin(n).text(in.SID).line(in.Line).time(in.At).text(string(in.Read)).
			optional(in.Order).text(in.Reply).end()
	}
	if r := ch.Receipt; r != nil {
		b.receipts.begin(n).id(r.Message).text(r.SID).text(string(r.Status)).int(int64(r.Status.Rank())).
			int(int64(r.Code)).time(r.At).end()
	}
	for _, h := range ch.Events {
		b.events.begin(n).id(h.Order).time(h.At).text(string(h.Event)).text(string(h.From)).text(string(h.To)).
			text(string(h.Channel)).text(h.Note).end()
	}
	for i, s := range ch.Spend {
		upTo := 0
		for _, with := range ch.Spend[:i+1] {
			if with.Total == s.Total {
				upTo += with.N
			}
		}
		b.spends.begin(n).text(s.Total).int(int64(s.N)).int(int64(upTo)).int(int64(s.Limit)).end()
	}
}

func (b *batch) addLine(change int, l flow.Line) {
	listed := make([]uuid.UUID, len(l.Conversations))
	for i, c := range l.Conversations {
		listed[i] = c.ID
	}
	b.lines.begin(change).line(l.LineID).int(l.Version + 1).time(l.OptedOut).int(int64(l.Misses)).int(int64(l.Hints)).
		times(l.Texts).times(l.Serials).times(l.Answers).optional(l.Topic).ids(loaded(l)).ids(listed).end()
}

// addConversation adds one that is listed on a line: that is where it is.
func (b *batch) addConversation(change int, on flow.LineID, c flow.Conversation) {
	form, _ := entries(c.Entries) // strings cannot fail
	b.conversations.begin(change).id(c.ID).line(on).bytes(c.Browser[:]).text(string(c.State)).
		text(c.Named.Reference).text(c.Named.Amount).text(form).bool(c.Complete).time(c.Proved).
		int(c.Serial.N).text(c.Serial.Key).int(int64(c.Serial.Length)).
		text(c.Serial.Named.Reference).text(c.Serial.Named.Amount).time(c.Serial.Expires).
		int(int64(c.Misses)).time(c.Texted).optional(c.Message).text(string(c.Failure)).
		time(c.Created).time(c.Deadline).time(c.Ended).end()
}

// flaw says why these lines are none, which only a bug can ask for; "" if they
// are well.
func flaw(lines []flow.Line) string {
	saved := make(map[flow.LineID]bool, len(lines))
	listed := make(map[uuid.UUID]bool, len(lines))
	for _, line := range lines {
		if saved[line.LineID] {
			return "a line is listed twice"
		}
		saved[line.LineID] = true
		for _, c := range line.Conversations {
			if listed[c.ID] {
				return fmt.Sprintf("order %s is listed twice", c.ID)
			}
			listed[c.ID] = true
		}
	}
	return ""
}

// rows are an array of rows as PostgreSQL reads it
// (https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
// within arrays.html#ARRAYS-IO). It takes half the time of JSON to read.
//
// A field is written by what it is, in the order of its row type's.
type rows []byte

// String is the array.
func (r rows) String() string {
	if len(r) == 0 {
		return "{}"
	}
	return string(r) + "}"
}

// begin begins a row of a change, whose place is the first field of each.
func (r *rows) begin(change int) *rows {
	if len(*r) == 0 {
		*r = append(*r, `{"(`...)
	} else {
		*r = append(*r, `,"(`...)
	}
	*r = strconv.AppendInt(*r, int64(change), 10)
	return r
}

func (r *rows) end() { *r = append(*r, `)"`...) }

func (r *rows) int(n int64) *rows {
	*r = strconv.AppendInt(append(*r, ','), n, 10)
	return r
}

func (r *rows) bool(b bool) *rows {
	*r = strconv.AppendBool(append(*r, ','), b)
	return r
}

// time is in milliseconds; a zero time is NULL.
func (r *rows) time(t time.Time) *rows {
	if t.IsZero() {
		*r = append(*r, ',')
		return r
	}
	return r.int(t.UnixMilli())
}

func (r *rows) id(id uuid.UUID) *rows {
	*r = hex.AppendEncode(append(*r, ','), id[:])
	return r
}

// optional is an id that is NULL if it is nil.
func (r *rows) optional(id uuid.UUID) *rows {
	if id == uuid.Nil {
		*r = append(*r, ',')
		return r
	}
	return r.id(id)
}

// A quote around a field, and a quote or backslash within one, as they are
// written twice over: for the row, and for the array.
const (
	quote           = `\"`
	quotedQuote     = `\\\"`
	quotedBackslash = `\\\\`
)

// text is any text, but what is not UTF-8 in it is replaced, as in JSON.
func (r *rows) text(s string) *rows {
	s = strings.ToValidUTF8(s, "\uFFFD")
	to := append(append(*r, ','), quote...)
	for i := strings.IndexAny(s, `"\`); i >= 0; i = strings.IndexAny(s, `"\`) {
		to = append(to, s[:i]...)
		if s[i] == '"' {
			to = append(to, quotedQuote...)
		} else {
			to = append(to, quotedBackslash...)
		}
		s = s[i+1:]
	}
	*r = append(append(to, s...), quote...)
	return r
}

// line is two fields, a line's name.
func (r *rows) line(id flow.LineID) *rows { return r.text(id.Number.E164()).text(id.Sender) }

func (r *rows) bytes(b []byte) *rows {
	*r = hex.AppendEncode(append(*r, `,\"`+quotedBackslash+`x`...), b)
	*r = append(*r, quote...)
	return r
}

func (r *rows) times(times flow.Recent) *rows {
	return each(r, times, func(to []byte, t time.Time) []byte { return strconv.AppendInt(to, t.UnixMilli(), 10) })
}

func (r *rows) ids(ids []uuid.UUID) *rows {
	return each(r, ids, func(to []byte, id uuid.UUID) []byte { return hex.AppendEncode(to, id[:]) })
}

// each is an array.
func each[T any](r *rows, all []T, write func([]byte, T) []byte) *rows {
	to := append(*r, `,\"{`...)
	for i, one := range all {
		if i > 0 {
			to = append(to, ',')
		}
		to = write(to, one)
	}
	*r = append(to, `}\"`...)
	return r
}
