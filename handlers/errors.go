package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/twiml"
)

// What is said when we may not say more.
const (
	ourFault = "Something went wrong on our side. Nothing was lost: please try again in a minute."
	tooBusy  = "We cannot do that at the moment. Please try again in a minute."
)

var (
	errNoPage  = &refusal{Status: http.StatusNotFound, Message: "There is no such page here."}
	errNoOrder = &refusal{Status: http.StatusNotFound, Message: "There is no such order here, or it was placed in another browser."}
	errBusy    = &refusal{Status: http.StatusServiceUnavailable, Message: tooBusy, RetryAfter: 2 * time.Second}
)

// wrongMethod refuses a path to all but some methods, which Allow has too.
func wrongMethod(allow string) *refusal {
	return &refusal{Status: http.StatusMethodNotAllowed, Message: "This address is for something else: " + allow + "."}
}

// A refusal is an answer other than what was asked for, in words for the asker.
type refusal struct {
	Status int
	// Message is the whole of it, if no field is to blame.
	Message string
	// Problems are what is wrong with the form, field by field.
	Problems []problem
	// RetryAfter is when to come back; 0 for no telling.
	RetryAfter time.Duration
	// Request is the id by which the log tells more; empty if it does not.
	Request string
	// Standing is where the order stands nevertheless; nil if there is none.
	Standing *flow.Standing
}

// A problem is what is wrong with a field, and what to do about it.
type problem struct {
	Field   string `json:"field"` // empty for the form as a whole
	Message string `json:"message"`
}

// unprocessable refuses a form for what is wrong with one field.
func unprocessable(field, message string) *refusal {
	return &refusal{Status: http.StatusUnprocessableEntity, Problems: []problem{{field, message}}}
}

// at says where the order stands in spite of the refusal.
func (e *refusal) at(st flow.Standing) *refusal {
	e.Standing = &st
	return e
}

// detail is the refusal in one line.
func (e *refusal) detail() string {
	if e.Message != "" || len(e.Problems) == 0 {
		return e.Message
	}
	messages := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		messages[i] = p.Message
	}
	return strings.Join(messages, " ")
}

func (e *refusal) Error() string { return strconv.Itoa(e.Status) + ": " + e.detail() }

// on is an error that is best read on the page of the form it is about, where
// it can be mended.
type on struct {
	error
	page *page
}

func (e on) Unwrap() error { return e.error }

// statuses are the answers to what the desk refuses. Any other error of its is
// our own fault, and is never shown.
var statuses = map[flow.Code]int{
	flow.NotFound:    http.StatusNotFound,
	flow.Invalid:     http.StatusUnprocessableEntity,
	flow.Conflict:    http.StatusConflict,
	flow.TooMany:     http.StatusTooManyRequests,
	flow.Unavailable: http.StatusServiceUnavailable,
}

// refused says what err means to the asker; false if it means nothing to them.
func refused(err error) (*refusal, bool) {
	if ready, ok := errors.AsType[*refusal](err); ok {
		return ready, true
	}
	if told, ok := errors.AsType[*flow.Error](err); ok && statuses[told.Code] != 0 {
		if told.Code == flow.NotFound {
			return errNoOrder, true
		}
		e := &refusal{Status: statuses[told.Code], Message: told.Message, RetryAfter: told.RetryAfter}
		if told.Field != "" {
			e.Message, e.Problems = "", []problem{{told.Field, told.Message}}
		}
		if told.Code == flow.Unavailable && e.RetryAfter == 0 {
			e.RetryAfter = 10 * time.Second
		}
		return e, true
	}
	switch {
	case errors.Is(err, twiml.ErrMediaType):
		return &refusal{Status: http.StatusUnsupportedMediaType, Message: "Send the form as application/x-www-form-urlencoded."}, true
	case errors.Is(err, twiml.ErrTooLarge):
		return &refusal{Status: http.StatusRequestEntityTooLarge, Message: "That is more than the form takes. Shorten what you have typed."}, true
	case errors.Is(err, twiml.ErrUnreadable):
		return &refusal{Status: http.StatusBadRequest, Message: "The form could not be read."}, true
	}
	return nil, false
}

