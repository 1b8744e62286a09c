package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/countersign/countersign/flow"
)

// SQLite is a ledger in one file, served by one process.
//
// It has a connection for the writer, some for readers, who never wait for
// it, and one for the checkpoints beside it.
type SQLite struct {
	records

	path  string
	file  os.FileInfo // of path, when it was opened
	lock  *os.File    // nil if read-only
	reads *sql.DB
	read  queries

	writes      *sql.DB
	conn        *sql.Conn // the writer's
	save        statements
	till        till    // of the transaction that has begun
	rows        int     // likewise: those that it has written
	writer      *writer // nil if read-only
	checkpoints *checkpointer

	closing sync.Once
	closed  error
}

var _ flow.Ledger = (*SQLite)(nil)

// queries are those of the readers.
type queries struct {
	known, line, hanging, conversation, message, messageBySID, heard,
	lapsing, outbox, openUndated, openBound, openWithin *sql.Stmt
}

const sqliteMigrations = "migrations/sqlite"

// private makes the file, if it is not there, for its owner alone: it will hold
// names, addresses and numbers. What SQLite puts beside it is like it.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	return f.Close()
}

func openSQLite(ctx context.Context, databaseURL string, o options) (_ *SQLite, err error) {
	path, err := sqlitePath(databaseURL)
	if err != nil {
		return nil, err
	}
	s := &SQLite{path: path}
	s.records = records{s.look}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open %s: %w", path, explain(err))
			_ = s.Close()
		}
	}()
	mode := "rw"
	if !o.readOnly {
		mode = "rwc"
		if s.lock, err = lock(path); err != nil {
			return nil, err
		}
		if err := private(path); err != nil {
			return nil, err
		}
	}
	// The readers come first: what is not ours is left as it is.
	s.reads, err = sql.Open("sqlite", dsn(path, url.Values{"mode": {mode}, "_query_only": {"true"}}))
	if err != nil {
		return nil, err
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers)
	version, err := s.version(ctx)
	if err != nil {
		return nil, err
	}
	if err := fits(sqliteMigrations, version, !o.readOnly && !o.noMigrate); err != nil {
		return nil, err
	}
	if !o.readOnly {
		if err := s.openWrites(ctx); err != nil {
			return nil, err
		}
	}
	if err := prepare(ctx, s.reads, s.read.sql()); err != nil {
		return nil, err
	}
	if s.file, err = os.Stat(path); err != nil { //nolint:gosec // the operator names it
		return nil, err
	}
	return s, nil
}

// openWrites migrates the tables and starts the writer.
func (s *SQLite) openWrites(ctx context.Context) (err error) {
	// fdatasync(2) keeps all that a commit has written. fsync would also wait
	// for the file system to note when that was. Where there is no fdatasync,
	// it is fsync still.
	_, _ = sqlite.Fdatasync(true)
	s.writes, err = sql.Open("sqlite", dsn(s.path, url.Values{
		"_journal_mode": {"WAL"},
		// A commit that is answered for survives a power cut.
		"_synchronous": {"FULL"},
		"_pragma": {
			"wal_autocheckpoint(0)", // the checkpointer does that
			"cache_size(-32768)",    // KiB: numbers are written all over the place
			// What a WAL begun anew keeps of the disk, at most: in bytes.
			fmt.Sprintf("journal_size_limit(%d)", overlongWAL<<12),
		},
	}))
	if err != nil {
		return err
	}
	s.writes.SetMaxOpenConns(1)
	if err := migrate(ctx, s.writes, goose.DialectSQLite3, sqliteMigrations); err != nil {
		return err
	}
	if s.conn, err = s.writes.Conn(ctx); err != nil {
		return err
	}
	// A file that is not ours to write SQLite opens for reading, without a word,
	// until something is written, be it nothing.
	if _, err := s.conn.ExecContext(ctx, "UPDATE totals SET used = used WHERE name = ''"); err != nil {
		return fmt.Errorf("write nothing, to try: %w", err)
	}
	if err := prepare(ctx, s.conn, s.save.sql()); err != nil {
		return err
	}
	if s.checkpoints, err = newCheckpointer(ctx, s.path); err != nil {
		return err
	}
	s.writer = newWriter(s.commitGroup)
	return nil
}

// sqlitePath returns the file that a file: URL names. By whatever name a file is
// opened, it is locked under one.
func sqlitePath(databaseURL string) (string, error) {
	path, err := sqliteName(databaseURL)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	return path, nil
}

