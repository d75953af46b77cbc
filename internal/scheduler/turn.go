package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
)

// turn decides all that is due.
func (s *Scheduler) turn(ctx context.Context, entries []*entry) error {
	if time.Since(s.clock.looked()) >= s.lookEvery {
		if err := s.clock.look(ctx); err != nil {
			return err
		}
	}
	all := batches(entries, s.clock.now())
	failed := make([]error, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deciders)
	for i, batch := range all {
		group.Go(func() error {
			err := s.decide(ctx, batch)
			if away(err) {
				return err // the other batches need not be tried
			}
			failed[i] = err
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// away reports whether the store was only out of reach.
func away(err error) bool {
	var store *sink.Error
	return errors.As(err, &store) && store.Retryable()
}

// batches are the schedules that are due, cut into what is decided in one
// transaction. A schedule of which many ticks may be due has its own.
func batches(entries []*entry, now time.Time) (all [][]*entry) {
	var due []*entry
	for _, e := range entries {
		switch {
		case e.due.IsZero() || e.due.After(now):
		case e.several(now):
			all = append(all, []*entry{e})
		default:
			due = append(due, e)
		}
	}
	if len(due) == 0 {
		return all
	}
	// Agents that wake at the same time share the work by beginning elsewhere.
	first := rand.IntN(len(due))
	due = append(slices.Clone(due[first:]), due[:first]...)
	return append(all, slices.Collect(slices.Chunk(due, together))...)
}

// several reports whether more than one tick is due.
func (e *entry) several(now time.Time) bool {
	second := e.Next(e.Next(e.from))
	return !second.IsZero() && !e.Schedule.due(second).After(now)
}

// decide decides the due ticks of some schedules. If they cannot be decided together
// though the store is well, each is tried alone: one does not delay the others (I6).
func (s *Scheduler) decide(ctx context.Context, batch []*entry) error {
	err := s.decideTogether(ctx, batch)
	if err == nil || len(batch) == 1 || ctx.Err() != nil || away(err) {
		return err
	}
	var failed []error
	for _, e := range batch {
		failed = append(failed, s.decideTogether(ctx, []*entry{e}))
	}
	return errors.Join(failed...)
}

// decideTogether decides the due ticks of some schedules in one transaction, and
// queues the work of those that are taken: in the same one if the queue can.
func (s *Scheduler) decideTogether(ctx context.Context, batch []*entry) error {
	var (
		now       time.Time
		through   = make([]time.Time, len(batch))
		schedules = make([]sink.Undecided, len(batch))
		entries   = map[sink.Schedule]*entry{}
		traces    = traces{}
	)
	for i, e := range batch {
		entries[sink.Schedule{Source: e.Source, Name: e.Name}] = e
		schedules[i] = sink.Undecided{Source: e.Source, Schedule: e.Name, From: e.from, Decide: func(state sink.TickState) (ticks []sink.Tick) {
			now = state.Now
			ticks, through[i] = e.Schedule.decide(e.from, state, s.Agent)
			return ticks
		}}
	}
	job := func(ctx context.Context, t sink.Tick) Job {
		return entries[sink.Schedule{Source: t.Source, Name: t.Schedule}].job(t.Tick).Traced(traces.of(ctx, t))
	}
	var (
		decided []sink.Tick
		err     error
	)
	shared, queued := s.Queue.(TickQueue)
	if queued {
		decided, err = shared.DecideTicks(ctx, schedules, job)
	} else {
		decided, err = s.Store.DecideTicks(ctx, schedules)
	}
	if err != nil {
		return err
	}
	s.clock.set(now)
	for _, t := range decided {
		ctx := traces.of(ctx, t)
		s.tell(ctx, t)
		var failed error
		if !queued && t.Decision == sink.Taken {
			// Whatever goes wrong here, the tick is open, and reconcile finds it.
			failed = s.Queue.Enqueue(ctx, job(ctx, t))
		}
		tracing.End(trace.SpanFromContext(ctx), failed)
		err = errors.Join(err, failed)
	}
	for i, e := range batch {
		e.advance(through[i])
	}
	return err
}

// tell logs, counts and shows a tick that this agent decided.
func (s *Scheduler) tell(ctx context.Context, t sink.Tick) {
	late := t.DecidedAt.Sub(t.DueAt)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Lateness = late
	s.stats.MaxLateness = max(s.stats.MaxLateness, late)
	if t.Decision == sink.Taken {
		s.stats.Taken++
	} else {
		s.stats.Skipped++
	}
	s.Log.InfoContext(ctx, "tick "+string(t.Decision), "source", t.Source, "schedule", t.Schedule, "tick", moment(t.Tick),
		"late", late.Round(time.Millisecond).String(), "reason", t.Reason)
	if s.Observe != nil {
		s.Observe(t)
	}
}
