package flow

import (
	"testing"
	"time"
)

func TestGuardText(t *testing.T) {
	g := Guard{PerNumber: Rate{3, 24 * time.Hour}, PerDay: 100}
	ago := func(hours ...float64) Recent {
		var r Recent
		for _, h := range hours {
			r = append(r, noon.Add(-time.Duration(h*float64(time.Hour))))
		}
		return r
	}
	open := func(n int) []Conversation {
		var cs []Conversation
		for i := range n {
			cs = append(cs, waiting(byte(i+1), "111111"))
		}
		return cs
	}
	texted := func(ago time.Duration) *Conversation {
		c := waiting(1, "111111")
		c.Texted = noon.Add(-ago)
		return &c
	}
	for _, tt := range []struct {
		name   string
		line   Line
		c      *Conversation
		serial bool
		want   Refusal
	}{
		{"a first text", Line{}, nil, true, Refusal{}},
		{"the third in a day", Line{Texts: ago(23, 5)}, nil, true, Refusal{}},
		{"the fourth in a day", Line{Texts: ago(23, 5, 1)}, nil, true, Refusal{ReasonNumber, time.Hour}},
		{"the fourth, a day after the first", Line{Texts: ago(24, 5, 1)}, nil, true, Refusal{}},
		{"the fourth, an instant before that", Line{Texts: Recent{noon.Add(1 - 24*time.Hour), noon, noon}}, nil, true, Refusal{ReasonNumber, 1}},
		{"after the ceiling was lowered", Line{Texts: ago(9, 8, 7, 6, 5)}, nil, true, Refusal{ReasonNumber, 17 * time.Hour}},
		{"an opted-out number", Line{OptedOut: noon}, nil, true, Refusal{Reason: ReasonOptOut}},
		{"an opted-out number again", Line{OptedOut: noon}, texted(time.Hour), false, Refusal{Reason: ReasonOptOut}},
		{"again, 29 s after the text", Line{}, texted(29 * time.Second), false, Refusal{ReasonSoon, time.Second}},
		{"again, 30 s after the text", Line{}, texted(30 * time.Second), false, Refusal{}},
		{"a new PIN at once after the text", Line{}, texted(time.Second), true, Refusal{}},
		{"again, at once, where the text did not arrive", Line{}, func() *Conversation {
			c := texted(time.Second)
			c.State = Unreachable
			return c
		}(), false, Refusal{}},
		{"again, after the clock went back", Line{}, texted(-time.Second), false, Refusal{}},
		{"one order more than may be open", Line{Conversations: open(OpenOrders)}, nil, true, Refusal{Reason: ReasonOrders}},
		{"one more on a number that opted out", Line{OptedOut: noon, Conversations: open(OpenOrders)}, nil, true, Refusal{Reason: ReasonOrders}},
		{"the last order that may be open", Line{Conversations: open(OpenOrders - 1)}, nil, true, Refusal{}},
		{"the eleventh new PIN in a day", Line{Serials: ago(20, 19, 18, 17, 16, 15, 14, 13, 12, 11)}, nil, true, Refusal{ReasonSerials, 4 * time.Hour}},
		{"the same PIN after ten new ones", Line{Serials: ago(20, 19, 18, 17, 16, 15, 14, 13, 12, 11)}, texted(time.Hour), false, Refusal{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := g.Text(&tt.line, tt.c, tt.serial, noon); got != tt.want {
				t.Errorf("Text = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestGuardAnswersTenADay(t *testing.T) {
	var l Line
	for i := range AnswersPerDay {
		now := noon.Add(time.Duration(i) * time.Minute)
		if r := (Guard{}).Answer(&l, now); r.Reason != "" {
			t.Fatalf("answer %d is refused: %v", i+1, r)
		}
		l.Answers = l.Answers.Add(now, day)
	}
	if r := (Guard{}).Answer(&l, noon.Add(time.Hour)); r != (Refusal{ReasonAnswers, 23 * time.Hour}) {
		t.Errorf("one more: %v", r)
	}
	if r := (Guard{}).Answer(&l, noon.Add(day)); r.Reason != "" {
		t.Errorf("a day after the first: %v", r)
	}
}

func TestTotalsAreOfAUTCDay(t *testing.T) {
	g := Guard{PerDay: 7}
	late := time.Date(2026, 11, 23, 23, 59, 59, 0, time.UTC)
	if got, want := g.Spend(late.In(time.FixedZone("", 3600))), (Spend{"texts/2026-11-23", 1, 7}); got != want {
		t.Errorf("Spend = %v, want %v", got, want)
	}
	if got := tomorrow(late); got != time.Second {
		t.Errorf("tomorrow in %v", got)
	}
}

func TestRate(t *testing.T) {
	var r Rate
	if err := r.UnmarshalText([]byte("5/24h")); err != nil || r != (Rate{5, day}) || r.String() != "5/24h0m0s" {
		t.Errorf("5/24h reads as %v (%v)", r, err)
	}
	for _, bad := range []string{"", "5", "5/", "/24h", "0/24h", "-1/24h", "5/0s", "5/-1h", "5/24", "five/24h", "5/24h/2", "99999/1h", "5 / 24h", "5/1ms"} {
		if err := r.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted as %v", bad, r)
		}
	}
}
