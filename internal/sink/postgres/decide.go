package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// DecideTicks implements sink.Schedules.
func (s *Sink) DecideTicks(ctx context.Context, schedules []sink.Undecided) ([]sink.Tick, error) {
	return s.DecideTicksWith(ctx, schedules, func(context.Context, pgx.Tx, []sink.Tick) error { return nil })
}

// DecideTicksWith is DecideTicks with more to do in the same transaction: what also
// writes is there exactly if the ticks that it is given are decided.
func (s *Sink) DecideTicksWith(ctx context.Context, schedules []sink.Undecided, also func(ctx context.Context, tx pgx.Tx, decided []sink.Tick) error) (decided []sink.Tick, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		states, err := tickStates(ctx, tx, schedules)
		if err != nil {
			return err
		}
		var ticks []sink.Tick
		for i, one := range schedules {
			ticks = append(ticks, one.Decide(states[i])...)
		}
		if len(ticks) == 0 {
			return nil
		}
		if decided, err = insertTicks(ctx, tx, ticks, states[0].Now); err != nil {
			return err
		}
		return also(ctx, tx, decided)
	})
	if err != nil {
		op := "decide ticks"
		if len(schedules) == 1 {
			op += " of " + schedules[0].Source
		}
		return nil, fault(ctx, op, err)
	}
	return decided, nil
}

// The parts of the state of some schedules, each with the schedule's number.
const (
	dueTicks = " FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS due (source, schedule, after, n) JOIN winch.ticks t USING (source, schedule) "

	pausedQuery = `SELECT p.source, clock_timestamp(), p.paused_at FROM (VALUES (1)) one (one) LEFT JOIN winch.pauses p ON p.source = ANY ($1)`
	// What was decided and what is open are found by an index each.
	decidedQuery = "SELECT n, t.tick" + dueTicks + "WHERE t.tick > due.after ORDER BY n, t.tick"
	openQuery    = "SELECT n, " + tickColumns + dueTicks + "WHERE t.done_at IS NULL ORDER BY n, t.tick"
	// runningQuery tells the run that holds a source, if its holder lives.
	runningQuery = `SELECT DISTINCT ON (r.source) r.source, r.id, r.trigger, r.started_at
FROM winch.runs r JOIN winch.leases l ON l.source = r.source JOIN winch.agents a ON a.id = l.holder
WHERE r.source = ANY ($1) AND r.outcome = '' AND ` + aliveExpr + ` ORDER BY r.source, r.id DESC`
)

// tickStates locks the ticks of the schedules' sources until the transaction ends,
// and returns what decisions about them rest on. It is one exchange with the server.
func tickStates(ctx context.Context, tx pgx.Tx, schedules []sink.Undecided) ([]sink.TickState, error) {
	var (
		sources, names []string
		after          []time.Time
		locks          []int64
	)
	for _, one := range schedules {
		sources = append(sources, one.Source)
		names = append(names, one.Schedule)
		after = append(after, one.From)
		locks = append(locks, lockKey("ticks", one.Source))
	}
	slices.Sort(locks) // so that two which decide ticks of the same sources do not lock them crosswise
	states := make([]sink.TickState, len(schedules))
	var (
		now     time.Time
		paused  = map[string]time.Time{}
		running = map[string]*sink.Run{}
	)
	batch := &pgx.Batch{}
	// Of two that decide ticks of a source, the second sees what the first decided.
	batch.Queue("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) key", slices.Compact(locks))
	batch.Queue(pausedQuery, sources).Query(func(rows pgx.Rows) error {
		var source *string
		var at time.Time
		_, err := pgx.ForEachRow(rows, []any{&source, (*moment)(&now), (*moment)(&at)}, func() error {
			if source != nil {
				paused[*source] = at
			}
			return nil
		})
		return err
	})
	batch.Queue(decidedQuery, sources, names, after).Query(func(rows pgx.Rows) error {
		var n int
		var at time.Time
		_, err := pgx.ForEachRow(rows, []any{&n, (*moment)(&at)}, func() error {
			states[n-1].Decided = append(states[n-1].Decided, at)
			return nil
		})
		return err
	})
	batch.Queue(openQuery, sources, names, after).Query(func(rows pgx.Rows) error {
		var n int
		var t sink.Tick
		_, err := pgx.ForEachRow(rows, append([]any{&n}, tickFields(&t)...), func() error {
			states[n-1].Open = append(states[n-1].Open, t)
			return nil
		})
		return err
	})
	batch.Queue(runningQuery, sources).Query(func(rows pgx.Rows) error {
		var r sink.Run
		_, err := pgx.ForEachRow(rows, []any{&r.Source, &r.ID, &r.Trigger, (*moment)(&r.StartedAt)}, func() error {
			running[r.Source] = new(r)
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	for i, one := range schedules {
		states[i].Now, states[i].PausedAt, states[i].Running = now, paused[one.Source], running[one.Source]
	}
	return states, nil
}

// insertTicks records ticks and returns those that were not decided before.
func insertTicks(ctx context.Context, tx pgx.Tx, ticks []sink.Tick, now time.Time) ([]sink.Tick, error) {
	const insert = `INSERT INTO winch.ticks (source, schedule, tick, due_at, decision, reason, agent, decided_at, done_at)
SELECT source, schedule, tick, due_at, decision, reason, agent, $8, CASE WHEN decision = 'skipped' THEN $8::timestamptz END
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
	AS decided (source, schedule, tick, due_at, decision, reason, agent)
ON CONFLICT (source, schedule, tick) DO NOTHING RETURNING source, schedule, tick`
	var (
		sources, names, decisions, reasons, agents []string
		moments, dues                              []time.Time
	)
	for _, t := range ticks {
		sources, names, moments, dues = append(sources, t.Source), append(names, t.Schedule), append(moments, t.Tick), append(dues, t.DueAt)
		decisions, reasons, agents = append(decisions, string(t.Decision)), append(reasons, storable(t.Reason)), append(agents, storable(t.Agent))
	}
	rows, err := tx.Query(ctx, insert, sources, names, moments, dues, decisions, reasons, agents, now)
	if err != nil {
		return nil, err
	}
	type key struct {
		source, schedule string
		tick             int64
	}
	var (
		one      sink.Tick
		recorded = map[key]bool{}
	)
	_, err = pgx.ForEachRow(rows, []any{&one.Source, &one.Schedule, (*moment)(&one.Tick)}, func() error {
		recorded[key{one.Source, one.Schedule, one.Tick.Unix()}] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	decided := ticks[:0:0]
	for _, t := range ticks {
		if !recorded[key{t.Source, t.Schedule, t.Tick.Unix()}] {
			continue
		}
		t.DecidedAt = now
		if t.Decision == sink.Skipped {
			t.DoneAt = now
		}
		decided = append(decided, t)
	}
	return decided, nil
}
