package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
)

// Quarantine implements sink.Writer.
func (w *writer) Quarantine(raw []byte, cause *record.Error) error {
	if w.err != nil {
		return w.err
	}
	return w.aside.Add(raw, cause)
}

// watch makes the set know what is held of the stream, so that a record that is
// read now supersedes it.
func (w *writer) watch(ctx context.Context) error {
	rows, err := w.conn.QueryContext(ctx, `SELECT id, "key" FROM "winch.quarantine"
		WHERE source = ? AND stream = ? AND state = 'held' AND "key" IS NOT NULL`, w.attempt.Slice.Source, w.attempt.Slice.Stream)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			id  int64
			key []byte
		)
		if err := rows.Scan(&id, &key); err != nil {
			return err
		}
		w.aside.Held(quarantine.Key(key), id)
	}
	return rows.Err()
}

// landed tells the set that the record in row became a row.
func (w *writer) landed() {
	if w.aside.Watching() {
		w.keyText = w.decoder.AppendKey(w.keyText[:0], &w.row)
		w.aside.Landed(w.keyText)
	}
}

// setAside writes what was set aside since the last commit, and returns how many
// records that is and their ids.
func (w *writer) setAside(ctx context.Context) (n int64, ids map[quarantine.Key]int64, err error) {
	records, superseded := w.aside.Pending()
	if err := settle(ctx, w.conn, superseded, sink.QuarantineSuperseded, 0); err != nil {
		return 0, nil, err
	}
	if err := w.spare(ctx, records); err != nil {
		return 0, nil, err
	}
	ids = map[quarantine.Key]int64{}
	for _, r := range records {
		var key []byte
		if r.Key != nil {
			key = r.Key[:]
		}
		var (
			id    int64
			state sink.QuarantineState
		)
		args := append(sliceArgs(w.attempt.Slice), w.attempt.Run, timestamp(w.attempt.StartedAt), r.Hash[:], key, r.Column, r.Reason, r.Raw, r.Whole)
		// A record that comes again keeps its id. What a person gave up stays so.
		if err := w.conn.QueryRowContext(ctx, `INSERT INTO "winch.quarantine" AS q (`+sliceColumns+`,
				run, read_at, hash, "key", column_name, reason, raw, whole) `+values(args)+`
			ON CONFLICT (`+sliceColumns+`, hash) DO UPDATE SET
				run = excluded.run, read_at = excluded.read_at, "key" = excluded."key", column_name = excluded.column_name,
				reason = excluded.reason, whole = excluded.whole, attempts = q.attempts + 1,
				raw = iif(q.state = 'dropped', NULL, excluded.raw),
				state = iif(q.state = 'dropped', q.state, 'held'),
				settled_at = iif(q.state = 'dropped', q.settled_at, NULL)
			RETURNING id, state`, args...).Scan(&id, &state); err != nil {
			return 0, nil, err
		}
		if r.Key != nil && state == sink.QuarantineHeld {
			ids[*r.Key] = id
		}
	}
	return int64(len(records)), ids, nil
}

// replaceQuarantined removes what earlier reads of the slice set aside and this
// one, which was whole, did not. What was set aside by attempts that a resumed
// one goes on from is unknown to it, as are their rows.
func (w *writer) replaceQuarantined(ctx context.Context) error {
	if w.attempt.Resumed {
		return nil
	}
	return w.exec(ctx, `DELETE FROM "winch.quarantine" WHERE (`+sliceColumns+`) = (?, ?, ?, ?, ?) AND (run, read_at) <> (?, ?)`,
		append(sliceArgs(w.attempt.Slice), w.attempt.Run, timestamp(w.attempt.StartedAt))...)
}

// spare stages the keys of the records, numbered from 1.
func (w *writer) spare(ctx context.Context, records []quarantine.Record) error {
	columns := w.aside.KeyColumns()
	one := newBatch(len(columns) + 1)
	for i, r := range records {
		if r.Key == nil {
			continue
		}
		one.reset()
		for j, c := range columns {
			one.add(c, &r.Values[j], true)
		}
		one.value(int64(i + 1))
		named := one.take()
		args := make([]any, len(named))
		for j, v := range named {
			args[j] = v.Value
		}
		if err := w.exec(ctx, "INSERT INTO temp.spared "+values(args), args...); err != nil {
			return err
		}
	}
	return nil
}

// settle gives held records their last state, and adds the attempts.
func settle(ctx context.Context, to execer, ids []int64, state sink.QuarantineState, attempts int) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	_, err = to.ExecContext(ctx, `UPDATE "winch.quarantine" SET state = ?, settled_at = ?, raw = NULL, attempts = attempts + ?
		WHERE state = 'held' AND id IN (SELECT value FROM json_each(?))`, string(state), timestamp(time.Now()), attempts, string(list))
	return err
}

