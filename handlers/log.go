package handlers

import (
	"context"
	"log/slog"
)

// Logged returns h with what the line's context says added to each line: the
// request_id of the request that it comes from, which its asker has from
// X-Request-Id, and whatever of more is not empty. The desk hands contexts on to
// the outbox, so the text that a request led to has its id too, unless another
// process took that text over. A receipt is a request of Twilio's, with an id of
// its own: the one that asked for its text is asked_by.
func Logged(h slog.Handler, more ...func(context.Context) slog.Attr) slog.Handler {
	return logged{h, append(more, requestID, askedBy)}
}

func requestID(ctx context.Context) slog.Attr {
	if id := idOf(ctx); id != "" {
		return slog.String("request_id", id)
	}
	return slog.Attr{}
}

func askedBy(ctx context.Context) slog.Attr {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok && rec.askedBy != "" {
		return slog.String("asked_by", rec.askedBy)
	}
	return slog.Attr{}
}

// idOf is the id of the request that ctx comes from; empty for none.
func idOf(ctx context.Context) string {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return rec.id
	}
	id, _ := ctx.Value(askerKey{}).(string)
	return id
}

type askerKey struct{}

// Asker returns a context that knows of ctx which request it comes from, and
// nothing else: it may be kept for as long as a text waits. It reports whether
// ctx comes from any.
func Asker(ctx context.Context) (asker context.Context, known bool) {
	id := idOf(ctx)
	return context.WithValue(context.Background(), askerKey{}, id), id != ""
}

// askedParam begins the query of the URL that a text's receipts are posted to.
const askedParam = "asked_by="

// AskedBy is what to add to that URL in ctx. So whichever process hears the
// receipt can say whose text it is of, and no row has to.
func AskedBy(ctx context.Context) string {
	if id := idOf(ctx); id != "" {
		return "?" + askedParam + id
	}
	return ""
}

type logged struct {
	slog.Handler
	of []func(context.Context) slog.Attr
}

// Handle implements [slog.Handler].
func (l logged) Handle(ctx context.Context, line slog.Record) error {
	line = line.Clone() // it may share its attributes with another handler's
	for _, of := range l.of {
		if attr := of(ctx); attr.Key != "" {
			line.AddAttrs(attr)
		}
	}
	return l.Handler.Handle(ctx, line)
}

// WithAttrs implements [slog.Handler].
func (l logged) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logged{l.Handler.WithAttrs(attrs), l.of}
}

// WithGroup implements [slog.Handler].
func (l logged) WithGroup(name string) slog.Handler { return logged{l.Handler.WithGroup(name), l.of} }
