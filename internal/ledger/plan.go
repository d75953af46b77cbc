package ledger

import (
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Want says which slices of one stream are wanted.
type Want struct {
	Source string
	Stream connector.Stream
	// Partitions are the partitions of the stream; empty for one without.
	Partitions []string
	// Since is the earliest moment wanted. Zero: the earliest window that a pull has
	// tried, or DefaultHistory before now when none has. What a backfill read does
	// not count, so that it leaves nothing to do to the next pull.
	Since time.Time
	// Slice, Lookback and Lag are the stream's own or what the configuration
	// puts in their place. They matter to window streams.
	Slice, Lookback, Lag connector.Span
	// LookbackEvery is how long ago a window within the lookback must have been
	// read to be read again; nil is DefaultLookbackEvery of Slice, a span of zero
	// reads it on every pull.
	LookbackEvery *connector.Span
	// Order is the order of a plan; empty is NewestFirst.
	Order Order
	// Location is where days, weeks and months begin; nil is UTC.
	Location *time.Location
	// Schema is what happens when the table and the stream differ. Planning does
	// not look at it.
	Schema SchemaPolicy
	// Split is how the table of a window stream is cut by time. Planning does not
	// look at it.
	Split Split
	// Quarantine limits what may be set aside of the stream; nil: DefaultLimits.
	// Planning does not look at it.
	Quarantine *Limits
	// Brake limits how many rows may vanish at once; nil: DefaultBrake. Planning
	// does not look at it.
	Brake *Brake
}

// An Order says which slices of a stream are read first.
type Order string

// The orders.
const (
	NewestFirst Order = "newest"
	OldestFirst Order = "oldest"
)

// DefaultHistory is how far back a window stream without a since is read.
var DefaultHistory = connector.Days(30)

// longestLookbackEvery lets a nightly pull read the lookback also when somebody
// pulled in the evening, and leaves alone what was read a moment ago.
const longestLookbackEvery = 6 * time.Hour

// DefaultLookbackEvery is half a slice, at most six hours.
func DefaultLookbackEvery(slice connector.Span) connector.Span {
	every := longestLookbackEvery
	if slice.Months == 0 && slice.Days == 0 {
		every = min(every, slice.Clock/2)
	}
	return connector.Span{Clock: every}
}

// Plan returns the slices that are due at now, in the stream's order, given the
// ledger's entries. It changes nothing and asks nobody: the same arguments give
// the same plan.
//
// The wanted windows of a window stream are those of Windows from Since up to the
// last that ended Lag before now. One is held when held entries of its partition
// cover it, whatever windows they were read by. Due is a window that is not held,
// or whose own entry is partial or failed; one that ends after now minus Lookback
// and was last read LookbackEvery ago or earlier; and one that the stream's deep
// re-read asks for. The oldest read among the covering entries counts. Snapshot
// and cursor streams are always due.
func Plan(want Want, entries []Entry, now time.Time) []Due {
	groups := want.byPartition(entries)
	since := want.first(groups, now)
	var due []Due
	for _, partition := range want.partitions() {
		slice := Slice{Source: want.Source, Stream: want.Stream.Name, Partition: partition}
		if want.Stream.Mode != connector.ModeWindow {
			due = append(due, whole(slice, groups[partition]))
			continue
		}
		p := planner{
			want: want, loc: location(want.Location), holdings: newHoldings(groups[partition], time.Time{}),
			until: want.Lag.Before(now), ages: want.ages(now), slice: slice, due: due,
		}
		p.plan(since)
		due = p.due
	}
	want.Order.sort(due)
	return due
}

// whole plans a slice that has no window.
func whole(slice Slice, entries []*Entry) Due {
	for _, e := range entries {
		switch {
		case !e.Slice.Window.IsZero():
		case e.State == Failed:
			return Due{Slice: slice, Reason: Retry, Cursor: e.Cursor, LastReadAt: e.LastReadAt}
		case e.State == Partial:
			return Due{Slice: slice, Reason: Resume, Cursor: e.Cursor, LastReadAt: e.LastReadAt}
		case !e.LastReadAt.IsZero():
			return Due{Slice: slice, Reason: Refresh, Cursor: e.Cursor, LastReadAt: e.LastReadAt}
		}
	}
	return Due{Slice: slice, Reason: Missing}
}

// first is the earliest moment wanted.
func (w Want) first(groups map[string][]*Entry, now time.Time) time.Time {
	if !w.Since.IsZero() || w.Stream.Mode != connector.ModeWindow {
		return w.Since
	}
	since := DefaultHistory.Before(now)
	for _, entries := range groups {
		for _, e := range entries {
			if !e.Backfilled && !e.Slice.Window.IsZero() && e.Slice.Window.Since.Before(since) {
				since = e.Slice.Window.Since
			}
		}
	}
	return floor(since, w.Slice, location(w.Location))
}

// ages are the moments from which on windows are young, and up to which a read is
// old. Zero: no window is young.
type ages struct {
	now                    time.Time
	lookback, lookbackRead time.Time
	deep, deepRead         time.Time
}

func (w Want) ages(now time.Time) ages {
	a := ages{now: now}
	if !w.Lookback.IsZero() {
		every := DefaultLookbackEvery(w.Slice)
		if w.LookbackEvery != nil {
			every = *w.LookbackEvery
		}
		a.lookback, a.lookbackRead = w.Lookback.Before(now), every.Before(now)
	}
	if w.Stream.DeepEvery.Positive() {
		a.deep, a.deepRead = w.Stream.DeepLookback.Before(now), w.Stream.DeepEvery.Before(now)
	}
	return a
}

// settled is the moment before which no window is due for its age.
func (a ages) settled(until time.Time) time.Time {
	for _, young := range []time.Time{a.lookback, a.deep} {
		if !young.IsZero() && young.Before(until) {
			until = young
		}
	}
	return until
}

// reason says why a held window that ends at until and was last read at readAt is
// due again.
func (a ages) reason(until, readAt time.Time) Reason {
	switch {
	case !a.lookback.IsZero() && until.After(a.lookback) && a.old(readAt, a.lookbackRead):
		return Lookback
	case !a.deep.IsZero() && until.After(a.deep) && a.old(readAt, a.deepRead):
		return Deep
	default:
		return ""
	}
}

// old reports whether a read is to be done again that is old at the moment since. A
// read in the future is one whose clock was wrong: nobody knows how old it is.
func (a ages) old(readAt, since time.Time) bool {
	return !readAt.After(since) || readAt.After(a.now)
}

// planner plans one partition of a window stream.
type planner struct {
	want     Want
	loc      *time.Location
	holdings holdings
	until    time.Time // what ends later is not wanted yet
	ages     ages
	slice    Slice
	due      []Due
}

func (p *planner) plan(since time.Time) {
	settled := p.ages.settled(p.until)
	for since = since.In(p.loc); ; {
		p.holdings.drop(since)
		// Years that are held are passed in one step, not window by window.
		if until := earlier(p.holdings.settledUntil(since), settled); until.After(since) {
			if boundary := floor(until, p.want.Slice, p.loc); boundary.After(since) {
				since = boundary
				continue
			}
		}
		until := ceiling(since, p.want.Slice, p.loc)
		if until.After(p.until) {
			return // only what has ended is read
		}
		p.add(connector.Window{Since: since, Until: until}, p.reason)
		since = until
	}
}

// add appends a window that is due by the given rule.
func (p *planner) add(w connector.Window, held func(connector.Window, time.Time) Reason) {
	slice := p.slice
	slice.Window = w
	if e := p.holdings.exact(w.Since, w.Until); e != nil {
		reason := Resume
		if e.State == Failed {
			reason = Retry
		}
		p.due = append(p.due, Due{Slice: slice, Reason: reason, Cursor: e.Cursor})
		return
	}
	reason := Missing
	readAt, ok := p.holdings.oldestRead(w.Since, w.Until)
	if ok {
		reason = held(w, readAt)
	}
	if reason != "" {
		p.due = append(p.due, Due{Slice: slice, Reason: reason, LastReadAt: readAt})
	}
}

func (p *planner) reason(w connector.Window, readAt time.Time) Reason {
	return p.ages.reason(w.Until, readAt)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func location(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}
