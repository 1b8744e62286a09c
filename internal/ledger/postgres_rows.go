package ledger

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A save is a change as countersign_commit takes it.
type save struct {
	change []byte  // a changeRow, as JSON
	locks  []int64 // of what it names; see locks
}

// A changeRow is a change as countersign_save reads it. What is a whole row has
// the names of its table's columns; times are milliseconds, and what is null is
// NULL.
type changeRow struct {
	Lines         []lineRow         `json:"lines,omitempty"`
	Conversations []conversationRow `json:"conversations,omitempty"`
	Messages      []messageRow      `json:"messages,omitempty"`
	Settle        *settleRow        `json:"settle,omitempty"`
	Inbound       *inboundRow       `json:"inbound,omitempty"`
	Receipt       *receiptRow       `json:"receipt,omitempty"`
	Events        []eventRow        `json:"events,omitempty"`
	Spend         []spendRow        `json:"spend,omitempty"`
	// Flaw is why the change is refused if nothing else is against it.
	Flaw string `json:"flaw,omitempty"`
}

type lineRow struct {
	Number        string      `json:"number"`
	Sender        string      `json:"sender"`
	Version       int64       `json:"version"` // that it gets
	OptedOut      *int64      `json:"opted_out"`
	Misses        int         `json:"misses"`
	Hints         int         `json:"hints"`
	Texts         []int64     `json:"texts"`
	Serials       []int64     `json:"serials"`
	Answers       []int64     `json:"answers"`
	Topic         *uuid.UUID  `json:"topic"`
	Conversations []uuid.UUID `json:"conversations"`
}

type conversationRow struct {
	ID              uuid.UUID  `json:"id"`
	Number          string     `json:"number"`
	Sender          string     `json:"sender"`
	Browser         string     `json:"browser"` // as PostgreSQL writes bytes
	State           string     `json:"state"`
	Reference       string     `json:"reference"`
	Amount          string     `json:"amount"`
	Entries         string     `json:"entries"`
	Complete        bool       `json:"complete"`
	Proved          *int64     `json:"proved"`
	Serial          int64      `json:"serial"`
	SerialKey       string     `json:"serial_key"`
	SerialLength    int        `json:"serial_length"`
	SerialReference string     `json:"serial_reference"`
	SerialAmount    string     `json:"serial_amount"`
	SerialExpires   *int64     `json:"serial_expires"`
	Misses          int        `json:"misses"`
	Texted          *int64     `json:"texted"`
	Message         *uuid.UUID `json:"message"`
	Failure         string     `json:"failure"`
	Created         *int64     `json:"created"`
	Deadline        *int64     `json:"deadline"`
	Ended           *int64     `json:"ended"`
}

type messageRow struct {
	ID           uuid.UUID `json:"id"`
	Conversation uuid.UUID `json:"conversation"`
	Number       string    `json:"number"`
	Sender       string    `json:"sender"`
	Kind         string    `json:"kind"`
	Serial       int64     `json:"serial"`
	Locale       string    `json:"locale"`
	Reference    string    `json:"reference"`
	Amount       string    `json:"amount"`
	State        string    `json:"state"`
	Attempt      int       `json:"attempt"`
	Unknown      int       `json:"unknown"`
	Due          *int64    `json:"due"`
	Created      *int64    `json:"created"`
	Attempted    *int64    `json:"attempted"`
	SID          string    `json:"sid"`
	Status       string    `json:"status"`
	Rank         int       `json:"rank"`
	Code         int       `json:"code"`
}

type settleRow struct {
	Message   uuid.UUID `json:"message"`
	Attempt   int       `json:"attempt"`
	State     string    `json:"state"`
	Unknown   int       `json:"unknown"`
	Due       *int64    `json:"due"`
	Attempted *int64    `json:"attempted"`
	SID       string    `json:"sid"`
	Code      int       `json:"code"`
	// AdoptedSince is the least id of a message that must not have the SID;
	// null if it need not be looked for.
	AdoptedSince *uuid.UUID `json:"adopted_since"`
}

type inboundRow struct {
	SID          string     `json:"sid"`
	Number       string     `json:"number"`
	Sender       string     `json:"sender"`
	At           *int64     `json:"at"`
	Read         string     `json:"read"`
	Conversation *uuid.UUID `json:"conversation"`
	Reply        string     `json:"reply"`
}

type receiptRow struct {
	Message uuid.UUID `json:"message"`
	SID     string    `json:"sid"`
	Status  string    `json:"status"`
	Rank    int       `json:"rank"`
	Code    int       `json:"code"`
	At      *int64    `json:"at"`
}

type eventRow struct {
	Conversation uuid.UUID `json:"conversation"`
	At           *int64    `json:"at"`
	Event        string    `json:"event"`
	From         string    `json:"from_state"`
	To           string    `json:"to_state"`
	Channel      string    `json:"channel"`
	Note         string    `json:"note"`
}

