package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
)

// errUnknown is what a save is told when the database went away while it
// committed, and stayed away: it is there whole or not at all.
var errUnknown = errors.New("the database went away while it committed: what became of it is not known")

// A save is a change as PostgreSQL's writer takes it.
type save struct {
	change flow.Change
	// Of what it names: its own, and the totals' that it shares with others of
	// its group.
	locks, totals []int64
}

func newSave(ch flow.Change) *save {
	s := &save{change: ch}
	s.locks, s.totals = locks(ch)
	return s
}

// Save implements [flow.Ledger].
func (p *Postgres) Save(ctx context.Context, ch flow.Change) error {
	if p.writer == nil {
		return errReadOnly
	}
	if err := ch.Validate(); err != nil {
		return named("save", err)
	}
	return named("save", p.writer.await(ctx, &job{save: newSave(ch)}))
}

// commitGroup does a group of jobs. Those that name the same thing are in one
// transaction after the other, as they came.
func (p *Postgres) commitGroup(group []*job) {
	for len(group) > 0 {
		var next []*job
		group, next = apart(group)
		p.commitTogether(group)
		group = next
	}
}

// apart divides jobs into those that name nothing which one before them names,
// and the others.
func apart(jobs []*job) (first, others []*job) {
	named := make(map[int64]bool, 4*len(jobs))
	for _, j := range jobs {
		to := &first
		for _, lock := range j.save.locks {
			if named[lock] {
				to = &others
			}
		}
		for _, lock := range j.save.locks {
			named[lock] = true
		}
		*to = append(*to, j)
	}
	return first, others
}

// commitTogether does jobs in one transaction. If that fails for what may be one
// of them, each is done in one of its own, so that only the culprit fails.
func (p *Postgres) commitTogether(group []*job) {
	err := p.transact(group)
	if !culpable(err) || len(group) == 1 {
		p.fail(group, err)
		return
	}
	for i, j := range group {
		err := p.transact(group[i : i+1])
		if err != nil && !culpable(err) {
			p.fail(group[i:], err) // the database is away: that is waited for once
			return
		}
		p.fail([]*job{j}, err)
	}
}

func (p *Postgres) fail(group []*job, err error) {
	if err == nil {
		return // each has its outcome
	}
	for _, j := range group {
		j.err = explainPostgres(err)
	}
}

// culpable reports whether err may be due to one save of a group.
func culpable(err error) bool {
	code := state(err)
	return code != "" && code != statementTimedOut && !passing(err)
}

// transact does a group of jobs in one transaction, and sets what each is
// refused with. If it fails, nothing is written, unless it is with errUnknown.
func (p *Postgres) transact(group []*job) error {
	what := saving(group)
	var outcomes []string
	if err := p.outage.bridge(func() (err error) {
		outcomes, err = p.try(what)
		return err
	}); err != nil {
		return err
	}
	for i, j := range group {
		j.err = refusal(outcomes[i])
	}
	return nil
}

