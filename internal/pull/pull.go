// Package pull performs one run: it plans what is due of one source, reads those
// slices through the source, and lands them in a sink. It owns the order of
// commits, and the rules by which a failure stays where it happened.
package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/lineage"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// A Session is an opened source together with the process that serves it.
type Session struct {
	Source connector.Source
	// Alive reports whether the process still runs. When a slice fails and the
	// process is gone, the next attempt opens a new session.
	Alive func() bool
	Close func() error
}

// A Job says what one run reads.
type Job struct {
	Source    string
	Budget    string // see sink.Claim
	Connector string
	Trigger   string // what caused the run: pull, backfill, demo
	// Backfill is the backfill that the run is part of; 0 for a pull. A pull waits
	// for a backfill to give way, and never the other way round.
	Backfill int64
	// Open starts a session. It may be called again when a session's process has
	// died.
	Open func(ctx context.Context) (*Session, error)
	// Select chooses the wanted streams among those that the source offers.
	Select func([]connector.Stream) ([]ledger.Want, error)
	// Plan says which slices of a stream are due; ledger.Plan if nil.
	Plan func(ledger.Want, []ledger.Entry, time.Time) []ledger.Due
	// Gate is asked before each slice begins; may be nil. Its error ends the run
	// once the slices under way have ended.
	Gate func(context.Context) error
	// AsOf is the moment the run is planned for.
	AsOf time.Time
	// Nominal is the tick that the run is for; zero for none.
	Nominal time.Time
	// Drain, once closed, lets the run end early: no slice is begun, those that are
	// being read go on to their next checkpoint or their end. May be nil.
	Drain <-chan struct{}
	// Begin is asked when the source is held, whether there still is something to
	// do; End is told the result before the source is let go. Both may be nil.
	Begin func(context.Context) (bool, error)
	End   func(context.Context, Result) error
	// AcceptVanished lets all rows vanish that the vendor no longer reports.
	AcceptVanished bool
	// FromBeginning ignores committed cursors: what they lead on from is read
	// again. Nothing that is held is lost by that.
	FromBeginning bool
}

// A Puller runs jobs. Its fields are set before the first Run.
type Puller struct {
	Sink sink.Sink
	Log  *slog.Logger
	// Slices is how many slices of one source are read at the same time. If zero,
	// the run begins with DefaultSlices and goes up to MostSlices while they do not
	// wait for the source's own limits, which hold beside it.
	Slices int
	// Backoff is the longest wait before a failed slice is tried the second time;
	// DefaultBackoff if zero. It doubles with each attempt, up to thirtyfold.
	Backoff time.Duration
	// StuckAfter is how long reading a slice may make no progress, and the source may
	// take for any other answer, before it is given up; DefaultStuckAfter if zero.
	StuckAfter time.Duration
	// Observe is told what happens, from several goroutines; may be nil.
	Observe func(Event)
	// Metrics measures runs; may be nil.
	Metrics *metrics.Metrics
	// Lineage tells where rows come from; may be nil.
	Lineage *lineage.Teller
}

// DefaultBackoff leaves a vendor time to recover from what most often is over
// within seconds.
const DefaultBackoff = time.Second

// DefaultSlices is how many slices of one source a run begins with.
const DefaultSlices = 4

// Run performs the job and records it. It returns what happened also beside an
// error; the error is that of the run as a whole: what failed a slice or a stream
// alone is in the result. A cancelled ctx ends the run as interrupted, with
// everything committed that had been.
func (p *Puller) Run(ctx context.Context, job Job) (Result, error) {
	return p.perform(ctx, job, (*run).execute)
}

