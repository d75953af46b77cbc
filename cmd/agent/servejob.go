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

// orphanedAfter is for how long a job waits for an agent that knows its source.
const orphanedAfter = time.Hour

// pull does a job by the configuration that is in force now. It returns an error if
// the job has to be done again.
func (s *server) pull(ctx context.Context, t scheduler.Task) error {
	cfg := s.config.Load()
	puller := &pull.Puller{Sink: s.store, Log: s.app.logFor("pull"), StuckAfter: cfg.Serve.StuckAfter, Metrics: s.app.observed.metrics, Lineage: s.app.observed.lineage}
	src, err := cfg.Source(t.Source)
	if err != nil {
		return s.unknown(ctx, cfg, puller, t, err)
	}
	if t.Trigger == scheduler.TriggerBackfill {
		return s.backfill(ctx, cfg, src, puller, t)
	}
	launcher := s.app.launcher(cfg)
	asOf := s.scheduler.Now()
	res, err := puller.Run(ctx, pull.Job{
		Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, Trigger: string(t.Trigger), AsOf: asOf, Nominal: t.Tick, Drain: s.shift.Load().drain,
		Open: func(ctx context.Context) (*pull.Session, error) { return s.app.openSource(ctx, launcher, src) },
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			s.streams.learn(src.Name, offered)
			return wantsOf(src, offered, t.Job, asOf)
		},
		Begin: t.Open,
		End:   endOf(t),
	})
	return s.ended(ctx, cfg, t.Source, res, err)
}

// endOf records the end of the task with the run, unless a shutdown ended that, or
// it is for who took the source over to record.
func endOf(t scheduler.Task) func(context.Context, pull.Result) error {
	return func(ctx context.Context, res pull.Result) error {
		if interrupted(res) || lostSource(res.Err) {
			return nil
		}
		return t.Done(ctx, res.Run)
	}
}

// ended tells how a run of a source has ended. It returns an error if the job has to
// be done again.
func (s *server) ended(ctx context.Context, cfg *config.Config, source string, res pull.Result, err error) error {
	var busy *sink.Busy
	if errors.As(err, &busy) {
		return err
	}
	if res.Run != 0 || err != nil {
		s.streams.changed.Store(true)
		s.tellRun(res)
		if t := s.app.teller(cfg, s.store); t != nil {
			t.Ran(ctx, res)
			s.app.alertStale(ctx, cfg, s.store, source)
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

// unknown does a job of a source that this agent does not know. Another agent may, so
// on a shared queue it is put back at first. Then it ends with a run that says why.
func (s *server) unknown(ctx context.Context, cfg *config.Config, puller *pull.Puller, t scheduler.Task, why error) error {
	_, shared := s.store.(*postgres.Sink)
	if shared && s.scheduler.Now().Sub(t.Queued) < orphanedAfter {
		if _, told := s.putBack.LoadOrStore(t.Source, true); !told {
			s.tell("job put back", why, "%s", t.Source)
		}
		return why
	}
	res, err := puller.Run(ctx, pull.Job{
		Source: t.Source, Connector: "unknown", Trigger: string(t.Trigger), AsOf: s.scheduler.Now(),
		Open: func(context.Context) (*pull.Session, error) {
			return nil, &connector.Error{
				Kind: connector.KindConfig, Op: "pull " + t.Source, Err: errors.New("no agent has a source of this name in its configuration"),
				Hint: "add it again, to the configuration of all agents; what was queued for it is not done",
			}
		},
		Begin: t.Open,
		End:   endOf(t),
	})
	return s.ended(ctx, cfg, t.Source, res, err)
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
		Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, AsOf: s.scheduler.Now(), Drain: s.shift.Load().drain,
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