// sqliteName returns the name of a file: URL, which may be a link.
func sqliteName(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("database URL: cannot be read; want file:name.db")
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", fmt.Errorf("database URL: %w", err)
		}
	}
	switch {
	case u.Host != "" && u.Host != "localhost":
		return "", fmt.Errorf("database URL: %q looks like a host; for a relative path write file:name.db", u.Host)
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("database URL: SQLite's settings are our choice; want file:name.db and nothing more")
	case path == "" || strings.HasPrefix(path, ":memory:"):
		return "", errors.New("database URL: a file is needed, such as file:name.db")
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("database URL: %w", err)
	}
	return path, nil
}

// dsn names the database file to the driver.
func dsn(path string, q url.Values) string {
	// Ours is the only writer; who waits, waits for a shell or a backup.
	q.Set("_busy_timeout", "5000")
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// version returns what version the tables are at: 0 in a new file.
func (s *SQLite) version(ctx context.Context) (version int64, err error) {
	var tables, ours int
	err = s.reads.QueryRowContext(ctx,
		`SELECT count(*), count(*) FILTER (WHERE name = 'goose_db_version') FROM sqlite_schema`).Scan(&tables, &ours)
	if err != nil || tables == 0 {
		return 0, err
	}
	if ours == 0 {
		return 0, ErrForeign
	}
	err = s.reads.QueryRowContext(ctx,
		`SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return version, err
}

// Close ends the writer after what waits, and gives the file free.
func (s *SQLite) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *SQLite) close() error {
	var errs []error
	if s.writer != nil {
		s.writer.close()
	}
	if s.checkpoints != nil {
		errs = append(errs, s.checkpoints.close())
	}
	if s.reads != nil {
		errs = append(errs, s.reads.Close())
	}
	if s.conn != nil {
		// A connection of one's own does not close its statements, and with
		// one open SQLite would keep the file.
		for stmt := range s.save.sql() {
			if *stmt != nil {
				errs = append(errs, (*stmt).Close())
			}
		}
		errs = append(errs, s.conn.Close())
	}
	if s.writes != nil { // the last to close: SQLite empties the WAL then
		errs = append(errs, s.writes.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// preparer is an [sql.DB] or an [sql.Conn].
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// prepare prepares each query to where it belongs.
func prepare(ctx context.Context, on preparer, queries map[**sql.Stmt]string) error {
	for stmt, query := range queries {
		var err error
		if *stmt, err = on.PrepareContext(ctx, query); err != nil { //nolint:sqlclosecheck // Close does
			return fmt.Errorf("prepare %q: %w", query, err)
		}
	}
	return nil
}

const (
	conversationColumns = `id, number, sender, browser, state, reference, amount, entries, complete, proved,
		serial, serial_key, serial_length, serial_reference, serial_amount, serial_expires,
		misses, texted, message, failure, created, deadline, ended`
	messageColumns = `id, conversation, number, sender, kind, serial, locale, reference, amount,
		state, attempt, unknown, due, created, attempted, sid, status, code`

	// The next two are the indexes' own words: by them SQLite knows that it
	// may use the index. Of a list longer than two it would make a table, for
	// each row that it writes; PostgreSQL, whose index has the list, knows that
	// it is the same.
	isOpen = `(state = 'asked' OR state = 'locked' OR state = 'unreachable')`
	isOut  = `state IN ('leased', 'waiting')`

	// readLapsing looks at so many orders, in the order of their index: to
	// group and sort a million that have lapsed, for some of them, took seconds.
	readLapsing = `SELECT number, sender FROM (
			SELECT number, sender, deadline FROM conversations WHERE ` + isOpen + ` AND deadline <= $1
			ORDER BY deadline LIMIT $2) AS soonest
		GROUP BY number, sender ORDER BY min(deadline), number, sender`
)

// sql is what each is prepared from.
func (q *queries) sql() map[**sql.Stmt]string {
	return map[**sql.Stmt]string{
		&q.known: `SELECT 1 FROM lines WHERE number = ? AND sender = ?`,
		&q.line: `SELECT version, opted_out, misses, hints, texts, serials, answers, topic
			FROM lines WHERE number = ? AND sender = ?`,
		&q.hanging: `SELECT ` + conversationColumns + ` FROM conversations
			WHERE (number, sender) = (?1, ?2) AND id IN (
				SELECT unhex(value) FROM lines, json_each(conversations) WHERE (number, sender) = (?1, ?2))`,
		&q.conversation: `SELECT ` + conversationColumns + ` FROM conversations WHERE id = ?`,
		&q.message:      `SELECT ` + messageColumns + ` FROM messages WHERE id = ?`,
		&q.messageBySID: `SELECT ` + messageColumns + ` FROM messages
			WHERE id >= ? AND sid = ? AND created > ? ORDER BY id LIMIT 1`,
		// What a line's row tells of the text begins with ?3, and then comes when it
		// was: a cast reads to the end of the number.
		&q.heard: `SELECT ` + inboundColumns + ` FROM inbound WHERE sid = ?1 AND at = coalesce((
				SELECT CAST(substr(heard, instr(heard, ?3) + length(?3)) AS INTEGER) FROM lines
				WHERE number = ?2 AND instr(heard, ?3)
			), (SELECT at FROM heard WHERE sid = ?1))`,
		&q.lapsing:     questions(readLapsing),
		&q.outbox:      `SELECT state, count(*), min(due) FROM messages WHERE ` + isOut + ` GROUP BY state`,
		&q.openUndated: `SELECT ` + countOpen + ` FROM conversations WHERE ` + isOpen + ` AND deadline IS NULL`,
		&q.openBound: `SELECT deadline, state, id FROM conversations
			WHERE ` + isOpen + ` AND (deadline, state, id) > (?1, ?2, ?3)
			ORDER BY deadline, state, id LIMIT 1 OFFSET ?4`,
		&q.openWithin: `SELECT ` + countOpen + ` FROM conversations
			WHERE ` + isOpen + ` AND (deadline, state, id) > (?1, ?2, ?3) AND (deadline, state, id) <= (?4, ?5, ?6)`,
	}
}

// Line implements [flow.Ledger]; it is as committed.
func (s *SQLite) Line(ctx context.Context, id flow.LineID) (flow.Line, error) {
	return s.Reload(ctx, id)
}

// Reload implements [flow.Ledger].
func (s *SQLite) Reload(ctx context.Context, id flow.LineID) (flow.Line, error) {
	ctx, err := brief(ctx)
	if err != nil {
		return flow.Line{}, err
	}
	// Who orders is new, as a rule, and needs no snapshot of nothing.
	known, err := exists(ctx, s.read.known, id.Number.E164(), id.Sender)
	if err != nil {
		return flow.Line{}, fmt.Errorf("load line: %w", explain(err))
	}
	if !known {
		return flow.Line{LineID: id}, nil
	}
	lines, err := s.Lines(ctx, []flow.LineID{id})
	if err != nil {
		return flow.Line{}, err
	}
	return lines[0], nil
}

// Lines implements [flow.Ledger].
func (s *SQLite) Lines(ctx context.Context, ids []flow.LineID) ([]flow.Line, error) {
	ctx, err := brief(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := s.reads.BeginTx(ctx, nil) // one snapshot
	if err != nil {
		return nil, fmt.Errorf("load lines: %w", explain(err))
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	lines := make([]flow.Line, len(ids))
	for i, id := range ids {
		if lines[i], err = s.load(ctx, tx, id); err != nil {
			return nil, fmt.Errorf("load lines: %w", explain(err))
		}
	}
	return lines, nil
}

// load reads the line and what hangs on it.
func (s *SQLite) load(ctx context.Context, tx *sql.Tx, id flow.LineID) (flow.Line, error) {
	line := flow.Line{LineID: id}
	var optedOut sql.NullInt64
	var texts, serials, answers []byte
	lineRow, hangingRows := tx.StmtContext(ctx, s.read.line), tx.StmtContext(ctx, s.read.hanging) //nolint:sqlclosecheck // with tx
	err := lineRow.QueryRowContext(ctx, id.Number.E164(), id.Sender).Scan(
		&line.Version, &optedOut, &line.Misses, &line.Hints, &texts, &serials, &answers, &line.Topic)
	if errors.Is(err, sql.ErrNoRows) {
		return line, nil
	}
	if err != nil {
		return flow.Line{}, err
	}
	if err := errors.Join(
		parseRecent(texts, &line.Texts),
		parseRecent(serials, &line.Serials),
		parseRecent(answers, &line.Answers),
	); err != nil {
		return flow.Line{}, err
	}
	line.OptedOut = moment(optedOut)

	rows, err := hangingRows.QueryContext(ctx, id.Number.E164(), id.Sender)
	if err != nil {
		return flow.Line{}, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		c, err := scanConversation(rows)
		if err != nil {
			return flow.Line{}, err
		}
		line.Conversations = append(line.Conversations, c)
	}
	arrange(&line)
	return line, rows.Err()
}

// brief readies a context for reads of a row or two: it is looked at once.
// Whatever could still end it would cost the driver a goroutine for each call.
func brief(ctx context.Context) (context.Context, error) {
	return context.WithoutCancel(ctx), ctx.Err()
}

// Conversation implements [flow.Ledger].
func (s *SQLite) Conversation(ctx context.Context, order uuid.UUID) (flow.Conversation, error) {
	ctx, err := brief(ctx)
	if err != nil {
		return flow.Conversation{}, err
	}
	c, err := scanConversation(s.read.conversation.QueryRowContext(ctx, order[:]))
	return c, missing("find order", err)
}

// Message implements [flow.Ledger].
func (s *SQLite) Message(ctx context.Context, id uuid.UUID) (flow.Message, error) {
	ctx, err := brief(ctx)
	if err != nil {
		return flow.Message{}, err
	}
	m, err := scanMessage(s.read.message.QueryRowContext(ctx, id[:]))
	return m, missing("find message", err)
}

// MessageBySID implements [flow.Ledger]. It goes through the messages since
// then, oldest first.
func (s *SQLite) MessageBySID(ctx context.Context, sid string, since time.Time) (flow.Message, error) {
	if sid == "" {
		return flow.Message{}, flow.ErrNotFound
	}
	from := floor(since)
	m, err := scanMessage(s.read.messageBySID.QueryRowContext(ctx, from[:], sid, since.UnixMilli()))
	return m, missing("find message by sid", err)
}

// missing translates a single row's error.
func missing(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return flow.ErrNotFound
	default:
		return fmt.Errorf("%s: %w", what, explain(err))
	}
}

// Lapsing implements [flow.Ledger]; whose deadline passed first comes first.
func (s *SQLite) Lapsing(ctx context.Context, now time.Time, limit int) (_ []flow.LineID, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("list lapsing lines: %w", explain(err))
		}
	}()
	rows, err := s.read.lapsing.QueryContext(ctx, now.UnixMilli(), max(0, limit))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var lines []flow.LineID
	for rows.Next() {
		var id flow.LineID
		if err := rows.Scan(&id.Number, &id.Sender); err != nil {
			return nil, err
		}
		lines = append(lines, id)
	}
	return lines, rows.Err()
}

// scanConversation reads conversationColumns.
func scanConversation(row scanner) (flow.Conversation, error) {
	var c flow.Conversation
	var browser, entries []byte
	var proved, expires, texted, created, deadline, ended sql.NullInt64
	if err := row.Scan(&c.ID, &c.Line.Number, &c.Line.Sender, &browser, &c.State,
		&c.Named.Reference, &c.Named.Amount, &entries, &c.Complete, &proved,
		&c.Serial.N, &c.Serial.Key, &c.Serial.Length, &c.Serial.Named.Reference, &c.Serial.Named.Amount, &expires,
		&c.Misses, &texted, &c.Message, &c.Failure, &created, &deadline, &ended); err != nil {
		return flow.Conversation{}, err
	}
	copy(c.Browser[:], browser)
	c.Proved, c.Serial.Expires, c.Texted = moment(proved), moment(expires), moment(texted)
	c.Created, c.Deadline, c.Ended = moment(created), moment(deadline), moment(ended)
	if err := parseEntries(entries, &c.Entries); err != nil {
		return flow.Conversation{}, err
	}
	return c, nil
}

// scanMessage reads messageColumns.
func scanMessage(row scanner) (flow.Message, error) {
	var m flow.Message
	var due, created, attempted sql.NullInt64
	if err := row.Scan(&m.ID, &m.Order, &m.Line.Number, &m.Line.Sender, &m.Kind, &m.Serial, &m.Locale,
		&m.Named.Reference, &m.Named.Amount, &m.State, &m.Attempt, &m.Unknown,
		&due, &created, &attempted, &m.SID, &m.Status, &m.Code); err != nil {
		return flow.Message{}, err
	}
	m.Due, m.Created, m.Attempted = moment(due), moment(created), moment(attempted)
	return m, nil
}
