package pull

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// tracedSlices is how many slices of one run are traced, those first that are
// read first. Of the others only the ones that fail have a span.
const tracedSlices = 200

type runKey struct{}

// withRun returns a context that belongs to a run.
func withRun(ctx context.Context, id int64) context.Context {
	return context.WithValue(ctx, runKey{}, id)
}

// RunOf returns the id of the run that ctx belongs to; 0 for none. Job.Open is
// called with such a context, so that what a connector logs can have the id.
func RunOf(ctx context.Context) int64 {
	id, _ := ctx.Value(runKey{}).(int64)
	return id
}

// runSpan is the span of a whole run.
type runSpan struct{ trace.Span }

// startRun starts the span of a run that was asked for at a moment: below that of
// the tick or the command, or as a trace of its own.
func startRun(ctx context.Context, job Job, asked time.Time) (context.Context, runSpan) {
	ctx, span := otel.Tracer(tracing.Scope).Start(ctx, "run "+job.Source, trace.WithTimestamp(asked), trace.WithAttributes(
		tracing.Source.String(job.Source), tracing.Connector.String(job.Connector), tracing.Trigger.String(job.Trigger)))
	return ctx, runSpan{span}
}

// traceID is empty where the trace is not recorded, so that nobody looks for it.
func (s runSpan) traceID() string {
	if !s.IsRecording() {
		return ""
	}
	return s.SpanContext().TraceID().String()
}

func (s runSpan) spanID() string {
	if !s.IsRecording() {
		return ""
	}
	return s.SpanContext().SpanID().String()
}

// linkLost links the run to the one before if the agent of that one died: this
// one goes on where that one stopped.
func (s runSpan) linkLost(ctx context.Context, store sink.Sink, source string) {
	if !s.IsRecording() {
		return
	}
	runs, err := store.Runs(ctx, source, 1)
	if err != nil || len(runs) == 0 || runs[0].Outcome != sink.Lost {
		return // what is wrong with the store, the run will find out
	}
	lost := runs[0]
	s.SetAttributes(tracing.Resumes.Int64(lost.ID))
	traceID, err := trace.TraceIDFromHex(lost.TraceID)
	if err != nil {
		return // it was not traced
	}
	spanID, err := trace.SpanIDFromHex(lost.SpanID)
	if err != nil {
		return
	}
	s.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true,
	})})
}

func (s runSpan) end(res Result) {
	s.SetAttributes(tracing.Outcome.String(string(res.Status)))
	s.SetAttributes(countAttributes(res.Counts, res.Usage)...)
	if err := res.FirstError(); err != nil {
		tracing.Fail(s, err)
	}
	s.End()
}

// sliceSpan starts the span of a slice.
func (r *run) sliceSpan(ctx context.Context, due ledger.Due) (context.Context, trace.Span) {
	if r.spans.Add(1) > tracedSlices {
		whole := trace.SpanContextFromContext(ctx)
		ctx = trace.ContextWithSpanContext(ctx, whole.WithTraceFlags(whole.TraceFlags().WithSampled(false)))
	}
	return tracing.Start(ctx, "slice "+due.Slice.Stream, sliceAttributes(due)...)
}

func sliceAttributes(due ledger.Due) []attribute.KeyValue {
	attrs := append(tracing.Window(due.Slice.Window), tracing.Stream.String(due.Slice.Stream), tracing.Reason.String(string(due.Reason)))
	if due.Slice.Partition != "" {
		attrs = append(attrs, tracing.Partition.String(due.Slice.Partition))
	}
	return attrs
}

// countAttributes tells what was landed and what it cost.
func countAttributes(c ledger.Counts, u connector.Usage) []attribute.KeyValue {
	return append(tracing.Usage(u), tracing.Rows.Int64(c.Rows), tracing.Inserted.Int64(c.Inserted), tracing.Updated.Int64(c.Updated),
		tracing.Unchanged.Int64(c.Unchanged), tracing.Deleted.Int64(c.Deleted))
}

// decoded records the decoding of an attempt as one span: it is spread over all
// the time in which records come.
func (e *emitter) decoded() {
	if e.records > 0 {
		tracing.Past(e.ctx, "decode", e.first, tracing.Records.Int64(e.records),
			tracing.Busy.Float64(e.attempt.Clock.Total().Decoding.Seconds()))
	}
}

// tracedAttempt is attempt with a span.
func (r *run) tracedAttempt(ctx context.Context, t task, a sink.Attempt, cursor connector.Cursor, number int) (attempted, error) {
	ctx, span := tracing.Start(ctx, "attempt", tracing.Attempt.Int(number), tracing.Resumed.Bool(a.Resumed))
	done, err := r.attempt(ctx, t, a, cursor)
	tracing.End(span, err)
	return done, err
}

// landed tells, in the log and on its span, that a slice was committed.
func (r *run) landed(ctx context.Context, span trace.Span, slice ledger.Slice, c ledger.Counts, u connector.Usage, begun time.Time) {
	if span.IsRecording() {
		span.SetAttributes(countAttributes(c, u)...)
	}
	r.log.InfoContext(ctx, "slice landed", "slice", slice.String(), "rows", c.Rows, "inserted", c.Inserted, "updated", c.Updated,
		"deleted", c.Deleted, "requests", u.Requests, "retries", u.Retries, "seconds", time.Since(begun).Seconds())
}

// failed tells on its span that a slice was given up. A slice that was not traced
// gets a span after all.
func (r *run) failed(ctx context.Context, span trace.Span, due ledger.Due, u connector.Usage, begun time.Time, err error) {
	if !span.IsRecording() && r.span.IsRecording() {
		_, span = otel.Tracer(tracing.Scope).Start(trace.ContextWithSpan(ctx, r.span), "slice "+due.Slice.Stream,
			trace.WithTimestamp(begun), trace.WithAttributes(sliceAttributes(due)...))
		defer span.End()
	}
	span.SetAttributes(tracing.Usage(u)...)
	tracing.Fail(span, err)
}

// reasonOf says in the words of traces why a slice that failed waits.
func reasonOf(err error) string {
	if connector.RetryAfterOf(err) > 0 {
		return tracing.WaitRetryAfter
	}
	return tracing.WaitBackoff
}
