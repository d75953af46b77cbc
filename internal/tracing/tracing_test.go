package tracing

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A receiver refuses what is no UTF-8, with all that is sent along.
func TestALongErrorIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	ended := tracetest.NewSpanRecorder()
	_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended)).Tracer(Scope).Start(t.Context(), "GET /")
	FailAnswer(span, errors.New("x"+strings.Repeat("ä", longestText)), time.Time{})
	span.End()
	got := ended.Ended()[0]
	texts := []string{got.Status().Description}
	for _, e := range got.Events() {
		for _, a := range e.Attributes {
			texts = append(texts, a.Value.AsString())
		}
	}
	if len(texts) != 3 {
		t.Errorf("told %q", texts)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || len(text) > longestText {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
}
