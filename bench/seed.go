package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/ledger"
)

// seeded is how many lines are written with one commit.
const seeded = 1000

// keyID names the secret key in the rows.
var keyID = flow.Key(secretKey).ID()

// seed writes so many customers' orders into a database as their asking would
// have, each with an open conversation and an accepted text. The far side is
// told the PINs.
func (c *conductor) seed(ctx context.Context, databaseURL string, customers int, deadline time.Duration) error {
	keys, err := flow.NewKeyring(flow.Key(secretKey))
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	began := time.Now()
	c.far.texts.Clear()
	c.far.seeded = nil
	for first := 0; first < customers; first += seeded {
		var ch flow.Change
		for n := first; n < min(first+seeded, customers); n++ {
			who := customer(n)
			made, err := order(&ch, who, flow.Browser{1}, began, deadline)
			if err != nil {
				_ = l.Close()
				return err
			}
			pin, _ := keys.PIN(made.ID, made.Line.Number, made.Serial)
			c.far.seeded = append(c.far.seeded, pin.Digits())
		}
		if err := l.Save(ctx, ch); err != nil {
			_ = l.Close()
			return fmt.Errorf("seed customer %d and on: %w", first, err)
		}
	}
	c.say("seeded %d orders in %v", customers, time.Since(began).Round(time.Second))
	return l.Close()
}

// order adds to ch what a customer's asking in a browser would have left.
func order(ch *flow.Change, who customer, b flow.Browser, now time.Time, deadline time.Duration) (*flow.Conversation, error) {
	now = now.UTC().Truncate(time.Millisecond)
	number, ok := flow.E164(who.number())
	if !ok {
		return nil, fmt.Errorf("customer %d has no number", who)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	message, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	line := flow.LineID{Number: number, Sender: sender}
	named := flow.Named{Reference: "K7Q2-118"}
	var entries []flow.Entry
	form := who.order()
	for _, field := range []string{"name", "address", "items"} {
		entries = append(entries, flow.Entry{Field: field, Value: form.Get(field)})
	}
	made := flow.Conversation{
		ID: id, Line: line, State: flow.Asked, Named: named, Message: message, Entries: entries, Complete: true,
		Browser: b,
		Serial:  flow.Serial{N: 1, Key: keyID, Length: 6, Named: named, Expires: now.Add(min(24*time.Hour, deadline))},
		Created: now, Texted: now, Deadline: now.Add(deadline),
	}
	ch.Lines = append(ch.Lines, flow.Line{
		LineID: line, Texts: flow.Recent{now}, Serials: flow.Recent{now}, Conversations: []flow.Conversation{made},
	})
	ch.Messages = append(ch.Messages, flow.Message{
		ID: message, Order: id, Line: line, Kind: flow.KindPIN, Serial: 1, Locale: "en", Named: named,
		State: flow.Accepted, Attempt: 1, Created: now, SID: messageSID("seed", int(who)),
	})
	ch.Events = append(ch.Events, flow.Happening{Order: id, At: now, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web})
	return &made, nil
}

// lapse sets the deadlines of all orders in a SQLite file that nobody serves.
func lapse(ctx context.Context, databaseURL string, deadline time.Time) error {
	db, err := sql.Open("sqlite", strings.TrimPrefix(databaseURL, "file:"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `UPDATE conversations SET deadline = ?1, serial_expires = min(serial_expires, ?1)`, deadline.UnixMilli())
	if closed := db.Close(); err == nil {
		err = closed
	}
	return err
}
