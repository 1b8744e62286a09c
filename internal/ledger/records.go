package ledger

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// records are what ops reads of [flow.Records], the same in either database:
// its SQL is what both understand, with the placeholders as PostgreSQL writes
// them.
type records struct {
	// look has read ask its queries in one snapshot. It may call read again,
	// after an outage, and then only the last call counts.
	look func(ctx context.Context, read func(ask) error) error
}

// An ask reads a query's rows, one by one. Among the arguments, ids are
// [uuid.UUID].
type ask func(query string, args []any, row func(scanner) error) error

// A scanner is a row of either database.
type scanner interface{ Scan(dest ...any) error }

// list reads all rows of a query.
func list[T any](ask ask, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	var all []T
	err := ask(query, args, func(row scanner) error {
		one, err := scan(row)
		all = append(all, one)
		return err
	})
	return all, err
}

// lookUp reads all rows of a query that is asked alone.
func lookUp[T any](ctx context.Context, r records, what string, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	err = r.look(ctx, func(ask ask) (err error) {
		all, err = list(ask, scan, query, args...)
		return err
	})
	return all, named(what, err)
}

// isFailing is [flow.Message.Failing].
const isFailing = `(state = 'failed' OR status IN ('undelivered', 'failed', 'canceled')
	OR state <> 'dropped' AND (code <> 0 OR unknown > 0))`

// Orders implements [flow.Records].
func (r records) Orders(ctx context.Context, q flow.Search) (flow.Page[flow.Conversation], error) {
	if !utf8.ValidString(q.Reference) || strings.ContainsRune(q.Reference, 0) {
		// Nothing is called that, and PostgreSQL would not hear it said.
		return flow.Page[flow.Conversation]{}, nil
	}
	found, err := search(ctx, r, q, `conversations`, conversationColumns, scanConversation,
		func(c flow.Conversation) uuid.UUID { return c.ID },
		`($4 = '' OR state = $4) AND ($5 = '' OR number = $5) AND ($6 = '' OR upper(reference) = upper($6))`,
		string(q.State), q.Number.E164(), q.Reference)
	return found, named("search orders", err)
}

// Failing implements [flow.Records].
func (r records) Failing(ctx context.Context, q flow.Search) (flow.Page[flow.Message], error) {
	const anyCode = -1
	code := q.Code
	switch code {
	case 0:
		code = anyCode
	case flow.NoCode:
		code = 0
	}
	found, err := search(ctx, r, q, `messages`, messageColumns, scanMessage,
		func(m flow.Message) uuid.UUID { return m.ID },
		// As wide as a number can be that was asked for; the column is narrower.
		isFailing+` AND (CAST($4 AS bigint) < 0 OR code = CAST($4 AS bigint))`, code)
	return found, named("search failing texts", err)
}

// search goes through the rows of a table from the newest id down, and stops
// at what the search may look at. The placeholders of where begin at $4.
func search[T any](ctx context.Context, r records, q flow.Search, table, columns string,
	scan func(scanner) (T, error), id func(T) uuid.UUID, where string, args ...any,
) (found flow.Page[T], err error) {
	before := q.Before
	if before == uuid.Nil {
		before = uuid.Max
	}
	limit, depth := cmp.Or(q.Limit, flow.SearchLimit), cmp.Or(q.Depth, flow.SearchDepth)
	err = r.look(ctx, func(ask ask) error {
		rows, err := list(ask, scan, `SELECT `+columns+`
			FROM (SELECT * FROM `+table+` WHERE id < $1 ORDER BY id DESC LIMIT $2) AS newest
			WHERE `+where+` ORDER BY id DESC LIMIT $3`, append([]any{before, depth, limit + 1}, args...)...)
		if err != nil {
			return err
		}
		if len(rows) > limit { // there is more to list
			found = flow.Page[T]{Rows: rows[:limit], Next: id(rows[limit-1])}
			return nil
		}
		found = flow.Page[T]{Rows: rows}
		last, err := list(ask, scanID, `SELECT id FROM `+table+` WHERE id < $1 ORDER BY id DESC LIMIT 2 OFFSET $2`,
			before, depth-1)
		if len(last) > 1 { // there is more to look at
			found.Next = last[0]
		}
		return err
	})
	return found, err
}

// Timeline implements [flow.Records]. The order's texts lie in the table where
// its events had them written: each is looked for in that one millisecond.
func (r records) Timeline(ctx context.Context, order uuid.UUID) (t flow.Timeline, err error) {
	err = r.look(ctx, func(ask ask) (err error) {
		t, err = timeline(ask, order)
		return err
	})
	if err != nil {
		return flow.Timeline{}, named("read timeline", err)
	}
	return t, nil
}

func timeline(ask ask, order uuid.UUID) (t flow.Timeline, err error) {
	found, err := list(ask, scanConversation, `SELECT `+conversationColumns+` FROM conversations WHERE id = $1`, order)
	if err != nil {
		return t, err
	}
	if len(found) == 0 {
		return t, flow.ErrNotFound
	}
	t.Order = found[0]
	if t.Events, err = list(ask, scanHappening, `SELECT conversation, at, event, from_state, to_state, channel, note
		FROM events WHERE conversation = $1 ORDER BY n DESC LIMIT $2`, order, flow.TimelineLimit); err != nil {
		return t, err
	}
	slices.Reverse(t.Events)
	if err := addTexts(ask, &t); err != nil {
		return t, err
	}
	return t, addReplies(ask, &t)
}

