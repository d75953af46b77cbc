package sqlite

import (
	"context"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
)

// step begins a stage of the attempt with a span as the semantic conventions for
// database clients want it.
func (w *writer) step(ctx context.Context, stage sink.Stage, operation string) (context.Context, func(error)) {
	return w.attempt.Begin(ctx, stage, operation+" "+w.table.name,
		semconv.DBSystemNameSQLite, semconv.DBCollectionName(w.table.name), semconv.DBOperationName(operation))
}

// tellStaged tells with one span of all the statements that staged rows since the
// last commit: they are many and short.
func (w *writer) tellStaged(ctx context.Context) {
	if w.stagedSince.IsZero() {
		return
	}
	tracing.Past(ctx, "INSERT "+w.table.name, w.stagedSince, semconv.DBSystemNameSQLite,
		semconv.DBCollectionName(w.table.name), semconv.DBOperationName("INSERT"), tracing.Busy.Float64(w.attempt.Clock.Total().Copying.Seconds()))
	w.stagedSince = time.Time{}
}
