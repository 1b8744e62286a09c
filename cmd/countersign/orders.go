package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/ledger"
)

// lookInto opens the database for reading, beside whoever serves it.
func (d database) lookInto(ctx context.Context, w world) (flow.Ledger, error) {
	databaseURL, err := d.url(w.getenv, w.readFile)
	if err != nil {
		return nil, err
	}
	return ledger.Open(ctx, databaseURL, ledger.ReadOnly())
}

type ordersCommand struct {
	database  `embed:""`
	State     string `enum:",asked,locked,unreachable,confirmed,declined,lapsed" default:"" placeholder:"STATE" help:"Only those in that state."`
	Reference string `placeholder:"REF" help:"Only those that texts name so."`
	Number    string `placeholder:"+1…" help:"Only those of that number; E.164."`
	Before    string `placeholder:"ID" help:"Only those older than that order."`
	Limit     int    `default:"50" placeholder:"N" help:"No more than so many (${default})."`
}

// Run lists orders.
func (c ordersCommand) Run(ctx context.Context, w world) (err error) {
	s := flow.Search{State: flow.State(c.State), Reference: c.Reference, Limit: max(1, c.Limit)}
	if c.Number != "" {
		var ok bool
		if s.Number, ok = flow.E164(c.Number); !ok {
			return errors.New("--number: must be E.164: + and the country code first, only digits after it")
		}
	}
	if c.Before != "" {
		if s.Before, err = uuid.Parse(c.Before); err != nil {
			return errors.New("--before: must be an order's id")
		}
	}
	rows, err := c.lookInto(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found, err := rows.Orders(ctx, s)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "MADE\tORDER\tNUMBER\tSTATE\tLAST TEXT\tID") // errors come with Flush
	for _, o := range found.Rows {
		state, texted := string(o.State), "–"
		if o.State.Open() && o.Failure != "" {
			state += " (" + string(o.Failure) + ")"
		}
		if !o.Texted.IsZero() {
			texted = stamp(o.Texted)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(o.Created), o.Named.Reference, o.Line.Number.Masked(), state, texted, o.ID)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if found.Next != uuid.Nil {
		_, err = fmt.Fprintf(w.out, "\nthere are older ones: --before %s\n", found.Next)
	}
	return err
}

type showCommand struct {
	database `embed:""`
	ID       string `arg:"" help:"The order's id or reference, or the id of one of its texts, as in the log."`
	Reveal   bool   `help:"Show the whole number."`
}

// Run tells an order's timeline.
func (c showCommand) Run(ctx context.Context, w world) (err error) {
	rows, err := c.lookInto(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	order, err := c.find(ctx, rows)
	if err != nil {
		return err
	}
	t, err := rows.Timeline(ctx, order)
	if errors.Is(err, flow.ErrNotFound) {
		return fmt.Errorf("there is no order %s", order)
	} else if err != nil {
		return err
	}
	return c.print(w.out, t)
}

// find returns the order that was meant.
func (c showCommand) find(ctx context.Context, rows flow.Ledger) (uuid.UUID, error) {
	if id, err := uuid.Parse(c.ID); err == nil {
		m, err := rows.Message(ctx, id)
		switch {
		case errors.Is(err, flow.ErrNotFound):
			return id, nil
		case err != nil:
			return uuid.Nil, err
		}
		return m.Order, nil
	}
	found, err := rows.Orders(ctx, flow.Search{Reference: c.ID, Limit: 1})
	switch {
	case err != nil:
		return uuid.Nil, err
	case len(found.Rows) == 1:
		return found.Rows[0].ID, nil
	case found.Next != uuid.Nil:
		return uuid.Nil, fmt.Errorf("none of the newest %d orders is called that; look further: countersign orders --reference REF --before %s",
			flow.SearchDepth, found.Next)
	default:
		return uuid.Nil, errors.New("no order is called that")
	}
}

func (c showCommand) print(out io.Writer, timeline flow.Timeline) error {
	o := timeline.Order
	number := o.Line.Number.Masked()
	if c.Reveal {
		number = o.Line.Number.E164()
	}
	_, _ = fmt.Fprintf(out, "order %s (%s) of %s is %s\n", o.Named.Reference, o.ID, number, o.State)
	if o.State.Open() {
		_, _ = fmt.Fprintf(out, "it lapses %s\n", stamp(o.Deadline))
	}
	_, _ = fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range timeline.Moments() {
		note := m.Note
		if m.Code != 0 {
			note = strings.TrimSpace(fmt.Sprintf("code %d %s", m.Code, note))
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", stamp(m.At), m.By, m.What, strings.ReplaceAll(note, "\n", " "))
	}
	return t.Flush() // which tells of the writes before it
}

// stamp is a time as the terminal's commands tell it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
