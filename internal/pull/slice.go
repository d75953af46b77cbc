package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// How often one slice is tried before it is marked as failed, by who is at fault.
// The connector has sent each request several times already, so the vendor gets
// one more chance, which a new process also gets. A wait that the vendor asked for
// is no attempt, but the waits have a sum.
const (
	attemptsVendor  = 2
	attemptsStore   = 4
	longestWait     = 5 * time.Minute
	growthOfBackoff = 30
)

// readSlice reads one slice until it is committed, given up, or the run ends. It
// returns an error only for what stops the whole run.
func (r *run) readSlice(ctx context.Context, t task) error {
	slice := t.due.Slice
	if t.stream.isClosed(slice.Partition) {
		t.stream.skip(slice)
		return nil
	}
	ctx, span := r.sliceSpan(ctx, t.due)
	defer span.End()
	r.observe(Event{Kind: Started, Slice: slice, Reason: t.due.Reason})
	var (
		usage  connector.Usage
		waited time.Duration
		cursor = t.due.Cursor
		clock  sink.Clock // of all attempts
	)
	begun := time.Now()
	for attempt := 1; ; attempt++ {
		a := sink.Attempt{
			Run: r.id, Slice: slice, Stream: t.stream.want.Stream, Split: t.stream.want.Split,
			Resumed: len(cursor) > 0, StartedAt: time.Now(), Clock: &sink.Clock{}, Brake: r.brake(t.stream.want),
			Declared: t.stream.declaration(),
		}
		t.stream.start(a.StartedAt)
		done, err := r.tracedAttempt(ctx, t, a, cursor, attempt)
		usage = usage.Add(done.usage)
		clock.Add(a.Clock.Total())
		r.clock.Add(a.Clock.Total())
		cursor = done.cursor
		if err == nil {
			t.stream.commit(done.counts, usage, time.Now())
			r.lanes.ended(time.Since(begun), usage.Waited)
			r.observe(Event{Kind: Committed, Slice: slice, Counts: done.counts, Usage: usage, Stages: clock.Total()})
			r.landed(ctx, span, slice, done.counts, usage, begun)
			r.Metrics.Landed(ctx, slice, done.counts, usage, clock.Total())
			return nil
		}
		if ctx.Err() != nil && connector.Cancelled(err) {
			r.interrupt(ctx, t, usage)
			return ctx.Err()
		}
		if errors.Is(err, errDrained) {
			r.interrupt(ctx, t, usage)
			return nil
		}
		err = fmt.Errorf("%s: %w", slice, err)
		again, wait := r.next(err, attempt, waited)
		if again {
			waited += wait
			r.log.WarnContext(ctx, "slice is tried again", "slice", slice.String(), "wait", wait.String(), "error", err)
			r.observe(Event{Kind: Waiting, Slice: slice, Wait: wait, Err: err})
			pause := time.Now()
			ended := r.job.sleep(ctx, wait)
			tracing.Waited(ctx, pause, reasonOf(err))
			if ended != nil {
				r.interrupt(ctx, t, usage)
				return ctx.Err()
			}
			if connector.KindOf(err) == connector.KindRateLimited {
				attempt--
			}
			continue
		}
		r.log.ErrorContext(ctx, "slice failed", "slice", slice.String(), "error", err, "hint", sink.HintOf(err))
		r.observe(Event{Kind: Failed, Slice: slice, Err: err, Usage: usage, Stages: clock.Total()})
		r.failed(ctx, span, t.due, usage, begun, err)
		r.Metrics.Failed(ctx, slice, usage, clock.Total())
		a.Clock, a.StartedAt = &clock, begun // what is recorded is of all attempts
		t.stream.failSlice(slice, usage, err)
		if failErr := r.Sink.Fail(context.WithoutCancel(ctx), a, usage, err); failErr != nil {
			r.log.ErrorContext(ctx, "failure of the slice not recorded", "slice", slice.String(), "error", failErr)
			if !stopsRun(err) {
				return failErr
			}
		}
		if stopsRun(err) {
			return err
		}
		return nil
	}
}

// interrupt notes what a slice cost that was neither landed nor given up.
func (r *run) interrupt(ctx context.Context, t task, usage connector.Usage) {
	t.stream.interrupt(usage)
	r.Metrics.Spent(ctx, t.due.Slice.Source, t.due.Slice.Stream, usage)
}

// attempted is what one attempt at a slice left behind.
type attempted struct {
	counts ledger.Counts
	usage  connector.Usage
	cursor connector.Cursor // of the last checkpoint that was committed
}

