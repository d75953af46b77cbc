package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
)

// schedule returns the schedule of a source shop as the configuration reads it.
func schedule(t testing.TB, text, zone string) Schedule {
	t.Helper()
	path := filepath.Join(t.TempDir(), "winch.yaml")
	yaml := fmt.Sprintf("sources: {shop: {connector: kaisa, schedule: %q, timezone: %s}}", text, zone)
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{Path: path, Names: []string{"kaisa"}})
	if err != nil {
		t.Fatal(err)
	}
	one := c.Sources[0].Schedules()[0]
	return Schedule{
		Schedule: sink.Schedule{Source: "shop", Name: one.Key, Expression: text + " " + zone},
		Next:     one.Schedule.Next, Overlap: OverlapSkip, CatchUp: CatchUpOnce,
	}
}

// A fleet is some agents on one store, in simulated time. What an agent does with a
// job is to sleep.
type fleet struct {
	path     string
	schedule Schedule
	work     time.Duration // that a pull takes
	pause    time.Duration // after which agents look at the store though nothing is due

	mu   sync.Mutex
	held bool                // the source, by a pull
	ends map[time.Time][]end // of the pulls, by tick
}

// An end is how a pull ended.
type end struct {
	from, to time.Time
	whole    bool
}

// An agent of a fleet.
type agent struct {
	sink  sink.Sink
	kill  context.CancelFunc
	ended sync.WaitGroup
}

func newFleet(t testing.TB, s Schedule, work time.Duration) *fleet {
	t.Helper()
	return &fleet{path: filepath.Join(t.TempDir(), "winch.db"), schedule: s, work: work, pause: 30 * time.Minute, ends: map[time.Time][]end{}}
}

func (f *fleet) open(t testing.TB) sink.Sink {
	t.Helper()
	s, err := sqlite.Open(t.Context(), f.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts an agent.
func (f *fleet) start(t testing.TB) *agent {
	t.Helper()
	a := &agent{sink: f.open(t)}
	queue := NewLocal()
	s := New(a.sink, queue, slog.New(slog.DiscardHandler), "agent")
	s.lookEvery, s.reconcileEvery = f.pause, f.pause
	ctx, kill := context.WithCancel(t.Context())
	a.kill = kill
	a.ended.Go(func() {
		if err := s.Run(ctx, []Schedule{f.schedule}); err != nil {
			t.Error("scheduler:", err)
		}
	})
	a.ended.Go(func() {
		if err := queue.Work(ctx, nil, s.Runner(f.pull)); err != nil {
			t.Error("queue:", err)
		}
	})
	return a
}

// die ends an agent as a kill does: what it does is left as it is.
func (a *agent) die(t testing.TB) {
	t.Helper()
	a.kill()
	a.ended.Wait()
	if err := a.sink.Close(); err != nil {
		t.Error(err)
	}
}

func (f *fleet) pull(ctx context.Context, t Task) error {
	f.mu.Lock()
	busy := f.held
	f.held = true
	f.mu.Unlock()
	if busy {
		return &sink.Busy{Source: t.Source}
	}
	defer func() {
		f.mu.Lock()
		f.held = false
		f.mu.Unlock()
	}()
	if open, err := t.Open(ctx); err != nil || !open {
		return err
	}
	e := end{from: time.Now()}
	timer := time.NewTimer(f.work)
	defer timer.Stop()
	select {
	case <-timer.C:
		e.whole = true
	case <-ctx.Done():
	}
	e.to = time.Now()
	f.mu.Lock()
	f.ends[t.Tick] = append(f.ends[t.Tick], e)
	f.mu.Unlock()
	if !e.whole {
		return ErrInterrupted
	}
	return t.Done(ctx, 1)
}

// A story is what happens to a fleet.
type story struct {
	agents   int
	schedule Schedule
	work     time.Duration
	begin    time.Time
	events   []event
}

// An event comes some time after the one before: an agent dies, or one is started.
type event struct {
	after time.Duration
	agent int
	// toTick moves the event to the next tick, where it hurts most.
	toTick bool
}

// tell plays the story and returns the ticks, the oldest first, the spans in which
// no agent was alive, and when the story was over.
func (st story) tell(t *testing.T, f *fleet) (ticks []sink.Tick, nobody []end, over time.Time) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(st.begin))
		agents := make([]*agent, st.agents)
		for i := range agents {
			agents[i] = f.start(t)
		}
		alive := len(agents)
		var down time.Time
		for _, e := range st.events {
			time.Sleep(e.after)
			if e.toTick {
				time.Sleep(time.Until(st.schedule.due(st.schedule.Next(time.Now()))))
			}
			if agents[e.agent] == nil {
				if alive == 0 {
					nobody = append(nobody, end{from: down, to: time.Now()})
				}
				agents[e.agent] = f.start(t)
				alive++
				continue
			}
			agents[e.agent].die(t)
			agents[e.agent] = nil
			if alive--; alive == 0 {
				down = time.Now()
			}
		}
		if alive == 0 {
			nobody = append(nobody, end{from: down, to: time.Now()})
			agents[0] = f.start(t)
		}
		// All that was taken ends, and the next reconciliation finds it done.
		time.Sleep(f.pause + 2*st.work + 2*time.Hour)
		over = time.Now()
		synctest.Wait()
		for _, a := range agents {
			if a != nil {
				a.die(t)
			}
		}
		s := f.open(t)
		var err error
		if ticks, err = s.Ticks(t.Context(), "", 1_000_000); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	slices.Reverse(ticks)
	return ticks, nobody, over
}

