// Package sinktest examines a sink. One suite, which every sink passes, is what
// "the same semantics" means.
//
// A sink's test package calls BecomeChild at the beginning of its TestMain and
// Run from one test:
//
//	func TestMain(m *testing.M) {
//		sinktest.BecomeChild(open)
//		os.Exit(m.Run())
//	}
//
//	func TestSink(t *testing.T) {
//		sinktest.Run(t, sinktest.Harness{Fresh: fresh, Open: open, Rows: rows, Newer: newer})
//	}
package sinktest

import (
	"context"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// Null is how Rows returns a null. No text at rest holds a NUL.
const Null = "\x00"

// TimeLayout is how Rows returns a timestamptz, in UTC.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// A Harness gives the suite what differs between sinks. It reads the store as
// anybody would who has the address, beside the sink.
type Harness struct {
	// Fresh returns the address of a store that nobody has used: the URL of an
	// empty database, the path of a file that is not there. The store is gone
	// after the test.
	Fresh func(t testing.TB) (address string)

	// Migrated is Fresh with the agent's own tables, where a copy of those is
	// faster than making them; nil if it is not.
	Migrated func(t testing.TB) (address string)

	// Open opens the store at an address, several times if asked to.
	Open func(ctx context.Context, address string) (sink.Sink, error)

	// Rows returns the named columns of all rows of a stream's table, in any
	// order, in one statement. A value is text: text and bigint as they are;
	// numeric as an exact decimal literal; json in any spelling; a double as
	// strconv.FormatFloat 'g' -1; a boolean as true or false; a date as 2006-01-02; a timestamptz by
	// TimeLayout; bytes in lower-case hex; null as Null.
	Rows func(t testing.TB, address, source, stream string, columns ...string) [][]string

	// Comment returns the comment of a table, or of a column where column is not
	// empty. It is nil for a store that has no comments.
	Comment func(t testing.TB, address, source, stream, column string) string

	// RowVersion names a column, known to Rows, that differs whenever the row was
	// physically written, such as PostgreSQL's ctid; empty if there is none.
	RowVersion string

	// RowsOnly leaves out what does not depend on how rows are written: a sink that
	// writes them in several ways is examined once more for each.
	RowsOnly bool

	// Cuts says that the store cuts tables into pieces by time when it is asked to.
	Cuts bool

	// ManyRows is how many rows the case with many rows writes; 0 means as many
	// as time allows.
	ManyRows int

	// Hold keeps others from changing a stream's table until release, which may be
	// called twice.
	Hold func(t testing.TB, address, source, stream string) (release func())

	// Newer makes the store look as if a newer program had migrated it.
	Newer func(t testing.TB, address string)
}

// Run examines the sink.
func Run(t *testing.T, h Harness) {
	for _, group := range []struct {
		name  string
		cases map[string]func(*testing.T, Harness)
		rows  bool // depends on how rows are written
	}{
		{"migrate", migrateCases, false},
		{"prepare", prepareCases, false},
		{"schema", schemaCases, false},
		{"values", valueCases, true},
		{"round trip", roundTripCases, true},
		{"snapshot", snapshotCases, true},
		{"window", windowCases, true},
		{"cursor", cursorCases, true},
		{"writer", writerCases, true},
		{"ledger", ledgerCases, true},
		{"quarantine", quarantineCases, true},
		{"split", splitCases, true},
		{"supersede", supersedeCases, true},
		{"backfill", backfillCases, false},
		{"declaration", declarationCases, false},
		{"runs", runCases, false},
		{"stages", stageCases, false},
		{"history", historyCases, false},
		{"brake", brakeCases, true},
		{"lock", lockCases, false},
		{"lease", leaseCases, false},
		{"schedule", scheduleCases, false},
		{"archive", archiveCases, false},
		{"prune", pruneCases, false},
		{"alerts", alertCases, false},
		{"lineage", lineageCases, false},
		{"death", deathCases, false},
		{"model", modelCases, true},
	} {
		if h.RowsOnly && !group.rows {
			continue
		}
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for name, examine := range group.cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					examine(t, h)
				})
			}
		})
	}
}

