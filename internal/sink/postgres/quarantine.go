package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
)

// spared is a temporary table of keys: of records that were set aside, or of
// those that a retry lands. _winch_again numbers them.
const spared = "pg_temp.winch_spared"

// Quarantine sets aside a record that Record refused.
func (w *writer) Quarantine(raw []byte, cause *record.Error) error {
	if w.err != nil {
		return w.err
	}
	return w.aside.Add(raw, cause)
}

// watch makes the set know what is held of the stream, so that a record that is
// read now supersedes it.
func (w *writer) watch(ctx context.Context) error {
	const query = "SELECT id, key FROM winch.quarantine WHERE source = $1 AND stream = $2 AND state = 'held' AND key IS NOT NULL"
	rows, err := w.sink.pool.Query(ctx, query, w.table.source, w.table.stream)
	if err != nil {
		return err
	}
	var (
		id  int64
		key []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &key}, func() error {
		w.aside.Held(quarantine.Key(key), id)
		return nil
	})
	return err
}

// setAside writes what was set aside since the last commit, and returns how many
// records that is and their ids.
func (w *writer) setAside(ctx context.Context) (n int64, ids map[quarantine.Key]int64, err error) {
	records, superseded := w.aside.Pending()
	if len(superseded) > 0 {
		const update = `UPDATE winch.quarantine SET state = 'superseded', settled_at = $2, raw = NULL WHERE id = ANY ($1) AND state = 'held'`
		if _, err := w.conn.Exec(ctx, update, superseded, time.Now()); err != nil {
			return 0, nil, err
		}
	}
	if len(records) == 0 {
		return 0, nil, nil
	}
	if err := w.spare(ctx, records); err != nil {
		return 0, nil, err
	}
	// A record that comes again keeps its id. What a person gave up stays so.
	const upsert = `INSERT INTO winch.quarantine AS q (` + sliceColumns + `, run, read_at, hash, key, column_name, reason, raw, whole)
SELECT $1, $2, $3, $4, $5, $6, $7, r.hash, r.key, r.column_name, r.reason, r.raw, r.whole
FROM unnest($8::bytea[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::boolean[])
	WITH ORDINALITY AS r (hash, key, column_name, reason, raw, whole, nth) ORDER BY r.nth
ON CONFLICT ON CONSTRAINT quarantine_record DO UPDATE SET
	run = EXCLUDED.run, read_at = EXCLUDED.read_at, key = EXCLUDED.key, column_name = EXCLUDED.column_name,
	reason = EXCLUDED.reason, whole = EXCLUDED.whole, attempts = q.attempts + 1,
	raw = CASE WHEN q.state = 'dropped' THEN NULL ELSE EXCLUDED.raw END,
	state = CASE WHEN q.state = 'dropped' THEN q.state ELSE 'held' END,
	settled_at = CASE WHEN q.state = 'dropped' THEN q.settled_at END
RETURNING id, key, state`
	var hashes, keys [][]byte
	var columns, reasons, raws []string
	var whole []bool
	for _, r := range records {
		var key []byte
		if r.Key != nil {
			key = r.Key[:]
		}
		hashes, keys = append(hashes, r.Hash[:]), append(keys, key)
		columns, reasons, raws = append(columns, r.Column), append(reasons, storable(r.Reason)), append(raws, r.Raw)
		whole = append(whole, r.Whole)
	}
	args := append(sliceValues(w.attempt.Slice), w.attempt.Run, w.attempt.StartedAt, hashes, keys, columns, reasons, raws, whole)
	rows, err := w.conn.Query(ctx, upsert, args...)
	if err != nil {
		return 0, nil, err
	}
	ids = map[quarantine.Key]int64{}
	var (
		id    int64
		key   []byte
		state string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &key, &state}, func() error {
		if key != nil && state == string(sink.QuarantineHeld) {
			ids[quarantine.Key(key)] = id
		}
		return nil
	})
	return int64(len(records)), ids, err
}

