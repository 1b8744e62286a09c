package main

import (
	"context"
	"fmt"

	"github.com/countersign/countersign/internal/ledger"
)

type backupCommand struct {
	database `embed:""`
	File     string `arg:"" help:"The new file to write."`
}

// Run copies the database while it is served.
func (c backupCommand) Run(ctx context.Context, w world) error {
	databaseURL, err := c.url(w.getenv, w.readFile)
	if err != nil {
		return err
	}
	if err := ledger.Backup(ctx, databaseURL, c.File); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.out, "the database is copied to %s\n", c.File)
	return err
}
