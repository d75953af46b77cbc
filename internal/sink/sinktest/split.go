package sinktest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// cutting is a store that is asked to cut each table it can.
type cutting struct {
	sink.Sink
	cuts bool
}

func (c cutting) Prepare(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy) (connector.Stream, error) {
	return c.PrepareSplit(ctx, source, stream, policy, ledger.SplitMonth)
}

func (c cutting) Begin(ctx context.Context, a sink.Attempt) (sink.Writer, error) {
	return c.Sink.Begin(ctx, c.cut(a))
}

func (c cutting) Reland(ctx context.Context, a sink.Attempt, records []sink.Quarantined) (sink.Relanded, error) {
	return c.Sink.Reland(ctx, c.cut(a), records)
}

// cut returns the attempt as it is for a table that is cut, where the case has the
// stream as it was declared.
func (c cutting) cut(a sink.Attempt) sink.Attempt {
	if !c.cuts {
		return a
	}
	a.Stream, a.Split = sink.SplitKey(a.Stream, ledger.SplitMonth), ledger.SplitMonth
	return a
}

// onlyWhole are the cases in which a table that is cut differs: splitCases has
// what holds instead.
var onlyWhole = map[string]bool{
	"a row that moves to another window moves": true,
	"a row without a time is in no window":     true,
	"a retry leaves rows that were read later": true, // by a key that moved
}

// splitCases are the cases about windows and quarantine on tables that are cut, and
// those that only such tables have. A store that cuts none passes them all the same.
var splitCases = func() map[string]func(*testing.T, Harness) {
	all := maps.Clone(cutCases)
	for group, cases := range map[string]map[string]func(*testing.T, Harness){
		"window": windowCases, "quarantine": quarantineCases,
	} {
		for name, examine := range cases {
			if onlyWhole[name] {
				continue
			}
			all[group+": "+name] = func(t *testing.T, h Harness) {
				whole := h.Open
				h.Open = func(ctx context.Context, address string) (sink.Sink, error) {
					s, err := whole(ctx, address)
					if err != nil {
						return nil, err
					}
					return cutting{s, h.Cuts}, nil
				}
				examine(t, h)
			}
		}
	}
	return all
}()

// cut prepares a stream's table to be cut by month and returns how to land in it.
func (s *store) cut(t *testing.T, stream connector.Stream) func(run int64, w connector.Window, records ...string) ledger.Counts {
	t.Helper()
	fitted, err := s.PrepareSplit(t.Context(), source, stream, ledger.SchemaEvolve, ledger.SplitMonth)
	if err != nil {
		t.Fatal("prepare:", err)
	}
	return func(run int64, w connector.Window, records ...string) ledger.Counts {
		t.Helper()
		a := attempt(run, fitted, w)
		a.Split = ledger.SplitMonth
		return s.land(t, a, records...)
	}
}

var cutCases = map[string]func(*testing.T, Harness){
	"a row whose time moves is there once, at the latest when its old window is read again": func(t *testing.T, h Harness) {
		s := open(t, h)
		land := s.cut(t, calls)
		land(1, day(0), call("a", day(0).Since, 1), call("b", day(0).Since, 1))
		land(2, day(1), call("a", day(1).Since, 1))
		land(3, day(0), call("b", day(0).Since, 1))
		s.wantRows(t, "calls", []string{"id", "at"}, line("a", stamp(day(1).Since)), line("b", stamp(day(0).Since)))
	},

	"a row whose time moves within its window is there once": func(t *testing.T, h Harness) {
		s := open(t, h)
		land := s.cut(t, calls)
		land(1, day(0), call("a", day(0).Since, 1))
		later := day(0).Since.Add(time.Hour)
		land(2, day(0), call("a", later, 1))
		s.wantRows(t, "calls", []string{"id", "at"}, line("a", stamp(later)))
	},

	"a record without a time is set aside, and nothing of its slice vanishes meanwhile": func(t *testing.T, h Harness) {
		s := open(t, h)
		land := s.cut(t, calls)
		land(1, day(0), call("a", day(0).Since, 1), call("b", day(0).Since, 1))
		// One table takes it as a row, which is in no window.
		fitted, want := calls, []string{"a", "c"}
		if h.Cuts {
			fitted, want = sink.SplitKey(calls, ledger.SplitMonth), []string{"a", "b"}
		}
		for run, none := range []string{`{"id":"c","at":null,"seconds":1}`, `{"id":"c","at":"","seconds":1}`, `{"id":"c","seconds":1}`} {
			a := attempt(int64(run+2), fitted, day(0))
			a.Split = ledger.SplitMonth
			counts := s.read(t, a, call("a", day(0).Since, 1), none)
			if h.Cuts {
				wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Quarantined: 1}, counts)
				s.wantHeld(t, calls.Name, none)
			}
		}
		s.wantRows(t, "calls", []string{"id"}, want...)
		// Read without it, what the vendor no longer reports goes, and what was set
		// aside too.
		land(9, day(0), call("a", day(0).Since, 1))
		s.wantHeld(t, calls.Name)
		s.wantRows(t, "calls", []string{"id"}, slices.DeleteFunc(want, func(id string) bool { return id == "b" })...)
	},

	"windows of several months, and rows outside of them": func(t *testing.T, h Harness) {
		s := open(t, h)
		land := s.cut(t, calls)
		// Rows of other months come first, and are read again by their own windows.
		land(1, day(0), call("a", day(0).Since, 1), call("early", day(-40).Since, 1), call("late", day(40).Since, 1))
		months := connector.Window{Since: day(-40).Since, Until: day(60).Until}
		counts := land(2, months, call("a", day(0).Since, 1), call("early", day(-40).Since, 2), call("new", day(59).Since, 1))
		wantCounts(t, ledger.Counts{Rows: 3, Inserted: 1, Updated: 1, Unchanged: 1, Deleted: 1}, counts)
		s.wantRows(t, "calls", []string{"id", "seconds"}, "a 1", "early 2", "new 1")
		wantCounts(t, ledger.Counts{Rows: 3, Unchanged: 3}, land(3, months, call("a", day(0).Since, 1), call("early", day(-40).Since, 2), call("new", day(59).Since, 1)))
	},

	"slices side by side": func(t *testing.T, h Harness) {
		s := open(t, h)
		land := s.cut(t, calls)
		const slices = 8
		var done sync.WaitGroup
		for n := range slices {
			done.Go(func() {
				w := day(10 * n)
				land(int64(n+1), w, call(fmt.Sprint("a", n), w.Since, 1), call(fmt.Sprint("b", n), w.Since, 1))
			})
		}
		done.Wait()
		if got := len(s.rows(t, "calls", "id")); got != 2*slices {
			t.Errorf("%d rows, want %d", got, 2*slices)
		}
	},
}