type spendRow struct {
	Name string `json:"name"`
	N    int    `json:"n"`
	// UpTo is N and what the change spends of the same total before it.
	UpTo int `json:"upto"`
	Most int `json:"most"`
}

// newSave makes what PostgreSQL is to do of ch.
func newSave(ch flow.Change) (*save, error) {
	row := changeRow{Flaw: flaw(ch.Lines)}
	for _, l := range ch.Lines {
		row.Lines = append(row.Lines, newLineRow(l))
		for _, c := range l.Conversations {
			c.Line = l.LineID // where it is listed is where it is
			r, err := newConversationRow(c)
			if err != nil {
				return nil, err
			}
			row.Conversations = append(row.Conversations, r)
		}
	}
	for _, m := range ch.Messages {
		row.Messages = append(row.Messages, newMessageRow(m))
	}
	if s := ch.Settle; s != nil {
		row.Settle = &settleRow{
			Message: s.Message, Attempt: s.Attempt, State: string(s.State), Unknown: s.Unknown,
			Due: nullMillis(s.Due), Attempted: nullMillis(s.Attempted), SID: s.SID, Code: s.Code,
		}
		if s.Adopted && s.SID != "" {
			since := floor(born(s.Message).Add(-adoptable))
			row.Settle.AdoptedSince = &since
		}
	}
	if in := ch.Inbound; in != nil {
		row.Inbound = newInboundRow(*in)
	}
	if r := ch.Receipt; r != nil {
		row.Receipt = &receiptRow{
			Message: r.Message, SID: r.SID, Status: string(r.Status), Rank: r.Status.Rank(),
			Code: r.Code, At: nullMillis(r.At),
		}
	}
	for _, h := range ch.Events {
		row.Events = append(row.Events, eventRow{
			Conversation: h.Order, At: nullMillis(h.At), Event: string(h.Event),
			From: string(h.From), To: string(h.To), Channel: string(h.Channel), Note: h.Note,
		})
	}
	spent := map[string]int{}
	for _, s := range ch.Spend {
		spent[s.Total] += s.N
		row.Spend = append(row.Spend, spendRow{Name: s.Total, N: s.N, UpTo: spent[s.Total], Most: s.Limit})
	}
	text, err := json.Marshal(row)
	return &save{text, locks(ch)}, err
}

func newLineRow(l flow.Line) lineRow {
	return lineRow{
		Number: l.Number.E164(), Sender: l.Sender, Version: l.Version + 1, OptedOut: nullMillis(l.OptedOut),
		Misses: l.Misses, Hints: l.Hints,
		Texts: allMillis(l.Texts), Serials: allMillis(l.Serials), Answers: allMillis(l.Answers),
		Topic: nullID(l.Topic), Conversations: loaded(l),
	}
}

func newConversationRow(c flow.Conversation) (conversationRow, error) {
	form, err := entries(c.Entries)
	if err != nil {
		return conversationRow{}, fmt.Errorf("write order form: %w", err)
	}
	return conversationRow{
		ID: c.ID, Number: c.Line.Number.E164(), Sender: c.Line.Sender,
		Browser: `\x` + hex.EncodeToString(c.Browser[:]), State: string(c.State),
		Reference: c.Named.Reference, Amount: c.Named.Amount, Entries: form, Complete: c.Complete,
		Proved: nullMillis(c.Proved), Serial: c.Serial.N, SerialKey: c.Serial.Key, SerialLength: c.Serial.Length,
		SerialReference: c.Serial.Named.Reference, SerialAmount: c.Serial.Named.Amount,
		SerialExpires: nullMillis(c.Serial.Expires), Misses: c.Misses, Texted: nullMillis(c.Texted),
		Message: nullID(c.Message), Failure: string(c.Failure),
		Created: nullMillis(c.Created), Deadline: nullMillis(c.Deadline), Ended: nullMillis(c.Ended),
	}, nil
}

func newMessageRow(m flow.Message) messageRow {
	return messageRow{
		ID: m.ID, Conversation: m.Order, Number: m.Line.Number.E164(), Sender: m.Line.Sender,
		Kind: string(m.Kind), Serial: m.Serial, Locale: m.Locale, Reference: m.Named.Reference, Amount: m.Named.Amount,
		State: string(m.State), Attempt: m.Attempt, Unknown: m.Unknown,
		Due: nullMillis(m.Due), Created: nullMillis(m.Created), Attempted: nullMillis(m.Attempted),
		SID: m.SID, Status: string(m.Status), Rank: m.Status.Rank(), Code: m.Code,
	}
}

func newInboundRow(in flow.Inbound) *inboundRow {
	return &inboundRow{
		SID: in.SID, Number: in.Line.Number.E164(), Sender: in.Line.Sender, At: nullMillis(in.At),
		Read: string(in.Read), Conversation: nullID(in.Order), Reply: in.Reply,
	}
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

// nullMillis is a time as JSON holds it; a zero time is null.
func nullMillis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

// nullID is an id as JSON holds it; a nil one is null.
func nullID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
