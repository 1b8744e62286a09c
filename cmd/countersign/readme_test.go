package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

//go:generate go test -count=1 -run ^TestReadmeListsTheSettings$ . -update-readme

var updateReadme = flag.Bool("update-readme", false, "rewrite the README's table of settings")

// The README's table of settings is what --help says.
func TestReadmeListsTheSettings(t *testing.T) {
	const file = "../../README.md"
	const from, to = "<!-- settings: written from the flags by go generate ./cmd/countersign -->\n", "<!-- end of settings -->"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", file)
	}
	want := before + from + settingsTable() + to + after
	if want == string(readme) {
		return
	}
	if !*updateReadme {
		t.Fatal("the README's table of settings is not what the flags say: run go generate ./cmd/countersign")
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| Setting | Default | What for |\n|---|---|---|\n")
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		def := field.Tag.Get("default")
		help := strings.NewReplacer(" (${default})", "", "|", `\|`).Replace(field.Tag.Get("help"))
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", field.Tag.Get("env"), def, help)
	}
	return b.String()
}
