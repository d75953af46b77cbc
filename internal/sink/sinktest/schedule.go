package sinktest

import (
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/winchdata/winch/internal/sink"
)

// oclock returns the nth hour of the epoch, as a tick.
func oclock(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

func tick(n int, decision sink.Decision) sink.Tick {
	return sink.Tick{
		Source: source, Schedule: "schedule", Tick: oclock(n), DueAt: oclock(n).Add(time.Minute),
		Decision: decision, Reason: "because", Agent: "one",
	}
}

// decide records ticks and returns those that were recorded and the state that the
// decision had.
func decide(t *testing.T, s sink.Sink, from time.Time, ticks ...sink.Tick) ([]sink.Tick, sink.TickState) {
	t.Helper()
	var state sink.TickState
	decided, err := s.DecideTicks(t.Context(), []sink.Undecided{{Source: source, Schedule: "schedule", From: from, Decide: func(st sink.TickState) []sink.Tick {
		state = st
		return ticks
	}}})
	if err != nil {
		t.Fatal("decide:", err)
	}
	return decided, state
}

// untimed ignores when something was decided and done.
var untimed = cmpopts.IgnoreFields(sink.Tick{}, "DecidedAt", "DoneAt")

func register(t *testing.T, s sink.Sink, schedules ...sink.Schedule) []time.Time {
	t.Helper()
	since, err := s.RegisterSchedules(t.Context(), schedules)
	if err != nil {
		t.Fatal("register:", err)
	}
	if len(since) != len(schedules) {
		t.Fatalf("%d schedules, %d moments", len(schedules), len(since))
	}
	return since
}

func now(t *testing.T, s sink.Sink) time.Time {
	t.Helper()
	at, err := s.Now(t.Context())
	if err != nil {
		t.Fatal("now:", err)
	}
	return at
}

var scheduleCases = map[string]func(*testing.T, Harness){
	"a tick is decided once": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		before := now(t, s)
		first, _ := decide(t, s, epoch, tick(1, sink.Taken), tick(2, sink.Skipped))
		second, state := decide(t, other, oclock(1), tick(1, sink.Skipped), tick(2, sink.Taken), tick(3, sink.Taken))
		if diff := gocmp.Diff([]sink.Tick{tick(1, sink.Taken), tick(2, sink.Skipped)}, first, untimed); diff != "" {
			t.Errorf("first (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff([]sink.Tick{tick(3, sink.Taken)}, second, untimed); diff != "" {
			t.Errorf("second (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff([]time.Time{oclock(2)}, state.Decided); diff != "" {
			t.Errorf("decided after the first (-want +got):\n%s", diff)
		}
		if state.Now.Before(before) || state.Now.After(now(t, s)) || !second[0].DecidedAt.Equal(state.Now) {
			t.Errorf("state of %v, tick decided at %v, between %v and now", state.Now, second[0].DecidedAt, before)
		}
		all, err := s.Ticks(t.Context(), source, 10)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]sink.Tick{tick(3, sink.Taken), tick(2, sink.Skipped), tick(1, sink.Taken)}, all, untimed); diff != "" {
			t.Errorf("at rest (-want +got):\n%s", diff)
		}
		for _, one := range all {
			if one.DoneAt.IsZero() != (one.Decision == sink.Taken) {
				t.Errorf("%s tick is done at %v", one.Decision, one.DoneAt)
			}
		}
	},

	"of agents that decide at the same time one does": func(t *testing.T, h Harness) {
		s := open(t, h)
		const agents, ticks = 4, 8
		won := make([][]sink.Tick, agents)
		failed := make([]error, agents)
		var all sync.WaitGroup
		for i := range agents {
			agent := reopen(t, h, s.address)
			all.Go(func() {
				for n := range ticks {
					decided, err := agent.DecideTicks(t.Context(), []sink.Undecided{{Source: source, Schedule: "schedule", From: epoch, Decide: func(state sink.TickState) []sink.Tick {
						// As long as one is open the next is skipped.
						mine := tick(n, sink.Taken)
						if len(state.Open) > 0 {
							mine.Decision = sink.Skipped
						}
						return []sink.Tick{mine}
					}}})
					if err != nil {
						failed[i] = err
						return
					}
					won[i] = append(won[i], decided...)
				}
			})
		}
		all.Wait()
		seen, taken := map[time.Time]int{}, 0
		for i := range agents {
			if failed[i] != nil {
				t.Fatal(failed[i])
			}
			for _, one := range won[i] {
				seen[one.Tick.UTC()]++
				if one.Decision == sink.Taken {
					taken++
				}
			}
		}
		if len(seen) != ticks || taken != 1 {
			t.Errorf("%d ticks decided, %d taken", len(seen), taken)
		}
		for at, n := range seen {
			if n != 1 {
				t.Errorf("tick %v decided %d times", at, n)
			}
		}
	},

	"ticks of several schedules are decided together, each by its own state": func(t *testing.T, h Harness) {
		s := open(t, h)
		decide(t, s, epoch, tick(1, sink.Taken))
		if _, err := s.PauseSource(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		states := map[string]sink.TickState{}
		undecided := func(source, schedule string, ticks ...sink.Tick) sink.Undecided {
			return sink.Undecided{Source: source, Schedule: schedule, From: epoch, Decide: func(st sink.TickState) []sink.Tick {
				states[source+" "+schedule] = st
				for i := range ticks {
					ticks[i].Source, ticks[i].Schedule = source, schedule
				}
				return ticks
			}}
		}
		decided, err := s.DecideTicks(t.Context(), []sink.Undecided{
			undecided("other", "schedule", tick(1, sink.Skipped)),
			undecided(source, "schedule", tick(1, sink.Skipped), tick(2, sink.Taken)),
			undecided(source, "deep_schedule"),
			undecided("third", "schedule", tick(2, sink.Taken)),
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range decided {
			got = append(got, one.Source+" "+string(one.Decision))
		}
		if want := []string{"other skipped", source + " taken", "third taken"}; !slices.Equal(got, want) {
			t.Errorf("decided %q, want %q", got, want)
		}
		mine, deep, other := states[source+" schedule"], states[source+" deep_schedule"], states["other schedule"]
		if len(mine.Decided) != 1 || !mine.Decided[0].Equal(oclock(1)) || len(mine.Open) != 1 || !mine.Open[0].Tick.Equal(oclock(1)) || !mine.PausedAt.IsZero() {
			t.Errorf("the state of a schedule with a tick: %+v", mine)
		}
		if len(deep.Decided)+len(deep.Open)+len(other.Decided)+len(other.Open) != 0 || other.PausedAt.IsZero() || other.Now.IsZero() {
			t.Errorf("the states of others: %+v, %+v", deep, other)
		}
	},

	"a taken tick is open until it is finished": func(t *testing.T, h Harness) {
		s := open(t, h)
		decide(t, s, epoch, tick(1, sink.Taken), tick(2, sink.Skipped), tick(3, sink.Taken))
		if _, state := decide(t, s, oclock(3)); gocmp.Diff([]sink.Tick{tick(1, sink.Taken), tick(3, sink.Taken)}, state.Open, untimed) != "" || len(state.Decided) != 0 {
			t.Errorf("open %+v, decided %v", state.Open, state.Decided)
		}
		for _, run := range []int64{42, 43} { // the first end stands
			if err := s.FinishTick(t.Context(), source, "schedule", oclock(1), run); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.FinishTick(t.Context(), source, "schedule", oclock(3), 0); err != nil {
			t.Fatal(err)
		}
		decide(t, s, epoch, tick(4, sink.Taken))
		for n, want := range map[int]bool{1: false, 2: false, 3: false, 4: true, 5: false} {
			if open, err := s.TickOpen(t.Context(), source, "schedule", oclock(n)); err != nil || open != want {
				t.Errorf("tick %d open: %v, %v", n, open, err)
			}
		}
		open, err := s.OpenTicks(t.Context())
		if err != nil || gocmp.Diff([]sink.Tick{tick(4, sink.Taken)}, open, untimed) != "" {
			t.Errorf("open %+v, %v", open, err)
		}
		all, err := s.Ticks(t.Context(), "", 10)
		if err != nil || len(all) != 4 {
			t.Fatalf("%+v, %v", all, err)
		}
		if one := all[3]; one.Run != 42 || one.DoneAt.Before(one.DecidedAt) {
			t.Errorf("finished tick %+v", one)
		}
		if one := all[1]; one.Run != 0 || one.DoneAt.IsZero() {
			t.Errorf("tick that made no run %+v", one)
		}
	},

	"a new or changed schedule has no past": func(t *testing.T, h Harness) {
		s := open(t, h)
		daily := sink.Schedule{Source: source, Name: "schedule", Expression: "@daily UTC"}
		hourly := sink.Schedule{Source: source, Name: "streams.calls.schedule", Expression: "@hourly UTC"}
		before := now(t, s)
		first := register(t, s, daily, hourly)
		if first[0].Before(before) || first[1].Before(before) || first[1].After(now(t, s)) {
			t.Errorf("%v, begun at %v", first, before)
		}
		if again := register(t, s, hourly, daily); !again[0].Equal(first[1]) || !again[1].Equal(first[0]) {
			t.Errorf("registered again: %v, want those of %v", again, first)
		}
		daily.Expression = "@daily Europe/Stockholm"
		changed := register(t, s, daily, hourly)
		if !changed[0].After(first[0]) || !changed[1].Equal(first[1]) {
			t.Errorf("changed: %v, were %v", changed, first)
		}
		later := tick(0, sink.Taken)
		later.Tick = changed[0].Add(time.Hour).Truncate(time.Second)
		decide(t, s, epoch, later)
		if since := register(t, s, daily); !since[0].Equal(later.Tick) {
			t.Errorf("after a tick at %v: since %v", later.Tick, since[0])
		}
		if since := register(t, s); len(since) != 0 {
			t.Errorf("nothing registered: %v", since)
		}
	},

	"a source is paused until it is resumed": func(t *testing.T, h Harness) {
		s := open(t, h)
		for _, want := range []bool{true, false} {
			if changed, err := s.PauseSource(t.Context(), source); err != nil || changed != want {
				t.Fatalf("pause: %v, %v", changed, err)
			}
		}
		paused, err := s.PausedSources(t.Context())
		if err != nil || len(paused) != 1 {
			t.Fatalf("paused %v, %v", paused, err)
		}
		if _, state := decide(t, s, epoch); state.PausedAt.IsZero() || !state.PausedAt.Equal(paused[source]) {
			t.Errorf("state says %v, paused %v", state.PausedAt, paused)
		}
		for _, want := range []bool{true, false} {
			if changed, err := s.ResumeSource(t.Context(), source); err != nil || changed != want {
				t.Fatalf("resume: %v, %v", changed, err)
			}
		}
		if _, state := decide(t, s, epoch); !state.PausedAt.IsZero() {
			t.Errorf("resumed, state says %v", state.PausedAt)
		}
	},

	"the run that holds the source is known while its holder lives": func(t *testing.T, h Harness) {
		s := open(t, h)
		release := lock(t, s, source)
		r := s.started(t, source, 1)
		if _, state := decide(t, s, epoch); state.Running == nil || state.Running.ID != r.ID || state.Running.Trigger != r.Trigger || !state.Running.StartedAt.Equal(r.StartedAt) {
			t.Errorf("running: %+v, want %+v", state.Running, r)
		}
		release()
		if _, state := decide(t, s, epoch); state.Running != nil {
			t.Errorf("its holder is gone, and yet running: %+v", state.Running)
		}
	},

	"what is served can be pulled by who serves": func(t *testing.T, h Harness) {
		s := open(t, h)
		release, err := s.Serve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lock(t, s, source)()
		release()
		other := reopen(t, h, s.address)
		if release, err = other.Serve(t.Context()); err != nil {
			t.Fatal("after release:", err)
		}
		release()
	},
}
