package plugin

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// spanGrace is how long a connector may take to hand over its last spans.
const spanGrace = 2 * time.Second

// A spanStream carries a connector's spans to the agent for as long as the
// process lives. Connectors so need no way to the receiver of traces, and none of
// its credentials.
type spanStream struct {
	cancel context.CancelFunc
	last   func() // asks for the last spans
	ended  func() error
	logger *slog.Logger
}

func (p *Process) receiveSpans(spans func(connector string, traces []byte, dropped int64)) error {
	ctx, cancel := context.WithCancel(context.Background()) // not that of the start: it outlives it
	last, ended, err := p.wire.Spans(ctx, func(traces []byte, dropped int64) { spans(p.name, traces, dropped) })
	if err != nil {
		cancel()
		return err
	}
	p.spans = &spanStream{cancel, last, ended, p.child.logger}
	return nil
}

// finish returns when the last spans are here, or when the connector takes too
// long or is gone: then they are lost.
func (s *spanStream) finish() {
	if s == nil {
		return
	}
	timer := time.AfterFunc(spanGrace, s.cancel)
	s.last()
	err := s.ended()
	timer.Stop()
	s.cancel()
	if err != nil {
		s.logger.Debug("last spans of the connector not received", "error", err)
	}
}

// inTrace is the log of a process: a line that says nothing else belongs to the
// trace in which the process was started.
type inTrace struct {
	slog.Handler
	span trace.SpanContext
}

func (h inTrace) Handle(ctx context.Context, r slog.Record) error {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, h.span)
	}
	return h.Handler.Handle(ctx, r)
}

func (h inTrace) WithAttrs(attrs []slog.Attr) slog.Handler {
	return inTrace{h.Handler.WithAttrs(attrs), h.span}
}

func (h inTrace) WithGroup(name string) slog.Handler {
	return inTrace{h.Handler.WithGroup(name), h.span}
}
