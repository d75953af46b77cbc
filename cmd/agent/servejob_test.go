package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

func TestWhatAJobReads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.yaml")
	yaml := `
sources:
  shop:
    connector: kaisa
    schedule: "@daily"
    deep_schedule: "@weekly"
    streams: {customers: {}, calls: {schedule: "@hourly", deep_lookback: 90d}, visits: {}}
`
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Options{Path: path, Names: []string{"kaisa"}})
	if err != nil {
		t.Fatal(err)
	}
	src := cfg.Sources[0]
	window := func(name string) connector.Stream {
		return connector.Stream{Name: name, Mode: connector.ModeWindow, Slice: connector.Days(1), DeepEvery: connector.Days(30)}
	}
	offered := []connector.Stream{{Name: "customers", Mode: connector.ModeSnapshot}, window("calls"), window("visits")}
	tick := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	asOf := tick.Add(time.Hour)
	for _, c := range []struct {
		why  string
		job  scheduler.Job
		want map[string]connector.Span // the streams, with their intervals of deep re-reads
	}{
		{"its own schedule leaves out streams with theirs", scheduler.Job{Trigger: scheduler.TriggerTick, Schedule: "schedule"}, map[string]connector.Span{"customers": {}, "visits": {}}},
		{"a stream's schedule", scheduler.Job{Trigger: scheduler.TriggerTick, Schedule: "streams.calls.schedule", Streams: []string{"calls"}}, map[string]connector.Span{"calls": {}}},
		{"the deep one reads what was not read since its tick", scheduler.Job{Trigger: scheduler.TriggerTick, Schedule: "deep_schedule", Tick: tick, Deep: true}, map[string]connector.Span{"calls": {Clock: time.Hour}}},
		{"by hand all are read", scheduler.Job{Trigger: scheduler.TriggerPull}, map[string]connector.Span{"customers": {}, "calls": {}, "visits": {}}},
	} {
		wants, err := wantsOf(src, offered, c.job, asOf)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		got := map[string]connector.Span{}
		for _, w := range wants {
			got[w.Stream.Name] = w.Stream.DeepEvery
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, diff)
		}
	}

	none := filepath.Join(t.TempDir(), "winch.yaml")
	if err := os.WriteFile(none, []byte("sources: {shop: {connector: kaisa, deep_schedule: \"@weekly\"}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err = config.Load(config.Options{Path: none, Names: []string{"kaisa"}}); err != nil {
		t.Fatal(err)
	}
	_, err = wantsOf(cfg.Sources[0], offered, scheduler.Job{Trigger: scheduler.TriggerTick, Schedule: "deep_schedule", Tick: tick, Deep: true}, asOf)
	if connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) == "" {
		t.Errorf("no stream to read deeply: %v", err)
	}
}

// An agent that wakes up late, fenced off, does not end the tick that another goes on with.
func TestTickOfASourceThatWasTakenOverStaysOpen(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "winch.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Truncate(time.Second)
	_, err = store.DecideTicks(t.Context(), []sink.Undecided{{Source: "shop", Schedule: "schedule", From: at.Add(-time.Second), Decide: func(sink.TickState) []sink.Tick {
		return []sink.Tick{{Source: "shop", Schedule: "schedule", Tick: at, DueAt: at, Decision: sink.Taken, Reason: "on time", Agent: "one"}}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := scheduler.New(store, nil, slog.New(slog.DiscardHandler), "one")
	job := scheduler.Job{Source: "shop", Trigger: scheduler.TriggerTick, Schedule: "schedule", Tick: at}
	for _, c := range []struct {
		failed error
		open   bool
	}{
		{&sink.Error{Fault: sink.FaultFenced, Err: errors.New("another may have taken the source over")}, true},
		{&sink.Error{Fault: sink.FaultOther, Err: errors.New("no")}, false},
	} {
		again := errors.New("again")
		err := s.Runner(func(ctx context.Context, task scheduler.Task) error {
			return errors.Join(again, endOf(task)(ctx, pull.Result{Status: sink.FailedRun, Err: c.failed}))
		})(t.Context(), job)
		if !errors.Is(err, again) {
			t.Errorf("%v: %v", c.failed, err)
		}
		if open, err := store.TickOpen(t.Context(), "shop", "schedule", at); err != nil || open != c.open {
			t.Errorf("%v: the tick is open: %v, error %v", c.failed, open, err)
		}
	}
}
