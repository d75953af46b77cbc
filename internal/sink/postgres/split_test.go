package postgres

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// month returns a month of 2026 as a window.
func month(m time.Month) connector.Window {
	since := time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC)
	return connector.Window{Since: since, Until: since.AddDate(0, 1, 0)}
}

// landCut lands records in a stream's table that is cut.
func landCut(t *testing.T, s sink.Sink, run int64, stream connector.Stream, split ledger.Split, w connector.Window, records ...string) ledger.Counts {
	t.Helper()
	a := sink.Attempt{
		Run: run, Stream: stream, Split: split, StartedAt: time.Date(2026, 7, 1, 0, int(run), 0, 0, time.UTC),
		Slice: ledger.Slice{Source: "shop", Stream: stream.Name, Window: w},
	}
	writer, err := s.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for _, r := range records {
		if err := writer.Record([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := writer.Commit(t.Context(), connector.Usage{})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// whereRows tells which table holds each order.
const whereRows = `SELECT c.relname::text, s.id FROM shop.orders s JOIN pg_class c ON c.oid = s.tableoid ORDER BY 1, 2`

func cutStore(t *testing.T, split ledger.Split) (address string, s *Sink, stream connector.Stream) {
	t.Helper()
	address = migrated.Database(t)
	s = open(t, address)
	stream, err := s.PrepareSplit(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve, split)
	if err != nil {
		t.Fatal(err)
	}
	return address, s, stream
}

func TestRowsLieInThePieceOfTheirTime(t *testing.T) {
	t.Parallel()
	for split, want := range map[ledger.Split][][]string{
		ledger.SplitMonth: {{"orders$2026_01", "a"}, {"orders$2026_03", "b"}, {"orders$2026_03", "early"}, {"orders$rest", "late"}},
		ledger.SplitYear:  {{"orders$2026", "a"}, {"orders$2026", "b"}, {"orders$2026", "early"}, {"orders$rest", "late"}},
	} {
		address, s, stream := cutStore(t, split)
		landCut(t, s, 1, stream, split, month(1), `{"id":"a","at":"2026-01-31T23:59:59Z"}`,
			`{"id":"early","at":"2026-03-02T00:00:00Z"}`, `{"id":"late","at":"2027-04-01T00:00:00Z"}`)
		// What the rest holds of a piece goes there when it is made.
		landCut(t, s, 2, stream, split, month(3), `{"id":"b","at":"2026-03-01T00:00:00Z"}`, `{"id":"early","at":"2026-03-02T00:00:00Z"}`)
		if diff := cmp.Diff(want, query(t, address, whereRows)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", split, diff)
		}
	}
}

func TestAPieceThatCannotBeMadeKeepsNobodyFromLanding(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"one that overlaps": `CREATE TABLE shop.mine PARTITION OF shop.orders FOR VALUES FROM ('2025-12-15') TO ('2026-01-15')`,
		"none for the rest": `DROP TABLE shop."orders$rest"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, s, stream := cutStore(t, ledger.SplitMonth)
			exec(t, address, sql)
			for run := range int64(2) {
				landCut(t, s, run+1, stream, ledger.SplitMonth, month(1), `{"id":"a","at":"2026-01-02T00:00:00Z"}`, `{"id":"b","at":"2026-01-20T00:00:00Z"}`)
			}
			if got := len(query(t, address, whereRows)); got != 2 {
				t.Errorf("%d rows, want 2", got)
			}
		})
	}
}

func TestALongReaderKeepsRowsInTheRestForAWhile(t *testing.T) {
	t.Parallel()
	address, s, stream := cutStore(t, ledger.SplitMonth)
	reader := connect(t, address)
	for _, sql := range []string{"BEGIN", "SELECT count(*) FROM shop.orders"} {
		if _, err := reader.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	record := `{"id":"a","at":"2026-01-02T00:00:00Z"}`
	landCut(t, s, 1, stream, ledger.SplitMonth, month(1), record)
	if diff := cmp.Diff([][]string{{"orders$rest", "a"}}, query(t, address, whereRows)); diff != "" {
		t.Errorf("while it is read (-want +got):\n%s", diff)
	}
	if _, err := reader.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	landCut(t, s, 2, stream, ledger.SplitMonth, month(1), record)
	if diff := cmp.Diff([][]string{{"orders$2026_01", "a"}}, query(t, address, whereRows)); diff != "" {
		t.Errorf("then (-want +got):\n%s", diff)
	}
}

func TestATableIsNotCutSilently(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after ledger.Split
		sql           string
		parts         []string // of error and hint
	}{
		"one table":         {ledger.Whole, ledger.SplitMonth, "", []string{"split: month wants it cut by at, and it is one table", "remove split, or rename the table shop.orders"}},
		"cut no longer":     {ledger.SplitMonth, ledger.Whole, "", []string{"its primary key is (id, at), the stream declares (id)", "set split for the stream again"}},
		"cut by others":     {ledger.Whole, ledger.SplitMonth, `DROP TABLE shop.orders; CREATE TABLE shop.orders (id text COLLATE "C", at timestamptz, PRIMARY KEY (id, at)) PARTITION BY HASH (id)`, []string{"it is by HASH (id)"}},
		"other pieces then": {ledger.SplitMonth, ledger.SplitYear, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, s, _ := cutStore(t, c.before)
			if c.sql != "" {
				exec(t, address, c.sql)
			}
			_, err := s.PrepareSplit(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve, c.after)
			if c.parts == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantMisfit(t, err, c.parts...)
		})
	}
}

func TestPiecesHaveNamesThatNoStreamHas(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 62)
	names := []string{
		table{stream: "orders"}.piece("2026_01"), table{stream: long + "a"}.piece("2026_01"), table{stream: long + "b"}.piece("2026_01"),
	}
	for _, name := range names {
		if len(name) > 63 || connector.ValidName(name) {
			t.Errorf("%s: %d bytes, valid for a stream: %t", name, len(name), connector.ValidName(name))
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("two pieces of one name: %v", names)
	}
}

func TestACutTableMovesWithItsPieces(t *testing.T) {
	t.Parallel()
	from, s, stream := cutStore(t, ledger.SplitMonth)
	landCut(t, s, 1, stream, ledger.SplitMonth, month(1), `{"id":"a","at":"2026-01-31T23:59:59Z"}`, `{"id":"late","at":"2027-04-01T00:00:00Z"}`)
	to := migrated.Database(t)
	copied := open(t, to)
	move(t, s, copied)
	if diff := cmp.Diff(query(t, from, whereRows), query(t, to, whereRows)); diff != "" {
		t.Errorf("(-there +here):\n%s", diff)
	}
	if _, err := copied.PrepareSplit(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaFreeze, ledger.SplitMonth); err != nil {
		t.Error("the copy does not fit the stream:", err)
	}
	landCut(t, copied, 2, stream, ledger.SplitMonth, month(2), `{"id":"b","at":"2026-02-01T00:00:00Z"}`)
}

// There it is one table with the key of the cut one, into which a pull with the same
// configuration goes on; and so it comes back.
func TestACutTableMovesIntoSQLiteAndBack(t *testing.T) {
	t.Parallel()
	from, s, stream := cutStore(t, ledger.SplitMonth)
	records := []string{`{"id":"a","at":"2026-01-02T00:00:00.123456Z","price":1}`, `{"id":"a","at":"2026-01-31T23:59:59.999999Z"}`, `{"id":"late","at":"2027-04-01T00:00:00Z","new":1}`}
	landCut(t, s, 1, stream, ledger.SplitMonth, month(1), records...)
	file, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "winch.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	move(t, s, file)

	fitted, err := file.PrepareSplit(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaFreeze, ledger.SplitMonth)
	if err != nil || !slices.Equal(fitted.PrimaryKey, stream.PrimaryKey) {
		t.Fatalf("in SQLite the key is %v, %v, want %v", fitted.PrimaryKey, err, stream.PrimaryKey)
	}
	if got := landCut(t, file, 2, fitted, ledger.SplitMonth, month(1), records...); got.Unchanged != 3 {
		t.Errorf("read again in SQLite: %+v, want 3 unchanged", got)
	}
	// Without split, and with no table, the key is the declared one.
	wantMisfit(t, prepareSplit(t, file, "shop", ledger.Whole), "the primary key is (id, at), the stream declares (id)")
	if err := prepareSplit(t, file, "other", ledger.SplitMonth); err != nil {
		t.Error(err)
	}

	to := migrated.Database(t)
	back := open(t, to)
	move(t, file, back)
	const rows = "SELECT id, at, price, _extra::text, _winch_hash FROM shop.orders ORDER BY 1, 2"
	if diff := cmp.Diff(query(t, from, rows), query(t, to, rows)); diff != "" {
		t.Errorf("(-there +back):\n%s", diff)
	}
	_, err = back.PrepareSplit(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve, ledger.SplitMonth)
	wantMisfit(t, err, "split: month wants it cut by at, and it is one table", "rename the table shop.orders")
}

func prepareSplit(t *testing.T, s sink.Sink, source string, split ledger.Split) error {
	t.Helper()
	_, err := s.PrepareSplit(t.Context(), source, priced(connector.TypeBigint), ledger.SchemaEvolve, split)
	return err
}

func TestARenamedTableMovesIntoACutOne(t *testing.T) {
	t.Parallel()
	address, s, stream := cutStore(t, ledger.Whole)
	landCut(t, s, 1, stream, ledger.Whole, month(1), `{"id":"old","at":"2025-05-01T00:00:00Z"}`, `{"id":"a","at":"2026-01-02T00:00:00Z"}`)
	exec(t, address, "ALTER TABLE shop.orders RENAME TO orders_whole")
	stream, err := s.PrepareSplit(t.Context(), "shop", stream, ledger.SchemaEvolve, ledger.SplitMonth)
	if err != nil {
		t.Fatal(err)
	}
	landCut(t, s, 2, stream, ledger.SplitMonth, month(1), `{"id":"a","at":"2026-01-02T00:00:00Z"}`)
	// As docs/sinks.md says.
	exec(t, address, `CREATE TABLE shop.orders$past PARTITION OF shop.orders FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2026-01-01 00:00Z');
INSERT INTO shop.orders SELECT * FROM shop.orders_whole ON CONFLICT DO NOTHING`)
	if diff := cmp.Diff([][]string{{"orders$2026_01", "a"}, {"orders$past", "old"}}, query(t, address, whereRows)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
