package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// measuredAt is a row of so many µs a check.
func measuredAt(store string, open, serves, callers, us int) scaled {
	return scaled{store: store, open: open, serves: serves, callers: callers, round: round{visits: 1, cpu: time.Duration(us) * time.Microsecond}}
}

func TestChart(t *testing.T) {
	rows := []scaled{
		measuredAt("SQLite", 1_000_000, 1, 1, 400), measuredAt("SQLite", 10_000, 1, 1, 300), // out of order
		measuredAt("SQLite", 10_000, 1, 2, 999), // has no line
		measuredAt("SQLite", 10_000, 1, 16, 100),
		measuredAt("PostgreSQL", 10_000, 1, 1, 500), measuredAt("PostgreSQL", 10_000, 2, 1, 999), // two serves have none either
	}
	lines := chartLines(rows)
	if len(lines) != 3 {
		t.Fatalf("%d lines, want one for each of SQLite's two crowds and PostgreSQL's", len(lines))
	}
	if at := lines[0].at; lines[0].name != "SQLite, 1 at once" || len(at) != 2 || at[0].X != 10_000 || at[0].Y != 300 || at[1].Y != 400 {
		t.Errorf("first line = %+v, want SQLite's 300 µs and then 400", lines[0])
	}
	var svg bytes.Buffer
	if err := chart(&svg, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SQLite, 16 at once", "PostgreSQL, 1 at once", "open conversations", "µs"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("the picture does not say %q", want)
		}
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}
