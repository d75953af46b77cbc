// Package riverqueue is the queue of jobs on PostgreSQL: River's tables, in a
// schema of their own, shared by all agents.
//
// River hands each job to one agent. Three things are not left to it. That a source
// is pulled once at a time is the lease's matter (sink.Leases): a job whose source is
// busy is put back. A job of an agent that died is taken over when its lease is, not
// when River finds that it takes long (takeover.go). And a run is cancelled by
// its lease (sink.Leases.CancelRun): River's own cancellation, as its tools do it, is
// heard too, but takes up to a minute while the agent drains, because River stops
// listening when it stops taking jobs.
package riverqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// Schema holds River's tables.
const Schema = "winch_river"

// Options of a queue; the zero value is what most want.
type Options struct {
	// Workers is how many jobs an agent does at the same time; 0 means 8.
	Workers int
	Log     *slog.Logger
	// OnTakeOver is told of each run that a dead agent left; may be nil.
	OnTakeOver func(lost sink.Run)
}

const (
	defaultWorkers = 8
	// busyPause is when a job whose source is busy is looked at again.
	busyPause = 2 * time.Second
	// againPause is when a job that could not be done is tried again. Beyond five
	// seconds River would need its leader for that.
	againPause = 4 * time.Second
	// conns serve River's own statements, whatever the number of workers.
	conns = 4
)

// A Queue implements scheduler.Queue on PostgreSQL.
type Queue struct {
	sink    *postgres.Sink
	pool    *pgxpool.Pool
	inserts *river.Client[pgx.Tx] // does no work
	options Options
}

var _ scheduler.TickQueue = (*Queue)(nil)

// Open returns the queue of a database, whose tables Migrate has made.
func Open(ctx context.Context, s *postgres.Sink, o Options) (*Queue, error) {
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	pool, err := s.Pool(ctx, conns)
	if err != nil {
		return nil, err
	}
	inserts, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: Schema, Logger: o.Log})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the queue: %w", err)
	}
	return &Queue{sink: s, pool: pool, inserts: inserts, options: o}, nil
}

// Close ends the queue's connections. Work must have returned.
func (q *Queue) Close() { q.pool.Close() }

// Migrate brings River's tables to the version of this program, under a lock, so
// that several agents may call it at the same time.
func Migrate(ctx context.Context, s *postgres.Sink) error {
	return s.Exclusively(ctx, "migrate the queue", func(conn *pgx.Conn) error {
		// Not IF NOT EXISTS, which wants the privilege also where the schema exists.
		var there bool
		if err := conn.QueryRow(ctx, "SELECT to_regnamespace('"+Schema+"') IS NOT NULL").Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := conn.Exec(ctx, "CREATE SCHEMA "+Schema+"; COMMENT ON SCHEMA "+Schema+" IS 'The queue of jobs that agents share, as River keeps it.'"); err != nil {
				return err
			}
		}
		pool, err := s.Pool(ctx, 1)
		if err != nil {
			return err
		}
		defer pool.Close()
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: Schema, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
}

// pullArgs is a job as River stores it. Jobs of one key are the same work.
type pullArgs struct {
	Key string        `json:"key" river:"unique"`
	Job scheduler.Job `json:"job"`
}

func (pullArgs) Kind() string { return "pull" }

// priorities: what a person waits for comes first, what nobody waits for last.
var priorities = map[scheduler.Trigger]int{
	scheduler.TriggerPull:     1,
	scheduler.TriggerResume:   1,
	scheduler.TriggerTick:     2,
	scheduler.TriggerBackfill: 4,
}

func insertion(job scheduler.Job) river.InsertManyParams {
	return river.InsertManyParams{Args: pullArgs{Key: job.Key(), Job: job}, InsertOpts: &river.InsertOpts{
		Priority: priorities[job.Trigger],
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}}
}

// Enqueue adds jobs, with the trace of ctx, each unless one of the same key is
// queued or being done.
func (q *Queue) Enqueue(ctx context.Context, jobs ...scheduler.Job) error {
	jobs = slices.Clone(jobs)
	for i, job := range jobs {
		jobs[i] = job.Traced(ctx)
	}
	err := pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error { return q.enqueue(ctx, tx, jobs) })
	if err != nil {
		return fmt.Errorf("queue %d jobs: %w", len(jobs), err)
	}
	return nil
}

