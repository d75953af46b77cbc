package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
)

// hangingStore is a store that does not answer: it waits until its context ends.
type hangingStore struct{ sink.Schedules }

func (hangingStore) Now(ctx context.Context) (time.Time, error) {
	<-ctx.Done()
	return time.Time{}, ctx.Err()
}

// A scheduler that stands still is told after two minutes, and not before.
func TestHealthTellsASchedulerThatStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{scheduler: scheduler.New(hangingStore{}, scheduler.NewLocal(), slog.New(slog.DiscardHandler), "agent")}
		s.shift.Store(&shift{drain: make(chan struct{})})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.scheduler.Run(ctx, nil) }()
		started := time.Now()
		time.Sleep(stillAfter - time.Second)
		if c := s.health(started); c.Status != "ok" {
			t.Errorf("before: %+v", c)
		}
		time.Sleep(2 * time.Second)
		if c := s.health(started); c.Status != "unavailable" || !strings.Contains(c.Reason, "stands still since 2m1s") {
			t.Errorf("after: %+v", c)
		}
		close(s.shift.Load().drain)
		if c := s.health(started); c.Status != "ok" {
			t.Errorf("while what is being read ends: %+v", c)
		}
		cancel()
		<-ended
	})
}