// store is an open, migrated store of one test.
type store struct {
	Harness
	sink.Sink
	address string
}

// open returns a fresh store.
func open(t testing.TB, h Harness) *store {
	t.Helper()
	if h.Migrated != nil {
		address := h.Migrated(t)
		return &store{h, reopen(t, h, address), address}
	}
	address := h.Fresh(t)
	s := &store{h, reopen(t, h, address), address}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal("migrate:", err)
	}
	return s
}

// reopen opens one more handle on a store.
func reopen(t testing.TB, h Harness, address string) sink.Sink {
	t.Helper()
	s, err := h.Open(t.Context(), address)
	if err != nil {
		t.Fatal("open:", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return s
}

// source is the source of most cases.
const source = "shop_se"

// The streams of most cases. Keys are "id" and, in byKeys, two columns of words
// that SQL reserves.
var (
	customers = connector.Stream{
		Name: "customers", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
		Description: "Everyone who ever bought.",
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeBigint, Description: "The vendor's own number."},
			{Name: "name", Type: connector.TypeText},
		},
	}
	calls = connector.Stream{
		Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeText},
			{Name: "at", Type: connector.TypeTimestamp},
			{Name: "seconds", Type: connector.TypeBigint},
		},
	}
	events = connector.Stream{
		Name: "events", Mode: connector.ModeCursor, PrimaryKey: []string{"id"},
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeBigint},
			{Name: "what", Type: connector.TypeText},
		},
	}
)

// epoch is the first day of all windows.
var epoch = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// day returns the nth day as a window.
func day(n int) connector.Window {
	return connector.Window{Since: epoch.AddDate(0, 0, n), Until: epoch.AddDate(0, 0, n+1)}
}

// begun is when the attempt of a run began, for runs that the suite numbers.
func begun(run int64) time.Time {
	return epoch.AddDate(0, 1, 0).Add(time.Duration(run) * time.Minute)
}

// attempt returns an attempt at a slice of the stream.
func attempt(run int64, stream connector.Stream, w connector.Window) sink.Attempt {
	return sink.Attempt{
		Run: run, Stream: stream, StartedAt: begun(run),
		Slice: ledger.Slice{Source: source, Stream: stream.Name, Window: w},
	}
}

// prepare makes the table of a stream.
func (s *store) prepare(t *testing.T, stream connector.Stream) {
	t.Helper()
	if _, err := s.Prepare(t.Context(), source, stream, ledger.SchemaEvolve); err != nil {
		t.Fatal("prepare:", err)
	}
}

// begin starts an attempt that ends with the test.
func (s *store) begin(t *testing.T, a sink.Attempt) sink.Writer {
	t.Helper()
	w, err := s.Begin(t.Context(), a)
	if err != nil {
		t.Fatal("begin:", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error("close writer:", err)
		}
	})
	return w
}

// land writes the records and commits them.
func (s *store) land(t *testing.T, a sink.Attempt, records ...string) ledger.Counts {
	t.Helper()
	w := s.begin(t, a)
	emit(t, w, records...)
	return commit(t, w)
}

func emit(t *testing.T, w sink.Writer, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := w.Record([]byte(r)); err != nil {
			t.Fatalf("record %s: %v", r, err)
		}
	}
}

func checkpoint(t *testing.T, w sink.Writer, cursor string) {
	t.Helper()
	if err := w.Checkpoint(t.Context(), connector.Cursor(cursor), connector.Usage{Requests: 1}); err != nil {
		t.Fatal("checkpoint:", err)
	}
}

func commit(t *testing.T, w sink.Writer) ledger.Counts {
	t.Helper()
	counts, err := w.Commit(t.Context(), connector.Usage{Requests: 2})
	if err != nil {
		t.Fatal("commit:", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal("close after commit:", err)
	}
	return counts
}
