package postgres

import (
	"context"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/winchdata/winch/internal/sink"
)

// step begins a stage of the attempt with a span as the semantic conventions for
// database clients want it. (The driver's own tracing does not see what goes past
// it, as COPY does.) The text of statements is not told: it is always the same.
func (w *writer) step(ctx context.Context, stage sink.Stage, operation string) (context.Context, func(error)) {
	return w.attempt.Begin(ctx, stage, operation+" "+w.table.String(),
		semconv.DBSystemNamePostgreSQL, semconv.DBNamespace(w.sink.pool.Config().ConnConfig.Database),
		semconv.DBCollectionName(w.table.String()), semconv.DBOperationName(operation))
}
