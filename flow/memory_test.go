package flow

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
)

const ours = "+18005550100"

func on(n Number) LineID { return LineID{n, ours} }

func nth(n int) (id uuid.UUID) {
	binary.BigEndian.PutUint32(id[:], uint32(n)) //nolint:gosec // small
	return id
}

func TestWhereAnOrderIsRemembered(t *testing.T) {
	// others are so many orders told of after it.
	others := func(m *memory, many int) {
		for n := range many {
			m.settle(nth(n+2), on("+14155550199"))
		}
	}
	for _, tt := range []struct {
		name string
		told func(m *memory)
		want Number // of the order 1; empty if it is to be looked for
	}{
		{"an order nobody told of", func(*memory) {}, ""},
		{"one that was told of", func(m *memory) { m.settle(nth(1), on("+14155550101")) }, "+14155550101"},
		{"the longest number there can be", func(m *memory) { m.settle(nth(1), on("+999999999999999")) }, "+999999999999999"},
		{"one that has moved", func(m *memory) {
			m.settle(nth(1), on("+14155550101"))
			m.settle(nth(1), on("+14155550102"))
		}, "+14155550102"},
		{"one on a line of another sender", func(m *memory) { m.settle(nth(1), LineID{"+14155550101", "MG1"}) }, ""},
		{"one on a line that is no number's", func(m *memory) { m.settle(nth(1), on("SHOP")) }, ""},
		{"one that moved when its generation was full", func(m *memory) {
			m.settle(nth(1), on("+14155550101"))
			others(m, generation)
			m.settle(nth(1), on("+14155550102"))
		}, "+14155550102"},
		{"one of the generation before", func(m *memory) {
			m.settle(nth(1), on("+14155550101"))
			others(m, generation)
		}, "+14155550101"},
		{"one of the generation before that", func(m *memory) {
			m.settle(nth(1), on("+14155550101"))
			others(m, 2*generation)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := memory{sender: ours}
			tt.told(&m)
			line, ok := m.home(nth(1))
			if ok != (tt.want != "") || ok && line != on(tt.want) {
				t.Errorf("it is on %v (%v), want %q", line, ok, tt.want)
			}
		})
	}
}

func TestATextIsRememberedByItsHighestStatus(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	text := Message{ID: newID(now), Order: nth(1), Line: on("+14155550101"), State: Accepted, Created: now}
	is := func(s Status) Message { m := text; m.Status = s; return m }
	leased, asked, retried := text, text, text
	leased.State = Leased
	asked.State, asked.Unknown = Waiting, 1
	retried.State = Waiting
	for _, tt := range []struct {
		name string
		told func(m *memory)
		want []Message // one or none
	}{
		{"a text nobody told of", func(*memory) {}, nil},
		{"one that was taken", func(m *memory) { m.text(text) }, []Message{text}},
		{"one whose receipt was faster than Twilio's answer", func(m *memory) {
			m.received(leased, StatusDelivered)
			m.text(text)
		}, []Message{is(StatusDelivered)}},
		{"one that nobody knew was taken", func(m *memory) { m.received(asked, StatusSent) }, []Message{is(StatusSent)}},
		{"one whose receipts overtake each other", func(m *memory) {
			m.received(text, StatusDelivered)
			m.received(text, StatusSent)
		}, []Message{is(StatusDelivered)}},
		{"one that arrived although it was said not to", func(m *memory) {
			m.received(text, StatusUndelivered)
			m.received(is(StatusUndelivered), StatusDelivered)
		}, []Message{is(StatusDelivered)}},
		{"one with a word that Twilio may add", func(m *memory) { m.received(text, "teleported") }, []Message{text}},
		{"one whose receipt was perhaps not written", func(m *memory) {
			m.text(text)
			m.forget(text.ID)
		}, nil},
		{"one that is to be tried again", func(m *memory) { m.received(retried, StatusSent) }, nil},
		{"one from another sender", func(m *memory) {
			other := text
			other.Line.Sender = "MG1"
			m.text(other)
		}, nil},
		{"one that another process may have a receipt of", func(m *memory) {
			m.alone = false
			m.text(text)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := memory{sender: ours, alone: true}
			tt.told(&m)
			got, ok := m.message(text.ID)
			if ok != (len(tt.want) == 1) || ok && got != tt.want[0] {
				t.Errorf("it is %+v (%v), want %+v", got, ok, tt.want)
			}
		})
	}
}