// fail logs err if it is our fault, and tells the asker what they may know.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	rec := seen(r)
	e, known := refused(err)
	told, ofDesk := errors.AsType[*flow.Error](err)
	switch {
	case known && ofDesk && told.Err != nil:
		s.Log.ErrorContext(r.Context(), "request failed", "route", rec.route, "error", told.Err)
		logged := *e // which others may be told too
		logged.Request = rec.id
		e = &logged
	case known:
	case r.Context().Err() != nil:
		// They have gone, and whatever failed may have failed of that. But one
		// who has closed their own half alone still reads, and nothing written
		// would be 200.
		rec.status = statusGone
		s.render(w, r, errBusy, nil)
		return
	default:
		s.Log.ErrorContext(r.Context(), "request failed", "route", rec.route, "error", err)
		e = &refusal{Status: http.StatusInternalServerError, Message: ourFault, Request: rec.id}
		if errors.Is(err, context.DeadlineExceeded) {
			e = &refusal{Status: http.StatusServiceUnavailable, Message: tooBusy, RetryAfter: 5 * time.Second, Request: rec.id}
		}
	}

	shown, _ := errors.AsType[on](err)
	s.render(w, r, e, shown.page)
}

// statusGone is logged where the client left before the answer, after nginx.
const statusGone = 499

// render answers with e: as a problem (RFC 9457), as text, on the page p, or
// on a bare page if p is nil.
func (s *Server) render(w http.ResponseWriter, r *http.Request, e *refusal, p *page) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(e.RetryAfter)))
	}
	switch formOf(r) {
	case asJSON:
		s.renderProblem(w, r, e)
	case asText:
		writeText(w, e.Status, e.detail()+"\n")
	case asPage:
		if p == nil {
			p = &page{file: "error.html", Title: http.StatusText(e.Status)}
		}
		p.Problems = e.Problems
		if len(p.Problems) == 0 {
			p.Problems = []problem{{"", e.Message}}
		}
		p.Request = e.Request
		s.renderPage(w, r, e.Status, p)
	}
}

// renderProblem writes e as RFC 9457 has it, with members of our own.
func (s *Server) renderProblem(w http.ResponseWriter, r *http.Request, e *refusal) {
	body := struct {
		Type   string     `json:"type"`
		Title  string     `json:"title"`
		Status int        `json:"status"`
		Detail string     `json:"detail"`
		Field  string     `json:"field,omitempty"`  // the first of Errors
		Errors []problem  `json:"errors,omitempty"` // all that is wrong with the form
		Order  *uuid.UUID `json:"order,omitempty"`
		State  flow.State `json:"state,omitempty"`
		Tries  *int       `json:"tries,omitempty"`
		Resend *int       `json:"resend_after,omitempty"`
	}{
		Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status,
		Detail: e.detail(), Errors: e.Problems,
	}
	if len(e.Problems) > 0 {
		body.Field = e.Problems[0].Field
	}
	if st := e.Standing; st != nil {
		wait := seconds(st.ResendAfter)
		body.Order, body.State, body.Tries, body.Resend = &st.Conversation.ID, st.Conversation.State, &st.Tries, &wait
	}
	s.writeJSON(w, r, e.Status, "application/problem+json", body)
}

func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.Log.ErrorContext(r.Context(), "write JSON", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever has gone does not miss it
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// form is what an answer is written as.
type form int

const (
	asPage form = iota
	asJSON
	asText
)

// formOf says what r's asker reads: JSON if they name it and no HTML. What
// Twilio and probes get is read by engineers.
func formOf(r *http.Request) form {
	for _, prefix := range []string{"/webhooks/", "/healthz", "/readyz", "/static/"} {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return asText
		}
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
		return asJSON
	}
	return asPage
}

// seconds rounds up, so that whoever waits that long is not early.
func seconds(d time.Duration) int { return max(0, int(math.Ceil(d.Seconds()))) }
