package handlers

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A stream is a live page's, being read.
type stream struct {
	t      *testing.T
	events <-chan view
	close  func()
}

func (v *visitor) follow(t *testing.T, order uuid.UUID) stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/orders/"+order.String()+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.client.Do(req) //nolint:bodyclose // closed by the reader below
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("live = %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	events := make(chan view)
	go func() {
		defer func() { _ = res.Body.Close() }()
		defer close(events)
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var got view
			if err := json.Unmarshal([]byte(data), &got); err != nil {
				t.Errorf("read %s: %v", data, err)
				return
			}
			if strings.Contains(data, "mobile_number") {
				t.Errorf("an event tells a number: %s", data)
			}
			select {
			case events <- got:
			case <-ctx.Done():
				return
			}
		}
	}()
	return stream{t, events, cancel}
}

// next returns the next event; false at the end.
func (s stream) next() (view, bool) {
	s.t.Helper()
	select {
	case got, ok := <-s.events:
		return got, ok
	case <-time.After(10 * time.Second):
		s.t.Fatal("no event in 10 s")
		return view{}, false
	}
}

func TestLivePages(t *testing.T) {
	for _, tt := range []struct {
		name string
		wake bool
	}{
		{"what this machine does", true},
		{"what another machine does", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			if tt.wake {
				s.lookEvery = time.Hour
			}
			v := s.visitor()
			id := v.order()
			live := v.follow(t, id)
			if got, ok := live.next(); !ok || got.State != flow.Asked || got.Order != id {
				t.Fatalf("first came %+v", got)
			}
			s.desk.change(id, tt.wake, func(st *flow.Standing) { st.ResendAfter -= time.Second }) // no news
			s.desk.change(id, tt.wake, func(st *flow.Standing) { st.Text.Status = flow.StatusDelivered })
			if got, ok := live.next(); !ok || got.Text != "delivered" {
				t.Fatalf("then came %+v", got)
			}
			s.desk.change(id, tt.wake, func(st *flow.Standing) { st.Conversation.State = flow.Confirmed })
			if got, ok := live.next(); !ok || got.State != flow.Confirmed {
				t.Fatalf("then came %+v", got)
			}
			if got, ok := live.next(); ok {
				t.Errorf("after the end came %+v", got)
			}
		})
	}
}

func TestALivePageOutlivesTheServersDeadline(t *testing.T) {
	s := open(t)
	srv := s.HTTP("127.0.0.1:0")
	srv.WriteTimeout = time.Nanosecond // gone before the first event
	at := serve(t, srv)
	v := s.visitor()
	id := v.order()
	v.url = at
	live := v.follow(t, id)
	live.next()
	s.desk.change(id, true, func(st *flow.Standing) { st.Conversation.State = flow.Declined })
	if got, ok := live.next(); !ok || got.State != flow.Declined {
		t.Errorf("got %+v", got)
	}
}

func TestShutdownEndsLivePages(t *testing.T) {
	s := open(t)
	srv := s.HTTP("127.0.0.1:0")
	at := serve(t, srv)
	v := s.visitor()
	id := v.order()
	v.url = at
	live := v.follow(t, id)
	live.next()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown waits for a live page: %v", err)
	}
	if _, ok := live.next(); ok {
		t.Error("the stream goes on")
	}
}

func TestClosingALivePageLetsGoOfTheOrder(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := v.order()
	live := v.follow(t, id)
	live.next()
	live.close()
	deadline := time.After(10 * time.Second)
	for {
		s.desk.mu.Lock()
		n := len(s.desk.wake)
		s.desk.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatal("the order is still followed")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWhatIsNews(t *testing.T) {
	s := open(t)
	before := flow.Standing{ResendAfter: 30 * time.Second, Tries: 5}
	for _, tt := range []struct {
		name   string
		change func(*flow.Standing)
		news   bool
	}{
		{"nothing", func(*flow.Standing) {}, false},
		{"a second", func(st *flow.Standing) { st.ResendAfter -= time.Second }, false},
		{"the end of the wait", func(st *flow.Standing) { st.ResendAfter = 0 }, true},
		{"a try", func(st *flow.Standing) { st.Tries-- }, true},
		{"a state", func(st *flow.Standing) { st.Conversation.State = flow.Locked }, true},
		{"a sid", func(st *flow.Standing) { st.Text.SID = messageSID }, true},
	} {
		after := before
		tt.change(&after)
		if got := s.essence(after) != s.essence(before); got != tt.news {
			t.Errorf("%s: news is %t, want %t", tt.name, got, tt.news)
		}
	}
}