// perform does the work of a run under the source's lock, and records it.
func (p *Puller) perform(ctx context.Context, job Job, work func(*run, context.Context) error) (Result, error) {
	res := Result{Name: job.Source, Connector: job.Connector}
	asked := time.Now()
	held, release, err := p.lock(ctx, job)
	if err != nil {
		res.fail(ctx, err)
		return res, err
	}
	defer release()
	if job.Begin != nil {
		if open, err := job.Begin(held); err != nil || !open {
			if err != nil {
				res.fail(ctx, err)
			}
			return res, err
		}
	}
	// Begun when the source is held, the span is not one of each try to hold it.
	held, span := startRun(held, job, asked)
	ctx = trace.ContextWithSpan(ctx, span)
	defer func() { span.end(res) }()
	if time.Since(asked) >= waitPause { // lock waited for a backfill
		tracing.Waited(ctx, asked, tracing.WaitSource)
	}
	span.linkLost(ctx, p.Sink, job.Source)
	startedAt := time.Now().Truncate(time.Microsecond) // as stores keep it
	id, err := p.Sink.StartRun(ctx, sink.Run{
		Source: job.Source, Connector: job.Connector, Trigger: job.Trigger, StartedAt: startedAt,
		TraceID: span.traceID(), SpanID: span.spanID(), Backfill: job.Backfill,
	})
	if err != nil {
		res.fail(ctx, err)
		return res, err
	}
	res.Run = id
	span.SetAttributes(tracing.Run.Int64(id))
	r := &run{Puller: p, job: job, id: id, span: span, log: p.Log.With("run", id, "source", job.Source)}
	r.log.InfoContext(ctx, "run started", "trigger", job.Trigger)
	started := time.Now()
	r.beginLineage(held, startedAt)
	err = work(r, held)
	r.close()
	r.tellDrift(ctx)
	if err != nil && ctx.Err() == nil && held.Err() != nil {
		err = context.Cause(held) // I3: the source is no longer ours, or a person cancelled the run
	}
	r.fill(ctx, &res, err)
	p.Metrics.Spent(ctx, job.Source, "", r.usage.Total())
	p.Metrics.Ran(ctx, job.Source, res.Status, time.Since(started))

	// I4: the outcome is recorded also when the run was cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if endErr := p.Sink.FinishRun(ctx, id, res.end(time.Now())); endErr != nil {
		r.log.ErrorContext(ctx, "outcome of the run not recorded", "error", endErr)
		if err == nil {
			err = endErr
			res.fail(ctx, err)
		}
	}
	r.endLineage(ctx, res)
	if job.End != nil {
		if endErr := job.End(ctx, res); err == nil {
			err = endErr
		}
	}
	r.log.InfoContext(ctx, "run ended", "outcome", res.Status, "rows", res.Counts.Rows,
		"requests", res.Usage.Requests, "seconds", time.Since(started).Seconds())
	return res, err
}

// run is the state of one Run.
type run struct {
	*Puller
	job Job
	id  int64
	log *slog.Logger

	mu      sync.Mutex
	session *Session
	streams []*streamState
	lanes   *lanes

	usage connector.UsageRecorder // what the source cost beside its slices
	clock sink.Clock              // of all slices
	span  runSpan
	spans atomic.Int64 // slices that were traced
	told  lineage.Run
}

// streamState is what has happened to one stream so far.
type streamState struct {
	want ledger.Want

	mu     sync.Mutex
	result StreamResult
	closed map[string]error // partitions that take no more slices, with the reason
	first  time.Time        // of the first slice's start
	aside  int64            // records that slices of the run set aside, or are about to
	extra  map[string]int64 // fields that are not declared, quoted, with their number in a sample
	// declared is what the next commit records the stream as; nil if that is recorded.
	declared *ledger.Declaration
}

func (r *run) execute(ctx context.Context) error {
	tasks, err := r.plan(ctx)
	if err != nil {
		return err
	}
	r.beginStreams(ctx)
	src, err := r.source(connector.WithUsage(ctx, &r.usage))
	if err != nil {
		return err
	}
	limits, err := ask(ctx, r, "ask for the limits", func(ctx context.Context) (connector.Limits, error) { return Limits(ctx, src) })
	if err != nil {
		return err
	}
	r.lanes = newLanes(r.Slices, limits)
	return r.readAll(ctx, tasks)
}

// plan opens the source, makes the tables of its streams ready and returns the
// slices that are due.
func (r *run) plan(ctx context.Context) (due []task, err error) {
	ctx, span := tracing.Start(ctx, "plan")
	defer func() {
		span.SetAttributes(tracing.Slices.Int(len(due)))
		tracing.End(span, err)
	}()
	opening := connector.WithUsage(ctx, &r.usage)
	src, offered, err := r.open(opening)
	if err != nil {
		return nil, err
	}
	wants, err := r.job.Select(offered)
	if err != nil {
		return nil, err
	}
	entries, err := r.Sink.Entries(ctx, r.job.Source)
	if err != nil {
		return nil, err
	}
	declared, err := r.Sink.Declarations(ctx, r.job.Source)
	if err != nil {
		return nil, err
	}
	known := ledger.ByStream(entries)
	for _, want := range wants {
		state := &streamState{want: want, closed: map[string]error{}}
		state.result.Name = want.Stream.Name
		r.streams = append(r.streams, state)
		err := r.compare(ctx, state, declared, known[want.Stream.Name])
		var slices []ledger.Due
		if err == nil {
			slices, err = r.prepare(opening, src, state, known[want.Stream.Name])
		}
		if err != nil {
			if ctx.Err() != nil || stopsRun(err) {
				return nil, err
			}
			state.fail("", fmt.Errorf("%s/%s: %w", r.job.Source, want.Stream.Name, err))
			continue
		}
		state.result.Due = len(slices)
		r.observe(Event{Kind: Planned, Slice: ledger.Slice{Source: r.job.Source, Stream: want.Stream.Name}, Slices: len(slices)})
		for _, d := range slices {
			due = append(due, task{state, d})
		}
	}
	return due, nil
}

