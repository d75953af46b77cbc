package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// sliceColumns name a slice; a slice without a window has none of its bounds.
const sliceColumns = `source, stream, "partition", since, until`

func sliceArgs(s ledger.Slice) []any {
	var since, until string
	if !s.Window.IsZero() {
		since, until = timestamp(s.Window.Since), timestamp(s.Window.Until)
	}
	return []any{s.Source, s.Stream, s.Partition, since, until}
}

// sumColumns hold counts and usage, which three tables have.
const sumColumns = `"rows", inserted, updated, unchanged, deleted, quarantined, requests, retries, bytes, waited_us, tokens_fetched, renewed_on_401`

func sumArgs(c ledger.Counts, u connector.Usage) []any {
	return []any{
		c.Rows, c.Inserted, c.Updated, c.Unchanged, c.Deleted, c.Quarantined,
		u.Requests, u.Retries, u.Bytes, u.Waited.Microseconds(), u.TokensFetched, u.RenewedOn401,
	}
}

// sums scans sumColumns.
type sums struct {
	counts ledger.Counts
	usage  connector.Usage
	waited int64
}

func (s *sums) into() []any {
	c, u := &s.counts, &s.usage
	return []any{
		&c.Rows, &c.Inserted, &c.Updated, &c.Unchanged, &c.Deleted, &c.Quarantined,
		&u.Requests, &u.Retries, &u.Bytes, &s.waited, &u.TokensFetched, &u.RenewedOn401,
	}
}

func (s *sums) get() (ledger.Counts, connector.Usage) {
	s.usage.Waited = time.Duration(s.waited) * time.Microsecond
	return s.counts, s.usage
}

// timeColumns hold where the time of runs and reads went.
const timeColumns = `requesting_us, fetching_tokens_us, decoding_us, copying_us, merging_us, committing_us, store_wait_us`

func timeArgs(u connector.Usage, s sink.Stages) []any {
	return []any{
		u.Requesting.Microseconds(), u.FetchingTokens.Microseconds(),
		s.Decoding.Microseconds(), s.Copying.Microseconds(), s.Merging.Microseconds(), s.Committing.Microseconds(),
		s.Awaiting.Microseconds(),
	}
}

// times scans timeColumns.
type times [7]int64

func (t *times) into() []any { return []any{&t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6]} }

// get returns the times of the store, and puts those of the vendor into u.
func (t *times) get(u *connector.Usage) sink.Stages {
	d := func(i int) time.Duration { return time.Duration(t[i]) * time.Microsecond }
	u.Requesting, u.FetchingTokens = d(0), d(1)
	return sink.Stages{Decoding: d(2), Copying: d(3), Merging: d(4), Committing: d(5), Awaiting: d(6)}
}

// names scans sliceColumns.
type names struct {
	slice        ledger.Slice
	since, until string
}

func (n *names) into() []any {
	return []any{&n.slice.Source, &n.slice.Stream, &n.slice.Partition, &n.since, &n.until}
}

func (n *names) get() (ledger.Slice, error) {
	var err error
	if n.slice.Window.Since, err = parseTimestamp(&n.since); err != nil {
		return n.slice, err
	}
	n.slice.Window.Until, err = parseTimestamp(&n.until)
	return n.slice, err
}

// values returns a list of so many parameters.
func values(args []any) string {
	return "VALUES (" + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + ")"
}

// An entry is what a commit says about its slice.
type entry struct {
	state      ledger.State
	cursor     connector.Cursor
	keepCursor bool // the ledger's own, instead of cursor
	counts     ledger.Counts
	usage      connector.Usage
	// instead of the ledger, for rows that come from no reading
	instead func(context.Context) error
}

