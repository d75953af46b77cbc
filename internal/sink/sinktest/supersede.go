package sinktest

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// hours is a window that begins and ends so many hours after the first day's
// beginning.
func hours(since, until int) connector.Window {
	at := func(n int) time.Time { return day(0).Since.Add(time.Duration(n) * time.Hour) }
	return connector.Window{Since: at(since), Until: at(until)}
}

// wantLedger compares the ledger with lines: partition, state and window.
func (s *store) wantLedger(t *testing.T, want ...string) {
	t.Helper()
	got := []string{}
	for _, e := range s.entries(t, source) {
		w := e.Slice.Window
		got = append(got, fmt.Sprintf("%s%s %v-%v", e.Slice.Partition, e.State, w.Since.Sub(day(0).Since).Hours(), w.Until.Sub(day(0).Since).Hours()))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

var supersedeCases = map[string]func(*testing.T, Harness){
	"a held window takes the place of those within it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		for _, w := range []connector.Window{hours(-24, 0), hours(0, 12), hours(12, 24), hours(24, 48), hours(18, 36)} {
			s.land(t, attempt(1, calls, w))
		}
		s.wantLedger(t, "held -24-0", "held 0-12", "held 12-24", "held 18-36", "held 24-48")
		s.land(t, attempt(2, calls, hours(0, 24)))
		s.wantLedger(t, "held -24-0", "held 0-24", "held 18-36", "held 24-48")
	},

	"a held window takes the place of what is not held and overlaps it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		for _, w := range []connector.Window{hours(-12, 12), hours(-48, 48), hours(12, 36), hours(-24, 0), hours(24, 48)} {
			s.fail(t, attempt(1, calls, w), unavailable)
		}
		s.land(t, attempt(2, calls, hours(0, 24)))
		s.wantLedger(t, "failed -24-0", "held 0-24", "failed 24-48")
	},

	"what is not held takes no place": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.land(t, attempt(1, calls, hours(0, 12)))
		s.fail(t, attempt(2, calls, hours(0, 24)), unavailable)
		w := s.begin(t, attempt(3, calls, hours(0, 36)))
		emit(t, w, call("a", hours(1, 2).Since, 1))
		checkpoint(t, w, `{"page":2}`)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.wantLedger(t, "held 0-12", "failed 0-24", "partial 0-36")
	},

	"other partitions, streams and slices without a window stay": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		other := attempt(1, calls, hours(0, 12))
		other.Slice.Partition = "north "
		s.fail(t, other, unavailable)
		other.Slice.Partition, other.Slice.Stream = "", "visits"
		s.fail(t, other, unavailable)
		s.fail(t, attempt(1, calls, whole), unavailable)
		s.land(t, attempt(2, calls, hours(0, 24)))
		if entries := s.entries(t, source); len(entries) != 4 {
			t.Errorf("ledger %+v, want four entries", entries)
		}
	},

	"the reads of what was superseded stay": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		id, err := s.StartRun(t.Context(), sink.Run{Source: source, Connector: "toy", Trigger: "pull", StartedAt: begun(1)})
		if err != nil {
			t.Fatal(err)
		}
		s.land(t, attempt(id, calls, hours(0, 12)))
		s.land(t, attempt(id, calls, hours(0, 24)))
		if _, reads := s.run(t, id); len(reads) != 2 {
			t.Errorf("%d reads, want 2", len(reads))
		}
	},
}
