package rest

import (
	"context"
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

// requested records the time that one attempt took, and a span of it as the
// semantic conventions for HTTP clients want it. The span has no query and no
// headers, and of the path only the template; the vendor is not told of the
// trace.
func requested(ctx context.Context, start time.Time, req Request, target *url.URL, before repeat, got *answer, failed *failure) {
	connector.RecordUsage(ctx, connector.Usage{Requesting: time.Since(start)})
	if !tracing.On(ctx) {
		return
	}
	template := req.template(target)
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(req.method()),
		semconv.URLScheme(target.Scheme), semconv.URLTemplate(template), semconv.URLFull(target.Scheme + "://" + target.Host + template),
		semconv.ServerAddress(target.Hostname()),
	}
	if port, err := strconv.Atoi(target.Port()); err == nil {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	if before.sent > 0 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(before.sent), tracing.RetryReason.String(before.reason))
	}
	if got != nil {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(got.Status), semconv.HTTPResponseBodySizeKey.Int(len(got.Body)))
	}
	_, span := trace.SpanFromContext(ctx).TracerProvider().Tracer(tracing.Scope).Start(ctx, req.method()+" "+template,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start), trace.WithAttributes(attrs...))
	switch {
	case failed != nil:
		tracing.Fail(span, failed.err)
	case got.Status >= 400:
		tracing.FailStatus(span, got.Status)
	}
	span.End()
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