// enqueue adds jobs in a transaction.
func (q *Queue) enqueue(ctx context.Context, tx pgx.Tx, jobs []scheduler.Job) error {
	var rows []river.InsertManyParams
	known := map[string]bool{} // one statement takes a key once
	for _, job := range jobs {
		if !known[job.Key()] {
			known[job.Key()] = true
			rows = append(rows, insertion(job))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := q.inserts.InsertManyTx(ctx, tx, rows)
	return err
}

// DecideTicks implements scheduler.TickQueue.
func (q *Queue) DecideTicks(ctx context.Context, schedules []sink.Undecided, job func(context.Context, sink.Tick) scheduler.Job) ([]sink.Tick, error) {
	return q.sink.DecideTicksWith(ctx, schedules, func(ctx context.Context, tx pgx.Tx, decided []sink.Tick) error {
		var jobs []scheduler.Job
		for _, t := range decided {
			if t.Decision == sink.Taken {
				jobs = append(jobs, job(ctx, t))
			}
		}
		return q.enqueue(ctx, tx, jobs)
	})
}

// Depth is how many jobs wait and how many are being done, by all agents.
func (q *Queue) Depth(ctx context.Context) (d scheduler.Depth, err error) {
	const query = `SELECT count(*) FILTER (WHERE state <> 'running'), count(*) FILTER (WHERE state = 'running')
FROM ` + Schema + `.river_job WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled')`
	if err := q.pool.QueryRow(ctx, query).Scan(&d.Waiting, &d.Running); err != nil {
		return d, fmt.Errorf("count the queued jobs: %w", err)
	}
	return d, nil
}

// Work does jobs, and takes over what dead agents left, until drain is closed or
// ctx is cancelled.
func (q *Queue) Work(ctx context.Context, drain <-chan struct{}, run scheduler.Runner) error {
	me, err := q.sink.AgentID(ctx)
	if err != nil {
		return err
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &worker{queue: q, run: run}); err != nil {
		return fmt.Errorf("work on the queue: %w", err)
	}
	client, err := river.NewClient(riverpgxv5.New(q.pool), &river.Config{
		ID: clientID(me), Schema: Schema, Logger: q.options.Log, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: q.options.Workers}},
		// A pull takes as long as it takes. Without a time-out River never takes a
		// job for stuck: that is found by the lease.
		JobTimeout: -1,
		// A newer agent may queue what this one cannot do.
		FetchOnlyKnownKinds: true,
	})
	if err != nil {
		return fmt.Errorf("work on the queue: %w", err)
	}
	// Its own context: what is being done ends by drain or by StopAndCancel.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("work on the queue: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { q.watch(watching) })
	defer watch.Wait()
	defer stop()

	select {
	case <-drain:
		err = client.Stop(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil { // cancelled: now, or while draining
		err = client.StopAndCancel(context.WithoutCancel(ctx))
	}
	if err != nil {
		return fmt.Errorf("end work on the queue: %w", err)
	}
	<-client.Stopped()
	return nil
}

// worker does the jobs of one agent.
type worker struct {
	river.WorkerDefaults[pullArgs]
	queue *Queue
	run   scheduler.Runner
}

// Work does one job. What failed is recorded with the run, so an error means that
// the job has to be done again.
func (w *worker) Work(ctx context.Context, job *river.Job[pullArgs]) error {
	pull := job.Args.Job
	pull.Queued = job.CreatedAt
	err := w.run(ctx, pull)
	var busy *sink.Busy
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely):
		return river.JobCancel(err)
	case errors.As(err, &busy):
		return river.JobSnooze(busyPause)
	case errors.Is(err, scheduler.ErrInterrupted):
		return river.JobSnooze(0)
	}
	return river.JobSnooze(againPause) // the Runner has told why
}
