// Package spans keeps ended spans until they are sent on: a bounded buffer that
// also limits how many spans one long pull can make, and their form in messages.
package spans

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/tracing"
)

const (
	room      = 8192        // spans that may wait to be sent
	batchSize = 512         // spans that are sent together
	pause     = time.Second // how long a span may wait for company
	// lastWait is how long the end waits for spans that have not ended: the span
	// of a call ends a moment after its answer has arrived.
	lastWait = 250 * time.Millisecond

	// Of the calls and waits below one span, the first are kept, then those that
	// failed or repeat another, and of the others the slowest.
	firstCalls   = 100
	tellingCalls = 400
	slowestCalls = 10
)

// A Buffer is a sdktrace.SpanProcessor. It never blocks the work that is traced:
// what does not fit is dropped and counted.
type Buffer struct {
	wake chan struct{} // a batch is full
	idle chan struct{} // the last open span has ended

	mu      sync.Mutex
	ended   []sdktrace.ReadOnlySpan
	dropped int64 // since the last batch was taken
	open    map[trace.SpanID]*calls
}

var _ sdktrace.SpanProcessor = (*Buffer)(nil)

// calls are the calls and waits below one span that has not ended.
type calls struct {
	first, telling int
	dropped        int64
	slowest        []sdktrace.ReadOnlySpan
}

// NewBuffer returns an empty buffer.
func NewBuffer() *Buffer {
	return &Buffer{wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), open: map[trace.SpanID]*calls{}}
}

// Run sends the spans that end, some at a time, until done is closed, and then
// those that are left. dropped is how many were dropped since the batch before.
// It returns when ctx ends, or with an error of send.
func (b *Buffer) Run(ctx context.Context, done <-chan struct{}, send func(batch []sdktrace.ReadOnlySpan, dropped int64) error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			last = true
			b.settle(ctx)
		case <-b.wake:
		case <-tick.C:
		}
		for {
			batch, dropped, more := b.take()
			if len(batch) > 0 || dropped > 0 {
				if err := send(batch, dropped); err != nil {
					return err
				}
			}
			if !more {
				break
			}
		}
		if last {
			return nil
		}
	}
}

// settle waits until no span is open, within bounds.
func (b *Buffer) settle(ctx context.Context) {
	timer := time.NewTimer(lastWait)
	defer timer.Stop()
	for {
		b.mu.Lock()
		open := len(b.open)
		b.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-b.idle:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (b *Buffer) take() (batch []sdktrace.ReadOnlySpan, dropped int64, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.ended), batchSize)
	batch = slices.Clone(b.ended[:n])
	b.ended = slices.Delete(b.ended, 0, n)
	dropped, b.dropped = b.dropped, 0
	return batch, dropped, len(b.ended) > 0
}

// OnStart is called when a span starts.
func (b *Buffer) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[s.SpanContext().SpanID()] = nil // until it has a call
}

// OnEnd is called when a span has ended.
func (b *Buffer) OnEnd(s sdktrace.ReadOnlySpan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := s.SpanContext().SpanID()
	below := b.open[id]
	delete(b.open, id)
	if len(b.open) == 0 {
		signal(b.idle)
	}
	if !s.SpanContext().IsSampled() {
		return
	}
	if below != nil {
		for _, slow := range below.slowest {
			b.keep(slow)
		}
		if below.dropped > 0 {
			s = withDropped{s, below.dropped}
		}
	}
	if s = b.limit(s); s != nil {
		b.keep(s)
	}
}

// limit returns the span to keep instead of s: s itself, nothing, or one that
// had been among the slowest of its parent until now.
func (b *Buffer) limit(s sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	if !isCall(s) {
		return s
	}
	of, open := b.open[s.Parent().SpanID()]
	if !open {
		return s
	}
	if of == nil {
		of = &calls{}
		b.open[s.Parent().SpanID()] = of
	}
	switch {
	case of.first < firstCalls:
		of.first++
		return s
	case tells(s) && of.telling < tellingCalls:
		of.telling++
		return s
	}
	of.slowest = append(of.slowest, s)
	if len(of.slowest) > slowestCalls {
		fastest := 0
		for i := range of.slowest {
			if took(of.slowest[i]) < took(of.slowest[fastest]) {
				fastest = i
			}
		}
		of.slowest = slices.Delete(of.slowest, fastest, fastest+1)
		of.dropped++
	}
	return nil
}

func (b *Buffer) keep(s sdktrace.ReadOnlySpan) {
	if len(b.ended) >= room {
		b.dropped++
		return
	}
	b.ended = append(b.ended, s)
	if len(b.ended) >= batchSize {
		signal(b.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isCall reports whether a span is one of those that a pull makes without bound
// and that have no spans below them: a request, a statement, a wait. (A call of
// the connector has.)
func isCall(s sdktrace.ReadOnlySpan) bool {
	if s.SpanKind() == trace.SpanKindClient {
		return s.InstrumentationScope().Name == tracing.Scope
	}
	return has(s, tracing.WaitReason)
}

// tells reports whether a call is no ordinary one.
func tells(s sdktrace.ReadOnlySpan) bool {
	return s.Status().Code == codes.Error || has(s, semconv.HTTPRequestResendCountKey)
}

func has(s sdktrace.ReadOnlySpan, key attribute.Key) bool {
	return slices.ContainsFunc(s.Attributes(), func(a attribute.KeyValue) bool { return a.Key == key })
}

func took(s sdktrace.ReadOnlySpan) time.Duration { return s.EndTime().Sub(s.StartTime()) }

// withDropped is a span that says how many spans below it were left out.
type withDropped struct {
	sdktrace.ReadOnlySpan
	dropped int64
}

func (s withDropped) Attributes() []attribute.KeyValue {
	return append(slices.Clone(s.ReadOnlySpan.Attributes()), tracing.SpansDropped.Int64(s.dropped))
}

// Shutdown does nothing: who runs the buffer ends it.
func (b *Buffer) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing: who runs the buffer empties it.
func (b *Buffer) ForceFlush(context.Context) error { return nil }