// check holds the laws against what has happened.
func (st story) check(f *fleet, ticks []sink.Tick, nobody []end, over time.Time) (broken []string) {
	bad := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }

	// Every tick has one row, and there is no row besides.
	n := 0
	for at := st.schedule.Next(st.begin); !at.IsZero() && !st.schedule.due(at).After(over); at = st.schedule.Next(at) {
		if n >= len(ticks) || !ticks[n].Tick.Equal(at) {
			bad("tick %d is to be at %v: %+v", n, at, ticks[min(n, len(ticks)-1):])
			return broken
		}
		n++
	}
	if n < len(ticks) {
		bad("%d ticks too many, first %+v", len(ticks)-n, ticks[n])
	}

	// When the story is over, a pull may be under way and others wait for it.
	working := false
	for _, ends := range f.ends {
		working = working || slices.ContainsFunc(ends, func(e end) bool { return !e.whole && !e.to.Before(over) })
	}
	caught := make([]int, len(nobody))
	for _, one := range ticks {
		late := one.DecidedAt.Sub(one.DueAt)
		gap := slices.IndexFunc(nobody, func(g end) bool { return !one.DueAt.Before(g.from) && !one.DueAt.After(g.to) })
		wholes := 0
		for _, e := range f.ends[one.Tick.UTC()] {
			if e.whole {
				wholes++
			}
		}
		switch {
		case one.Reason == "" || one.Agent == "" || late < 0:
			bad("no reason, nobody or too early: %+v", one)
		case one.Decision == sink.Skipped && (len(f.ends[one.Tick.UTC()]) > 0 || one.DoneAt.IsZero()):
			bad("skipped, and yet pulled: %+v", one)
		case one.Decision == sink.Taken && one.DoneAt.IsZero() && (wholes > 0 || !working):
			bad("taken and never done: %+v %+v", one, f.ends[one.Tick.UTC()])
		case one.Decision == sink.Taken && !one.DoneAt.IsZero() && (wholes != 1 || one.Run != 1):
			bad("taken, and %d times pulled: %+v %+v", wholes, one, f.ends[one.Tick.UTC()])
		case gap < 0 && late > time.Second: // agents wait for each other in the store
			bad("an agent was alive, and decided %s late: %+v", late, one)
		}
		if late > missedAfter && one.Decision == sink.Taken {
			caught[gap]++
		}
		if late > missedAfter && one.Decision != sink.Taken && st.schedule.CatchUp == CatchUpAll {
			bad("not caught up: %+v", one)
		}
	}
	for i, n := range caught {
		if st.schedule.CatchUp == CatchUpNone && n > 0 || st.schedule.CatchUp == CatchUpOnce && n > 1 {
			bad("catch_up %s, and %d ticks of %v to %v were taken", st.schedule.CatchUp, n, nobody[i].from, nobody[i].to)
		}
	}

	// With overlap skip, no tick is taken on time while another is not done.
	for i, one := range ticks {
		for _, earlier := range ticks[:i] {
			overlaps := earlier.Decision == sink.Taken && (earlier.DoneAt.After(one.DecidedAt) || earlier.DoneAt.IsZero())
			switch {
			case one.Decision == sink.Taken && overlaps && st.schedule.Overlap == OverlapSkip && one.DecidedAt.Sub(one.DueAt) <= missedAfter:
				bad("%+v overlaps %+v", one, earlier)
			case one.Decision == sink.Skipped && st.schedule.Overlap == OverlapQueue && one.DecidedAt.Sub(one.DueAt) <= missedAfter:
				bad("skipped instead of queued: %+v", one)
			}
		}
	}
	return broken
}

