package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
)

// wantHeardOnce wants each text that is kept in its line's list or in the table
// of those that were moved, and nothing else in either.
func wantHeardOnce(t testing.TB, s *SQLite) {
	t.Helper()
	const listed = `SELECT count(*) FROM lines AS l, json_each('[' || substr(l.heard, 2) || ']') AS h`
	for what, query := range map[string]string{
		"texts are not in one place": `SELECT count(*) FROM inbound AS i WHERE 1 <> (` + listed + `
				WHERE (l.number, l.sender, h.value ->> 0, h.value ->> 1) = (i.number, i.sender, i.sid, i.at)
			) + (SELECT count(*) FROM heard WHERE (sid, at) = (i.sid, i.at))`,
		"are told of that are not kept": `SELECT (` + listed + `) + (SELECT count(*) FROM heard) - (SELECT count(*) FROM inbound)`,
		"were moved unknown to their line": `SELECT count(*) FROM heard JOIN inbound USING (sid, at)
			JOIN lines USING (number, sender) WHERE NOT heard_more`,
	} {
		var n int
		if err := s.reads.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d %s, %v", n, what, err)
		}
	}
}

// hears has a line hear a text.
func hears(t *testing.T, s *SQLite, id flow.LineID, sid string, at time.Time) {
	t.Helper()
	in := &flow.Inbound{SID: sid, Line: id, At: at, Reply: "to " + sid}
	if err := s.Save(t.Context(), flow.Change{Lines: []flow.Line{lineOf(t, s, id)}, Inbound: in}); err != nil {
		t.Fatalf("%s: %v", sid, err)
	}
}

func TestWhatALineHeardIsMovedManyAtOnce(t *testing.T) {
	s := openTemp(t)
	before := 0
	for n := range 30 {
		hears(t, s, lineID(1), fmt.Sprintf("SM%032d", n), noon.Add(time.Duration(n)*time.Second))
		wantHeardOnce(t, s)
		var length, moved int
		if err := s.reads.QueryRowContext(t.Context(),
			`SELECT length(heard), (SELECT count(*) FROM heard) FROM lines`).Scan(&length, &moved); err != nil {
			t.Fatal(err)
		}
		if length > longHeard+60 || moved != before && moved-before < 5 {
			t.Errorf("after %d texts the row has %d bytes of them, and %d of %d were moved by the last", n+1, length, moved-before, moved)
		}
		before = moved
	}
	if before == 0 {
		t.Error("none was moved")
	}
}
