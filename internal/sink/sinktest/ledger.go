package sinktest

import (
	"context"
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// unavailable is how a vendor fails in these cases.
var unavailable = &connector.Error{Kind: connector.KindUnavailable, Op: "calls page 3", Err: errors.New("502 Bad Gateway")}

// usage is a usage with every field set.
var usage = connector.Usage{Requests: 9, Retries: 2, Bytes: 1 << 40, Waited: 90 * time.Second, TokensFetched: 3, RenewedOn401: 1}

func (s *store) fail(t *testing.T, a sink.Attempt, cause error) {
	t.Helper()
	if err := s.Fail(t.Context(), a, connector.Usage{Requests: 5}, cause); err != nil {
		t.Fatal("fail:", err)
	}
}

var ledgerCases = map[string]func(*testing.T, Harness){
	"a fresh store holds nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		if e := s.entries(t, ""); len(e) != 0 {
			t.Errorf("got %+v", e)
		}
	},

	"success": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		before := time.Now().Add(-time.Second)
		s.land(t, attempt(1, calls, day(0)), call("a", day(0).Since, 1))
		want := ledger.Entry{
			Slice: attempt(1, calls, day(0)).Slice, State: ledger.Held, Run: 1,
			Counts: ledger.Counts{Rows: 1, Inserted: 1}, Usage: connector.Usage{Requests: 2},
		}
		first := s.wantEntry(t, want)
		if first.FirstReadAt.Before(before) || !first.LastReadAt.Equal(first.FirstReadAt) {
			t.Errorf("first read %v, last read %v", first.FirstReadAt, first.LastReadAt)
		}

		s.land(t, attempt(2, calls, day(0)), call("a", day(0).Since, 1))
		want.Run, want.Counts = 2, ledger.Counts{Rows: 1, Unchanged: 1}
		again := s.wantEntry(t, want)
		if !again.FirstReadAt.Equal(first.FirstReadAt) || again.LastReadAt.Before(first.LastReadAt) {
			t.Errorf("then first read %v, last read %v", again.FirstReadAt, again.LastReadAt)
		}
	},

	"failure": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.fail(t, attempt(1, calls, day(0)), unavailable)
		s.fail(t, attempt(2, calls, day(0)), unavailable)
		got := s.wantEntry(t, ledger.Entry{
			Slice: attempt(1, calls, day(0)).Slice, State: ledger.Failed, Run: 2, Failures: 2,
			ErrorKind: connector.KindUnavailable, Error: unavailable.Error(),
		})
		if !got.FirstReadAt.IsZero() || !got.LastReadAt.IsZero() {
			t.Errorf("first read %v, last read %v of what was never read", got.FirstReadAt, got.LastReadAt)
		}
	},

	"failure after success keeps rows and counts, success after failure forgets it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.land(t, attempt(1, calls, day(0)), call("a", day(0).Since, 1))
		held := s.entries(t, source)[0]
		w := s.begin(t, attempt(2, calls, day(0)))
		emit(t, w, call("b", day(0).Since, 1))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.fail(t, attempt(2, calls, day(0)), unavailable)
		want := held
		want.State, want.Run, want.Failures = ledger.Failed, 2, 1
		want.ErrorKind, want.Error = connector.KindUnavailable, unavailable.Error()
		got := s.wantEntry(t, want)
		if !got.FirstReadAt.Equal(held.FirstReadAt) || !got.LastReadAt.Equal(held.LastReadAt) {
			t.Errorf("times moved: %+v", got)
		}
		s.wantRows(t, "calls", []string{"id"}, "a")

		s.land(t, attempt(3, calls, day(0)), call("a", day(0).Since, 1))
		s.wantEntry(t, ledger.Entry{
			Slice: held.Slice, State: ledger.Held, Run: 3,
			Counts: ledger.Counts{Rows: 1, Unchanged: 1}, Usage: connector.Usage{Requests: 2},
		})
	},

	"failure after a checkpoint keeps the cursor": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		w := s.begin(t, attempt(1, events, whole))
		emit(t, w, event(1, "a"))
		checkpoint(t, w, `{"after":1}`)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.fail(t, attempt(1, events, whole), unavailable)
		s.wantEntry(t, ledger.Entry{
			Slice: attempt(1, events, whole).Slice, State: ledger.Failed, Run: 1, Failures: 1,
			Cursor: connector.Cursor(`{"after":1}`), Counts: ledger.Counts{Rows: 1, Inserted: 1},
			Usage: connector.Usage{Requests: 1}, ErrorKind: connector.KindUnavailable, Error: unavailable.Error(),
		})
	},

	"every count, cost and byte of a cursor comes back": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		cursor := connector.Cursor(`{"v":1,  "text":"Å \u0000 é"}`)
		w := s.begin(t, attempt(1, events, whole))
		if err := w.Checkpoint(t.Context(), cursor, usage); err != nil {
			t.Fatal(err)
		}
		want := ledger.Entry{Slice: attempt(1, events, whole).Slice, State: ledger.Partial, Run: 1, Cursor: cursor, Usage: usage}
		s.wantEntry(t, want)
		if _, err := w.Commit(t.Context(), usage); err != nil {
			t.Fatal(err)
		}
		want.State = ledger.Held
		s.wantEntry(t, want)
	},

	"slices are kept apart by source, stream, partition and window": func(t *testing.T, h Harness) {
		s := open(t, h)
		stockholm := time.FixedZone("", 3600)
		local := connector.Window{Since: time.Date(2026, 3, 1, 0, 0, 0, 0, stockholm), Until: time.Date(2026, 3, 2, 0, 0, 0, 0, stockholm)}
		var want []ledger.Slice
		for _, src := range []string{"a_source", source} {
			for _, stream := range []string{"calls", "visits"} {
				for _, partition := range []string{"", "north", "söder / \"x\"'"} {
					for _, window := range []connector.Window{{}, local, day(0), {Since: day(0).Since, Until: day(1).Until}} {
						slice := ledger.Slice{Source: src, Stream: stream, Partition: partition, Window: window}
						st := calls
						st.Name = stream
						s.fail(t, sink.Attempt{Run: 1, Slice: slice, Stream: st, StartedAt: begun(1)}, unavailable)
						s.fail(t, sink.Attempt{Run: 2, Slice: slice, Stream: st, StartedAt: begun(2)}, unavailable)
						want = append(want, slice)
					}
				}
			}
		}
		got := func(source string) (slices []ledger.Slice) {
			for _, e := range s.entries(t, source) {
				if e.Failures != 2 {
					t.Errorf("%s: %d failures", e.Slice, e.Failures)
				}
				slices = append(slices, e.Slice)
			}
			return slices
		}
		bySlice := cmpopts.SortSlices(func(a, b ledger.Slice) bool {
			return a.String()+a.Window.Until.UTC().String() < b.String()+b.Window.Until.UTC().String()
		})
		utc := func(slices []ledger.Slice) []ledger.Slice {
			for i := range slices {
				slices[i].Window.Since, slices[i].Window.Until = slices[i].Window.Since.UTC(), slices[i].Window.Until.UTC()
			}
			return slices
		}
		want = utc(want)
		if diff := gocmp.Diff(want, utc(got("")), bySlice); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff(want[len(want)/2:], utc(got(source)), bySlice); diff != "" {
			t.Errorf("of one source (-want +got):\n%s", diff)
		}
	},

	"a clock that jumps back loses nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.prepare(t, calls)
		at := func(run int64, stream connector.Stream, w connector.Window) sink.Attempt {
			a := attempt(run, stream, w)
			a.StartedAt = epoch.AddDate(0, 0, -int(run)) // each attempt a day before the last
			return a
		}
		s.land(t, at(1, customers, whole), customer(1, "Ada"), customer(2, "Bo"))
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1, Deleted: 1}, s.land(t, at(2, customers, whole), customer(1, "Ada L")))
		wantCounts(t, ledger.Counts{Rows: 2, Updated: 1, Unchanged: 1}, s.land(t, at(3, customers, whole), customer(1, "Ada L"), customer(2, "Bo")))
		s.land(t, at(1, calls, day(0)), call("a", epoch, 1), call("b", epoch, 1))
		wantCounts(t, ledger.Counts{Rows: 2, Inserted: 1, Updated: 1, Deleted: 1}, s.land(t, at(2, calls, day(0)), call("a", epoch, 2), call("c", epoch, 1)))
		s.wantRows(t, "calls", []string{"id", "seconds"}, "a 2", "c 1")
		for _, e := range s.entries(t, source) {
			if e.State != ledger.Held {
				t.Errorf("%s is %s", e.Slice, e.State)
			}
		}
	},

	"an error that is not the store's business is no fault of it": func(t *testing.T, h Harness) {
		s := open(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Entries(ctx, source)
		if !connector.Cancelled(err) {
			t.Errorf("want a cancellation, got %v", err)
		}
		var fault *sink.Error
		if errors.As(err, &fault) && fault.Retryable() {
			t.Errorf("a cancellation is worth no retry: %+v", fault)
		}
	},
}
