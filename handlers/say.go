package handlers

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// What the pages say of an order. Each says what to do next.

// wrong says why a PIN did not confirm.
func (s *Server) wrong(st flow.Standing) string {
	if st.Malformed {
		return fmt.Sprintf("Invalid PIN! The PIN is %d numbers.", s.length(st))
	}
	switch st.Event {
	case flow.Late:
		return "That PIN has expired. Get a new one."
	case flow.LastMiss:
		return "Invalid PIN! That was the last try, and the PIN is locked now. Get a new one."
	case flow.Spent:
		return "Invalid PIN! No tries are left on this page. Reply to our text with the PIN instead."
	case flow.Barred:
		if st.Conversation.State == flow.Locked {
			return "Invalid PIN! It is locked, after too many wrong tries. Get a new one."
		}
		return "Invalid PIN! No tries are left for it on this page. Reply to our text with the PIN instead."
	default:
		if st.Tries == 1 {
			return "Invalid PIN! 1 try left."
		}
		return fmt.Sprintf("Invalid PIN! %d tries left.", st.Tries)
	}
}

// length is how many digits the order's PIN has: another than new ones', if
// that was changed in between.
func (s *Server) length(st flow.Standing) int {
	return cmp.Or(st.Conversation.Serial.Length, s.PINLength)
}

// missing says what to fill in where the form is empty.
func (s *Server) missing(empty func(field string) bool) []problem {
	var problems []problem
	for _, field := range s.Fields {
		if empty(field) {
			problems = append(problems, problem{field, fillIn(field)})
		}
	}
	if problems == nil { // the desk asks for a field of which we do not know
		problems = []problem{{"", "Fill in the rest of the form, and place the order again."}}
	}
	return problems
}

func fillIn(field string) string {
	switch field {
	case "name":
		return "Type your name."
	case "address":
		return "Type the address to deliver to."
	case "items":
		return "Type what you would like to order."
	default:
		return "Fill in " + strings.ReplaceAll(field, "_", " ") + "."
	}
}

func entered(entries []flow.Entry) map[string]string {
	values := make(map[string]string, len(entries))
	for _, e := range entries {
		values[e.Field] = e.Value
	}
	return values
}

// unreachable says why an order that was to be texted is not, or returns nil
// if it is. What a visitor can mend is 422; what only we can mend, 503.
func (s *Server) unreachable(st flow.Standing) *refusal {
	if st.Conversation.State != flow.Unreachable {
		return nil
	}
	if why, theirs := s.notThere(st); theirs {
		return unprocessable(flow.FieldNumber, why).at(st)
	}
	e := &refusal{Status: http.StatusServiceUnavailable, Message: cannotText, RetryAfter: max(st.ResendAfter, time.Minute)}
	return e.at(st)
}

const cannotText = "We cannot send texts at the moment. Your order is kept: please try again in a few minutes."

// notThere says why an unreachable order's text did not arrive, and whether
// that is a matter of the number.
func (s *Server) notThere(st flow.Standing) (string, bool) {
	class := st.Conversation.Failure
	if st.OptedOut {
		class = flow.ClassOptedOut
	}
	switch class {
	case flow.ClassOptedOut:
		if _, ok := flow.E164(s.Sender); ok {
			return "This number has told us to stop texting it. Text START to " + s.Sender + " from that phone, or use another number.", true
		}
		return "This number has told us to stop texting it. Reply START to one of our texts from that phone, or use another number.", true
	case flow.ClassNumber:
		return "This number cannot be texted. Check that all of it is right and that it is a mobile number, not a landline.", true
	case flow.ClassCountry:
		return "We cannot text numbers of that country. Use another number.", true
	case flow.ClassCarrier:
		return "The text did not get through to this number. Check the number, or get the PIN again.", true
	case flow.ClassExpired:
		return "The text could not be delivered before its PIN expired. Check the number, or get a new PIN.", true
	default: // ours or Twilio's
		return cannotText, false
	}
}

