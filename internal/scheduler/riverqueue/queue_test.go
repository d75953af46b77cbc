package riverqueue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// agent is one agent of a test: a sink and a queue of its own.
type agent struct {
	sink  *postgres.Sink
	queue *Queue
}

func newAgent(t *testing.T, address string) *agent { t.Helper(); return newAgentWith(t, address, 4) }

func newAgentWith(t *testing.T, address string, workers int) *agent {
	t.Helper()
	s, err := postgres.Open(t.Context(), address, postgres.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	q, err := Open(t.Context(), s, Options{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return &agent{s, q}
}

// work lets the agent work until the returned function is called or the test ends.
func (a *agent) work(t *testing.T, run scheduler.Runner) (drain func()) {
	t.Helper()
	draining := make(chan struct{})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { done <- a.queue.Work(ctx, draining, run) }()
	drain = sync.OnceFunc(func() {
		close(draining)
		if err := <-done; err != nil {
			t.Error("work:", err)
		}
		cancel()
	})
	t.Cleanup(func() { cancel(); drain() })
	return drain
}

func (a *agent) enqueue(t *testing.T, jobs ...scheduler.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := a.queue.Enqueue(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
}

func (a *agent) depth(t *testing.T) scheduler.Depth {
	t.Helper()
	d, err := a.queue.Depth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hold holds the job's source while do runs, as a pull does.
func (a *agent) hold(ctx context.Context, job scheduler.Job, do func(ctx context.Context) error) error {
	held, release, err := a.sink.Lock(ctx, sink.Claim{Source: job.Source})
	if err != nil {
		return err
	}
	defer release()
	return do(held)
}

func pullOf(source string, streams ...string) scheduler.Job {
	return scheduler.Job{Source: source, Trigger: scheduler.TriggerPull, Streams: streams}
}

func TestJobsOfOneKeyAreOneJob(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a, b := newAgent(t, address), newAgent(t, address)
	a.enqueue(t, pullOf("one"), pullOf("one", "calls"), pullOf("two"))
	b.enqueue(t, pullOf("one"), pullOf("two"))
	if got := b.depth(t); got.Waiting != 3 || got.Running != 0 {
		t.Errorf("queued: %+v", got)
	}
	did := make(chan string, 10)
	gate := make(chan struct{})
	run := func(_ context.Context, job scheduler.Job) error {
		did <- job.Key()
		<-gate
		return nil
	}
	stop := []func(){a.work(t, run), b.work(t, run)}
	got := []string{<-did, <-did, <-did}
	a.enqueue(t, pullOf("one")) // it is being done
	close(gate)
	for _, drain := range stop {
		drain()
	}
	if slices.Sort(got); !slices.Equal(got, []string{"one pull ", "one pull calls", "two pull "}) || len(did) != 0 || a.depth(t) != (scheduler.Depth{}) {
		t.Errorf("done: %q and %d more; left %+v", got, len(did), a.depth(t))
	}
	a.enqueue(t, pullOf("one"))
	if got := a.depth(t); got.Waiting != 1 {
		t.Errorf("after it was done it can be queued again, got %+v", got)
	}
}

// I3
func TestJobsOfOneSourceAreDoneOneAfterTheOther(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	agents := []*agent{newAgent(t, address), newAgent(t, address)}
	const jobs = 4
	for i := range jobs {
		agents[0].enqueue(t, pullOf("one", fmt.Sprint("stream", i)))
	}
	var (
		mu    sync.Mutex
		now   int
		did   = make(chan struct{}, jobs)
		worst int
	)
	for _, a := range agents {
		a.work(t, func(ctx context.Context, job scheduler.Job) error {
			return a.hold(ctx, job, func(context.Context) error {
				mu.Lock()
				now++
				worst = max(worst, now)
				mu.Unlock()
				defer func() { mu.Lock(); now--; mu.Unlock(); did <- struct{}{} }()
				_, err := a.queue.Depth(ctx) // takes a moment
				return err
			})
		})
	}
	for range jobs {
		<-did
	}
	if worst != 1 {
		t.Errorf("%d jobs of one source were done at the same time", worst)
	}
}

// cancelByRiver cancels the jobs of a source as River's own tools do.
func (a *agent) cancelByRiver(t *testing.T, source string) {
	t.Helper()
	rows, err := a.queue.pool.Query(t.Context(), "SELECT id FROM "+Schema+".river_job WHERE finalized_at IS NULL AND args->'job'->>'source' = $1", source)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		t.Fatalf("jobs %v of %s, error %v", ids, source, err)
	}
	for _, id := range ids {
		if _, err := a.queue.inserts.JobCancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACancelledRunEndsWhereItIsDoneAlsoWhileItsAgentDrains(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a, b := newAgent(t, address), newAgent(t, address)
	started, ended := make(chan int64, 10), make(chan error, 10)
	drain := a.work(t, func(ctx context.Context, job scheduler.Job) error {
		held, release, err := a.sink.Lock(ctx, sink.Claim{Source: job.Source})
		if err != nil {
			return err
		}
		defer release()
		id, err := a.sink.StartRun(ctx, sink.Run{Source: job.Source, Connector: "toy", Trigger: "pull"})
		started <- id
		<-held.Done()
		ended <- context.Cause(held)
		return errors.Join(err, a.sink.FinishRun(ctx, id, sink.RunEnd{EndedAt: time.Now(), Outcome: sink.Interrupted}))
	})
	cancel := func(run int64) {
		if asked, err := b.sink.CancelRun(t.Context(), run); !asked || err != nil {
			t.Errorf("cancel run %d: %t, %v", run, asked, err)
		}
		if cause := <-ended; !errors.Is(cause, sink.ErrCancelled) {
			t.Errorf("run %d ended by %v", run, cause)
		}
	}
	b.enqueue(t, pullOf("one"))
	cancel(<-started)
	b.enqueue(t, pullOf("two"))
	two := <-started
	var draining sync.WaitGroup
	draining.Go(drain)
	cancel(two)
	draining.Wait()
	if got := b.depth(t); got != (scheduler.Depth{}) || len(started) > 0 {
		t.Errorf("what was cancelled is still queued: %+v, and %d jobs begun", got, len(started))
	}
}

func TestWhatRiversToolsCancelIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a, b := newAgentWith(t, address, 1), newAgent(t, address)
	started := make(chan string, 10)
	drain := a.work(t, func(ctx context.Context, job scheduler.Job) error {
		started <- job.Source
		<-ctx.Done()
		return fmt.Errorf("%w: %w", scheduler.ErrInterrupted, ctx.Err())
	})
	b.enqueue(t, pullOf("one"))
	<-started
	b.enqueue(t, pullOf("two"), pullOf("three"))
	b.cancelByRiver(t, "two") // it waits
	b.cancelByRiver(t, "one")
	if got := <-started; got != "three" {
		t.Errorf("begun: %s", got)
	}
	b.cancelByRiver(t, "three")
	for b.depth(t) != (scheduler.Depth{}) {
		runtime.Gosched()
	}
	drain()
	if len(started) > 0 {
		t.Errorf("begun again: %s", <-started)
	}
}

func TestWhatIsInterruptedStaysInTheQueue(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a, b := newAgent(t, address), newAgent(t, address)
	a.enqueue(t, pullOf("one"))
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{}, 10)
	done := make(chan error, 1)
	go func() {
		done <- a.queue.Work(ctx, nil, func(ctx context.Context, _ scheduler.Job) error {
			started <- struct{}{}
			<-ctx.Done()
			return fmt.Errorf("%w: %w", scheduler.ErrInterrupted, ctx.Err())
		})
	}()
	<-started
	cancel()
	if err := <-done; err != nil {
		t.Error("work:", err)
	}
	if got := b.depth(t); got.Waiting != 1 || got.Running != 0 {
		t.Errorf("left: %+v", got)
	}
	did := make(chan scheduler.Job, 10)
	b.work(t, func(_ context.Context, job scheduler.Job) error { did <- job; return nil })()
	if len(did) == 0 { // drained before it came to it
		b.work(t, func(_ context.Context, job scheduler.Job) error { did <- job; return nil })
		<-did
	}
}

// I4, I7
func TestWhatADeadAgentLeftIsQueuedOnce(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	// Two workers, both busy: it takes no other job before it wakes up.
	dead, a, b := newAgentWith(t, address, 2), newAgent(t, address), newAgent(t, address)
	dead.enqueue(t, pullOf("queued"), pullOf("cancelled"))
	started := make(chan int64, 10)
	gate := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	pulls := func(ctx context.Context, job scheduler.Job) error {
		return dead.hold(ctx, job, func(context.Context) error {
			id, err := dead.sink.StartRun(context.WithoutCancel(ctx), sink.Run{Source: job.Source, Connector: "toy", Trigger: "pull"})
			started <- id
			<-gate
			return err
		})
	}
	go func() { done <- dead.queue.Work(ctx, nil, pulls) }()
	go func() { // a run that nobody queued
		done <- pulls(ctx, pullOf("by hand"))
	}()
	runs := []int64{<-started, <-started, <-started}
	a.cancelByRiver(t, "cancelled")

	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	id, err := dead.sink.AgentID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Both look at the same time, as soon as the agent has been silent for too long.
	if _, err := conn.Exec(t.Context(), "UPDATE winch.agents SET expires_at = now() - interval '1 second' WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, q := range []*Queue{a.queue, b.queue} {
		wg.Go(func() {
			if err := q.TakeOver(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range runs {
		if r, _, err := a.sink.RunByID(t.Context(), id); err != nil || r.Outcome != sink.Lost {
			t.Errorf("run %d: %q, error %v", id, r.Outcome, err)
		}
	}
	if got := a.depth(t); got.Waiting != 2 || got.Running != 0 {
		t.Errorf("queued: %+v, want what was queued and what was begun by hand", got)
	}
	did := make(chan scheduler.Job, 10)
	drain := a.work(t, func(_ context.Context, job scheduler.Job) error { did <- job; return nil })
	got := []string{(<-did).Key(), (<-did).Key()}
	if slices.Sort(got); !slices.Equal(got, []string{"by hand resume ", "queued pull "}) {
		t.Errorf("resumed %q", got)
	}
	drain()
	// It wakes up: what it ends is no job of anybody.
	close(gate)
	cancel()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	if got := a.depth(t); got != (scheduler.Depth{}) || len(did) != 0 {
		t.Errorf("left: %+v, and %d jobs done again", got, len(did))
	}
}
