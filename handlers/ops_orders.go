package handlers

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// An orderRow is an order in a list, or on its own page.
type orderRow struct {
	flow.Conversation
	// Number is masked unless it was asked for.
	Number string
}

func maskedOrders(orders []flow.Conversation) []orderRow {
	rows := make([]orderRow, len(orders))
	for i, c := range orders {
		rows[i] = orderRow{c, c.Line.Number.Masked()}
	}
	return rows
}

// orders lists orders: all, or those in a state, or of a reference.
func (o *Ops) orders(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	before, err := olderThan(q.Get("before"))
	if err != nil {
		return err
	}
	s := flow.Search{State: flow.State(q.Get("state")), Reference: q.Get("reference"), Before: before}
	if s.State != "" && !slices.Contains(flow.States, s.State) || s.Reference != "" && !references.MatchString(s.Reference) {
		return errNoPage
	}
	title := "Orders"
	switch {
	case s.Reference != "":
		title = "Orders called " + s.Reference
	case s.State != "":
		title = "Orders: " + string(s.State)
	}
	return o.list(w, r, opsPage{Title: title, Search: s})
}

// list shows the orders of p.Search.
func (o *Ops) list(w http.ResponseWriter, r *http.Request, p opsPage) error {
	found, err := o.Ledger.Orders(r.Context(), p.Search)
	if err != nil {
		return err
	}
	p.Orders, p.Next = maskedOrders(found.Rows), found.Next
	if p.Census, err = o.Ledger.Census(r.Context(), o.Now()); err != nil {
		return err
	}
	o.render(w, r, http.StatusOK, "orders.html", p)
	return nil
}

// messageSIDs are Twilio's: https://www.twilio.com/docs/glossary/what-is-a-sid.
var messageSIDs = regexp.MustCompile(`^(?:SM|MM)[0-9a-fA-F]{32}$`)

// sidsOf is how far back a text is looked for by its sid, which no index has.
const sidsOf = 7 * 24 * time.Hour

// find goes to what was typed: an order or a text by id, as in the log, a text
// by Twilio's MessageSid, orders by reference or number.
func (o *Ops) find(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	typed := strings.TrimSpace(r.PostFormValue("q"))
	if id, err := uuid.Parse(typed); err == nil {
		return o.findID(w, r, id)
	}
	if messageSIDs.MatchString(typed) {
		m, err := o.Ledger.MessageBySID(r.Context(), typed, o.Now().Add(-sidsOf))
		if errors.Is(err, flow.ErrNotFound) {
			return &refusal{Status: http.StatusNotFound, Message: "None of our texts of the last seven days has that MessageSid."}
		} else if err != nil {
			return err
		}
		toOrder(w, r, m.Order)
		return nil
	}
	if number, ok := o.number(typed); ok {
		before, err := olderThan(r.PostFormValue("before"))
		if err != nil {
			return err
		}
		line, err := o.Ledger.Reload(r.Context(), flow.LineID{Number: number, Sender: o.Rules.Sender})
		if err != nil {
			return err
		}
		return o.list(w, r, opsPage{
			Title: "Orders of " + number.Masked(), Typed: typed, Line: o.lineFacts(line),
			Search: flow.Search{Number: number, Before: before},
		})
	}
	if typed == "" || !references.MatchString(typed) {
		return unprocessable("", "Type an order's id, its reference, a text's id or MessageSid, or a number with its country code.")
	}
	http.Redirect(w, r, "/ops/?reference="+typed, http.StatusSeeOther) //nolint:gosec // letters and digits, on our own host
	return nil
}

// toOrder sends the browser to an order's page.
func toOrder(w http.ResponseWriter, r *http.Request, id uuid.UUID) {
	http.Redirect(w, r, "/ops/orders/"+id.String(), http.StatusSeeOther) //nolint:gosec // an id, on our own host
}

// references are what orders may be called.
var references = regexp.MustCompile(`^[A-Za-z0-9-]{1,20}$`)

func (o *Ops) findID(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	m, err := o.Ledger.Message(r.Context(), id)
	switch {
	case err == nil:
		id = m.Order
	case !errors.Is(err, flow.ErrNotFound):
		return err
	}
	toOrder(w, r, id)
	return nil
}

// number reads a number as somebody in ops types or pastes it. Digits alone
// may as well be a shop's reference; so may what is too short to be a number.
func (o *Ops) number(typed string) (flow.Number, bool) {
	if n, ok := flow.E164(typed); ok {
		return n, true
	}
	n, _, err := flow.ParseNumber(typed, o.Rules.Region, o.Rules.Countries)
	return n, err == nil
}

// A fact is a name and a value of a list.
type fact struct{ Name, Value string }

