package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// CreateBackfill implements sink.Backfills.
func (s *Sink) CreateBackfill(ctx context.Context, b sink.Backfill) (sink.Backfill, error) {
	streams, err := json.Marshal(b.Streams)
	if err != nil {
		return b, err
	}
	slice := ""
	if !b.Slice.IsZero() {
		slice = b.Slice.String()
	}
	taken := false
	err = s.update(ctx, "record backfill "+b.Name, func(tx *sql.Tx) error {
		const live = `SELECT EXISTS (SELECT 1 FROM "winch.backfills" WHERE name = ? AND ended_at IS NULL)`
		if err := tx.QueryRowContext(ctx, live, b.Name).Scan(&taken); err != nil || taken {
			return err
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO "winch.backfills" (name, source, streams, since, until, slice, first, force, slices, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, b.Name, b.Source, string(streams), timestamp(b.Window.Since), timestamp(b.Window.Until),
			slice, string(b.Order), b.Force, b.Slices, timestamp(b.CreatedAt))
		if err != nil {
			return err
		}
		b.ID, err = result.LastInsertId()
		return err
	})
	if err == nil && taken {
		return b, fmt.Errorf("backfill %s: %w", b.Name, sink.ErrBackfillName)
	}
	b.State = sink.BackfillRunning
	return b, err
}

// Backfills implements sink.Backfills.
func (s *Sink) Backfills(ctx context.Context, source string) ([]sink.Backfill, error) {
	const op = "read backfills"
	rows, err := s.readers.QueryContext(ctx, `SELECT id, name, source, streams, since, until, slice, first, force, slices, state, created_at, ended_at
		FROM "winch.backfills" WHERE ?1 = '' OR source = ?1 ORDER BY id DESC`, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var backfills []sink.Backfill
	for rows.Next() {
		b, err := scanBackfill(rows)
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		backfills = append(backfills, b)
	}
	return backfills, fault(ctx, op, rows.Err())
}

func scanBackfill(rows *sql.Rows) (b sink.Backfill, err error) {
	var (
		streams, slice        string
		since, until, created string
		ended                 *string
	)
	if err := rows.Scan(&b.ID, &b.Name, &b.Source, &streams, &since, &until, &slice, &b.Order, &b.Force, &b.Slices, &b.State, &created, &ended); err != nil {
		return b, err
	}
	if err := json.Unmarshal([]byte(streams), &b.Streams); err != nil {
		return b, err
	}
	if slice != "" {
		if b.Slice, err = connector.ParseSpan(slice); err != nil {
			return b, err
		}
	}
	for _, part := range []struct {
		text *string
		into *time.Time
	}{{&since, &b.Window.Since}, {&until, &b.Window.Until}, {&created, &b.CreatedAt}, {ended, &b.EndedAt}} {
		if *part.into, err = parseTimestamp(part.text); err != nil {
			return b, err
		}
	}
	return b, nil
}

// MoveBackfill implements sink.Backfills.
func (s *Sink) MoveBackfill(ctx context.Context, id int64, to sink.BackfillState, from ...sink.BackfillState) (moved bool, err error) {
	var ended *string
	if (sink.Backfill{State: to}).Ended() {
		now := timestamp(time.Now())
		ended = &now
	}
	args := []any{string(to), ended, id}
	for _, state := range from {
		args = append(args, string(state))
	}
	err = s.update(ctx, fmt.Sprintf("record backfill %d as %s", id, to), func(tx *sql.Tx) error {
		n, err := rowsAffected(tx.ExecContext(ctx, `UPDATE "winch.backfills" SET state = ?, ended_at = ?
			WHERE id = ? AND state IN (`+strings.TrimSuffix(strings.Repeat("?, ", len(from)), ", ")+`)`, args...))
		moved = n == 1
		return err
	})
	return moved, err
}

// BackfillState implements sink.Backfills.
func (s *Sink) BackfillState(ctx context.Context, id int64) (state sink.BackfillState, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT state FROM "winch.backfills" WHERE id = ?`, id).Scan(&state)
	return state, fault(ctx, fmt.Sprintf("read state of backfill %d", id), err)
}

// BackfillProgress implements sink.Backfills.
func (s *Sink) BackfillProgress(ctx context.Context, id int64) (p sink.BackfillProgress, err error) {
	var waited int64
	c, u := &p.Counts, &p.Usage
	err = s.readers.QueryRowContext(ctx, `WITH d AS (
			SELECT d.* FROM "winch.reads" d JOIN "winch.runs" r ON r.id = d.run WHERE r.backfill = ?1 AND d.state = 'held')
		SELECT (SELECT count(*) FROM "winch.runs" WHERE backfill = ?1),
			(SELECT count(*) FROM (SELECT DISTINCT source, stream, "partition", since, until FROM d)),
			coalesce(sum("rows"), 0), coalesce(sum(inserted), 0), coalesce(sum(updated), 0), coalesce(sum(unchanged), 0), coalesce(sum(deleted), 0),
			coalesce(sum(requests), 0), coalesce(sum(retries), 0), coalesce(sum(bytes), 0), coalesce(sum(waited_us), 0) FROM d`, id).
		Scan(&p.Runs, &p.Slices, &c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted, &u.Requests, &u.Retries, &u.Bytes, &waited)
	u.Waited = time.Duration(waited) * time.Microsecond
	return p, fault(ctx, fmt.Sprintf("read progress of backfill %d", id), err)
}

// HeldByBackfill implements sink.Yielding. One process pulls into the file, so a
// backfill of another source is in the way too.
func (s *Sink) HeldByBackfill(ctx context.Context, source string) (held bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM "winch.runs" WHERE outcome = '' AND backfill IS NOT NULL)`).Scan(&held)
	return held, fault(ctx, "see who pulls "+source, err)
}

// Announce implements sink.Yielding.
func (s *Sink) Announce(ctx context.Context, source, waiter string) error {
	return s.update(ctx, "wait for source "+source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO "winch.waits" (source, waiter, seen_at) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at`, source, waiter, timestamp(time.Now()))
		return err
	})
}

// Withdraw implements sink.Yielding.
func (s *Sink) Withdraw(ctx context.Context, source, waiter string) error {
	return s.update(ctx, "stop waiting for source "+source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM "winch.waits" WHERE source = ? AND waiter = ? OR seen_at < ?`,
			source, waiter, timestamp(time.Now().Add(-sink.WaitExpiry)))
		return err
	})
}

// Awaited implements sink.Yielding. Whoever waits for another source waits for
// the file.
func (s *Sink) Awaited(ctx context.Context, source string) (awaited bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM "winch.waits" WHERE seen_at >= ?)`,
		timestamp(time.Now().Add(-sink.WaitExpiry))).Scan(&awaited)
	return awaited, fault(ctx, "see who waits for source "+source, err)
}