// note says in a sentence what is happening with an order.
func (s *Server) note(st flow.Standing) string {
	c := &st.Conversation
	switch c.State {
	case flow.Confirmed:
		return "Your order is confirmed. Thank you!"
	case flow.Declined:
		return "This order was declined. Nothing will be delivered."
	case flow.Lapsed:
		return "This order has lapsed: it was not confirmed in time."
	case flow.Locked:
		return "The PIN is locked, after too many wrong tries. Get a new one."
	case flow.New, flow.Asked, flow.Unreachable:
	}
	switch {
	case !c.Proved.IsZero():
		return "Thank you, we have your reply. Fill in the rest of the form and place the order; no PIN is needed any more."
	case c.State == flow.Unreachable:
		why, _ := s.notThere(st)
		return why
	case c.Serial.N > 0 && !st.Live:
		return "The PIN has expired. Get a new one."
	}
	switch progress(st.Text) {
	case textQueued:
		return "The text with your PIN is on its way."
	case textSent:
		return "The text with your PIN has been sent. It may take a minute to arrive."
	case textDelivered:
		return "The text with your PIN has been delivered."
	case textFailed:
		return "The text did not get through. Check the number, or get the PIN again."
	default:
		return "No PIN has been texted yet."
	}
}

// How far a text has got, as far as its reader cares.
const (
	textNone      = "none"
	textQueued    = "queued"
	textSent      = "sent"
	textDelivered = "delivered"
	textFailed    = "failed"
)

func progress(m flow.Message) string {
	switch {
	case m.ID == uuid.Nil || m.State == flow.Dropped:
		return textNone
	case m.State == flow.Failed || m.Status.Bad():
		return textFailed
	case m.Status == flow.StatusDelivered || m.Status == flow.StatusRead:
		return textDelivered
	case m.Status == flow.StatusSent:
		return textSent
	default:
		return textQueued
	}
}

// A ticket is what whoever asked for a PIN gets in JSON.
type ticket struct {
	Order       uuid.UUID  `json:"order"`
	State       flow.State `json:"state"`
	MessageSID  *string    `json:"message_sid"`  // null until Twilio answers
	ResendAfter int        `json:"resend_after"` // seconds
	ExpiresAt   *time.Time `json:"expires_at"`   // the PIN; null if there is none
}

// A view is where an order stands, for its own browser, in JSON. It holds
// neither the PIN nor the whole number.
type view struct {
	ticket
	Reference string            `json:"reference"`
	Number    string            `json:"mobile_number,omitempty"` // masked
	Note      string            `json:"note"`                    // what is happening, in a sentence
	Text      string            `json:"text"`                    // none, queued, sent, delivered or failed
	Tries     int               `json:"tries"`                   // left on the page
	Live      bool              `json:"live"`                    // the PIN may be given
	Proved    bool              `json:"proved"`                  // by a reply: no PIN is needed
	Complete  bool              `json:"complete"`                // nothing of the form is missing
	Deadline  time.Time         `json:"deadline"`                // when the order lapses
	Entries   map[string]string `json:"entries,omitempty"`
}

func (s *Server) view(st flow.Standing) view {
	c := &st.Conversation
	v := view{
		ticket:    ticket{Order: c.ID, State: c.State, ResendAfter: seconds(st.ResendAfter)},
		Reference: c.Named.Reference,
		Number:    c.Line.Number.Masked(),
		Note:      s.note(st),
		Text:      progress(st.Text),
		Tries:     st.Tries,
		Live:      st.Live,
		Proved:    !c.Proved.IsZero(),
		Complete:  c.Complete,
		Deadline:  c.Deadline.UTC(),
	}
	if st.Text.SID != "" {
		v.MessageSID = &st.Text.SID
	}
	if c.Serial.N > 0 && !c.Serial.Expires.IsZero() {
		expires := c.Serial.Expires.UTC()
		v.ExpiresAt = &expires
	}
	return v
}
