package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Lapse ends orders whose deadline has passed, and reports whether there may
// be more. It is called once in a while, and tells the watcher, too, what time
// alone has changed.
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
		began := time.Now()
		if err := d.lapse(ctx, some); err != nil {
			failed = append(failed, fmt.Errorf("lapse: %w", err))
		}
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return false, errors.Join(failed...)
		}
	}
	return len(ids) > 0 && len(failed) == 0, errors.Join(failed...)
}

// lapse ends the orders of some lines whose deadline has passed: in one change,
// or if that is refused, each line's in one of its own.
func (d *Desk) lapse(ctx context.Context, ids []LineID) error {
	if err := d.lapseTogether(ctx, ids); err == nil {
		return nil
	}
	var failed []error
	for _, id := range ids {
		failed = append(failed, d.change(ctx, Self, func(t *turn) error {
			t.lapse(&t.lines[0])
			return nil
		}, id))
	}
	return errors.Join(failed...)
}

// lapseTogether takes no turn behind who changes one of the lines here: should
// it be the slower, its change is stale.
func (d *Desk) lapseTogether(ctx context.Context, ids []LineID) error {
	lines, err := d.Ledger.Lines(ctx, ids)
	if err != nil {
		return fmt.Errorf("load lines: %w", err)
	}
	t := d.turn(Self, lines)
	for i := range t.lines {
		t.lapse(&t.lines[i])
	}
	if change := t.written(); !change.Empty() {
		if err := d.Ledger.Save(ctx, change); err != nil {
			return err
		}
	}
	t.tell(ctx)
	return nil
}

// lapse has the orders of l lapse whose deadline has passed.
func (t *turn) lapse(l *Line) {
	for _, c := range l.Open() {
		if !t.now.Before(c.Deadline) {
			t.happens(l, c, Lapse, "")
		}
	}
}
