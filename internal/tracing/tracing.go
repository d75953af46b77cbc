// Package tracing names what Winch's spans are called and say. It uses the
// OpenTelemetry API alone: where nobody traces, its functions do nothing.
//
// Spans are made by the provider of the span that ctx carries, so that they go
// where their parent goes and need no global state.
package tracing

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/pkg/connector"
)

// Scope is the instrumentation scope of all spans made here.
const Scope = "github.com/winchdata/winch"

// The attributes that are ours. Those of OpenTelemetry's semantic conventions
// have their own names.
const (
	Source       = attribute.Key("winch.source")
	Connector    = attribute.Key("winch.connector")
	Stream       = attribute.Key("winch.stream")
	Partition    = attribute.Key("winch.partition")
	WindowSince  = attribute.Key("winch.window.since")
	WindowUntil  = attribute.Key("winch.window.until")
	Run          = attribute.Key("winch.run")
	Resumes      = attribute.Key("winch.resumes_run") // the run whose agent died before this one
	Trigger      = attribute.Key("winch.trigger")
	Schedule     = attribute.Key("winch.schedule") // its key in the source's configuration
	Tick         = attribute.Key("winch.tick")     // by the schedule alone
	Due          = attribute.Key("winch.due")      // with the source's jitter
	Lateness     = attribute.Key("winch.lateness_seconds")
	Decision     = attribute.Key("winch.decision")
	Requeued     = attribute.Key("winch.requeued") // the trace before could not be found
	Outcome      = attribute.Key("winch.outcome")
	Reason       = attribute.Key("winch.reason") // why a slice is due, a tick taken or skipped
	Attempt      = attribute.Key("winch.attempt")
	Resumed      = attribute.Key("winch.resumed") // from a committed cursor
	Slices       = attribute.Key("winch.slices")
	Rows         = attribute.Key("winch.rows")
	Records      = attribute.Key("winch.records")
	Inserted     = attribute.Key("winch.rows.inserted")
	Updated      = attribute.Key("winch.rows.updated")
	Unchanged    = attribute.Key("winch.rows.unchanged")
	Deleted      = attribute.Key("winch.rows.deleted")
	Requests     = attribute.Key("winch.requests")
	Retries      = attribute.Key("winch.retries")
	Bytes        = attribute.Key("winch.bytes")
	WaitReason   = attribute.Key("winch.wait.reason")
	RetryReason  = attribute.Key("winch.retry.reason")
	TokenReason  = attribute.Key("winch.token.reason") // why a token is fetched
	Busy         = attribute.Key("winch.busy_seconds") // of work that is spread over the span
	Hint         = attribute.Key("winch.hint")
	SpansDropped = attribute.Key("winch.spans_dropped") // children that were left out
)

// What time can be lost waiting for: the values of WaitReason.
const (
	WaitRateLimit   = "rate_limit"  // our own limit, set to the vendor's
	WaitRetryAfter  = "retry_after" // the vendor asked for it
	WaitVendor      = "vendor"      // a connector waits for what its vendor is preparing
	WaitBackoff     = "backoff"     // our own pause after a failure
	WaitConcurrency = "concurrency" // as many requests as allowed are under way
	WaitToken       = "token"       // another request is fetching the token
	WaitQueue       = "queue"       // a job, for an agent and its source to be free
	WaitStore       = "store"       // a writer, for a connection, or for its table or the store to be free
	WaitSource      = "source"      // a run, for a backfill of its source to give way
)

// Start starts a span below that of ctx.
func Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return tracer(ctx).Start(ctx, name, trace.WithAttributes(attrs...))
}

// StartCall is Start for a call of another service.
func StartCall(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return tracer(ctx).Start(ctx, name, trace.WithAttributes(attrs...), trace.WithSpanKind(trace.SpanKindClient))
}

// Past records what began at the given moment and ends now, below the span of
// ctx.
func Past(ctx context.Context, name string, since time.Time, attrs ...attribute.KeyValue) {
	if On(ctx) {
		_, span := tracer(ctx).Start(ctx, name, trace.WithTimestamp(since), trace.WithAttributes(attrs...))
		span.End()
	}
}

// shortestWait is the shortest wait that is worth a span.
const shortestWait = time.Millisecond

// Waited records that time since a moment was lost to waiting, so that it shows
// in the trace as what it was.
func Waited(ctx context.Context, since time.Time, reason string) {
	if On(ctx) && time.Since(since) >= shortestWait {
		Past(ctx, "wait "+reason, since, WaitReason.String(reason))
	}
}

// On reports whether the span of ctx is recorded, so that it is worth computing
// what to say.
func On(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

func tracer(ctx context.Context) trace.Tracer {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(Scope)
}

// longestText is how much of an error's text a span tells, in bytes.
const longestText = 512

// End ends a span with what became of its work. An end that somebody asked for
// is no error.
func End(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		Fail(span, err)
	}
	span.End()
}

// Fail tells of an error on a span. Errors hold no secrets; their texts are
// those of the log.
func Fail(span trace.Span, err error) {
	if connector.Cancelled(err) || errors.Is(err, context.Canceled) {
		span.SetAttributes(semconv.ErrorTypeKey.String("cancelled"))
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(connector.KindOf(err).String()))
	if hint := connector.HintOf(err); hint != "" {
		span.SetAttributes(Hint.String(hint))
	}
	span.SetStatus(codes.Error, told(err))
}

// told is what a span tells of an error's text. Half a character would make the
// receiver refuse the span, and all that comes with it.
func told(err error) string {
	text := err.Error()
	if len(text) > longestText {
		text = text[:longestText]
	}
	return strings.ToValidUTF8(text, "")
}

// FailAnswer tells of an answer whose status says that it is good, and whose content
// is not what was asked for. Beside the status, an event says what is wrong with it.
func FailAnswer(span trace.Span, err error, at time.Time) {
	Fail(span, err)
	options := []trace.EventOption{trace.WithAttributes(semconv.ExceptionType(connector.KindOf(err).String()), semconv.ExceptionMessage(told(err)))}
	if !at.IsZero() {
		options = append(options, trace.WithTimestamp(at))
	}
	span.AddEvent(semconv.ExceptionEventName, options...)
}

// FailStatus tells of an HTTP answer that is an error.
func FailStatus(span trace.Span, status int) {
	span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	span.SetStatus(codes.Error, "")
}

// Window has the bounds of a window; nothing for none.
func Window(w connector.Window) []attribute.KeyValue {
	if w.IsZero() {
		return nil
	}
	return []attribute.KeyValue{
		WindowSince.String(w.Since.UTC().Format(time.RFC3339)), WindowUntil.String(w.Until.UTC().Format(time.RFC3339)),
	}
}

// Usage tells what a part of a pull cost at the vendor.
func Usage(u connector.Usage) []attribute.KeyValue {
	return []attribute.KeyValue{Requests.Int64(u.Requests), Retries.Int64(u.Retries), Bytes.Int64(u.Bytes)}
}
