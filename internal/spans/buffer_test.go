package spans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/tracing"
)

// all returns what the buffer sends when it is told to end, with the number of
// dropped spans.
func all(t *testing.T, b *Buffer) (spans []sdktrace.ReadOnlySpan, dropped int64) {
	t.Helper()
	done := make(chan struct{})
	close(done)
	err := b.Run(t.Context(), done, func(batch []sdktrace.ReadOnlySpan, n int64) error {
		if len(batch) > batchSize {
			t.Errorf("a batch of %d spans", len(batch))
		}
		spans, dropped = append(spans, batch...), dropped+n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return spans, dropped
}

func provider(b *Buffer) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b))
}

func names(spans []sdktrace.ReadOnlySpan, prefix string) (found []string) {
	for _, s := range spans {
		if len(s.Name()) >= len(prefix) && s.Name()[:len(prefix)] == prefix {
			found = append(found, s.Name())
		}
	}
	return found
}

func TestOfManyAlikeTheFirstTheTellingAndTheSlowestAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer()
		ctx, slice := provider(b).Tracer(tracing.Scope).Start(t.Context(), "slice")
		const calls = 1000
		for i := range calls {
			call, span := tracing.StartCall(ctx, fmt.Sprintf("GET %d", i))
			took := time.Millisecond
			if i == 500 {
				took = time.Hour
			}
			time.Sleep(took)
			var err error
			if i == 700 {
				err = errors.New("no")
			}
			tracing.End(span, err)
			_ = call
		}
		_, inner := tracing.Start(ctx, "merge")
		inner.End()
		slice.End()
		kept, dropped := all(t, b)
		gets := names(kept, "GET")
		if len(gets) != firstCalls+1+slowestCalls || dropped != 0 {
			t.Errorf("%d of %d calls were kept, %d dropped for want of room", len(gets), calls, dropped)
		}
		for _, want := range []string{"GET 0", "GET 99", "GET 500", "GET 700"} {
			if !slices.Contains(gets, want) {
				t.Errorf("%s was left out", want)
			}
		}
		if len(names(kept, "merge")) != 1 {
			t.Error("what is no call is never left out")
		}
		last := kept[len(kept)-1]
		if want := tracing.SpansDropped.Int64(calls - int64(len(gets))); last.Name() != "slice" || !slices.Contains(last.Attributes(), want) {
			t.Errorf("the parent %s has %v, want %v", last.Name(), last.Attributes(), want)
		}
	})
}

func TestWhatDoesNotFitIsDroppedAndCounted(t *testing.T) {
	t.Parallel()
	b := NewBuffer()
	tracer := provider(b).Tracer("test")
	for range room + 5 {
		_, span := tracer.Start(t.Context(), "x")
		span.End()
	}
	if kept, dropped := all(t, b); len(kept) != room || dropped != 5 {
		t.Errorf("%d kept, %d dropped", len(kept), dropped)
	}
}

func TestTheEndWaitsForASpanThatIsAboutToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer()
		_, span := provider(b).Tracer("test").Start(t.Context(), "call")
		go func() {
			time.Sleep(lastWait / 2)
			span.End()
		}()
		if kept, _ := all(t, b); len(kept) != 1 {
			t.Errorf("%d spans", len(kept))
		}
		// One that does not end is not waited for without bound.
		_, leaked := provider(b).Tracer("test").Start(t.Context(), "leaked")
		defer leaked.End()
		began := time.Now()
		if all(t, b); time.Since(began) != lastWait {
			t.Errorf("waited %s", time.Since(began))
		}
	})
}

func TestSpansAreTheSameAfterTheirWay(t *testing.T) {
	t.Parallel()
	b := NewBuffer()
	_, span := provider(b).Tracer(tracing.Scope).Start(t.Context(), "GET /x", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.Int("n", 7)))
	span.End()
	kept, _ := all(t, b)
	data, err := Encode(context.Background(), kept)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := Decode(data)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%v, %v", messages, err)
	}
	got := messages[0].GetScopeSpans()[0].GetSpans()[0]
	id := span.SpanContext().SpanID()
	if got.GetName() != "GET /x" || string(got.GetSpanId()) != string(id[:]) || got.GetAttributes()[0].GetValue().GetIntValue() != 7 {
		t.Errorf("got %v", got)
	}
	if _, err := Decode([]byte("\xff")); err == nil {
		t.Error("what is no message must not pass for one")
	}
}
