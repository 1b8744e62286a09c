package flow

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// waiting returns an open order that is complete and waits for pin until one
// o'clock.
func waiting(id byte, pin PIN) Conversation {
	return Conversation{
		ID: uuid.UUID{15: id}, State: Asked, Complete: true, pin: pin,
		Serial: Serial{N: 1, Length: len(pin), Expires: noon.Add(time.Hour)},
	}
}

func TestJudge(t *testing.T) {
	const right, wrong, others = PIN("111111"), PIN("999999"), PIN("222222")
	for _, tt := range []struct {
		name   string
		given  PIN
		by     Channel
		change func(*Line) // two orders: of right, and a newer one of others
		want   Event
		about  byte
	}{
		{"the right PIN on the page", right, Web, nil, Matched, 1},
		{"the right PIN by reply", right, Reply, nil, Matched, 1},
		{"a reply names its order by the PIN alone", others, Reply, nil, Matched, 2},
		{"another order's PIN on the page", others, Web, nil, Missed, 1},
		{"a wrong PIN on the page", wrong, Web, nil, Missed, 1},
		{"a wrong PIN by reply is the newest order's", wrong, Reply, nil, Missed, 2},
		{"an empty PIN", "", Web, nil, Missed, 1},
		{"the right PIN and one digit more", "1111110", Web, nil, Missed, 1},
		{"the right PIN of a form not filled in", right, Reply, func(l *Line) { l.Conversations[0].Complete = false }, Proved, 1},

		{"a wrong PIN by reply is not that of an order whose number is proved", wrong, Reply, func(l *Line) { l.Conversations[1].Proved = noon }, Missed, 1},
		{"the PIN of an order whose number is proved confirms nothing by reply", others, Reply, func(l *Line) { l.Conversations[1].Proved = noon }, Missed, 1},

		{"at the last instant", right, Web, func(l *Line) { l.Conversations[0].Serial.Expires = noon.Add(1) }, Matched, 1},
		{"at the deadline", right, Web, func(l *Line) { l.Conversations[0].Serial.Expires = noon }, Late, 1},
		{"late by reply, while another is live", right, Reply, func(l *Line) { l.Conversations[0].Serial.Expires = noon }, Late, 1},
		{"wrong by reply, while one is late and another live", wrong, Reply, func(l *Line) { l.Conversations[0].Serial.Expires = noon }, Missed, 2},
		{"late by reply, all of them", right, Reply, func(l *Line) {
			l.Conversations[0].Serial.Expires = noon
			l.Conversations[1].Serial.Expires = noon
		}, Late, 1},
		{"wrong by reply, all of them late", wrong, Reply, func(l *Line) {
			l.Conversations[0].Serial.Expires = noon
			l.Conversations[1].Serial.Expires = noon
		}, Late, 2},
		{"a PIN whose key is gone", right, Web, func(l *Line) { l.Conversations[0].pin = "" }, Late, 1},
		{"no PIN, where the key is gone", "", Web, func(l *Line) { l.Conversations[0].pin = "" }, Late, 1},

		{"the fourth miss on the page", wrong, Web, func(l *Line) { l.Conversations[0].Misses = 3 }, Missed, 1},
		{"the fifth miss on the page", wrong, Web, func(l *Line) { l.Conversations[0].Misses = 4 }, Spent, 1},
		{"the right PIN with the last try", right, Web, func(l *Line) { l.Conversations[0].Misses = 4 }, Matched, 1},
		{"the right PIN after five misses", right, Web, func(l *Line) { l.Conversations[0].Misses = 5 }, Barred, 1},
		{"the right PIN by reply after five misses on the page", right, Reply, func(l *Line) { l.Conversations[0].Misses = 5 }, Matched, 1},
		{"the third miss by reply", wrong, Reply, func(l *Line) { l.Misses = 2 }, Spent, 2},
		{"the right PIN after three misses by reply", right, Reply, func(l *Line) { l.Misses = 3 }, Barred, 2},
		{"the right PIN on the page after three misses by reply", right, Web, func(l *Line) { l.Misses = 3 }, Matched, 1},
		{"the fifth miss on the page after three by reply", wrong, Web, func(l *Line) { l.Misses, l.Conversations[0].Misses = 3, 4 }, LastMiss, 1},
		{"the third miss by reply after five on the page", wrong, Reply, func(l *Line) { l.Misses, l.Conversations[1].Misses = 2, 5 }, LastMiss, 2},

		{"the right PIN of a locked order", right, Web, func(l *Line) { l.Conversations[0].State = Locked }, Barred, 1},
		{"the right PIN of a locked order by reply", right, Reply, func(l *Line) { l.Conversations[0].State = Locked }, Missed, 2},
		{"the right PIN of an unreachable order", right, Reply, func(l *Line) { l.Conversations[0].State = Unreachable }, Matched, 1},
		{"the right PIN of an order that has ended", right, Reply, func(l *Line) { l.Conversations[0].State = Declined }, Missed, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := Line{Conversations: []Conversation{waiting(1, right), waiting(2, others)}}
			if tt.change != nil {
				tt.change(&l)
			}
			g := Guess{Channel: tt.by, PIN: tt.given}
			if tt.by == Web {
				g.Order = &l.Conversations[0]
			}
			about, ev := Judge(&l, g, noon)
			if ev != tt.want || about.ID[15] != tt.about {
				t.Errorf("Judge = order %d, %s; want order %d, %s", about.ID[15], ev, tt.about, tt.want)
			}
		})
	}
	if c, ev := Judge(&Line{}, Guess{Channel: Reply, PIN: right}, noon); c != nil || ev != "" {
		t.Errorf("a line without orders: %v, %q", c, ev)
	}
}

