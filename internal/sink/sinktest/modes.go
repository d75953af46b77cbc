package sinktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

var whole = connector.Window{} // the window of snapshot and cursor streams

func customer(id int, name string) string { return fmt.Sprintf(`{"id":%d,"name":%q}`, id, name) }

func call(id string, at time.Time, seconds int) string {
	return fmt.Sprintf(`{"id":%q,"at":%q,"seconds":%d}`, id, at.Format(time.RFC3339Nano), seconds)
}

func event(id int, what string) string { return fmt.Sprintf(`{"id":%d,"what":%q}`, id, what) }

var snapshotCases = map[string]func(*testing.T, Harness){
	"rows that vanished are marked and those that return are not": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		columns := []string{"id", "name", record.ColumnRun, record.ColumnDeleted}

		counts := s.land(t, attempt(1, customers, whole), customer(1, "Ada"), customer(2, "Bo"), customer(3, "Cy"))
		wantCounts(t, ledger.Counts{Rows: 3, Inserted: 3}, counts)

		counts = s.land(t, attempt(2, customers, whole), customer(1, "Ada"))
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Deleted: 2}, counts)
		gone := stamp(begun(2))
		s.wantRows(t, "customers", columns, "1 Ada 1 null", line("2", "Bo", "1", gone), line("3", "Cy", "1", gone))

		// What is marked already is neither marked nor counted again. A row that
		// returns as it was is written, so it counts as updated.
		counts = s.land(t, attempt(3, customers, whole), customer(1, "Ada"), customer(2, "Bo"))
		wantCounts(t, ledger.Counts{Rows: 2, Updated: 1, Unchanged: 1}, counts)
		s.wantRows(t, "customers", columns, "1 Ada 1 null", "2 Bo 3 null", line("3", "Cy", "1", gone))

		counts = s.land(t, attempt(4, customers, whole), customer(1, "Ada"), customer(2, "Bo"), customer(3, "Cyd"))
		wantCounts(t, ledger.Counts{Rows: 3, Updated: 1, Unchanged: 2}, counts)
		s.wantRows(t, "customers", columns, "1 Ada 1 null", "2 Bo 3 null", "3 Cyd 4 null")
	},

	"an empty snapshot marks all": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.land(t, attempt(1, customers, whole), customer(1, "Ada"), customer(2, "Bo"))
		wantCounts(t, ledger.Counts{Deleted: 2}, s.land(t, attempt(2, customers, whole)))
		wantCounts(t, ledger.Counts{}, s.land(t, attempt(3, customers, whole)))
	},

	"a resumed attempt marks nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.land(t, attempt(1, customers, whole), customer(1, "Ada"), customer(2, "Bo"))
		a := attempt(2, customers, whole)
		a.Resumed = true
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1}, s.land(t, a, customer(1, "Ada")))
	},

	// I5
	"nothing is visible before the commit": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		w := s.begin(t, attempt(1, customers, whole))
		emit(t, w, customer(0, "Ada")) // whoever reads while a table is filled for the first time may have to wait
		commit(t, w)
		w = s.begin(t, attempt(2, customers, whole))
		for i := range 5000 {
			emit(t, w, customer(i, "Bob"))
		}
		s.wantRows(t, "customers", []string{"id", "name"}, "0 Ada")
		commit(t, w)
		if n := len(s.rows(t, "customers", "id")); n != 5000 {
			t.Errorf("want 5000 rows after the commit, got %d", n)
		}
	},

	// I5
	"a reader sees the old snapshot or the new one": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		const rows = 1000
		land := func(run int64) error {
			w, err := s.Begin(t.Context(), attempt(run, customers, whole))
			if err != nil {
				return err
			}
			defer w.Close()
			for i := range rows {
				if err := w.Record([]byte(customer(i, fmt.Sprint("v", run)))); err != nil {
					return err
				}
			}
			_, err = w.Commit(t.Context(), connector.Usage{})
			return err
		}
		if err := land(1); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			for run := int64(2); run <= 5; run++ {
				if err := land(run); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for reads := 0; ; reads++ {
			got := s.rows(t, "customers", "name")
			if distinct := slices.Compact(slices.Clone(got)); len(got) != rows || len(distinct) != 1 {
				t.Errorf("read %d: %d rows of versions %v", reads, len(got), distinct)
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				return
			default:
			}
		}
	},

	"a checkpoint is refused": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		w := s.begin(t, attempt(1, customers, whole))
		emit(t, w, customer(1, "Ada"))
		if err := w.Checkpoint(t.Context(), connector.Cursor(`{"v":1}`), connector.Usage{}); err == nil {
			t.Error("a snapshot stream took a checkpoint")
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		s.wantRows(t, "customers", []string{"id"})
	},
}

