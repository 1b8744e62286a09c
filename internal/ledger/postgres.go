package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign/countersign/flow"
)

// Postgres is a ledger in a PostgreSQL that many processes share.
//
// It has some connections for reading, and two for writing: the writer's, and
// one for who takes messages.
type Postgres struct {
	records

	reads  *pgxpool.Pool
	lines  lineReader
	writes *pgxpool.Pool // nil if read-only
	writer *writer       // nil if read-only
	outage outage
	// answerWithin is the constant of that name, but in tests of it.
	answerWithin time.Duration

	// Who we are in the table of writers, and the last of our commits: the
	// writer's.
	id    uuid.UUID
	round int64
}

var _ flow.Ledger = (*Postgres)(nil)

const postgresMigrations = "migrations/postgres"

// How long the database is waited for.
const (
	// connectWithin bounds getting a connection, unless the URL's
	// connect_timeout says otherwise.
	connectWithin = 5 * time.Second
	// answerWithin bounds a statement as we see it, whatever became of the
	// database or the network.
	answerWithin = 5 * time.Second
	// statementWithin bounds it as the server sees it, unless the URL's
	// statement_timeout says otherwise. It is the shorter, so that a server
	// that is only slow tells us what became of the statement.
	statementWithin = 4 * time.Second
	// outageBridged is for how long after the database went away it is tried
	// again; who asks later is told at once.
	outageBridged = 5 * time.Second
)

func openPostgres(ctx context.Context, databaseURL string, o options) (_ *Postgres, err error) {
	config, err := postgresConfig(databaseURL, o)
	if err != nil {
		return nil, err
	}
	p := &Postgres{answerWithin: answerWithin, outage: outage{bridged: outageBridged}}
	p.records = records{p.look}
	p.lines.read = p.readGroup
	defer func() {
		if err != nil {
			err = fmt.Errorf("open %s at %s: %w", config.ConnConfig.Database, config.ConnConfig.Host, explainPostgres(err))
			_ = p.Close()
		}
	}()
	if p.reads, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	version, err := p.version(ctx)
	if err != nil {
		return nil, err
	}
	if err := fits(postgresMigrations, version, !o.readOnly && !o.noMigrate); err != nil {
		return nil, err
	}
	if o.readOnly {
		return p, nil
	}
	if err := migratePostgres(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	config = config.Copy()
	config.MaxConns, config.MinConns, config.MinIdleConns = 2, 0, 0
	if p.writes, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	// Of who has not written for so long, nobody waits to hear.
	if _, err := p.writes.Exec(ctx, `DELETE FROM writers WHERE at < now() - interval '7 days'`); err != nil {
		return nil, err
	}
	p.enlist()
	p.writer = newWriter(p.commitGroup)
	return p, nil
}

// postgresConfig reads a database URL. What it says goes before our choices.
func postgresConfig(databaseURL string, o options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		// Not the parser's error: who mistypes a URL may have put the password
		// anywhere.
		return nil, errors.New("database URL: cannot be used; want postgres://user:password@host/database, " +
			"with what is special in the password percent-encoded, its parameters as in PostgreSQL's manual, " +
			"and the certificates' files there")
	}
	if !strings.Contains(databaseURL, "connect_timeout=") {
		config.ConnConfig.ConnectTimeout = connectWithin
	}
	config.PingTimeout = answerWithin
	ours := map[string]string{
		"application_name":                    "countersign",
		"statement_timeout":                   fmt.Sprint(statementWithin.Milliseconds()),
		"idle_in_transaction_session_timeout": fmt.Sprint(statementWithin.Milliseconds()),
		"default_transaction_isolation":       "read committed", // see countersign_group
	}
	if o.readOnly {
		ours["default_transaction_read_only"] = "on"
	}
	for name, value := range ours {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// version returns what version the tables are at: 0 in an empty schema.
func (p *Postgres) version(ctx context.Context) (version int64, err error) {
	var schema sql.NullString
	var tables, ours int
	err = p.row(ctx, `SELECT current_schema(), count(*), count(*) FILTER (WHERE tablename = 'goose_db_version')
		FROM pg_tables WHERE schemaname = current_schema()`).Scan(&schema, &tables, &ours)
	switch {
	case err != nil:
		return 0, err
	case !schema.Valid:
		return 0, errors.New("there is no schema of the name in search_path: make it first, by CREATE SCHEMA")
	case tables == 0:
		return 0, nil
	case ours == 0:
		return 0, fmt.Errorf("%w: schema %q has tables of another program; give it a database or schema of its own",
			ErrForeign, schema.String)
	}
	err = p.row(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return version, err
}

// Close ends the writer after what waits, and the connections.
func (p *Postgres) Close() error {
	if p.writer != nil {
		p.writer.close()
	}
	for _, pool := range []*pgxpool.Pool{p.reads, p.writes} {
		if pool != nil {
			pool.Close()
		}
	}
	return nil
}

// What is read, and takeMessages, which leases what is due to the one who asks
// and to no other: what another is about to take is passed over.
const (
	readConversation = `SELECT ` + conversationColumns + ` FROM conversations WHERE id = $1`
	readMessage      = `SELECT ` + messageColumns + ` FROM messages WHERE id = $1`
	readMessageBySID = `SELECT ` + messageColumns + ` FROM messages
		WHERE id >= $1 AND sid = $2 AND created > $3 ORDER BY id LIMIT 1`
	readHeard  = `SELECT ` + inboundColumns + ` FROM inbound WHERE sid = $1`
	readCensus = `SELECT 'orders', state, count(*), NULL FROM conversations WHERE ` + isOpen + ` GROUP BY state
		UNION ALL SELECT 'outbox', state, count(*), min(due) FROM messages WHERE ` + isOut + ` GROUP BY state`
	takeMessages = `WITH due AS MATERIALIZED (
			SELECT id, state AS was, due AS since FROM messages WHERE ` + isOut + ` AND due <= $1
			ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED
		), taken AS (
			UPDATE messages SET state = 'leased', due = $3, attempt = attempt + 1,
				unknown = unknown + CASE WHEN was = 'leased' THEN 1 ELSE 0 END -- its lease ran out
			FROM due WHERE messages.id = due.id
			RETURNING since, messages.*
		)
		SELECT ` + messageColumns + ` FROM taken ORDER BY since, id`
)

// Line implements [flow.Ledger]; it is as committed.
func (p *Postgres) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	return p.Reload(ctx, id)
}

// Reload implements [flow.Ledger].
func (p *Postgres) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	return p.lines.await(ctx, id)
}

// Lines implements [flow.Ledger], in one round trip.
func (p *Postgres) Lines(ctx context.Context, ids []flow.LineID) ([]flow.Line, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	group := make([]*lineRead, len(ids))
	for i, id := range ids {
		group[i] = &lineRead{line: flow.Line{LineID: id}}
	}
	p.readGroup(group)
	lines := make([]flow.Line, len(ids))
	for i, l := range group {
		if l.err != nil {
			return nil, l.err
		}
		lines[i] = l.line
	}
	return lines, nil
}

// Conversation implements [flow.Ledger].
func (p *Postgres) Conversation(ctx context.Context, order uuid.UUID) (flow.Conversation, error) {
	c, err := scanConversation(p.row(ctx, readConversation, order))
	return c, missingRow("find order", err)
}

// Message implements [flow.Ledger].
func (p *Postgres) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	m, err := scanMessage(p.row(ctx, readMessage, id))
	return m, missingRow("find message", err)
}

