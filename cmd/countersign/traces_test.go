package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector is one of OpenTelemetry's, as far as OTLP/HTTP needs it:
// https://opentelemetry.io/docs/specs/otlp/#otlphttp.
type collector struct {
	*httptest.Server
	hang chan struct{} // until it is closed, nobody is answered; nil answers

	mu    sync.Mutex
	spans []*trace.Span
	about map[string]bool // attributes of the process that sent them
	wrong []error         // what was sent and cannot be read
}

func newCollector() *collector {
	c := &collector{about: map[string]bool{}}
	c.Server = httptest.NewServer(c)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if c.hang != nil {
		select {
		case <-c.hang:
		case <-r.Context().Done():
		}
	}
	var sent collect.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err == nil && (r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf") {
		err = fmt.Errorf("%s %s of %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, rs := range sent.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			c.about[attribute(a)] = true
		}
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// told is everything that was collected, a span a line, by its way from the
// trace's root; from ?, if that was not sent.
func (c *collector) told() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID := map[string]*trace.Span{}
	for _, s := range c.spans {
		byID[string(s.SpanId)] = s
	}
	slices.SortStableFunc(c.spans, func(a, b *trace.Span) int {
		return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) //nolint:gosec // this century's
	})
	var b strings.Builder
	err := errors.Join(c.wrong...)
	for _, s := range c.spans {
		way := s.Name
		for at := s; len(at.ParentSpanId) > 0; {
			parent := byID[string(at.ParentSpanId)]
			if parent == nil || string(parent.TraceId) != string(s.TraceId) {
				way = "? > " + way
				break
			}
			at, way = parent, parent.Name+" > "+way
		}
		fmt.Fprintf(&b, "%s |", way)
		for _, a := range s.Attributes {
			fmt.Fprintf(&b, " %s", attribute(a))
		}
		if s.Status.GetCode() != trace.Status_STATUS_CODE_UNSET {
			fmt.Fprintf(&b, " %s %q", s.Status.Code, s.Status.Message)
		}
		for _, e := range s.Events {
			fmt.Fprintf(&b, " %s %v", e.Name, e.Attributes)
		}
		fmt.Fprintf(&b, " trace=%s\n", hex.EncodeToString(s.TraceId))
	}
	for a := range c.about {
		fmt.Fprintf(&b, "process | %s\n", a)
	}
	return b.String(), err
}

func attribute(a *common.KeyValue) string {
	var value string
	switch v := a.Value.Value.(type) {
	case *common.AnyValue_StringValue:
		value = v.StringValue
	case *common.AnyValue_ArrayValue:
		var items []string
		for _, item := range v.ArrayValue.Values {
			items = append(items, item.GetStringValue())
		}
		value = strings.Join(items, ",")
	default:
		value = strings.TrimLeft(fmt.Sprint(a.Value), "abcdefghijklmnopqrstuvwxyz_:")
	}
	return a.Key + "=" + value
}

// TestTraces plays the scripts in testdata/traces, as [TestScripts] does. A
// collector is at $COLLECTOR, and one that takes all and answers nothing at
// $HANGING; the command traces shows what the first has got. No PIN and no
// number is in it at the end.
func TestTraces(t *testing.T) {
	program := buildBooth(t)
	type collectorKey struct{}
	commands := forTestscript()
	commands["traces"] = func(ts *testscript.TestScript, _ bool, _ []string) {
		told, err := ts.Value(collectorKey{}).(*collector).told()
		ts.Check(err)
		_, _ = io.WriteString(ts.Stdout(), told) // into memory
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/traces",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			s, err := newShop(t.Context(), env, program)
			if err != nil {
				return err
			}
			c, hanging := newCollector(), newCollector()
			hanging.hang = make(chan struct{})
			env.Setenv("COLLECTOR", c.URL)
			env.Setenv("HANGING", hanging.URL)
			env.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // ms
			env.Values[shopKey{}], env.Values[collectorKey{}] = s, c
			env.Defer(func() {
				defer c.Close()
				defer hanging.Close()
				defer close(hanging.hang)
				var pins, numbers, bodies []string
				if s.served {
					pins, numbers, bodies, err = s.secrets()
				}
				if err == nil {
					err = s.close()
				}
				told, unread := c.told()
				if err = errors.Join(err, unread); err != nil {
					env.T().Fatal(err)
				}
				if found := leaked(told, nil, slices.Concat(pins, s.national(numbers), bodies)); len(found) > 0 {
					env.T().Fatal(fmt.Sprintf("the traces hold %q", found))
				}
			})
			return nil
		},
		Cmds: commands,
	})
}
