// Package otlptest is a receiver of OTLP over HTTP for tests: it takes what a
// collector takes, keeps it, and answers questions about it.
package otlptest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A Receiver keeps what is sent to it.
type Receiver struct {
	// URL is the base URL that telemetry.otlp_endpoint takes.
	URL string

	mu      sync.Mutex
	bodies  [][]byte
	spans   []*Span
	metrics []*metricspb.ExportMetricsServiceRequest
	bad     []error
}

// A Span is a span with the service that it came from.
type Span struct {
	*tracepb.Span
	Service string
}

// New returns a receiver that lives as long as the test. A message that is not
// OTLP fails the test.
func New(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		for _, err := range r.bad {
			t.Errorf("receiver: %v", err)
		}
	})
	return r
}

// ServeHTTP takes a message.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := content(req)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, body)
	if err == nil {
		err = r.take(req, body)
	}
	if err != nil {
		r.bad = append(r.bad, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err))
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func content(req *http.Request) ([]byte, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil || req.Header.Get("Content-Encoding") != "gzip" {
		return body, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body, err
	}
	return io.ReadAll(unpacked)
}

func (r *Receiver) take(req *http.Request, body []byte) error {
	if kind := req.Header.Get("Content-Type"); kind != "application/x-protobuf" {
		return fmt.Errorf("content type %q", kind)
	}
	switch req.URL.Path {
	case "/v1/traces":
		var m collectorpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return err
		}
		for _, res := range m.GetResourceSpans() {
			service := Attribute(res.GetResource().GetAttributes(), "service.name")
			for _, scope := range res.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					r.spans = append(r.spans, &Span{s, service})
				}
			}
		}
	case "/v1/metrics":
		var m metricspb.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return err
		}
		r.metrics = append(r.metrics, &m)
	default:
		return fmt.Errorf("nothing is received at this path")
	}
	return nil
}

// Bodies returns all that was received, as it was on the wire, unpacked.
func (r *Receiver) Bodies() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

// Spans returns all spans, by their start.
func (r *Receiver) Spans() []*Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.spans)
	slices.SortStableFunc(all, func(a, b *Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	return all
}

// Metrics returns all messages of metrics.
func (r *Receiver) Metrics() []*metricspb.ExportMetricsServiceRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.metrics)
}

// Tree returns the spans as an indented tree, a line each, with the service where
// it differs from the parent's. Spans whose parent never came are roots that say
// so.
func (r *Receiver) Tree() string {
	all := r.Spans()
	known := map[string]bool{}
	for _, s := range all {
		known[string(s.GetSpanId())] = true
	}
	var b strings.Builder
	var below func(parent, service string, depth int)
	line := func(s *Span, service string, depth int) {
		fmt.Fprintf(&b, "%s%s", strings.Repeat("  ", depth), s.GetName())
		if s.Service != service {
			fmt.Fprintf(&b, " @%s", s.Service)
		}
		if parent := s.GetParentSpanId(); len(parent) > 0 && !known[string(parent)] {
			b.WriteString(" ORPHAN")
		}
		if s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			b.WriteString(" ERROR")
		}
		b.WriteString("\n")
		below(string(s.GetSpanId()), s.Service, depth+1)
	}
	below = func(parent, service string, depth int) {
		for _, s := range all {
			if string(s.GetParentSpanId()) == parent && parent != "" {
				line(s, service, depth)
			}
		}
	}
	for _, s := range all {
		if !known[string(s.GetParentSpanId())] {
			line(s, "", 0)
		}
	}
	return b.String()
}

// Path returns the names of a span and those above it, the root first, with the
// service of each as name@service.
func (r *Receiver) Path(s *Span) []string {
	byID := map[string]*Span{}
	for _, one := range r.Spans() {
		byID[string(one.GetSpanId())] = one
	}
	var path []string
	for s != nil {
		path = append(path, s.GetName()+"@"+s.Service)
		s = byID[string(s.GetParentSpanId())]
	}
	slices.Reverse(path)
	return path
}

// Named returns the spans whose name begins with prefix.
func (r *Receiver) Named(prefix string) []*Span {
	var found []*Span
	for _, s := range r.Spans() {
		if strings.HasPrefix(s.GetName(), prefix) {
			found = append(found, s)
		}
	}
	return found
}

// Attribute returns an attribute of the span as text; empty if it has none.
func (s *Span) Attribute(key string) string { return Attribute(s.GetAttributes(), key) }

// Trace is the id of the span's trace in hexadecimal.
func (s *Span) Trace() string { return hex.EncodeToString(s.GetTraceId()) }

// Attribute returns an attribute as text; empty if it is not there.
func Attribute(attrs []*commonpb.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() != key {
			continue
		}
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue
		case *commonpb.AnyValue_IntValue:
			return fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_DoubleValue:
			return fmt.Sprint(v.DoubleValue)
		case *commonpb.AnyValue_BoolValue:
			return fmt.Sprint(v.BoolValue)
		default:
			return a.GetValue().String()
		}
	}
	return ""
}
