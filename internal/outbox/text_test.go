package outbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestWhatBecomesOfAText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		class flow.Class
		want  flow.MessageState
		texts int // that have left, a minute later
	}{
		{"refused for good, it is not tried again", flow.ClassNumber, flow.Failed, 0},
		{"never processed, it is tried again", flow.ClassRetry, flow.Accepted, 1},
		{"unknown and not there, it is sent once more", flow.ClassUnknown, flow.Accepted, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.start()
				b.sender.Refuse(&flow.SendError{Class: tt.class, Err: errors.New("refused")})
				m := b.nudged()
				if n := b.sender.Tried(); n != 1 {
					t.Errorf("at first it was tried %d times", n)
				}
				pass(time.Minute)
				b.is(m, tt.want, tt.texts)
			})
		})
	}
}

func TestALostAnswerIsLookedFor(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.sender.Lose()
		m := b.nudged()
		if got := b.row(m); got.State != flow.Waiting || got.Unknown == 0 {
			t.Fatalf("it is %s, unknown %d", got.State, got.Unknown)
		}
		pass(time.Minute)
		b.is(m, flow.Accepted, 1)
		if got, want := b.row(m).SID, b.sender.Taken()[0].SID; got != want {
			t.Errorf("it has the sid %q, want %q", got, want)
		}
		if s := b.clerk.sent[1]; !s.Adopted || s.Segments != 1 || s.Took != 0 {
			t.Errorf("it was settled as %+v", s)
		}
	})
}

func TestALeaseThatRanOutIsLookedFor(t *testing.T) {
	const since = -20 * time.Second // when the one who died had written it
	for _, tt := range []struct {
		name string
		// there is what Twilio has taken before, by its body, and when.
		there []flow.Text
		after time.Duration
		// claimed is how many of these, newest first, are other messages'.
		claimed int
		want    string // the body that m has in the end
		texts   int
	}{
		{"nothing is there: it is sent", nil, 0, 0, body(1), 1},
		{"it is there: it is adopted", texts(body(1)), 0, 0, body(1), 1},
		{"it is there under a trial account's sentence", texts("Sent from your Twilio trial account - " + body(1)), 0, 0,
			"Sent from your Twilio trial account - " + body(1), 1},
		{"it is there in the words of another catalogue", texts("Loja: 480001.\n@shop.example #480001\n"), 0, 0,
			"Loja: 480001.\n@shop.example #480001\n", 1},
		{"another PIN is there: it is sent", texts(body(2)), 0, 0, body(1), 2},
		{"its body was not kept: it is sent once more", texts(""), 0, 0, body(1), 2},
		{"an earlier text of the same PIN is there: it is sent", texts(body(1)), -time.Minute, 0, body(1), 2},
		{"it is there though our clock is ahead", texts(body(1)), -3 * time.Second, 0, body(1), 1},
		{"the text there is another message's: it is sent", texts(body(1)), 0, 1, body(1), 2},
		{"the newest there is another's: it adopts the next", texts(body(1), body(1)), 0, 1, body(1), 2},
		{"all that are there are others': it is sent", texts(body(1), body(1)), 0, 2, body(1), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				now := time.Now()
				b.sender.Now = func() time.Time { return now.Add(since + tt.after) }
				for _, text := range tt.there {
					if _, err := b.sender.Send(context.Background(), text); err != nil {
						t.Fatal(err)
					}
				}
				b.sender.Now = time.Now
				for i := range tt.claimed {
					taken := b.sender.Taken()
					b.write(func(m *flow.Message) {
						m.State, m.Due, m.SID = flow.Accepted, time.Time{}, taken[len(taken)-1-i].SID
					})
				}
				m := b.write(func(m *flow.Message) {
					m.Created = m.Created.Add(since)
					m.Due = m.Created.Add(flow.Lease)
				})

				b.start()
				b.is(m, flow.Accepted, tt.texts)
				for _, taken := range b.sender.Taken() {
					if taken.SID == b.row(m).SID && taken.Body != tt.want {
						t.Errorf("it has become %q, want %q", taken.Body, tt.want)
					}
				}
			})
		})
	}
}