// record writes the slice's row of the ledger and, if the attempt is over, its
// read.
func (e entry) record(ctx context.Context, to execer, a sink.Attempt) error {
	now := timestamp(time.Now())
	args := append(sliceArgs(a.Slice), sumArgs(e.counts, e.usage)...)
	args = append(args, string(e.state), []byte(e.cursor), now, now, a.Run)
	if _, err := to.ExecContext(ctx, `INSERT INTO "winch.slices" AS t (`+sliceColumns+`, `+sumColumns+`,
			state, "cursor", first_read_at, last_read_at, run) `+values(args)+`
		ON CONFLICT DO UPDATE SET
			state = excluded.state, "cursor" = iif(?, t."cursor", excluded."cursor"),
			(`+sumColumns+`) = (excluded.`+strings.ReplaceAll(sumColumns, ", ", ", excluded.")+`),
			first_read_at = coalesce(t.first_read_at, excluded.first_read_at), last_read_at = excluded.last_read_at,
			run = excluded.run, failures = 0, error_kind = '', error = ''`,
		append(args, e.keepCursor)...); err != nil {
		return err
	}
	if err := declare(ctx, to, a); err != nil {
		return err
	}
	if e.state == ledger.Partial {
		return nil
	}
	if err := supersede(ctx, to, a.Slice); err != nil {
		return err
	}
	return recordRead(ctx, to, a, e, now, nil)
}

// recordRead writes how an attempt ended.
func recordRead(ctx context.Context, to execer, a sink.Attempt, e entry, now string, cause error) error {
	var kind, text, hint string
	if cause != nil {
		kind, text, hint = connector.KindOf(cause).String(), cause.Error(), sink.HintOf(cause)
	}
	args := append(sliceArgs(a.Slice), sumArgs(e.counts, e.usage)...)
	args = append(args, a.Run, string(e.state), timestamp(a.StartedAt), now, kind, text, hint)
	args = append(args, timeArgs(e.usage, a.Clock.Total())...)
	_, err := to.ExecContext(ctx, `INSERT INTO "winch.reads" (`+sliceColumns+`, `+sumColumns+`,
		run, state, started_at, ended_at, error_kind, error, hint, `+timeColumns+`) `+values(args), args...)
	return err
}

// Fail implements sink.Sink.
func (s *Sink) Fail(ctx context.Context, a sink.Attempt, usage connector.Usage, cause error) error {
	kind, text := connector.KindOf(cause).String(), cause.Error()
	return s.update(ctx, "record failure of "+a.Slice.String(), func(tx *sql.Tx) error {
		args := append(sliceArgs(a.Slice), string(ledger.Failed), a.Run, 1, kind, text)
		if _, err := tx.ExecContext(ctx, `INSERT INTO "winch.slices" AS t (`+sliceColumns+`, state, run, failures, error_kind, error) `+values(args)+`
			ON CONFLICT DO UPDATE SET state = excluded.state, run = excluded.run, failures = t.failures + 1,
				error_kind = excluded.error_kind, error = excluded.error`, args...); err != nil {
			return err
		}
		return recordRead(ctx, tx, a, entry{state: ledger.Failed, usage: usage}, timestamp(time.Now()), cause)
	})
}

// Entries implements sink.Sink.
func (s *Sink) Entries(ctx context.Context, source string) ([]ledger.Entry, error) {
	const op = "read ledger"
	rows, err := s.readers.QueryContext(ctx, `SELECT `+sliceColumns+`, `+sumColumns+`,
			state, "cursor", first_read_at, last_read_at, run, failures, error_kind, error,
			EXISTS (SELECT 1 FROM "winch.runs" r WHERE r.id = run AND r.backfill IS NOT NULL)
		FROM "winch.slices" WHERE ?1 = '' OR source = ?1 ORDER BY `+sliceColumns, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	var entries []ledger.Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		entries = append(entries, e)
	}
	return entries, fault(ctx, op, rows.Err())
}

func scanEntry(rows *sql.Rows) (e ledger.Entry, err error) {
	var (
		slice       names
		sum         sums
		cursor      []byte
		first, last *string
		kind        string
	)
	into := append(slice.into(), sum.into()...)
	if err := rows.Scan(append(into, &e.State, &cursor, &first, &last, &e.Run, &e.Failures, &kind, &e.Error, &e.Backfilled)...); err != nil {
		return e, err
	}
	e.Cursor = cursor
	e.ErrorKind = connector.ParseKind(kind)
	e.Counts, e.Usage = sum.get()
	if e.Slice, err = slice.get(); err != nil {
		return e, err
	}
	if e.FirstReadAt, err = parseTimestamp(first); err != nil {
		return e, err
	}
	e.LastReadAt, err = parseTimestamp(last)
	return e, err
}
