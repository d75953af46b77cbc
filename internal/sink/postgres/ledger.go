package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// countColumns are the columns of counts and usage, in the order of countValues
// and countTargets.
const countColumns = "rows, inserted, updated, unchanged, deleted, quarantined, requests, retries, bytes, waited_us, tokens_fetched, renewed_on_401"

func countValues(c ledger.Counts, u connector.Usage) []any {
	return []any{
		c.Rows, c.Inserted, c.Updated, c.Unchanged, c.Deleted, c.Quarantined,
		u.Requests, u.Retries, u.Bytes, u.Waited.Microseconds(), u.TokensFetched, u.RenewedOn401,
	}
}

func countTargets(c *ledger.Counts, u *connector.Usage) []any {
	return []any{
		&c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted, &c.Quarantined,
		&u.Requests, &u.Retries, &u.Bytes, (*microseconds)(&u.Waited), &u.TokensFetched, &u.RenewedOn401,
	}
}

// timeColumns are the columns of where the time of runs and reads went, in the
// order of timeValues and timeTargets.
const timeColumns = "requesting_us, fetching_tokens_us, decoding_us, copying_us, merging_us, committing_us, store_wait_us"

func timeValues(u connector.Usage, s sink.Stages) []any {
	return []any{
		u.Requesting.Microseconds(), u.FetchingTokens.Microseconds(),
		s.Decoding.Microseconds(), s.Copying.Microseconds(), s.Merging.Microseconds(), s.Committing.Microseconds(),
		s.Awaiting.Microseconds(),
	}
}

func timeTargets(u *connector.Usage, s *sink.Stages) []any {
	return []any{
		(*microseconds)(&u.Requesting), (*microseconds)(&u.FetchingTokens),
		(*microseconds)(&s.Decoding), (*microseconds)(&s.Copying), (*microseconds)(&s.Merging), (*microseconds)(&s.Committing),
		(*microseconds)(&s.Awaiting),
	}
}

// microseconds is a duration as it is stored.
type microseconds time.Duration

func (m *microseconds) ScanInt64(v pgtype.Int8) error {
	*m = microseconds(time.Duration(v.Int64) * time.Microsecond)
	return nil
}

const sliceColumns = "source, stream, partition, since, until"

// sliceValues identify a slice. One without a window covers all time.
func sliceValues(s ledger.Slice) []any {
	since := pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	until := pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	if !s.Window.IsZero() {
		since = pgtype.Timestamptz{Time: s.Window.Since, Valid: true}
		until = pgtype.Timestamptz{Time: s.Window.Until, Valid: true}
	}
	return []any{s.Source, s.Stream, s.Partition, since, until}
}

func sliceTargets(s *ledger.Slice) []any {
	return []any{&s.Source, &s.Stream, &s.Partition, (*moment)(&s.Window.Since), (*moment)(&s.Window.Until)}
}

// moment is a time as it is stored: null and the infinities are the zero time.
type moment time.Time

func (m *moment) ScanTimestamptz(v pgtype.Timestamptz) error {
	*m = moment{}
	if v.Valid && v.InfinityModifier == pgtype.Finite {
		*m = moment(v.Time.UTC())
	}
	return nil
}

// kind is an error kind as it is stored: empty where there is no error.
type kind connector.Kind

func (k *kind) ScanText(v pgtype.Text) error {
	*k = kind(connector.ParseKind(v.String))
	return nil
}

// failure returns an error's kind and text as they are stored.
func failure(err error) (kind, text string) {
	return connector.KindOf(err).String(), storable(err.Error())
}

// storable replaces what a text column cannot hold.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// Entries returns the ledger of a source, of all if it is empty.
func (s *Sink) Entries(ctx context.Context, source string) ([]ledger.Entry, error) {
	const query = "SELECT " + sliceColumns + ", state, cursor, " + countColumns + `,
	first_read_at, last_read_at, run, failures, error_kind, error,
	EXISTS (SELECT FROM winch.runs r WHERE r.id = run AND r.backfill IS NOT NULL)
FROM winch.slices WHERE $1 IN ('', source) ORDER BY ` + sliceColumns
	rows, err := s.pool.Query(ctx, query, source)
	if err != nil {
		return nil, fault(ctx, "read the ledger", err)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ledger.Entry, err error) {
		targets := append(sliceTargets(&e.Slice), &e.State, (*[]byte)(&e.Cursor))
		targets = append(targets, countTargets(&e.Counts, &e.Usage)...)
		err = row.Scan(append(targets,
			(*moment)(&e.FirstReadAt), (*moment)(&e.LastReadAt), &e.Run, &e.Failures, (*kind)(&e.ErrorKind), &e.Error, &e.Backfilled)...)
		return e, err
	})
	return entries, fault(ctx, "read the ledger", err)
}