func texts(bodies ...string) []flow.Text {
	var texts []flow.Text
	for _, b := range bodies {
		texts = append(texts, flow.Text{To: customer, Body: b})
	}
	return texts
}

func TestWhatCannotBeLookedForIsNotSent(t *testing.T) {
	inBubble(t, func(b *bench) {
		created := time.Now().UTC()
		b.sender.FailFinds(&flow.SendError{Class: flow.ClassConfig, Code: 20003, Err: errors.New("HTTP status 401")})
		m := b.write()
		pass(flow.Lease + time.Second)
		b.start()
		pass(5 * time.Minute)
		b.is(m, flow.Waiting, 0)
		got := b.row(m)
		if got.Unknown == 0 || got.Code != 20003 {
			t.Errorf("it is unknown %d, code %d", got.Unknown, got.Code)
		}
		// Nothing was POSTed here: the next look must not begin later than the
		// attempt that died.
		if !got.Attempted.Equal(created) {
			t.Errorf("it counts as attempted %v after it was written", got.Attempted.Sub(created))
		}
		b.sender.FailFinds(nil)
		pass(time.Minute)
		b.is(m, flow.Accepted, 1)
	})
}

func TestTheFirstAttemptIsLookedForToo(t *testing.T) {
	// Who began it died, and Twilio is slow to list what it took. So it is
	// sent again, with an unknown outcome as well: the next look must still go
	// back to the first attempt.
	inBubble(t, func(b *bench) {
		began := time.Now()
		m := b.write()
		b.sender.Refuse(&flow.SendError{Class: flow.ClassUnknown, Err: errors.New("lost")})
		pass(flow.Lease + time.Second)
		b.start()
		if got := b.row(m); got.State != flow.Waiting || b.sender.Tried() != 1 {
			t.Fatalf("it is %s, after %d tries", got.State, b.sender.Tried())
		}
		b.sender.Now = func() time.Time { return began }
		if _, err := b.sender.Send(context.Background(), texts(body(1))[0]); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		b.is(m, flow.Accepted, 1)
	})
}

func TestAPOSTEndsBeforeItsLease(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.sender.Hang()
		m := b.nudged()
		began := time.Now()
		pass(flow.Deadline - time.Millisecond)
		b.is(m, flow.Leased, 0)
		pass(time.Millisecond)
		if got := b.row(m); got.State != flow.Waiting || got.Unknown == 0 {
			t.Errorf("after %v it is %s, unknown %d", time.Since(began), got.State, got.Unknown)
		}
		if took := b.clerk.sent[0].Took; took != flow.Deadline {
			t.Errorf("it took %v", took)
		}
	})
}

func TestALeaseIsRenewedForWhoWaitedInTheQueue(t *testing.T) {
	inBubble(t, func(b *bench) {
		held, release := b.sender.Hold()
		b.start()
		b.nudged(serial(2))
		<-held
		pass(time.Second) // so that the second has more of its lease
		m := b.nudged()
		lease := b.row(m).Due
		pass(6 * time.Second)
		_, release2 := b.sender.Hold()
		release()
		synctest.Wait()
		if got := b.row(m); !got.Due.After(lease) || got.Attempt != 1 {
			t.Errorf("the lease ends %v later, attempt %d", got.Due.Sub(lease), got.Attempt)
		}
		pass(7 * time.Second)
		release2()
		synctest.Wait()
		b.is(m, flow.Accepted, 2)
	}, workers(1))
}

func TestALostLeaseIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(*bench, flow.Message)
	}{
		{"another process has taken it", func(b *bench, _ flow.Message) {
			if _, err := b.ledger.Take(context.Background(), time.Now(), time.Now().Add(flow.Lease), 1); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"a receipt has settled it", func(b *bench, m flow.Message) {
			r := &flow.Receipt{Message: m.ID, SID: "SM1", Status: flow.StatusDelivered}
			if err := b.ledger.Save(context.Background(), flow.Change{Receipt: r}); err != nil {
				b.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				m := b.write()
				pass(flow.Lease)
				tt.lose(b, m)
				was := b.row(m)
				b.Nudge(context.Background(), m) // late: it waited in a queue
				b.start()
				if got := b.row(m); got != was || b.sender.Tried() != 0 {
					t.Errorf("it was texted %d times, and is %+v; want %+v", b.sender.Tried(), got, was)
				}
			})
		})
	}
}

