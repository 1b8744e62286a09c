package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/countersign/countersign/internal/ledger"
)

type migrateCommand struct {
	DatabaseURL string `env:"DATABASE_URL" default:"file:countersign.db" placeholder:"URL" help:"The database (${default}). Or DATABASE_URL_FILE."`
}

// Run migrates the database and lets go of it.
func (c migrateCommand) Run(ctx context.Context, w world) error {
	if file := w.getenv("DATABASE_URL_FILE"); file != "" {
		text, err := os.ReadFile(file) //nolint:gosec // the operator names it
		if err != nil {
			return fmt.Errorf("DATABASE_URL_FILE: %w", err)
		}
		c.DatabaseURL = strings.TrimSpace(string(text))
	}
	rows, err := ledger.Open(ctx, c.DatabaseURL)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = fmt.Fprintln(w.out, "the database is up to date")
	return err
}
