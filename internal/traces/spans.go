package traces

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/flow"
)

// Attributes of ours. Those of requests are named by OpenTelemetry's semantic
// conventions, https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
const (
	requestKey = attribute.Key("countersign.request_id") // X-Request-Id, and the log's request_id
	ordersKey  = attribute.Key("countersign.orders")
	eventsKey  = attribute.Key("countersign.events") // what happened to them, and the state it led to
	messageKey = attribute.Key("countersign.message")
	attemptKey = attribute.Key("countersign.attempt")
	resultKey  = attribute.Key("countersign.result")
	sidKey     = attribute.Key("countersign.sid")
	foundKey   = attribute.Key("countersign.found")
)

// Request begins the trace of a request. It returns the context to answer it
// in, and what to call with how it was answered: by which route's pattern.
//
// Probes, scrapes and files are left out, and so are live pages, which would
// make a span of an hour with a thousand looks in it.
func (t *Traces) Request(r *http.Request, id string) (context.Context, func(route, method string, status int)) {
	path := r.URL.Path
	if t == nil || path == "/healthz" || path == "/readyz" || path == "/metrics" || strings.HasPrefix(path, "/static/") || strings.HasPrefix(path, "/ops/static/") || strings.HasSuffix(path, "/live") {
		return r.Context(), func(string, string, int) {}
	}
	ctx, span := t.tracer.Start(r.Context(), "request", trace.WithNewRoot(),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(requestKey.String(id)))
	return ctx, func(route, method string, status int) {
		span.SetName(strings.TrimSpace(method + " " + route))
		span.SetAttributes(
			attribute.String("http.route", route),
			attribute.String("http.request.method", method),
			attribute.Int("http.response.status_code", status),
		)
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Text begins the span of one try to text m, in the trace of the request that
// led to it if that was this process's. It returns the context to work in, and
// what to call at the end.
func (t *Traces) Text(ctx context.Context, m flow.Message) (context.Context, func()) {
	if t == nil {
		return ctx, func() {}
	}
	ctx, span := t.tracer.Start(ctx, "outbox.text", trace.WithAttributes(
		messageKey.String(m.ID.String()), ordersKey.StringSlice([]string{m.Order.String()}), attemptKey.Int(m.Attempt)))
	return ctx, func() { span.End() }
}

// inner begins a span within another. Without one there is nothing to add to.
func (t *Traces) inner(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if outer := trace.SpanFromContext(ctx); !outer.SpanContext().IsValid() {
		return ctx, outer // which does nothing
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
}

// end ends a span with what became of it. Of an error that is no answer of a
// ledger's or a sender's only the type is told: the log has its words, and they
// are others'.
func end(span trace.Span, err error) {
	var failed *flow.SendError
	switch result := known(err); {
	case err == nil:
	case result != "":
		span.SetAttributes(resultKey.String(result))
	case errors.As(err, &failed):
		span.SetAttributes(resultKey.String(string(failed.Class)), attribute.Int("countersign.code", failed.Code))
		span.SetStatus(codes.Error, string(failed.Class))
	default:
		span.SetAttributes(attribute.String("error.type", fmt.Sprintf("%T", err)))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// known names the errors by which a ledger answers; others are empty.
func known(err error) string {
	for name, is := range map[string]error{
		"stale": flow.ErrStale, "heard": flow.ErrHeard, "claimed": flow.ErrClaimed,
		"spent": flow.ErrSpent, "not_found": flow.ErrNotFound,
	} {
		if errors.Is(err, is) {
			return name
		}
	}
	return ""
}

// Ledger returns l with its work on the database traced.
func (t *Traces) Ledger(l flow.Ledger) flow.Ledger {
	if t == nil {
		return l
	}
	return ledger{l, t}
}

// ledger leaves out what only runs by the clock.
type ledger struct {
	flow.Ledger
	t *Traces
}

func (l ledger) inner(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return l.t.inner(ctx, "ledger."+name, trace.SpanKindInternal, attrs...)
}

func (l ledger) Line(ctx context.Context, id flow.LineID) (_ flow.Line, err error) {
	ctx, span := l.inner(ctx, "line")
	defer func() { end(span, err) }()
	return l.Ledger.Line(ctx, id)
}

func (l ledger) Reload(ctx context.Context, id flow.LineID) (_ flow.Line, err error) {
	ctx, span := l.inner(ctx, "reload")
	defer func() { end(span, err) }()
	return l.Ledger.Reload(ctx, id)
}

func (l ledger) Conversation(ctx context.Context, order uuid.UUID) (_ flow.Conversation, err error) {
	ctx, span := l.inner(ctx, "conversation", ordersKey.StringSlice([]string{order.String()}))
	defer func() { end(span, err) }()
	return l.Ledger.Conversation(ctx, order)
}

func (l ledger) Message(ctx context.Context, id uuid.UUID) (_ flow.Message, err error) {
	ctx, span := l.inner(ctx, "message", messageKey.String(id.String()))
	defer func() { end(span, err) }()
	return l.Ledger.Message(ctx, id)
}

func (l ledger) MessageBySID(ctx context.Context, sid string, since time.Time) (_ flow.Message, err error) {
	ctx, span := l.inner(ctx, "message_by_sid")
	defer func() { end(span, err) }()
	return l.Ledger.MessageBySID(ctx, sid, since)
}

func (l ledger) Heard(ctx context.Context, from flow.Number, sid string) (_ flow.Inbound, err error) {
	ctx, span := l.inner(ctx, "heard")
	defer func() { end(span, err) }()
	return l.Ledger.Heard(ctx, from, sid)
}

func (l ledger) Save(ctx context.Context, ch flow.Change) (err error) {
	ctx, span := l.inner(ctx, "save")
	if span.IsRecording() {
		span.SetAttributes(about(ch)...)
	}
	defer func() { end(span, err) }()
	return l.Ledger.Save(ctx, ch)
}

// Take is traced if it finds something: a span that nobody ends is not sent.
func (l ledger) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	ctx, span := l.t.tracer.Start(ctx, "ledger.take")
	due, err := l.Ledger.Take(ctx, now, until, limit)
	if len(due) > 0 || err != nil {
		span.SetAttributes(foundKey.Int(len(due)))
		end(span, err)
	}
	return due, err
}

// about is what a change is about, in ids and words of ours.
func about(ch flow.Change) []attribute.KeyValue {
	var orders, events []string
	for _, h := range ch.Events {
		orders = append(orders, h.Order.String())
		events = append(events, fmt.Sprintf("%s: %s", h.Event, h.To))
	}
	var attrs []attribute.KeyValue
	if len(ch.Events) > 0 {
		attrs = append(attrs, ordersKey.StringSlice(orders), eventsKey.StringSlice(events))
	}
	message := func(id uuid.UUID) { attrs = append(attrs, messageKey.String(id.String())) }
	switch {
	case len(ch.Messages) > 0:
		message(ch.Messages[0].ID)
	case ch.Settle != nil:
		message(ch.Settle.Message)
		attrs = append(attrs, attribute.String("countersign.settled", string(ch.Settle.State)))
	case ch.Receipt != nil:
		message(ch.Receipt.Message)
	}
	return attrs
}

// Sender returns s with what it asks of Twilio traced.
func (t *Traces) Sender(s flow.Sender) flow.Sender {
	if t == nil {
		return s
	}
	return sender{s, t}
}

type sender struct {
	flow.Sender
	t *Traces
}

func (s sender) Send(ctx context.Context, text flow.Text) (sid string, err error) {
	ctx, span := s.t.inner(ctx, "twilio.send", trace.SpanKindInternal, messageKey.String(text.Message.String()))
	defer func() {
		if err == nil {
			span.SetAttributes(sidKey.String(sid))
		}
		end(span, err)
	}()
	return s.Sender.Send(ctx, text)
}

func (s sender) Find(ctx context.Context, text flow.Text, since time.Time) (found []flow.Found, err error) {
	ctx, span := s.t.inner(ctx, "twilio.find", trace.SpanKindInternal, messageKey.String(text.Message.String()))
	defer func() {
		span.SetAttributes(foundKey.Int(len(found)))
		end(span, err)
	}()
	return s.Sender.Find(ctx, text, since)
}

// Transport returns rt with its requests traced, to the answer's first byte.
// They are sent on as they are, without traceparent: it is nobody else's.
func (t *Traces) Transport(rt http.RoundTripper) http.RoundTripper {
	if t == nil {
		return rt
	}
	return transport{rt, t}
}

type transport struct {
	http.RoundTripper
	t *Traces
}

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.t.inner(r.Context(), r.Method, trace.SpanKindClient,
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname()))
	resp, err := t.RoundTripper.RoundTrip(r.WithContext(ctx))
	if err == nil {
		span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
		if resp.StatusCode >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	end(span, err)
	return resp, err
}
