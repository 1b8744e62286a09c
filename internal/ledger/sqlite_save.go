package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// adoptable is how much older than a message another one may be that could
// have its sid: longer than any PIN, and so any text, is worth sending.
const adoptable = 30 * 24 * time.Hour

// statements are the writer's.
type statements struct {
	begin, commit, rollback *sql.Stmt
	// for checks
	heard, version, place, lease, claimed, used, due *sql.Stmt
	// for writes
	newLine, line, newConversation, conversation, stays, happened, message, settle,
	inbound, shelve, receipt, stray, spend, take *sql.Stmt
}

// setRest sets conversationColumns, without those of the index of open ones, and
// appends to the history.
const setRest = `number = ?2, sender = ?3, browser = ?4, reference = ?6, amount = ?7,
	entries = ?8, complete = ?9, proved = ?10, serial = ?11, serial_key = ?12, serial_length = ?13,
	serial_reference = ?14, serial_amount = ?15, serial_expires = ?16, misses = ?17, texted = ?18,
	message = ?19, failure = ?20, created = ?21, ended = ?23, history = history || ?24`

// isUnsettled says that it is not known what became of a message.
const isUnsettled = `(state = 'leased' OR state = 'waiting' AND unknown > 0)`

// rankOf is [flow.Status.Rank] of a column, in SQL.
func rankOf(column string) string {
	var cases strings.Builder
	for _, status := range flow.Statuses {
		fmt.Fprintf(&cases, " WHEN '%s' THEN %d", status, status.Rank())
	}
	return fmt.Sprintf("CASE %s%s ELSE %d END", column, &cases, flow.StatusNone.Rank())
}

// sql is what each is prepared from.
func (t *statements) sql() map[**sql.Stmt]string {
	rank := rankOf("status")
	return map[**sql.Stmt]string{
		&t.begin:    `BEGIN IMMEDIATE`,
		&t.commit:   `COMMIT`,
		&t.rollback: `ROLLBACK`,

		&t.heard: `SELECT 1 FROM lines WHERE number = ?1 AND (instr(heard, ?2)
				OR heard_more AND EXISTS (SELECT 1 FROM heard WHERE sid = ?3)) LIMIT 1`,
		&t.version: `SELECT version, topic, conversations, heard, heard_more, NOT EXISTS (
				SELECT 1 FROM lines AS other WHERE other.number = lines.number AND other.sender <> lines.sender)
			FROM lines WHERE number = ? AND sender = ?`,
		&t.place:   `SELECT number, sender, state FROM conversations WHERE id = ?`,
		&t.lease:   `SELECT 1 FROM messages WHERE id = ? AND state = 'leased' AND attempt = ?`,
		&t.claimed: `SELECT 1 FROM messages WHERE id >= ? AND id <> ? AND sid = ? LIMIT 1`,
		&t.used:    `SELECT used FROM totals WHERE name = ?`,
		&t.due: `SELECT ` + messageColumns + ` FROM messages
			WHERE ` + isOut + ` AND due <= ? ORDER BY due, id LIMIT ?`,

		// Of the next two, and of the three after them, all have the same
		// parameters.
		&t.newLine: `INSERT INTO lines (version, opted_out, misses, hints,
				texts, serials, answers, topic, conversations, heard, heard_more, number, sender)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&t.line: `UPDATE lines SET version = ?, opted_out = ?, misses = ?, hints = ?,
				texts = ?, serials = ?, answers = ?, topic = ?, conversations = ?, heard = ?, heard_more = ?
			WHERE number = ? AND sender = ?`,
		&t.newConversation: `INSERT INTO conversations (` + conversationColumns + `, history)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&t.conversation: `UPDATE conversations SET state = ?5, deadline = ?22, ` + setRest + ` WHERE id = ?1`,
		// One that is as open as before, and for as long, keeps its place in the
		// index of those: to set what that is made of would write it anew.
		&t.stays:    `UPDATE conversations SET ` + setRest + ` WHERE id = ?1 AND state = ?5 AND deadline IS ?22`,
		&t.happened: `UPDATE conversations SET history = history || ? WHERE id = ?`,
		&t.message: `INSERT INTO messages (` + messageColumns + `)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&t.settle: `UPDATE messages SET state = ?, unknown = ?, due = ?,
				attempted = coalesce(attempted, ?), sid = coalesce(nullif(?, ''), sid), code = ?
			WHERE id = ? AND state = 'leased' AND attempt = ?`,
		&t.inbound: `INSERT INTO inbound (at, sid, number, sender, read, conversation, reply)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
		&t.shelve: `INSERT INTO heard (sid, at)
			SELECT value ->> 0, value ->> 1 FROM json_each('[' || substr(?, 2) || ']') WHERE true
			ON CONFLICT DO NOTHING`, // two numbers' would be no sid of Twilio's
		// That there is a receipt settles an open outcome: Twilio has the text.
		// One that is told again (?6 is how it begins) is the same one.
		&t.receipt: `UPDATE messages SET sid = iif(sid = '', ?2, sid),
				status = iif(` + rank + ` < ?3, ?4, status), code = iif(` + rank + ` < ?3, ?5, code),
				state = iif(` + isUnsettled + `, 'accepted', state),
				unknown = iif(` + isUnsettled + `, 0, unknown), due = iif(` + isUnsettled + `, NULL, due),
				receipts = receipts || iif(instr(receipts, ?6), '', ?7)
			WHERE id = ?1 AND (` + rank + ` < ?3 OR ` + isUnsettled + ` OR sid = '' AND ?2 <> ''
				OR NOT instr(receipts, ?6))`,
		&t.stray: `INSERT INTO stray_receipts (message, sid, status, code, at)
			SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = ?1)
			ON CONFLICT DO NOTHING`,
		&t.spend: `INSERT INTO totals (name, used) VALUES (?, ?)
			ON CONFLICT DO UPDATE SET used = used + excluded.used`,
		&t.take: `UPDATE messages SET state = 'leased', attempt = ?, unknown = ?, due = ? WHERE id = ?`,
	}
}

