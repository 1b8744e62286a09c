package flow_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign/countersign/flow"
)

// docs/flow.md is drawn from the table that the service runs on.
func TestDocsDrawTheTable(t *testing.T) {
	const file = "../docs/flow.md"
	want := `# The conversation

What an order goes through, drawn from the table in ` + "[flow/machine.go](../flow/machine.go)" + ` that the service runs on; ` + "`countersign flow`" + ` prints the same. Written by ` + "`go generate ./flow`" + `.

` + "```mermaid\n" + flow.Confirmation.Mermaid() + "```" + `

A PIN *expires*, an order *lapses*. What is not in the table changes nothing: the asker is told where things stand.

` + "```\n" + flow.Confirmation.Table() + "```\n"
	got, err := os.ReadFile(file)
	if err == nil && string(got) == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the table says: run go generate ./flow", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDiagramsHoldEveryRow(t *testing.T) {
	table, mermaid, dot := flow.Confirmation.Table(), flow.Confirmation.Mermaid(), flow.Confirmation.DOT()
	if got, want := strings.Count(table, "\n"), len(flow.Confirmation)+1; got != want {
		t.Errorf("the table has %d lines for %d rows and a heading", got, len(flow.Confirmation))
	}
	for on, then := range flow.Confirmation {
		if !strings.Contains(mermaid, string(on.Event)) || !strings.Contains(dot, string(on.Event)) {
			t.Errorf("%s in %s is not drawn", on.Event, on.State)
		}
		if arrow := string(on.State) + " -> " + string(then.State); !strings.Contains(dot, arrow) {
			t.Errorf("no arrow %s", arrow)
		}
	}
	// Graphviz, where there is one, must be able to read it.
	if path, err := exec.LookPath("dot"); err == nil {
		cmd := exec.CommandContext(t.Context(), path, "-Tcanon")
		cmd.Stdin = strings.NewReader(dot)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("dot: %v\n%s", err, out)
		}
	}
}