// lineFacts tell what is known of a line.
func (o *Ops) lineFacts(l flow.Line) []fact {
	if l.Version == 0 {
		return nil
	}
	now := o.Now()
	guard := o.Rules.Guard
	facts := []fact{
		{"Opted out", "no"},
		{"Texts to this number", count(l.Texts.Since(now.Add(-guard.PerNumber.Per)), guard.PerNumber.N, guard.PerNumber.Per)},
		{"New PINs", count(l.Serials.Since(now.Add(-24*time.Hour)), flow.SerialsPerDay, 24*time.Hour)},
		{"Answers to its replies", count(l.Answers.Since(now.Add(-24*time.Hour)), flow.AnswersPerDay, 24*time.Hour)},
		{"Open orders", count(len(l.Open()), flow.OpenOrders, 0)},
	}
	if !l.OptedOut.IsZero() {
		facts[0].Value = "since " + stamp(l.OptedOut)
	}
	return facts
}

// order shows one order and its timeline.
func (o *Ops) order(w http.ResponseWriter, r *http.Request) error {
	id, err := idIn(r)
	if err != nil {
		return err
	}
	return o.show(w, r, id, http.StatusOK, opsPage{})
}

// show draws the page of an order, with what p says besides.
func (o *Ops) show(w http.ResponseWriter, r *http.Request, id uuid.UUID, status int, p opsPage) error {
	i, err := o.Desk.Inspect(r.Context(), id)
	if err != nil {
		return err
	}
	timeline, err := o.Ledger.Timeline(r.Context(), id)
	if err != nil {
		return err
	}
	c := i.Conversation
	row := orderRow{c, c.Line.Number.Masked()}
	if p.Revealed {
		row.Number = c.Line.Number.E164()
	}
	p.Title = "Order " + c.Named.Reference
	p.Order, p.Moments = &row, timeline.Moments()
	p.Facts, p.Line = orderFacts(i), o.lineFacts(i.Line)
	o.render(w, r, status, "order.html", p)
	return nil
}

// orderFacts tell where an order stands, and what the guard would say.
func orderFacts(i flow.Inspection) []fact {
	c := i.Conversation
	facts := []fact{{"Made", stamp(c.Created)}}
	add := func(name, value string) { facts = append(facts, fact{name, value}) }
	if c.Named.Amount != "" {
		add("Amount", c.Named.Amount)
	}
	if !c.State.Open() {
		add("Ended", stamp(c.Ended))
		return facts
	}
	add("Lapses", stamp(c.Deadline))
	form := "complete"
	if !c.Complete {
		form = "still to be filled in"
	}
	add("Form", form)
	if c.State == flow.Unreachable && c.Failure != "" {
		add("Unreachable because", reasonOf(c.Failure))
	}
	switch {
	case !c.Proved.IsZero():
		add("Number", "proved by a reply, "+stamp(c.Proved))
		return facts
	case c.Serial.N == 0:
		add("PIN", "none yet")
	case i.Live:
		add("PIN", number("no. ", c.Serial.N)+", good until "+stamp(c.Serial.Expires))
		add("Tries left", number("", int64(i.WebTries))+" on the page, "+number("", int64(i.ReplyTries))+" by reply")
	default:
		add("PIN", number("no. ", c.Serial.N)+", no more good: expired, or its key is gone")
	}
	switch {
	case i.Refusal.Reason == "":
		add("The guard", "would let a text pass now")
	case i.Refusal.After > 0:
		add("The guard", "refuses a text: "+guardSays[i.Refusal.Reason]+"; again in "+i.Refusal.After.Round(time.Second).String())
	default:
		add("The guard", "refuses a text: "+guardSays[i.Refusal.Reason])
	}
	return facts
}

// reveal shows an order with its whole number. Who asked is not known here;
// that somebody did is logged.
func (o *Ops) reveal(w http.ResponseWriter, r *http.Request) error {
	id, err := idIn(r)
	if err != nil {
		return err
	}
	o.Log.WarnContext(r.Context(), "number revealed to ops", "order", id)
	return o.show(w, r, id, http.StatusOK, opsPage{Revealed: true})
}

// byHand does something about an order, and shows what came of it.
func (o *Ops) byHand(what string, do func(context.Context, uuid.UUID) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := idIn(r)
		if err != nil {
			return err
		}
		err = do(r.Context(), id)
		o.Log.InfoContext(r.Context(), "ops by hand", "what", what, "order", id, "done", err == nil)
		var told *flow.Error
		switch {
		case err == nil:
			toOrder(w, r, id)
			return nil
		case errors.As(err, &told) && told.Code != flow.NotFound:
			p := opsPage{Problem: told.Message}
			if told.Reason != "" {
				p.Problem = "The guard refuses a text: " + guardSays[told.Reason] + "."
			}
			return o.show(w, r, id, statuses[told.Code], p)
		default:
			return err
		}
	}
}
