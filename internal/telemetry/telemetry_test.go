package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/winchdata/winch/internal/telemetry/otlptest"
	"github.com/winchdata/winch/pkg/connector"
)

func start(t *testing.T, o Options) (*Telemetry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	tel, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tel, &log
}

// The tests set the environment, so they do not run in parallel.

func TestWhereTracesGo(t *testing.T) { //nolint:paralleltest // sets the environment
	for name, c := range map[string]struct {
		option string
		env    map[string]string
		want   string
	}{
		"nowhere":          {},
		"option":           {option: "http://a:4318/", want: "http://a:4318/v1/traces"},
		"option wins":      {option: "http://a:4318", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b"}, want: "http://a:4318/v1/traces"},
		"environment":      {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b/base"}, want: "http://b/base/v1/traces"},
		"for traces alone": {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, want: "http://c/t"},
		"disabled":         {option: "http://a", env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		"no exporter":      {option: "http://a", env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"} {
				t.Setenv(variable, c.env[variable])
			}
			got, err := Options{Endpoint: c.option}.endpoint("TRACES", "v1/traces")
			if err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
	if _, err := Start(t.Context(), Options{}); connector.KindOf(err) != connector.KindConfig {
		t.Errorf("an address that is no URL: %v", err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := Start(t.Context(), Options{}); connector.KindOf(err) != connector.KindConfig {
		t.Errorf("a protocol that is not spoken: %v", err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
	if url, err := (Options{}).endpoint("TRACES", "v1/traces"); url == "" || err != nil {
		t.Errorf("the protocol for traces alone: %q, %v", url, err)
	}
}

func TestOffIsNothing(t *testing.T) { //nolint:paralleltest // reads the environment that others set
	tel, _ := start(t, Options{})
	if tel.Tracing() || tel.traces != nil {
		t.Error("something was started though nobody listens")
	}
	tel.Forward("toy", nil, 1)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	var none *Telemetry
	if none.Tracing() {
		t.Error("a nil Telemetry traces")
	}
}

func TestSpansOfConnectorsBearTheNameThatTheAgentKnows(t *testing.T) { //nolint:paralleltest // sets the global provider
	receiver := otlptest.New(t)
	all := 1.0
	tel, log := start(t, Options{Endpoint: receiver.URL, Sample: &all, Version: "1.2.3"})
	_, span := tel.traces.provider.Tracer("test").Start(t.Context(), "own")
	span.End()
	data, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{
			Name: "foreign", TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8), StartTimeUnixNano: 1,
		}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	tel.Forward("toy", data, 3)
	tel.Forward("toy", []byte("\xff"), 0)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	tel.Forward("toy", data, 0) // too late, and no harm
	services := map[string]string{}
	for _, s := range receiver.Spans() {
		services[s.GetName()] = s.Service
	}
	if len(services) != 2 || services["own"] != "winch" || services["foreign"] != "winch-connector-toy" {
		t.Errorf("received %v", services)
	}
	for _, want := range []string{"spans=3", "cannot be read"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

func TestAReceiverThatIsAwayHoldsNobodyUp(t *testing.T) { //nolint:paralleltest // sets the global provider
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // it takes connections and never answers
	tel, log := start(t, Options{Endpoint: "http://" + listener.Addr().String()})
	_, span := tel.traces.provider.Tracer("test").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("shutdown: %v", err)
	}
	if !strings.Contains(log.String(), "spans=1") {
		t.Errorf("what was lost is not told:\n%s", log)
	}
}

func TestLinesHaveTheTraceTheyBelongTo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logs := Logs{Level: slog.LevelWarn, Levels: map[string]slog.Level{"pull": slog.LevelDebug}, JSON: true, Output: &out}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	logs.Logger("pull").With("run", 7).DebugContext(ctx, "said")
	logs.Logger("agent").InfoContext(ctx, "not said")
	logs.Logger("plugin").WarnContext(ctx, "said", "trace_id", "its own")
	logs.Logger("agent").WarnContext(t.Context(), "said")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []any{span.TraceID().String(), "its own", nil}
	if len(lines) != len(want) {
		t.Fatalf("lines:\n%s", out.String())
	}
	for i, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["trace_id"] != want[i] || strings.Count(line, "trace_id") > 1 {
			t.Errorf("%s: %v, want trace_id %v", line, err, want[i])
		}
	}
}