// record writes what a merge did into the ledger and, if the slice is then held,
// among the reads.
func (w *writer) record(ctx context.Context, l landing, counts ledger.Counts) error {
	const upsert = "INSERT INTO winch.slices AS l (" + sliceColumns + ", state, cursor, " + countColumns + `, first_read_at, last_read_at, run)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20, $21)
ON CONFLICT ON CONSTRAINT slices_pkey DO UPDATE SET
	state = EXCLUDED.state,
	cursor = CASE WHEN $22 THEN l.cursor ELSE EXCLUDED.cursor END,
	(` + countColumns + `) = (
		EXCLUDED.rows, EXCLUDED.inserted, EXCLUDED.updated, EXCLUDED.unchanged, EXCLUDED.deleted, EXCLUDED.quarantined,
		EXCLUDED.requests, EXCLUDED.retries, EXCLUDED.bytes, EXCLUDED.waited_us, EXCLUDED.tokens_fetched, EXCLUDED.renewed_on_401),
	first_read_at = COALESCE(l.first_read_at, EXCLUDED.first_read_at),
	last_read_at = EXCLUDED.last_read_at,
	run = EXCLUDED.run,
	failures = 0,
	error_kind = '',
	error = ''`
	now := time.Now()
	var cursor []byte
	if l.state == ledger.Partial {
		cursor = l.cursor
	}
	// A cursor stream goes on from its last checkpoint; a window that is held
	// begins again at its beginning.
	keepCursor := l.state == ledger.Held && w.table.mode == connector.ModeCursor
	args := append(sliceValues(w.attempt.Slice), string(l.state), cursor)
	args = append(args, countValues(counts, l.usage)...)
	args = append(args, now, w.attempt.Run, keepCursor)
	statement, args := upsert, keptPlan(args)
	if l.state == ledger.Held && !w.attempt.Slice.Window.IsZero() {
		statement, args = supersede+upsert, args[1:] // its plan depends on the windows
	}
	if _, err := w.conn.Exec(ctx, statement, args...); err != nil {
		return err
	}
	if err := declare(ctx, w.conn, w.attempt); err != nil {
		return err
	}
	if l.state != ledger.Held {
		return nil
	}
	return insertRead(ctx, w.conn, w.attempt, ledger.Held, now, counts, l.usage, nil)
}

func insertRead(ctx context.Context, tx querier, a sink.Attempt, state ledger.State, endedAt time.Time, c ledger.Counts, u connector.Usage, cause error) error {
	const insert = "INSERT INTO winch.reads (" + sliceColumns + ", " + countColumns + `, run, state, started_at, ended_at, error_kind, error, hint, ` + timeColumns + `)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)`
	var kind, text, hint string
	if cause != nil {
		kind, text = failure(cause)
		hint = storable(sink.HintOf(cause))
	}
	args := append(sliceValues(a.Slice), countValues(c, u)...)
	args = append(args, a.Run, string(state), a.StartedAt, endedAt, kind, text, hint)
	args = append(args, timeValues(u, a.Clock.Total())...)
	_, err := tx.Exec(ctx, insert, keptPlan(args)...)
	return err
}

// Fail records that an attempt failed. What was committed before stays.
func (s *Sink) Fail(ctx context.Context, a sink.Attempt, usage connector.Usage, cause error) error {
	const upsert = "INSERT INTO winch.slices AS l (" + sliceColumns + `, state, run, failures, error_kind, error)
VALUES ($1, $2, $3, $4, $5, 'failed', $6, 1, $7, $8)
ON CONFLICT ON CONSTRAINT slices_pkey DO UPDATE SET
	state = EXCLUDED.state,
	run = EXCLUDED.run,
	failures = l.failures + 1,
	error_kind = EXCLUDED.error_kind,
	error = EXCLUDED.error`
	errorKind, text := failure(cause)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// What another agent has written since it took over stays.
		if err := s.stillHeld(ctx, tx, a.Slice.Source); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, upsert, append(sliceValues(a.Slice), a.Run, errorKind, text)...); err != nil {
			return err
		}
		return insertRead(ctx, tx, a, ledger.Failed, time.Now(), ledger.Counts{}, usage, cause)
	})
	return fault(ctx, fmt.Sprintf("record the failure of %s", a.Slice), err)
}
