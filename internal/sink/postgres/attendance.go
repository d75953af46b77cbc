package postgres

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/sink"
)

// How take-over is timed; docs/scale.md adds up the bounds. All are by the
// database's clock, except that an agent counts its own silence by its own.
const (
	// beatEvery is how often an agent gives a sign of life.
	beatEvery = 3 * time.Second
	// agentTTL is how long an agent may be silent before others take over what it
	// holds. An agent whose session has ended need not be waited for.
	agentTTL = 15 * time.Second
	// patience is how long the server lets a transaction wait for its client. One
	// that was stopped in the middle of a commit holds its lease for no longer.
	patience = 8 * time.Second
	// reenterAfter is the pause between attempts to connect again.
	reenterAfter = 250 * time.Millisecond
)

// agentLock is the first half of the advisory lock that an agent's session holds
// as long as it lives; the second half is the agent's id.
const agentLock = "2003398243"

// controlChannel tells agents that there is something to look at: a run to
// cancel, a drain.
const controlChannel = "winch_control"

// lockName is the application_name of an agent's session.
const lockName = "winch: "

// keepQuery makes the server notice within a minute that the agent's machine is
// gone, instead of after hours, and not end a session that says little.
// idle_session_timeout is new in PostgreSQL 14.
const keepQuery = `SELECT set_config(name, CASE name
	WHEN 'tcp_keepalives_idle' THEN '30' WHEN 'tcp_keepalives_interval' THEN '10' WHEN 'tcp_keepalives_count' THEN '3' ELSE '0' END, false)
FROM pg_settings
WHERE name IN ('tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'idle_session_timeout')`

// attendance is this process among the agents: a row that a session of its own
// keeps fresh, and a lock of that session which ends with the process.
type attendance struct {
	id    int64
	leave context.CancelFunc
	left  chan struct{} // closed when the session has ended
}

// attend makes this process an agent, if it is not one yet.
func (s *Sink) attend(ctx context.Context) (id int64, err error) {
	s.attending.Lock()
	defer s.attending.Unlock()
	if s.agent != nil {
		return s.agent.id, nil
	}
	const draw = `WITH gone AS (
	DELETE FROM winch.agents a WHERE expires_at < now() - interval '1 day'
		AND NOT EXISTS (SELECT FROM winch.leases l WHERE l.holder = a.id))
SELECT nextval(pg_get_serial_sequence('winch.agents', 'id'))`
	if err := s.pool.QueryRow(ctx, draw).Scan(&id); err != nil {
		return 0, err
	}
	s.startedAt = time.Now()
	conn, err := s.enter(ctx, id)
	if err != nil {
		return 0, err
	}
	inner, leave := context.WithCancel(context.WithoutCancel(ctx))
	s.agent = &attendance{id: id, leave: leave, left: make(chan struct{})}
	go s.keepAttending(inner, s.agent, conn) // awaited by leaveAgents
	return id, nil
}

// AgentID returns the id of this process among the agents, and makes it one.
func (s *Sink) AgentID(ctx context.Context) (int64, error) {
	id, err := s.attend(ctx)
	return id, fault(ctx, "join the agents", err)
}

// enter opens the session that stands for the agent's life.
func (s *Sink) enter(ctx context.Context, id int64) (_ *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, agentTTL)
	defer cancel()
	config := s.config.Copy()
	config.RuntimeParams["application_name"] = lockName + self()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(ctx, conn)
		}
	}()
	if _, err = conn.Exec(ctx, keepQuery); err != nil {
		return nil, err
	}
	// First the lock, then the row: whoever sees the row may conclude from the lock.
	// An earlier session of ours may need a moment to end.
	if _, err = conn.Exec(ctx, "SELECT pg_advisory_lock("+agentLock+", $1::int)", id); err != nil {
		return nil, err
	}
	const upsert = `INSERT INTO winch.agents AS a (id, host, pid, version, started_at, seen_at, expires_at, sessions)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp() + $6, $7)
ON CONFLICT ON CONSTRAINT agents_pkey DO UPDATE SET seen_at = EXCLUDED.seen_at, expires_at = EXCLUDED.expires_at`
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if _, err = conn.Exec(ctx, upsert, id, host, os.Getpid(), s.version, s.startedAt, agentTTL, s.sessions); err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "LISTEN "+controlChannel)
	return conn, err
}

