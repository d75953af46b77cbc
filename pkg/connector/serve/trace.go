package serve

import (
	"context"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/winchdata/winch/internal/spans"
	"github.com/winchdata/winch/internal/wire"
)

// longestValue bounds an attribute of a span, in characters.
const longestValue = 1024

// startTracing sets up the SDK, which the connector's calls then find as the
// global provider. Spans go to the agent over the connection that there is: a
// connector needs no way to the receiver. What is recorded is the agent's
// decision, which comes with each call; nothing else is.
func startTracing() wire.SpanSource {
	buffer := spans.NewBuffer()
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = longestValue
	otel.SetTracerProvider(sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithSpanProcessor(buffer), sdktrace.WithRawSpanLimits(limits),
	))
	return func(ctx context.Context, done <-chan struct{}, send func([]byte, int64) error) error {
		return buffer.Run(ctx, done, func(batch []sdktrace.ReadOnlySpan, dropped int64) error {
			traces, err := spans.Encode(ctx, batch)
			if err != nil {
				return err
			}
			return send(traces, dropped)
		})
	}
}
