package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

func TestSlicesThatAdjoinAreOneLineOfAPlan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	day := func(stream, partition string, of int, reason ledger.Reason) ledger.Due {
		since := time.Date(2026, 3, of, 0, 0, 0, 0, time.UTC)
		window := connector.Window{Since: since, Until: since.AddDate(0, 0, 1)}
		return ledger.Due{Slice: ledger.Slice{Source: "shop", Stream: stream, Partition: partition, Window: window}, Reason: reason}
	}
	whole := func(stream string) ledger.Due {
		return ledger.Due{Slice: ledger.Slice{Source: "shop", Stream: stream}, Reason: ledger.Refresh}
	}
	due := []ledger.Due{
		day("calls", "", 9, ledger.Missing), day("calls", "", 8, ledger.Missing), day("calls", "", 7, ledger.Missing), // newest first
		day("calls", "", 6, ledger.Retry), day("calls", "", 5, ledger.Missing), // another reason between
		day("calls", "", 3, ledger.Missing),                                        // the 4th is held
		day("visits", "", 1, ledger.Missing), day("visits", "", 2, ledger.Missing), // oldest first
		day("zones", "a", 3, ledger.Missing), day("zones", "b", 3, ledger.Missing), // partitions take turns
		day("zones", "a", 2, ledger.Missing), day("zones", "b", 2, ledger.Missing),
		whole("users"), whole("groups"),
	}
	var got []string
	for _, s := range stretches(due, now) {
		got = append(got, fmt.Sprintf("%s[%s] %s %d %s", s.slice.Stream, s.slice.Partition, s.slice.Window, s.slices, s.why))
	}
	want := []string{
		"calls[] 2026-03-07..2026-03-10 3 missing",
		"calls[] 2026-03-06..2026-03-07 1 failed",
		"calls[] 2026-03-05..2026-03-06 1 missing",
		"calls[] 2026-03-03..2026-03-04 1 missing",
		"visits[] 2026-03-01..2026-03-03 2 missing",
		"zones[a] 2026-03-02..2026-03-04 2 missing",
		"zones[b] 2026-03-02..2026-03-04 2 missing",
		"users[] - 1 refresh",
		"groups[] - 1 refresh",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the plan has the lines\n%q, want\n%q", got, want)
	}
}
