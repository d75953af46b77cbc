package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// Declarations returns what the streams of a source were read as last.
func (s *Sink) Declarations(ctx context.Context, source string) (map[string]ledger.Declaration, error) {
	const query = `SELECT stream, mode, primary_key, columns, slice, timezone, since FROM winch.declarations WHERE source = $1`
	const op = "read the declarations"
	rows, err := s.pool.Query(ctx, query, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	all := map[string]ledger.Declaration{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d ledger.Declaration, err error) {
		var slice string
		if err = row.Scan(&d.Stream, &d.Mode, &d.PrimaryKey, &d.Columns, &slice, &d.TimeZone, (*moment)(&d.Since)); err == nil && slice != "" {
			d.Slice, err = connector.ParseSpan(slice)
		}
		all[d.Stream] = d
		return d, err
	})
	return all, fault(ctx, op, err)
}

// declare records what the stream is read as, in the transaction of its first rows
// that were read so.
func declare(ctx context.Context, tx querier, a sink.Attempt) error {
	if a.Declared == nil {
		return nil
	}
	const upsert = `INSERT INTO winch.declarations AS d (source, stream, mode, primary_key, columns, slice, timezone, since, run)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT ON CONSTRAINT declarations_pkey DO UPDATE SET
	(mode, primary_key, columns, slice, timezone, since, run) = (EXCLUDED.mode, EXCLUDED.primary_key, EXCLUDED.columns,
		EXCLUDED.slice, EXCLUDED.timezone, EXCLUDED.since, EXCLUDED.run)`
	d := a.Declared
	slice, since := "", (*time.Time)(nil)
	if !d.Slice.IsZero() {
		slice = d.Slice.String()
	}
	if !d.Since.IsZero() {
		since = &d.Since
	}
	key, err := json.Marshal(d.PrimaryKey)
	if err != nil {
		return err
	}
	columns, err := json.Marshal(d.Columns)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, upsert, a.Slice.Source, d.Stream, string(d.Mode), string(key), string(columns), slice, d.TimeZone, since, a.Run)
	return err
}

var errDryRun = errors.New("a dry run changes nothing")

// Reset lets a stream start over.
func (s *Sink) Reset(ctx context.Context, source, stream, aside string, dryRun bool) (had sink.Started, err error) {
	t := table{source: source, stream: stream}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// In the order of a writer's transaction: the table, then the lease.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", t.lock()); err != nil {
			return err
		}
		if err := s.stillHeld(ctx, tx, source); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name()).Scan(&had.Table); err != nil {
			return err
		}
		if had.Table {
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+t.name()).Scan(&had.Rows); err != nil {
				return err
			}
		}
		const waiting = "SELECT count(*) FROM winch.quarantine WHERE source = $1 AND stream = $2 AND state = 'held'"
		if err := tx.QueryRow(ctx, waiting, source, stream).Scan(&had.Quarantined); err != nil {
			return err
		}
		for _, step := range []struct {
			table string
			count *int64
		}{{"slices", &had.Slices}, {"reads", &had.Reads}, {"quarantine", new(int64)}, {"declarations", new(int64)}} {
			tag, err := tx.Exec(ctx, "DELETE FROM "+quote(ownSchema, step.table)+" WHERE source = $1 AND stream = $2", source, stream)
			if err != nil {
				return err
			}
			*step.count = tag.RowsAffected()
		}
		if dryRun {
			return errDryRun
		}
		if !had.Table {
			return nil
		}
		change := "DROP TABLE " + t.name()
		if aside != "" {
			change = "ALTER TABLE " + t.name() + " RENAME TO " + quote(aside)
		}
		_, err := tx.Exec(ctx, change)
		return err
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return had, fault(ctx, fmt.Sprintf("reset %s/%s", source, stream), err)
}
