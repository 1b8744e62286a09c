package flow

import (
	"fmt"
	"slices"
	"strings"
)

// A row is one line of a machine's table, for printing.
type row struct {
	from, to State
	event    Event
	effects  []Effect
}

// rows are m's, in the order of the states and events.
func (m Machine) rows() []row {
	var rows []row
	for _, s := range append([]State{New}, States...) {
		for _, ev := range Events {
			if then, ok := m[On{s, ev}]; ok {
				rows = append(rows, row{s, then.State, ev, then.Effects})
			}
		}
	}
	return rows
}

func (r row) does() string {
	words := make([]string, 0, len(r.effects))
	for _, e := range r.effects {
		words = append(words, string(e))
	}
	return strings.Join(words, ", ")
}

// Table prints m, a row for each event that a state answers to.
func (m Machine) Table() string {
	var b strings.Builder
	line := func(cells ...string) {
		fmt.Fprintf(&b, "%-12s %-12s %-12s %s\n", cells[0], cells[1], cells[2], cells[3])
	}
	line("in", "on", "goes to", "and does")
	for _, r := range m.rows() {
		to := string(r.to)
		if r.to == r.from {
			to = "(stays)"
		}
		line(string(r.from), string(r.event), to, r.does())
	}
	return b.String()
}

// An Arrow is all that takes a conversation from one state to another, or
// back to where it is.
type Arrow struct {
	From, To State
	Events   []Event
}

// Arrows are m's, in the order of the states and events.
func (m Machine) Arrows() []Arrow {
	var arrows []Arrow
	for _, r := range m.rows() {
		i := slices.IndexFunc(arrows, func(a Arrow) bool { return a.From == r.from && a.To == r.to })
		if i < 0 {
			i, arrows = len(arrows), append(arrows, Arrow{From: r.from, To: r.to})
		}
		arrows[i].Events = append(arrows[i].Events, r.event)
	}
	return arrows
}

// label names the events of a, with sep between them.
func (a Arrow) label(sep string) string {
	words := make([]string, 0, len(a.Events))
	for _, ev := range a.Events {
		words = append(words, string(ev))
	}
	return strings.Join(words, sep)
}

// Mermaid draws m as a state diagram: https://mermaid.js.org/syntax/stateDiagram.html.
func (m Machine) Mermaid() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n")
	name := func(s State) string {
		if s == New {
			return "[*]"
		}
		return string(s)
	}
	for _, a := range m.Arrows() {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", name(a.From), name(a.To), a.label(", "))
	}
	for _, s := range States {
		if !s.Open() {
			fmt.Fprintf(&b, "    %s --> [*]\n", s)
		}
	}
	return b.String()
}

// DOT draws m for Graphviz: https://graphviz.org/doc/info/lang.html.
func (m Machine) DOT() string {
	var b strings.Builder
	b.WriteString("digraph confirmation {\n  rankdir=LR\n  node [shape=box, style=rounded]\n  new [shape=point]\n")
	for _, s := range States {
		if !s.Open() {
			fmt.Fprintf(&b, "  %s [peripheries=2]\n", s)
		}
	}
	for _, a := range m.Arrows() {
		fmt.Fprintf(&b, "  %s -> %s [label=%q]\n", a.From, a.To, a.label("\n"))
	}
	b.WriteString("}\n")
	return b.String()
}
