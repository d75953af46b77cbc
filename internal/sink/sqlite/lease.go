package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// cancelPause is how long a run may not notice that a person, in another process,
// asked to cancel it.
const cancelPause = time.Second

// watchCancel ends what is held when a person asks to cancel its run.
func (s *Sink) watchCancel(ctx context.Context, source string, lose context.CancelCauseFunc) {
	again := time.NewTicker(cancelPause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		var asked bool
		const query = `SELECT EXISTS (SELECT 1 FROM "winch.runs" WHERE source = ? AND outcome = '' AND cancel_at IS NOT NULL)`
		if err := s.readers.QueryRowContext(ctx, query, source).Scan(&asked); err == nil && asked { // or asked again in a moment
			lose(sink.ErrCancelled)
			return
		}
	}
}

// CancelRun implements sink.Leases.
func (s *Sink) CancelRun(ctx context.Context, id int64) (asked bool, err error) {
	op := fmt.Sprintf("cancel run %d", id)
	var outcome string
	err = s.update(ctx, op, func(tx *sql.Tx) error {
		const update = `UPDATE "winch.runs" SET cancel_at = COALESCE(cancel_at, ?) WHERE id = ? RETURNING outcome`
		return tx.QueryRowContext(ctx, update, timestamp(time.Now()), id).Scan(&outcome)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("%s: %w", op, sink.ErrNoRun)
	}
	return err == nil && outcome == "", err
}

// Agents implements sink.Leases: there is one if somebody pulls into the file.
func (s *Sink) Agents(ctx context.Context) ([]sink.Agent, error) {
	const op = "read the agents"
	pid, since, err := s.locks.holder()
	if err != nil || pid == 0 {
		return nil, fault(ctx, op, err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	a := sink.Agent{ID: 1, Host: host, PID: pid, StartedAt: since, SeenAt: time.Now().UTC(), Alive: true}
	rows, err := s.readers.QueryContext(ctx, `SELECT source, id, started_at FROM "winch.runs" WHERE outcome = '' ORDER BY source, id`)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer func() { _ = rows.Close() }() // Err tells what matters
	for rows.Next() {
		var (
			h    sink.Holding
			text string
		)
		if err := rows.Scan(&h.Source, &h.Run, &text); err != nil {
			return nil, fault(ctx, op, err)
		}
		if h.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, fault(ctx, op, err)
		}
		a.Holds = append(a.Holds, h)
	}
	return []sink.Agent{a}, fault(ctx, op, rows.Err())
}

// Drain implements sink.Leases.
func (s *Sink) Drain(context.Context, int64, bool) (int, error) { return 0, nil }
