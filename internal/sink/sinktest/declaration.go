package sinktest

import (
	"errors"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// declared returns an attempt that records what its stream is read as.
func declared(a sink.Attempt, slice connector.Span) sink.Attempt {
	want := ledger.Want{Source: source, Stream: a.Stream, Slice: slice, Since: epoch}
	d := want.Declaration()
	a.Declared = &d
	return a
}

func (s *store) declarations(t *testing.T) map[string]ledger.Declaration {
	t.Helper()
	all, err := s.Declarations(t.Context(), source)
	if err != nil {
		t.Fatal("declarations:", err)
	}
	return all
}

// wantDeclared compares the declarations with those of attempts.
func (s *store) wantDeclared(t *testing.T, attempts ...sink.Attempt) {
	t.Helper()
	want := map[string]ledger.Declaration{}
	for _, a := range attempts {
		want[a.Stream.Name] = *a.Declared
	}
	if diff := gocmp.Diff(want, s.declarations(t)); diff != "" {
		t.Errorf("declarations (-want +got):\n%s", diff)
	}
}

var declarationCases = map[string]func(*testing.T, Harness){
	// I1
	"a declaration is there with the first rows that were read so": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, events)
		s.prepare(t, customers)
		daily := declared(attempt(1, calls, day(0)), connector.Days(1))
		w := s.begin(t, daily)
		emit(t, w, `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":3}`)
		s.wantDeclared(t)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.fail(t, daily, errors.New("away"))
		s.wantDeclared(t)
		s.land(t, daily)
		s.wantDeclared(t, daily)

		weekly := declared(attempt(2, calls, day(1)), connector.Days(7))
		s.land(t, attempt(2, calls, day(1)))
		s.wantDeclared(t, daily)
		s.land(t, weekly)
		s.wantDeclared(t, weekly)

		cursor := declared(attempt(3, events, connector.Window{}), connector.Span{})
		w = s.begin(t, cursor)
		emit(t, w, `{"id":1,"what":"x"}`)
		checkpoint(t, w, "1")
		s.wantDeclared(t, weekly, cursor)

		snapshot := declared(attempt(4, customers, whole), connector.Span{})
		s.land(t, snapshot)
		s.wantDeclared(t, weekly, cursor, snapshot)
		if other, err := s.Declarations(t.Context(), "other"); err != nil || len(other) > 0 {
			t.Errorf("of another source: %v, %v", other, err)
		}
	},

	"a stream starts over, and the others stay": func(t *testing.T, h Harness) {
		for _, aside := range []string{"calls_before", ""} {
			s := open(t, h)
			s.populate(t)
			daily := declared(attempt(1, calls, day(0)), connector.Days(1))
			s.land(t, daily, `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":4}`)
			other := declared(attempt(1, customers, whole), connector.Span{})
			s.land(t, other, customer(2, "Bo"))
			var want []ledger.Entry
			for _, e := range s.entries(t, source) {
				if e.Slice.Stream != "calls" {
					want = append(want, e)
				}
			}
			rest := s.rows(t, "customers", "id", "name")

			had := sink.Started{Table: true, Rows: 1, Slices: 3, Reads: 4, Quarantined: 1}
			for _, dryRun := range []bool{true, false} {
				got, err := s.Reset(t.Context(), source, "calls", aside, dryRun)
				if diff := gocmp.Diff(had, got); err != nil || diff != "" {
					t.Fatalf("dry run %v: %v (-want +got):\n%s", dryRun, err, diff)
				}
				if dryRun {
					s.wantDeclared(t, daily, other)
					s.wantRows(t, "calls", []string{"id"}, "a")
				}
			}
			s.wantDeclared(t, other)
			if diff := gocmp.Diff(want, s.entries(t, source)); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(rest, s.rows(t, "customers", "id", "name")); diff != "" {
				t.Errorf("customers (-before +after):\n%s", diff)
			}
			if aside != "" {
				s.wantRows(t, aside, []string{"id", "seconds"}, "a 4")
			}
			again, err := s.Reset(t.Context(), source, "calls", aside, true)
			if err != nil || !again.Empty() {
				t.Errorf("there still is %+v, %v", again, err)
			}

			// Another key fits the table that is made anew.
			moved := calls
			moved.PrimaryKey = []string{"id", "at"}
			s.prepare(t, moved)
			s.land(t, attempt(2, moved, day(0)), `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":4}`, `{"id":"a","at":"2026-03-01T11:00:00Z","seconds":5}`)
			s.wantRows(t, "calls", []string{"id", "seconds"}, "a 4", "a 5")
		}
	},

	"what is in the way of a stream that starts over is left alone": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, customers)
		s.land(t, declared(attempt(1, calls, day(0)), connector.Days(1)), `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":4}`)
		if _, err := s.Reset(t.Context(), source, "calls", "customers", false); err == nil {
			t.Fatal("a table was set aside under the name of another")
		}
		s.wantRows(t, "calls", []string{"id"}, "a")
		if len(s.entries(t, source)) != 1 || len(s.declarations(t)) != 1 {
			t.Error("the ledger is gone")
		}
	},
}
