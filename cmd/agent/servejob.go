package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/backfill"
	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/pkg/connector"
)

// pull does a job by the configuration that is in force now. It returns an error if
// the job has to be done again.
func (s *server) pull(ctx context.Context, t scheduler.Task) error {
	cfg := s.config.Load()
	src, err := cfg.Source(t.Source)
	if err != nil {
		if _, shared := s.store.(*postgres.Sink); !shared {
			s.tell("job dropped", err, "%s", t.Source)
			return nil
		}
		// On a shared queue another agent may know the source.
		s.tell("job put back", err, "%s", t.Source)
		return err
	}
	puller := &pull.Puller{Sink: s.store, Log: s.app.logFor("pull"), StuckAfter: cfg.Serve.StuckAfter, Metrics: s.app.observed.metrics}
	if t.Trigger == scheduler.TriggerBackfill {
		return s.backfill(ctx, cfg, src, puller, t)
	}
	launcher := s.app.launcher(cfg)
	asOf := s.scheduler.Now()
	res, err := puller.Run(ctx, pull.Job{
		Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, Trigger: string(t.Trigger), AsOf: asOf, Drain: s.drain,
		Open: func(ctx context.Context) (*pull.Session, error) { return s.app.openSource(ctx, launcher, src) },
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			s.streams.learn(src.Name, offered)
			return wantsOf(src, offered, t.Job, asOf)
		},
		Begin: t.Open,
		End: func(ctx context.Context, res pull.Result) error {
			if interrupted(res) {
				return nil
			}
			return t.Done(ctx, res.Run)
		},
	})
	var busy *sink.Busy
	if errors.As(err, &busy) {
		return err
	}
	if res.Run != 0 || err != nil {
		s.streams.changed.Store(true)
		s.tellRun(res)
		if t := s.app.teller(cfg, s.store); t != nil {
			t.Ran(ctx, res)
		}
	}
	switch {
	case interrupted(res):
		return scheduler.ErrInterrupted
	case err != nil && (res.Run == 0 || lostSource(err)):
		return err
	}
	return nil
}

// backfill goes on with the backfill of a task, unless a person has ended or paused
// it.
func (s *server) backfill(ctx context.Context, cfg *config.Config, src *config.Source, puller *pull.Puller, t scheduler.Task) error {
	known, err := s.store.Backfills(ctx, src.Name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(known, func(b sink.Backfill) bool { return b.Name == t.Backfill && b.State == sink.BackfillRunning })
	if i < 0 {
		return nil
	}
	launcher := s.app.launcher(cfg)
	runner := &backfill.Runner{Sink: s.store, Log: s.app.logFor("backfill"), Puller: puller}
	res, err := runner.Run(ctx, known[i], pull.Job{
		Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, AsOf: s.scheduler.Now(), Drain: s.drain,
		Open:   func(ctx context.Context) (*pull.Session, error) { return s.app.openSource(ctx, launcher, src) },
		Select: func(offered []connector.Stream) ([]ledger.Want, error) { return wants(src, offered) },
		Begin:  t.Open,
	})
	res.Name, res.Connector = src.Name, src.Connector
	if res.Run != 0 {
		s.tellRun(res)
	}
	switch {
	case errors.Is(err, backfill.ErrPaused), errors.Is(err, backfill.ErrCancelled):
		return nil
	case ctx.Err() != nil, interrupted(res):
		return scheduler.ErrInterrupted
	case err != nil && (res.Run == 0 || lostSource(err)):
		return err
	}
	return nil
}

// interrupted reports whether the shutdown, and not a person, ended the run.
func interrupted(res pull.Result) bool {
	return res.Status == sink.Interrupted && !errors.Is(res.Err, sink.ErrCancelled)
}

// lostSource reports whether another agent may have taken the source over.
func lostSource(err error) bool {
	var store *sink.Error
	return errors.As(err, &store) && store.Fault == sink.FaultFenced
}

// wantsOf says which streams a job reads. The source's own schedule leaves out the
// streams that have their own; the deep one reads those that have a deep lookback,
// and all of it that was not read since its tick.
func wantsOf(src *config.Source, offered []connector.Stream, job scheduler.Job, asOf time.Time) ([]ledger.Want, error) {
	all, err := wants(src, offered)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, one := range src.Schedules() {
		for _, name := range one.Streams {
			own[name] = true
		}
	}
	var chosen []ledger.Want
	for _, w := range all {
		switch {
		case job.Deep:
			if w.Stream.Mode != connector.ModeWindow || !w.Stream.DeepLookback.Positive() {
				continue
			}
			w.Stream.DeepEvery = connector.Span{Clock: max(asOf.Sub(job.Tick), 1)}
		case !src.DeepSchedule.IsZero():
			w.Stream.DeepEvery = connector.Span{}
		}
		if job.Schedule == config.OwnSchedule && own[w.Stream.Name] {
			continue
		}
		chosen = append(chosen, w)
	}
	if job.Deep && len(chosen) == 0 {
		return nil, &connector.Error{
			Kind: connector.KindConfig, Op: "deep_schedule of " + src.Name,
			Err: errors.New("no stream has a deep lookback"), Hint: "give one by streams.NAME.deep_lookback, or remove deep_schedule",
		}
	}
	return only(chosen, src.Name, job.Streams)
}