func TestMachine(t *testing.T) {
	t.Run("a final state stays", func(t *testing.T) {
		for _, s := range []State{Confirmed, Declined, Lapsed} {
			for _, ev := range Events {
				if then := Confirmation.Next(s, ev); then.State != s {
					t.Errorf("%s in %s leads to %s", ev, s, then.State)
				}
			}
		}
	})
	t.Run("only the right PIN confirms", func(t *testing.T) {
		for on, then := range Confirmation {
			if then.State == Confirmed && on.Event != Matched {
				t.Errorf("%s in %s confirms", on.Event, on.State)
			}
		}
	})
	t.Run("only a new PIN opens a lock", func(t *testing.T) {
		for _, ev := range Events {
			then := Confirmation.Next(Locked, ev)
			renews := len(then.Effects) > 0 && then.Effects[0] == IssuePIN
			// A number that has opted out gets none, and the old PIN goes with the old number.
			if then.State.Open() && then.State != Locked && !renews && ev != Withheld {
				t.Errorf("%s opens it without a new PIN", ev)
			}
		}
	})
	t.Run("nothing is texted but by asking", func(t *testing.T) {
		for on, then := range Confirmation {
			for _, e := range then.Effects {
				asked := on.Event == Ordered || on.Event == Again || on.Event == Renewed || on.Event == Moved || on.Event == Started
				if e == TextPIN && !asked {
					t.Errorf("%s in %s texts", on.Event, on.State)
				}
			}
		}
	})
	t.Run("every open state can be reached, and left for every end", func(t *testing.T) {
		for _, s := range []State{Asked, Locked, Unreachable} {
			ends := map[State]bool{}
			reached := false
			for on, then := range Confirmation {
				reached = reached || then.State == s && on.State != s
				if on.State == s && !then.State.Open() {
					ends[then.State] = true
				}
			}
			if !reached || !ends[Declined] || !ends[Lapsed] {
				t.Errorf("%s: reached %v, ends %v", s, reached, ends)
			}
		}
	})
	t.Run("every event stands in the table", func(t *testing.T) {
		in := map[Event]bool{}
		for on := range Confirmation {
			in[on.Event] = true
		}
		for _, ev := range Events {
			if !in[ev] {
				t.Errorf("%s does not", ev)
			}
			delete(in, ev)
		}
		for ev := range in {
			t.Errorf("%s is not in Events", ev)
		}
	})
}

func TestIDsAreUUIDv7OfTheirTime(t *testing.T) {
	a, b := newID(noon), newID(noon.Add(time.Millisecond))
	for _, id := range []uuid.UUID{a, b} {
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%s is version %d, variant %s", id, id.Version(), id.Variant())
		}
	}
	if a.String() >= b.String() || a == newID(noon) {
		t.Errorf("%s, a millisecond later %s: ids must follow time, and never repeat", a, b)
	}
	if sec, nsec := a.Time().UnixTime(); !time.Unix(sec, nsec).Equal(noon) {
		t.Errorf("%s is of %v, want %v", a, time.Unix(sec, nsec), noon)
	}
}