// addTexts reads the texts of t's events, and their receipts.
func addTexts(ask ask, t *flow.Timeline) error {
	looked := map[time.Time]bool{}
	for _, h := range t.Events {
		if !h.Texts() || looked[h.At] {
			continue
		}
		looked[h.At] = true
		texts, err := list(ask, scanMessage, `SELECT `+messageColumns+` FROM messages
			WHERE id >= $1 AND id < $2 AND conversation = $3 ORDER BY id`,
			floor(h.At), floor(h.At.Add(time.Millisecond)), t.Order.ID)
		if err != nil {
			return err
		}
		t.Texts = append(t.Texts, texts...)
	}
	slices.SortFunc(t.Texts, func(a, b flow.Message) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, m := range t.Texts {
		receipts, err := list(ask, scanReceipt, `SELECT message, sid, status, code, at FROM receipts
			WHERE message = $1`, m.ID)
		if err != nil {
			return err
		}
		t.Receipts = append(t.Receipts, receipts...)
	}
	slices.SortFunc(t.Receipts, func(a, b flow.Receipt) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Status, b.Status))
	})
	t.Texts, t.Receipts = youngest(t.Texts), youngest(t.Receipts)
	return nil
}

// addReplies reads what the numbers that the order was on have texted in its
// time.
func addReplies(ask ask, t *flow.Timeline) error {
	numbers := []flow.Number{t.Order.Line.Number}
	for _, m := range t.Texts {
		if !slices.Contains(numbers, m.Line.Number) {
			numbers = append(numbers, m.Line.Number)
		}
	}
	from, to := t.Order.Span()
	until := millis(to)
	if !until.Valid {
		until.Int64 = 1<<63 - 1
	}
	for _, n := range numbers {
		replies, err := list(ask, scanInbound, `SELECT `+inboundColumns+` FROM inbound
			WHERE at >= $1 AND at < $2 AND number = $3 AND (conversation IS NULL OR conversation = $4)
			ORDER BY at DESC, sid DESC LIMIT $5`,
			from.UnixMilli(), until.Int64, n.E164(), t.Order.ID, flow.TimelineLimit)
		if err != nil {
			return err
		}
		t.Replies = append(t.Replies, replies...)
	}
	slices.SortFunc(t.Replies, func(a, b flow.Inbound) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.SID, b.SID))
	})
	t.Replies = youngest(t.Replies)
	return nil
}

// youngest leaves out what is too much for a timeline, whose lists are oldest
// first.
func youngest[T any](rows []T) []T { return rows[max(0, len(rows)-flow.TimelineLimit):] }

// Outbox implements [flow.Records].
func (r records) Outbox(ctx context.Context, limit int) ([]flow.Message, error) {
	return lookUp(ctx, r, "list the outbox", scanMessage, `SELECT `+messageColumns+` FROM messages
		WHERE `+isOut+` ORDER BY due, id LIMIT $1`, max(0, limit))
}

// Failures implements [flow.Records].
func (r records) Failures(ctx context.Context, since time.Time, depth int) ([]flow.Failure, error) {
	return lookUp(ctx, r, "count failing texts", func(row scanner) (f flow.Failure, err error) {
		var last sql.NullInt64
		err = row.Scan(&f.Code, &f.N, &last)
		f.Last = moment(last)
		return f, err
	}, `SELECT code, count(*), max(created)
		FROM (SELECT * FROM messages WHERE id >= $1 ORDER BY id DESC LIMIT $2) AS newest
		WHERE `+isFailing+` GROUP BY code ORDER BY 2 DESC, 1`, floor(since), depth)
}

// Steps implements [flow.Records].
func (r records) Steps(ctx context.Context, since time.Time, depth int) ([]flow.Step, error) {
	return lookUp(ctx, r, "count steps", func(row scanner) (t flow.Step, err error) {
		err = row.Scan(&t.From, &t.Event, &t.To, &t.N)
		return t, err
	}, `SELECT from_state, event, to_state, count(*)
		FROM (SELECT * FROM events WHERE conversation >= $1 ORDER BY conversation DESC, n DESC LIMIT $2) AS newest
		GROUP BY from_state, event, to_state`, floor(since), depth)
}

func scanID(row scanner) (id uuid.UUID, err error) {
	err = row.Scan(&id)
	return id, err
}

func scanHappening(row scanner) (h flow.Happening, err error) {
	var at sql.NullInt64
	err = row.Scan(&h.Order, &at, &h.Event, &h.From, &h.To, &h.Channel, &h.Note)
	h.At = moment(at)
	return h, err
}

func scanReceipt(row scanner) (r flow.Receipt, err error) {
	var at sql.NullInt64
	err = row.Scan(&r.Message, &r.SID, &r.Status, &r.Code, &at)
	r.At = moment(at)
	return r, err
}

const inboundColumns = `sid, number, sender, at, read, conversation, reply`

// scanInbound reads inboundColumns.
func scanInbound(row scanner) (in flow.Inbound, err error) {
	var at sql.NullInt64
	err = row.Scan(&in.SID, &in.Line.Number, &in.Line.Sender, &at, &in.Read, &in.Order, &in.Reply)
	in.At = moment(at)
	return in, err
}
