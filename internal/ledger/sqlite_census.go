package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/countersign/countersign/flow"
)

// Census implements [flow.Ledger].
func (s *SQLite) Census(ctx context.Context, _ time.Time) (census flow.Census, err error) {
	if census.Outbox, census.OldestDue, err = s.countOut(ctx); err == nil {
		census.Open, err = s.countOpen(ctx, censusStep)
	}
	if err != nil {
		return flow.Census{}, fmt.Errorf("take census: %w", explain(err))
	}
	return census, nil
}

func (s *SQLite) countOut(ctx context.Context) (n map[flow.MessageState]int, oldest time.Time, err error) {
	n = map[flow.MessageState]int{flow.Leased: 0, flow.Waiting: 0}
	rows, err := s.read.outbox.QueryContext(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var state flow.MessageState
		var in int
		var due sql.NullInt64
		if err := rows.Scan(&state, &in, &due); err != nil {
			return nil, time.Time{}, err
		}
		n[state] = in
		if at := moment(due); due.Valid && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return n, oldest, rows.Err()
}

// censusStep is how many open orders are counted without a pause: a fraction
// of a millisecond's work.
const censusStep = 2000

// countOpen are the columns by which open orders are counted. To group them by
// state would be to sort them.
const countOpen = `count(*) FILTER (WHERE state = 'asked'), count(*) FILTER (WHERE state = 'locked'),
	count(*) FILTER (WHERE state = 'unreachable')`

// A place is where an open order stands in the index of them.
type place struct {
	deadline int64
	state    string
	id       []byte
}

// countOpen counts the open orders by walking their index, so many at a step.
// After each it rests for as long as that took: a million at once would keep
// customers from the processor, if there is but one, for a third of a second,
// and a checkpoint from beginning the WAL anew.
//
// It is no snapshot: an order whose state changes meanwhile is counted in the
// one or the other.
func (s *SQLite) countOpen(ctx context.Context, step int) (map[flow.State]int, error) {
	var asked, locked, unreachable int
	count := func(stmt *sql.Stmt, args ...any) error {
		var a, l, u int
		err := stmt.QueryRowContext(context.WithoutCancel(ctx), args...).Scan(&a, &l, &u)
		asked, locked, unreachable = asked+a, locked+l, unreachable+u
		return err
	}
	if err := count(s.read.openUndated); err != nil {
		return nil, err
	}
	from, last := place{deadline: math.MinInt64, id: []byte{}}, false
	for !last {
		began := time.Now() // how long work takes is no matter of whose clock
		to := place{deadline: math.MaxInt64, id: []byte{}}
		err := s.read.openBound.QueryRowContext(context.WithoutCancel(ctx), from.deadline, from.state, from.id, step-1).
			Scan(&to.deadline, &to.state, &to.id)
		if last = errors.Is(err, sql.ErrNoRows); err != nil && !last {
			return nil, err
		}
		if err := count(s.read.openWithin, from.deadline, from.state, from.id, to.deadline, to.state, to.id); err != nil {
			return nil, err
		}
		from = to
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return map[flow.State]int{flow.Asked: asked, flow.Locked: locked, flow.Unreachable: unreachable}, nil
}
