package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestSQLiteRecords(t *testing.T) {
	flowtest.TestRecords(t, func(t *testing.T) flowtest.RecordLedger { return openTemp(t) })
}

// The terminal's commands read beside the process that serves, and can do no
// more than that.
func TestRecordsBesideAWriter(t *testing.T) {
	path := tempFile(t)
	serving := openFile(t, path)
	ch := asking(1)
	ch.Messages[0].State = flow.Waiting
	if err := serving.Save(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	beside := openFile(t, path, ReadOnly())
	found, err := beside.Orders(t.Context(), flow.Search{})
	if err != nil || len(found.Rows) != 1 {
		t.Errorf("Orders = %v, %v; want one", found.Rows, err)
	}
	if err := beside.Hurry(t.Context(), ch.Messages[0].ID, noon); !errors.Is(err, errReadOnly) {
		t.Errorf("Hurry, read-only: %v", err)
	}
}

// What ops reads must not grow with the tables: each query goes through a
// range of ids, or an index.
func TestRecordsScanNothing(t *testing.T) {
	s := openTemp(t)
	for _, tt := range []struct{ query, want string }{
		{`SELECT * FROM (SELECT * FROM conversations WHERE id < x'00' ORDER BY id DESC LIMIT 9) WHERE state = 'asked' ORDER BY id DESC LIMIT 5`,
			"SEARCH conversations USING PRIMARY KEY (id<?)"},
		{`SELECT code, count(*) FROM (SELECT * FROM messages WHERE id >= x'00' ORDER BY id DESC LIMIT 9) WHERE ` + isFailing + ` GROUP BY code`,
			"SEARCH messages USING PRIMARY KEY (id>?)"},
		{`SELECT from_state, count(*) FROM (SELECT * FROM events WHERE conversation >= x'00' ORDER BY conversation DESC, n DESC LIMIT 9) GROUP BY from_state`,
			"SEARCH events USING PRIMARY KEY (conversation>?)"},
		{`SELECT ` + messageColumns + ` FROM messages WHERE ` + isOut + ` ORDER BY due, id LIMIT 9`,
			"SCAN messages USING INDEX messages_due"},
		{`SELECT sid FROM inbound WHERE at >= 1 AND at < 2 AND number = 'n'`,
			"SEARCH inbound USING COVERING INDEX inbound_at (at>? AND at<?)"},
	} {
		plan := strings.Join(plan(t, s, tt.query), "\n")
		if !strings.Contains(plan, tt.want) || strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") {
			t.Errorf("%s\nis done by\n%s\nwant %s", tt.query, plan, tt.want)
		}
	}
}

func BenchmarkTimeline(b *testing.B) {
	s := openTemp(b)
	var last flow.Change
	for n := range 1000 {
		last = asking(n)
		last.Messages[0].ID = flowtest.NewID(noon)
		if err := s.Save(b.Context(), last); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		t, err := s.Timeline(b.Context(), last.Lines[0].Conversations[0].ID)
		if err != nil || len(t.Texts) != 1 {
			b.Fatal(len(t.Texts), err)
		}
	}
}
