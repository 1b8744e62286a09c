package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/twiml"
)

// fieldOrder is the form's hidden field. It, [flow.FieldNumber] and
// [flow.FieldPIN] are not the order's own.
const fieldOrder = "order"

// Bounds of what is posted, webhooks and order forms alike. The longest field of
// an order is what is ordered.
const (
	maxForm   = twiml.MaxForm // bytes
	maxFields = 50
)

// A posting is the order form as it was posted.
type posting struct {
	order   uuid.UUID // nil if the form does not say
	number  string    // as typed
	pin     string    // as typed
	entries []flow.Entry
}

// readPosting reads the form. An order that is not an id is nobody's.
func readPosting(r *http.Request, fields []string) (posting, error) {
	form, err := twiml.ParseForm(r, maxForm)
	if err != nil {
		return posting{}, fmt.Errorf("read the order form: %w", err)
	}
	if len(form) > maxFields {
		return posting{}, &refusal{Status: http.StatusBadRequest, Message: "The form has more fields than ours."}
	}
	p := posting{
		number:  strings.TrimSpace(form.Get(flow.FieldNumber)),
		pin:     strings.TrimSpace(form.Get(flow.FieldPIN)),
		entries: entries(form, fields),
	}
	if id := form.Get(fieldOrder); id != "" {
		if p.order, err = readID(id); err != nil {
			return posting{}, errNoOrder
		}
	}
	return p, nil
}

// entries are the order's own fields: first those that we ask for, in that
// order, and then the rest by name.
func entries(form url.Values, fields []string) []flow.Entry {
	names := slices.Clone(fields)
	for name := range form {
		if name != "" && name != flow.FieldNumber && name != flow.FieldPIN && name != fieldOrder && !slices.Contains(fields, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[len(fields):])
	var kept []flow.Entry
	for _, name := range names {
		if form.Has(name) {
			kept = append(kept, flow.Entry{Field: name, Value: strings.TrimSpace(form.Get(name))})
		}
	}
	return kept
}

func (p posting) asking(b flow.Browser) flow.Asking {
	return flow.Asking{Browser: b, Order: p.order, Typed: p.number, Entries: p.entries}
}

// readID reads an order's or a message's id in its one spelling.
func readID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || id.String() != s || id == uuid.Nil {
		return uuid.Nil, errors.New("not an id")
	}
	return id, nil
}

// visit returns whose request r is and which order it names. Without both
// there is no such order.
func (s *Server) visit(r *http.Request) (flow.Browser, uuid.UUID, error) {
	b := s.visitorOf(r)
	id, err := readID(seen(r).vars["id"])
	if err != nil || b == (flow.Browser{}) {
		return b, id, errNoOrder
	}
	return b, id, nil
}

// blank shows the order form.
func (s *Server) blank(w http.ResponseWriter, r *http.Request) error {
	s.welcome(w, r)
	w.Header().Add("Vary", "Accept")
	writePage(w, http.StatusOK, s.emptyForm)
	return nil
}

// ask keeps the order and has its PIN texted.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) error {
	p, err := readPosting(r, s.Fields)
	if err != nil {
		return err
	}
	return s.askFor(w, r, p)
}

func (s *Server) askFor(w http.ResponseWriter, r *http.Request, p posting) error {
	b := s.welcome(w, r)
	st, err := s.Desk.Ask(r.Context(), p.asking(b))
	if err != nil {
		return s.onForm(r, b, p, fmt.Errorf("ask for a PIN: %w", err))
	}
	return s.texted(w, r, p, st)
}

// resend has the PIN texted again.
func (s *Server) resend(w http.ResponseWriter, r *http.Request) error {
	b, id, err := s.visit(r)
	if err != nil {
		return err
	}
	st, err := s.Desk.Resend(r.Context(), b, id)
	if err != nil {
		return s.onForm(r, b, posting{order: id}, fmt.Errorf("text a PIN again: %w", err))
	}
	return s.texted(w, r, posting{}, st)
}

// renumber moves the order to another number, and has a PIN texted there.
func (s *Server) renumber(w http.ResponseWriter, r *http.Request) error {
	b, id, err := s.visit(r)
	if err != nil {
		return err
	}
	p, err := readPosting(r, s.Fields)
	if err != nil {
		return err
	}
	p.order, p.entries = id, nil
	st, err := s.Desk.Renumber(r.Context(), b, id, p.number)
	if err != nil {
		return s.onForm(r, b, p, fmt.Errorf("change the number: %w", err))
	}
	return s.texted(w, r, p, st)
}

// texted answers whoever asked for a text.
func (s *Server) texted(w http.ResponseWriter, r *http.Request, p posting, st flow.Standing) error {
	if e := s.unreachable(st); e != nil {
		return on{e, s.orderPage(st, p)}
	}
	if formOf(r) != asJSON {
		seeOther(w, orderPath(st, ""))
		return nil
	}
	s.writeJSON(w, r, http.StatusAccepted, "application/json", s.view(st).ticket)
	return nil
}

// place checks the PIN with the whole form. Without a PIN, and about no order
// that we know of, it asks for one.
func (s *Server) place(w http.ResponseWriter, r *http.Request) error {
	p, err := readPosting(r, s.Fields)
	if err != nil {
		return err
	}
	if p.pin == "" && p.order == uuid.Nil {
		return s.metered(s.asks.bound(func(w http.ResponseWriter, r *http.Request) error {
			return s.askFor(w, r, p)
		}))(w, r)
	}
	b := s.welcome(w, r)
	st, err := s.Desk.Place(r.Context(), flow.Placing{Asking: p.asking(b), PIN: p.pin})
	if err != nil {
		return s.unplaced(w, r, b, p, fmt.Errorf("place an order: %w", err))
	}
	return s.judged(w, r, p, st)
}

