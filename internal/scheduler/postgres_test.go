package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// Three agents share a database that is killed and started again while ticks are
// due each second, and one of them dies. No tick is left out and none is done twice.
func TestAgentsOnOneDatabaseThatRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	address := server.Database(t)
	each := Schedule{
		Schedule: sink.Schedule{Source: "shop", Name: "schedule", Expression: "@every 1s"},
		Next:     func(at time.Time) time.Time { return at.Truncate(time.Second).Add(time.Second) },
		Overlap:  OverlapQueue, CatchUp: CatchUpAll,
	}
	var (
		mu      sync.Mutex
		done    = map[time.Time]int{}
		decided = map[time.Time]int{}
	)
	waitFor := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			enough := len(done) >= n
			mu.Unlock()
			if enough {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d ticks done, want %d; the server says:\n%s", len(done), n, server.Log())
			}
		}
	}
	start := func() (stop func()) {
		t.Helper()
		store, err := postgres.Open(t.Context(), address, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		queue := NewLocal()
		s := New(store, queue, slog.New(slog.DiscardHandler), "agent")
		s.reconcileEvery = 500 * time.Millisecond // each agent finds the ticks of all others
		s.Observe = func(tick sink.Tick) {
			mu.Lock()
			defer mu.Unlock()
			decided[tick.Tick.UTC()]++
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var ended sync.WaitGroup
		ended.Go(func() {
			if err := s.Run(ctx, []Schedule{each}); err != nil && ctx.Err() == nil {
				t.Error("scheduler:", err)
			}
		})
		ended.Go(func() {
			_ = queue.Work(ctx, nil, s.Runner(func(ctx context.Context, task Task) error {
				_, release, err := store.Lock(ctx, sink.Claim{Source: task.Source})
				if err != nil {
					return err
				}
				defer release()
				if open, err := task.Open(ctx); err != nil || !open {
					return err
				}
				if err := task.Done(ctx, 1); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				done[task.Tick]++
				return nil
			}))
		})
		return sync.OnceFunc(func() {
			cancel()
			ended.Wait()
			_ = store.Close()
		})
	}
	stops := []func(){start(), start(), start()}
	for _, stop := range stops {
		defer stop()
	}
	waitFor(2)
	stops[0]()
	server.Kill(t)
	server.Restart(t)
	waitFor(5)
	for _, stop := range stops {
		stop()
	}

	store, err := postgres.Open(t.Context(), address, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ticks, err := store.Ticks(t.Context(), "shop", 1000)
	if err != nil || len(ticks) < 5 {
		t.Fatalf("%d ticks, %v", len(ticks), err)
	}
	again := 0
	for i, one := range ticks {
		if one.Decision != sink.Taken || one.DecidedAt.Before(one.DueAt) {
			t.Errorf("%+v", one)
		}
		if i > 0 && ticks[i-1].Tick.Sub(one.Tick) != time.Second {
			t.Errorf("between %v and %v ticks are left out", one.Tick, ticks[i-1].Tick)
		}
		if decided[one.Tick] > 1 {
			t.Errorf("%v was decided %d times", one.Tick, decided[one.Tick])
		}
		again += max(done[one.Tick]-1, 0)
	}
	if again > 1 {
		t.Errorf("%d ticks were done again: %v", again, done)
	}
}
