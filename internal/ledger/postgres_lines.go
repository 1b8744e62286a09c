package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
)

// readLines reads lines by their places in two lists, and the conversations
// that hang on them, in one snapshot.
const readLines = `SELECT * FROM countersign_lines($1, $2)`

// lineColumns is how many of its columns come before a conversation's.
const lineColumns = 9

// groupsAtOnce is how many groups of lines are read at the same time: should
// one be slow, not everybody waits for it.
const groupsAtOnce = 2

// A lineReader reads lines for many at once. While some are being read, others
// queue up; what waits then is read together, for the price of one round trip.
// Nobody's line is read before it was asked for.
type lineReader struct {
	read func([]*lineRead) // sets each one's line, or err

	mu       sync.Mutex
	waiting  []*lineRead
	underWay int // groups
}

// A lineRead is somebody who waits for a line.
type lineRead struct {
	line flow.Line // only its name at first
	err  error
	done chan struct{} // closed when line or err is the outcome
}

// await reads a line. Who leaves is not waited for.
func (r *lineReader) await(ctx context.Context, id flow.LineID) (flow.Line, error) {
	if err := ctx.Err(); err != nil {
		return flow.Line{}, err
	}
	l := &lineRead{line: flow.Line{LineID: id}, done: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, l)
	if r.underWay < groupsAtOnce {
		r.underWay++
		go r.run()
	}
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.line, l.err
	case <-ctx.Done():
		return flow.Line{}, ctx.Err()
	}
}

// run reads groups for as long as somebody waits.
func (r *lineReader) run() {
	runtime.Gosched() // who is about to ask gets into this group
	for {
		group := r.next()
		if len(group) == 0 {
			return
		}
		r.read(group)
		for _, l := range group {
			close(l.done)
		}
	}
}

// next takes those who wait. Where there are none, it ends the run that asks.
func (r *lineReader) next() []*lineRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), maxGroup)
	group := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if n == 0 {
		r.underWay--
	}
	return group
}

// readGroup reads a group's lines. One that cannot be understood fails alone.
func (p *Postgres) readGroup(group []*lineRead) {
	numbers, senders := make([]string, len(group)), make([]string, len(group))
	for i, l := range group {
		numbers[i], senders[i] = l.line.Number.E164(), l.line.Sender
	}
	odd := false
	err := p.query(unhurried, readLines, []any{numbers, senders}, func(rows pgx.Rows) error {
		for _, l := range group {
			l.line = flow.Line{LineID: l.line.LineID}
		}
		for rows.Next() {
			if err := scanLine(rows, group); err != nil {
				odd = true
				return err
			}
		}
		return rows.Err()
	})
	if odd && len(group) > 1 {
		for i := range group {
			p.readGroup(group[i : i+1])
		}
		return
	}
	for _, l := range group {
		if err != nil {
			l.line, l.err = flow.Line{}, fmt.Errorf("load line: %w", err)
			continue
		}
		arrange(&l.line)
	}
}

// scanLine reads a row of readLines: the line, and the conversation that is
// joined to it, if one is.
func scanLine(row pgx.Rows, group []*lineRead) error {
	var nth int
	var line flow.Line
	var optedOut sql.NullInt64
	var texts, serials, answers []int64
	into := []any{&nth, &line.Version, &optedOut, &line.Misses, &line.Hints, &texts, &serials, &answers, &line.Topic}
	values := row.RawValues()
	joined := values[lineColumns] != nil // a conversation's id
	var c flow.Conversation
	var err error
	if joined {
		c, err = scanConversation(after{row, into})
	} else {
		err = row.Scan(append(into, make([]any, len(values)-lineColumns)...)...)
	}
	if err != nil {
		return err
	}
	l := &group[nth-1].line
	line.LineID, line.Conversations = l.LineID, l.Conversations
	if joined {
		line.Conversations = append(line.Conversations, c)
	}
	line.OptedOut = moment(optedOut)
	line.Texts, line.Serials, line.Answers = moments(texts), moments(serials), moments(answers)
	*l = line
	return nil
}

// after is a row of which the first columns go elsewhere.
type after struct {
	scanner
	first []any
}

func (a after) Scan(dest ...any) error { return a.scanner.Scan(append(a.first, dest...)...) }
