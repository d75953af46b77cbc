package ledger

import (
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// An Ask is what a person asks of a stream: to hold a window, or to read it again.
type Ask struct {
	Window connector.Window
	// Force asks for what is held too, unless it was read at AskedAt or later. So
	// the same ask goes on where it stopped.
	Force   bool
	AskedAt time.Time
	// Order is OldestFirst if empty.
	Order Order
}

// Range returns the slices of an ask that are due at now. They are the parts of
// Windows of the asked window, the first and the last possibly shorter than a
// slice; what has not ended Lag before now is left out, because it would be held
// before it is whole. Streams without windows have none.
func Range(want Want, entries []Entry, ask Ask, now time.Time) []Due {
	if want.Stream.Mode != connector.ModeWindow {
		return nil
	}
	groups := want.byPartition(entries)
	loc, ended := location(want.Location), want.Lag.Before(now)
	var notBefore time.Time
	missing := Missing
	if ask.Force {
		notBefore, missing = ask.AskedAt, Forced
	}
	never := func(connector.Window, time.Time) Reason { return "" }
	var due []Due
	for _, partition := range want.partitions() {
		p := planner{
			holdings: newHoldings(groups[partition], notBefore), due: due,
			slice: Slice{Source: want.Source, Stream: want.Stream.Name, Partition: partition},
		}
		for _, w := range Windows(ask.Window, want.Slice, loc) {
			if w.Until.After(ended) {
				break
			}
			p.holdings.drop(w.Since)
			p.add(w, never)
		}
		due = p.due
	}
	for i := range due {
		if due[i].Reason == Missing {
			due[i].Reason = missing
		}
	}
	order := ask.Order
	if order == "" {
		order = OldestFirst
	}
	order.sort(due)
	return due
}
