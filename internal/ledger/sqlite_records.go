package ledger

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

var _ flow.Records = (*SQLite)(nil)

// Ops' queries are asked by people, so they are not prepared.
const (
	inboundColumns = `sid, number, sender, at, read, conversation, reply`
	// isFailing is [flow.Message.Failing].
	isFailing = `(state = 'failed' OR status IN ('undelivered', 'failed', 'canceled')
		OR state <> 'dropped' AND (code <> 0 OR unknown > 0))`
)

// newest is above every id there can be.
var newest = uuid.Max

// Orders implements [flow.Records].
func (s *SQLite) Orders(ctx context.Context, q flow.Search) (flow.Page[flow.Conversation], error) {
	var where []string
	var args []any
	if q.State != "" {
		where, args = append(where, `state = ?`), append(args, string(q.State))
	}
	if q.Number != "" {
		where, args = append(where, `number = ?`), append(args, q.Number.E164())
	}
	if q.Reference != "" {
		where, args = append(where, `upper(reference) = upper(?)`), append(args, q.Reference)
	}
	found, err := search(ctx, s.reads, q, "conversations", conversationColumns, where, args, scanConversation,
		func(c flow.Conversation) uuid.UUID { return c.ID })
	return found, failed("search orders", err)
}

// Failing implements [flow.Records].
func (s *SQLite) Failing(ctx context.Context, q flow.Search) (flow.Page[flow.Message], error) {
	where := []string{isFailing}
	var args []any
	switch q.Code {
	case 0:
	case flow.NoCode:
		where = append(where, `code = 0`)
	default:
		where, args = append(where, `code = ?`), append(args, q.Code)
	}
	found, err := search(ctx, s.reads, q, "messages", messageColumns, where, args, scanMessage,
		func(m flow.Message) uuid.UUID { return m.ID })
	return found, failed("search failing texts", err)
}

// search goes through the rows of a table from the newest id down, and stops
// at what the search may look at.
func search[T any](ctx context.Context, db *sql.DB, q flow.Search, table, columns string, where []string, args []any,
	scan func(scanner) (T, error), id func(T) uuid.UUID,
) (found flow.Page[T], err error) {
	before := q.Before
	if before == uuid.Nil {
		before = newest
	}
	limit, depth := cmp.Or(q.Limit, flow.SearchLimit), cmp.Or(q.Depth, flow.SearchDepth)
	query := `SELECT ` + columns + ` FROM (SELECT * FROM ` + table + ` WHERE id < ? ORDER BY id DESC LIMIT ?) AS newest`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	query += ` ORDER BY id DESC LIMIT ?`
	args = slices.Concat([]any{before[:], depth}, args, []any{limit + 1})
	if found.Rows, err = list(ctx, db, scan, query, args...); err != nil {
		return flow.Page[T]{}, err
	}
	if len(found.Rows) > limit { // there is more to list
		found.Rows = found.Rows[:limit]
		found.Next = id(found.Rows[limit-1])
		return found, nil
	}
	last, err := list(ctx, db, scanID, `SELECT id FROM `+table+` WHERE id < ? ORDER BY id DESC LIMIT 2 OFFSET ?`,
		before[:], depth-1)
	if err == nil && len(last) > 1 { // there is more to look at
		found.Next = last[0]
	}
	return found, err
}

func scanID(row scanner) (id uuid.UUID, err error) {
	err = row.Scan(&id)
	return id, err
}

// querier is an [sql.DB] or an [sql.Tx].
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list reads all rows of a query.
func list[T any](ctx context.Context, db querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// failed says what could not be read.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, explain(err))
}

