package main

import (
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/countersign/countersign/handlers"
	"github.com/countersign/countersign/internal/traces"
	"github.com/countersign/countersign/metrics"
)

// opsServer answers on the private listener: metrics to whoever reaches it,
// the pages and profiles to those on this machine or with the token.
func opsServer(c checked, m *metrics.Metrics, pages http.Handler, traced *traces.Traces, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("/ops/", trusted(c.OpsToken, log, pages))
	private := func(path string, h http.HandlerFunc) { mux.Handle(path, trusted(c.OpsToken, log, h)) }
	// Without cmdline: secrets can be flags.
	private("GET /debug/pprof/", pprof.Index)
	private("GET /debug/pprof/profile", pprof.Profile)
	private("GET /debug/pprof/symbol", pprof.Symbol)
	private("GET /debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler:           handlers.Follow(mux, traced.Request, log, clock),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// trusted answers only those who bring the token, or, if there is none, those
// on this machine. Of the latter it wants a Host that is this machine too: a
// page on the web can have a browser here ask, but under its own name.
//
// Programs bring the token as Bearer. Browsers, which ask their user for it,
// bring it as Basic's password, whatever the name: they keep it to this origin
// until they are closed, so there is no session of ours to lose.
//
// The log tells of a wrong token, which may be a guess, and where it came from;
// what was brought it does not tell, as that is often the right one misspelt.
// Browsers bring none until they are asked to.
func trusted(token string, log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refused := func(why string) {
			log.WarnContext(r.Context(), "ops refused", "reason", why, "from", r.RemoteAddr)
		}
		if token != "" {
			if subtle.ConstantTimeCompare([]byte(broughtBy(r)), []byte(token)) != 1 {
				if r.Header.Get("Authorization") != "" {
					refused("wrong token")
				}
				w.Header().Add("WWW-Authenticate", `Basic realm="countersign ops: any name, and OPS_TOKEN", charset="UTF-8"`)
				w.Header().Add("WWW-Authenticate", "Bearer")
				http.Error(w, "bring OPS_TOKEN: as the password, or Authorization: Bearer …", http.StatusUnauthorized)
				return
			}
		} else if !loopback(r.RemoteAddr) || !loopback(r.Host) {
			refused("not this machine")
			http.Error(w, "without OPS_TOKEN this answers on loopback only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// broughtBy is the token that r brings; empty for none.
func broughtBy(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	return ""
}

// loopback reports whether an address or Host is this machine's own.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
