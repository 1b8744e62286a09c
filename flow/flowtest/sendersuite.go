package flowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A SenderBench is a sender to be tested, and a hand on its far end.
type SenderBench struct {
	Sender flow.Sender
	// Taken lists the texts that the far end has taken, oldest first.
	Taken func() []Taken
	// Refuse makes the far end refuse the next text with Twilio's code.
	Refuse func(code int)
	// Lose makes it take the next text, and the answer be lost.
	Lose func()
	// Hang makes it neither take nor answer the next text.
	Hang func()
	// Now is the far end's clock, and Pass lets it go on.
	Now  func() time.Time
	Pass func(time.Duration)
}

// TestSender holds a [flow.Sender] to its contract. Open is called anew for
// each test.
func TestSender(t *testing.T, open func(*testing.T) SenderBench) {
	const to, other = flow.Number("+14155550123"), flow.Number("+14155550199")
	text := func(to flow.Number, pin string) flow.Text {
		return flow.Text{
			Message: uuid.Must(uuid.NewV7()), To: to, ValidFor: time.Hour,
			Body: "Acme: " + pin + " confirms order 118. Not you? Ignore this.\n@shop.example #" + pin,
		}
	}
	send := func(t *testing.T, b SenderBench, x flow.Text) string {
		t.Helper()
		sid, err := b.Sender.Send(t.Context(), x)
		if err != nil {
			t.Fatalf("Send: %v", err)
		}
		return sid
	}
	refused := func(t *testing.T, b SenderBench, ctx context.Context, x flow.Text) *flow.SendError {
		t.Helper()
		sid, err := b.Sender.Send(ctx, x)
		var e *flow.SendError
		if !errors.As(err, &e) {
			t.Fatalf("Send = %q, %v; want a *flow.SendError", sid, err)
		}
		if sid != "" {
			t.Errorf("Send failed and gave the sid %q", sid)
		}
		if !slices.Contains(flow.Classes, e.Class) {
			t.Errorf("the error's class is %q, which is none", e.Class)
		}
		return e
	}
	find := func(t *testing.T, b SenderBench, x flow.Text, since time.Time) []flow.Found {
		t.Helper()
		found, err := b.Sender.Find(t.Context(), x, since)
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		return found
	}

	t.Run("a text is taken once and whole, and answered with its sid", func(t *testing.T) {
		b := open(t)
		x := text(to, "482913")
		sid := send(t, b, x)
		taken := b.Taken()
		if len(taken) != 1 {
			t.Fatalf("%d texts were taken, want 1", len(taken))
		}
		if got := taken[0]; got.SID != sid || got.Message != x.Message || got.To != x.To || got.Body != x.Body || got.ValidFor != x.ValidFor {
			t.Errorf("sent %+v, answered %s; taken was %+v", x, sid, got)
		}
	})

	t.Run("texts sent together have each their own sid", func(t *testing.T) {
		b := open(t)
		const n = 20
		sids := make([]string, n)
		var all sync.WaitGroup
		for i := range sids {
			all.Go(func() {
				var err error
				if sids[i], err = b.Sender.Send(t.Context(), text(to, fmt.Sprintf("%06d", i))); err != nil {
					t.Errorf("Send: %v", err)
				}
			})
		}
		all.Wait()
		slices.Sort(sids)
		if got := slices.Compact(sids); len(got) != n || len(b.Taken()) != n {
			t.Errorf("%d texts got %d sids, and %d were taken", n, len(got), len(b.Taken()))
		}
	})

	t.Run("what was taken is found, newest first", func(t *testing.T) {
		b := open(t)
		since := b.Now()
		first := send(t, b, text(to, "111111"))
		b.Pass(2 * time.Second)
		x := text(to, "222222")
		second := send(t, b, x)
		found := find(t, b, x, since)
		if len(found) != 2 || found[0].SID != second || found[1].SID != first {
			t.Fatalf("found %+v, want %s and %s", found, second, first)
		}
		if found[0].Body != x.Body {
			t.Errorf("its body is %q, want %q", found[0].Body, x.Body)
		}
		if d := found[0].At.Sub(since); d < 0 || d > time.Minute {
			t.Errorf("it was taken at %v, and %v later found as of %v", since, 2*time.Second, found[0].At)
		}
	})

	t.Run("another number's texts are not found", func(t *testing.T) {
		b := open(t)
		since := b.Now()
		send(t, b, text(other, "482913"))
		if found := find(t, b, text(to, "482913"), since); len(found) != 0 {
			t.Errorf("found %+v", found)
		}
	})

	t.Run("older texts are not found, be it by seconds", func(t *testing.T) {
		b := open(t)
		send(t, b, text(to, "111111"))
		b.Pass(5 * time.Second)
		since := b.Now()
		sid := send(t, b, text(to, "222222"))
		if found := find(t, b, text(to, "222222"), since); len(found) != 1 || found[0].SID != sid {
			t.Errorf("found %+v, want only %s", found, sid)
		}
	})

	t.Run("nothing is found where nothing was sent", func(t *testing.T) {
		b := open(t)
		if found := find(t, b, text(to, "482913"), b.Now().Add(-time.Hour)); len(found) != 0 {
			t.Errorf("found %+v", found)
		}
	})

	t.Run("a refused text is not taken", func(t *testing.T) {
		for code, class := range map[int]flow.Class{
			21211: flow.ClassNumber, 21408: flow.ClassCountry, 21610: flow.ClassOptedOut,
			20003: flow.ClassConfig, 20429: flow.ClassRetry,
		} {
			b := open(t)
			b.Refuse(code)
			e := refused(t, b, t.Context(), text(to, "482913"))
			if e.Class != class || e.Code != code {
				t.Errorf("refused with %d, Send says class %q and code %d, want %q", code, e.Class, e.Code, class)
			}
			if n := len(b.Taken()); n != 0 {
				t.Errorf("refused with %d, %d texts were taken", code, n)
			}
		}
	})

	t.Run("a refusal is about one text", func(t *testing.T) {
		b := open(t)
		b.Refuse(21211)
		_ = refused(t, b, t.Context(), text(to, "111111"))
		send(t, b, text(to, "222222"))
	})

	t.Run("a lost answer leaves it unknown, and the text is found", func(t *testing.T) {
		b := open(t)
		b.Lose()
		since := b.Now()
		x := text(to, "482913")
		if e := refused(t, b, t.Context(), x); e.Class != flow.ClassUnknown {
			t.Errorf("its class is %q, want unknown", e.Class)
		}
		if n := len(b.Taken()); n != 1 {
			t.Fatalf("%d texts were taken; Send must not try again by itself", n)
		}
		found := find(t, b, x, since)
		if len(found) != 1 || found[0].Body != x.Body {
			t.Errorf("found %+v, want the text", found)
		}
	})

	t.Run("without an answer it ends with its context, unknown", func(t *testing.T) {
		b := open(t)
		b.Hang()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if e := refused(t, b, ctx, text(to, "482913")); e.Class != flow.ClassUnknown {
			t.Errorf("its class is %q, want unknown", e.Class)
		}
	})

	t.Run("with its context ended before, nothing is sent", func(t *testing.T) {
		b := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if e := refused(t, b, ctx, text(to, "482913")); e.Class != flow.ClassRetry {
			t.Errorf("its class is %q, want retry: it was never processed", e.Class)
		}
		if n := len(b.Taken()); n != 0 {
			t.Errorf("%d texts were taken", n)
		}
	})

	t.Run("no error tells a number or a text", func(t *testing.T) {
		for _, code := range []int{21211, 21408, 21610, 21612, 21614, 20003, 20429} {
			b := open(t)
			b.Refuse(code)
			e := refused(t, b, t.Context(), text(to, "482913"))
			for _, secret := range []string{to.E164(), to.E164()[1:], "482913"} {
				if strings.Contains(e.Error(), secret) {
					t.Errorf("refused with %d, the error tells %s: %v", code, secret, e)
				}
			}
		}
	})

	t.Run("a receipt's codes are sorted", func(t *testing.T) {
		b := open(t)
		for code, want := range map[int]flow.Class{
			0: flow.ClassNone, 21610: flow.ClassOptedOut, 30001: flow.ClassRetry, 30003: flow.ClassCarrier,
			30006: flow.ClassNumber, 30036: flow.ClassExpired, 30450: flow.ClassFraud, 99999: flow.ClassCarrier,
		} {
			if got := b.Sender.Class(code); got != want {
				t.Errorf("Class(%d) = %q, want %q", code, got, want)
			}
		}
	})
}
