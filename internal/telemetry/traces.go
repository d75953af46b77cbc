package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/winchdata/winch/internal/spans"
	"github.com/winchdata/winch/internal/tracing"
)

const (
	// waitingBatches is how many batches of connectors' spans may wait to be sent.
	waitingBatches = 64
	// retryFor is how long one batch is tried: a receiver that restarts loses
	// nothing, one that is gone costs only this at a command's end.
	retryFor = 10 * time.Second
	// longestValue bounds an attribute, in characters.
	longestValue = 1024
)

// traces sends the spans of this process and those of its connectors.
type traces struct {
	provider *sdktrace.TracerProvider
	client   otlptrace.Client
	log      *slog.Logger
	resource *resource.Resource
	buffer   *spans.Buffer

	cancel   context.CancelFunc // of everything that is still being sent
	done     chan struct{}      // closed when no span ends any more
	senders  sync.WaitGroup
	lost     atomic.Int64 // spans that were dropped or not sent
	complain sync.Once    // about the receiver

	mu      sync.Mutex
	closed  bool
	foreign chan []*tracepb.ResourceSpans // of connectors
}

func startTraces(ctx context.Context, url string, res *resource.Resource, o Options) (*traces, error) {
	client := otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(url),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: 200 * time.Millisecond, MaxInterval: 2 * time.Second, MaxElapsedTime: retryFor,
		}),
	)
	if err := client.Start(ctx); err != nil {
		return nil, fmt.Errorf("telemetry to %s: %w", url, err)
	}
	t := &traces{
		client: client, log: o.Log, resource: res, buffer: spans.NewBuffer(),
		done: make(chan struct{}), foreign: make(chan []*tracepb.ResourceSpans, waitingBatches),
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = longestValue
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res), sdktrace.WithSpanProcessor(t.buffer), sdktrace.WithRawSpanLimits(limits),
	}
	if o.Sample != nil {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(*o.Sample))))
	}
	t.provider = sdktrace.NewTracerProvider(options...)

	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.cancel = cancel
	t.senders.Go(func() {
		_ = t.buffer.Run(sending, t.done, func(batch []sdktrace.ReadOnlySpan, dropped int64) error { // ends with sending
			t.lost.Add(dropped)
			messages, err := spans.Messages(sending, batch)
			t.upload(sending, messages, int64(len(batch)), err)
			return nil
		})
	})
	t.senders.Go(func() {
		for messages := range t.foreign {
			t.upload(sending, messages, count(messages), nil)
		}
	})
	return t, nil
}

// upload sends spans. One complaint about a receiver that does not take them is
// enough; how many were lost is told at the end.
func (t *traces) upload(ctx context.Context, messages []*tracepb.ResourceSpans, n int64, err error) {
	if err == nil && n > 0 {
		err = t.client.UploadTraces(ctx, messages)
	}
	if err != nil {
		t.lost.Add(n)
		t.complain.Do(func() { t.log.WarnContext(ctx, "traces are not taken by their receiver", "error", err) })
	}
}

// Forward sends the spans of a connector, as a message TracesData, as if they
// were the agent's. dropped is how many the connector had to drop. It never
// waits: what does not fit is dropped and counted.
func (t *Telemetry) Forward(connectorName string, traces []byte, dropped int64) {
	if t.Tracing() {
		t.traces.forward(connectorName, traces, dropped)
	}
}

func (t *traces) forward(connectorName string, data []byte, dropped int64) {
	t.lost.Add(dropped)
	messages, err := spans.Decode(data)
	if err != nil {
		t.log.Warn("spans of a connector cannot be read", "connector", connectorName, "error", err)
		return
	}
	// Who a connector is, the agent knows better than the connector says.
	res := t.connectorResource(connectorName)
	for _, m := range messages {
		m.Resource, m.SchemaUrl = res, semconv.SchemaURL
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		select {
		case t.foreign <- messages:
			return
		default:
		}
	}
	t.lost.Add(count(messages))
}

func (t *traces) connectorResource(name string) *resourcepb.Resource {
	text := func(key attribute.Key, value string) *commonpb.KeyValue {
		return &commonpb.KeyValue{Key: string(key), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
	}
	attrs := []*commonpb.KeyValue{
		text(semconv.ServiceNameKey, serviceName+"-connector-"+name), text(tracing.Connector, name),
	}
	for _, a := range t.resource.Attributes() {
		switch a.Key {
		case semconv.ServiceVersionKey, semconv.HostNameKey, semconv.ServiceNamespaceKey, semconv.DeploymentEnvironmentNameKey:
			attrs = append(attrs, text(a.Key, a.Value.AsString()))
		}
	}
	return &resourcepb.Resource{Attributes: attrs}
}

// shutdown sends what is left, for as long as ctx allows.
func (t *traces) shutdown(ctx context.Context) error {
	defer t.cancel()
	close(t.done)
	t.mu.Lock()
	t.closed = true
	close(t.foreign)
	t.mu.Unlock()

	sent := make(chan struct{})
	go func() { t.senders.Wait(); close(sent) }()
	var err error
	select {
	case <-sent:
	case <-ctx.Done():
		err = fmt.Errorf("telemetry: the last spans were not sent: %w", ctx.Err())
		t.cancel()
		<-sent
	}
	if lost := t.lost.Load(); lost > 0 {
		t.log.WarnContext(ctx, "spans were lost", "spans", lost)
	}
	return errors.Join(err, t.client.Stop(context.WithoutCancel(ctx)))
}

func count(messages []*tracepb.ResourceSpans) (n int64) {
	for _, m := range messages {
		for _, s := range m.GetScopeSpans() {
			n += int64(len(s.GetSpans()))
		}
	}
	return n
}