// The writer runs on no caller's context: to cancel one statement would roll
// back what others wait for.
var unhurried = context.Background()

// commitGroup does a group of jobs in one transaction. If that fails, each is
// done in one of its own, so that only the culprit fails.
func (s *SQLite) commitGroup(group []*job) {
	s.checkpoints.writing.Lock()
	defer s.checkpoints.writing.Unlock()
	if _, err := s.save.begin.ExecContext(unhurried); err != nil {
		fail(group, err)
		return
	}
	if err := s.transact(group); err == nil {
		return
	}
	for i, j := range group {
		if _, err := s.save.begin.ExecContext(unhurried); err != nil {
			fail(group[i:], err) // the lock was waited for once: not once for each
			return
		}
		if err := s.transact(group[i : i+1]); err != nil {
			j.err = explain(err)
		}
	}
}

func fail(group []*job, err error) {
	for _, j := range group {
		j.err = explain(err)
	}
}

// transact does a group of jobs in the transaction that has begun, and ends
// it. If it fails, nothing is written.
func (s *SQLite) transact(group []*job) (err error) {
	defer func() {
		if err != nil {
			// SQLite may have rolled back by itself; then this one fails.
			_, _ = s.save.rollback.ExecContext(unhurried)
		}
	}()
	s.till, s.rows = till{}, 0
	for _, j := range group {
		if j.err = j.check(); j.err != nil {
			continue
		}
		if err := j.write(); err != nil {
			return err
		}
	}
	if err := s.emptyTill(); err != nil {
		return err
	}
	if _, err := s.save.commit.ExecContext(unhurried); err != nil {
		return err
	}
	s.checkpoints.committed(s.rows)
	return nil
}

// Save implements [flow.Ledger].
func (s *SQLite) Save(ctx context.Context, ch flow.Change) error {
	if s.writer == nil {
		return errReadOnly
	}
	if err := ch.Validate(); err != nil {
		return named("save", err)
	}
	var f found
	err := s.writer.do(ctx,
		func() (err error) { f, err = s.check(ch); return err },
		func() error { return s.write(ch, f) })
	return named("save", err)
}

// named says what failed, but for what the port promises as it is.
func named(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flow.ErrHeard), errors.Is(err, flow.ErrStale),
		errors.Is(err, flow.ErrClaimed), errors.Is(err, flow.ErrSpent):
		return err
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// found is what check finds, for write to know.
type found struct {
	lines []hanging          // the change's, in its order
	fresh map[uuid.UUID]bool // the orders that are not there yet
}

