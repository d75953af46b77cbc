package spans

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Messages returns spans as OTLP has them.
func Messages(ctx context.Context, batch []sdktrace.ReadOnlySpan) ([]*tracepb.ResourceSpans, error) {
	var c collector
	err := otlptrace.NewUnstarted(&c).ExportSpans(ctx, batch)
	return c.spans, err
}

// Encode returns spans as a message TracesData.
func Encode(ctx context.Context, batch []sdktrace.ReadOnlySpan) ([]byte, error) {
	messages, err := Messages(ctx, batch)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&tracepb.TracesData{ResourceSpans: messages})
}

// Decode reads what Encode wrote.
func Decode(traces []byte) ([]*tracepb.ResourceSpans, error) {
	var data tracepb.TracesData
	if err := proto.Unmarshal(traces, &data); err != nil {
		return nil, fmt.Errorf("spans of a connector: %w", err)
	}
	return data.GetResourceSpans(), nil
}

// collector takes the messages that the exporter makes, which is the one way to
// OTLP's encoding that the SDK offers.
type collector struct{ spans []*tracepb.ResourceSpans }

func (c *collector) Start(context.Context) error { return nil }
func (c *collector) Stop(context.Context) error  { return nil }

func (c *collector) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	c.spans = spans
	return nil
}
