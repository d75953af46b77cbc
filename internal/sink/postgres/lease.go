package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/sink"
)

// lease is a source that this process holds. The token is its right: each commit
// compares it with the table's, under a lock that a take-over waits for.
type lease struct {
	token int64 // 0 while it is being taken
	lose  context.CancelCauseFunc
}

// freeQuery gives up the source $1 if it is still held by the token $2.
const freeQuery = "UPDATE winch.leases SET holder = NULL WHERE source = $1 AND token = $2"

// lostQuery gives an outcome to runs whose agent died, or that had no lease (I4).
const lostQuery = `UPDATE winch.runs
SET outcome = 'lost', ended_at = greatest(clock_timestamp(), started_at), error = 'the agent ended without recording an outcome'
WHERE source = $1 AND outcome = ''`

// Lock takes the exclusive right to pull a source (I3).
func (s *Sink) Lock(ctx context.Context, c sink.Claim) (context.Context, func(), error) {
	op := "lock source " + c.Source
	me, err := s.attend(ctx)
	if err != nil {
		return nil, nil, fault(ctx, op, err)
	}
	l := &lease{}
	if !s.reserve(c.Source, l) {
		return nil, nil, &sink.Busy{Source: c.Source, Held: c.Source, Holder: self()}
	}
	token, err := s.take(ctx, me, c)
	if err != nil {
		s.forget(c.Source)
		var busy *sink.Busy
		if errors.As(err, &busy) {
			return nil, nil, busy
		}
		return nil, nil, fault(ctx, op, err)
	}
	held, lose := context.WithCancelCause(ctx)
	s.mu.Lock()
	l.token, l.lose = token, lose
	s.mu.Unlock()
	return held, sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_, _ = s.pool.Exec(ctx, freeQuery, c.Source, token) // or the next beat does, or it expires
		s.forget(c.Source)
		lose(context.Canceled)
	}), nil
}

// take takes the source for the agent, from nobody or from a dead agent.
func (s *Sink) take(ctx context.Context, me int64, c sink.Claim) (token int64, err error) {
	const concerned = `SELECT l.source, COALESCE(l.holder, 0), l.source <> $1 AND l.holder = $3 OR COALESCE(l.holder <> $3, false) AND ` + aliveExpr + `,
	COALESCE(a.pid, 0), COALESCE(a.host, '')
FROM winch.leases l LEFT JOIN winch.agents a ON a.id = l.holder
WHERE l.source = $1 OR $2 <> '' AND l.budget = $2 AND l.holder IS NOT NULL
ORDER BY l.source`
	// A source that somebody holds is refused without waiting for its commits.
	gone, err := s.held(ctx, s.pool, concerned, c, me)
	if err != nil {
		return 0, err
	}
	for _, agent := range gone {
		if agent == me {
			continue // its session was lost and comes back
		}
		if err := endSessions(ctx, s.pool, agent); err != nil {
			return 0, err
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO winch.leases (source) VALUES ($1) ON CONFLICT ON CONSTRAINT leases_pkey DO NOTHING", c.Source); err != nil {
			return err
		}
		// Waits for the sessions that are about to end.
		dead, err := s.held(ctx, tx, concerned+" FOR UPDATE OF l", c, me)
		if err != nil {
			return err
		}
		for source := range dead {
			if _, err := tx.Exec(ctx, "UPDATE winch.leases SET holder = NULL, token = token + 1 WHERE source = $1", source); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, lostQuery, source); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, lostQuery, c.Source); err != nil {
			return err
		}
		const take = `UPDATE winch.leases SET holder = $2, budget = $3, token = token + 1, taken_at = clock_timestamp()
WHERE source = $1 RETURNING token`
		return tx.QueryRow(ctx, take, c.Source, me, c.Budget).Scan(&token)
	})
	var server *pgconn.PgError
	if errors.As(err, &server) && server.ConstraintName == "leases_budget" {
		return 0, &sink.Busy{Source: c.Source, Held: c.Source} // another source of the budget was taken at the same time
	}
	return token, err
}

// held runs the query, and returns *sink.Busy if a living agent holds one of the
// sources; else those that dead agents hold, with these.
func (s *Sink) held(ctx context.Context, on querier, query string, c sink.Claim, me int64) (dead map[string]int64, err error) {
	rows, err := on.Query(ctx, query, c.Source, c.Budget, me)
	if err != nil {
		return nil, err
	}
	var (
		source, host string
		holder, pid  int64
		alive        bool
		busy         *sink.Busy
	)
	dead = map[string]int64{}
	_, err = pgx.ForEachRow(rows, []any{&source, &holder, &alive, &pid, &host}, func() error {
		switch {
		case alive && busy == nil:
			busy = &sink.Busy{Source: c.Source, Held: source, Holder: fmt.Sprintf("pid %d on %s", pid, host)}
			if source != c.Source {
				busy.Holder += fmt.Sprintf(", which pulls %s of the same budget", source)
			}
		case !alive && holder != 0:
			dead[source] = holder
		}
		return nil
	})
	if err == nil && busy != nil {
		return nil, busy
	}
	return dead, err
}

// reserve makes the source busy for this process.
func (s *Sink) reserve(source string, l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[source] != nil {
		return false
	}
	s.leases[source] = l
	return true
}

func (s *Sink) reserved(source string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[source] != nil
}

func (s *Sink) forget(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, source)
}

// leasesHeld returns the leases that were taken, by source.
func (s *Sink) leasesHeld() map[string]*lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.leases)
	maps.DeleteFunc(all, func(_ string, l *lease) bool { return l.token == 0 })
	return all
}

// stillHeld refuses to write for a source that another agent may have taken. The
// row of the lease stays locked until the transaction ends, so that a take-over
// comes before or after it and never between (I3).
func (s *Sink) stillHeld(ctx context.Context, tx querier, source string) error {
	l, ok := s.leasesHeld()[source]
	if !ok {
		return nil // nobody asked for the lease through this sink
	}
	tag, err := tx.Exec(ctx, "SELECT FROM winch.leases WHERE source = $1 AND token = $2 FOR SHARE", keptPlan([]any{source, l.token})...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fenced(source)
	}
	return nil
}

func fenced(source string) error {
	return &sink.Error{
		Fault: sink.FaultFenced, Op: "hold source " + source,
		Err:  fmt.Errorf("this agent gave no sign of life for %s and another may have taken the source over", agentTTL),
		Hint: "nothing that is committed is lost: another agent goes on, or run again; see that this machine was not suspended or cut off",
	}
}
