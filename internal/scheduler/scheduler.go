package scheduler

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// How the loop is timed.
const (
	// lookEvery is how long the clock goes without a look at the store's.
	lookEvery = 30 * time.Second
	// reconcileEvery is how often open ticks without a job are looked for, beside at
	// the start: a queue in memory loses its jobs, and a person may cancel them.
	reconcileEvery = 2 * time.Minute
	// mostReconciled is how many open ticks, the oldest, are looked at then. What is
	// newer would wait behind them anyway.
	mostReconciled = 500
	// retryFirst and retryMost bound the pause after the store could not be reached.
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
	// deciders is how many batches of schedules are decided at the same time.
	deciders = 3
	// together is how many schedules are decided in one transaction.
	together = 100
	// abandonAfter is for how long an open tick waits for an agent that has its
	// schedule in its configuration.
	abandonAfter = 24 * time.Hour
	// endTimeout bounds recording the end of a tick.
	endTimeout = time.Minute
)

// A Scheduler decides the ticks of schedules and queues what is to be done. Its
// fields are set before Run.
type Scheduler struct {
	Store sink.Schedules
	Queue Queue
	Log   *slog.Logger
	// Agent is what the decisions are signed with.
	Agent string
	// Observe is told each tick that this agent decided, by one goroutine at a time;
	// may be nil.
	Observe func(sink.Tick)

	clock          clock
	lookEvery      time.Duration
	reconcileEvery time.Duration
	replaced       chan []Schedule

	mu    sync.Mutex
	stats Stats
	tried time.Time
}

// Stats is what a scheduler has done and is about to do.
type Stats struct {
	// Schedules is how many are in force.
	Schedules int
	// Turned is when the loop last came round, and Heard when the store last
	// answered, by the machine's clock.
	Turned, Heard time.Time
	// Next is when the next tick is due, by the store's clock; zero if none is.
	Next time.Time
	// Lateness is how long after it was due the last tick was decided, MaxLateness
	// the longest so far.
	Lateness, MaxLateness time.Duration
	// Taken and Skipped count the ticks that this agent decided.
	Taken, Skipped int64
}

// New returns a scheduler for the schedules.
func New(store sink.Schedules, queue Queue, log *slog.Logger, agent string) *Scheduler {
	return &Scheduler{
		Store: store, Queue: queue, Log: log, Agent: agent,
		clock: clock{store: store}, lookEvery: lookEvery, reconcileEvery: reconcileEvery, replaced: make(chan []Schedule),
	}
}

// Stats returns the numbers as of now.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Heard = s.clock.looked()
	return stats
}

// Tried is when the loop last began to come round, whether or not the store let it.
func (s *Scheduler) Tried() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

// Now returns the store's time, as far as this agent knows it.
func (s *Scheduler) Now() time.Time { return s.clock.now() }

// Replace puts other schedules in the place of those in force. It returns when they
// are registered, or when ctx ends; before Run it waits for it.
func (s *Scheduler) Replace(ctx context.Context, schedules []Schedule) error {
	select {
	case s.replaced <- schedules:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An entry is a schedule and how far it is decided.
type entry struct {
	*Schedule
	from time.Time // ticks up to here are decided
	due  time.Time // when the next tick is due; zero if there is none
}

func (e *entry) advance(through time.Time) {
	e.from = through
	e.due = time.Time{}
	if next := e.Next(through); !next.IsZero() {
		e.due = e.Schedule.due(next)
	}
}

// Run decides ticks until ctx ends, and returns nil then. While the store cannot be
// reached it goes on trying: what is due meanwhile is decided late.
func (s *Scheduler) Run(ctx context.Context, schedules []Schedule) error {
	entries, err := s.register(ctx, schedules)
	if err != nil {
		return err
	}
	var (
		reconciled time.Time
		pause      time.Duration
		wake       = time.NewTimer(0)
	)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case schedules := <-s.replaced:
			if entries, err = s.register(ctx, schedules); err != nil {
				return err
			}
		case <-wake.C:
		}
		s.try()
		err := s.turn(ctx, entries)
		if err == nil && time.Since(reconciled) >= s.reconcileEvery {
			if err = s.reconcile(ctx, entries, reconciled.IsZero()); err == nil {
				reconciled = time.Now()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if pause == 0 {
				s.Log.ErrorContext(ctx, "ticks cannot be decided; trying again", "error", err)
			}
			pause = min(max(2*pause, retryFirst), retryMost)
			wake.Reset(pause/2 + rand.N(pause/2))
			continue
		}
		if pause > 0 {
			s.Log.InfoContext(ctx, "ticks are decided again")
			pause = 0
		}
		wake.Reset(s.sleep(entries))
	}
}

func (s *Scheduler) try() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = time.Now()
}

// sleep is how long nothing is to be done.
func (s *Scheduler) sleep(entries []*entry) time.Duration {
	next := time.Time{}
	for _, e := range entries {
		if !e.due.IsZero() && (next.IsZero() || e.due.Before(next)) {
			next = e.due
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Next, s.stats.Turned = next, time.Now()
	pause := s.lookEvery
	if !next.IsZero() {
		pause = min(pause, next.Sub(s.clock.now()))
	}
	return max(pause, 0)
}

// register records the schedules and finds how far each is decided. It tries until
// ctx ends.
func (s *Scheduler) register(ctx context.Context, schedules []Schedule) ([]*entry, error) {
	names := make([]sink.Schedule, len(schedules))
	for i, one := range schedules {
		names[i] = one.Schedule
	}
	var since []time.Time
	err := s.insist(ctx, "schedules cannot be registered", func() (err error) {
		if err = s.clock.look(ctx); err == nil {
			since, err = s.Store.RegisterSchedules(ctx, names)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	entries := make([]*entry, len(schedules))
	for i := range schedules {
		entries[i] = &entry{Schedule: &schedules[i]}
		entries[i].advance(since[i])
	}
	s.mu.Lock()
	s.stats.Schedules = len(entries)
	s.mu.Unlock()
	return entries, nil
}

// insist does something until it succeeds or ctx ends, as long as the store is only
// out of reach.
func (s *Scheduler) insist(ctx context.Context, what string, do func() error) error {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		s.try()
		err := do()
		if err == nil || ctx.Err() != nil || !away(err) {
			return err
		}
		s.Log.WarnContext(ctx, what+"; trying again", "error", err, "pause", pause.String())
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// reconcile queues the open ticks again that have no job: those of agents that
// died, and of this one before it was started again. The queue knows those that
// have one.
func (s *Scheduler) reconcile(ctx context.Context, entries []*entry, all bool) error {
	open, err := s.Store.OpenTicks(ctx)
	if err != nil {
		return err
	}
	if len(open) > mostReconciled && !all {
		open = open[:mostReconciled]
	}
	if len(open) == 0 {
		return nil
	}
	type name struct{ source, schedule string }
	known := make(map[name]*entry, len(entries))
	for _, e := range entries {
		known[name{e.Source, e.Name}] = e
	}
	var jobs []Job
	for _, t := range open {
		e := known[name{t.Source, t.Schedule}]
		switch {
		case e != nil:
			jobs = append(jobs, e.job(t.Tick))
		case s.clock.now().Sub(t.DecidedAt) > abandonAfter:
			s.Log.WarnContext(ctx, "tick given up: its schedule is in no configuration any more", "source", t.Source, "schedule", t.Schedule, "tick", moment(t.Tick))
			if err := s.Store.FinishTick(ctx, t.Source, t.Schedule, t.Tick, 0); err != nil {
				return err
			}
		}
	}
	return s.Queue.Enqueue(ctx, jobs...)
}
