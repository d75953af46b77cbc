package ledger

import (
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// Newest returns when the newest held window of a stream ended, or, of a stream
// without windows, when it was last read whole; zero if nothing is held. The
// entries are those of the stream, of all its partitions. What was read whole
// stays held when a later attempt fails.
func Newest(entries []Entry) time.Time {
	var newest time.Time
	for _, e := range entries {
		if e.State == Partial || e.LastReadAt.IsZero() {
			continue
		}
		end := e.LastReadAt
		if !e.Slice.Window.IsZero() {
			end = e.Slice.Window.Until
		}
		newest = latest(newest, end)
	}
	return newest
}

// Gaps counts the windows that are wanted at now and not held whole, over all
// partitions. A stream without windows has one for each partition that was not
// read whole. Partitions that the Want does not name are those of the entries,
// which are those of the stream.
func Gaps(want Want, entries []Entry, now time.Time) int {
	if len(want.Partitions) == 0 {
		want.Partitions = partitionsOf(entries)
	}
	want.Lookback = connector.Span{} // what is young is held all the same
	want.Stream.DeepEvery = connector.Span{}
	gaps := 0
	for _, due := range Plan(want, entries, now) {
		switch due.Reason {
		case Missing, Resume, Retry:
			gaps++
		case Lookback, Deep, Refresh, Forced:
		}
	}
	return gaps
}

func partitionsOf(entries []Entry) []string {
	var names []string
	for i, e := range entries {
		if i > 0 && e.Slice.Partition == entries[i-1].Slice.Partition { // most often they come together
			continue
		}
		if !slices.Contains(names, e.Slice.Partition) {
			names = append(names, e.Slice.Partition)
		}
	}
	return names
}
