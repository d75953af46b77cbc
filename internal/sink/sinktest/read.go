package sinktest

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
)

// rows returns the table as one line a row, values apart by a space, in order.
func (s *store) rows(t testing.TB, stream string, columns ...string) []string {
	t.Helper()
	lines := []string{}
	for _, row := range s.Rows(t, s.address, source, stream, columns...) {
		lines = append(lines, line(row...))
	}
	slices.Sort(lines)
	return lines
}

// line is a row as rows returns it.
func line(values ...string) string {
	return strings.ReplaceAll(strings.Join(values, " "), Null, "null")
}

// wantRows compares the table with lines of values apart by a space.
func (s *store) wantRows(t *testing.T, stream string, columns []string, want ...string) {
	t.Helper()
	want = append([]string{}, want...)
	slices.Sort(want)
	if diff := gocmp.Diff(want, s.rows(t, stream, columns...)); diff != "" {
		t.Errorf("rows of %s (-want +got):\n%s", stream, diff)
	}
}

func wantCounts(t *testing.T, want, got ledger.Counts) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// entries returns the ledger of the source with its slices in order and all
// times in UTC.
func (s *store) entries(t testing.TB, source string) []ledger.Entry {
	t.Helper()
	entries, err := s.Entries(t.Context(), source)
	if err != nil {
		t.Fatal("entries:", err)
	}
	slices.SortFunc(entries, func(a, b ledger.Entry) int {
		return cmp.Or(
			cmp.Compare(a.Slice.Source, b.Slice.Source), cmp.Compare(a.Slice.Stream, b.Slice.Stream),
			cmp.Compare(a.Slice.Partition, b.Slice.Partition), a.Slice.Window.Since.Compare(b.Slice.Window.Since),
			a.Slice.Window.Until.Compare(b.Slice.Window.Until),
		)
	})
	return entries
}

// wantEntry compares the one entry of the source, without its times.
func (s *store) wantEntry(t *testing.T, want ledger.Entry) ledger.Entry {
	t.Helper()
	entries := s.entries(t, source)
	if len(entries) != 1 {
		t.Fatalf("want one entry, got %+v", entries)
	}
	got := entries[0]
	if diff := gocmp.Diff(want, got, ignoreTimes, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	return got
}

// ignoreTimes leaves out the moments of commits; windows still count.
var ignoreTimes = cmpopts.IgnoreFields(ledger.Entry{}, "FirstReadAt", "LastReadAt")

// wantFault checks what is wrong with the store.
func wantFault(t *testing.T, want sink.Fault, err error) {
	t.Helper()
	var fault *sink.Error
	if !errors.As(err, &fault) {
		t.Fatalf("want a *sink.Error of fault %d, got %v", want, err)
	}
	if fault.Fault != want {
		t.Errorf("fault: want %d, got %d (%v)", want, fault.Fault, err)
	}
	if fault.Hint == "" {
		t.Errorf("%v: no hint", err)
	}
}

// stamp is a moment as Rows returns it.
func stamp(at time.Time) string { return at.UTC().Format(TimeLayout) }

// added are the columns that a sink adds to every table.
var added = []string{record.ColumnRun, record.ColumnSeenAt, record.ColumnHash, record.ColumnExtra, record.ColumnDeleted}
