package postgres

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// tomorrow is an attempt at the window after day.
func tomorrow(run int64) sink.Attempt {
	a := attempt(run)
	a.Slice.Window = connector.Window{Since: day.Until, Until: day.Until.AddDate(0, 0, 1)}
	return a
}

func write(t *testing.T, w sink.Writer, first, last int, note string) {
	t.Helper()
	for id := first; id < last; id++ {
		if err := w.Record(call(id, note)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantCommit(t *testing.T, w sink.Writer, want ledger.Counts) {
	t.Helper()
	got, err := w.Commit(t.Context(), connector.Usage{})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("commit: error %v, counts (-want +got):\n%s", err, diff)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Somebody else has written a key of a slice that was never read: the chunk that
// meets it is merged, and what was copied before stays.
func TestDirectCopyThatMeetsARowIsMerged(t *testing.T) {
	t.Parallel()
	for _, size := range []int{chunkSize, 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			address := migrated.Database(t)
			s := prepared(t, address)
			s.chunk, s.brisk = size, time.Hour
			query(t, address, `INSERT INTO shop."order" (id, "user", at, note, _winch_run, _winch_seen_at, _winch_hash)
VALUES (7, 'u0', '2026-03-01T12:00:00Z', 'by hand', 0, now(), '')`)
			w := begin(t, s, attempt(1)).(*writer)
			write(t, w, 0, 10, "x")
			if size == 1 && w.tx == nil {
				t.Error("the rows before were not copied directly")
			}
			wantCommit(t, w, ledger.Counts{Rows: 10, Inserted: 9, Updated: 1})
			if w.route != asked {
				t.Errorf("route %d after a key was met", w.route)
			}
			if got := query(t, address, `SELECT count(*)::text FROM shop."order" WHERE note = 'x' AND _winch_run = 1`)[0][0]; got != "10" {
				t.Errorf("%s of 10 rows are as reported", got)
			}
		})
	}
}

// A row that was found unchanged changes later in the same slice.
func TestRowFoundUnchangedMayStillChange(t *testing.T) {
	t.Parallel()
	for _, size := range []int{chunkSize, 1} {
		address := migrated.Database(t)
		s := prepared(t, address)
		s.chunk = size
		land(t, s, 1, 0, 10, "a")
		w := begin(t, s, attempt(2))
		write(t, w, 0, 10, "a")
		write(t, w, 3, 5, "b")
		write(t, w, 4, 5, "a")
		wantCommit(t, w, ledger.Counts{Rows: 10, Updated: 1, Unchanged: 9})
		if got := query(t, address, `SELECT string_agg(id::text, ',') FROM shop."order" WHERE note = 'b'`)[0][0]; got != "3" {
			t.Errorf("rows %s were changed", got)
		}
	}
}

// To count rows says that none has vanished when another slice takes one away
// meanwhile. Then keys are compared.
func TestVanishedRowIsNotHiddenByAnotherSlice(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	s.chunk = 1
	land(t, s, 1, 1, 4, "a") // 1, 2 and 3
	w := begin(t, s, attempt(2)).(*writer)
	write(t, w, 1, 3, "a") // 3 has vanished
	if err := w.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := begin(t, s, tomorrow(3))
	if err := other.Record([]byte(`{"id":1,"user":"u1","at":"2026-03-02T12:00:00Z","note":"a"}`)); err != nil {
		t.Fatal(err)
	}
	wantCommit(t, other, ledger.Counts{Rows: 1, Updated: 1})
	wantCommit(t, w, ledger.Counts{Rows: 2, Unchanged: 2, Deleted: 1})
	if got := query(t, address, `SELECT string_agg(id::text, ',' ORDER BY id) FROM shop."order"`)[0][0]; got != "1,2" {
		t.Errorf("rows %s are left", got)
	}
}

func TestSlicesThatWaitForTheirVendorCostNoConnection(t *testing.T) {
	t.Parallel()
	s := prepared(t, migrated.Database(t))
	s.memory.left.Store(0) // nor do they wait for memory
	writers := make([]sink.Writer, 40)
	for i := range writers {
		writers[i] = begin(t, s, attempt(int64(i)))
		write(t, writers[i], i*10, i*10+10, "x")
	}
	if n := s.writers.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use", n)
	}
	for i, w := range writers {
		deleted := int64(10)
		if i == 0 {
			deleted = 0
		}
		wantCommit(t, w, ledger.Counts{Rows: 10, Inserted: 10, Deleted: deleted})
	}
}

// I6: a slice that is being copied directly holds its table, and not what slices
// of other tables need.
func TestCommitThatWaitsForATableHoldsNoConnection(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	s.brisk = time.Hour
	wantCommit(t, begin(t, s, tomorrow(9)), ledger.Counts{}) // a table's first slice has it to itself
	large := begin(t, s, attempt(1)).(*writer)
	write(t, large, 0, 10, "x")
	if err := errors.Join(large.flush(t.Context(), large.fresh), large.wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	if large.tx == nil {
		t.Fatal("the chunk was not copied directly")
	}
	if got := query(t, address, `SELECT count(*)::text FROM shop."order"`)[0][0]; got != "0" {
		t.Errorf("%s rows are visible before the commit", got)
	}
	small := make(chan error, 1)
	go func() {
		w, err := s.Begin(t.Context(), tomorrow(2))
		if err == nil {
			err = w.Record([]byte(`{"id":99,"user":"u","at":"2026-03-02T12:00:00Z"}`))
		}
		if err == nil {
			_, err = w.Commit(t.Context(), connector.Usage{})
		}
		small <- err
	}()
	for range 100 {
		if n := s.writers.Stat().AcquiredConns(); n != 1 {
			t.Fatalf("%d connections are in use", n)
		}
	}
	wantCommit(t, large, ledger.Counts{Rows: 10, Inserted: 10})
	if err := <-small; err != nil {
		t.Error(err)
	}
}

// Keys that the server compares otherwise than byte by byte are looked up.
func TestNumericKeysAreComparedByTheServer(t *testing.T) {
	t.Parallel()
	for _, size := range []int{chunkSize, 1} {
		s := open(t, migrated.Database(t))
		s.chunk = size
		prices := connector.Stream{
			Name: "prices", Mode: connector.ModeSnapshot, PrimaryKey: []string{"amount"},
			Columns: []connector.Column{{Name: "amount", Type: connector.TypeNumeric}, {Name: "n", Type: connector.TypeBigint}},
		}
		if _, err := s.Prepare(t.Context(), "shop", prices, ledger.SchemaEvolve); err != nil {
			t.Fatal(err)
		}
		for run, want := range []ledger.Counts{{Rows: 3, Inserted: 3}, {Rows: 3, Unchanged: 3}, {Rows: 2, Updated: 1, Unchanged: 1, Deleted: 1}} {
			a := attempt(int64(run + 1))
			a.Stream, a.Slice = prices, ledger.Slice{Source: "shop", Stream: "prices"}
			w := begin(t, s, a)
			records := []string{`{"amount":"1.5","n":1}`, `{"amount":"-2","n":1}`, `{"amount":"1e3","n":1}`}
			if run == 2 {
				records = []string{`{"amount":"1.50","n":2}`, `{"amount":"-2","n":1}`}
			}
			for _, r := range records {
				if err := w.Record([]byte(r)); err != nil {
					t.Fatal(err)
				}
			}
			wantCommit(t, w, want)
		}
	}
}

func TestKeysCompareAsTheServerDoes(t *testing.T) {
	t.Parallel()
	s := newTable("shop", calls)
	conn := connect(t, pgtest.Database(t))
	defer func() { _ = conn.Close(t.Context()) }()
	rapid.Check(t, func(rt *rapid.T) {
		users := rapid.SliceOfN(rapid.StringMatching(`[a-cäA-C]{0,2}`), 2, 2).Draw(rt, "users")
		ids := rapid.SliceOfN(rapid.SampledFrom([]int64{-1 << 63, -256, -1, 0, 1, 255, 1<<63 - 1}), 2, 2).Draw(rt, "ids")
		keys := make([][]byte, 2)
		for i := range keys {
			keys[i] = appendInt64(appendBytes(nil, []byte(users[i])), ids[i])
		}
		var want int
		err := conn.QueryRow(t.Context(), `SELECT CASE WHEN (a, b) < (c, d) THEN -1 WHEN (a, b) = (c, d) THEN 0 ELSE 1 END
FROM (SELECT $1::text COLLATE "C" AS a, $2::bigint AS b, $3::text COLLATE "C" AS c, $4::bigint AS d) x`, users[0], ids[0], users[1], ids[1]).Scan(&want)
		if err != nil {
			rt.Fatal(err)
		}
		if got := s.compareKeys(keys[0], keys[1]); got != want {
			rt.Errorf("%q %d and %q %d compare as %d, want %d", users[0], ids[0], users[1], ids[1], got, want)
		}
	})
	if !s.ordered() || !slices.Equal(s.keyColumns, []int{1, 0}) {
		t.Errorf("key columns %v", s.keyColumns)
	}
}