// MessageBySID implements [flow.Ledger]. It goes through the messages since
// then, oldest first.
func (p *Postgres) MessageBySID(ctx context.Context, sid string, since time.Time) (flow.Message, error) {
	if sid == "" {
		return flow.Message{}, flow.ErrNotFound
	}
	m, err := scanMessage(p.row(ctx, readMessageBySID, floor(since), sid, since.UnixMilli()))
	return m, missingRow("find message by sid", err)
}

// Heard implements [flow.Ledger].
func (p *Postgres) Heard(ctx context.Context, _ flow.Number, sid string) (flow.Inbound, error) {
	in, err := scanInbound(p.row(ctx, readHeard, sid))
	return in, missingRow("find inbound text", err)
}

// missingRow translates a single row's error.
func missingRow(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return flow.ErrNotFound
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// Lapsing implements [flow.Ledger]; whose deadline passed first comes first.
func (p *Postgres) Lapsing(ctx context.Context, now time.Time, limit int) ([]flow.LineID, error) {
	var lines []flow.LineID
	err := p.query(ctx, readLapsing, []any{now.UnixMilli(), max(0, limit)}, func(rows pgx.Rows) (err error) {
		lines, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id flow.LineID, err error) {
			err = row.Scan(&id.Number, &id.Sender)
			return id, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list lapsing lines: %w", err)
	}
	return lines, nil
}

// Census implements [flow.Ledger].
func (p *Postgres) Census(ctx context.Context, _ time.Time) (flow.Census, error) {
	var census flow.Census
	err := p.query(ctx, readCensus, nil, func(rows pgx.Rows) error {
		census = flow.Census{
			Open:   map[flow.State]int{flow.Asked: 0, flow.Locked: 0, flow.Unreachable: 0},
			Outbox: map[flow.MessageState]int{flow.Leased: 0, flow.Waiting: 0},
		}
		for rows.Next() {
			var of, state string
			var n int
			var due sql.NullInt64
			if err := rows.Scan(&of, &state, &n, &due); err != nil {
				return err
			}
			if of == "orders" {
				census.Open[flow.State(state)] = n
				continue
			}
			census.Outbox[flow.MessageState(state)] = n
			if at := moment(due); due.Valid && (census.OldestDue.IsZero() || at.Before(census.OldestDue)) {
				census.OldestDue = at
			}
		}
		return rows.Err()
	})
	if err != nil {
		return flow.Census{}, fmt.Errorf("take census: %w", err)
	}
	return census, nil
}

// query reads rows. If the connection is lost it does so again, and read is
// called again.
//
// A caller who leaves is looked for once, at the beginning: to end a statement
// of a millisecond, its connection would have to be thrown away.
func (p *Postgres) query(ctx context.Context, query string, args []any, read func(pgx.Rows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	return explainPostgres(p.outage.bridge(func() error {
		ctx, cancel := context.WithTimeout(ctx, p.answerWithin)
		defer cancel()
		rows, err := p.reads.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return read(rows)
	}))
}

// row reads a single row, once it is scanned; none is [pgx.ErrNoRows].
func (p *Postgres) row(ctx context.Context, query string, args ...any) scanner {
	return scanFunc(func(dest ...any) error {
		return p.query(ctx, query, args, func(rows pgx.Rows) error {
			if !rows.Next() {
				if err := rows.Err(); err != nil {
					return err
				}
				return pgx.ErrNoRows
			}
			return rows.Scan(dest...)
		})
	})
}

// scanFunc is a scanner.
type scanFunc func(dest ...any) error

// Scan implements scanner.
func (f scanFunc) Scan(dest ...any) error { return f(dest...) }