// saveGroup saves as a writer and its round, and what [saving] returns.
const saveGroup = `SELECT countersign_group($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

// saving is what a group of jobs gives to saveGroup.
func saving(group []*job) []any {
	var b batch
	locks := []int64{} // and not nil, which would be NULL
	for _, j := range group {
		b.add(j.save.change)
		locks = append(append(locks, j.save.locks...), j.save.totals...)
	}
	slices.Sort(locks)
	what := []any{slices.Compact(locks), b.flaws}
	for _, of := range []rows{
		b.lines, b.conversations, b.messages, b.settlements, b.inbound, b.receipts, b.events, b.spends,
	} {
		what = append(what, of.String())
	}
	return what
}

// refusal is the error that countersign_group returns by its name.
func refusal(outcome string) error {
	switch outcome {
	case "":
		return nil
	case "heard":
		return flow.ErrHeard
	case "stale":
		return flow.ErrStale
	case "claimed":
		return flow.ErrClaimed
	case "spent":
		return flow.ErrSpent
	default:
		return errors.New(outcome)
	}
}

// try commits once, and finds out what became of it if the answer is lost.
func (p *Postgres) try(what []any) ([]string, error) {
	ctx, cancel := context.WithTimeout(unhurried, p.answerWithin)
	defer cancel()
	var outcomes []string
	err := p.writes.QueryRow(ctx, saveGroup, append([]any{p.id, p.round + 1}, what...)...).Scan(&outcomes)
	switch {
	case err == nil:
		p.round++
		return outcomes, nil
	case state(err) == roundCalledOff:
		// Our row is not as we left it: a backup was restored, or a standby
		// promoted that had not heard of our last commit.
		p.enlist()
		return nil, err
	case undone(err):
		return nil, err
	}
	p.outage.begin()
	outcomes, untold := p.callOff()
	if untold != nil {
		// It may be committed yet, under the name that we had.
		p.enlist()
		return nil, fmt.Errorf("%w (%v, then %v)", errUnknown, err, untold) //nolint:errorlint // it must not look as if it could be tried again
	}
	p.round++
	if outcomes == nil {
		return nil, err
	}
	return outcomes, nil
}

// enlist gives us a new name in the table of writers.
func (p *Postgres) enlist() { p.id, p.round = uuid.New(), 0 }

// callOff returns the outcomes of the round whose answer was lost, or nil if
// there are none, and then sees to it that there never will be: a commit that
// still is on its way fails.
func (p *Postgres) callOff() (outcomes []string, err error) {
	err = p.outage.bridge(func() error {
		ctx, cancel := context.WithTimeout(unhurried, p.answerWithin)
		defer cancel()
		// If the commit is under way, this waits for its end.
		_, err := p.writes.Exec(ctx, `INSERT INTO writers AS was VALUES ($1, $2, NULL, now())
			ON CONFLICT (id) DO UPDATE SET round = excluded.round, outcomes = NULL, at = now()
			WHERE was.round < excluded.round`, p.id, p.round+1)
		if err != nil {
			return err
		}
		return p.writes.QueryRow(ctx, `SELECT outcomes FROM writers WHERE id = $1`, p.id).Scan(&outcomes)
	})
	return outcomes, err
}

// Take implements [flow.Ledger]. If its answer is lost, what it took is due
// again when the leases end.
func (p *Postgres) Take(ctx context.Context, now, until time.Time, limit int) ([]flow.Message, error) {
	var taken []flow.Message
	err := p.write(ctx, func(ctx context.Context) error {
		rows, err := p.writes.Query(ctx, takeMessages, now.UnixMilli(), max(0, limit), until.UnixMilli())
		if err != nil {
			return err
		}
		taken, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (flow.Message, error) { return scanMessage(row) })
		return err
	})
	return taken, named("take", err)
}

// write has a statement write beside the writer. If its answer is lost, it is
// not tried again.
func (p *Postgres) write(ctx context.Context, statement func(context.Context) error) error {
	if p.writer == nil {
		return errReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return explainPostgres(p.outage.bridge(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.answerWithin)
		defer cancel()
		err := statement(ctx)
		if err != nil && !undone(err) {
			return fmt.Errorf("%w (%v)", errUnknown, err) //nolint:errorlint // not to be tried again
		}
		return err
	}))
}

// Ping implements [flow.Ledger]: it commits, like any save. When ctx ends it
// gives up waiting, since there is no outcome to be missed.
func (p *Postgres) Ping(ctx context.Context) error {
	if p.writer == nil {
		return named("ping", p.row(ctx, `SELECT 1`).Scan(new(int)))
	}
	return named("ping", p.writer.knock(ctx, &job{save: &save{}}))
}

// locks are what countersign_group locks for ch: a number for the name of each
// thing that its checks look at, whether it is there or not, and the totals'.
// Should two names have one number, their savers wait for each other and no
// more.
func locks(ch flow.Change) (all, totals []int64) {
	lock := func(kind string, name ...string) {
		all = append(all, number(kind, name...))
	}
	sid := func(sid string) {
		if sid != "" {
			lock("sid", sid)
		}
	}
	for _, l := range ch.Lines {
		lock("line", l.Number.E164(), l.Sender)
	}
	for _, m := range ch.Messages {
		sid(m.SID)
	}
	if s := ch.Settle; s != nil {
		lock("message", s.Message.String())
		sid(s.SID)
	}
	if in := ch.Inbound; in != nil {
		sid(in.SID)
	}
	if r := ch.Receipt; r != nil {
		if r.Message != uuid.Nil { // else it moves none
			lock("message", r.Message.String())
		}
		sid(r.SID)
	}
	for _, s := range ch.Spend {
		totals = append(totals, number("total", s.Total))
	}
	return all, totals
}

// number is a name's, for a lock.
func number(kind string, name ...string) int64 {
	h := fnv.New64a()
	for _, part := range append([]string{"countersign", kind}, name...) {
		_, _ = h.Write(append([]byte(part), 0))
	}
	return int64(h.Sum64()) //nolint:gosec // any number will do
}
