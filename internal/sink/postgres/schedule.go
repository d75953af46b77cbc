package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// Serve implements sink.Schedules: agents share the database.
func (s *Sink) Serve(context.Context) (release func(), err error) { return func() {}, nil }

// Now returns the clock of the database.
func (s *Sink) Now(ctx context.Context) (now time.Time, err error) {
	err = s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan((*moment)(&now))
	return now, fault(ctx, "read the clock", err)
}

// RegisterSchedules implements sink.Schedules.
func (s *Sink) RegisterSchedules(ctx context.Context, schedules []sink.Schedule) ([]time.Time, error) {
	// In the order of their names, so that agents that start together do not lock
	// each other's rows crosswise.
	const register = `INSERT INTO winch.schedules AS s (source, schedule, expression, since)
SELECT source, schedule, expression, clock_timestamp()
FROM unnest($1::text[], $2::text[], $3::text[]) AS given (source, schedule, expression)
ORDER BY source, schedule
ON CONFLICT (source, schedule) DO UPDATE SET expression = excluded.expression, since = excluded.since
	WHERE s.expression <> excluded.expression`
	const since = `SELECT greatest(s.since, (SELECT max(t.tick) FROM winch.ticks t WHERE t.source = s.source AND t.schedule = s.schedule))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (source, schedule, n)
JOIN winch.schedules s USING (source, schedule) ORDER BY given.n`
	const op = "register the schedules"
	var sources, names, expressions []string
	for _, one := range schedules {
		sources = append(sources, one.Source)
		names = append(names, one.Name)
		expressions = append(expressions, one.Expression)
	}
	if _, err := s.pool.Exec(ctx, register, sources, names, expressions); err != nil {
		return nil, fault(ctx, op, err)
	}
	rows, err := s.pool.Query(ctx, since, sources, names)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t time.Time, err error) {
		err = row.Scan((*moment)(&t))
		return t, err
	})
	return all, fault(ctx, op, err)
}

// FinishTick implements sink.Schedules.
func (s *Sink) FinishTick(ctx context.Context, source, schedule string, tick time.Time, run int64) error {
	const update = `UPDATE winch.ticks SET done_at = greatest(clock_timestamp(), decided_at), run = nullif($4::bigint, 0)
WHERE source = $1 AND schedule = $2 AND tick = $3 AND done_at IS NULL`
	_, err := s.pool.Exec(ctx, update, source, schedule, tick, run)
	return fault(ctx, "record the end of a tick of "+source, err)
}

const tickColumns = "source, schedule, tick, due_at, decision, reason, decided_at, agent, COALESCE(run, 0), done_at"

func scanTick(row pgx.CollectableRow) (t sink.Tick, err error) {
	err = row.Scan(tickFields(&t)...)
	return t, err
}

// tickFields are where tickColumns go.
func tickFields(t *sink.Tick) []any {
	return []any{
		&t.Source, &t.Schedule, (*moment)(&t.Tick), (*moment)(&t.DueAt), &t.Decision, &t.Reason,
		(*moment)(&t.DecidedAt), &t.Agent, &t.Run, (*moment)(&t.DoneAt),
	}
}

// TickOpen implements sink.Schedules.
func (s *Sink) TickOpen(ctx context.Context, source, schedule string, tick time.Time) (open bool, err error) {
	const query = "SELECT EXISTS (SELECT FROM winch.ticks WHERE source = $1 AND schedule = $2 AND tick = $3 AND done_at IS NULL)"
	err = s.pool.QueryRow(ctx, query, source, schedule, tick).Scan(&open)
	return open, fault(ctx, "read a tick of "+source, err)
}

// OpenTicks implements sink.Schedules.
func (s *Sink) OpenTicks(ctx context.Context) ([]sink.Tick, error) {
	return s.ticks(ctx, "WHERE done_at IS NULL ORDER BY due_at, source, schedule")
}

// Ticks implements sink.Schedules.
func (s *Sink) Ticks(ctx context.Context, source string, limit int) ([]sink.Tick, error) {
	if source == "" {
		return s.ticks(ctx, "ORDER BY due_at DESC, source, schedule LIMIT $1", limit)
	}
	return s.ticks(ctx, "WHERE source = $2 ORDER BY due_at DESC, schedule LIMIT $1", limit, source)
}

func (s *Sink) ticks(ctx context.Context, rest string, args ...any) ([]sink.Tick, error) {
	const op = "read the ticks"
	rows, err := s.pool.Query(ctx, "SELECT "+tickColumns+" FROM winch.ticks "+rest, args...)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	ticks, err := pgx.CollectRows(rows, scanTick)
	return ticks, fault(ctx, op, err)
}

// PauseSource implements sink.Schedules.
func (s *Sink) PauseSource(ctx context.Context, source string) (bool, error) {
	tag, err := s.pool.Exec(ctx, "INSERT INTO winch.pauses (source, paused_at) VALUES ($1, clock_timestamp()) ON CONFLICT DO NOTHING", source)
	return tag.RowsAffected() == 1, fault(ctx, "pause "+source, err)
}

// ResumeSource implements sink.Schedules.
func (s *Sink) ResumeSource(ctx context.Context, source string) (bool, error) {
	tag, err := s.pool.Exec(ctx, "DELETE FROM winch.pauses WHERE source = $1", source)
	return tag.RowsAffected() == 1, fault(ctx, "resume "+source, err)
}

// PausedSources implements sink.Schedules.
func (s *Sink) PausedSources(ctx context.Context) (map[string]time.Time, error) {
	const op = "read the paused sources"
	rows, err := s.pool.Query(ctx, "SELECT source, paused_at FROM winch.pauses")
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	paused := map[string]time.Time{}
	var (
		source string
		at     time.Time
	)
	_, err = pgx.ForEachRow(rows, []any{&source, (*moment)(&at)}, func() error {
		paused[source] = at
		return nil
	})
	return paused, fault(ctx, op, err)
}
