package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Lapse ends orders whose deadline has passed, and reports whether there may
// be more. Where it could end none there are none: an order that its line does
// not list would be looked for without end. It is called once in a while, and
// tells the watcher, too, what time alone has changed.
//
// Nobody waits for it, and a million orders may have one deadline. So it ends
// a few lines' orders at once, in one change, and then leaves the processor
// and the database to customers for as long as that took: the busier they
// keep both, the longer it rests.
func (d *Desk) Lapse(ctx context.Context) (more bool, err error) {
	const (
		most = 256
		// A customer's save may have to wait for so many lines' rows.
		together = 8
	)
	d.Watcher.BreakerOpen(d.breakers.open(d.now()))
	ids, err := d.Ledger.Lapsing(ctx, d.now(), most)
	if err != nil {
		return false, fmt.Errorf("look for orders that lapse: %w", err)
	}
	var failed []error // and the others go on
	for some := range slices.Chunk(ids, together) {
		began := time.Now() // and not the desk's clock, which may step
		ended, err := d.lapse(ctx, some)
		if err != nil {
			failed = append(failed, fmt.Errorf("lapse: %w", err))
		}
		more = more || ended
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return false, errors.Join(failed...)
		}
	}
	return more && len(failed) == 0, errors.Join(failed...)
}

// lapse ends the orders of some lines whose deadline has passed: in one change,
// or if that is refused, each line's in one of its own. It reports whether
// there were any.
func (d *Desk) lapse(ctx context.Context, ids []LineID) (ended bool, err error) {
	if ended, err = d.lapseTogether(ctx, ids); err == nil {
		return ended, nil
	}
	var failed []error
	for _, id := range ids {
		failed = append(failed, d.change(ctx, Self, func(t *turn) error {
			if t.lapse(&t.lines[0]) {
				t.tells(func() { ended = true })
			}
			return nil
		}, id))
	}
	return ended, errors.Join(failed...)
}

// lapseTogether takes no turn behind who changes one of the lines here: should
// it be the slower, its change is stale.
func (d *Desk) lapseTogether(ctx context.Context, ids []LineID) (ended bool, err error) {
	lines, err := d.Ledger.Lines(ctx, ids)
	if err != nil {
		return false, fmt.Errorf("load lines: %w", err)
	}
	t := d.turn(Self, lines)
	for i := range t.lines {
		ended = t.lapse(&t.lines[i]) || ended
	}
	if ended {
		if err := d.Ledger.Save(ctx, t.written()); err != nil {
			return false, err
		}
	}
	t.tell(ctx)
	return ended, nil
}

// lapse has the orders of l lapse whose deadline has passed, and reports
// whether there are any.
func (t *turn) lapse(l *Line) (some bool) {
	for _, c := range l.Open() {
		if !t.now.Before(c.Deadline) {
			t.happens(l, c, Lapse, "")
			some = true
		}
	}
	return some
}
