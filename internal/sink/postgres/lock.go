package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// sourceLock is the right to pull a source: an advisory lock that a session of
// its own holds, so that it ends with the process.
type sourceLock struct {
	key     int64
	pid     uint32 // of the server process of that session
	release func()
}

// holderQuery finds who holds the advisory lock $1: see pg_locks in the manual for
// how its 64 bits are shown.
const holderQuery = `SELECT l.pid, COALESCE(a.application_name, '')
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint`

// lockName is the application_name of a session that holds a lock.
const lockName = "winch: "

// keepQuery makes the server notice within a minute that the holder's machine is
// gone, instead of after hours, and not end a session that only holds a lock.
// idle_session_timeout is new in PostgreSQL 14.
const keepQuery = `SELECT set_config(name, CASE name
	WHEN 'tcp_keepalives_idle' THEN '30' WHEN 'tcp_keepalives_interval' THEN '10' WHEN 'tcp_keepalives_count' THEN '3' ELSE '0' END, false)
FROM pg_settings
WHERE name IN ('tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'idle_session_timeout')`

// Lock takes the exclusive right to pull a source (I3).
func (s *Sink) Lock(ctx context.Context, source string) (release func(), err error) {
	op := "lock source " + source
	config := s.config.Copy()
	config.RuntimeParams["application_name"] = lockName + self()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer func() {
		if err != nil {
			closeConn(ctx, conn)
		}
	}()
	if _, err := conn.Exec(ctx, keepQuery); err != nil {
		return nil, fault(ctx, op, err)
	}
	lock := sourceLock{key: lockKey("source", source)}
	var locked bool
	// The driver's own knowledge of the process is wrong behind a pooler.
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1), pg_backend_pid()", lock.key).Scan(&locked, &lock.pid); err != nil {
		return nil, fault(ctx, op, err)
	}
	if !locked {
		return nil, s.busy(ctx, conn, source, lock.key)
	}
	// I4: a run without an outcome is of an agent that died, or we had no lock.
	const lost = `UPDATE winch.runs
SET outcome = 'lost', ended_at = greatest(now(), started_at), error = 'the agent ended without recording an outcome'
WHERE source = $1 AND outcome = ''`
	if _, err := conn.Exec(ctx, lost, source); err != nil {
		return nil, fault(ctx, op, err)
	}
	lock.release = sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.locks, source)
		s.mu.Unlock()
		// Unlocked before the session ends, which the server notices only later.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", lock.key) // or the lock ends with the session
		closeConn(ctx, conn)
	})
	s.mu.Lock()
	s.locks[source] = lock
	s.mu.Unlock()
	return lock.release, nil
}

// busy says who holds the lock.
func (s *Sink) busy(ctx context.Context, conn *pgx.Conn, source string, key int64) error {
	var (
		pid  uint32
		name string
	)
	err := conn.QueryRow(ctx, holderQuery, key).Scan(&pid, &name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &sink.Busy{Source: source} // it has just ended
	case err != nil:
		return fault(ctx, "lock source "+source, err)
	}
	// Only the same user and superusers see the name.
	holder, known := strings.CutPrefix(name, lockName)
	if !known {
		holder = fmt.Sprintf("server process %d", pid)
	}
	return &sink.Busy{Source: source, Holder: holder}
}

// stillLocked refuses a commit under a lock whose session has ended, after which
// another agent may pull the source (I3).
func (s *Sink) stillLocked(ctx context.Context, tx pgx.Tx, source string) error {
	s.mu.Lock()
	lock, ok := s.locks[source]
	s.mu.Unlock()
	if !ok {
		return nil // nobody asked for the lock through this sink
	}
	var pid uint32
	err := tx.QueryRow(ctx, "SELECT pid FROM ("+holderQuery+") l", lock.key).Scan(&pid)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if err != nil || pid != lock.pid {
		return &sink.Error{
			Fault: sink.FaultUnreachable, Op: "commit to source " + source,
			Err:  errors.New("the connection that held the source's lock was lost"),
			Hint: "another agent may pull the source meanwhile; run again",
		}
	}
	return nil
}
