package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Want says which slices of one stream are wanted.
type Want struct {
	Source string
	Stream connector.Stream
	// Partitions are the partitions of the stream; empty for one without.
	Partitions []string
	// Since is the earliest moment wanted. Zero: the earliest window held, or
	// DefaultHistory before now when none is.
	Since time.Time
	// Slice, Lookback and Lag are the stream's own or what the configuration
	// puts in their place. They matter to window streams.
	Slice, Lookback, Lag connector.Span
	// Location is where days, weeks and months begin; nil is UTC.
	Location *time.Location
	// Quarantine limits what may be set aside of the stream; nil: DefaultLimits.
	// Planning does not look at it.
	Quarantine *Limits
}

// DefaultHistory is how far back a window stream without a since is read.
var DefaultHistory = connector.Days(30)

// Plan returns the slices that are due at now, the freshest first, given the
// ledger's entries. It changes nothing and asks nobody: the same arguments give
// the same plan.
//
// The wanted windows of a window stream are those of Windows from Since up to the
// last that ended Lag before now. Of them are due those that the ledger does not
// hold, holds in part or marks as failed, those that end after now minus Lookback,
// and those that the stream's deep re-read asks for. Snapshot and cursor streams
// are always due.
func Plan(want Want, entries []Entry, now time.Time) []Due {
	held := make(map[Slice]Entry, len(entries))
	for _, e := range entries {
		if e.Slice.Source == want.Source && e.Slice.Stream == want.Stream.Name {
			held[key(e.Slice)] = e
		}
	}
	partitions := want.Partitions
	if len(partitions) == 0 {
		partitions = []string{""}
	}
	var due []Due
	for _, partition := range partitions {
		slice := Slice{Source: want.Source, Stream: want.Stream.Name, Partition: partition}
		if want.Stream.Mode != connector.ModeWindow {
			e, ok := held[key(slice)]
			due = append(due, Due{slice, reasonWhole(e, ok), e.Cursor})
			continue
		}
		for _, w := range want.windows(held, now) {
			slice.Window = w
			e, ok := held[key(slice)]
			if reason := want.reason(e, ok, now); reason != "" {
				due = append(due, Due{slice, reason, resumeAt(e)})
			}
		}
	}
	slices.SortStableFunc(due, func(a, b Due) int {
		return cmp.Or(b.Slice.Window.Until.Compare(a.Slice.Window.Until), cmp.Compare(a.Slice.Partition, b.Slice.Partition))
	})
	return due
}

// Range returns the slices that cover the window for a backfill, the oldest
// first: those that are not held, or all of them when forced.
func Range(want Want, entries []Entry, window connector.Window, force bool) []Due {
	held := make(map[Slice]Entry, len(entries))
	for _, e := range entries {
		held[key(e.Slice)] = e
	}
	partitions := want.Partitions
	if len(partitions) == 0 {
		partitions = []string{""}
	}
	var due []Due
	for _, w := range Windows(window, want.Slice, want.Location) {
		for _, partition := range partitions {
			slice := Slice{want.Source, want.Stream.Name, partition, w}
			e, ok := held[key(slice)]
			switch {
			case force:
				due = append(due, Due{slice, Forced, nil})
			case !ok:
				due = append(due, Due{slice, Missing, nil})
			case e.State == Partial:
				due = append(due, Due{slice, Resume, e.Cursor})
			case e.State == Failed:
				due = append(due, Due{slice, Retry, resumeAt(e)})
			}
		}
	}
	return due
}

func reasonWhole(e Entry, known bool) Reason {
	switch {
	case !known || e.LastReadAt.IsZero() && e.State != Failed:
		return Missing
	case e.State == Failed:
		return Retry
	case e.State == Partial:
		return Resume
	default:
		return Refresh
	}
}

func (w Want) reason(e Entry, known bool, now time.Time) Reason {
	switch {
	case !known:
		return Missing
	case e.State == Failed:
		return Retry
	case e.State == Partial:
		return Resume
	case e.Slice.Window.Until.After(w.Lookback.Before(now)) && !w.Lookback.IsZero():
		return Lookback
	case w.deep(e, now):
		return Deep
	default:
		return ""
	}
}

func (w Want) deep(e Entry, now time.Time) bool {
	s := w.Stream
	return s.DeepEvery.Positive() && e.Slice.Window.Until.After(s.DeepLookback.Before(now)) &&
		!e.LastReadAt.After(s.DeepEvery.Before(now))
}

// resumeAt is where an interrupted reading of a window goes on. What is held
// whole begins again at its beginning.
func resumeAt(e Entry) connector.Cursor {
	if e.State == Held {
		return nil
	}
	return e.Cursor
}

func (w Want) windows(held map[Slice]Entry, now time.Time) []connector.Window {
	until := w.Lag.Before(now)
	since := w.Since
	if since.IsZero() {
		since = DefaultHistory.Before(now)
		for s := range held {
			if s.Window.Since.Before(since) {
				since = s.Window.Since
			}
		}
		since = floor(since, w.Slice, location(w.Location))
	}
	all := Windows(connector.Window{Since: since, Until: until}, w.Slice, w.Location)
	// Only what has ended is read: the last window may still be open.
	if n := len(all); n > 0 {
		if last := all[n-1]; !last.Until.Equal(ceiling(last.Since, w.Slice, location(w.Location))) {
			all = all[:n-1]
		}
	}
	return all
}

// key is the slice with its bounds in UTC and without monotonic clock, so that
// equal moments are equal keys.
func key(s Slice) Slice {
	s.Window.Since = s.Window.Since.UTC().Round(0)
	s.Window.Until = s.Window.Until.UTC().Round(0)
	return s
}

func location(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}
