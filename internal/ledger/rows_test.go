package ledger

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// What is written by hand is what encoding/json would write.
func TestListsAreJSON(t *testing.T) {
	a, b := flow.Conversation{ID: uuid.UUID{0xab, 15: 1}, State: flow.Asked}, flow.Conversation{ID: uuid.UUID{1}, State: flow.Locked}
	for _, tt := range []struct {
		name string
		text string
		want any
	}{
		{"no times", recent(nil), []int64{}},
		{"a time", recent(flow.Recent{noon}), []int64{noon.UnixMilli()}},
		{"times, before 1970 too", recent(flow.Recent{time.UnixMilli(-1), noon}), []int64{-1, noon.UnixMilli()}},
		{"no orders", hangs(flow.Line{}), []string{}},
		{"an order", hangs(flow.Line{Conversations: []flow.Conversation{a}}), []string{"ab000000000000000000000000000001"}},
		{"orders, and the topic", hangs(flow.Line{Topic: uuid.UUID{2}, Conversations: []flow.Conversation{a, b}}), []string{
			"ab000000000000000000000000000001", "01000000000000000000000000000000", "02000000000000000000000000000000",
		}},
	} {
		want, err := json.Marshal(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if tt.text != string(want) {
			t.Errorf("%s: %s, want %s", tt.name, tt.text, want)
		}
	}
}

func TestParseHangs(t *testing.T) {
	l := flow.Line{Topic: uuid.UUID{2}, Conversations: []flow.Conversation{{ID: uuid.UUID{15: 9}, State: flow.Asked}}}
	for _, tt := range []struct {
		name, text string
		want       []uuid.UUID // nil if it is refused
	}{
		{"none", "[]", []uuid.UUID{}},
		{"what was written", hangs(l), []uuid.UUID{{15: 9}, {2}}},
		{"an id cut short", `["0200"]`, nil},
		{"an id and more", `["0200000000000000000000000000000000"]`, nil},
		{"no digits", `["zz000000000000000000000000000000"]`, nil},
		{"an id after nothing", `[,"02000000000000000000000000000000"]`, nil},
	} {
		got, err := parseHangs([]byte(tt.text))
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) || err == nil && got == nil {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}
