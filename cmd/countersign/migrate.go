package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/ledger"
)

// database is the setting of who works on the database alone.
type database struct {
	DatabaseURL string `env:"DATABASE_URL" default:"file:countersign.db" placeholder:"URL" help:"The database (${default}). Or DATABASE_URL_FILE."`
}

// url returns the database's URL, from the file it is in if that is set.
func (d database) url(getenv func(string) string, readFile func(string) ([]byte, error)) (string, error) {
	file := getenv("DATABASE_URL_FILE")
	if file == "" {
		return d.DatabaseURL, nil
	}
	text, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("DATABASE_URL_FILE: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

type migrateCommand struct {
	database `embed:""`
	// A password may be in it, which a command line would show to all.
	To string `env:"MIGRATE_TO" placeholder:"URL" help:"Move the rows of the file to this empty PostgreSQL, postgres://…, while nobody serves it."`
}

// Run migrates the database and lets go of it.
func (c migrateCommand) Run(ctx context.Context, w world) error {
	databaseURL, err := c.url(w.getenv, w.readFile)
	if err != nil {
		return err
	}
	if c.To != "" {
		return c.move(ctx, w, databaseURL)
	}
	rows, err := ledger.Open(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = fmt.Fprintln(w.out, "the database is up to date")
	return err
}

// move moves the rows to another kind of database.
func (c migrateCommand) move(ctx context.Context, w world, from string) error {
	n, err := ledger.Move(ctx, from, c.To)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.out, "%d rows are moved; set DATABASE_URL to where they are now, and leave SECRET_KEY as it is\n", n)
	return err
}