// replaceQuarantined removes what earlier reads of the slice set aside and this
// one, which was whole, did not. What was set aside by attempts that a resumed
// one goes on from is unknown to it, as are their rows.
func (w *writer) replaceQuarantined(ctx context.Context) error {
	if w.attempt.Resumed {
		return nil
	}
	const remove = "DELETE FROM winch.quarantine WHERE (" + sliceColumns + ") = ($1, $2, $3, $4, $5) AND (run, read_at) <> ($6, $7)"
	_, err := w.conn.Exec(ctx, remove, keptPlan(append(sliceValues(w.attempt.Slice), w.attempt.Run, w.attempt.StartedAt))...)
	return err
}

// spare stages the keys of the records, numbered from 1.
func (w *writer) spare(ctx context.Context, records []quarantine.Record) error {
	columns := w.aside.KeyColumns()
	if !w.temps.spared {
		var b strings.Builder
		fmt.Fprintf(&b, "CREATE TEMPORARY TABLE %s (", strings.TrimPrefix(spared, "pg_temp."))
		for _, c := range columns {
			fmt.Fprintf(&b, "%s, ", w.table.columnType(c))
		}
		fmt.Fprintf(&b, "%s json, %s bytea, %s bigint) ON COMMIT PRESERVE ROWS", record.ColumnExtra, record.ColumnHash, columnAgain)
		if _, err := w.conn.Exec(ctx, b.String()); err != nil {
			return err
		}
		w.temps.spared = true
	}
	chunk := append([]byte(nil), copyHeader...)
	layout, staged := newLayout(columns), false
	for i, r := range records {
		if r.Key == nil {
			continue
		}
		row, err := layout.appendRow(chunk, &record.Row{Values: r.Values}, nil, int64(i+1))
		if err != nil {
			// A key that no table holds: nothing at rest has it.
			var bad *record.Error
			if errors.As(err, &bad) {
				continue
			}
			return err
		}
		chunk, staged = row, true
	}
	if !staged {
		return nil
	}
	_, err := w.conn.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(append(chunk, copyTrailer...)), "COPY "+spared+" FROM STDIN (FORMAT binary)")
	return err
}

// notSpared is the condition that the row's key is not that of a record that was
// set aside, empty if there is none.
func (w *writer) notSpared() string {
	if !w.temps.spared {
		return ""
	}
	return fmt.Sprintf(" AND NOT EXISTS (SELECT FROM %s p WHERE %s)", spared, w.table.same("p", "t"))
}

const quarantinedColumns = "id, " + sliceColumns + ", run, read_at, column_name, reason, coalesce(raw, ''), whole, attempts, state, settled_at"

// chosen is the condition of a filter, whose values are $1 to $4.
const chosen = "$1 IN ('', source) AND $2 IN ('', stream) AND $3 IN ('', state) AND $4::bigint IN (0, id)"

func chosenValues(f sink.QuarantineFilter) []any {
	return []any{f.Source, f.Stream, string(f.State), f.ID}
}

// Quarantined returns the records that the filter chooses, by their id.
func (s *Sink) Quarantined(ctx context.Context, f sink.QuarantineFilter) ([]sink.Quarantined, error) {
	const op = "read the quarantine"
	limit := pgtype.Int8{Int64: int64(f.Limit), Valid: f.Limit > 0}
	rows, err := s.pool.Query(ctx, "SELECT "+quarantinedColumns+" FROM winch.quarantine WHERE "+chosen+" ORDER BY id LIMIT $5",
		append(chosenValues(f), limit)...)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (q sink.Quarantined, err error) {
		targets := append([]any{&q.ID}, sliceTargets(&q.Slice)...)
		err = row.Scan(append(targets, &q.Run, (*moment)(&q.ReadAt), &q.Column, &q.Reason, &q.Raw, &q.Whole,
			&q.Attempts, &q.State, (*moment)(&q.SettledAt))...)
		return q, err
	})
	return all, fault(ctx, op, err)
}

