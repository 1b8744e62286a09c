package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign/countersign/flow"
)

// live tells a page by server-sent events how its order changes, until that is
// final or the page is closed. Each event holds the JSON of GET /orders/{id},
// without the number and the entries.
//
// The desk wakes it for what this process does. What another machine does is
// found by looking now and then.
func (s *Server) live(w http.ResponseWriter, r *http.Request) error {
	b, id, err := s.visit(r)
	if err != nil {
		return err
	}
	// Follow before the first look: what happens in between is then not missed.
	changed, done := s.Desk.Follow(id)
	defer done()
	st, err := s.Desk.Look(r.Context(), b, id)
	if err != nil {
		return fmt.Errorf("look at an order: %w", err)
	}

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	if r.Method == http.MethodHead {
		return nil
	}
	stream := http.NewResponseController(w)
	send := func(event []byte) error {
		// The server's own deadline is for the whole of an answer; this one
		// lets go of a reader who has gone without a word.
		if err := stream.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
		return stream.Flush()
	}

	look := time.NewTicker(s.lookEvery)
	defer look.Stop()
	var last string
	quiet := 0
	for {
		if now := s.essence(st); now != last {
			last, quiet = now, 0
			if send(s.event(st)) != nil {
				return nil // the page was closed
			}
		} else if quiet++; quiet >= 5 {
			quiet = 0
			if send([]byte(": still here\n\n")) != nil {
				return nil
			}
		}
		if !st.Conversation.State.Open() {
			return nil
		}
		select {
		case <-changed:
		case <-look.C:
		case <-r.Context().Done():
			return nil
		case <-s.stopping.Done():
			return nil // the browser comes back by itself, to whoever serves then
		}
		if st, err = s.Desk.Look(r.Context(), b, id); err != nil {
			if r.Context().Err() == nil {
				s.Log.WarnContext(r.Context(), "live page ends", "error", err)
			}
			return nil // too late for a status; the browser tries again
		}
	}
}

// event is st as a server-sent event.
func (s *Server) event(st flow.Standing) []byte {
	v := s.view(st)
	v.Number = ""
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a view can always be written
	}
	return fmt.Appendf(nil, "data: %s\n\n", data)
}

// essence is what makes an event news: all of it but the passing of time.
func (s *Server) essence(st flow.Standing) string {
	if st.ResendAfter > 0 {
		st.ResendAfter = 1
	}
	return string(s.event(st))
}
