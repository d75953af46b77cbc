package sinktest

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

func aBackfill(name, source string) sink.Backfill {
	return sink.Backfill{
		Name: name, Source: source, Streams: []string{"calls", "orders"}, Window: connector.Window{Since: day(0).Since, Until: day(30).Until},
		Slice: connector.Span{Months: 1, Days: 2}, Order: ledger.OldestFirst, Force: true, Slices: 62, CreatedAt: begun(7),
	}
}

// create records a backfill.
func (s *store) create(t *testing.T, b sink.Backfill) sink.Backfill {
	t.Helper()
	created, err := s.CreateBackfill(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func (s *store) move(t *testing.T, id int64, to sink.BackfillState, want bool, from ...sink.BackfillState) {
	t.Helper()
	if moved, err := s.MoveBackfill(t.Context(), id, to, from...); err != nil || moved != want {
		t.Errorf("move to %s from %v: %v, %v, want %v", to, from, moved, err, want)
	}
}

var backfillCases = map[string]func(*testing.T, Harness){
	"what was asked for comes back, the newest first": func(t *testing.T, h Harness) {
		s := open(t, h)
		want := []sink.Backfill{aBackfill("b", "other"), aBackfill("a", source)}
		want[0].Slice, want[0].Order, want[0].Force = connector.Span{}, ledger.NewestFirst, false
		for i := len(want) - 1; i >= 0; i-- {
			created := s.create(t, want[i])
			want[i].ID, want[i].State = created.ID, sink.BackfillRunning
			if created.ID == 0 || created.State != sink.BackfillRunning {
				t.Errorf("created %+v", created)
			}
		}
		got, err := s.Backfills(t.Context(), "")
		if diff := gocmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if got, err := s.Backfills(t.Context(), source); err != nil || len(got) != 1 || got[0].Name != "a" {
			t.Errorf("of one source: %+v, %v", got, err)
		}
	},

	"a name is taken until its backfill has ended": func(t *testing.T, h Harness) {
		s := open(t, h)
		first := s.create(t, aBackfill("a", source))
		if _, err := s.CreateBackfill(t.Context(), aBackfill("a", "other")); !errors.Is(err, sink.ErrBackfillName) {
			t.Errorf("error %v, want ErrBackfillName", err)
		}
		s.move(t, first.ID, sink.BackfillCancelled, true, sink.BackfillRunning)
		s.create(t, aBackfill("a", source))
	},

	"a state changes from those named only, and ended is ended": func(t *testing.T, h Harness) {
		s := open(t, h)
		b := s.create(t, aBackfill("a", source))
		s.move(t, b.ID, sink.BackfillRunning, false, sink.BackfillPaused)
		s.move(t, b.ID, sink.BackfillPaused, true, sink.BackfillRunning)
		other := reopen(t, h, s.address)
		if state, err := other.BackfillState(t.Context(), b.ID); err != nil || state != sink.BackfillPaused {
			t.Errorf("another process sees %s, %v", state, err)
		}
		s.move(t, b.ID, sink.BackfillDone, true, sink.BackfillRunning, sink.BackfillPaused)
		s.move(t, b.ID, sink.BackfillRunning, false, sink.BackfillRunning, sink.BackfillPaused)
		all, err := s.Backfills(t.Context(), "")
		if err != nil || len(all) != 1 || all[0].EndedAt.IsZero() || !all[0].Ended() {
			t.Errorf("%+v, %v: want it ended", all, err)
		}
	},

	"progress is what its runs have committed, each slice once": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		b := s.create(t, aBackfill("a", source))
		run := func(backfill int64) int64 {
			id, err := s.StartRun(t.Context(), sink.Run{Source: source, Connector: "toy", Trigger: "backfill", StartedAt: begun(1), Backfill: backfill})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		none, err := s.BackfillProgress(t.Context(), b.ID)
		if diff := gocmp.Diff(sink.BackfillProgress{}, none); err != nil || diff != "" {
			t.Errorf("at first: %v %s", err, diff)
		}
		first, second := run(b.ID), run(b.ID)
		s.land(t, attempt(first, calls, day(0)), call("a", day(0).Since, 1))
		s.land(t, attempt(second, calls, day(0)), call("a", day(0).Since, 1))
		s.fail(t, attempt(second, calls, day(1)), unavailable)
		s.land(t, attempt(run(0), calls, day(2)), call("c", day(2).Since, 1))
		got, err := s.BackfillProgress(t.Context(), b.ID)
		want := sink.BackfillProgress{
			Runs: 2, Slices: 1, Counts: ledger.Counts{Rows: 2, Inserted: 1, Unchanged: 1}, Usage: connector.Usage{Requests: 4},
		}
		if diff := gocmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		for i, e := range s.entries(t, source) {
			if want := i < 2; e.Backfilled != want {
				t.Errorf("%s: backfilled %v, want %v", e.Slice, e.Backfilled, want)
			}
		}
		if r, _ := s.run(t, first); r.Backfill != b.ID {
			t.Errorf("run %d is part of %d, want %d", first, r.Backfill, b.ID)
		}
	},

	"a pull can tell a backfill that it waits": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		expect := func(want bool) {
			t.Helper()
			if awaited, err := s.Awaited(t.Context(), source); err != nil || awaited != want {
				t.Errorf("awaited %v, %v, want %v", awaited, err, want)
			}
		}
		expect(false)
		for _, waiter := range []string{"a", "a", "b"} {
			if err := other.Announce(t.Context(), source, waiter); err != nil {
				t.Fatal(err)
			}
		}
		expect(true)
		for _, step := range []struct {
			waiter string
			left   bool
		}{{"a", true}, {"c", true}, {"b", false}} {
			if err := other.Withdraw(t.Context(), source, step.waiter); err != nil {
				t.Fatal(err)
			}
			expect(step.left)
		}
	},

	"who holds a source is told from its run under way": func(t *testing.T, h Harness) {
		s := open(t, h)
		expect := func(want bool) {
			t.Helper()
			if held, err := s.HeldByBackfill(t.Context(), source); err != nil || held != want {
				t.Errorf("held by a backfill: %v, %v, want %v", held, err, want)
			}
		}
		expect(false)
		b := s.create(t, aBackfill("a", source))
		for _, backfill := range []int64{0, b.ID} {
			id, err := s.StartRun(t.Context(), sink.Run{Source: source, Connector: "toy", Trigger: "x", StartedAt: begun(1), Backfill: backfill})
			if err != nil {
				t.Fatal(err)
			}
			expect(backfill != 0)
			if err := s.FinishRun(t.Context(), id, sink.RunEnd{EndedAt: time.Now(), Outcome: sink.Succeeded}); err != nil {
				t.Fatal(err)
			}
			expect(false)
		}
	},
}
