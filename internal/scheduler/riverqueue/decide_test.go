package riverqueue

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
)

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// takes takes a tick of a source.
func takes(source string, at time.Time) sink.Undecided {
	return sink.Undecided{Source: source, Schedule: "schedule", From: at.Add(-time.Hour), Decide: func(sink.TickState) []sink.Tick {
		return []sink.Tick{{Source: source, Schedule: "schedule", Tick: at, DueAt: at, Decision: sink.Taken, Reason: "on time", Agent: "one"}}
	}}
}

func tickJob(_ context.Context, t sink.Tick) scheduler.Job {
	return scheduler.Job{Source: t.Source, Trigger: scheduler.TriggerTick, Schedule: t.Schedule, Tick: t.Tick}
}

// I7
func TestATickAndItsJobAreThereTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := newAgent(t, address)
	conn := connect(t, address)
	at := time.Now().Truncate(time.Second)
	left := func() (ticks, jobs int) {
		t.Helper()
		const query = "SELECT (SELECT count(*) FROM winch.ticks), (SELECT count(*) FROM " + Schema + ".river_job)"
		if err := conn.QueryRow(t.Context(), query).Scan(&ticks, &jobs); err != nil {
			t.Fatal(err)
		}
		return ticks, jobs
	}

	execute(t, conn, "ALTER TABLE "+Schema+".river_job RENAME TO away")
	_, err := a.queue.DecideTicks(t.Context(), []sink.Undecided{takes("one", at), takes("two", at)}, tickJob)
	var store *sink.Error
	if !errors.As(err, &store) || !strings.Contains(err.Error(), "decide ticks") {
		t.Errorf("want an error of the store, got %v", err)
	}
	execute(t, conn, "ALTER TABLE "+Schema+".away RENAME TO river_job")
	if ticks, jobs := left(); ticks != 0 || jobs != 0 {
		t.Errorf("a job could not be queued: %d ticks and %d jobs are left", ticks, jobs)
	}

	// The agent's session ends when the tick is written and the job is not.
	_, err = a.queue.DecideTicks(t.Context(), []sink.Undecided{takes("one", at)}, func(ctx context.Context, tick sink.Tick) scheduler.Job {
		execute(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'")
		return tickJob(ctx, tick)
	})
	if !errors.As(err, &store) || !store.Retryable() {
		t.Errorf("want an error that is tried again, got %v", err)
	}
	if ticks, jobs := left(); ticks != 0 || jobs != 0 {
		t.Errorf("the agent died between: %d ticks and %d jobs are left", ticks, jobs)
	}

	for range 2 { // the second time they are decided already
		if _, err = a.queue.DecideTicks(t.Context(), []sink.Undecided{takes("one", at), takes("two", at)}, tickJob); err != nil {
			t.Fatal(err)
		}
	}
	if ticks, jobs := left(); ticks != 2 || jobs != 2 {
		t.Errorf("%d ticks and %d jobs, want 2 of each", ticks, jobs)
	}
}

// refuse refuses jobs of the source refused at once, and lets others wait.
const refuse = `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.args->'job'->>'source' = 'refused' THEN RAISE 'no'; END IF; PERFORM pg_sleep(0.3); RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON ` + Schema + `.river_job FOR EACH ROW EXECUTE FUNCTION public.refuse()`

// I6
func TestATickThatCannotBeQueuedDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := newAgent(t, address)
	conn := connect(t, address)
	execute(t, conn, refuse)
	at := time.Now().Add(2 * time.Second).Truncate(time.Second)
	var schedules []scheduler.Schedule
	for _, source := range []string{"one", "refused", "two"} {
		schedules = append(schedules, scheduler.Schedule{
			Schedule: sink.Schedule{Source: source, Name: "schedule", Expression: "once"},
			Next: func(after time.Time) time.Time {
				if after.Before(at) {
					return at
				}
				return time.Time{}
			},
		})
	}
	s := scheduler.New(a.sink, a.queue, slog.New(slog.DiscardHandler), "one")
	taken := make(chan string, 10)
	s.Observe = func(tick sink.Tick) { taken <- tick.Source }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, schedules) }()
	got := []string{<-taken, <-taken}
	if slices.Sort(got); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("taken %q", got)
	}
	execute(t, conn, "DROP TRIGGER refuse ON "+Schema+".river_job")
	if got := <-taken; got != "refused" {
		t.Errorf("taken %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if d := a.depth(t); d.Waiting != 3 {
		t.Errorf("queued %+v", d)
	}
}

// I6: schedules of which several ticks are due are decided beside each other.
func TestTicksThatCannotBeQueuedDoNotEndDecisionsUnderWay(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := newAgent(t, address)
	execute(t, connect(t, address), refuse)
	var schedules []scheduler.Schedule
	for _, source := range []string{"one", "refused"} {
		schedules = append(schedules, scheduler.Schedule{
			Schedule: sink.Schedule{Source: source, Name: "schedule", Expression: "each second"},
			Next:     func(after time.Time) time.Time { return after.Truncate(time.Second).Add(time.Second) },
			Overlap:  scheduler.OverlapQueue,
		})
	}
	known := []sink.Schedule{schedules[0].Schedule, schedules[1].Schedule}
	if _, err := a.sink.RegisterSchedules(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond) // two ticks of each
	s := scheduler.New(a.sink, a.queue, slog.New(slog.DiscardHandler), "one")
	taken := make(chan string, 10)
	s.Observe = func(tick sink.Tick) { taken <- tick.Source }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, schedules) }()
	select {
	case got := <-taken:
		if got != "one" {
			t.Errorf("taken %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("no tick was decided beside one that cannot be")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
