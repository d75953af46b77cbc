package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/winchdata/winch/internal/sink"
)

// A Bequest is what an agent left that died.
type Bequest struct {
	Agent int64
	// Lost are its runs that had no outcome, by id, and now are lost.
	Lost []sink.Run
	// Cancelled are sources whose run a person had asked to cancel.
	Cancelled []string
	// Kept are sources that are not free yet, because its session is still to end.
	// They come with a later Bequest.
	Kept []string
}

// Heirs lets go of what dead agents held, so that others can go on (I7). For each
// of them inherit gets the transaction in which that happens: what it writes is
// there exactly if the runs are lost. Of several agents that look at the same time
// one inherits. It returns how many dead agents it found.
func (s *Sink) Heirs(ctx context.Context, inherit func(ctx context.Context, tx pgx.Tx, b Bequest) error) (int, error) {
	const op = "take over from dead agents"
	rows, err := s.pool.Query(ctx, "SELECT a.id FROM winch.agents a WHERE NOT "+aliveExpr)
	if err != nil {
		return 0, fault(ctx, op, err)
	}
	dead, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fault(ctx, op, err)
	}
	for _, id := range dead {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.inheritFrom(ctx, tx, id, inherit) })
		if err != nil {
			return 0, fault(ctx, op, err)
		}
	}
	return len(dead), nil
}

func (s *Sink) inheritFrom(ctx context.Context, tx pgx.Tx, id int64, inherit func(context.Context, pgx.Tx, Bequest) error) error {
	// Under the lock the agent cannot give a sign of life, and nobody else inherits.
	const still = "SELECT a.id FROM winch.agents a WHERE a.id = $1 AND NOT " + aliveExpr + " FOR UPDATE OF a SKIP LOCKED"
	if err := tx.QueryRow(ctx, still, id).Scan(&id); errors.Is(err, pgx.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	b := Bequest{Agent: id}
	if err := endSessions(ctx, tx, id); err != nil {
		return err
	}
	// A session may need a moment to end, and a commit that is under way holds its
	// lease: it is left alone.
	const free = `UPDATE winch.leases SET holder = NULL, token = token + 1
WHERE source IN (SELECT source FROM winch.leases WHERE holder = $1 FOR UPDATE SKIP LOCKED) RETURNING source`
	freed, err := texts(ctx, tx, free, id)
	if err != nil {
		return err
	}
	if b.Kept, err = texts(ctx, tx, "SELECT source FROM winch.leases WHERE holder = $1", id); err != nil {
		return err
	}
	const lose = `UPDATE winch.runs
SET outcome = 'lost', ended_at = greatest(clock_timestamp(), started_at), error = 'the agent ended without recording an outcome'
WHERE source = ANY ($1) AND outcome = '' RETURNING id, source, connector, trigger, COALESCE(backfill, 0), cancel_at IS NOT NULL`
	rows, err := tx.Query(ctx, lose, freed)
	if err != nil {
		return err
	}
	b.Lost, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r sink.Run, err error) {
		var cancelled bool
		err = row.Scan(&r.ID, &r.Source, &r.Connector, &r.Trigger, &r.Backfill, &cancelled)
		if cancelled {
			b.Cancelled = append(b.Cancelled, r.Source)
		}
		return r, err
	})
	if err != nil {
		return err
	}
	if err := inherit(ctx, tx, b); err != nil {
		return err
	}
	if len(b.Kept) > 0 {
		return nil
	}
	_, err = tx.Exec(ctx, "DELETE FROM winch.agents WHERE id = $1", id)
	return err
}

// endSessions ends what the sessions of a dead agent still do. One that was stopped
// in the middle of a long statement would otherwise hold its lease and its tables
// until that ends. Idle ones hold nothing, and are of use when it wakes up: it then
// hears that it was fenced off.
//
// Sessions are known by a lock that no others hold and that ends with them, and not
// by a number that the server may have given to another since. What belongs to a
// role that this one may not end is left to its time limits.
func endSessions(ctx context.Context, on querier, agent int64) error {
	const end = `SELECT count(pg_terminate_backend(l.pid))
FROM winch.agents a
	JOIN pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
		AND l.classid::bigint = a.sessions >> 32 AND l.objid::bigint = a.sessions & 4294967295
	JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
	JOIN pg_stat_activity s ON s.pid = l.pid AND s.state IS DISTINCT FROM 'idle'
	JOIN pg_roles r ON r.oid = s.usesysid
WHERE a.id = $1 AND NOT ` + aliveExpr + ` AND pg_has_role(r.oid, 'USAGE')
	AND (NOT r.rolsuper OR (SELECT me.rolsuper FROM pg_roles me WHERE me.rolname = current_user))`
	_, err := on.Exec(ctx, end, agent)
	return err
}

func texts(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Pool opens a pool of connections to the same database, set up as the sink's own,
// for what keeps tables beside the sink's. The caller closes it.
func (s *Sink) Pool(ctx context.Context, conns int32) (*pgxpool.Pool, error) {
	config := s.pool.Config()
	config.MaxConns = conns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return pool, fault(ctx, "connect to "+s.location, err)
}

// Exclusively runs do while this session holds a lock of the given name, across
// agents.
func (s *Sink) Exclusively(ctx context.Context, name string, do func(conn *pgx.Conn) error) error {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return fault(ctx, name, err)
	}
	defer closeConn(ctx, conn) // and with it the lock
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey(name)); err != nil {
		return fault(ctx, name, err)
	}
	return fault(ctx, name, do(conn))
}
