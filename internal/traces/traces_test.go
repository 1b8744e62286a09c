package traces

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

const collector = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{"nothing is said", nil},
		{"the endpoint is empty", []string{"OTEL_EXPORTER_OTLP_ENDPOINT="}},
		{"another setting of theirs", []string{"OTEL_SERVICE_NAME=shop"}},
		{"the SDK is off", []string{collector, "OTEL_SDK_DISABLED=true"}},
		{"traces go nowhere", []string{collector, "OTEL_TRACES_EXPORTER=none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := New(t.Context(), Config{Getenv: environment(tt.env...)})
			if tr != nil || err != nil {
				t.Fatalf("New = %v, %v", tr, err)
			}
			var (
				l flow.Ledger = flowtest.NewLedger()
				s flow.Sender = flowtest.NewSender()
			)
			rt := http.DefaultTransport
			if tr.Ledger(l) != l || tr.Sender(s) != s || tr.Transport(rt) != rt {
				t.Error("something is wrapped")
			}
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			ctx, answered := tr.Request(r, "id")
			answered("/", "GET", 200)
			texting, done := tr.Text(t.Context(), flow.Message{})
			done()
			if ctx != r.Context() || texting != t.Context() || tr.Shutdown(t.Context()) != nil {
				t.Error("something is traced")
			}
		})
	}
}

func TestTheEnvironmentIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, env, names string
	}{
		{"a host alone", "OTEL_EXPORTER_OTLP_ENDPOINT=collector", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"a host and port", "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"another scheme", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=grpc://collector:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
		{"a user, whom nobody would be told of", "OTEL_EXPORTER_OTLP_ENDPOINT=http://us:secretWord@collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"a header without a name", "OTEL_EXPORTER_OTLP_HEADERS=Bearer secretWord", "OTEL_EXPORTER_OTLP_HEADERS"},
		{"a header with a space in its name", "OTEL_EXPORTER_OTLP_HEADERS=my key=secretWord", "OTEL_EXPORTER_OTLP_HEADERS"},
		{"a header that is badly encoded", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=a=b,key=secretWord%", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
		{"a protocol that we do not speak", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"such a protocol for traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := New(t.Context(), Config{Getenv: environment(tt.env, collector)})
			if tr != nil || err == nil || !strings.HasPrefix(err.Error(), tt.names+":") || strings.Contains(err.Error(), "secret") {
				t.Errorf("New = %v, %v", tr, err)
			}
		})
	}
}

// kept returns traces whose spans, once flushed, are in the exporter.
func kept(t *testing.T) (*Traces, func() tracetest.SpanStubs) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	tr, err := to(t.Context(), spans, Config{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return tr, func() tracetest.SpanStubs {
		if err := tr.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return spans.GetSpans()
	}
}

func names(spans tracetest.SpanStubs) (found []string) {
	for _, s := range spans {
		found = append(found, s.Name)
	}
	slices.Sort(found)
	return found
}

func TestATracedLedgerIsALedger(t *testing.T) {
	tr, _ := kept(t)
	flowtest.TestLedger(t, func(*testing.T) flow.Ledger { return tr.Ledger(flowtest.NewLedger()) })
}

func TestWhatRunsByTheClockIsNotTraced(t *testing.T) {
	tr, spans := kept(t)
	l := tr.Ledger(flowtest.NewLedger())
	now := time.Now()
	if _, err := l.Take(t.Context(), now, now.Add(time.Minute), 10); err != nil {
		t.Fatal(err)
	}
	_, _ = l.Lapsing(t.Context(), now, 10)
	_, _ = l.Line(t.Context(), flow.LineID{Number: "+14155550123"})
	_ = l.Save(t.Context(), flow.Change{})
	for _, path := range []string{"/healthz", "/readyz", "/static/page.css", "/orders/0199c3a2-6b1e-7c44-9d0e-5f4829136d10/live"} {
		ctx, answered := tr.Request(httptest.NewRequestWithContext(t.Context(), "GET", path, nil), "id")
		_ = l.Ping(ctx)
		_, _ = l.Line(ctx, flow.LineID{})
		answered(path, "GET", 200)
	}
	if got := names(spans()); len(got) > 0 {
		t.Errorf("traced: %q", got)
	}
}

func TestATextThatIsSweptUpIsTraced(t *testing.T) {
	tr, spans := kept(t)
	l := tr.Ledger(flowtest.NewLedger())
	now := time.Now().UTC().Truncate(time.Millisecond)
	m := flow.Message{ID: uuid.Must(uuid.NewV7()), Line: flow.LineID{Number: "+14155550123"}, State: flow.Waiting, Due: now, Created: now}
	if err := l.Save(t.Context(), flow.Change{Messages: []flow.Message{m}}); err != nil {
		t.Fatal(err)
	}
	due, err := l.Take(t.Context(), now, now.Add(time.Minute), 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("Take = %v, %v", due, err)
	}
	ctx, done := tr.Text(t.Context(), due[0])
	_, _ = l.Line(ctx, m.Line)
	done()
	if diff := cmp.Diff([]string{"ledger.line", "ledger.take", "outbox.text"}, names(spans())); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func TestATraceIsNotTheVisitorsToChoose(t *testing.T) {
	tr, spans := kept(t)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/4155550123?pin=482913", nil)
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	r.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
	_, answered := tr.Request(r, "THEREQUEST")
	answered("", "GET", 404)
	got := spans()
	if len(got) != 1 || got[0].SpanContext.TraceID().String() == theirs || got[0].Parent.IsValid() {
		t.Errorf("spans: %+v", got)
	}
	for _, a := range got[0].Attributes {
		if text := a.Value.String(); strings.Contains(text, "482913") || strings.Contains(text, "4155550123") {
			t.Errorf("%s is %s", a.Key, text)
		}
	}
}

// What a span tells of a failure is what it was, not what others wrote of it.
func TestFailuresAreTold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status codes.Code
		has    string
	}{
		{"a save that was too late", flow.ErrStale, codes.Unset, "countersign.result=stale"},
		{"a text that was heard before", errors.Join(errors.New("+14155550123"), flow.ErrHeard), codes.Unset, "countersign.result=heard"},
		{"a refusal of Twilio's", &flow.SendError{Class: flow.ClassNumber, Code: 21211, Err: errors.New("482913")}, codes.Error, "countersign.result=number"},
		{"a database that is away", errors.New("no route to +14155550123"), codes.Error, "error.type=*errors.errorString"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, spans := kept(t)
			_, span := tr.tracer.Start(t.Context(), "work")
			end(span, tt.err)
			got := spans()[0]
			var told []string
			for _, a := range got.Attributes {
				told = append(told, string(a.Key)+"="+a.Value.String())
			}
			all := strings.Join(told, " ") + got.Status.Description
			if got.Status.Code != tt.status || !slices.Contains(told, tt.has) || len(got.Events) > 0 ||
				strings.Contains(all, "482913") || strings.Contains(all, "4155550123") {
				t.Errorf("%v %q %v", got.Status, told, got.Events)
			}
		})
	}
}

