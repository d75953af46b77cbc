package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// CreateBackfill records a backfill as running.
func (s *Sink) CreateBackfill(ctx context.Context, b sink.Backfill) (sink.Backfill, error) {
	const insert = `INSERT INTO winch.backfills (name, source, streams, since, until, slice, first, force, slices, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`
	streams, err := json.Marshal(b.Streams)
	if err != nil {
		return b, err
	}
	slice := ""
	if !b.Slice.IsZero() {
		slice = b.Slice.String()
	}
	err = s.pool.QueryRow(ctx, insert, b.Name, b.Source, string(streams), b.Window.Since, b.Window.Until,
		slice, string(b.Order), b.Force, b.Slices, b.CreatedAt).Scan(&b.ID)
	var server *pgconn.PgError
	if errors.As(err, &server) && server.ConstraintName == "backfills_live" {
		return b, fmt.Errorf("backfill %s: %w", b.Name, sink.ErrBackfillName)
	}
	b.State = sink.BackfillRunning
	return b, fault(ctx, "record backfill "+b.Name, err)
}

// Backfills returns the newest backfills first.
func (s *Sink) Backfills(ctx context.Context, source string) ([]sink.Backfill, error) {
	const query = `SELECT id, name, source, streams, since, until, slice, first, force, slices, state, created_at, ended_at
FROM winch.backfills WHERE $1 IN ('', source) ORDER BY id DESC`
	const op = "read the backfills"
	rows, err := s.pool.Query(ctx, query, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	backfills, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b sink.Backfill, err error) {
		var slice string
		err = row.Scan(&b.ID, &b.Name, &b.Source, &b.Streams, (*moment)(&b.Window.Since), (*moment)(&b.Window.Until), &slice,
			&b.Order, &b.Force, &b.Slices, &b.State, (*moment)(&b.CreatedAt), (*moment)(&b.EndedAt))
		if err == nil && slice != "" {
			b.Slice, err = connector.ParseSpan(slice)
		}
		return b, err
	})
	return backfills, fault(ctx, op, err)
}

// MoveBackfill changes the state if it is one of from.
func (s *Sink) MoveBackfill(ctx context.Context, id int64, to sink.BackfillState, from ...sink.BackfillState) (bool, error) {
	const update = `UPDATE winch.backfills
SET state = $2, ended_at = CASE WHEN $2 IN ('done', 'cancelled') THEN greatest(now(), created_at) END
WHERE id = $1 AND state = ANY($3)`
	tag, err := s.pool.Exec(ctx, update, id, string(to), from)
	return tag.RowsAffected() == 1, fault(ctx, fmt.Sprintf("record backfill %d as %s", id, to), err)
}

// BackfillState returns the state.
func (s *Sink) BackfillState(ctx context.Context, id int64) (state sink.BackfillState, err error) {
	err = s.pool.QueryRow(ctx, "SELECT state FROM winch.backfills WHERE id = $1", id).Scan(&state)
	return state, fault(ctx, fmt.Sprintf("read the state of backfill %d", id), err)
}

// BackfillProgress sums the reads of its runs.
func (s *Sink) BackfillProgress(ctx context.Context, id int64) (p sink.BackfillProgress, err error) {
	const query = `SELECT (SELECT count(*) FROM winch.runs WHERE backfill = $1),
	count(DISTINCT (d.source, d.stream, d.partition, d.since, d.until)), ` + sumOfReads + `
FROM winch.reads d JOIN winch.runs r ON r.id = d.run WHERE r.backfill = $1 AND d.state = 'held'`
	targets := append([]any{&p.Runs, &p.Slices}, sumTargets(&p.Counts, &p.Usage)...)
	err = s.pool.QueryRow(ctx, query, id).Scan(targets...)
	return p, fault(ctx, fmt.Sprintf("read the progress of backfill %d", id), err)
}

// sumOfReads sums the columns of sumTargets over reads d.
const sumOfReads = `COALESCE(sum(d.rows), 0)::bigint, COALESCE(sum(d.inserted), 0)::bigint, COALESCE(sum(d.updated), 0)::bigint,
	COALESCE(sum(d.unchanged), 0)::bigint, COALESCE(sum(d.deleted), 0)::bigint, COALESCE(sum(d.requests), 0)::bigint,
	COALESCE(sum(d.retries), 0)::bigint, COALESCE(sum(d.bytes), 0)::bigint, COALESCE(sum(d.waited_us), 0)::bigint`

func sumTargets(c *ledger.Counts, u *connector.Usage) []any {
	return []any{
		&c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted,
		&u.Requests, &u.Retries, &u.Bytes, (*microseconds)(&u.Waited),
	}
}

// HeldByBackfill reports whether the run under way of the source is a backfill's.
func (s *Sink) HeldByBackfill(ctx context.Context, source string) (held bool, err error) {
	const query = "SELECT EXISTS (SELECT FROM winch.runs WHERE source = $1 AND outcome = '' AND backfill IS NOT NULL)"
	err = s.pool.QueryRow(ctx, query, source).Scan(&held)
	return held, fault(ctx, "see who pulls "+source, err)
}

// Announce says that a waiter wants the source, by the server's clock.
func (s *Sink) Announce(ctx context.Context, source, waiter string) error {
	const upsert = `INSERT INTO winch.waits (source, waiter, seen_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT ON CONSTRAINT waits_pkey DO UPDATE SET seen_at = EXCLUDED.seen_at`
	_, err := s.pool.Exec(ctx, upsert, source, waiter)
	return fault(ctx, "wait for source "+source, err)
}

// Withdraw ends an announcement, and those that have expired.
func (s *Sink) Withdraw(ctx context.Context, source, waiter string) error {
	const remove = "DELETE FROM winch.waits WHERE source = $1 AND waiter = $2 OR seen_at < clock_timestamp() - $3::interval"
	_, err := s.pool.Exec(ctx, remove, source, waiter, pgtype.Interval{Microseconds: sink.WaitExpiry.Microseconds(), Valid: true})
	return fault(ctx, "stop waiting for source "+source, err)
}

// Awaited reports whether somebody waits for the source.
func (s *Sink) Awaited(ctx context.Context, source string) (awaited bool, err error) {
	const query = "SELECT EXISTS (SELECT FROM winch.waits WHERE source = $1 AND seen_at >= clock_timestamp() - $2::interval)"
	err = s.pool.QueryRow(ctx, query, source, pgtype.Interval{Microseconds: sink.WaitExpiry.Microseconds(), Valid: true}).Scan(&awaited)
	return awaited, fault(ctx, "see who waits for source "+source, err)
}
