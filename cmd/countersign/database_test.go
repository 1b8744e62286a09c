package main

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"time"
)

// outboxIsQuiet reports whether no text is under way, or could be at once: it
// looks into the database while the service works on it.
func outboxIsQuiet(ctx context.Context, path string, now time.Time) (quiet bool, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return false, err
	}
	defer func() { _ = db.Close() }()
	err = db.QueryRowContext(ctx,
		`SELECT count(*) = 0 FROM messages WHERE state = 'leased' OR state = 'waiting' AND due <= ?`, now.UnixMilli()).Scan(&quiet)
	return quiet, err
}

// changeDatabase changes a database that nobody serves.
func changeDatabase(ctx context.Context, path, statement string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// databaseFiles are all that SQLite keeps of a database, in one.
func databaseFiles(path string) (string, error) {
	var b strings.Builder
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil && (suffix == "" || !os.IsNotExist(err)) {
			return "", err
		}
		b.Write(text)
		b.WriteByte('|')
	}
	return b.String(), nil
}