// check refuses ch, in the port's order of precedence, and after that what
// only a bug can ask for.
func (s *SQLite) check(ch flow.Change) (f found, err error) {
	f.lines = make([]hanging, len(ch.Lines))
	for i, line := range ch.Lines {
		if f.lines[i], err = s.hanging(line.LineID); err != nil {
			return f, err
		}
	}
	if in := ch.Inbound; in != nil {
		known, err := s.knows(f.lines[hearing(in, ch.Lines)].heard, in)
		if err != nil || known {
			return f, cmp.Or(err, flow.ErrHeard)
		}
	}
	for i, line := range ch.Lines {
		if f.lines[i].version != line.Version {
			return f, flow.ErrStale
		}
	}
	if err := s.settleable(ch.Settle); err != nil {
		return f, err
	}
	if err := s.affordable(ch.Spend); err != nil {
		return f, err
	}
	f.fresh, err = s.sound(ch.Lines, f.lines)
	return f, err
}

// settleable refuses to settle what is under another lease, or by a sid that
// is another message's.
func (s *SQLite) settleable(t *flow.Settlement) error {
	if t == nil {
		return nil
	}
	if held, err := exists(unhurried, s.save.lease, t.Message[:], t.Attempt); err != nil || !held {
		return cmp.Or(err, flow.ErrStale)
	}
	if !t.Adopted || t.SID == "" {
		return nil
	}
	from := floor(born(t.Message).Add(-adoptable))
	if taken, err := exists(unhurried, s.save.claimed, from[:], t.Message[:], t.SID); err != nil || taken {
		return cmp.Or(err, flow.ErrClaimed)
	}
	return nil
}

// exists reports whether a query finds a row.
func exists(ctx context.Context, stmt *sql.Stmt, args ...any) (bool, error) {
	var one int
	err := stmt.QueryRowContext(ctx, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, explain(err)
}

// A till is what the totals come to within one transaction. However many of its
// jobs spend from one, it is read once and written once.
type till map[string]*tally

type tally struct{ used, spent int }

// affordable fails with [flow.ErrSpent] if a total would go over its limit.
func (s *SQLite) affordable(spend []flow.Spend) error {
	for i, this := range spend {
		total := s.till[this.Total]
		if total == nil {
			total = &tally{}
			err := s.save.used.QueryRowContext(unhurried, this.Total).Scan(&total.used)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return explain(err)
			}
			s.till[this.Total] = total
		}
		used := total.used + total.spent
		for _, with := range spend[:i+1] {
			if with.Total == this.Total {
				used += with.N
			}
		}
		if used > this.Limit {
			return flow.ErrSpent
		}
	}
	return nil
}

// emptyTill writes what was spent.
func (s *SQLite) emptyTill() error {
	for name, total := range s.till {
		if total.spent == 0 {
			continue
		}
		if err := s.run(s.save.spend, name, total.spent); err != nil {
			return fmt.Errorf("spend: %w", err)
		}
	}
	return nil
}

// hanging is what a line's row says of its conversations.
type hanging struct {
	version int64 // 0 if there is no row
	topic   uuid.UUID
	orders  []uuid.UUID // the open ones, and the topic
	heard   heard
}

func (s *SQLite) hanging(id flow.LineID) (hanging, error) {
	var h hanging
	var orders []byte
	err := s.save.version.QueryRowContext(unhurried, id.Number.E164(), id.Sender).Scan(
		&h.version, &h.topic, &orders, &h.heard.last, &h.heard.more, &h.heard.alone)
	if errors.Is(err, sql.ErrNoRows) {
		return hanging{}, nil
	}
	if err != nil {
		return hanging{}, explain(err)
	}
	h.orders, err = parseHangs(orders)
	return h, err
}

