package scheduler

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
)

// A trace begins with the tick, or with the command that queued a job. It crosses
// the queue in the job, so that whoever does the work goes on with it.

// w3c is the form in which a trace is stored with a job.
var w3c = propagation.TraceContext{}

// Traced returns the job as part of the trace of ctx, if that has one. Queues call it
// for what is put into them.
func (j Job) Traced(ctx context.Context) Job {
	if trace.SpanContextFromContext(ctx).IsValid() {
		j.Trace = map[string]string{}
		w3c.Inject(ctx, propagation.MapCarrier(j.Trace))
	}
	return j
}

// startTick starts the trace of a tick that this agent has decided: when it was due,
// unless it was missed. A trace as long as an outage would show nothing else.
func startTick(ctx context.Context, t sink.Tick) (context.Context, trace.Span) {
	late := t.DecidedAt.Sub(t.DueAt)
	began := time.Now()
	if late > 0 && late <= missedAfter {
		began = began.Add(-late)
	}
	return otel.Tracer(tracing.Scope).Start(ctx, "tick "+t.Source, trace.WithNewRoot(), trace.WithTimestamp(began), trace.WithAttributes(
		tracing.Source.String(t.Source), tracing.Schedule.String(t.Schedule), tracing.Tick.String(t.Tick.UTC().Format(time.RFC3339)),
		tracing.Due.String(t.DueAt.UTC().Format(time.RFC3339)), tracing.Lateness.Float64(late.Seconds()),
		tracing.Decision.String(string(t.Decision)), tracing.Reason.String(t.Reason)))
}

// traces are the contexts of ticks that are being decided, with the first span of
// each. Of a decision that is not committed they are dropped, and never seen.
type traces map[traceKey]context.Context

type traceKey struct {
	source, schedule string
	tick             int64
}

// of returns the context of a tick, and begins its trace the first time.
func (all traces) of(ctx context.Context, t sink.Tick) context.Context {
	key := traceKey{t.Source, t.Schedule, t.Tick.Unix()}
	if all[key] == nil {
		all[key], _ = startTick(ctx, t) // ended through its context
	}
	return all[key]
}

// resume returns ctx with the trace that the job came with. A job that came without
// one, as those do that are found in the store after their agent has died, begins
// a trace; end ends its first span.
func (j Job) resume(ctx context.Context) (_ context.Context, end func()) {
	ctx = w3c.Extract(ctx, propagation.MapCarrier(j.Trace))
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func() {}
	}
	attrs := []attribute.KeyValue{tracing.Source.String(j.Source), tracing.Trigger.String(string(j.Trigger)), tracing.Requeued.Bool(true)}
	if j.Trigger == TriggerTick {
		attrs = append(attrs, tracing.Schedule.String(j.Schedule), tracing.Tick.String(j.Tick.UTC().Format(time.RFC3339)))
	}
	ctx, span := otel.Tracer(tracing.Scope).Start(ctx, string(j.Trigger)+" "+j.Source, trace.WithAttributes(attrs...))
	return ctx, func() { span.End() }
}

// A stay is a job's time in the queue, until it is begun by an agent that holds its
// source.
type stay struct {
	ctx          context.Context // of the job's trace, not of its run
	since, until time.Time       // by the machine's clock
	once         sync.Once
}

// stayOf is the stay of a job that is about to be begun.
func (s *Scheduler) stayOf(ctx context.Context, job Job) *stay {
	now := time.Now()
	if job.Queued.IsZero() {
		return &stay{ctx: ctx, since: now, until: now}
	}
	shared := now // the store's clock, by which jobs are queued
	if !s.clock.looked().IsZero() {
		shared = s.clock.now()
	}
	return &stay{ctx: ctx, since: now.Add(-max(shared.Sub(job.Queued), 0)), until: now}
}

// ended records the stay, the first time it is called.
func (s *stay) ended(job Job) {
	s.once.Do(func() {
		_, span := otel.Tracer(tracing.Scope).Start(s.ctx, "wait "+tracing.WaitQueue, trace.WithTimestamp(s.since), trace.WithAttributes(
			tracing.WaitReason.String(tracing.WaitQueue), tracing.Source.String(job.Source), tracing.Trigger.String(string(job.Trigger))))
		span.End(trace.WithTimestamp(s.until))
	})
}
