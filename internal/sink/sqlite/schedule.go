package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// Serve implements sink.Schedules: the file is held as for a pull, so that one
// agent at a time runs schedules or pulls.
func (s *Sink) Serve(ctx context.Context) (release func(), err error) {
	h, err := s.locks.take(ctx, sink.Claim{})
	if err != nil {
		return nil, err
	}
	return func() { s.locks.release(h) }, nil
}

// Now returns the clock of this machine, which is the only one that writes.
func (s *Sink) Now(context.Context) (time.Time, error) {
	return time.Now().UTC().Truncate(time.Microsecond), nil
}

// RegisterSchedules implements sink.Schedules.
func (s *Sink) RegisterSchedules(ctx context.Context, schedules []sink.Schedule) (since []time.Time, err error) {
	err = s.update(ctx, "register the schedules", func(tx *sql.Tx) error {
		since = nil
		now := timestamp(time.Now())
		for _, one := range schedules {
			if _, err := tx.ExecContext(ctx, `INSERT INTO "winch.schedules" AS s (source, schedule, expression, since) VALUES (?, ?, ?, ?)
				ON CONFLICT (source, schedule) DO UPDATE SET expression = excluded.expression, since = excluded.since
				WHERE s.expression <> excluded.expression`, one.Source, one.Name, one.Expression, now); err != nil {
				return err
			}
			var text string
			if err := tx.QueryRowContext(ctx, `SELECT max(since, coalesce((SELECT max(tick) FROM "winch.ticks" WHERE source = ?1 AND schedule = ?2), ''))
				FROM "winch.schedules" WHERE source = ?1 AND schedule = ?2`, one.Source, one.Name).Scan(&text); err != nil {
				return err
			}
			t, err := parseTimestamp(&text)
			if err != nil {
				return err
			}
			since = append(since, t)
		}
		return nil
	})
	return since, err
}