// sound refuses lines that would break what a ledger is: were is what hangs
// on them. It returns their orders that are not there yet.
func (s *SQLite) sound(lines []flow.Line, were []hanging) (fresh map[uuid.UUID]bool, err error) {
	saved := make(map[flow.LineID]bool, len(lines))
	listed := make(map[uuid.UUID]bool, len(lines))
	known := make(map[uuid.UUID]bool, len(lines)) // to be open on one of these lines
	for i, line := range lines {
		if saved[line.LineID] {
			return nil, errors.New("a line is listed twice")
		}
		saved[line.LineID] = true
		for _, c := range line.Conversations {
			if listed[c.ID] {
				return nil, fmt.Errorf("order %s is listed twice", c.ID)
			}
			listed[c.ID] = true
		}
		for _, order := range were[i].orders {
			known[order] = order != were[i].topic // which may have ended, or moved away
		}
	}
	for order := range listed {
		if known[order] {
			continue
		}
		line, _, err := s.place(order)
		switch {
		case err != nil:
			return nil, err
		case line == flow.LineID{}:
			if fresh == nil {
				fresh = make(map[uuid.UUID]bool, len(listed))
			}
			fresh[order] = true
		case !saved[line]:
			return nil, fmt.Errorf("order %s leaves a line that is not saved with it", order)
		}
	}
	for order := range known {
		if listed[order] {
			continue
		}
		if line, state, err := s.place(order); err != nil {
			return nil, err
		} else if saved[line] && state.Open() {
			return nil, fmt.Errorf("open order %s is left out of its line", order)
		}
	}
	return fresh, nil
}

// place returns the line that an order is on, none if it is new, and its state.
func (s *SQLite) place(order uuid.UUID) (line flow.LineID, state flow.State, err error) {
	err = s.save.place.QueryRowContext(unhurried, order[:]).Scan(&line.Number, &line.Sender, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return flow.LineID{}, flow.New, nil
	}
	return line, state, explain(err)
}