// keepAttending gives signs of life until the agent leaves. When the session is
// lost it opens another; when that takes too long, what the agent held is lost.
func (s *Sink) keepAttending(ctx context.Context, a *attendance, conn *pgx.Conn) {
	defer close(a.left)
	heard := time.Now()
	for ctx.Err() == nil {
		if conn == nil {
			pause(ctx, reenterAfter)
			conn, _ = s.enter(ctx, a.id) // tried again, until what we hold is lost below
		}
		asked := time.Now()
		if conn != nil {
			// To leave does not break it off, which would break the session.
			if err := s.beat(context.WithoutCancel(ctx), a.id, conn); err != nil {
				closeConn(ctx, conn)
				conn = nil
			} else {
				heard = asked
			}
		}
		if time.Since(heard) > agentTTL {
			s.loseAll()
		}
		if conn != nil && !listen(ctx, conn, beatEvery) {
			closeConn(ctx, conn)
			conn = nil
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_, _ = s.pool.Exec(end, "DELETE FROM winch.agents WHERE id = $1", a.id) // or it expires
	if conn != nil {
		_, _ = conn.Exec(end, "SELECT pg_advisory_unlock_all()") // or it ends with the session
		closeConn(end, conn)
	}
}

// listen waits for a notification, for at most d. It reports whether the session
// is still there.
func listen(ctx context.Context, conn *pgx.Conn, d time.Duration) bool {
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_, err := conn.WaitForNotification(wait)
	return err == nil || pgconn.Timeout(err) || wait.Err() != nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// beat gives a sign of life and learns what is asked of the agent.
func (s *Sink) beat(ctx context.Context, id int64, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, agentTTL/3)
	defer cancel()
	before := s.leasesHeld()
	// An agent that is not in the table was declared dead, and holds nothing.
	const query = `WITH beat AS (
	UPDATE winch.agents SET seen_at = clock_timestamp(), expires_at = clock_timestamp() + $2 WHERE id = $1 RETURNING draining)
SELECT (SELECT draining FROM beat), l.source, COALESCE(l.token, 0), COALESCE(r.cancel_at IS NOT NULL, false)
FROM (VALUES (1)) one (one)
	LEFT JOIN winch.leases l ON l.holder = $1
	LEFT JOIN winch.runs r ON r.source = l.source AND r.outcome = ''`
	rows, err := conn.Query(ctx, query, id, agentTTL)
	if err != nil {
		return err
	}
	var (
		draining *bool
		source   *string
		token    int64
		cancelIt bool
		held     = map[string]int64{}
		asked    = map[string]bool{}
	)
	_, err = pgx.ForEachRow(rows, []any{&draining, &source, &token, &cancelIt}, func() error {
		if source != nil {
			held[*source] = token
			asked[*source] = asked[*source] || cancelIt
		}
		return nil
	})
	if err != nil {
		return err
	}
	if draining == nil {
		return errors.New("the agent was declared dead")
	}
	s.draining.Store(*draining)
	for source, l := range before {
		switch {
		case held[source] != l.token:
			l.lose(fenced(source))
		case asked[source]:
			l.lose(sink.ErrCancelled)
		}
	}
	// What could not be released at the time.
	after := s.leasesHeld()
	for source, token := range held {
		if after[source] == nil && !s.reserved(source) {
			if _, err := conn.Exec(ctx, freeQuery, source, token); err != nil {
				return err
			}
		}
	}
	return nil
}

// Draining reports whether this agent was asked to take no more jobs.
func (s *Sink) Draining() bool { return s.draining.Load() }

func (s *Sink) loseAll() {
	for source, l := range s.leasesHeld() {
		l.lose(fenced(source))
	}
}

// leaveAgents ends the attendance, and returns when the session has ended.
func (s *Sink) leaveAgents() {
	s.attending.Lock()
	defer s.attending.Unlock()
	if s.agent != nil {
		s.agent.leave()
		<-s.agent.left
		s.agent = nil
	}
}

// aliveExpr is whether the agent a lives: it gave a sign of life lately, and its
// session is there. When the server was restarted since, no session is, and agents
// have the time until they expire to come back.
const aliveExpr = `(a.id IS NOT NULL AND a.expires_at > clock_timestamp()
	AND (a.seen_at < pg_postmaster_start_time() OR NOT pg_try_advisory_xact_lock_shared(` + agentLock + `, a.id)))`

// Agents returns those who take part.
func (s *Sink) Agents(ctx context.Context) ([]sink.Agent, error) {
	const op = "read the agents"
	const query = `SELECT a.id, a.host, a.pid, a.version, a.started_at, a.seen_at, ` + aliveExpr + `, a.draining,
	l.source, l.taken_at, COALESCE((SELECT max(r.id) FROM winch.runs r WHERE r.source = l.source AND r.outcome = ''), 0)
FROM winch.agents a LEFT JOIN winch.leases l ON l.holder = a.id
ORDER BY a.id, l.source`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	var (
		agents []sink.Agent
		a      sink.Agent
		h      sink.Holding
		source *string
	)
	targets := []any{
		&a.ID, &a.Host, &a.PID, &a.Version, (*moment)(&a.StartedAt), (*moment)(&a.SeenAt), &a.Alive, &a.Draining,
		&source, (*moment)(&h.Since), &h.Run,
	}
	_, err = pgx.ForEachRow(rows, targets, func() error {
		if n := len(agents); n == 0 || agents[n-1].ID != a.ID {
			agents = append(agents, a)
		}
		if source != nil {
			h.Source = *source
			last := &agents[len(agents)-1]
			last.Holds = append(slices.Clip(last.Holds), h)
		}
		return nil
	})
	return agents, fault(ctx, op, err)
}

// Drain asks an agent, or all, to take no more jobs, or to take jobs again.
func (s *Sink) Drain(ctx context.Context, id int64, drain bool) (int, error) {
	const op = "drain agents"
	const query = `WITH asked AS (
	UPDATE winch.agents SET draining = $2 WHERE $1 IN (0, id) AND expires_at > now() RETURNING id)
SELECT count(*)::int, pg_notify('` + controlChannel + `', 'drain')::text FROM asked`
	var (
		n    int
		void *string
	)
	err := s.pool.QueryRow(ctx, query, id, drain).Scan(&n, &void)
	return n, fault(ctx, op, err)
}

// CancelRun asks the holder of a run to end it.
func (s *Sink) CancelRun(ctx context.Context, id int64) (bool, error) {
	const query = `WITH asked AS (
	UPDATE winch.runs SET cancel_at = COALESCE(cancel_at, now()) WHERE id = $1 AND outcome = '' RETURNING id)
SELECT EXISTS (SELECT FROM asked), EXISTS (SELECT FROM winch.runs WHERE id = $1), pg_notify('` + controlChannel + `', 'cancel')::text`
	var (
		asked, known bool
		void         *string
	)
	if err := s.pool.QueryRow(ctx, query, id).Scan(&asked, &known, &void); err != nil {
		return false, fault(ctx, "cancel a run", err)
	}
	if !known {
		return false, noRun(id)
	}
	return asked, nil
}
