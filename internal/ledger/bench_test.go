package ledger

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// The plan of a nightly pull of 1,000 streams with five years of days, all held
// but one. Time and memory (B/op) are of all streams; ledger-MiB is what the
// ledger itself takes while it is planned.
func BenchmarkPlan(b *testing.B) {
	const streams, days = 1000, 5 * 365
	loc, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, time.March, 4, 2, 0, 0, 0, loc)
	today := time.Date(2026, time.March, 4, 0, 0, 0, 0, loc)
	since := today.AddDate(0, 0, -days)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	wants := make([]Want, streams)
	entries := make([]Entry, 0, streams*days)
	for i := range wants {
		wants[i] = Want{
			Source: "s", Stream: connector.Stream{Name: fmt.Sprintf("stream_%03d", i), Mode: connector.ModeWindow},
			Since: since, Slice: connector.Days(1), Lookback: connector.Days(7), Location: loc,
		}
		for _, w := range Windows(connector.Window{Since: since, Until: today.AddDate(0, 0, -1)}, wants[i].Slice, loc) {
			entries = append(entries, Entry{Slice: Slice{Source: "s", Stream: wants[i].Stream.Name, Window: w}, State: Held, LastReadAt: w.Until})
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	for b.Loop() {
		ledger := ByStream(entries)
		due := 0
		for _, want := range wants {
			due += len(Plan(want, ledger[want.Stream.Name], now))
		}
		if due != streams*7 {
			b.Fatalf("%d slices are due, want %d", due, streams*7)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "ledger-MiB")
	b.ReportMetric(float64(len(entries)), "entries")
}