func TestAReceiptMayOvertakeTheAnswer(t *testing.T) {
	inBubble(t, func(b *bench) {
		held, release := b.sender.Hold()
		b.start()
		m := b.nudged()
		<-held
		r := &flow.Receipt{Message: m.ID, SID: "SM00000000000000000000000000000001", Status: flow.StatusSent}
		if err := b.ledger.Save(context.Background(), flow.Change{Receipt: r}); err != nil {
			t.Fatal(err)
		}
		release()
		pass(time.Minute)
		b.is(m, flow.Accepted, 1)
		if got := b.row(m); got.Status != flow.StatusSent || got.SID != r.SID {
			t.Errorf("it has become %+v", got)
		}
	})
}

func TestWhatIsNotWorthSendingIsNotSent(t *testing.T) {
	inBubble(t, func(b *bench) {
		m := b.write()
		b.clerk.dropped[m.ID] = true
		b.start()
		b.Nudge(context.Background(), m)
		synctest.Wait()
		b.is(m, flow.Dropped, 0)
	})
}

// finding does something while it looks.
type finding struct {
	flow.Sender
	meanwhile func()
}

func (f finding) Find(ctx context.Context, t flow.Text, since time.Time) ([]flow.Found, error) {
	f.meanwhile()
	return f.Sender.Find(ctx, t, since)
}

func TestWhatIsNotWorthSendingAfterALookIsNotSent(t *testing.T) {
	var meanwhile func()
	inBubble(t, func(b *bench) {
		m := b.write()
		meanwhile = func() {
			b.clerk.mu.Lock()
			defer b.clerk.mu.Unlock()
			b.clerk.dropped[m.ID] = true
		}
		pass(flow.Lease + time.Second)
		b.start()
		b.is(m, flow.Dropped, 0)
		if n := b.sender.Looked(); n != 1 {
			t.Errorf("it was looked for %d times", n)
		}
	}, func(c *Config) {
		c.Sender = finding{c.Sender, func() { meanwhile() }}
	})
}

func TestWhatCannotBeRenderedIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.clerk.err = errDown
		b.start()
		m := b.nudged()
		if got := b.row(m); got.State != flow.Waiting || got.Unknown > 0 || time.Until(got.Due) != pause {
			t.Errorf("it is %s, unknown %d, due in %v; it cannot have been sent, and the database needs a rest",
				got.State, got.Unknown, time.Until(got.Due))
		}
		pass(pause - time.Second)
		b.clerk.mu.Lock()
		b.clerk.err = nil
		b.clerk.mu.Unlock()
		b.is(m, flow.Waiting, 0)
		pass(2 * time.Second)
		b.is(m, flow.Accepted, 1)
		if n := b.sender.Looked(); n != 0 {
			t.Errorf("it was looked for %d times", n)
		}
	})
}