func (r *run) attempt(ctx context.Context, t task, a sink.Attempt, cursor connector.Cursor) (done attempted, err error) {
	done.cursor = cursor
	recorder := &connector.UsageRecorder{}
	ctx = connector.WithUsage(ctx, recorder)
	defer func() { done.usage = recorder.Total() }()
	src, err := r.source(ctx)
	if err != nil {
		return done, err
	}
	out := &emitter{run: r, ctx: ctx, attempt: a, usage: recorder, cursor: cursor, aside: t.stream.setAside(), stream: t.stream, declared: declaredFields(a.Stream)}
	defer func() {
		if out.writer == nil {
			return
		}
		if closeErr := out.writer.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	defer func() { out.aside.end(err == nil) }()
	defer out.decoded()
	watched, watch := r.watch(ctx, a.Clock, recorder)
	out.watch = watch
	err = src.Pull(watched, connector.Request{
		Stream:    a.Slice.Stream,
		Partition: a.Slice.Partition,
		Window:    a.Slice.Window,
		Cursor:    cursor,
		Since:     t.stream.want.Since,
		AsOf:      r.job.AsOf,
	}, out)
	done.cursor = out.cursor
	if stuck := watch.end(); stuck != nil && err != nil && out.err == nil {
		return done, stuck
	}
	if out.err != nil {
		// What stopped the emitter is the cause, however the connector tells it (P3).
		return done, out.err
	}
	if err != nil {
		return done, cursorRefused(a, out.records, err)
	}
	if err := out.begin(); err != nil {
		return done, err
	}
	if err := out.judge(); err != nil {
		return done, err
	}
	// I1: rows, ledger row and cursor are one transaction.
	done.counts, err = out.writer.Commit(ctx, recorder.Total())
	return done, braked(a.Slice, err)
}

// emitter hands the records of one attempt to the sink.
type emitter struct {
	run      *run
	ctx      context.Context
	writer   sink.Writer // nil while the records are kept in early
	early    early
	attempt  sink.Attempt
	usage    *connector.UsageRecorder
	cursor   connector.Cursor
	first    time.Time // of the first record
	records  int64
	reported time.Time
	err      error
	aside    setAside
	watch    *watch
	stream   *streamState
	declared map[string]bool // top-level fields that lead to a column
}

// progressEvery is after how many records the clock is looked at for a progress
// event, and progressPause how far apart the events are at least.
const (
	progressEvery = 256
	progressPause = 100 * time.Millisecond
)

func (e *emitter) Record(raw []byte) error {
	if e.err != nil {
		return e.err
	}
	e.drift(e.ctx, raw)
	if e.writer != nil || !e.early.add(raw) {
		if err := e.begin(); err != nil {
			return err
		}
		if err := e.land(raw); err != nil {
			return err
		}
	}
	if e.records++; e.records == 1 {
		e.first = time.Now()
	} else if e.records%progressEvery == 0 {
		e.progress()
	}
	return nil
}

func (e *emitter) Checkpoint(c connector.Cursor) error {
	if e.err != nil {
		return e.err
	}
	if e.attempt.Stream.Mode == connector.ModeSnapshot {
		e.err = &connector.Error{Kind: connector.KindBadResponse, Op: "checkpoint", Err: errors.New("a snapshot stream has no checkpoints"), Hint: "this is a defect of the connector: tell its author"}
		return e.err
	}
	if err := e.begin(); err != nil {
		return err
	}
	if e.err = e.judge(); e.err != nil {
		return e.err
	}
	e.watch.enter()
	err := e.writer.Checkpoint(e.ctx, c, e.usage.Total())
	e.watch.leave()
	if err != nil {
		e.err = err
		return err
	}
	e.aside.commit()
	e.cursor = append(connector.Cursor(nil), c...)
	e.progress()
	if e.run.draining() {
		e.err = errDrained
	}
	return e.err
}

func (e *emitter) progress() {
	now := time.Now()
	if now.Sub(e.reported) < progressPause {
		return
	}
	e.reported = now
	e.run.observe(Event{Kind: Progress, Slice: e.attempt.Slice, Records: e.records, Usage: e.usage.Total()})
}

// next decides whether a slice that failed is tried again, and after which wait.
func (r *run) next(err error, attempt int, waited time.Duration) (again bool, wait time.Duration) {
	var store *sink.Error
	if errors.As(err, &store) {
		return store.Retryable() && attempt < attemptsStore, r.backoff(attempt)
	}
	var bad *record.Error
	if errors.As(err, &bad) {
		return false, 0 // the same record would come again
	}
	var stuck *Stuck
	if errors.As(err, &stuck) {
		return false, 0 // it took long enough
	}
	switch connector.KindOf(err) {
	case connector.KindRateLimited:
		wait := max(connector.RetryAfterOf(err), r.backoff(attempt))
		return waited+wait <= longestWait, wait
	case connector.KindUnavailable, connector.KindUnknown, connector.KindBadResponse:
		return attempt < attemptsVendor, r.backoff(attempt)
	case connector.KindConfig, connector.KindAuth, connector.KindForbidden:
		return false, 0
	}
	return false, 0
}

// stopsRun reports whether an error of one slice makes reading the others
// pointless: the source is not configured right, or the sink is at fault.
func stopsRun(err error) bool {
	var store *sink.Error
	if errors.As(err, &store) {
		return store.Fault != sink.FaultSchema
	}
	if isBadCursor(err) {
		return false
	}
	switch connector.KindOf(err) {
	case connector.KindConfig, connector.KindAuth:
		return true
	default:
		return false
	}
}

// backoff returns the wait after the given attempt: exponential with full jitter.
func (r *run) backoff(attempt int) time.Duration {
	first := cmp.Or(r.Backoff, DefaultBackoff)
	return rand.N(min(first<<(attempt-1), growthOfBackoff*first))
}
