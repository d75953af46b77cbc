package postgres

import (
	"context"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// Prune forgets what ended before the moment.
func (s *Sink) Prune(ctx context.Context, before time.Time, dryRun bool) (p sink.Pruned, err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return p, fault(ctx, "prune", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit there is nothing to roll back
	for _, step := range []struct {
		sql   string
		count *int64
	}{
		{`DELETE FROM winch.reads d USING winch.runs r WHERE r.id = d.run AND r.outcome <> '' AND r.ended_at < $1`, &p.Reads},
		{`DELETE FROM winch.runs WHERE outcome <> '' AND ended_at < $1`, &p.Runs},
		{`DELETE FROM winch.ticks d WHERE done_at < $1
	AND EXISTS (SELECT FROM winch.ticks t WHERE t.source = d.source AND t.schedule = d.schedule AND t.tick > d.tick)`, &p.Ticks},
		{`DELETE FROM winch.quarantine WHERE settled_at < $1`, &p.Quarantined},
	} {
		tag, err := tx.Exec(ctx, step.sql, before)
		if err != nil {
			return sink.Pruned{}, fault(ctx, "prune", err)
		}
		*step.count = tag.RowsAffected()
	}
	if _, err := tx.Exec(ctx, "DELETE FROM winch.lineage l WHERE NOT EXISTS (SELECT FROM winch.runs r WHERE r.id = l.run)"); err != nil {
		return sink.Pruned{}, fault(ctx, "prune", err)
	}
	if dryRun {
		return p, nil
	}
	if err := tx.Commit(ctx); err != nil {
		return sink.Pruned{}, fault(ctx, "prune", err)
	}
	return p, nil
}