// However often it is tried, a text's work knows who asked for it, and keeps
// no more of the asker's context than that. Another process never knew.
func TestEveryTryKnowsTheAsker(t *testing.T) {
	var askers []any
	kept := func(c *Config) {
		keepAskers(c)
		c.Trace = func(ctx context.Context, _ flow.Message) (context.Context, func()) {
			askers = append(askers, ctx.Value(askerKey{}))
			return ctx, func() {}
		}
	}
	for _, tt := range []struct {
		name  string
		fails func(*bench)
	}{
		{"Twilio was too busy", func(b *bench) {
			b.sender.Refuse(&flow.SendError{Class: flow.ClassRetry, Err: errors.New("refused")})
		}},
		{"the outcome was unknown", func(b *bench) { b.sender.Lose() }},
		{"it could not be rendered", func(b *bench) {
			b.clerk.err = errDown
			time.AfterFunc(time.Second, func() {
				b.clerk.mu.Lock()
				defer b.clerk.mu.Unlock()
				b.clerk.err = nil
			})
		}},
		{"no text might leave", func(b *bench) { b.clerk.putsOff = 1 }},
		{"it could not be settled while its lease lasted", func(b *bench) {
			held, release := b.sender.Hold()
			go func() {
				<-held
				b.ledger.fail(errDown)
				release()
			}()
			time.AfterFunc(20*time.Second, func() { b.ledger.fail(nil) })
		}},
		{"its lease could not be renewed", func(b *bench) {
			pass(10 * time.Second)
			b.ledger.fail(errDown)
			time.AfterFunc(time.Second, func() { b.ledger.fail(nil) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			askers = nil
			inBubble(t, func(b *bench) {
				b.start()
				m := b.write()
				tt.fails(b)
				b.Nudge(askedBy("ada"), m)
				pass(time.Minute)
				b.is(m, flow.Accepted, 1)
				if n := b.askers.Len(); n != 0 {
					t.Errorf("%d askers are kept of texts that have left", n)
				}
			}, kept)
			if !slices.Equal(askers, []any{"ada", "ada"}) {
				t.Errorf("the tries are for %v", askers)
			}
		})
	}
	t.Run("by another process", func(t *testing.T) {
		askers = nil
		inBubble(t, func(b *bench) {
			b.write()
			pass(flow.Lease + time.Second)
			b.start()
			pass(time.Minute)
		}, kept)
		if !slices.Equal(askers, []any{nil}) {
			t.Errorf("the tries are for %v", askers)
		}
	})
}

type askerKey struct{}

func askedBy(name string) context.Context {
	return context.WithValue(context.Background(), askerKey{}, name)
}

// keepAskers has those of a name kept.
func keepAskers(c *Config) {
	c.Asker = func(ctx context.Context) (context.Context, bool) {
		name, known := ctx.Value(askerKey{}).(string)
		return askedBy(name), known
	}
}

func TestNoAskerIsKeptInVain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		asker  context.Context
		befell func(*bench, flow.Message)
		want   flow.MessageState
	}{
		{"of a text that was refused for good", askedBy("ada"), func(b *bench, _ flow.Message) {
			b.sender.Refuse(&flow.SendError{Class: flow.ClassNumber, Err: errors.New("refused")})
		}, flow.Failed},
		{"of a text that was not worth sending", askedBy("ada"), func(b *bench, m flow.Message) {
			b.clerk.dropped[m.ID] = true
		}, flow.Dropped},
		{"of a text that a receipt has settled", askedBy("ada"), func(b *bench, m flow.Message) {
			pass(10 * time.Second) // of its lease
			r := &flow.Receipt{Message: m.ID, SID: "SM1", Status: flow.StatusDelivered}
			if err := b.ledger.Save(context.Background(), flow.Change{Receipt: r}); err != nil {
				b.t.Fatal(err)
			}
		}, flow.Accepted},
		{"of a text that nobody asked for", context.Background(), func(b *bench, _ flow.Message) {
			b.clerk.putsOff = 1
		}, flow.Waiting},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.start()
				m := b.write()
				tt.befell(b, m)
				b.Nudge(tt.asker, m)
				synctest.Wait()
				b.is(m, tt.want, 0)
				if n := b.askers.Len(); n != 0 {
					t.Errorf("%d askers are kept", n)
				}
			}, keepAskers)
		})
	}
}

func TestSettlingIsTriedWhileTheLeaseLasts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		outage time.Duration
		looks  int
	}{
		{"a short outage is waited for", 10 * time.Second, 0},
		{"after a long one the text is looked for", time.Minute, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.start()
				held, release := b.sender.Hold()
				m := b.nudged()
				<-held
				b.ledger.fail(errDown)
				release()
				pass(tt.outage)
				b.is(m, flow.Leased, 1)
				b.ledger.fail(nil)
				pass(3 * time.Second)
				b.is(m, flow.Accepted, 1)
				if n := b.sender.Looked(); n != tt.looks {
					t.Errorf("it was looked for %d times, want %d", n, tt.looks)
				}
			})
		})
	}
}

