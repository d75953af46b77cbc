package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// StartRun implements sink.Sink.
func (s *Sink) StartRun(ctx context.Context, r sink.Run) (id int64, err error) {
	err = s.update(ctx, "record start of a run of "+r.Source, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO "winch.runs" (source, connector, "trigger", started_at, trace_id, span_id, backfill) VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0))`,
			r.Source, r.Connector, r.Trigger, timestamp(r.StartedAt), r.TraceID, r.SpanID, r.Backfill)
		if err != nil {
			return err
		}
		id, err = result.LastInsertId()
		return err
	})
	return id, err
}

// FinishRun implements sink.Sink.
func (s *Sink) FinishRun(ctx context.Context, id int64, end sink.RunEnd) error {
	op := fmt.Sprintf("record outcome of run %d", id)
	var known bool
	err := s.update(ctx, op, func(tx *sql.Tx) error {
		// I4: the first outcome stands.
		args := append(sumArgs(end.Counts, end.Usage), timestamp(end.EndedAt), string(end.Outcome),
			end.Slices, end.Failed, kindText(end.ErrorKind, end.Error), end.Error, end.Hint)
		args = append(append(args, timeArgs(end.Usage, end.Stages)...), id)
		if _, err := tx.ExecContext(ctx, `UPDATE "winch.runs" SET (`+sumColumns+`, ended_at, outcome, slices, failed, error_kind, error, hint, `+timeColumns+`) =
			(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ? AND outcome = ''`, args...); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM "winch.runs" WHERE id = ?)`, id).Scan(&known)
	})
	if err == nil && !known {
		return fmt.Errorf("%s: %w", op, sink.ErrNoRun)
	}
	return err
}

// kindText is how the kind of an error stands in the file; empty without error.
func kindText(kind connector.Kind, text string) string {
	if kind == connector.KindUnknown && text == "" {
		return ""
	}
	return kind.String()
}

const selectRuns = `SELECT id, source, connector, "trigger", started_at, trace_id, ended_at, outcome, slices, failed, error_kind, error, coalesce(backfill, 0), span_id, hint, ` +
	sumColumns + `, ` + timeColumns + ` FROM "winch.runs"`

// Runs implements sink.Sink.
func (s *Sink) Runs(ctx context.Context, source string, limit int) ([]sink.Run, error) {
	const op = "read runs"
	rows, err := s.readers.QueryContext(ctx, selectRuns+` WHERE ?1 = '' OR source = ?1 ORDER BY id DESC LIMIT ?2`, source, limit)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var runs []sink.Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		runs = append(runs, r)
	}
	return runs, fault(ctx, op, rows.Err())
}

func scanRun(rows *sql.Rows) (r sink.Run, err error) {
	var (
		sum     sums
		started string
		ended   *string
		kind    string
	)
	into := []any{
		&r.ID, &r.Source, &r.Connector, &r.Trigger, &started, &r.TraceID, &ended, &r.Outcome, &r.Slices, &r.Failed, &kind, &r.Error,
		&r.Backfill, &r.SpanID, &r.Hint,
	}
	var spent times
	into = append(into, sum.into()...)
	if err := rows.Scan(append(into, spent.into()...)...); err != nil {
		return r, err
	}
	r.ErrorKind = connector.ParseKind(kind)
	r.Counts, r.Usage = sum.get()
	r.Stages = spent.get(&r.Usage)
	if r.StartedAt, err = parseTimestamp(&started); err != nil {
		return r, err
	}
	r.EndedAt, err = parseTimestamp(ended)
	return r, err
}

// RunByID implements sink.Sink.
func (s *Sink) RunByID(ctx context.Context, id int64) (sink.Run, []sink.Read, error) {
	op := fmt.Sprintf("read run %d", id)
	// One transaction, so that run and reads are of the same moment.
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return sink.Run{}, nil, fault(ctx, op, err)
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	rows, err := tx.QueryContext(ctx, selectRuns+` WHERE id = ?`, id)
	if err != nil {
		return sink.Run{}, nil, fault(ctx, op, err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return sink.Run{}, nil, fault(ctx, op, err)
		}
		return sink.Run{}, nil, fmt.Errorf("%s: %w", op, sink.ErrNoRun)
	}
	run, err := scanRun(rows)
	if err != nil {
		return sink.Run{}, nil, fault(ctx, op, err)
	}
	if err := rows.Close(); err != nil {
		return sink.Run{}, nil, fault(ctx, op, err)
	}
	reads, err := readsOf(ctx, tx, id)
	return run, reads, fault(ctx, op, err)
}

func readsOf(ctx context.Context, tx *sql.Tx, run int64) ([]sink.Read, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+sliceColumns+`, `+sumColumns+`, run, state, started_at, ended_at, error_kind, error, hint, `+timeColumns+`
		FROM "winch.reads" WHERE run = ? ORDER BY id`, run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var reads []sink.Read
	for rows.Next() {
		var (
			r              sink.Read
			slice          names
			sum            sums
			started, ended string
			kind           string
			spent          times
		)
		into := append(slice.into(), sum.into()...)
		into = append(into, &r.Run, &r.State, &started, &ended, &kind, &r.Error, &r.Hint)
		if err := rows.Scan(append(into, spent.into()...)...); err != nil {
			return nil, err
		}
		r.ErrorKind = connector.ParseKind(kind)
		r.Counts, r.Usage = sum.get()
		r.Stages = spent.get(&r.Usage)
		if r.Slice, err = slice.get(); err != nil {
			return nil, err
		}
		if r.StartedAt, err = parseTimestamp(&started); err != nil {
			return nil, err
		}
		if r.EndedAt, err = parseTimestamp(&ended); err != nil {
			return nil, err
		}
		reads = append(reads, r)
	}
	return reads, rows.Err()
}
