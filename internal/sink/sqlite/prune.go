package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// errOnlyCounted rolls a transaction back that only had to count.
var errOnlyCounted = errors.New("only counted")

// Prune implements sink.Pruner.
func (s *Sink) Prune(ctx context.Context, before time.Time, dryRun bool) (p sink.Pruned, err error) {
	err = s.update(ctx, "prune", func(tx *sql.Tx) error {
		for _, step := range []struct {
			sql   string
			count *int64
		}{
			{`DELETE FROM "winch.reads" WHERE run IN (SELECT id FROM "winch.runs" WHERE outcome <> '' AND ended_at < ?)`, &p.Reads},
			{`DELETE FROM "winch.runs" WHERE outcome <> '' AND ended_at < ?`, &p.Runs},
			{`DELETE FROM "winch.ticks" AS d WHERE done_at < ?
				AND EXISTS (SELECT 1 FROM "winch.ticks" t WHERE t.source = d.source AND t.schedule = d.schedule AND t.tick > d.tick)`, &p.Ticks},
			{`DELETE FROM "winch.quarantine" WHERE settled_at < ?`, &p.Quarantined},
		} {
			result, err := tx.ExecContext(ctx, step.sql, timestamp(before))
			if err != nil {
				return err
			}
			if *step.count, err = result.RowsAffected(); err != nil {
				return err
			}
		}
		if dryRun {
			return errOnlyCounted
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM "winch.lineage" WHERE run NOT IN (SELECT id FROM "winch.runs")`)
		return err
	})
	if errors.Is(err, errOnlyCounted) {
		err = nil
	}
	if err != nil {
		return sink.Pruned{}, err
	}
	return p, nil
}
