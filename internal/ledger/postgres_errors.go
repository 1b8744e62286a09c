package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// remediesPostgres say what to do about PostgreSQL's errors, by SQLSTATE or the
// class that it begins with
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
var remediesPostgres = map[string]string{
	"08":              "the connection is lost: does PostgreSQL run, and is the network well?",
	"25006":           "this PostgreSQL only reads, being a standby: DATABASE_URL must lead to the one that writes",
	"28":              "PostgreSQL does not let us in: are user and password in DATABASE_URL right, and does pg_hba.conf allow us?",
	"3D000":           "there is no such database: make it first, by createdb",
	"42501":           "the user may not do this: give it the database, or its schema",
	"53100":           "PostgreSQL's disk is full: free some space, then all goes on by itself",
	"53300":           "PostgreSQL has no connection free: raise its max_connections, or lower pool_max_conns in DATABASE_URL",
	statementTimedOut: "PostgreSQL took too long: is it overloaded, or does somebody hold a lock?",
	"57P":             "PostgreSQL stops or starts: it is tried again",
}

// explainPostgres adds to PostgreSQL's errors what to do about them.
func explainPostgres(err error) error {
	var e *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &e):
		for _, code := range []string{e.Code, e.Code[:min(3, len(e.Code))], e.Code[:min(2, len(e.Code))]} {
			if remedy, ok := remediesPostgres[code]; ok {
				return fmt.Errorf("%s: %w", remedy, err)
			}
		}
	case errors.As(err, &connect):
		return fmt.Errorf("PostgreSQL cannot be reached: does it run, and is DATABASE_URL right? %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("PostgreSQL does not answer: is it overloaded, or the network broken? %w", err)
	}
	return err
}

// roundCalledOff is what countersign_group raises for a round that was called
// off, or does not follow on the one before.
const roundCalledOff = "CSOFF"

const statementTimedOut = "57014"

// state is the SQLSTATE of PostgreSQL's error, "" if it is not one.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// passing reports whether what failed may well succeed in a moment.
func passing(err error) bool {
	switch code := state(err); code {
	case "":
	case "40001", "40P01", // others were faster
		"25006",                   // a standby, soon to be promoted or replaced
		"53300",                   // too many connections
		"57P01", "57P02", "57P03", // it stops, has crashed, starts
		roundCalledOff:
		return true
	default:
		return strings.HasPrefix(code, "08")
	}
	var connect *pgconn.ConnectError
	var network *net.OpError
	return errors.As(err, &connect) || pgconn.SafeToRetry(err) ||
		!pgconn.Timeout(err) && (errors.As(err, &network) ||
			errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed))
}

// undone reports whether nothing that was asked for can have happened: it was
// never sent, or PostgreSQL has told that it rolled back.
func undone(err error) bool {
	var e *pgconn.PgError
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || pgconn.SafeToRetry(err) ||
		// A FATAL error may follow a commit.
		errors.As(err, &e) && e.SeverityUnlocalized == "ERROR"
}

// An outage is a time in which the database is not there.
type outage struct {
	bridged time.Duration // is how much of it is waited for
	mu      sync.Mutex
	since   time.Time // zero if there is none
}

// bridge tries until that succeeds, fails for good, or the outage lasts too
// long to be waited for. Then who comes tries once.
func (o *outage) bridge(try func() error) error {
	begun := time.Now()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := try()
		if err == nil {
			o.over()
			return nil
		}
		if !passing(err) {
			return err
		}
		if time.Since(o.begin()) > o.bridged || time.Since(begun) > o.bridged {
			return err
		}
		time.Sleep(wait)
	}
}

// over notes that the database answers.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// begin notes that it does not, and returns since when.
func (o *outage) begin() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
	}
	return o.since
}
