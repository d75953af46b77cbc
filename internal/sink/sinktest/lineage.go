package sinktest

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sink"
)

var lineageCases = map[string]func(*testing.T, Harness){
	"the end of a run is told by one": func(t *testing.T, h Harness) {
		s := open(t, h)
		run, other := s.started(t, source, 1), s.started(t, source, 2)
		for id, streams := range map[int64][]string{run.ID: {""}, other.ID: {"", "calls"}} {
			if err := s.BeginLineage(t.Context(), id, streams...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.BeginLineage(t.Context(), run.ID, "customers", "calls", ""); err != nil { // the last is known
			t.Fatal(err)
		}
		for i, want := range [][]string{{"", "calls", "customers"}, nil} {
			got, err := s.EndLineage(t.Context(), run.ID)
			if diff := gocmp.Diff(want, got); err != nil || len(got)+len(want) > 0 && diff != "" {
				t.Errorf("end %d: %v (-want +got):\n%s", i, err, diff)
			}
		}
	},
	"who takes over tells the end of lost runs": func(t *testing.T, h Harness) {
		s := open(t, h)
		lost, more, quiet := s.started(t, source, 1), s.started(t, source, 2), s.started(t, source, 3)
		elsewhere, going := s.started(t, "other", 4), s.started(t, source, 5)
		for _, r := range []sink.Run{lost, more, quiet, elsewhere} {
			if err := s.FinishRun(t.Context(), r.ID, sink.RunEnd{EndedAt: begun(9), Outcome: sink.Lost}); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range []sink.Run{lost, more, elsewhere, going} {
			if err := s.BeginLineage(t.Context(), r.ID, "", "calls"); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.LoseLineage(t.Context(), source)
		want := []sink.LostLineage{
			{Run: lost.ID, Trigger: "pull", StartedAt: begun(1), Streams: []string{"", "calls"}},
			{Run: more.ID, Trigger: "pull", StartedAt: begun(2), Streams: []string{"", "calls"}},
		}
		if diff := gocmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("lost: %v (-want +got):\n%s", err, diff)
		}
		if got, err := s.LoseLineage(t.Context(), source); err != nil || len(got) > 0 {
			t.Errorf("a second time: %v, %v", got, err)
		}
		if got, err := s.EndLineage(t.Context(), more.ID); err != nil || len(got) > 0 {
			t.Errorf("who was taken for dead tells its end, too: %v, %v", got, err)
		}
		if got, err := s.EndLineage(t.Context(), going.ID); err != nil || len(got) != 2 {
			t.Errorf("the run that goes on: %v, %v", got, err)
		}
	},
	"a forgotten run has no lineage": func(t *testing.T, h Harness) {
		s := open(t, h)
		run := s.started(t, source, 1)
		if err := s.BeginLineage(t.Context(), run.ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.FinishRun(t.Context(), run.ID, sink.RunEnd{EndedAt: begun(2), Outcome: sink.Lost}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prune(t.Context(), time.Now(), false); err != nil {
			t.Fatal(err)
		}
		if got, err := s.EndLineage(t.Context(), run.ID); err != nil || len(got) > 0 {
			t.Errorf("%v, %v", got, err)
		}
	},
	"a table has one name": func(t *testing.T, h Harness) {
		s := open(t, h)
		set := s.Dataset(source, "calls")
		if set != reopen(t, h, s.address).Dataset(source, "calls") || set == s.Dataset(source, "customers") {
			t.Errorf("%+v", set)
		}
		if !strings.HasSuffix(set.Name, "."+source+".calls") || set.Namespace == "" || set.URI == "" {
			t.Errorf("%+v", set)
		}
	},
}
