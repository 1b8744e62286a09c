package main

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/ledger"
)

// An audit compares what is written with what was seen: by the booth, and by
// the customers.
type audit struct {
	*town
	db    *sql.DB
	rows  flow.Ledger
	keys  *flow.Keyring
	texts []boothText    // by REST
	sent  []flow.Message // what was to be texted, of each order in the order it was written
	noted journal
}

// listed are ids and the like that a query lists.
func listed[T any](ctx context.Context, db *sql.DB, query string, scan func(*sql.Rows) (T, error)) ([]T, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func anID(rows *sql.Rows) (id uuid.UUID, err error) {
	err = rows.Scan(&id)
	return id, err
}

// newAudit opens the books of a service that is not running.
func newAudit(ctx context.Context, w *town) (*audit, error) {
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		return nil, err
	}
	a := &audit{town: w, db: db}
	if a.rows, err = ledger.Open(ctx, w.set["DATABASE_URL"], ledger.ReadOnly()); err != nil {
		return nil, err
	}
	if a.keys, err = flow.NewKeyring(flow.Key(w.set["SECRET_KEY"])); err != nil {
		return nil, err
	}
	all, err := w.record("")
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.Direction == "outbound-api" {
			a.texts = append(a.texts, t)
		}
	}
	return a, nil
}

func (a *audit) close() {
	_ = a.rows.Close()
	_ = a.db.Close()
}

