package flow_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

const opsNumber = flow.Number("+14155550123")

// ordered opens a shop with one order, whose text is out since a minute.
func ordered(t *testing.T, entries ...flow.Entry) (*flowtest.Shop, *flowtest.Ledger, flow.Conversation) {
	t.Helper()
	ledger := flowtest.NewLedger()
	s := flowtest.NewShop(t, ledger)
	st, err := s.Desk.Ask(t.Context(), flow.Asking{Browser: flow.Browser{1}, Typed: "(415) 555-0123", Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	s.SendAll()
	s.Pass(time.Minute)
	return s, ledger, st.Conversation
}

func reply(t *testing.T, s *flowtest.Shop, sid, body string) {
	t.Helper()
	if _, err := s.Desk.Hear(t.Context(), flow.Heard{SID: sid, Line: s.Line(opsNumber), Body: body}); err != nil {
		t.Fatal(err)
	}
}

// history is an order's, a word for each event and its channel.
func history(l *flowtest.Ledger, c flow.Conversation) []string {
	var words []string
	for _, h := range l.Happenings(c.ID) {
		words = append(words, string(h.Event)+" "+string(h.Channel))
	}
	return words
}

func TestByHand(t *testing.T) {
	t.Run("a resend texts the same PIN, as ops", func(t *testing.T) {
		s, l, c := ordered(t)
		if err := s.Desk.ResendFor(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		s.SendAll()
		texts := s.Sender.Taken()
		if len(texts) != 2 || texts[0].Body != texts[1].Body {
			t.Errorf("%d texts, or others than the first", len(texts))
		}
		if diff := cmp.Diff([]string{"ordered web", "again ops"}, history(l, c)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a resend of a PIN that expired texts a new one", func(t *testing.T) {
		s, l, c := ordered(t)
		s.Pass(25 * time.Hour)
		if err := s.Desk.ResendFor(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"ordered web", "renewed ops"}, history(l, c)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the guard refuses ops as anybody, and it is noted", func(t *testing.T) {
		s, l, c := ordered(t)
		s.Pass(-time.Minute)
		err := s.Desk.ResendFor(t.Context(), c.ID)
		var e *flow.Error
		if !errors.As(err, &e) || e.Reason != flow.ReasonSoon {
			t.Fatalf("ResendFor: %v", err)
		}
		if diff := cmp.Diff([]string{"ordered web", "held ops"}, history(l, c)); diff != "" {
			t.Error(diff)
		}
		if note := l.Happenings(c.ID)[1].Note; note != "soon, for 30s" {
			t.Errorf("the note says %q", note)
		}
	})
	t.Run("a number that a reply has proved is not texted", func(t *testing.T) {
		s, l, c := ordered(t, flow.Entry{Field: "name", Value: "Ada"})
		reply(t, s, "SM1", flowtest.PINOf(s.Sender.Taken()[0].Body))
		var e *flow.Error
		if err := s.Desk.ResendFor(t.Context(), c.ID); !errors.As(err, &e) || e.Code != flow.Conflict {
			t.Errorf("ResendFor: %v", err)
		}
		if n := len(l.Messages()); n != 1 {
			t.Errorf("%d texts were written", n)
		}
	})
	t.Run("a declined order is declined, and says so to a PIN", func(t *testing.T) {
		s, l, c := ordered(t)
		if err := s.Desk.DeclineFor(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		reply(t, s, "SM1", flowtest.PINOf(s.Sender.Taken()[0].Body))
		if diff := cmp.Diff([]string{"ordered web", "refused ops"}, history(l, c)); diff != "" {
			t.Error(diff)
		}
		in, err := l.Heard(t.Context(), c.Line.Number, "SM1")
		if err != nil || !strings.Contains(in.Reply, "declined") {
			t.Errorf("the answer to its PIN is %q, %v", in.Reply, err)
		}
	})
	t.Run("nothing is done about an order that has ended, or is none", func(t *testing.T) {
		s, _, c := ordered(t)
		if err := s.Desk.DeclineFor(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			order flow.Conversation
			want  flow.Code
		}{{c, flow.Conflict}, {flow.Conversation{ID: flowtest.NewID(s.Now())}, flow.NotFound}} {
			for _, err := range []error{s.Desk.ResendFor(t.Context(), tt.order.ID), s.Desk.DeclineFor(t.Context(), tt.order.ID)} {
				var e *flow.Error
				if !errors.As(err, &e) || e.Code != tt.want {
					t.Errorf("%v, want %s", err, tt.want)
				}
			}
		}
	})
}

// A customer who is refused a text by reply is told, and so is ops.
func TestRefusalsByReplyAreNoted(t *testing.T) {
	s, l, c := ordered(t)
	for i := range 5 {
		s.Pass(time.Minute)
		reply(t, s, "SM"+string(rune('a'+i)), "NEW")
		s.SendAll()
	}
	want := []string{"ordered web", "again reply", "again reply", "again reply", "again reply", "held reply"}
	if diff := cmp.Diff(want, history(l, c)); diff != "" {
		t.Error(diff)
	}
}

func TestInspect(t *testing.T) {
	s, l, c := ordered(t)
	reply(t, s, "SM1", "000000")
	before := history(l, c)
	i, err := s.Desk.Inspect(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !i.Live || i.WebTries != flow.WebTries || i.ReplyTries != flow.ReplyTries-1 || i.Refusal.Reason != "" || i.Line.Misses != 1 {
		t.Errorf("Inspect: live %t, %d and %d tries, refusal %q, %d misses", i.Live, i.WebTries, i.ReplyTries, i.Refusal.Reason, i.Line.Misses)
	}
	if !slices.Equal(history(l, c), before) || len(l.Messages()) != 1 {
		t.Error("to inspect an order has changed it")
	}
	reply(t, s, "SM2", "STOP")
	if i, err = s.Desk.Inspect(t.Context(), c.ID); err != nil || i.Refusal.Reason != flow.ReasonOptOut || i.Conversation.State != flow.Unreachable {
		t.Errorf("Inspect, opted out: %q, %v, %v", i.Refusal.Reason, i.Conversation, err)
	}
	if err := s.Desk.DeclineFor(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if i, err = s.Desk.Inspect(t.Context(), c.ID); err != nil || i.Refusal.Reason != "" || i.Live || i.Conversation.State != flow.Declined {
		t.Errorf("Inspect, declined: %+v, %v", i.Refusal, err)
	}
}

func TestTimelineIsToldInOrder(t *testing.T) {
	s, l, c := ordered(t)
	reply(t, s, "SM1", "000000")
	m := l.Messages()[0]
	s.Pass(time.Second)
	if err := s.Desk.Receipt(t.Context(), flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003}); err != nil {
		t.Fatal(err)
	}
	timeline, err := l.Timeline(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range timeline.Moments() {
		told = append(told, m.By+": "+m.What)
	}
	want := []string{
		"customer, on the page: asked for a PIN: new → asked",
		"us: text of PIN 1: undelivered",
		"customer: texted; read as pin",
		"customer, by text: a wrong PIN",
		"Twilio: receipt: undelivered",
		"by itself: the text did not get there: asked → unreachable",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// Every event has words of its own, or ops would read a constant.
func TestTimelineHasWordsForEveryEvent(t *testing.T) {
	for _, ev := range append([]flow.Event{flow.Held}, flow.Events...) {
		moments := flow.Timeline{Events: []flow.Happening{{Event: ev, Channel: flow.Web}}}.Moments()
		if what := moments[0].What; what == string(ev) {
			t.Errorf("%s is told as %q", ev, what)
		}
	}
}