var windowCases = map[string]func(*testing.T, Harness){
	"a window that is read again is replaced, others are left alone": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		columns := []string{"id", "seconds", record.ColumnRun, record.ColumnSeenAt}
		d0, d1 := day(0), day(1)
		last := d0.Until.Add(-time.Microsecond)
		s.land(t, attempt(1, calls, d0), call("a", d0.Since, 1), call("b", d0.Since.Add(time.Hour), 1), call("c", last, 1))
		s.land(t, attempt(1, calls, d1), call("x", d1.Since, 1), call("y", d1.Until.Add(-time.Microsecond), 1))
		s.land(t, attempt(1, calls, day(-1)), call("o", d0.Since.Add(-time.Microsecond), 1))

		counts := s.land(t, attempt(2, calls, d0), call("a", d0.Since, 1), call("b", d0.Since.Add(time.Hour), 2), call("d", last, 1))
		wantCounts(t, ledger.Counts{Rows: 3, Inserted: 1, Updated: 1, Unchanged: 1, Deleted: 1}, counts)
		one, two := stamp(begun(1)), stamp(begun(2))
		s.wantRows(t, "calls", columns,
			line("a", "1", "1", one), line("b", "2", "2", two), line("d", "1", "2", two),
			line("x", "1", "1", one), line("y", "1", "1", one), line("o", "1", "1", one))

		// An empty window: all of it has vanished, to both bounds, and no more.
		wantCounts(t, ledger.Counts{Deleted: 3}, s.land(t, attempt(3, calls, d0)))
		s.wantRows(t, "calls", []string{"id"}, "o", "x", "y")
	},

	"a row outside the window that was read is not deleted": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		// The vendor reports a call of the next day too; it is of that day.
		s.land(t, attempt(1, calls, day(0)), call("a", day(0).Since, 1), call("b", day(1).Since, 1))
		s.land(t, attempt(2, calls, day(0)), call("a", day(0).Since, 1))
		s.wantRows(t, "calls", []string{"id"}, "a", "b")
	},

	"a row that moves to another window moves": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.land(t, attempt(1, calls, day(0)), call("a", day(0).Since, 1), call("b", day(0).Since, 1))
		counts := s.land(t, attempt(2, calls, day(1)), call("a", day(1).Since, 1))
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1}, counts)
		counts = s.land(t, attempt(3, calls, day(0)), call("b", day(0).Since, 1))
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1}, counts)
		s.wantRows(t, "calls", []string{"id", "at"}, line("a", stamp(day(1).Since)), line("b", stamp(day(0).Since)))
	},

	"a row whose key changed is a new row": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.land(t, attempt(1, calls, day(0)), call("a", day(0).Since, 1))
		counts := s.land(t, attempt(2, calls, day(0)), call("A", day(0).Since, 1))
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1, Deleted: 1}, counts)
		s.wantRows(t, "calls", []string{"id"}, "A")
	},

	"a row without a time is in no window": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.land(t, attempt(1, calls, day(0)), `{"id":"a","seconds":1}`)
		wantCounts(t, ledger.Counts{}, s.land(t, attempt(2, calls, day(0))))
		s.wantRows(t, "calls", []string{"id"}, "a")
	},

	"without a time column nothing is deleted": func(t *testing.T, h Harness) {
		s := open(t, h)
		stream := calls
		stream.TimeColumn = ""
		s.prepare(t, stream)
		s.land(t, attempt(1, stream, day(0)), call("a", day(0).Since, 1), call("b", day(0).Since, 1))
		counts := s.land(t, attempt(2, stream, day(0)), call("a", day(0).Since, 1))
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1}, counts)
		s.wantRows(t, "calls", []string{"id"}, "a", "b")
	},

	"a date lies in the window that holds its first instant": func(t *testing.T, h Harness) {
		// A date has no zone: its day begins where the window's days begin.
		s := open(t, h)
		stream := connector.Stream{
			Name: "costs", Mode: connector.ModeWindow, PrimaryKey: []string{"day"}, TimeColumn: "day", Slice: connector.Days(1),
			Columns: []connector.Column{{Name: "day", Type: connector.TypeDate}},
		}
		stockholm := time.FixedZone("", 3600)
		for i, loc := range []*time.Location{time.UTC, stockholm, time.FixedZone("", -5*3600)} {
			name := fmt.Sprint("costs", i)
			stream.Name = name
			s.prepare(t, stream)
			load := attempt(1, stream, connector.Window{Since: epoch.AddDate(0, 0, -9), Until: epoch.AddDate(0, 0, 9)})
			s.land(t, load, `{"day":"2026-02-28"}`, `{"day":"2026-03-01"}`, `{"day":"2026-03-02"}`, `{"day":"2026-03-03"}`)
			two := connector.Window{Since: time.Date(2026, 3, 1, 0, 0, 0, 0, loc), Until: time.Date(2026, 3, 3, 0, 0, 0, 0, loc)}
			wantCounts(t, ledger.Counts{Deleted: 2}, s.land(t, attempt(2, stream, two)))
			s.wantRows(t, name, []string{"day"}, "2026-02-28", "2026-03-03")
			// The first instant of the 3rd is not in the afternoon of the 2nd, nor
			// in the afternoon of the 3rd.
			for _, noon := range []int{2, 3} {
				half := connector.Window{Since: time.Date(2026, 3, noon, 12, 0, 0, 0, loc), Until: time.Date(2026, 3, noon+1, 0, 0, 0, 0, loc)}
				wantCounts(t, ledger.Counts{}, s.land(t, attempt(3, stream, half)))
			}
			morning := connector.Window{Since: time.Date(2026, 3, 3, 0, 0, 0, 0, loc), Until: time.Date(2026, 3, 3, 12, 0, 0, 0, loc)}
			wantCounts(t, ledger.Counts{Deleted: 1}, s.land(t, attempt(4, stream, morning)))
		}
	},

	"a slice of one partition leaves the rows of another alone": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, customers)
		for i, stream := range []connector.Stream{calls, customers} {
			window, records := day(0), []string{call("a", day(0).Since, 1), call("b", day(0).Since, 1)}
			if stream.Mode == connector.ModeSnapshot {
				window, records = whole, []string{customer(1, "Ada"), customer(2, "Bo")}
			}
			for n, partition := range []string{"north", "south"} {
				a := attempt(1, stream, window)
				a.Slice.Partition = partition
				wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1}, s.land(t, a, records[n]))
			}
			again := attempt(2, stream, window)
			again.Slice.Partition = "north"
			wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1}, s.land(t, again, records[0]))
			s.wantRows(t, stream.Name, []string{"id", record.ColumnDeleted}, [][]string{{"a null", "b null"}, {"1 null", "2 null"}}[i]...)
		}
	},

	"what vanished from a partition is removed there alone": func(t *testing.T, h Harness) {
		s := open(t, h)
		brands := connector.Stream{
			Name: "brands", PrimaryKey: []string{"brand", "id"}, PartitionColumn: "brand",
			Columns: []connector.Column{
				{Name: "brand", Type: connector.TypeBigint}, {Name: "id", Type: connector.TypeText}, {Name: "day", Type: connector.TypeDate},
			},
		}
		for _, mode := range []connector.Mode{connector.ModeSnapshot, connector.ModeWindow} {
			brands.Name, brands.Mode = "brands_"+string(mode), mode
			window, left := whole, []string{"1 a null", "1 b 2", "2 a null", "2 b null"}
			if mode == connector.ModeWindow {
				brands.TimeColumn, brands.Slice = "day", connector.Days(1)
				window, left = day(0), []string{"1 a null", "2 a null", "2 b null"}
			}
			s.prepare(t, brands)
			land := func(run int64, brand string, ids ...string) ledger.Counts {
				a := attempt(run, brands, window)
				a.Slice.Partition = brand
				var records []string
				for _, id := range ids {
					records = append(records, fmt.Sprintf(`{"brand":%s,"id":%q,"day":%q}`, brand, id, day(0).Since.Format(time.DateOnly)))
				}
				return s.land(t, a, records...)
			}
			land(1, "1", "a", "b")
			land(1, "2", "a", "b")
			wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Deleted: 1}, land(2, "1", "a"))
			got := s.rows(t, brands.Name, "brand", "id", record.ColumnDeleted)
			for i := range got { // when it was marked does not matter here
				if mode == connector.ModeSnapshot && strings.HasPrefix(got[i], "1 b ") && !strings.HasSuffix(got[i], "null") {
					got[i] = "1 b 2"
				}
			}
			if diff := cmp.Diff(left, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", mode, diff)
			}
		}
	},

	"unchanged rows are not written": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		records := make([]string, 500)
		for i := range records {
			records[i] = call(fmt.Sprint("c", i), day(0).Since, i)
		}
		columns := []string{"id", record.ColumnRun, record.ColumnSeenAt}
		if h.RowVersion != "" {
			columns = append(columns, h.RowVersion)
		}
		s.land(t, attempt(1, calls, day(0)), records...)
		before := s.rows(t, "calls", columns...)
		counts := s.land(t, attempt(2, calls, day(0)), records...)
		wantCounts(t, ledger.Counts{Rows: 500, Unchanged: 500}, counts)
		s.wantRows(t, "calls", columns, before...)
	},

	"a checkpoint lets a window go on, and the attempt still deletes what vanished": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		at := day(0).Since
		s.land(t, attempt(1, calls, day(0)), call("a", at, 1), call("b", at, 1), call("c", at, 1))
		w := s.begin(t, attempt(2, calls, day(0)))
		emit(t, w, call("a", at, 1))
		checkpoint(t, w, `{"page":2}`)
		s.wantEntry(t, ledger.Entry{
			Slice: attempt(2, calls, day(0)).Slice, State: ledger.Partial, Run: 2, Cursor: connector.Cursor(`{"page":2}`),
			Counts: ledger.Counts{Rows: 1, Unchanged: 1}, Usage: connector.Usage{Requests: 1},
		})
		s.wantRows(t, "calls", []string{"id"}, "a", "b", "c")
		emit(t, w, call("b", at, 2))
		wantCounts(t, ledger.Counts{Rows: 2, Updated: 1, Unchanged: 1, Deleted: 1}, commit(t, w))
		s.wantRows(t, "calls", []string{"id"}, "a", "b")
		// Held whole: it begins again at its beginning.
		s.wantEntry(t, ledger.Entry{
			Slice: attempt(2, calls, day(0)).Slice, State: ledger.Held, Run: 2,
			Counts: ledger.Counts{Rows: 2, Updated: 1, Unchanged: 1, Deleted: 1}, Usage: connector.Usage{Requests: 2},
		})
	},

	"a resumed attempt deletes nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		at := day(0).Since
		s.land(t, attempt(1, calls, day(0)), call("a", at, 1), call("b", at, 1))
		a := attempt(2, calls, day(0))
		a.Resumed = true
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1}, s.land(t, a, call("b", at, 2)))
		s.wantRows(t, "calls", []string{"id"}, "a", "b")
	},

	"slices of one stream may be written at the same time": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		const rows = 2000
		writers := make([]sink.Writer, 4)
		for i := range writers {
			writers[i] = s.begin(t, attempt(1, calls, day(i)))
		}
		done := make(chan error, len(writers))
		for i, w := range writers {
			go func() {
				for n := range rows {
					if err := w.Record([]byte(call(fmt.Sprint(i, "-", n), day(i).Since, n))); err != nil {
						done <- err
						return
					}
				}
				counts, err := w.Commit(t.Context(), connector.Usage{})
				if want := (ledger.Counts{Rows: rows, Inserted: rows}); err == nil && counts != want {
					err = fmt.Errorf("slice %d: want %+v, got %+v", i, want, counts)
				}
				done <- err
			}()
		}
		for range writers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := len(s.rows(t, "calls", "id")); n != rows*len(writers) {
			t.Errorf("want %d rows, got %d", rows*len(writers), n)
		}
		if n := len(s.entries(t, source)); n != len(writers) {
			t.Errorf("want %d entries, got %d", len(writers), n)
		}
	},
}

