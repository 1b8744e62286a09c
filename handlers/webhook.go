package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/twiml"
)

// hooked counts what came of a webhook. Where we fail, the answer's code says
// so: then Twilio turns to the fallback URL, or tries again.
func (s *Server) hooked(hook metrics.Hook, h handler) handler {
	h = s.hooks.bound(h)
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		result := hookResult(err)
		if err == nil && seen(r).repeated {
			result = metrics.ResultDuplicate
		}
		s.Watcher.Webhook(hook, result)
		if result == metrics.ResultBadSignature || result == metrics.ResultMalformed {
			// Ops must see these: a wrong token or URL looks like an attack.
			s.Log.WarnContext(r.Context(), "webhook refused",
				"hook", hook, "result", result, "error", err)
		}
		return err
	}
}

var (
	errSignature = &refusal{Status: http.StatusForbidden, Message: "The signature does not match: check the auth token, and that PUBLIC_URL is what Twilio calls."}
	errForeign   = &refusal{Status: http.StatusForbidden, Message: "This is not for our account or our sender."}
)

func hookResult(err error) metrics.Result {
	switch e, known := refused(err); {
	case err == nil:
		return metrics.ResultOK
	case errors.Is(err, errSignature):
		return metrics.ResultBadSignature
	case known && e.Status < http.StatusInternalServerError:
		return metrics.ResultMalformed
	default:
		return metrics.ResultError
	}
}

// signedForm returns the form of a webhook that Twilio signed.
func (s *Server) signedForm(r *http.Request) (url.Values, error) {
	form, err := twiml.ParseForm(r, maxForm)
	if err != nil {
		return nil, err
	}
	// What Twilio signed is the URL that it was told to call: the public one,
	// with path and query as they were written. Host is the sender's claim.
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI()
	}
	if s.Verifier.Form(r.Header.Get(twiml.SignatureHeader), s.public+uri, form) != nil {
		return nil, errSignature
	}
	return form, nil
}

// misread is what to answer to a signed form that cannot be read.
func misread(err error) error {
	var bad *twiml.FormError
	if errors.As(err, &bad) && bad.Problem == twiml.Foreign {
		return errForeign
	}
	return &refusal{Status: http.StatusBadRequest, Message: err.Error()} // which names a field, no value
}

// message answers a customer's text.
func (s *Server) message(w http.ResponseWriter, r *http.Request) error {
	form, err := s.signedForm(r)
	if err != nil {
		return err
	}
	in, err := twiml.ReadInbound(form, s.AccountSID)
	if err != nil {
		return misread(err)
	}
	if in.MessagingServiceSid != s.Sender && in.To != s.Sender {
		// Not of ours to answer: its orders, if any, hang on another line.
		return errForeign
	}
	from, ok := flow.E164(in.From)
	if !ok {
		// A short code, a name, another channel: nobody whom we have texted.
		return answer(w, "")
	}
	said, err := s.Desk.Hear(r.Context(), flow.Heard{
		SID:    in.MessageSid,
		Line:   flow.LineID{Number: from, Sender: s.Sender},
		Body:   in.Body,
		OptOut: optOut(in.OptOutType),
	})
	if err != nil {
		return fmt.Errorf("hear a text: %w", err)
	}
	seen(r).repeated = said.Repeated
	return answer(w, said.Text)
}

// answer says text in TwiML, or nothing if it is empty. Its length is told,
// since Twilio may cut off what comes in chunks (error 12100).
func answer(w http.ResponseWriter, text string) error {
	var body bytes.Buffer
	if err := twiml.Reply(&body, text); err != nil {
		return fmt.Errorf("answer a text: %w", err)
	}
	w.Header().Set("Content-Type", twiml.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = w.Write(body.Bytes())
	return nil
}

// optOut reads Advanced Opt-Out's word.
func optOut(word string) flow.Intent {
	switch word {
	case "STOP":
		return flow.IntentStop
	case "START":
		return flow.IntentStart
	case "HELP":
		return flow.IntentHelp
	default:
		return ""
	}
}

// status notes how far a text of ours has got.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	form, err := s.signedForm(r)
	if err != nil {
		return err
	}
	var message uuid.UUID
	if id, named := seen(r).vars["message"]; named {
		if message, err = readID(id); err != nil {
			return errNoPage
		}
	}
	if asker, told := strings.CutPrefix(r.URL.RawQuery, askedParam); told {
		seen(r).askedBy = asker // our own words: they are signed
	}
	rc, err := twiml.ReadReceipt(form, s.AccountSID)
	if err != nil {
		return misread(err)
	}
	err = s.Desk.Receipt(r.Context(), flow.Receipt{
		Message: message,
		SID:     rc.MessageSid,
		Status:  flow.Status(rc.MessageStatus),
		Code:    rc.ErrorCode,
		At:      s.Now().UTC().Truncate(time.Millisecond),
	})
	if err != nil {
		return fmt.Errorf("note a receipt: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
