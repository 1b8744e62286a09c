package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
)

// look is what [records] looks by. Unlike who serves a customer, somebody in
// ops who leaves ends what was asked, which may take seconds; none takes longer
// than a statement may.
func (p *Postgres) look(ctx context.Context, read func(ask) error) error {
	return explainPostgres(p.outage.bridge(func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, p.answerWithin)
		defer cancel()
		snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
		err := pgx.BeginTxFunc(ctx, p.reads, snapshot, func(tx pgx.Tx) error {
			// Else it may rather read and sort a whole table than a part of it
			// in its index's order.
			if _, err := tx.Exec(ctx, `SELECT set_config('enable_seqscan', 'off', true),
				set_config('enable_bitmapscan', 'off', true)`); err != nil {
				return err
			}
			return read(func(query string, args []any, row func(scanner) error) error {
				rows, err := tx.Query(ctx, query, args...)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					if err := row(rows); err != nil {
						return err
					}
				}
				return rows.Err()
			})
		})
		if state(err) == statementTimedOut { // by whichever clock, it took too long
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		return err
	}))
}

// Hurry implements [flow.Records]. The row's own lock is enough: who saves, or
// takes, looks at it again once it has that.
func (p *Postgres) Hurry(ctx context.Context, message uuid.UUID, now time.Time) error {
	var hurried int64
	err := p.write(ctx, func(ctx context.Context) error {
		done, err := p.writes.Exec(ctx, `UPDATE messages SET due = $2
			WHERE id = $1 AND state = 'waiting' AND unknown = 0 AND due > $2`, message, now.UnixMilli())
		hurried = done.RowsAffected()
		return err
	})
	if err == nil && hurried == 0 {
		err = flow.ErrStale
	}
	return named("hurry", err)
}