func TestEveryTickIsDecidedOnceWhoeverDies(t *testing.T) {
	t.Parallel()
	calendars := []Schedule{
		schedule(t, "30 2 * * *", "Europe/Stockholm"),
		schedule(t, "0 */3 * * *", "America/New_York"),
		schedule(t, "@every 5h", "UTC"),
		schedule(t, "15 * * * *", "Australia/Lord_Howe"),
	}
	rapid.Check(t, func(rt *rapid.T) {
		st := story{
			agents:   rapid.IntRange(1, 3).Draw(rt, "agents"),
			schedule: rapid.SampledFrom(calendars).Draw(rt, "schedule"),
			work:     time.Duration(rapid.IntRange(1, 12_000).Draw(rt, "work")) * time.Second,
			begin:    time.Unix(rapid.Int64Range(1_760_000_000, 1_793_000_000).Draw(rt, "begin"), 500_000_000),
		}
		st.schedule.Overlap = rapid.SampledFrom([]Overlap{OverlapSkip, OverlapQueue}).Draw(rt, "overlap")
		st.schedule.CatchUp = rapid.SampledFrom([]CatchUp{CatchUpOnce, CatchUpAll, CatchUpNone}).Draw(rt, "catch up")
		st.schedule.Jitter = time.Duration(rapid.IntRange(0, 900).Draw(rt, "jitter")) * time.Second
		for range rapid.IntRange(0, 8).Draw(rt, "events") {
			st.events = append(st.events, event{
				after:  time.Duration(rapid.IntRange(1, 60_000).Draw(rt, "after")) * time.Second,
				agent:  rapid.IntRange(0, st.agents-1).Draw(rt, "agent"),
				toTick: rapid.Bool().Draw(rt, "at the tick"),
			})
		}
		f := newFleet(t, st.schedule, st.work)
		ticks, nobody, over := st.tell(t, f)
		for _, broken := range st.check(f, ticks, nobody, over) {
			rt.Error(broken)
		}
	})
}

// Two years with both changes of the clock, in which each agent dies and comes back
// and once both are gone for days.
func TestNightlyOverYears(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	st := story{
		agents: 2, schedule: schedule(t, "30 2 * * *", "Europe/Stockholm"), work: time.Hour,
		begin: time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC),
		events: []event{
			{after: 100 * day, agent: 0, toTick: true},
			{after: 50 * day, agent: 0},
			{after: 150 * day, agent: 1, toTick: true},
			{after: 30 * day, agent: 0},
			{after: 5 * day, agent: 1}, // the whole fleet was gone
			{after: 200 * day, agent: 0},
			{after: 200 * day, agent: 1},
		},
	}
	f := newFleet(t, st.schedule, st.work)
	f.pause = 22 * time.Hour // what a dead agent left is done before the next tick
	ticks, nobody, over := st.tell(t, f)
	for _, broken := range st.check(f, ticks, nobody, over) {
		t.Error(broken)
	}
	taken := 0
	for _, one := range ticks {
		if one.Decision == sink.Taken {
			taken++
		}
	}
	// Of the nights that nobody saw, one is caught up.
	if len(ticks) < 730 || taken != len(ticks)-5 || len(nobody) != 1 {
		t.Errorf("%d ticks, %d taken, nobody there %v", len(ticks), taken, nobody)
	}
}
