package main

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"time"
)

// openDatabase opens the database of a DATABASE_URL, as somebody beside the
// service would: SQLite's file in that mode.
func openDatabase(databaseURL, mode string) (*sql.DB, error) {
	if strings.HasPrefix(databaseURL, "postgres") {
		return sql.Open("pgx", databaseURL)
	}
	return sql.Open("sqlite", databaseURL+"?_pragma=busy_timeout(5000)&mode="+mode)
}

// outboxIsQuiet reports whether no text is under way, or could be at once: it
// looks into the database while the service works on it.
func outboxIsQuiet(ctx context.Context, databaseURL string, now time.Time) (quiet bool, err error) {
	db, err := openDatabase(databaseURL, "ro")
	if err != nil {
		return false, err
	}
	defer func() { _ = db.Close() }()
	err = db.QueryRowContext(ctx,
		`SELECT count(*) = 0 FROM messages WHERE state = 'leased' OR state = 'waiting' AND due <= $1`, now.UnixMilli()).Scan(&quiet)
	return quiet, err
}

// changeDatabase changes a database that nobody serves.
func changeDatabase(ctx context.Context, databaseURL, statement string) error {
	db, err := openDatabase(databaseURL, "rw")
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