// write does what check has let through.
func (s *SQLite) write(ch flow.Change, f found) error {
	if in := ch.Inbound; in != nil {
		if err := s.writeInbound(in, &f.lines[hearing(in, ch.Lines)].heard); err != nil {
			return fmt.Errorf("write inbound text: %w", err)
		}
	}
	for i, line := range ch.Lines {
		if err := s.writeConversations(line, f.fresh, ch.Events); err != nil {
			return err
		}
		if err := s.writeLine(line, f.lines[i].heard); err != nil {
			return fmt.Errorf("write line: %w", err)
		}
	}
	for _, h := range ch.Events {
		if written(ch.Lines, h.Order) {
			continue // with its order
		}
		if err := s.writeHappening(h); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	for _, m := range ch.Messages {
		if err := s.run(s.save.message,
			m.ID[:], m.Order[:], m.Line.Number.E164(), m.Line.Sender, string(m.Kind), m.Serial, m.Locale,
			m.Named.Reference, m.Named.Amount, string(m.State), m.Attempt, m.Unknown,
			millis(m.Due), millis(m.Created), millis(m.Attempted), m.SID, string(m.Status), m.Code,
		); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
	}
	if t := ch.Settle; t != nil {
		if err := s.run(s.save.settle, string(t.State), t.Unknown, millis(t.Due), millis(t.Attempted),
			t.SID, t.Code, t.Message[:], t.Attempt); err != nil {
			return fmt.Errorf("settle message: %w", err)
		}
	}
	if ch.Receipt != nil {
		if err := s.writeReceipt(*ch.Receipt); err != nil {
			return fmt.Errorf("write receipt: %w", err)
		}
	}
	for _, t := range ch.Spend {
		s.till[t.Total].spent += t.N
	}
	return nil
}

// run writes a row.
func (s *SQLite) run(stmt *sql.Stmt, args ...any) error {
	_, err := s.affects(stmt, args...)
	return err
}

// affects is run of what may find no row, and reports whether it did find one.
func (s *SQLite) affects(stmt *sql.Stmt, args ...any) (bool, error) {
	result, err := stmt.ExecContext(unhurried, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	s.rows += int(n)
	return n > 0, err
}

// written reports whether that order is written with one of lines.
func written(lines []flow.Line, order uuid.UUID) bool {
	for _, l := range lines {
		if c := l.Find(order); c != nil && !c.Unchanged {
			return true
		}
	}
	return false
}

// writeConversations writes the orders that are listed on a line, and what of
// events happened to these.
func (s *SQLite) writeConversations(l flow.Line, fresh map[uuid.UUID]bool, events []flow.Happening) error {
	for _, c := range l.Conversations {
		if c.Unchanged {
			continue
		}
		form, err := entries(c.Entries)
		if err != nil {
			return fmt.Errorf("write order form: %w", err)
		}
		happened, err := history(c.ID, events)
		if err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		// Where it is listed is where it is: on l.
		row := []any{
			c.ID[:], l.Number.E164(), l.Sender, c.Browser[:], string(c.State),
			c.Named.Reference, c.Named.Amount, form, c.Complete, millis(c.Proved),
			c.Serial.N, c.Serial.Key, c.Serial.Length, c.Serial.Named.Reference, c.Serial.Named.Amount,
			millis(c.Serial.Expires), c.Misses, millis(c.Texted), optional(c.Message), string(c.Failure),
			millis(c.Created), millis(c.Deadline), millis(c.Ended), happened,
		}
		if err := s.writeConversation(c, fresh[c.ID], row); err != nil {
			return fmt.Errorf("write order: %w", err)
		}
	}
	return nil
}

// writeConversation writes c, whose row that is, and who is new if it is fresh.
func (s *SQLite) writeConversation(c flow.Conversation, fresh bool, row []any) error {
	if fresh {
		return s.run(s.save.newConversation, row...)
	}
	if c.State.Open() {
		if there, err := s.affects(s.save.stays, row...); err != nil || there {
			return err
		}
	}
	there, err := s.affects(s.save.conversation, row...)
	if err == nil && !there {
		err = fmt.Errorf("there is no order %s, which its line lists", c.ID)
	}
	return err
}

// writeLine writes a line that has heard so much.
func (s *SQLite) writeLine(l flow.Line, has heard) error {
	write := s.save.line
	if l.Version == 0 {
		write = s.save.newLine
	}
	return s.run(write, l.Version+1, millis(l.OptedOut), l.Misses, l.Hints,
		recent(l.Texts), recent(l.Serials), recent(l.Answers), optional(l.Topic), hangs(l), has.last, has.more,
		l.Number.E164(), l.Sender)
}

// writeHappening writes what left its order as it was.
func (s *SQLite) writeHappening(h flow.Happening) error {
	happened, err := history(h.Order, []flow.Happening{h})
	if err != nil {
		return err
	}
	there, err := s.affects(s.save.happened, happened, h.Order[:])
	if err == nil && !there {
		// Which is our own fault: no asker is to be told of something not found.
		err = fmt.Errorf("there is no order %s", h.Order)
	}
	return err
}

// writeReceipt keeps r and moves its message's status up.
func (s *SQLite) writeReceipt(r flow.Receipt) error {
	told, row, err := receipt(r)
	if err != nil {
		return err
	}
	there, err := s.affects(s.save.receipt, r.Message[:], r.SID, r.Status.Rank(), string(r.Status), r.Code, told, row)
	if err != nil || there {
		return err
	}
	return s.run(s.save.stray, r.Message[:], r.SID, string(r.Status), r.Code, millis(r.At))
}

// Take implements [flow.Ledger].
func (s *SQLite) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	if s.writer == nil {
		return nil, errReadOnly
	}
	if limit < 1 {
		return nil, nil
	}
	var due []flow.Message
	err := s.writer.do(ctx,
		func() (err error) {
			due, err = s.due(now, limit)
			return err
		},
		func() error {
			for i := range due {
				m := &due[i]
				if m.State == flow.Leased { // and its lease ran out
					m.Unknown++
				}
				m.State, m.Due = flow.Leased, until
				m.Attempt++
				if err := s.run(s.save.take, m.Attempt, m.Unknown, millis(until), m.ID[:]); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return nil, named("take", err)
	}
	return due, nil
}

// due lists up to limit messages that wait to be taken, oldest due first.
func (s *SQLite) due(now time.Time, limit int) ([]flow.Message, error) {
	rows, err := s.save.due.QueryContext(unhurried, now.UnixMilli(), limit)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = rows.Close() }()
	var due []flow.Message
	for rows.Next() {
		m, err := scanMessage(rows)
		if err != nil {
			return nil, explain(err)
		}
		due = append(due, m)
	}
	return due, explain(rows.Err())
}

// Ping implements [flow.Ledger]: it writes a row, like any save. When ctx ends
// it gives up waiting, since there is no outcome to be missed. A file that was
// deleted or put in our file's place fails it: what is saved would be lost with
// the process.
func (s *SQLite) Ping(ctx context.Context) error {
	if s.writer == nil {
		return named("ping", s.reads.PingContext(ctx))
	}
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(now, s.file) {
		return fmt.Errorf("ping: %s is not the file that was opened: it was deleted or replaced", s.path)
	}
	return named("ping", s.writer.knock(ctx, &job{
		check: func() error { return nil },
		write: func() error { return s.run(s.save.spend, "pings", 1) },
	}))
}
