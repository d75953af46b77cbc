package postgres

import (
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

func TestCopyMergeAndCommitHaveSpans(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), pgtest.Database(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream := connector.Stream{
		Name: "people", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}},
	}
	if _, err := s.Prepare(t.Context(), "shop", stream, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	recorder := tracetest.NewSpanRecorder()
	ctx, attempt := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "attempt")
	w, err := s.Begin(ctx, sink.Attempt{
		Run: 1, Slice: ledger.Slice{Source: "shop", Stream: "people"}, Stream: stream, StartedAt: time.Now(), Clock: &sink.Clock{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Record([]byte(`{"id":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx, connector.Usage{}); err != nil {
		t.Fatal(err)
	}
	spans := slices.DeleteFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool {
		return s.Name() == "wait store" // for a connection, if that takes a moment
	})
	parents := map[trace.SpanID]bool{attempt.SpanContext().SpanID(): true}
	for _, s := range spans {
		parents[s.SpanContext().SpanID()] = s.Name() == "merge shop.people" // which sends the last rows
	}
	for i, want := range []string{"COPY", "merge", "COMMIT"} {
		if len(spans) <= i || spans[i].Name() != want+" shop.people" || spans[i].SpanKind() != trace.SpanKindClient ||
			!parents[spans[i].Parent().SpanID()] {
			t.Fatalf("spans %v, want %s as the one at %d, below the attempt", spans, want, i)
		}
		attrs := map[string]string{}
		for _, a := range spans[i].Attributes() {
			attrs[string(a.Key)] = a.Value.String()
		}
		if attrs["db.system.name"] != "postgresql" || attrs["db.operation.name"] != want || attrs["db.collection.name"] != "shop.people" || attrs["db.namespace"] == "" {
			t.Errorf("%s: attributes %v", want, attrs)
		}
	}
}