// A process that dies, or sleeps, at any point leaves a lease behind. Whoever
// takes over must not text twice; and the sleeper, should it wake, not at all.
func TestDyingAtAnyPoint(t *testing.T) {
	for _, tt := range []struct {
		point Point
		fails bool // the text, that is
	}{
		{BeforePost, false}, {AfterPost, false}, {BeforeSettle, false}, {BeforeSettle, true},
	} {
		t.Run(string(tt.point), func(t *testing.T) {
			wake, asleep := make(chan struct{}), false
			inBubble(t, func(b *bench) {
				wake = make(chan struct{}) // in the bubble
				if tt.fails {
					b.sender.Lose()
				}
				b.start()
				m := b.nudged()
				b.run(b.another())
				pass(time.Minute)
				b.is(m, flow.Accepted, 1)
				was := b.row(m)

				close(wake)
				pass(time.Minute)
				b.is(m, flow.Accepted, 1)
				if got := b.row(m); got != was {
					t.Errorf("who woke changed it from %+v to %+v", was, got)
				}
			}, func(c *Config) {
				c.At = func(p Point, _ flow.Message) {
					if p == tt.point && !asleep {
						asleep = true
						<-wake
					}
				}
			})
		})
	}
}

// Many processes, many failures: each message becomes one text, and none is
// lost.
func TestManyProcessesTextEachMessageOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		others := []*Outbox{b.Outbox, b.another(workers(3)), b.another(workers(3))}
		for _, o := range others {
			b.run(o)
		}
		var written []flow.Message
		for i := range 60 {
			switch i % 6 {
			case 1:
				b.sender.Lose()
			case 2:
				b.sender.Refuse(&flow.SendError{Class: flow.ClassRetry, Err: errors.New("busy")})
			case 3:
				b.sender.Hang()
			}
			m := b.write(serial(int64(i + 1)))
			written = append(written, m)
			if i%10 != 0 { // some are abandoned by who wrote them
				others[i%3].Nudge(context.Background(), m)
			}
			pass(200 * time.Millisecond)
		}
		pass(5 * time.Minute)
		sids := map[string]bool{}
		for _, m := range written {
			got := b.row(m)
			if got.State != flow.Accepted || sids[got.SID] {
				t.Errorf("it is %s, with the sid %q", got.State, got.SID)
			}
			sids[got.SID] = true
		}
		if n := len(b.sender.Taken()); n != len(written) {
			t.Errorf("%d messages became %d texts", len(written), n)
		}
	}, workers(3))
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		name, theirs, ours string
		want               bool
	}{
		{"the very same", body(1), body(1), true},
		{"without a last line for the browser", "Acme: 482913 confirms order 118.", "Acme: 482913 confirms order 118.", true},
		{"that, behind a trial account's sentence", "Sent from your Twilio trial account - Acme: 482913.", "Acme: 482913.", true},
		{"another PIN", body(2), body(1), false},
		{"the PIN somewhere else in it", strings.ReplaceAll(body(1), "#", "# "), body(1), false},
		{"a body that was not kept", "", body(1), false},
		{"nothing to compare with", body(1), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := same(tt.theirs, tt.ours); got != tt.want {
				t.Errorf("same(%q, %q) = %v", tt.theirs, tt.ours, got)
			}
		})
	}
}

var _ flow.Sender = (*flowtest.Sender)(nil)
var _ Ledger = (flow.Ledger)(nil)

// A text that was handed over as often as is allowed is looked for once more,
// and then given up: the customer would rather not have it ten times.
func TestALostTextIsNotSentForEver(t *testing.T) {
	inBubble(t, func(b *bench) {
		for range 10 {
			b.sender.Refuse(&flow.SendError{Class: flow.ClassUnknown, Err: errors.New("reset")})
		}
		m := b.write()
		b.start()
		b.Nudge(context.Background(), m)
		pass(10 * time.Minute)
		if got := b.sender.Tried(); got != flow.MaxUnknown {
			t.Errorf("handed over %d times, want %d", got, flow.MaxUnknown)
		}
	})
}