// open returns the source and the streams that it offers.
func (r *run) open(ctx context.Context) (connector.Source, []connector.Stream, error) {
	src, err := r.source(ctx)
	if err != nil {
		return nil, nil, err
	}
	offered, err := ask(ctx, r, "ask for the streams", src.Streams)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range offered {
		if err := s.Validate(); err != nil {
			return nil, nil, &connector.Error{
				Kind: connector.KindConfig, Op: "connector " + r.job.Connector, Err: err,
				Hint: "this is a defect of the connector: tell its author",
			}
		}
	}
	return src, offered, nil
}

// prepare makes the stream's table ready and plans its slices.
func (r *run) prepare(ctx context.Context, src connector.Source, state *streamState, entries []ledger.Entry) ([]ledger.Due, error) {
	fitted, err := r.Sink.PrepareSplit(ctx, r.job.Source, state.want.Stream, state.want.Schema, state.want.Split)
	if err != nil {
		return nil, err
	}
	state.want.Stream = fitted
	partitions, err := ask(ctx, r, "ask for the partitions", func(ctx context.Context) ([]string, error) {
		return Partitions(ctx, src, state.want.Stream.Name)
	})
	if err != nil {
		return nil, err
	}
	state.want.Partitions = partitions
	plan := r.job.Plan
	if plan == nil {
		plan = ledger.Plan
	}
	due := plan(state.want, entries, r.job.AsOf)
	if r.job.FromBeginning {
		for i := range due {
			due[i].Cursor = nil
		}
	}
	return due, nil
}

// Limits returns the limits that a source keeps its requests to; none where it
// does not tell.
func Limits(ctx context.Context, src connector.Source) (connector.Limits, error) {
	l, ok := src.(connector.Limiter)
	if !ok {
		return connector.Limits{}, nil
	}
	limits, err := l.Limits(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return connector.Limits{}, nil
	}
	return limits, err
}

// Partitions returns the partitions of a stream; none for a source that has no
// partitions.
func Partitions(ctx context.Context, src connector.Source, stream string) ([]string, error) {
	p, ok := src.(connector.Partitioner)
	if !ok {
		return nil, nil
	}
	names, err := p.Partitions(ctx, stream)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return names, err
}

// A task is a due slice and the stream it belongs to.
type task struct {
	stream *streamState
	due    ledger.Due
}

// readAll reads the tasks, some at a time, in their order. It returns an error
// only for what stops the whole run.
func (r *run) readAll(ctx context.Context, tasks []task) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	group := &errgroup.Group{}
	var stop error
	for _, t := range tasks {
		if r.lanes.enter(inner) != nil {
			break
		}
		if stop = r.gate(inner); stop != nil || r.draining() {
			r.lanes.leave()
			break
		}
		group.Go(func() error {
			defer r.lanes.leave()
			err := r.readSlice(inner, t)
			if err != nil {
				cancel() // before the lane is free: the next slice would fail alike
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // cancelled before the last task was handed out
	}
	return stop
}

// source returns the session's source, opening a session if there is none whose
// process lives.
func (r *run) source(ctx context.Context) (connector.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil {
		if r.session.Alive() {
			return r.session.Source, nil
		}
		r.closeSession()
		r.Metrics.Restarted(ctx, r.job.Source, r.job.Connector)
	}
	session, err := ask(withRun(ctx, r.id), r, "open the source", r.job.Open)
	if err != nil {
		return nil, err
	}
	r.session = session
	return session.Source, nil
}

func (r *run) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeSession()
}

func (r *run) closeSession() {
	if r.session == nil {
		return
	}
	if err := r.session.Close(); err != nil {
		r.log.Warn("connector did not end well", "error", err)
	}
	r.session = nil
}

func (r *run) observe(e Event) {
	if r.Observe != nil {
		r.Observe(e)
	}
}