// away is a collector that nobody reaches, or that never answers.
type away struct{ hangs chan struct{} }

func (a away) ExportSpans(ctx context.Context, _ []sdk.ReadOnlySpan) error {
	if a.hangs != nil {
		select {
		case <-a.hangs:
		case <-ctx.Done():
		}
	}
	return errors.New("connection refused")
}

func (away) Shutdown(context.Context) error { return nil }

func TestADeadCollectorHoldsNobodyUp(t *testing.T) {
	hangs := make(chan struct{})
	tr, err := to(t.Context(), away{hangs}, Config{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for range 20_000 { // ten times what its queue holds; if one waited, all would
		_, span := tr.tracer.Start(t.Context(), "work")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tr.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown = %v", err)
	}
	close(hangs)
}

func TestADeadCollectorIsToldOfNowAndThen(t *testing.T) {
	var log strings.Builder
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	e := &exporter{SpanExporter: away{}, log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for range 121 { // ten minutes of a batch every 5 s
		if err := e.ExportSpans(t.Context(), make([]sdk.ReadOnlySpan, 2)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(5 * time.Second)
	}
	if n := strings.Count(log.String(), "traces are lost"); n != 3 || strings.Count(log.String(), "spans=120") != 2 {
		t.Errorf("it is told %d times:\n%s", n, log.String())
	}
}

// A wrong endpoint may answer with anything, even with what it was sent.
func TestWhatAnEndpointAnswersIsNotLogged(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable} {
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, r.Header.Get("Authorization")+strings.Repeat("<p>", 100_000)) //nolint:gosec // to no browser
		}))
		t.Cleanup(echo.Close)
		client, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(echo.URL),
			otlptracehttp.WithHeaders(map[string]string{"Authorization": "secretWord"}),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		tr, err := to(t.Context(), client, Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		_, span := tr.tracer.Start(t.Context(), "work")
		span.End()
		if err := tr.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if said := log.String(); !strings.Contains(said, "traces are lost") || strings.Contains(said, "secretWord") || len(said) > 500 {
			t.Errorf("of %d the log says, in %d bytes: %.300s", status, len(said), said)
		}
	}
}

func TestTheLogNamesTheTrace(t *testing.T) {
	tr, _ := kept(t)
	if id := ID(t.Context()); id.Key != "" {
		t.Errorf("outside of all traces it is %s", id)
	}
	ctx, span := tr.tracer.Start(t.Context(), "work")
	if id := ID(ctx); !id.Equal(slog.String("trace_id", span.SpanContext().TraceID().String())) {
		t.Errorf("inside one it is %s", id)
	}
}
