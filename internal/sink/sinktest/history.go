package sinktest

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// landAged lands records of a day of calls by an attempt that begins so long after
// the day's end.
func (s *store) landAged(t *testing.T, run int64, n int, age time.Duration, records ...string) {
	t.Helper()
	a := attempt(run, calls, day(n))
	a.StartedAt = day(n).Until.Add(age)
	s.land(t, a, records...)
}

var historyCases = map[string]func(*testing.T, Harness){
	"costs are those of the newest whole reads": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, customers)
		before := time.Now()
		for n := range 3 {
			a := attempt(int64(n+1), calls, day(n))
			a.StartedAt = before.Add(-time.Duration(n+1) * time.Minute)
			w := s.begin(t, a)
			if _, err := w.Commit(t.Context(), connector.Usage{Requests: int64(10 + n), Retries: int64(n), Waited: time.Duration(n) * time.Second}); err != nil {
				t.Fatal(err)
			}
		}
		s.fail(t, attempt(4, calls, day(3)), unavailable)
		s.land(t, attempt(5, customers, connector.Window{}), `{"id":1}`)

		costs, err := s.Costs(t.Context(), source, "calls", 2)
		if err != nil {
			t.Fatal(err)
		}
		var rest time.Duration // how long the case itself took
		for i := range costs {
			least := time.Duration(3-i) * time.Minute
			rest = costs[i].Took - least
			if rest < 0 || rest > time.Since(before) {
				t.Errorf("cost %d took %v, want %v and what this case took", i, costs[i].Took, least)
			}
			costs[i].Took = 0
		}
		want := []ledger.Cost{
			{Window: day(2), Requests: 10, Waited: 2 * time.Second},
			{Window: day(1), Requests: 10, Waited: time.Second},
		}
		if diff := gocmp.Diff(want, costs); diff != "" {
			t.Errorf("costs (-want +got):\n%s", diff)
		}
		snapshots, err := s.Costs(t.Context(), source, "customers", 9)
		if err != nil || len(snapshots) != 1 || !snapshots[0].Window.IsZero() {
			t.Errorf("costs of a snapshot: %+v, %v", snapshots, err)
		}
	},

	"rereads are summed by the ages of their windows": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		const hour = time.Hour
		for n := range 3 { // read on the first day, on the second and on the fifth
			first := call("first", day(n).Since, 1)
			s.landAged(t, 1, n, 2*hour, first, call("second", day(n).Since, 1))
			s.landAged(t, 2, n, 26*hour, first, call("second", day(n).Since, 2), call("late", day(n).Since, 3))
			s.landAged(t, 3, n, 4*24*hour, first, call("second", day(n).Since, 2))
		}
		// A failure is no reading.
		s.landAged(t, 4, 3, 2*hour)
		failed := attempt(5, calls, day(3))
		failed.StartedAt = day(3).Until.Add(20 * hour)
		s.fail(t, failed, unavailable)
		// A window that lay ahead when it was first read.
		s.landAged(t, 6, 4, -hour)
		s.landAged(t, 7, 4, hour)

		got, err := s.Rereads(t.Context(), source, "calls", 24*hour)
		if err != nil {
			t.Fatal(err)
		}
		want := []ledger.Reread{
			{Before: -1, Age: 0, Reads: 1},
			{Before: 0, Age: 1, Reads: 3, Counts: ledger.Counts{Rows: 9, Inserted: 3, Updated: 3, Unchanged: 3}},
			{Before: 1, Age: 4, Reads: 3, Counts: ledger.Counts{Rows: 6, Unchanged: 6, Deleted: 3}},
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("rereads (-want +got):\n%s", diff)
		}
		if none, err := s.Rereads(t.Context(), source, "customers", 24*hour); err != nil || len(none) != 0 {
			t.Errorf("rereads of a stream without any: %v, %v", none, err)
		}
	},
}