// check is all of the audit.
func (a *audit) check() error {
	for _, step := range []func() error{a.load, a.orders, a.pins, a.histories, a.answers, a.lines, a.secrets} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// load reads what several steps look into.
func (a *audit) load() (err error) {
	if a.noted, err = readJournal(filepath.Join(a.dir, journalName)); err != nil {
		return err
	}
	ids, err := listed(a.ctx, a.db, `SELECT id FROM messages`, anID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		m, err := a.rows.Message(a.ctx, id)
		if err != nil {
			a.book.breach(unreadable, "message %s: %v", id, err)
			continue
		}
		a.sent = append(a.sent, m)
	}
	// By serial first: of two processes, the one that began sooner may be the
	// one that wrote later.
	slices.SortFunc(a.sent, func(a, b flow.Message) int {
		return cmp.Or(bytes.Compare(a.Order[:], b.Order[:]), cmp.Compare(a.Serial, b.Serial), a.Created.Compare(b.Created))
	})
	return nil
}

// orders: each that a customer was told of is there, as they were told; and
// each has ended.
func (a *audit) orders() error {
	ids, err := listed(a.ctx, a.db, `SELECT id FROM conversations`, anID)
	if err != nil {
		return err
	}
	a.book.count("orders in the database", len(ids))
	found := map[string]flow.State{}
	for _, id := range ids {
		c, err := a.rows.Conversation(a.ctx, id)
		if err != nil {
			a.book.breach(unreadable, "order %s: %v", id, err)
			continue
		}
		found[id.String()] = c.State
		a.book.count("orders "+string(c.State), 1)
		if c.State.Open() {
			a.book.breach(notEnded, "order %s is %s", id, c.State)
		}
	}
	for id, t := range a.book.orders {
		switch state, ok := found[id]; {
		case !ok:
			a.book.breach(lostOrders, "order %s is not in the database", id)
		case t.ended != "" && t.ended != string(state):
			a.book.breach(lostOrders, "order %s: the customer was told %s, and it is %s", id, t.ended, state)
		}
		thanked := distinct(slices.Clone(t.thanked))
		if len(thanked) > 1 {
			a.book.breach(twice, "order %s: %d texts were answered that it is confirmed now", id, len(thanked))
		}
	}
	return nil
}

// An issue is one PIN's: of an order, on a number, of a serial.
type issue struct {
	order  uuid.UUID
	number flow.Number
	serial int64
}

// pins: each text was written before it was sent, and has the PIN of its
// serial; there is no more than one text for each row; and none went to a
// number after the customer was told that it is changed.
func (a *audit) pins() error {
	type key struct{ number, reference, pin string }
	written := map[key]issue{} // what may have been texted
	away, changed := a.moves(), map[issue]time.Time{}
	rows := map[issue]int{}
	for _, m := range a.sent {
		pin, ok := a.keys.PIN(m.Order, m.Line.Number, flow.Serial{
			N: m.Serial, Key: flow.Key(a.set["SECRET_KEY"]).ID(), Length: 6, Named: m.Named,
		})
		if !ok {
			a.book.breach(unreadable, "message %s has no PIN", m.ID)
		}
		of := issue{m.Order, m.Line.Number, m.Serial}
		written[key{m.Line.Number.E164(), m.Named.Reference, pin.Digits()}] = of
		rows[of]++
		if at, ok := away[m.ID]; ok {
			changed[of] = at
		}
		if m.State == flow.Leased || m.State == flow.Waiting {
			a.book.breach(notTexted, "message %s is %s in the end", m.ID, m.State)
		}
	}
	a.book.count("texts written", len(a.sent))
	a.book.count("texts sent", len(a.texts))

	sent := map[issue]int{}
	type named struct{ number, reference string }
	pins, serials := map[named]map[string]bool{}, map[named]map[int64]bool{}
	for _, t := range a.texts {
		found := pinText.FindStringSubmatch(t.Body)
		if found == nil {
			a.book.breach(otherPIN, "text %s brings no PIN", t.Sid)
			continue
		}
		of, ok := written[key{t.To, found[2], found[1]}]
		if !ok {
			a.book.breach(otherPIN, "text %s at %s has a PIN that no row has", t.Sid, t.Date)
			continue
		}
		sent[of]++
		note(pins, named{t.To, found[2]}, found[1])
		if at, ok := changed[of]; ok && t.Date.After(at) {
			a.book.count("texts under way when their number was changed", 1)
		}
	}
	for _, m := range a.sent {
		note(serials, named{m.Line.Number.E164(), m.Named.Reference}, m.Serial)
		// What had been looked at by then is under way, and cannot be called
		// back.
		for _, looked := range a.noted.posted[m.ID] {
			if at, ok := away[m.ID]; ok && looked.After(at) {
				a.book.breach(changedAway, "order %s: message %s was posted, though its order was looked at %v after the number was changed", m.Order, m.ID, looked.Sub(at))
			}
		}
	}
	// The same without knowing how PINs are made: a serial has one.
	for of, n := range pins {
		if len(n) > len(serials[of]) {
			a.book.breach(otherPIN, "order %s: %d PINs for %d serials", of.reference, len(n), len(serials[of]))
		}
	}
	for of, n := range sent {
		if n > rows[of] {
			a.book.breach(extraTexts, "order %s, serial %d: %d texts of %d", of.order, of.serial, n, rows[of])
		}
		a.book.count("texts beyond one a serial, each asked for", max(0, min(n, rows[of])-1))
	}
	return nil
}

// note adds v to what m has at k.
func note[K, V comparable](m map[K]map[V]bool, k K, v V) {
	if m[k] == nil {
		m[k] = map[V]bool{}
	}
	m[k][v] = true
}

// moves tell of each message when its order went to another number: whoever is
// texted later than that is texted in vain. A changed number is texted in the
// same transaction, and the process that wrote it noted when that was done; one
// that died before it could has told nobody. An order may come back to a number,
// when a customer asks again for what nobody answered: then by another message.
func (a *audit) moves() map[uuid.UUID]time.Time {
	away := map[uuid.UUID]time.Time{}
	for i, m := range a.sent {
		for _, next := range a.sent[i+1:] {
			if next.Order != m.Order {
				break
			}
			if next.Line == m.Line {
				continue
			}
			if at, ok := a.noted.written[next.ID]; ok {
				away[m.ID] = at
			} else {
				a.book.count("numbers changed by a process that died of it", 1)
			}
			break
		}
	}
	return away
}

// A happening is a row of an order's history.
type happening struct {
	order                uuid.UUID
	n                    int
	at                   int64
	event, from, to, via string
}

// histories: each order is confirmed at most once, and no PIN is compared more
// often than its tries.
func (a *audit) histories() error {
	all, err := listed(a.ctx, a.db, `SELECT conversation, n, at, event, from_state, to_state, channel FROM events ORDER BY at, conversation, n`,
		func(rows *sql.Rows) (h happening, err error) {
			err = rows.Scan(&h.order, &h.n, &h.at, &h.event, &h.from, &h.to, &h.via)
			return h, err
		})
	if err != nil {
		return err
	}
	homes, err := listed(a.ctx, a.db, `SELECT id, number FROM conversations`, func(rows *sql.Rows) (h home, err error) {
		err = rows.Scan(&h.order, &h.number)
		return h, err
	})
	if err != nil {
		return err
	}
	numbers := a.numbers(homes)
	type counted struct{ confirmed, web, changes int }
	orders, byReply := map[uuid.UUID]*counted{}, map[string]int{}
	for _, h := range all {
		c := orders[h.order]
		if c == nil {
			c = &counted{}
			orders[h.order] = c
		}
		line := numbers.at(h.order, h.at) // whose tries a reply's are
		if h.to == string(flow.Confirmed) && (h.event == string(flow.Matched)) {
			if c.confirmed++; c.confirmed > 1 {
				a.book.breach(twice, "order %s", h.order)
			}
			a.book.count("confirmed by "+h.via, 1)
		}
		missed := h.event == string(flow.Missed) || h.event == string(flow.Spent) || h.event == string(flow.LastMiss)
		if h.event == string(flow.Moved) {
			c.changes++
		}
		if h.event == string(flow.Withheld) && h.from != string(flow.New) {
			a.book.breach(unreadable, "order %s was moved to a number that has opted out, which nobody did", h.order)
		}
		switch flow.Event(h.event) {
		case flow.Ordered, flow.Renewed, flow.Moved:
			c.web, byReply[line] = 0, 0
		default:
		}
		switch {
		case missed && h.via == string(flow.Web):
			if c.web++; c.web > flow.WebTries {
				a.book.breach(overLimit, "order %s: %d on the page", h.order, c.web)
			}
		case missed && h.via == string(flow.Reply) && h.event != string(flow.LastMiss):
			// A reply's last miss may also be noted on orders beside the one it
			// was about.
			if byReply[line]++; byReply[line] > flow.ReplyTries {
				a.book.breach(overLimit, "order %s: %d by reply", h.order, byReply[line])
			}
		}
		if missed {
			a.book.count("wrong PINs", 1)
		}
	}
	for id, o := range a.book.orders {
		if c := orders[uuid.MustParse(id)]; c != nil && c.changes < o.changes {
			a.book.breach(lostOrders, "order %s: the number was changed %d times, and the customer was told of %d", id, c.changes, o.changes)
		}
	}
	return nil
}

// A home is the number that an order has in the end.
type home struct {
	order  uuid.UUID
	number string
}

// A numbering is which number each order had from when on, in milliseconds.
type numbering map[uuid.UUID][]stay

type stay struct {
	since  int64
	number string
}

// numbers are told by the texts that were written when they changed. An order
// that was never texted has had one.
func (a *audit) numbers(homes []home) numbering {
	all := numbering{}
	for _, m := range a.sent {
		all[m.Order] = append(all[m.Order], stay{m.Created.UnixMilli(), m.Line.Number.E164()})
	}
	for _, h := range homes {
		if all[h.order] == nil {
			all[h.order] = []stay{{0, h.number}}
		}
	}
	return all
}

func (n numbering) at(order uuid.UUID, at int64) string {
	number := ""
	for _, s := range n[order] {
		if s.since <= at || number == "" {
			number = s.number
		}
	}
	return number
}

// answers: a text was answered the same each time, as it was committed.
func (a *audit) answers() error {
	for sid, h := range a.book.heard {
		want, err := a.rows.Heard(a.ctx, h.from, sid)
		if err != nil {
			a.book.breach(otherAnswer, "text %s was answered and is not in the database: %v", sid, err)
			continue
		}
		if noted, ok := a.noted.replies[sid]; ok && noted != want.Reply {
			a.book.breach(otherAnswer, "text %s is in the database with another answer than was committed", sid)
		}
		for _, got := range h.answers {
			if !strings.Contains(got, xmlEscaped(want.Reply)) || want.Reply == "" && strings.Contains(got, "<Message>") {
				a.book.breach(otherAnswer, "text %s: %q, not %q", sid, got, want.Reply)
			}
		}
		if _, committed := a.noted.replies[sid]; h.interrupted && committed {
			a.book.count("texts interrupted once and answered in the end", 1)
		}
	}
	a.book.count("texts answered", len(a.book.heard))
	return nil
}

// lines: what hangs on each can be loaded.
func (a *audit) lines() error {
	ids, err := listed(a.ctx, a.db, `SELECT number, sender FROM lines`, func(rows *sql.Rows) (id flow.LineID, err error) {
		err = rows.Scan(&id.Number, &id.Sender)
		return id, err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		l, err := a.rows.Reload(a.ctx, id)
		if err != nil {
			a.book.breach(unreadable, "a line: %v", err)
		}
		if l.Misses > flow.ReplyTries {
			a.book.breach(overLimit, "a line has %d misses", l.Misses)
		}
	}
	a.book.count("lines", len(ids))
	return nil
}

// numberInRow is a number, which belongs into the database.
var numberInRow = regexp.MustCompile(`\+1[0-9]{10}\b`)

// secrets: no PIN is in the database or the log, and no number in the log.
func (a *audit) secrets() error {
	pins, numbers := map[string]bool{}, map[string]bool{}
	for _, t := range a.texts {
		pins[pinIn(t.Body)] = true
		numbers[strings.TrimPrefix(t.To, "+1")] = true
	}
	held := func(where, text string, secrets map[string]bool, length int) {
		for secret := range runs(innocent.ReplaceAllString(text, "|"), length) {
			if secrets[secret] {
				a.book.breach(leakedSecret, "%s holds a secret of %d digits", where, length)
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(a.dir, logName))
	if err != nil {
		return err
	}
	held("the log", string(log), pins, 6)
	held("the log", string(log), numbers, 10)
	for _, bad := range []string{"DATA RACE", "panic"} {
		if strings.Contains(string(log), bad) {
			a.book.breach(ourFaults, "the log tells of a %s", bad)
		}
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "level=ERROR") {
			a.book.breach(ourFaults, "the log: %s", line)
		}
	}
	dump, err := a.dump()
	if err != nil {
		return err
	}
	held("the database", numberInRow.ReplaceAllString(dump, "|"), pins, 6)
	return nil
}

// runs are all runs of n digits within longer ones.
func runs(text string, n int) map[string]bool {
	found := map[string]bool{}
	digits := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			digits = 0
			continue
		}
		if digits++; digits >= n {
			found[text[i+1-n:i+1]] = true
		}
	}
	return found
}

// tables are all that the ledger keeps rows in.
var tables = []string{"lines", "conversations", "messages", "inbound", "receipts", "events", "totals"}

// dump is every value of every row, as text.
func (a *audit) dump() (string, error) {
	var b strings.Builder
	for _, table := range tables {
		_, err := listed(a.ctx, a.db, `SELECT * FROM `+table, func(rows *sql.Rows) (struct{}, error) {
			columns, err := rows.Columns()
			if err != nil {
				return struct{}{}, err
			}
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			err = rows.Scan(values...)
			for _, v := range values {
				switch v := (*v.(*any)).(type) {
				case int64, bool, time.Time: // what is counted or timed is no text
				case []byte:
					_, _ = b.Write(v)
				default:
					_, _ = fmt.Fprint(&b, v)
				}
				b.WriteByte('|')
			}
			return struct{}{}, err
		})
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
