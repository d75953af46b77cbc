package sinktest

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sink"
)

var pruneCases = map[string]func(*testing.T, Harness){
	"what only tells of the past is forgotten": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, customers)
		old, recent, going := s.started(t, source, 1), s.started(t, source, 2), s.started(t, "other", 3)
		s.land(t, attempt(old.ID, customers, whole), customer(1, "Ada"))
		s.fail(t, attempt(old.ID, calls, day(0)), errors.New("away"))
		s.read(t, attempt(recent.ID, calls, day(1)), badCall("b", day(1).Since, "many"))
		for id, at := range map[int64]time.Time{old.ID: begun(2), recent.ID: begun(20)} {
			if err := s.FinishRun(t.Context(), id, sink.RunEnd{EndedAt: at, Outcome: sink.Succeeded}); err != nil {
				t.Fatal(err)
			}
		}
		decide(t, s, epoch, tick(1, sink.Skipped), tick(2, sink.Taken), tick(3, sink.Skipped))
		ledger := s.entries(t, source)

		want := sink.Pruned{Runs: 1, Reads: 2}
		for _, dryRun := range []bool{true, false} {
			got, err := s.Prune(t.Context(), begun(10), dryRun)
			if diff := gocmp.Diff(want, got); err != nil || diff != "" {
				t.Fatalf("dry run %v: %v (-want +got):\n%s", dryRun, err, diff)
			}
		}
		if _, _, err := s.RunByID(t.Context(), old.ID); !errors.Is(err, sink.ErrNoRun) {
			t.Errorf("the old run: %v", err)
		}
		if _, reads := s.run(t, recent.ID); len(reads) != 1 {
			t.Errorf("%d reads of the recent run", len(reads))
		}
		s.run(t, going.ID)
		if diff := gocmp.Diff(ledger, s.entries(t, source)); diff != "" {
			t.Errorf("ledger (-before +after):\n%s", diff)
		}

		// The last tick of a schedule is where catching up begins, an open one is
		// under way, and a record that waits in quarantine waits.
		got, err := s.Prune(t.Context(), now(t, s).Add(time.Minute), false)
		if diff := gocmp.Diff(sink.Pruned{Runs: 1, Reads: 1, Ticks: 1}, got); err != nil || diff != "" {
			t.Errorf("all that ended: %v (-want +got):\n%s", err, diff)
		}
		if n, err := s.DropQuarantined(t.Context(), sink.QuarantineFilter{Source: source}); err != nil || n != 1 {
			t.Errorf("dropped %d, %v", n, err)
		}
		got, err = s.Prune(t.Context(), now(t, s).Add(time.Minute), false)
		if diff := gocmp.Diff(sink.Pruned{Quarantined: 1}, got); err != nil || diff != "" {
			t.Errorf("settled: %v (-want +got):\n%s", err, diff)
		}
	},
}
