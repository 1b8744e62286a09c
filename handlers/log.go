package handlers

import (
	"context"
	"log/slog"
)

// Logged returns h with request_id added to each line: the id of the request
// that the line's context comes from, which its asker has from X-Request-Id.
// The desk hands contexts on to the outbox, so the text that a request led to
// has its id too, unless another process took that text over.
func Logged(h slog.Handler) slog.Handler { return logged{h} }

type logged struct{ slog.Handler }

// Handle implements [slog.Handler].
func (l logged) Handle(ctx context.Context, line slog.Record) error {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		line = line.Clone() // it may share its attributes with another handler's
		line.AddAttrs(slog.String("request_id", rec.id))
	}
	return l.Handler.Handle(ctx, line)
}

// WithAttrs implements [slog.Handler].
func (l logged) WithAttrs(attrs []slog.Attr) slog.Handler { return logged{l.Handler.WithAttrs(attrs)} }

// WithGroup implements [slog.Handler].
func (l logged) WithGroup(name string) slog.Handler { return logged{l.Handler.WithGroup(name)} }
