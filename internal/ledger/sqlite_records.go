package ledger

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// look is what [records] looks by. Ops' queries are asked by people, so they
// are not prepared.
func (s *SQLite) look(ctx context.Context, read func(ask) error) error {
	tx, err := s.reads.BeginTx(ctx, nil) // one snapshot
	if err != nil {
		return explain(err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	return explain(read(func(query string, args []any, row func(scanner) error) error {
		rows, err := tx.QueryContext(ctx, questions(query), blobs(args)...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}))
}

// questions writes PostgreSQL's placeholders as SQLite does: $1 is ?1.
func questions(query string) string { return strings.ReplaceAll(query, "$", "?") }

// blobs are arguments with ids as SQLite's rows hold them.
func blobs(args []any) []any {
	as := make([]any, len(args))
	for i, arg := range args {
		if id, ok := arg.(uuid.UUID); ok {
			arg = id[:]
		}
		as[i] = arg
	}
	return as
}

// Hurry implements [flow.Records].
func (s *SQLite) Hurry(ctx context.Context, message uuid.UUID, now time.Time) error {
	if s.writer == nil {
		return errReadOnly
	}
	const waits = `SELECT 1 FROM messages WHERE id = ? AND state = 'waiting' AND unknown = 0 AND due > ?`
	return named("hurry", s.writer.do(ctx,
		func() error {
			err := s.conn.QueryRowContext(unhurried, waits, message[:], now.UnixMilli()).Scan(new(int))
			if errors.Is(err, sql.ErrNoRows) {
				return flow.ErrStale
			}
			return explain(err)
		},
		func() error {
			_, err := s.conn.ExecContext(unhurried, `UPDATE messages SET due = ? WHERE id = ?`, now.UnixMilli(), message[:])
			return err
		}))
}
