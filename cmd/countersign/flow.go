package main

import (
	"fmt"

	"github.com/countersign/countersign/flow"
)

type flowCommand struct {
	Format string `arg:"" optional:"" default:"table" enum:"table,mermaid,dot" help:"table, mermaid or dot (${default})."`
}

// Run prints the conversation.
func (c flowCommand) Run(w world) error {
	draw := map[string]func() string{
		"table":   flow.Confirmation.Table,
		"mermaid": flow.Confirmation.Mermaid,
		"dot":     flow.Confirmation.DOT,
	}[c.Format]
	_, err := fmt.Fprint(w.out, draw())
	return err
}