// Timeline implements [flow.Records]. The order's texts lie in the table where
// its events had them written: each is looked for in that one millisecond.
func (s *SQLite) Timeline(ctx context.Context, order uuid.UUID) (t flow.Timeline, err error) {
	tx, err := s.reads.BeginTx(ctx, nil) // one snapshot
	if err != nil {
		return flow.Timeline{}, failed("read timeline", err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads

	t.Order, err = scanConversation(tx.QueryRowContext(ctx, `SELECT `+conversationColumns+` FROM conversations WHERE id = ?`, order[:]))
	if err != nil {
		return flow.Timeline{}, missing("find order", err)
	}
	t.Events, err = list(ctx, tx, scanHappening, `SELECT conversation, at, event, from_state, to_state, channel, note
		FROM events WHERE conversation = ? ORDER BY n DESC LIMIT ?`, order[:], flow.TimelineLimit)
	if err != nil {
		return flow.Timeline{}, failed("read events", err)
	}
	slices.Reverse(t.Events)
	if err := s.texts(ctx, tx, &t); err != nil {
		return flow.Timeline{}, failed("read texts", err)
	}
	if err := s.replies(ctx, tx, &t); err != nil {
		return flow.Timeline{}, failed("read replies", err)
	}
	return t, nil
}

// texts reads the texts of t's events, and their receipts.
func (s *SQLite) texts(ctx context.Context, tx *sql.Tx, t *flow.Timeline) error {
	order := t.Order.ID
	looked := map[time.Time]bool{}
	for _, h := range t.Events {
		if !h.Texts() || looked[h.At] {
			continue
		}
		looked[h.At] = true
		from, to := floor(h.At), floor(h.At.Add(time.Millisecond))
		texts, err := list(ctx, tx, scanMessage, `SELECT `+messageColumns+` FROM messages
			WHERE id >= ? AND id < ? AND conversation = ? ORDER BY id`, from[:], to[:], order[:])
		if err != nil {
			return err
		}
		t.Texts = append(t.Texts, texts...)
	}
	slices.SortFunc(t.Texts, func(a, b flow.Message) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, m := range t.Texts {
		receipts, err := list(ctx, tx, scanReceipt, `SELECT message, sid, status, code, at FROM receipts
			WHERE message = ?`, m.ID[:])
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

// replies reads what the numbers that the order was on have texted in its time.
func (s *SQLite) replies(ctx context.Context, tx *sql.Tx, t *flow.Timeline) error {
	order := t.Order.ID
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
		replies, err := list(ctx, tx, scanInbound, `SELECT `+inboundColumns+` FROM inbound
			WHERE sid IN (SELECT sid FROM inbound WHERE at >= ? AND at < ? AND number = ?)
				AND (conversation IS NULL OR conversation = ?)
			ORDER BY at DESC, sid DESC LIMIT ?`,
			from.UnixMilli(), until.Int64, n.E164(), order[:], flow.TimelineLimit)
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

// scanInbound reads inboundColumns.
func scanInbound(row scanner) (in flow.Inbound, err error) {
	var at sql.NullInt64
	err = row.Scan(&in.SID, &in.Line.Number, &in.Line.Sender, &at, &in.Read, &in.Order, &in.Reply)
	in.At = moment(at)
	return in, err
}

// Outbox implements [flow.Records].
func (s *SQLite) Outbox(ctx context.Context, limit int) ([]flow.Message, error) {
	out, err := list(ctx, s.reads, scanMessage, `SELECT `+messageColumns+` FROM messages
		WHERE `+isOut+` ORDER BY due, id LIMIT ?`, max(0, limit))
	return out, failed("list the outbox", err)
}

// Failures implements [flow.Records].
func (s *SQLite) Failures(ctx context.Context, since time.Time, depth int) ([]flow.Failure, error) {
	from := floor(since)
	failures, err := list(ctx, s.reads, func(row scanner) (f flow.Failure, err error) {
		var last sql.NullInt64
		err = row.Scan(&f.Code, &f.N, &last)
		f.Last = moment(last)
		return f, err
	}, `SELECT code, count(*), max(created)
		FROM (SELECT * FROM messages WHERE id >= ? ORDER BY id DESC LIMIT ?) AS newest
		WHERE `+isFailing+` GROUP BY code ORDER BY 2 DESC, 1`, from[:], depth)
	return failures, failed("count failing texts", err)
}

// Steps implements [flow.Records].
func (s *SQLite) Steps(ctx context.Context, since time.Time, depth int) ([]flow.Step, error) {
	from := floor(since)
	steps, err := list(ctx, s.reads, func(row scanner) (t flow.Step, err error) {
		err = row.Scan(&t.From, &t.Event, &t.To, &t.N)
		return t, err
	}, `SELECT from_state, event, to_state, count(*)
		FROM (SELECT * FROM events WHERE conversation >= ? ORDER BY conversation DESC, n DESC LIMIT ?) AS newest
		GROUP BY from_state, event, to_state`, from[:], depth)
	return steps, failed("count steps", err)
}

// Hurry implements [flow.Records].
func (s *SQLite) Hurry(ctx context.Context, message uuid.UUID, now time.Time) error {
	if s.writer == nil {
		return errReadOnly
	}
	const waits = `SELECT 1 FROM messages WHERE id = ? AND state = 'waiting' AND unknown = 0 AND due > ?`
	return named("hurry", s.writer.do(ctx,
		func() error {
			err := s.conn.QueryRowContext(unhurried, waits, message[:], now.UnixMilli()).Scan(new(int))
			if errors.Is(err, sql.ErrNoRows) {
				return flow.ErrStale
			}
			return explain(err)
		},
		func() error {
			_, err := s.conn.ExecContext(unhurried, `UPDATE messages SET due = ? WHERE id = ?`, now.UnixMilli(), message[:])
			return err
		}))
}
