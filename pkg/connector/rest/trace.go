package rest

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// A repeat says what came before an attempt at a request.
type repeat struct {
	sent   int    // how often the request was sent
	reason string // why the last time was not enough
}

func (r repeat) after(reason string) repeat { return repeat{r.sent + 1, reason} }

// why says in a word why a request is sent again.
func why(a *answer, failed *failure) string {
	if a != nil {
		return strconv.Itoa(a.Status)
	}
	return connector.KindOf(failed.err).String()
}

// A Transfer is a request that has ended, with the reading of its answer. A
// connector that sends one by itself, past the client, records it so.
type Transfer struct {
	Method string
	Target *url.URL
	// Template is the path as traces may show it: see Request.Template.
	Template string
	Since    time.Time
	// Took is how long sending and reading took, without what the connector did
	// meanwhile.
	Took   time.Duration
	Status int   // 0 without an answer
	Bytes  int64 // of the answer's body
	Err    error // also of an answer that says it is good and is not

	before repeat
	until  time.Time // zero: when it is recorded
}

// ended says that the request has ended now, and is recorded later.
func (t *Transfer) ended() {
	t.until = time.Now()
	t.Took = t.until.Sub(t.Since)
}

// Record adds the time and the class of the answer to the usage of ctx, and to its trace a span as the
// semantic conventions for HTTP clients want it. The span has no query and no
// headers, and of the path only the template; the vendor is not told of the
// trace.
func (t Transfer) Record(ctx context.Context) {
	usage := connector.Usage{Requesting: t.Took}
	switch t.Status / 100 {
	case 2:
		usage.Status2xx = 1
	case 3:
		usage.Status3xx = 1
	case 4:
		usage.Status4xx = 1
	case 5:
		usage.Status5xx = 1
	}
	connector.RecordUsage(ctx, usage)
	if !tracing.On(ctx) {
		return
	}
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(t.Method),
		semconv.URLScheme(t.Target.Scheme), semconv.URLTemplate(t.Template), semconv.URLFull(t.Target.Scheme + "://" + t.Target.Host + t.Template),
		semconv.ServerAddress(t.Target.Hostname()),
	}
	if port, err := strconv.Atoi(t.Target.Port()); err == nil {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	if t.before.sent > 0 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(t.before.sent), tracing.RetryReason.String(t.before.reason))
	}
	if t.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(t.Status), semconv.HTTPResponseBodySizeKey.Int64(t.Bytes))
	}
	_, span := trace.SpanFromContext(ctx).TracerProvider().Tracer(tracing.Scope).Start(ctx, t.Method+" "+t.Template,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(t.Since), trace.WithAttributes(attrs...))
	end := []trace.SpanEndOption{}
	if !t.until.IsZero() {
		end = append(end, trace.WithTimestamp(t.until))
	}
	switch {
	case t.Status >= http.StatusBadRequest:
		tracing.FailStatus(span, t.Status)
	case t.Err != nil && t.Status != 0:
		tracing.FailAnswer(span, t.Err, t.until)
	case t.Err != nil:
		tracing.Fail(span, t.Err)
	}
	span.End(end...)
}

var (
	placeholder = regexp.MustCompile(`\{[^}/]*\}`)
	// word is a part of a path that is the same for all requests, by its looks:
	// customers, call-records, v2, oauth2.
	word = regexp.MustCompile(`^(v[0-9]{1,3}(\.[0-9]{1,3})?|[A-Za-z][A-Za-z_-]{0,39}[0-9]?)$`)
)

// template returns the path of a request without what differs from one to
// another.
func (r Request) template(target *url.URL) string {
	if r.Template != "" {
		return "/" + strings.TrimPrefix(placeholder.ReplaceAllString(r.Template, "{}"), "/")
	}
	parts := strings.Split(target.EscapedPath(), "/")
	for i, part := range parts {
		if part != "" && !word.MatchString(part) {
			parts[i] = "{}"
		}
	}
	return "/" + strings.TrimPrefix(strings.Join(parts, "/"), "/")
}
