package ledger

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// millis is a time as a row holds it; a zero time is NULL.
func millis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// moment is the time that a row holds.
func moment(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}

// optional is an id as a row holds it; a nil one is NULL.
func optional(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}

// recent is a [flow.Recent] as a JSON array of milliseconds.
func recent(r flow.Recent) string {
	text := append(make([]byte, 0, 2+len(r)*len("1764000000000,")), '[')
	for i, t := range r {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, t.UnixMilli(), 10)
	}
	return string(append(text, ']'))
}

// allMillis are times as a row holds them.
func allMillis(r flow.Recent) []int64 {
	times := make([]int64, len(r))
	for i, t := range r {
		times[i] = t.UnixMilli()
	}
	return times
}

// parseRecent reads what recent wrote into r.
func parseRecent(text []byte, r *flow.Recent) error {
	var times []int64
	if err := json.Unmarshal(text, &times); err != nil {
		return fmt.Errorf("read times: %w", err)
	}
	*r = moments(times)
	return nil
}

// moments are times that a row holds as milliseconds.
func moments(ms []int64) (r flow.Recent) {
	for _, at := range ms {
		r = append(r, time.UnixMilli(at).UTC())
	}
	return r
}

// entries is an order form as a JSON array.
func entries(form []flow.Entry) (string, error) {
	if len(form) == 0 {
		return "[]", nil
	}
	text, err := json.Marshal(form)
	return string(text), err
}

// parseEntries reads what entries wrote into form.
func parseEntries(text []byte, form *[]flow.Entry) error {
	if string(text) == "[]" {
		return nil
	}
	if err := json.Unmarshal(text, form); err != nil {
		return fmt.Errorf("read order form: %w", err)
	}
	return nil
}

// loaded are the conversations that are loaded with a saved line: the open
// ones and the topic.
func loaded(l flow.Line) []uuid.UUID {
	ids := []uuid.UUID{}
	for _, c := range l.Conversations {
		if c.State.Open() {
			ids = append(ids, c.ID)
		}
	}
	if l.Topic != uuid.Nil && !slices.Contains(ids, l.Topic) {
		ids = append(ids, l.Topic)
	}
	return ids
}

// hangs is what loaded lists, as a JSON array of hex.
func hangs(l flow.Line) string {
	ids := loaded(l)
	text := append(make([]byte, 0, 2+len(ids)*(hex.EncodedLen(len(uuid.UUID{}))+3)), '[')
	for i, id := range ids {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(hex.AppendEncode(append(text, '"'), id[:]), '"')
	}
	return string(append(text, ']'))
}

// parseHangs reads what hangs wrote.
func parseHangs(text []byte) (orders []uuid.UUID, err error) {
	list := bytes.Trim(text, "[]")
	orders = []uuid.UUID{} // and not NULL, where they are moved to
	for len(list) > 0 {
		var quoted []byte
		quoted, list, _ = bytes.Cut(list, []byte(","))
		var id uuid.UUID
		if digits := bytes.Trim(quoted, `"`); len(digits) == hex.EncodedLen(len(id)) {
			_, err = hex.Decode(id[:], digits)
		} else {
			err = fmt.Errorf("an id of %d digits", len(digits))
		}
		if err != nil {
			return nil, fmt.Errorf("read a line's orders: %w", err)
		}
		orders = append(orders, id)
	}
	return orders, nil
}

// history is what happened to an order, as its row holds it: JSON arrays, each
// after a comma.
func history(order uuid.UUID, events []flow.Happening) (string, error) {
	var text []byte
	for _, h := range events {
		if h.Order != order {
			continue
		}
		row, err := json.Marshal([...]any{orNull(h.At), h.Event, h.From, h.To, h.Channel, h.Note})
		if err != nil {
			return "", err
		}
		text = append(append(text, ','), row...)
	}
	return string(text), nil
}

// receipt is r as its message's row holds it: likewise. Told is how every
// receipt begins that tells the same.
func receipt(r flow.Receipt) (told, row string, err error) {
	what, err := json.Marshal([...]any{r.SID, r.Status})
	if err != nil {
		return "", "", err
	}
	when, err := json.Marshal([...]any{r.Code, orNull(r.At)})
	if err != nil {
		return "", "", err
	}
	told = "," + string(what[:len(what)-1]) + ","
	return told, told + string(when[1:]), nil
}

// orNull is a time as JSON in a row holds it.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// arrange puts a line's conversations into the port's order: the open ones,
// oldest first, and after them the topic's. Others are left out.
func arrange(l *flow.Line) {
	l.Conversations = slices.DeleteFunc(l.Conversations, func(c flow.Conversation) bool {
		return !c.State.Open() && c.ID != l.Topic
	})
	slices.SortFunc(l.Conversations, func(a, b flow.Conversation) int {
		return cmp.Or(
			cmp.Compare(ended(a), ended(b)),
			a.Created.Compare(b.Created),
			bytes.Compare(a.ID[:], b.ID[:]),
		)
	})
}

// ended orders the open before the ended.
func ended(c flow.Conversation) int {
	if c.State.Open() {
		return 0
	}
	return 1
}

// floor is the least UUIDv7 of time t: rows with ids from there on are no older.
func floor(t time.Time) uuid.UUID {
	var id uuid.UUID
	for ms, i := max(0, t.UnixMilli()), 5; i >= 0; ms, i = ms>>8, i-1 {
		id[i] = byte(ms)
	}
	return id
}

// born is the time in a UUIDv7.
func born(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}
