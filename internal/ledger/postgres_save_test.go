package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

func groupOf(changes ...flow.Change) (group []*job) {
	for _, ch := range changes {
		group = append(group, &job{save: newSave(ch)})
	}
	return group
}

// together saves changes as one group and returns their outcomes.
func together(p *Postgres, changes ...flow.Change) (outcomes []error) {
	group := groupOf(changes...)
	p.commitGroup(group)
	for _, j := range group {
		outcomes = append(outcomes, j.err)
	}
	return outcomes
}

// Whatever means something to PostgreSQL's arrays and rows is only text.
func TestTextsAreReadAsTheyWereWritten(t *testing.T) {
	p := openPostgresTemp(t)
	for n, text := range []string{
		"", " ", "NULL", `"`, `\`, `\"`, `""`, `a"b\c`, `{a,b}`, `(1,2)`, "line\nbreak\ttab\r", `\x41`, `\101`, "'; --", "é £ 漢 🍕",
	} {
		ch := asking(n)
		c := &ch.Lines[0].Conversations[0]
		c.Named = flow.Named{Reference: text, Amount: text}
		c.Entries = []flow.Entry{{Field: text, Value: text}}
		c.Browser[0] = '\\'
		ch.Inbound = &flow.Inbound{SID: "SM" + text, Line: ch.Lines[0].LineID, At: noon, Reply: text}
		if err := p.Save(t.Context(), ch); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got := lineOf(t, p, lineID(n)).Conversations[0]
		if got.Named != c.Named || !slices.Equal(got.Entries, c.Entries) || got.Browser != c.Browser {
			t.Errorf("%q has become %q, %q, and browser %x", text, got.Named, got.Entries, got.Browser)
		}
		if heard, err := p.Heard(t.Context(), lineID(n).Number, "SM"+text); err != nil || heard.Reply != text {
			t.Errorf("%q has become %q, %v", text, heard.Reply, err)
		}
	}
}

// What a save looks up seldom costs more, as PostgreSQL sees it, the more texts
// there are; compiled for that, each save would take fifty times as long.
func TestNoSaveIsCompiled(t *testing.T) {
	server := pgtest.New(t, "fsync=off", "jit_above_cost=50", "session_preload_libraries=auto_explain",
		"auto_explain.log_min_duration=0", "auto_explain.log_nested_statements=on", "auto_explain.log_analyze=on")
	if server.SQL(t, `SELECT pg_jit_available()`) != "t" {
		t.Skip("this PostgreSQL compiles nothing")
	}
	const compiled = "JIT:"
	l := openURL(t, server.URL(t)).(*Postgres)
	before := len(server.Log(t))
	if err := l.Save(t.Context(), asking(1)); err != nil {
		t.Fatal(err)
	}
	if line := lineOf(t, l, lineID(1)); len(line.Conversations) != 1 {
		t.Errorf("the line has %d orders, want 1", len(line.Conversations))
	}
	plans := server.Log(t)[before:]
	for _, part := range []string{"INSERT INTO conversations", "WITH ORDINALITY AS a (number"} {
		if !strings.Contains(plans, part) {
			t.Errorf("no plan of %s is told", part)
		}
	}
	if strings.Contains(plans, compiled) {
		t.Errorf("compiled were some of\n%s", plans)
	}
	// Else nothing has been seen.
	if err := l.row(t.Context(), `SELECT count(*) FROM generate_series(1, 100000)`).Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(server.Log(t), compiled) {
		t.Error("PostgreSQL does not tell what it compiles")
	}
}

func TestAGroupSpendsInItsOrder(t *testing.T) {
	p := openPostgresTemp(t)
	spend := func(n, limit int) flow.Change {
		return flow.Change{Spend: []flow.Spend{{Total: "texts", N: n, Limit: limit}}}
	}
	stale := spend(5, 10)
	stale.Lines = []flow.Line{{LineID: lineID(1), Version: 7}}
	flawed := spend(4, 10)
	flawed.Lines = []flow.Line{{LineID: lineID(2)}, {LineID: lineID(2)}}
	both := spend(1, 100)
	both.Spend = append(both.Spend, flow.Spend{Total: "credit", N: 1, Limit: 0})

	got := together(p, spend(6, 10), stale, flawed, spend(5, 10), both, spend(4, 10), spend(1, 10), spend(20, 40))
	if !slices.Equal([]error{got[0], got[5], got[7]}, []error{nil, nil, nil}) {
		t.Errorf("what there is enough for: %v", got)
	}
	if !errors.Is(got[1], flow.ErrStale) || got[2] == nil || errors.Is(got[2], flow.ErrSpent) {
		t.Errorf("what is refused for another reason: %v, %v", got[1], got[2])
	}
	for _, n := range []int{3, 4, 6} {
		if !errors.Is(got[n], flow.ErrSpent) {
			t.Errorf("what there is not enough for: %d is %v", n, got[n])
		}
	}
	if got := together(p, spend(1, 30), spend(1, 31)); !errors.Is(got[0], flow.ErrSpent) || got[1] != nil {
		t.Errorf("with 30 spent: %v, want the second of them", got)
	}
}

// Of a group, those that want the same thing are done in their order, and one
// that cannot be written is refused alone.
func TestAGroupIsAsGoodAsOneAfterTheOther(t *testing.T) {
	p := openPostgresTemp(t)
	text := func(sid string, version int64) flow.Change {
		line := flow.Line{LineID: lineID(9), Version: version}
		return flow.Change{Lines: []flow.Line{line}, Inbound: &flow.Inbound{SID: sid, Line: line.LineID, At: noon}}
	}
	first, again := asking(1), asking(2)
	again.Messages[0].ID = first.Messages[0].ID // no message is written twice
	got := together(p, first, text("SM1", 0), text("SM2", 1), text("SM1", 2), again, asking(3))
	for n, want := range []error{nil, nil, nil, flow.ErrHeard, got[4], nil} {
		if !errors.Is(got[n], want) {
			t.Errorf("%d is %v, want %v", n, got[n], want)
		}
	}
	if got[4] == nil {
		t.Error("a message was written twice")
	}
	if line := lineOf(t, p, lineID(2)); line.Version != 0 {
		t.Error("what was refused has left its line")
	}
}

// They have in common that they name no message of ours.
func TestReceiptsOfNoTextWeKnowAreSavedTogether(t *testing.T) {
	receipt := func(sid string, status flow.Status) flow.Change {
		return flow.Change{Receipt: &flow.Receipt{SID: sid, Status: status, At: noon}}
	}
	changes := []flow.Change{
		receipt("SM1", flow.StatusSent), receipt("SM2", flow.StatusSent), receipt("SM3", flow.StatusFailed),
		receipt("SM1", flow.StatusDelivered), receipt("SM2", flow.StatusSent),
	}
	first, others := apart(groupOf(changes...))
	if len(first) != 3 || len(others) != 2 {
		t.Errorf("%d are saved together and %d after them, want 3 and 2", len(first), len(others))
	}

	p := openPostgresTemp(t)
	if err := errors.Join(together(p, changes...)...); err != nil {
		t.Fatal(err)
	}
	var kept string
	if err := p.reads.QueryRow(t.Context(), `SELECT string_agg(sid || ' ' || status, ', ' ORDER BY sid, status) FROM receipts
		WHERE message = $1`, uuid.Nil).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if want := "SM1 delivered, SM1 sent, SM2 sent, SM3 failed"; kept != want {
		t.Errorf("kept are %s; want %s", kept, want)
	}
}

// Also with plans that were made while the tables were small, and known to be.
func TestPostgresSavesByKeys(t *testing.T) {
	p := openPostgresTemp(t)
	ch := asking(1)
	ch.Inbound = &flow.Inbound{SID: "SM1", Line: lineID(1), At: noon}
	if err := errors.Join(append(small(t, p), p.Save(t.Context(), ch))...); err != nil {
		t.Fatal(err)
	}
	if _, err := p.writes.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	line := lineOf(t, p, lineID(1))
	line.Conversations[0].State = flow.Confirmed
	message, other := ch.Messages[0].ID, flowtest.NewID(time.Now())
	tx, err := p.reads.Begin(t.Context()) // which has no plans yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	what := append([]any{uuid.New(), 1}, saving(groupOf(
		flow.Change{Lines: []flow.Line{line}, Inbound: &flow.Inbound{SID: "SM2", Line: lineID(1), At: noon}},
		flow.Change{
			Settle: &flow.Settlement{Message: message, Attempt: 1, State: flow.Accepted, SID: "SM3"},
			Spend:  []flow.Spend{{Total: "texts", N: 1, Limit: 9}},
		},
		flow.Change{Receipt: &flow.Receipt{Message: other, SID: "SM4", Status: flow.StatusSent, At: noon}},
		flow.Change{Messages: []flow.Message{{ID: other, Order: uuid.New(), Line: lineID(3), Created: noon}}},
	))...)
	var outcomes []string
	if err := tx.QueryRow(t.Context(), saveGroup, what...).Scan(&outcomes); err != nil || strings.Join(outcomes, "") != "" {
		t.Fatalf("%q, %v", outcomes, err)
	}
	if whole, rows := readBy(t, tx); whole != 0 || rows > few {
		t.Errorf("tables were read %d times whole, and %d rows by keys; want none and few", whole, rows)
	}
}

// small fills tables a little: to go through them all would read more than a
// few rows.
func small(t *testing.T, p *Postgres) []error {
	t.Helper()
	var changes []flow.Change
	for n := range 2 * few {
		changes = append(changes, asking(100+n))
	}
	return together(p, changes...)
}

const few = 25

// readBy is how often tables were read whole in a transaction, and how many
// rows by keys.
func readBy(t *testing.T, tx pgx.Tx) (whole, rows int) {
	t.Helper()
	if err := tx.QueryRow(t.Context(), `SELECT sum(seq_scan), sum(idx_tup_fetch) FROM pg_stat_xact_user_tables
		WHERE schemaname = current_schema()`).Scan(&whole, &rows); err != nil {
		t.Fatal(err)
	}
	return whole, rows
}