// check checks the PIN alone.
func (s *Server) check(w http.ResponseWriter, r *http.Request) error {
	b, id, err := s.visit(r)
	if err != nil {
		return err
	}
	p, err := readPosting(r, s.Fields)
	if err != nil {
		return err
	}
	p.order, p.entries = id, nil
	st, err := s.Desk.Check(r.Context(), b, id, p.pin)
	if err != nil {
		return s.unplaced(w, r, b, p, fmt.Errorf("check a PIN: %w", err))
	}
	return s.judged(w, r, p, st)
}

// judged answers whoever gave a PIN.
func (s *Server) judged(w http.ResponseWriter, r *http.Request, p posting, st flow.Standing) error {
	if st.Conversation.State != flow.Confirmed {
		problems := []problem{{flow.FieldPIN, s.wrong(st)}}
		if st.Event == flow.Proved {
			has := entered(st.Conversation.Entries)
			problems = s.missing(func(field string) bool { return has[field] == "" })
		}
		e := &refusal{Status: http.StatusUnprocessableEntity, Problems: problems}
		return on{e.at(st), s.orderPage(st, p)}
	}
	if formOf(r) == asJSON {
		s.writeJSON(w, r, http.StatusOK, "application/json", s.view(st))
		return nil
	}
	seeOther(w, orderPath(st, "/complete"))
	return nil
}

// unplaced answers whoever gave a PIN that was not even looked at.
func (s *Server) unplaced(w http.ResponseWriter, r *http.Request, b flow.Browser, p posting, err error) error {
	var told *flow.Error
	if !errors.As(err, &told) {
		return err
	}
	if told.Code == flow.Conflict && told.State == flow.Confirmed {
		// A form sent twice, or a way back from the end: that is no error.
		st, lookErr := s.Desk.Look(r.Context(), b, told.Order)
		if lookErr != nil {
			return fmt.Errorf("look at a confirmed order: %w", lookErr)
		}
		return s.judged(w, r, p, st)
	}
	if slices.Contains(s.Fields, told.Field) {
		// The desk names one field that is empty; here are all of them. What
		// was not posted was kept before, as far as we know.
		posted := entered(p.entries)
		err = &refusal{Status: http.StatusUnprocessableEntity, Problems: s.missing(func(field string) bool {
			value, ok := posted[field]
			return value == "" && ok || field == told.Field
		})}
	}
	return s.onForm(r, b, p, err)
}

// decline ends the order.
func (s *Server) decline(w http.ResponseWriter, r *http.Request) error {
	b, id, err := s.visit(r)
	if err != nil {
		return err
	}
	st, err := s.Desk.Decline(r.Context(), b, id)
	if err != nil {
		return s.onForm(r, b, posting{order: id}, fmt.Errorf("decline an order: %w", err))
	}
	if formOf(r) == asJSON {
		s.writeJSON(w, r, http.StatusOK, "application/json", s.view(st))
		return nil
	}
	seeOther(w, orderPath(st, ""))
	return nil
}

// look returns where the order stands that r's path names.
func (s *Server) look(r *http.Request) (flow.Standing, error) {
	b, id, err := s.visit(r)
	if err != nil {
		return flow.Standing{}, err
	}
	st, err := s.Desk.Look(r.Context(), b, id)
	if err != nil {
		return flow.Standing{}, fmt.Errorf("look at an order: %w", err)
	}
	return st, nil
}

// show shows the form with its entries, and what is happening.
func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	st, err := s.look(r)
	if err != nil {
		return err
	}
	switch {
	case formOf(r) == asJSON:
		v := s.view(st)
		v.Entries = entered(st.Conversation.Entries)
		s.writeJSON(w, r, http.StatusOK, "application/json", v)
	case st.Conversation.State == flow.Confirmed:
		seeOther(w, orderPath(st, "/complete"))
	default:
		s.renderPage(w, r, http.StatusOK, s.orderPage(st, posting{}))
	}
	return nil
}

// complete is the end.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) error {
	st, err := s.look(r)
	if err != nil {
		return err
	}
	confirmed := st.Conversation.State == flow.Confirmed
	switch {
	case formOf(r) == asJSON && confirmed:
		s.writeJSON(w, r, http.StatusOK, "application/json", s.view(st))
	case formOf(r) == asJSON:
		return (&refusal{Status: http.StatusConflict, Message: "The order is not confirmed."}).at(st)
	case confirmed:
		page := s.orderPage(st, posting{})
		page.file, page.Title = "complete.html", "Order confirmed"
		s.renderPage(w, r, http.StatusOK, page)
	default:
		seeOther(w, orderPath(st, ""))
	}
	return nil
}

// onForm is err, to be read on the form that p was posted with: on the order's
// page if there is an order, and with every entry kept.
func (s *Server) onForm(r *http.Request, b flow.Browser, p posting, err error) error {
	e, told := refused(err)
	if !told || e.Status == http.StatusNotFound || formOf(r) == asJSON {
		return err
	}
	if p.order != uuid.Nil {
		if st, lookErr := s.Desk.Look(r.Context(), b, p.order); lookErr == nil {
			return on{err, s.orderPage(st, p)}
		}
	}
	return on{err, formPage(p)}
}

func orderPath(st flow.Standing, rest string) string {
	return "/orders/" + st.Conversation.ID.String() + rest
}

// seeOther sends a browser on by GET, so that reloading posts nothing again.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
