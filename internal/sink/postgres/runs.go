package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// StartRun records a run that begins.
func (s *Sink) StartRun(ctx context.Context, r sink.Run) (id int64, err error) {
	const insert = `INSERT INTO winch.runs (source, connector, trigger, started_at, trace_id, span_id, backfill)
VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, 0)) RETURNING id`
	err = s.pool.QueryRow(ctx, insert, r.Source, r.Connector, r.Trigger, r.StartedAt, r.TraceID, r.SpanID, r.Backfill).Scan(&id)
	return id, fault(ctx, "record a run of "+r.Source, err)
}

// FinishRun records the outcome of a run, unless it has one.
func (s *Sink) FinishRun(ctx context.Context, id int64, end sink.RunEnd) error {
	// I4: the condition on the outcome makes it the only one.
	const update = `UPDATE winch.runs SET
	ended_at = $1, outcome = $2, slices = $3, failed = $4, error_kind = $5, error = $6,
	(` + countColumns + `) = ROW ($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18),
	(` + timeColumns + `) = ROW ($19, $20, $21, $22, $23, $24, $25), hint = $26
WHERE id = $27 AND outcome = ''`
	op := fmt.Sprintf("record the outcome of run %d", id)
	errorKind := ""
	if end.Error != "" {
		errorKind = end.ErrorKind.String()
	}
	args := append([]any{end.EndedAt, string(end.Outcome), end.Slices, end.Failed, errorKind, storable(end.Error)},
		countValues(end.Counts, end.Usage)...)
	args = append(args, timeValues(end.Usage, end.Stages)...)
	tag, err := s.pool.Exec(ctx, update, append(args, storable(end.Hint), id)...)
	if err != nil || tag.RowsAffected() == 1 {
		return fault(ctx, op, err)
	}
	_, err = s.runs(ctx, "id = $1", 1, id)
	return err
}

const runColumns = "id, source, connector, trigger, started_at, trace_id, ended_at, outcome, slices, failed, " + countColumns + ", error_kind, error, COALESCE(backfill, 0), span_id, hint, " + timeColumns

// Runs returns the newest runs of a source, of all if it is empty.
func (s *Sink) Runs(ctx context.Context, source string, limit int) ([]sink.Run, error) {
	runs, err := s.runs(ctx, "$1 IN ('', source)", limit, source)
	if errors.Is(err, sink.ErrNoRun) {
		return nil, nil
	}
	return runs, err
}

func (s *Sink) runs(ctx context.Context, where string, limit int, arg any) ([]sink.Run, error) {
	rows, err := s.pool.Query(ctx, "SELECT "+runColumns+" FROM winch.runs WHERE "+where+" ORDER BY id DESC LIMIT $2", arg, limit)
	if err != nil {
		return nil, fault(ctx, "read the runs", err)
	}
	runs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r sink.Run, err error) {
		targets := []any{
			&r.ID, &r.Source, &r.Connector, &r.Trigger, (*moment)(&r.StartedAt), &r.TraceID,
			(*moment)(&r.EndedAt), &r.Outcome, &r.Slices, &r.Failed,
		}
		targets = append(targets, countTargets(&r.Counts, &r.Usage)...)
		targets = append(targets, (*kind)(&r.ErrorKind), &r.Error, &r.Backfill, &r.SpanID, &r.Hint)
		err = row.Scan(append(targets, timeTargets(&r.Usage, &r.Stages)...)...)
		return r, err
	})
	if err == nil && len(runs) == 0 {
		return nil, fmt.Errorf("read the runs: %w", sink.ErrNoRun)
	}
	return runs, fault(ctx, "read the runs", err)
}

// RunByID returns a run and its reads in the order they ended.
func (s *Sink) RunByID(ctx context.Context, id int64) (sink.Run, []sink.Read, error) {
	runs, err := s.runs(ctx, "id = $1", 1, id)
	if errors.Is(err, sink.ErrNoRun) {
		return sink.Run{}, nil, noRun(id)
	}
	if err != nil {
		return sink.Run{}, nil, err
	}
	const query = "SELECT run, " + sliceColumns + ", state, started_at, ended_at, " + countColumns + `, error_kind, error, hint, ` + timeColumns + `
FROM winch.reads WHERE run = $1 ORDER BY ended_at, id`
	op := fmt.Sprintf("read the slices of run %d", id)
	rows, err := s.pool.Query(ctx, query, id)
	if err != nil {
		return sink.Run{}, nil, fault(ctx, op, err)
	}
	reads, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r sink.Read, err error) {
		targets := append([]any{&r.Run}, sliceTargets(&r.Slice)...)
		targets = append(targets, &r.State, (*moment)(&r.StartedAt), (*moment)(&r.EndedAt))
		targets = append(targets, countTargets(&r.Counts, &r.Usage)...)
		targets = append(targets, (*kind)(&r.ErrorKind), &r.Error, &r.Hint)
		err = row.Scan(append(targets, timeTargets(&r.Usage, &r.Stages)...)...)
		return r, err
	})
	return runs[0], reads, fault(ctx, op, err)
}

func noRun(id int64) error { return fmt.Errorf("run %d: %w", id, sink.ErrNoRun) }
