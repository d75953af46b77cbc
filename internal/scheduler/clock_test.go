package scheduler

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// elsewhere is a store whose clock differs from that of the agent's machine.
type elsewhere struct {
	sink.Schedules
	by time.Duration
}

func (e elsewhere) Now(ctx context.Context) (time.Time, error) {
	now, err := e.Schedules.Now(ctx)
	return now.Add(e.by), err
}

func (e elsewhere) DecideTicks(ctx context.Context, schedules []sink.Undecided) ([]sink.Tick, error) {
	for i, one := range schedules {
		schedules[i].Decide = func(state sink.TickState) []sink.Tick {
			state.Now = state.Now.Add(e.by)
			return one.Decide(state)
		}
	}
	ticks, err := e.Schedules.DecideTicks(ctx, schedules)
	for i := range ticks {
		ticks[i].DecidedAt = ticks[i].DecidedAt.Add(e.by)
	}
	return ticks, err
}

// The clock of the store decides, whatever the machine believes.
func TestTicksComeByTheStoresClock(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-7 * time.Minute, 0, 7*time.Minute + 300*time.Millisecond} {
		hourly := schedule(t, "0 * * * *", "UTC")
		f := newFleet(t, hourly, 0)
		synctest.Test(t, func(t *testing.T) {
			store := f.open(t)
			defer store.Close()
			var decided []sink.Tick
			s := New(elsewhere{store, by}, NewLocal(), slog.New(slog.DiscardHandler), "agent")
			s.Observe = func(tick sink.Tick) { decided = append(decided, tick) }
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour+30*time.Minute)
			defer cancel()
			if err := s.Run(ctx, []Schedule{hourly}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if len(decided) < 5 {
				t.Errorf("by %s: %d ticks", by, len(decided))
			}
			for _, one := range decided[1:] {
				if late := one.DecidedAt.Sub(one.DueAt); late < 0 || late > time.Second {
					t.Errorf("by %s: decided %s late: %+v", by, late, one)
				}
			}
		})
	}
}
