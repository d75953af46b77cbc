package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sinktest"
	"github.com/winchdata/winch/pkg/connector"
)

func TestMain(m *testing.M) {
	sinktest.BecomeChild(openSink)
	os.Exit(m.Run())
}

func TestSink(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, harness(openSink))
}

// The suite's slices are small. With chunks of one row they take the ways of large
// ones: rows that are copied directly while the slice goes on, rows that are asked
// about before the lock is held, keys that go to a table.
func TestSinkInManyChunks(t *testing.T) {
	t.Parallel()
	for name, brisk := range map[string]time.Duration{"of a fast vendor": time.Hour, "of a slow vendor": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness(chunks(1, brisk))
			h.RowsOnly, h.ManyRows = true, 500
			sinktest.Run(t, h)
		})
	}
}

// chunks opens sinks that write chunks of so many rows and take a vendor for fast
// whose chunks take no longer to fill.
func chunks(rows int, brisk time.Duration) func(context.Context, string) (sink.Sink, error) {
	return func(ctx context.Context, address string) (sink.Sink, error) {
		s, err := Open(ctx, address, Options{})
		if err == nil {
			s.chunk, s.brisk = rows, brisk
		}
		return s, err
	}
}

func harness(open func(context.Context, string) (sink.Sink, error)) sinktest.Harness {
	return sinktest.Harness{
		Fresh:      func(t testing.TB) string { return pgtest.Database(t) },
		Migrated:   migrated.Database,
		Open:       open,
		Rows:       readRows,
		Comment:    readComment,
		RowVersion: "ctid",
		Cuts:       true,
		Hold:       holdTable,
		Newer: func(t testing.TB, address string) {
			query(t, address, "INSERT INTO winch.schema_version (version_id, is_applied) VALUES (9999, true)")
		},
	}
}

// migrated is a database with the agent's own tables, as of this program.
var migrated = pgtest.NewTemplate(func(ctx context.Context, address string) error {
	s, err := Open(ctx, address, Options{})
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	return errors.Join(err, s.Close())
})

func openSink(ctx context.Context, address string) (sink.Sink, error) {
	return Open(ctx, address, Options{})
}

// query runs one statement on a connection of its own and returns its rows as
// text.
func query(t testing.TB, address, sql string, args ...any) [][]string {
	t.Helper()
	conn := connect(t, address)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	return queryOn(t, conn, sql, args...)
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func queryOn(t testing.TB, conn *pgx.Conn, sql string, args ...any) [][]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		values, err := row.Values()
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = text(v)
		}
		return texts, err
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return all
}

func text(value any) string {
	switch v := value.(type) {
	case nil:
		return sinktest.Null
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format(sinktest.TimeLayout)
	case []byte:
		return hex.EncodeToString(v)
	}
	return fmt.Sprint(value)
}

// readRows reads columns as sinktest wants them: what Go has no exact type for as
// the server's own text.
func readRows(t testing.TB, address, source, stream string, columns ...string) [][]string {
	t.Helper()
	conn := connect(t, address)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	table := pgx.Identifier{source, stream}.Sanitize()
	exact := map[string]bool{"ctid": true}
	for _, column := range queryOn(t, conn, `SELECT attname FROM pg_attribute
WHERE attrelid = $1::text::regclass AND atttypid IN ('date'::regtype, 'json'::regtype, 'jsonb'::regtype, 'numeric'::regtype)`, table) {
		exact[column[0]] = true
	}
	selected := make([]string, len(columns))
	for i, c := range columns {
		selected[i] = pgx.Identifier{c}.Sanitize()
		if exact[c] {
			selected[i] += "::text"
		}
	}
	return queryOn(t, conn, "SELECT "+strings.Join(selected, ", ")+" FROM "+table)
}

func readComment(t testing.TB, address, source, stream, column string) string {
	t.Helper()
	comment := query(t, address, `SELECT COALESCE(col_description(c, a.attnum), CASE WHEN $2 = '' THEN obj_description(c, 'pg_class') END, '')
FROM (SELECT $1::text::regclass AS c) t LEFT JOIN pg_attribute a ON a.attrelid = c AND a.attname = $2`,
		pgx.Identifier{source, stream}.Sanitize(), column)
	return comment[0][0]
}

// open returns a migrated sink at the address.
func open(t testing.TB, address string) *Sink {
	t.Helper()
	s, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// calls is a window stream with a composite key of words that SQL reserves.
var calls = connector.Stream{
	Name: "order", Mode: connector.ModeWindow, PrimaryKey: []string{"user", "id"}, TimeColumn: "at", Slice: connector.Days(1),
	Columns: []connector.Column{
		{Name: "id", Type: connector.TypeBigint},
		{Name: "user", Type: connector.TypeText},
		{Name: "at", Type: connector.TypeTimestamp},
		{Name: "note", Type: connector.TypeText},
	},
}

var day = connector.Window{
	Since: time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC),
	Until: time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC),
}

func attempt(run int64) sink.Attempt {
	return sink.Attempt{
		Run: run, Stream: calls, StartedAt: time.Now(),
		Slice: ledger.Slice{Source: "shop", Stream: calls.Name, Window: day},
	}
}

func call(id int, note string) []byte {
	return fmt.Appendf(nil, `{"id":%d,"user":"u%d","at":"2026-03-01T12:00:00Z","note":%q}`, id, id%7, note)
}

func prepared(t testing.TB, address string) *Sink {
	t.Helper()
	s := open(t, address)
	if _, err := s.Prepare(t.Context(), "shop", calls, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t testing.TB, s *Sink, a sink.Attempt) sink.Writer {
	t.Helper()
	w, err := s.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func land(t testing.TB, s *Sink, run int64, first, last int, note string) ledger.Counts {
	t.Helper()
	w := begin(t, s, attempt(run))
	for id := first; id < last; id++ {
		if err := w.Record(call(id, note)); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := w.Commit(t.Context(), connector.Usage{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// holdTable keeps others from changing a table, as another agent's writer does.
func holdTable(t testing.TB, address, source, stream string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock($1)", (table{source: source, stream: stream}).lock()); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { closeConn(context.WithoutCancel(t.Context()), conn) })
}
