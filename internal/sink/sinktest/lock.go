package sinktest

import (
	"errors"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sink"
)

// lock takes the right to pull the source.
func lock(t *testing.T, s sink.Sink, source string) (release func()) {
	t.Helper()
	_, release, err := s.Lock(t.Context(), sink.Claim{Source: source})
	if err != nil {
		t.Fatalf("lock %s: %v", source, err)
	}
	return release
}

func wantBusy(t *testing.T, s sink.Sink, source string) {
	t.Helper()
	_, release, err := s.Lock(t.Context(), sink.Claim{Source: source})
	if err == nil {
		release()
	}
	var busy *sink.Busy
	if !errors.As(err, &busy) || busy.Source != source {
		t.Fatalf("lock %s: want a *sink.Busy of it, got %v", source, err)
	}
}

var lockCases = map[string]func(*testing.T, Harness){
	// I3
	"one agent holds a source until it lets go": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		release := lock(t, s, source)
		wantBusy(t, other, source)
		wantBusy(t, s, source)
		release()
		release() // harmless
		mine := lock(t, other, source)
		wantBusy(t, s, source)
		release() // not the one who holds it
		wantBusy(t, s, source)
		mine()
		// Nor does it let go of what the same agent took later.
		later := lock(t, s, source)
		release()
		wantBusy(t, other, source)
		later()
	},

	"one agent holds several sources": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		one, two := lock(t, s, "one"), lock(t, s, "two")
		one()
		wantBusy(t, other, "two")
		two()
		lock(t, other, "two")()
	},

	"the right ends with the sink": func(t *testing.T, h Harness) {
		s := open(t, h)
		other, err := h.Open(t.Context(), s.address)
		if err != nil {
			t.Fatal(err)
		}
		lock(t, other, source)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		lock(t, s, source)()
	},

	// I4
	"runs without an outcome are lost when the source is locked": func(t *testing.T, h Harness) {
		s := open(t, h)
		done, lost, elsewhere := s.started(t, source, 1), s.started(t, source, 2), s.started(t, "other", 3)
		if err := s.FinishRun(t.Context(), done.ID, sink.RunEnd{EndedAt: begun(4), Outcome: sink.Interrupted}); err != nil {
			t.Fatal(err)
		}
		release := lock(t, s, source)
		defer release()
		now := s.started(t, source, 5)
		var got []sink.Outcome
		for _, r := range []sink.Run{done, lost, elsewhere, now} {
			r, _ := s.run(t, r.ID)
			got = append(got, r.Outcome)
			if (r.Outcome == "") != r.EndedAt.IsZero() {
				t.Errorf("run %d: outcome %q, ended at %v", r.ID, r.Outcome, r.EndedAt)
			}
		}
		if diff := gocmp.Diff([]sink.Outcome{sink.Interrupted, sink.Lost, "", ""}, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		// The agent was only slow after all: the outcome stands.
		if err := s.FinishRun(t.Context(), lost.ID, sink.RunEnd{EndedAt: begun(6), Outcome: sink.Succeeded}); err != nil {
			t.Fatal(err)
		}
		if r, _ := s.run(t, lost.ID); r.Outcome != sink.Lost {
			t.Errorf("then %q", r.Outcome)
		}
	},

	"a busy source loses no run": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		release := lock(t, s, source)
		defer release()
		r := s.started(t, source, 1)
		wantBusy(t, other, source)
		if got, _ := s.run(t, r.ID); got.Outcome != "" {
			t.Errorf("outcome %q", got.Outcome)
		}
	},

	"others may read what is locked": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		release := lock(t, s, source)
		defer release()
		s.land(t, attempt(1, events, whole), event(1, "a"))
		other := reopen(t, h, s.address)
		entries, err := other.Entries(t.Context(), source)
		if err != nil || len(entries) != 1 || !slices.Equal(s.rows(t, "events", "id"), []string{"1"}) {
			t.Errorf("entries %v, error %v", entries, err)
		}
	},
}
