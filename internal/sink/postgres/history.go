package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
)

// Costs returns what the newest whole reads of a stream have cost.
func (s *Sink) Costs(ctx context.Context, source, stream string, limit int) ([]ledger.Cost, error) {
	const query = `SELECT since, until, requests - retries,
	(extract(epoch FROM ended_at - started_at) * 1000000)::bigint, waited_us
FROM winch.reads WHERE source = $1 AND stream = $2 AND state = 'held' ORDER BY id DESC LIMIT $3`
	op := "read what reads of " + source + "/" + stream + " cost"
	rows, err := s.pool.Query(ctx, query, source, stream, limit)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	costs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ledger.Cost, err error) {
		err = row.Scan((*moment)(&c.Window.Since), (*moment)(&c.Window.Until), &c.Requests,
			(*microseconds)(&c.Took), (*microseconds)(&c.Waited))
		return c, err
	})
	return costs, fault(ctx, op, err)
}

// Rereads sums what was found when windows were read again.
func (s *Sink) Rereads(ctx context.Context, source, stream string, unit time.Duration) ([]ledger.Reread, error) {
	// The index reads_slice has the reads of each window in order.
	const query = `WITH held AS (
	SELECT floor(extract(epoch FROM started_at - until) / $3)::bigint AS age,
		lag(floor(extract(epoch FROM started_at - until) / $3)::bigint)
			OVER (PARTITION BY partition, since, until ORDER BY id) AS before,
		rows, inserted, updated, unchanged, deleted
	FROM winch.reads
	WHERE source = $1 AND stream = $2 AND state = 'held' AND isfinite(until))
SELECT before, age, count(*), sum(rows)::bigint, sum(inserted)::bigint, sum(updated)::bigint, sum(unchanged)::bigint, sum(deleted)::bigint
FROM held WHERE before IS NOT NULL GROUP BY before, age ORDER BY age, before`
	op := "read how windows of " + source + "/" + stream + " changed"
	rows, err := s.pool.Query(ctx, query, source, stream, unit.Seconds())
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	rereads, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r ledger.Reread, err error) {
		c := &r.Counts
		err = row.Scan(&r.Before, &r.Age, &r.Reads, &c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted)
		return r, err
	})
	return rereads, fault(ctx, op, err)
}
