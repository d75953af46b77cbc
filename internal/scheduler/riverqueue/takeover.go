package riverqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// watchEvery is how often an agent looks for dead ones.
const watchEvery = 3 * time.Second

// clientPrefix and an agent's id are the name by which River knows the agent.
const clientPrefix = "winch-agent-"

func clientID(agent int64) string { return fmt.Sprint(clientPrefix, agent) }

// watch takes over from dead agents until ctx ends.
func (q *Queue) watch(ctx context.Context) {
	again := time.NewTicker(watchEvery)
	defer again.Stop()
	for {
		if err := q.TakeOver(ctx); err != nil && ctx.Err() == nil {
			q.options.Log.WarnContext(ctx, "looking for dead agents", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// TakeOver queues again what dead agents did: the jobs that they had taken, and
// their runs that were no jobs of this queue. It happens in the transaction that
// gives those runs their outcome, so each is resumed once, whoever looks.
func (q *Queue) TakeOver(ctx context.Context) error {
	var lost []sink.Run
	_, err := q.sink.Heirs(ctx, func(ctx context.Context, tx pgx.Tx, b postgres.Bequest) error {
		done, err := q.requeue(ctx, tx, clientID(b.Agent), b)
		if err != nil {
			return err
		}
		for _, r := range b.Lost {
			lost = append(lost, r)
			if slices.Contains(done, r.Source) || slices.Contains(b.Cancelled, r.Source) {
				continue
			}
			job, err := resumption(ctx, tx, r)
			if err != nil {
				return err
			}
			if err := q.enqueue(ctx, tx, []scheduler.Job{job}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if q.options.OnTakeOver != nil {
		for _, r := range lost {
			q.options.OnTakeOver(r)
		}
	}
	return q.sweep(ctx)
}

// resumption is the job that goes on with a run that was begun by hand: with the
// backfill that it was of, unless a person has ended that, or with what is due.
func resumption(ctx context.Context, tx pgx.Tx, lost sink.Run) (scheduler.Job, error) {
	job := scheduler.Job{Source: lost.Source, Trigger: scheduler.TriggerResume, Resumes: lost.ID}
	var name string
	err := tx.QueryRow(ctx, "SELECT name FROM winch.backfills WHERE id = $1 AND state = 'running'", lost.Backfill).Scan(&name)
	switch {
	case err == nil:
		job = scheduler.Job{Source: lost.Source, Trigger: scheduler.TriggerBackfill, Backfill: name}
	case !errors.Is(err, pgx.ErrNoRows):
		return job, err
	}
	return job, nil
}

// sweep queues again the jobs of agents that nobody knows: one that was declared
// dead may take a job before it learns of that, and then die.
func (q *Queue) sweep(ctx context.Context) error {
	const query = `SELECT DISTINCT j.attempted_by[array_upper(j.attempted_by, 1)] FROM ` + Schema + `.river_job j
WHERE j.state = 'running' AND NOT EXISTS (
	SELECT FROM winch.agents a WHERE j.attempted_by[array_upper(j.attempted_by, 1)] = '` + clientPrefix + `' || a.id)`
	rows, err := q.pool.Query(ctx, query)
	if err != nil {
		return err
	}
	clients, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var failed []error
	for _, client := range clients {
		failed = append(failed, pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
			_, err := q.requeue(ctx, tx, client, postgres.Bequest{})
			return err
		}))
	}
	return errors.Join(failed...)
}

// requeue queues the jobs that a client was doing as new ones, unless a person
// cancelled them, and returns the sources of all. Those of sources that are not free
// yet are left as they are. The old ones are cancelled: a client that
// wakes up late ends those, not the new ones.
func (q *Queue) requeue(ctx context.Context, tx pgx.Tx, client string, b postgres.Bequest) (sources []string, err error) {
	const cancel = `UPDATE ` + Schema + `.river_job SET state = 'cancelled', finalized_at = now()
WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND NOT args->'job'->>'source' = ANY ($2)
RETURNING args, metadata ? 'cancel_attempted_at'`
	rows, err := tx.Query(ctx, cancel, client, append([]string{}, b.Kept...))
	if err != nil {
		return nil, err
	}
	var (
		raw       json.RawMessage
		cancelled bool
		again     []scheduler.Job
	)
	_, err = pgx.ForEachRow(rows, []any{&raw, &cancelled}, func() error {
		var old pullArgs
		if err := json.Unmarshal(raw, &old); err != nil {
			return err
		}
		sources = append(sources, old.Job.Source)
		if !cancelled && !slices.Contains(b.Cancelled, old.Job.Source) {
			again = append(again, old.Job)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sources, q.enqueue(ctx, tx, again)
}
