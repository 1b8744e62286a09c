// Package traces tells an OpenTelemetry collector where a request's time went:
// in the request itself, the ledger, the outbox or Twilio.
//
// [New] reads OpenTelemetry's own environment variables
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
// and returns nil if they name no endpoint. All methods of a nil [Traces] leave
// what they are given as it is, so that without an endpoint nothing is wrapped
// and nothing is spent.
//
// A request begins a trace, whatever traceparent it brings: the public does not
// choose our ids, nor what is sampled. The ledger's calls within it are its
// children, and so is the text that it led to, since the outbox works in the
// context that it was nudged with. A text that is swept up begins a trace of
// its own, and so do replies and receipts, which Twilio sends. What runs by the
// clock and finds nothing to do is not traced.
//
// No attribute holds what a visitor or Twilio wrote: no path, query, address,
// body or number, but patterns, ids of ours, states and codes. That is why
// requests are wrapped here (spans.go) and not by otelhttp, which tells
// url.path, url.full and client.address, and cannot be told not to.
package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config is what [New] needs to know beside the environment.
type Config struct {
	// Getenv reads the environment, to decide whether to trace; the rest of
	// OTEL_* the SDK reads by itself.
	Getenv  func(string) string
	Version string // ours
	Log     *slog.Logger
	Now     func() time.Time
}

// Traces makes spans and sends them. See [New]. Nil makes none.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns what traces, or nil if the environment names no endpoint. It asks
// nothing of the network.
func New(ctx context.Context, c Config) (*Traces, error) {
	wanted, err := wanted(c.Getenv)
	if err != nil || !wanted {
		return nil, err
	}
	sender, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces: %w", err)
	}
	return to(ctx, sender, c)
}

// to returns what traces to an exporter.
func to(ctx context.Context, sender sdk.SpanExporter, c Config) (*Traces, error) {
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "countersign"), attribute.String("service.version", c.Version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // last, so that the operator's word holds
	)
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithResource(about),
		// It never waits: what its queue has no room for is dropped.
		sdk.WithBatcher(&exporter{SpanExporter: sender, log: c.Log, now: c.Now}),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("github.com/countersign/countersign")}, nil
}

// wanted reports whether the environment asks for traces. It refuses what the
// SDK would pass over with a word on standard error, and send elsewhere.
func wanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	wanted := false
	var wrong []error
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		endpoint := getenv(name)
		if endpoint == "" {
			continue
		}
		wanted = true
		switch u, err := url.Parse(endpoint); {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			wrong = append(wrong, fmt.Errorf("%s: must begin with http:// or https:// and name a host, such as http://localhost:4318", name))
		case u.User != nil:
			wrong = append(wrong, fmt.Errorf("%s: must name no user; put what lets us in into OTEL_EXPORTER_OTLP_HEADERS", name))
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		if headers := getenv(name); wanted && headers != "" && !areHeaders(headers) {
			wrong = append(wrong, fmt.Errorf("%s: must be NAME=VALUE,… with the values percent-encoded, such as authorization=Bearer%%20TOKEN", name))
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if protocol := getenv(name); wanted && protocol != "" && protocol != "http/protobuf" {
			wrong = append(wrong, fmt.Errorf("%s: traces leave by http/protobuf alone", name))
		}
	}
	return wanted, errors.Join(wrong...)
}

// areHeaders reports whether the SDK can read a list of headers. What it cannot,
// it would quote.
func areHeaders(list string) bool {
	for header := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(header) == "" {
			continue // after a last comma
		}
		name, value, ok := strings.Cut(header, "=")
		_, err := url.PathUnescape(value)
		if !ok || err != nil || !headerName.MatchString(strings.TrimSpace(name)) {
			return false
		}
	}
	return true
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, section 5.6.2

// Shutdown sends what is left, until ctx ends.
func (t *Traces) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// complainEvery is how often we say that spans are lost. A collector may be
// away for days.
const complainEvery = 5 * time.Minute

// An exporter says in our log what could not be sent, now and then.
type exporter struct {
	sdk.SpanExporter
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	lost  int // since it was last said
	since time.Time
}

// ExportSpans implements [sdk.SpanExporter].
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += len(spans)
	if now := e.now(); now.Sub(e.since).Abs() >= complainEvery {
		e.log.WarnContext(ctx, "traces are lost", "spans", e.lost, "err", told(err))
		e.lost, e.since = 0, now
	}
	return nil // it was told
}

// told is what our log says of an export's error. The SDK quotes what was
// answered, which is anything if the endpoint is no collector: a page, or an
// echo of what we sent, with the header that lets us in.
func told(err error) string {
	text, _, quoted := strings.Cut(err.Error(), "body: ")
	if quoted {
		text = strings.TrimRight(text, " (:")
	}
	return text
}

// ID is what a line of the log says of the trace that its context is of. It is
// empty unless that is sent.
func ID(ctx context.Context) slog.Attr {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		return slog.String("trace_id", sc.TraceID().String())
	}
	return slog.Attr{}
}
