package handlers

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// What the pages of texts look at.
const (
	failuresOf    = 24 * time.Hour
	failuresDepth = 50_000
	outboxLimit   = 200
)

// A textRow is a text in a list.
type textRow struct {
	flow.Message
	Number string // masked
	// Stand is whether it is due, leased, retrying, unknown or dead.
	Stand string
	// Hurry reports that it can be tried now.
	Hurry bool
	Class flow.Class
}

func (o *Ops) textRows(texts []flow.Message) []textRow {
	rows := make([]textRow, len(texts))
	now := o.Now()
	for i, m := range texts {
		rows[i] = textRow{Message: m, Number: m.Line.Number.Masked(), Stand: stand(m, now), Class: o.Class(m.Code)}
		rows[i].Hurry = rows[i].Stand == "retrying"
	}
	return rows
}

// stand says in a word where m stands in the outbox.
func stand(m flow.Message, now time.Time) string {
	switch m.State {
	case flow.Leased:
		return "leased"
	case flow.Waiting:
		switch {
		case !m.Due.After(now):
			return "due"
		case m.Unknown > 0:
			return "unknown"
		default:
			return "retrying"
		}
	case flow.Failed:
		return "dead"
	case flow.Accepted, flow.Dropped:
	}
	return string(m.State)
}

// A failureRow is a code of Twilio's that texts met.
type failureRow struct {
	flow.Failure
	Class flow.Class
}

// texts shows the texts that fail: how many by code, and which, so that from a
// code one gets to the orders.
func (o *Ops) texts(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	code, err := codeIn(q.Get("code"))
	if err != nil {
		return err
	}
	before, err := olderThan(q.Get("before"))
	if err != nil {
		return err
	}
	failures, err := o.Ledger.Failures(r.Context(), o.Now().Add(-failuresOf), failuresDepth)
	if err != nil {
		return err
	}
	p := opsPage{Title: "Texts that fail", Search: flow.Search{Code: code, Before: before}}
	for _, f := range failures {
		p.Failures = append(p.Failures, failureRow{f, o.Class(f.Code)})
	}
	found, err := o.Ledger.Failing(r.Context(), p.Search)
	if err != nil {
		return err
	}
	p.Texts, p.Next = o.textRows(found.Rows), found.Next
	switch {
	case code == flow.NoCode:
		p.Title, p.Code = "Texts that fail without a code", "none"
	case code != 0:
		p.Code = strconv.Itoa(code)
		p.Title = "Texts that fail with " + p.Code
	}
	o.render(w, r, http.StatusOK, "texts.html", p)
	return nil
}

// outbox shows what is on its way out, and what will not get there.
func (o *Ops) outbox(w http.ResponseWriter, r *http.Request) error { return o.showOutbox(w, r, "") }

func (o *Ops) showOutbox(w http.ResponseWriter, r *http.Request, problem string) error {
	out, err := o.Ledger.Outbox(r.Context(), outboxLimit)
	if err != nil {
		return err
	}
	failing, err := o.Ledger.Failing(r.Context(), flow.Search{})
	if err != nil {
		return err
	}
	census, err := o.Ledger.Census(r.Context(), o.Now())
	if err != nil {
		return err
	}
	p := opsPage{Title: "Outbox", Problem: problem, Texts: o.textRows(out), Census: census}
	for _, row := range o.textRows(failing.Rows) {
		if row.State == flow.Failed {
			p.Dead = append(p.Dead, row)
		}
	}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusConflict
	}
	o.render(w, r, status, "outbox.html", p)
	return nil
}

// tryNow makes a text due that waits for its next try. The next sweep, within
// a second, takes it; a breaker still holds it back.
func (o *Ops) tryNow(w http.ResponseWriter, r *http.Request) error {
	id, err := idIn(r)
	if err != nil || id == uuid.Nil {
		return errNoPage
	}
	err = o.Ledger.Hurry(r.Context(), id, o.Now())
	o.Log.InfoContext(r.Context(), "ops by hand", "what", "try now", "message", id, "done", err == nil)
	if errors.Is(err, flow.ErrStale) {
		return o.showOutbox(w, r, "That text no longer waits: it is being tried, or done with. One whose outcome is unknown must first be looked for at Twilio, or it could go out twice.")
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, "/ops/outbox", http.StatusSeeOther)
	return nil
}
