package main

import (
	"context"

	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// openQueue opens the queue that agents share, and makes its tables if need be. The
// embedded store has none: there the agent that serves keeps its own.
func (a *app) openQueue(ctx context.Context, store sink.Sink, o riverqueue.Options) (*riverqueue.Queue, error) {
	shared, ok := store.(*postgres.Sink)
	if !ok {
		return nil, usagef("leave --queue out, or set sink.url to a PostgreSQL database",
			"the embedded store %s has no queue that agents share", store.Location())
	}
	if err := riverqueue.Migrate(ctx, shared); err != nil {
		return nil, err
	}
	o.Log = a.log
	return riverqueue.Open(ctx, shared, o)
}

// enqueue leaves jobs to the agents that serve, and says how long the queue is.
func (a *app) enqueue(ctx context.Context, store sink.Sink, jobs []scheduler.Job) error {
	queue, err := a.openQueue(ctx, store, riverqueue.Options{})
	if err != nil {
		return err
	}
	defer queue.Close()
	if err := queue.Enqueue(ctx, jobs...); err != nil {
		return err
	}
	depth, err := queue.Depth(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]any{"queued": jobs, "waiting": depth.Waiting, "running": depth.Running})
	}
	for _, job := range jobs {
		a.printf("%s is queued\n", job.Source)
	}
	a.printf("%d jobs wait, %d are being done; winch runs and winch agents show how it goes\n", depth.Waiting, depth.Running)
	return nil
}