const quarantinedColumns = "id, " + sliceColumns + ", run, read_at, column_name, reason, coalesce(raw, ''), whole, attempts, state, settled_at"

// chosen is the condition of a filter.
const chosen = "?1 IN ('', source) AND ?2 IN ('', stream) AND ?3 IN ('', state) AND ?4 IN (0, id)"

func chosenArgs(f sink.QuarantineFilter) []any {
	return []any{f.Source, f.Stream, string(f.State), f.ID}
}

// Quarantined implements sink.Quarantine.
func (s *Sink) Quarantined(ctx context.Context, f sink.QuarantineFilter) ([]sink.Quarantined, error) {
	const op = "read the quarantine"
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	rows, err := s.readers.QueryContext(ctx, `SELECT `+quarantinedColumns+` FROM "winch.quarantine" WHERE `+chosen+` ORDER BY id LIMIT ?5`,
		append(chosenArgs(f), limit)...)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var all []sink.Quarantined
	for rows.Next() {
		q, err := scanQuarantined(rows)
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		all = append(all, q)
	}
	return all, fault(ctx, op, rows.Err())
}

func scanQuarantined(rows *sql.Rows) (q sink.Quarantined, err error) {
	var (
		slice   names
		readAt  string
		settled *string
	)
	into := append([]any{&q.ID}, slice.into()...)
	if err := rows.Scan(append(into, &q.Run, &readAt, &q.Column, &q.Reason, &q.Raw, &q.Whole, &q.Attempts, &q.State, &settled)...); err != nil {
		return q, err
	}
	if q.Slice, err = slice.get(); err != nil {
		return q, err
	}
	if q.ReadAt, err = parseTimestamp(&readAt); err != nil {
		return q, err
	}
	q.SettledAt, err = parseTimestamp(settled)
	return q, err
}

// DropQuarantined implements sink.Quarantine.
func (s *Sink) DropQuarantined(ctx context.Context, f sink.QuarantineFilter) (n int64, err error) {
	f.State = sink.QuarantineHeld
	err = s.update(ctx, "drop records in quarantine", func(tx *sql.Tx) error {
		n, err = rowsAffected(tx.ExecContext(ctx, `UPDATE "winch.quarantine" SET state = 'dropped', settled_at = ?5, raw = NULL WHERE `+chosen,
			append(chosenArgs(f), timestamp(time.Now()))...))
		return err
	})
	return n, err
}

// Reland implements sink.Quarantine.
func (s *Sink) Reland(ctx context.Context, a sink.Attempt, records []sink.Quarantined) (sink.Relanded, error) {
	a.Resumed = true // what the slice holds beside them is not looked at
	w, err := s.stage(ctx, a)
	if err != nil {
		return sink.Relanded{}, err
	}
	r := reland{writer: w, result: sink.Relanded{Refused: map[int64]string{}}}
	err = errors.Join(r.land(ctx, records), w.Close())
	return r.result, fault(ctx, w.op("land quarantined records of"), err)
}

// A reland is one retry at the records of a slice that one attempt read.
type reland struct {
	*writer
	result sink.Relanded
}

func (r *reland) land(ctx context.Context, records []sink.Quarantined) error {
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
			r.result.Refused[q.ID] = bad.Error()
		case err != nil:
			return err
		default:
			r.result.Landed = append(r.result.Landed, q.ID)
		}
	}
	r.result.Counts, err = r.merge(ctx, entry{instead: r.settle})
	return err
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
	rows, err := r.conn.QueryContext(ctx, fmt.Sprintf(`SELECT p."_nth" FROM temp.spared AS p JOIN main.%s AS t ON %s WHERE t.%s > ?`,
		quote(r.table.name), match(r.table.stream.PrimaryKey, "p", "t"), quote(record.ColumnSeenAt)), timestamp(r.attempt.StartedAt))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	later := map[int64]bool{}
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		later[n] = true
	}
	return later, rows.Err()
}

// settle writes what became of the records, in the transaction of their rows.
func (r *reland) settle(ctx context.Context) error {
	if err := settle(ctx, r.conn, r.result.Landed, sink.QuarantineLanded, 1); err != nil {
		return err
	}
	if err := settle(ctx, r.conn, r.result.Superseded, sink.QuarantineSuperseded, 0); err != nil {
		return err
	}
	for id, reason := range r.result.Refused {
		if err := r.exec(ctx, `UPDATE "winch.quarantine" SET reason = ?, attempts = attempts + 1 WHERE id = ?`, reason, id); err != nil {
			return err
		}
	}
	return nil
}

// match is the condition that two aliases hold the same key.
func match(key []string, a, b string) string {
	equal := make([]string, len(key))
	for i, k := range key {
		equal[i] = a + "." + quote(k) + " = " + b + "." + quote(k)
	}
	return strings.Join(equal, " AND ")
}
