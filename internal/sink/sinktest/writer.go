package sinktest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

var writerCases = map[string]func(*testing.T, Harness){
	// I2
	"of a key that is written twice the last wins and counts once": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		counts := s.land(t, attempt(1, events, whole), event(1, "a"), event(2, "a"), event(1, "b"), event(1, "c"))
		wantCounts(t, ledger.Counts{Rows: 2, Inserted: 2}, counts)
		s.wantRows(t, "events", []string{"id", "what"}, "1 c", "2 a")
		// What ends as it was is unchanged.
		counts = s.land(t, attempt(2, events, whole), event(1, "x"), event(2, "x"), event(1, "c"))
		wantCounts(t, ledger.Counts{Rows: 2, Updated: 1, Unchanged: 1}, counts)
		s.wantRows(t, "events", []string{"id", "what", record.ColumnRun}, "1 c 1", "2 x 2")
	},

	"many rows": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		rows := int64(cmp.Or(h.ManyRows, manyRows))
		twice := rows / 50
		write := func(run int64, seconds func(i int64) int64) ledger.Counts {
			w := s.begin(t, attempt(run, calls, day(0)))
			for i := range rows {
				if err := w.Record([]byte(call(fmt.Sprint("call-", i*7919%rows), day(0).Since, int(seconds(i))))); err != nil {
					t.Fatal(err)
				}
			}
			for i := range twice { // far from where they came first
				if err := w.Record([]byte(call(fmt.Sprint("call-", i*7919%rows), day(0).Since, int(seconds(i))+1))); err != nil {
					t.Fatal(err)
				}
			}
			return commit(t, w)
		}
		wantCounts(t, ledger.Counts{Rows: rows, Inserted: rows}, write(1, func(i int64) int64 { return i }))
		if n := int64(len(s.rows(t, "calls", "id"))); n != rows {
			t.Errorf("want %d rows, got %d", rows, n)
		}
		wantCounts(t, ledger.Counts{Rows: rows, Unchanged: rows}, write(2, func(i int64) int64 { return i }))
		half := func(i int64) int64 { return i + 10*((i/twice)%2) }
		wantCounts(t, ledger.Counts{Rows: rows, Updated: rows / 2, Unchanged: rows / 2}, write(3, half))
		few := func(i int64) int64 {
			if i%100 == 0 {
				return i - 10
			}
			return half(i)
		}
		wantCounts(t, ledger.Counts{Rows: rows, Updated: rows / 100, Unchanged: rows - rows/100}, write(4, few))
		wantCounts(t, ledger.Counts{Rows: rows, Unchanged: rows}, write(5, few))
	},

	"a bad record says which column and leaves nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		for raw, column := range map[string]string{
			`{"id":"a","at":"yesterday"}`:                          "at",
			`{"id":"a","at":"2026-03-01T00:00:00Z","seconds":"x"}`: "seconds",
			`{"at":"2026-03-01T00:00:00Z"}`:                        "id",
			`{"id":"a","at":"2026-03-01T00:00:00Z","seconds":1`:    "",
			`["a"]`: "",
			`{"id":null,"at":"2026-03-01T00:00:00Z"}`: "id",
		} {
			w := s.begin(t, attempt(1, calls, day(0)))
			emit(t, w, call("good", day(0).Since, 1))
			err := w.Record([]byte(raw))
			var bad *record.Error
			if !errors.As(err, &bad) {
				t.Errorf("%s: want a *record.Error, got %v", raw, err)
			} else if bad.Column != column {
				t.Errorf("%s: want column %q, got %q", raw, column, bad.Column)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		s.wantRows(t, "calls", []string{"id"})
	},

	"a bad record does not spoil the others": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		w := s.begin(t, attempt(1, events, whole))
		emit(t, w, event(1, "a"))
		if err := w.Record([]byte(`{"id":"x"}`)); err == nil {
			t.Error("the sink took a bad record")
		}
		emit(t, w, event(2, "a"))
		wantCounts(t, ledger.Counts{Rows: 2, Inserted: 2}, commit(t, w))
	},

	"the raw record is not kept": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		w := s.begin(t, attempt(1, events, whole))
		buf := make([]byte, 0, 100)
		for i := range 9 {
			buf = append(buf[:0], event(i, fmt.Sprint("w", i))...)
			if err := w.Record(buf); err != nil {
				t.Fatal(err)
			}
			for j := range buf {
				buf[j] = '#'
			}
		}
		commit(t, w)
		var want []string
		for i := range 9 {
			want = append(want, fmt.Sprintf("%d w%d", i, i))
		}
		s.wantRows(t, "events", []string{"id", "what"}, want...)
	},

	"a cancelled attempt leaves nothing and says that it was cancelled": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		for _, rows := range []int{0, 10, 5000} {
			ctx, cancel := context.WithCancel(t.Context())
			w, err := s.Begin(ctx, attempt(1, calls, day(0)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				emit(t, w, call(fmt.Sprint(i), day(0).Since, i))
			}
			cancel()
			if _, err := w.Commit(ctx, connector.Usage{}); !errors.Is(err, context.Canceled) {
				t.Errorf("after %d rows: want an error that wraps %v, got %v", rows, context.Canceled, err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		s.wantRows(t, "calls", []string{"id"})
		if e := s.entries(t, source); len(e) != 0 {
			t.Errorf("ledger %+v", e)
		}
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1}, s.land(t, attempt(2, calls, day(0)), call("a", day(0).Since, 1)))
	},

	"records after a cancellation are refused sooner or later": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Begin(ctx, attempt(1, events, whole))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		cancel()
		for i := 0; err == nil && i < 1_000_000; i++ {
			err = w.Record([]byte(event(i, "a")))
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("want an error that wraps %v, got %v", context.Canceled, err)
		}
	},

	"close is safe twice, after a commit and without anything": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		for n := range 3 {
			w := s.begin(t, attempt(1, events, whole))
			if n > 0 {
				emit(t, w, event(1, "a"))
			}
			if n > 1 {
				commit(t, w)
			}
			for range 2 {
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		s.wantRows(t, "events", []string{"id"}, "1")
	},

	"a sink closes twice": func(t *testing.T, h Harness) {
		s := open(t, h)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	},

	"the location is told": func(t *testing.T, h Harness) {
		if s := open(t, h); s.Location() == "" {
			t.Error("empty")
		}
	},
}
