package handlers

import (
	"context"
	"log/slog"
)

// Logged returns h with what the line's context says added to each line: the
// request_id of the request that it comes from, which its asker has from
// X-Request-Id, and whatever of more is not empty. The desk hands contexts on to
// the outbox, so the text that a request led to has its id too, unless another
// process took that text over.
func Logged(h slog.Handler, more ...func(context.Context) slog.Attr) slog.Handler {
	return logged{h, append(more, requestID)}
}

func requestID(ctx context.Context) slog.Attr {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return slog.String("request_id", rec.id)
	}
	return slog.Attr{}
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
