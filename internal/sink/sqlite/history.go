package sqlite

import (
	"context"
	"time"

	"github.com/winchdata/winch/internal/ledger"
)

// Costs implements sink.History.
func (s *Sink) Costs(ctx context.Context, source, stream string, limit int) ([]ledger.Cost, error) {
	op := "read what reads of " + source + "/" + stream + " cost"
	rows, err := s.readers.QueryContext(ctx, `SELECT since, until, started_at, ended_at, requests - retries, waited_us
		FROM "winch.reads" WHERE source = ? AND stream = ? AND state = 'held' ORDER BY id DESC LIMIT ?`, source, stream, limit)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var costs []ledger.Cost
	for rows.Next() {
		var (
			c                           ledger.Cost
			since, until, started, over string
			waited                      int64
			moments                     [4]time.Time
		)
		if err := rows.Scan(&since, &until, &started, &over, &c.Requests, &waited); err != nil {
			return nil, fault(ctx, op, err)
		}
		for i, text := range []string{since, until, started, over} {
			if moments[i], err = parseTimestamp(&text); err != nil {
				return nil, fault(ctx, op, err)
			}
		}
		c.Window.Since, c.Window.Until = moments[0], moments[1]
		c.Took, c.Waited = moments[3].Sub(moments[2]), time.Duration(waited)*time.Microsecond
		costs = append(costs, c)
	}
	return costs, fault(ctx, op, rows.Err())
}

// Rereads implements sink.History.
func (s *Sink) Rereads(ctx context.Context, source, stream string, unit time.Duration) ([]ledger.Reread, error) {
	op := "read how windows of " + source + "/" + stream + " changed"
	// The index winch.reads_slice has the reads of each window in order.
	rows, err := s.readers.QueryContext(ctx, `WITH aged AS (
			SELECT *, CAST(floor((unixepoch(started_at, 'subsec') - unixepoch(until, 'subsec')) / ?) AS INTEGER) AS age
			FROM "winch.reads" WHERE source = ? AND stream = ? AND state = 'held' AND until <> ''),
		held AS (SELECT *, lag(age) OVER (PARTITION BY "partition", since, until ORDER BY id) AS before FROM aged)
		SELECT before, age, count(*), sum("rows"), sum(inserted), sum(updated), sum(unchanged), sum(deleted)
		FROM held WHERE before IS NOT NULL GROUP BY before, age ORDER BY age, before`, unit.Seconds(), source, stream)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var rereads []ledger.Reread
	for rows.Next() {
		var r ledger.Reread
		c := &r.Counts
		if err := rows.Scan(&r.Before, &r.Age, &r.Reads, &c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted); err != nil {
			return nil, fault(ctx, op, err)
		}
		rereads = append(rereads, r)
	}
	return rereads, fault(ctx, op, rows.Err())
}