var cursorCases = map[string]func(*testing.T, Harness){
	// I1
	"a checkpoint commits rows, cursor and state, and nothing after it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		w := s.begin(t, attempt(1, events, whole))
		emit(t, w, event(1, "a"), event(2, "a"))
		checkpoint(t, w, `{"v":1,"after":2}`)
		emit(t, w, event(3, "a"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.wantRows(t, "events", []string{"id"}, "1", "2")
		slice := attempt(1, events, whole).Slice
		s.wantEntry(t, ledger.Entry{
			Slice: slice, State: ledger.Partial, Run: 1, Cursor: connector.Cursor(`{"v":1,"after":2}`),
			Counts: ledger.Counts{Rows: 2, Inserted: 2}, Usage: connector.Usage{Requests: 1},
		})

		a := attempt(2, events, whole)
		a.Resumed = true
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1}, s.land(t, a, event(3, "a")))
		s.wantRows(t, "events", []string{"id", record.ColumnRun}, "1 1", "2 1", "3 2")
		s.wantEntry(t, ledger.Entry{
			Slice: slice, State: ledger.Held, Run: 2, Cursor: connector.Cursor(`{"v":1,"after":2}`),
			Counts: ledger.Counts{Rows: 1, Inserted: 1}, Usage: connector.Usage{Requests: 2},
		})
	},

	"the last cursor is kept": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		w := s.begin(t, attempt(1, events, whole))
		for i := range 3 {
			emit(t, w, event(i, "a"))
			checkpoint(t, w, fmt.Sprintf(`{"after":%d}`, i))
		}
		checkpoint(t, w, `{"after":99}`) // without a row
		wantCounts(t, ledger.Counts{Rows: 3, Inserted: 3}, commit(t, w))
		if got := string(s.entries(t, source)[0].Cursor); got != `{"after":99}` {
			t.Errorf("cursor %s", got)
		}
	},

	"a stream without checkpoints has no cursor": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		s.land(t, attempt(1, events, whole), event(1, "a"))
		if e := s.entries(t, source)[0]; e.Cursor != nil || e.State != ledger.Held {
			t.Errorf("entry %+v", e)
		}
	},

	"nothing is deleted or marked": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		s.land(t, attempt(1, events, whole), event(1, "a"), event(2, "a"))
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1}, s.land(t, attempt(2, events, whole), event(2, "b")))
		s.wantRows(t, "events", []string{"id", "what", record.ColumnDeleted}, "1 a null", "2 b null")
	},

	"a row counts once however many checkpoints wrote it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		s.land(t, attempt(1, events, whole), event(1, "a"), event(2, "a"), event(3, "a"), event(4, "a"))
		w := s.begin(t, attempt(2, events, whole))
		emit(t, w, event(1, "b"), event(2, "a"), event(3, "a"), event(5, "a"))
		checkpoint(t, w, `{}`)
		// 1 goes back, 2 changes after all, 3 stays, 5 changes, 6 is new.
		emit(t, w, event(1, "a"), event(2, "b"), event(3, "a"), event(5, "b"), event(6, "a"))
		checkpoint(t, w, `{}`)
		emit(t, w, event(2, "c"), event(6, "b"))
		wantCounts(t, ledger.Counts{Rows: 5, Inserted: 2, Updated: 2, Unchanged: 1}, commit(t, w))
		s.wantRows(t, "events", []string{"id", "what", record.ColumnRun}, "1 a 2", "2 c 2", "3 a 1", "4 a 1", "5 b 2", "6 b 2")
	},
}