// DecideTicks implements sink.Schedules. A transaction that writes has the file for
// itself.
func (s *Sink) DecideTicks(ctx context.Context, schedules []sink.Undecided) (decided []sink.Tick, err error) {
	err = s.update(ctx, "decide ticks", func(tx *sql.Tx) error {
		decided = nil
		for _, one := range schedules {
			state, err := s.tickState(ctx, tx, one.Source, one.Schedule, one.From)
			if err != nil {
				return err
			}
			ticks, err := insertTicks(ctx, tx, one.Decide(state), state.Now)
			if err != nil {
				return err
			}
			decided = append(decided, ticks...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return decided, nil
}

func (s *Sink) tickState(ctx context.Context, tx *sql.Tx, source, schedule string, from time.Time) (state sink.TickState, err error) {
	state.Now = time.Now().UTC().Truncate(time.Microsecond)
	var paused *string
	err = tx.QueryRowContext(ctx, `SELECT paused_at FROM "winch.pauses" WHERE source = ?`, source).Scan(&paused)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return state, err
	}
	if state.PausedAt, err = parseTimestamp(paused); err != nil {
		return state, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT tick FROM "winch.ticks" WHERE source = ? AND schedule = ? AND tick > ? ORDER BY tick`, source, schedule, timestamp(from))
	if err != nil {
		return state, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return state, err
		}
		t, err := parseTimestamp(&text)
		if err != nil {
			return state, err
		}
		state.Decided = append(state.Decided, t)
	}
	if err := rows.Err(); err != nil {
		return state, err
	}
	open, err := tx.QueryContext(ctx, selectTicks+` WHERE source = ? AND schedule = ? AND done_at IS NULL ORDER BY tick`, source, schedule)
	if err != nil {
		return state, err
	}
	if state.Open, err = scanTicks(open); err != nil {
		return state, err
	}
	state.Running, err = s.running(ctx, tx, source)
	return state, err
}

// running returns the run that holds the source, if its holder lives.
func (s *Sink) running(ctx context.Context, tx *sql.Tx, source string) (*sink.Run, error) {
	if !s.locks.holds(source) {
		return nil, nil
	}
	run := sink.Run{Source: source}
	var started string
	err := tx.QueryRowContext(ctx, `SELECT id, "trigger", started_at FROM "winch.runs" WHERE source = ? AND outcome = '' ORDER BY id DESC LIMIT 1`, source).
		Scan(&run.ID, &run.Trigger, &started)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	run.StartedAt, err = parseTimestamp(&started)
	return &run, err
}

func insertTicks(ctx context.Context, tx *sql.Tx, ticks []sink.Tick, now time.Time) ([]sink.Tick, error) {
	var decided []sink.Tick
	for _, t := range ticks {
		t.DecidedAt = now
		var done *string
		if t.Decision == sink.Skipped {
			t.DoneAt = now
			text := timestamp(now)
			done = &text
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO "winch.ticks" (source, schedule, tick, due_at, decision, reason, decided_at, agent, done_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, schedule, tick) DO NOTHING`,
			t.Source, t.Schedule, timestamp(t.Tick), timestamp(t.DueAt), string(t.Decision), t.Reason, timestamp(now), t.Agent, done)
		if err != nil {
			return nil, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		if n == 1 {
			decided = append(decided, t)
		}
	}
	return decided, nil
}

// FinishTick implements sink.Schedules.
func (s *Sink) FinishTick(ctx context.Context, source, schedule string, tick time.Time, run int64) error {
	return s.update(ctx, "record the end of a tick of "+source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE "winch.ticks" SET done_at = max(?, decided_at), run = nullif(?, 0)
			WHERE source = ? AND schedule = ? AND tick = ? AND done_at IS NULL`, timestamp(time.Now()), run, source, schedule, timestamp(tick))
		return err
	})
}

const selectTicks = `SELECT source, schedule, tick, due_at, decision, reason, decided_at, agent, coalesce(run, 0), done_at FROM "winch.ticks"`

func scanTicks(rows *sql.Rows) ([]sink.Tick, error) {
	defer rows.Close()
	var ticks []sink.Tick
	for rows.Next() {
		var (
			t                    sink.Tick
			tick, due, decidedAt string
			done                 *string
		)
		if err := rows.Scan(&t.Source, &t.Schedule, &tick, &due, &t.Decision, &t.Reason, &decidedAt, &t.Agent, &t.Run, &done); err != nil {
			return nil, err
		}
		for _, at := range []struct {
			into *time.Time
			text *string
		}{{&t.Tick, &tick}, {&t.DueAt, &due}, {&t.DecidedAt, &decidedAt}, {&t.DoneAt, done}} {
			var err error
			if *at.into, err = parseTimestamp(at.text); err != nil {
				return nil, err
			}
		}
		ticks = append(ticks, t)
	}
	return ticks, rows.Err()
}

// TickOpen implements sink.Schedules.
func (s *Sink) TickOpen(ctx context.Context, source, schedule string, tick time.Time) (open bool, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM "winch.ticks" WHERE source = ? AND schedule = ? AND tick = ? AND done_at IS NULL)`,
		source, schedule, timestamp(tick)).Scan(&open)
	return open, fault(ctx, "read a tick of "+source, err)
}

// OpenTicks implements sink.Schedules.
func (s *Sink) OpenTicks(ctx context.Context) ([]sink.Tick, error) {
	return s.ticks(ctx, ` WHERE done_at IS NULL ORDER BY due_at, source, schedule`)
}

// Ticks implements sink.Schedules.
func (s *Sink) Ticks(ctx context.Context, source string, limit int) ([]sink.Tick, error) {
	if source == "" {
		return s.ticks(ctx, ` ORDER BY due_at DESC, source, schedule LIMIT ?`, limit)
	}
	return s.ticks(ctx, ` WHERE source = ? ORDER BY due_at DESC, schedule LIMIT ?`, source, limit)
}

func (s *Sink) ticks(ctx context.Context, rest string, args ...any) ([]sink.Tick, error) {
	const op = "read the ticks"
	rows, err := s.readers.QueryContext(ctx, selectTicks+rest, args...)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	ticks, err := scanTicks(rows)
	return ticks, fault(ctx, op, err)
}

// PauseSource implements sink.Schedules.
func (s *Sink) PauseSource(ctx context.Context, source string) (bool, error) {
	return s.changed(ctx, "pause "+source, `INSERT INTO "winch.pauses" (source, paused_at) VALUES (?, ?) ON CONFLICT DO NOTHING`, source, timestamp(time.Now()))
}

// ResumeSource implements sink.Schedules.
func (s *Sink) ResumeSource(ctx context.Context, source string) (bool, error) {
	return s.changed(ctx, "resume "+source, `DELETE FROM "winch.pauses" WHERE source = ?`, source)
}

// changed runs a statement and reports whether it changed a row.
func (s *Sink) changed(ctx context.Context, op, statement string, args ...any) (changed bool, err error) {
	err = s.update(ctx, op, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		changed = n > 0
		return err
	})
	return changed, err
}

// PausedSources implements sink.Schedules.
func (s *Sink) PausedSources(ctx context.Context) (map[string]time.Time, error) {
	const op = "read the paused sources"
	rows, err := s.readers.QueryContext(ctx, `SELECT source, paused_at FROM "winch.pauses"`)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	paused := map[string]time.Time{}
	for rows.Next() {
		var source, text string
		if err := rows.Scan(&source, &text); err != nil {
			return nil, fault(ctx, op, err)
		}
		if paused[source], err = parseTimestamp(&text); err != nil {
			return nil, fault(ctx, op, err)
		}
	}
	return paused, fault(ctx, op, rows.Err())
}
