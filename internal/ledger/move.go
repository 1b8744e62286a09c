package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
)

// ErrNotEmpty: rows are there already that a move would mix with its own.
var ErrNotEmpty = errors.New("the database is not empty")

// Move copies every row of the SQLite file that one database URL names into
// the empty PostgreSQL that another does, and returns how many there were. It
// is one transaction: all are there or none. Nobody may serve the file
// meanwhile, and it stays as it is.
func Move(ctx context.Context, from, to string) (rows int64, err error) {
	source, err := Open(ctx, from)
	if err != nil {
		return 0, fmt.Errorf("move from: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := Open(ctx, to)
	if err != nil {
		return 0, fmt.Errorf("move to: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	file, isFile := source.(*SQLite)
	server, isServer := target.(*Postgres)
	if !isFile || !isServer {
		return 0, errors.New("move: from file:… to postgres://… is the only way we know")
	}
	if rows, err = move(ctx, file, server); err != nil {
		return 0, fmt.Errorf("move: %w", explainPostgres(explain(err)))
	}
	return rows, nil
}

func move(ctx context.Context, from *SQLite, to *Postgres) (rows int64, err error) {
	read, err := from.reads.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = read.Rollback() }() // it only reads
	write, err := to.writes.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = write.Rollback(context.WithoutCancel(ctx)) }() // nothing, once committed
	// A large table takes longer than a save may.
	if _, err := write.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return 0, err
	}
	for _, t := range moved {
		n, err := t.move(ctx, read, write)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", t.name, err)
		}
		rows += n
	}
	// What is appended comes after what was.
	if _, err := write.Exec(ctx, `SELECT setval(pg_get_serial_sequence('events', 'n'),
		(SELECT coalesce(max(n), 0) + 1 FROM events), false)`); err != nil {
		return 0, err
	}
	return rows, write.Commit(ctx)
}

// A movedTable is a table that both databases have, with the columns of both.
type movedTable struct {
	name    string
	columns []string
}

// moved are the tables that are moved. What became of commits is PostgreSQL's
// alone.
var moved = []movedTable{
	{"lines", []string{"number", "sender", "version", "opted_out", "misses", "hints",
		"texts", "serials", "answers", "topic", "conversations"}},
	{"conversations", names(conversationColumns)},
	{"messages", names(messageColumns)},
	{"inbound", []string{"sid", "number", "sender", "at", "read", "conversation", "reply"}},
	{"receipts", []string{"message", "sid", "status", "code", "at"}},
	{"events", []string{"conversation", "n", "at", "event", "from_state", "to_state", "channel", "note"}},
	{"totals", []string{"name", "used"}},
}

// names splits a list of columns.
func names(columns string) []string {
	return strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// move copies the table's rows, into a table that nobody else can write
// meanwhile.
func (t movedTable) move(ctx context.Context, from *sql.Tx, to pgx.Tx) (int64, error) {
	table := pgx.Identifier{t.name}
	if _, err := to.Exec(ctx, `LOCK TABLE `+table.Sanitize()+` IN EXCLUSIVE MODE`); err != nil {
		return 0, err
	}
	there, err := count(ctx, to, t.name)
	if err != nil {
		return 0, err
	}
	if there > 0 {
		return 0, fmt.Errorf("%w: %d rows are there already", ErrNotEmpty, there)
	}
	var want int64
	if err := from.QueryRowContext(ctx, `SELECT count(*) FROM `+t.name).Scan(&want); err != nil { //nolint:gosec // of moved
		return 0, err
	}
	rows, err := from.QueryContext(ctx, `SELECT `+strings.Join(t.columns, ", ")+` FROM `+t.name) //nolint:gosec,rowserrcheck // of moved; CopyFrom asks
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	columns := t.columns
	if t.name == "messages" {
		columns = append(slices.Clone(columns), "rank")
	}
	if _, err := to.CopyFrom(ctx, table, columns, &movingRows{Rows: rows, table: t}); err != nil {
		return 0, err
	}
	if there, err = count(ctx, to, t.name); err != nil {
		return 0, err
	}
	if there != want {
		return 0, fmt.Errorf("%d rows have arrived, and %d were sent", there, want)
	}
	return there, nil
}

func count(ctx context.Context, tx pgx.Tx, table string) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM `+pgx.Identifier{table}.Sanitize()).Scan(&n)
	return n, err
}

// movingRows are a table's rows as [pgx.CopyFromSource].
type movingRows struct {
	*sql.Rows
	table movedTable
}

// Values implements [pgx.CopyFromSource].
func (r *movingRows) Values() ([]any, error) {
	values := make([]any, len(r.table.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	if err := r.Scan(into...); err != nil {
		return nil, err
	}
	for i, column := range r.table.columns {
		var err error
		if values[i], err = translate(column, values[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", column, err)
		}
		if column == "status" && r.table.name == "messages" {
			status, _ := values[i].(string)
			values = append(values, flow.Status(status).Rank())
		}
	}
	return values, nil
}

// translate turns what SQLite holds in a column of that name into what
// PostgreSQL does.
func translate(column string, value any) (any, error) {
	if value == nil {
		return nil, nil
	}
	text, _ := value.(string)
	bytes, _ := value.([]byte)
	switch column {
	case "id", "conversation", "message", "topic":
		return uuid.FromBytes(bytes)
	case "conversations":
		return parseHangs([]byte(text))
	case "texts", "serials", "answers":
		times := flow.Recent{}
		err := parseRecent([]byte(text), &times)
		return allMillis(times), err
	case "complete":
		return value != int64(0), nil
	default:
		return value, nil
	}
}