// DropQuarantined gives up the held records that the filter chooses.
func (s *Sink) DropQuarantined(ctx context.Context, f sink.QuarantineFilter) (int64, error) {
	f.State = sink.QuarantineHeld
	tag, err := s.pool.Exec(ctx, "UPDATE winch.quarantine SET state = 'dropped', settled_at = $5, raw = NULL WHERE "+chosen,
		append(chosenValues(f), time.Now())...)
	return tag.RowsAffected(), fault(ctx, "drop records in quarantine", err)
}

// Reland makes rows of records that were set aside.
func (s *Sink) Reland(ctx context.Context, a sink.Attempt, records []sink.Quarantined) (sink.Relanded, error) {
	a.Resumed = true // what the slice holds beside them is not looked at
	if err := s.makePieces(ctx, a); err != nil {
		return sink.Relanded{}, err
	}
	w, err := s.writer(ctx, a)
	if err != nil {
		return sink.Relanded{}, err
	}
	r := reland{writer: w, result: sink.Relanded{Refused: map[int64]string{}}}
	err = r.land(ctx, records)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return r.result, fault(ctx, "land quarantined records of "+w.table.String(), err)
}

// A reland is one retry at the records of a slice that one attempt read.
type reland struct {
	*writer
	result sink.Relanded
}

func (r *reland) land(ctx context.Context, records []sink.Quarantined) error {
	if err := r.settleIn(ctx); err != nil {
		return err
	}
	later, err := r.readLater(ctx, records)
	if err != nil {
		return err
	}
	for i, q := range records {
		switch {
		case later[int64(i+1)]:
			r.result.Superseded = append(r.result.Superseded, q.ID)
			continue
		case !q.Whole:
			r.result.Refused[q.ID] = quarantine.NotWhole + q.Reason
			continue
		}
		err := r.Record([]byte(q.Raw))
		var bad *record.Error
		switch {
		case errors.As(err, &bad):
			r.result.Refused[q.ID] = storable(bad.Error())
		case err != nil:
			return err
		default:
			r.result.Landed = append(r.result.Landed, q.ID)
		}
	}
	if err := r.writer.land(ctx, landing{instead: r.conclude}); err != nil {
		return err
	}
	r.result.Counts = r.counts
	return nil
}

// readLater returns the numbers, from 1, of the records whose key has a row that
// a later attempt wrote. The source is locked (I3), so it stays so.
func (r *reland) readLater(ctx context.Context, records []sink.Quarantined) (map[int64]bool, error) {
	keys, err := quarantine.Keys(r.attempt.Stream, len(records), func(i int) string { return records[i].Raw })
	if err != nil {
		return nil, err
	}
	if err := r.spare(ctx, keys); err != nil {
		return nil, err
	}
	query := fmt.Sprintf("SELECT p.%s FROM %s p JOIN %s t ON %s WHERE t.%s > $1", columnAgain, spared, r.table.name(), r.table.same("p", "t"), record.ColumnSeenAt)
	rows, err := r.conn.Query(ctx, query, r.attempt.StartedAt)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	later := make(map[int64]bool, len(numbers))
	for _, n := range numbers {
		later[n] = true
	}
	return later, err
}

// conclude writes what became of the records, in the transaction of their rows.
func (r *reland) conclude(ctx context.Context) error {
	const update = "UPDATE winch.quarantine SET state = $2, settled_at = $3, raw = NULL, attempts = attempts + $4 WHERE id = ANY ($1) AND state = 'held'"
	now := time.Now()
	if _, err := r.conn.Exec(ctx, update, r.result.Landed, string(sink.QuarantineLanded), now, 1); err != nil {
		return err
	}
	if _, err := r.conn.Exec(ctx, update, r.result.Superseded, string(sink.QuarantineSuperseded), now, 0); err != nil {
		return err
	}
	for id, reason := range r.result.Refused {
		if _, err := r.conn.Exec(ctx, "UPDATE winch.quarantine SET reason = $2, attempts = attempts + 1 WHERE id = $1", id, reason); err != nil {
			return err
		}
	}
	return nil
}
