package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// healthz reports that we are alive: a failing one gets us restarted, so it
// asks nothing that a restart would not mend.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, http.StatusOK, "ok\n")
	return nil
}

// readyz reports that we can serve. It never asks Twilio: an odd number that a
// visitor types must not take the service down.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		s.Log.WarnContext(ctx, "not ready", "error", err)
		part, _, _ := strings.Cut(err.Error(), ":")
		return &refusal{Status: http.StatusServiceUnavailable, Message: "not ready: " + part, RetryAfter: time.Second}
	}
	writeText(w, http.StatusOK, "ready\n")
	return nil
}
