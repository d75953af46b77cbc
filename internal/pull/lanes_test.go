package pull

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// finish lets so many slices end, one after the other.
func finish(l *lanes, n int, took, waited time.Duration) {
	for range n {
		l.ended(took, waited)
	}
}

func TestLanesOpenWhileNothingWaitsForLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fixed  int
		limits connector.Limits
		waited time.Duration // of each second
		open   int
	}{
		{"latency alone", 0, connector.Limits{}, 0, MostSlices},
		{"limited", 0, connector.Limits{}, 500 * time.Millisecond, DefaultSlices},
		{"few requests at once", 0, connector.Limits{Concurrency: 3}, 0, 6},
		{"one request at once", 0, connector.Limits{Concurrency: 1}, 0, DefaultSlices},
		{"each partition its own limits", 0, connector.Limits{Concurrency: 1, PerPartition: true}, 0, MostSlices},
		{"fixed", 3, connector.Limits{}, 0, 3},
	} {
		l := newLanes(c.fixed, c.limits)
		finish(l, 200, time.Second, c.waited)
		if l.open != c.open {
			t.Errorf("%s: %d lanes are open, want %d", c.name, l.open, c.open)
		}
	}
}

func TestLaneIsTakenWhenOneIsFreed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1, connector.Limits{})
		if err := l.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.enter(ctx); err == nil {
			t.Error("a second slice got the only lane")
		}
		entered := make(chan error)
		go func() { entered <- l.enter(t.Context()) }()
		synctest.Wait()
		l.leave()
		if err := <-entered; err != nil {
			t.Error(err)
		}
	})
}
