package telemetry

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Logs say what is logged and how.
type Logs struct {
	Level slog.Level
	// Levels are those of single packages, by name: pull, plugin.
	Levels map[string]slog.Level
	JSON   bool
	Output io.Writer
}

// Logger returns the logger of a package. A line with a context that carries a
// span has trace_id and span_id.
func (l Logs) Logger(name string) *slog.Logger {
	level, own := l.Levels[name]
	if !own {
		level = l.Level
	}
	options := &slog.HandlerOptions{Level: level}
	if l.JSON {
		return slog.New(traceHandler{slog.NewJSONHandler(l.Output, options)})
	}
	return slog.New(traceHandler{slog.NewTextHandler(l.Output, options)})
}

const traceKey, spanKey = "trace_id", "span_id"

// traceHandler adds the trace that a line belongs to.
type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() || has(r, traceKey) { // a connector's line brings its own
		return h.Handler.Handle(ctx, r)
	}
	r = r.Clone()
	r.AddAttrs(slog.String(traceKey, span.TraceID().String()), slog.String(spanKey, span.SpanID().String()))
	return h.Handler.Handle(ctx, r)
}

func has(r slog.Record, key string) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = found || a.Key == key
		return !found
	})
	return found
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
