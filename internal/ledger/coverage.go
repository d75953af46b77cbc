package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A DayState says what is held of one calendar day of a window stream.
type DayState string

// The states of days, the best first. A day that slices cut, or that several
// slices or partitions share, has the worst of their states.
const (
	DayUnwanted    DayState = ""            // neither wanted nor held
	DayHeld        DayState = "held"        // read whole, and old enough to stay as it is
	DayProvisional DayState = "provisional" // read whole, but young enough to be restated
	DayStale       DayState = "stale"       // provisional, and not read again when it should have been
	DayMissing     DayState = "missing"     // wanted, and not read or only in part
	DayFailed      DayState = "failed"      // the last attempt failed; what was read before is still there
)

// badness orders the states.
var badness = map[DayState]int{DayUnwanted: 0, DayHeld: 1, DayProvisional: 2, DayStale: 3, DayMissing: 4, DayFailed: 5}

func worse(a, b DayState) DayState {
	if badness[b] > badness[a] {
		return b
	}
	return a
}

// Gap reports whether data of the day is missing or may be.
func (s DayState) Gap() bool { return s == DayMissing || s == DayFailed }

// A Day is one calendar day of a window stream.
type Day struct {
	Start time.Time // its first moment, in the location of the Want
	State DayState
	// ReadAt is the oldest of the moments at which its slices were last read; zero
	// if none was.
	ReadAt time.Time
	Error  string // of the last attempt, where that failed
}

// A View says how the ledger is to be looked at.
type View struct {
	// From and To bound the days, From <= day < To. Zero: the first and last
	// moment that is wanted or held.
	From, To time.Time
	Now      time.Time
	// FreshSince is when a window within its lookback should have been read the
	// last time; if it was earlier, the day is stale.
	FreshSince time.Time
}

// Coverage returns the calendar days of a window stream in order, each with what
// the ledger holds of it. It is pure, as Plan is. Partitions that the Want does not
// name are those of the entries.
//
// Days are those of the Want's location, whatever the length of the slices: a
// month that was read in one slice is 31 days, a day of 24 hourly slices is held
// when all are.
func Coverage(want Want, entries []Entry, view View) []Day {
	loc := location(want.Location)
	groups := map[string][]Entry{}
	for _, p := range want.Partitions {
		groups[p] = nil
	}
	for _, e := range entries {
		if e.Slice.Source != want.Source || e.Slice.Stream != want.Stream.Name || e.Slice.Window.IsZero() {
			continue
		}
		if _, wanted := groups[e.Slice.Partition]; wanted || len(want.Partitions) == 0 {
			groups[e.Slice.Partition] = append(groups[e.Slice.Partition], e)
		}
	}
	if len(groups) == 0 {
		groups[""] = nil
	}
	wanted, all := extent(want, groups, view.Now)
	if !view.From.IsZero() {
		all.Since = view.From
	}
	if !view.To.IsZero() {
		all.Until = view.To
	}
	days := calendar(all, loc)
	for _, group := range groups {
		draw(days, group, wanted, want, view)
	}
	return days
}

// extent returns the time that is wanted, and with it all that is held.
func extent(want Want, groups map[string][]Entry, now time.Time) (wanted, all connector.Window) {
	for _, group := range groups {
		for _, e := range group {
			w := e.Slice.Window
			if all.IsZero() {
				all = w
				continue
			}
			all.Since = earliest(all.Since, w.Since)
			all.Until = latest(all.Until, w.Until)
		}
	}
	if !want.Slice.Positive() { // nobody wants it any more
		return connector.Window{}, all
	}
	loc := location(want.Location)
	wanted.Since = want.Since
	if wanted.Since.IsZero() {
		wanted.Since = DefaultHistory.Before(now)
		if !all.IsZero() {
			wanted.Since = earliest(wanted.Since, all.Since)
		}
		wanted.Since = floor(wanted.Since, want.Slice, loc)
	}
	// Only slices that have ended are wanted.
	wanted.Until = floor(want.Lag.Before(now), want.Slice, loc)
	if !wanted.Since.Before(wanted.Until) {
		return connector.Window{}, all
	}
	if all.IsZero() {
		return wanted, wanted
	}
	return wanted, connector.Window{Since: earliest(all.Since, wanted.Since), Until: latest(all.Until, wanted.Until)}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// calendar returns the days that a window touches.
func calendar(w connector.Window, loc *time.Location) []Day {
	var days []Day
	if w.IsZero() {
		return nil
	}
	for start := floor(w.Since, connector.Days(1), loc); start.Before(w.Until); start = ceiling(start, connector.Days(1), loc) {
		days = append(days, Day{Start: start})
	}
	return days
}

// draw adds one partition to the days.
func draw(days []Day, entries []Entry, wanted connector.Window, want Want, view View) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Slice.Window.Since.Compare(b.Slice.Window.Since), a.Slice.Window.Until.Compare(b.Slice.Window.Until))
	})
	loc := location(want.Location)
	lookback := view.Now
	if !want.Lookback.IsZero() {
		lookback = want.Lookback.Before(view.Now)
	}
	first := 0 // entries before it end before the day
	for i := range days {
		day := &days[i]
		end := ceiling(day.Start, connector.Days(1), loc)
		var here []*Entry
		for n := first; n < len(entries) && entries[n].Slice.Window.Since.Before(end); n++ {
			if entries[n].Slice.Window.Until.After(day.Start) {
				here = append(here, &entries[n])
			} else if n == first {
				first++
			}
		}
		part := connector.Window{Since: latest(day.Start, wanted.Since), Until: earliest(end, wanted.Until)}
		relevant, covered := want.relevant(here, part)
		for _, e := range relevant {
			day.add(e, stateOf(e, want, lookback, view))
		}
		if !covered {
			day.State = worse(day.State, DayMissing)
		}
	}
}

// relevant returns the entries that say what is held of a part of a day, and
// whether they cover it. Where the slices as they are now wanted do, others that
// overlap them, of an earlier length or time zone, say nothing more; nor does an
// attempt of theirs that failed where held ones cover the part.
func (w Want) relevant(here []*Entry, part connector.Window) (entries []*Entry, covered bool) {
	var own, held []*Entry
	for _, e := range here {
		isOwn := w.isOwn(e.Slice.Window)
		if isOwn {
			own = append(own, e)
		}
		if isOwn || e.State == Held {
			held = append(held, e)
		}
	}
	for _, some := range [][]*Entry{own, held} {
		if len(some) > 0 && covers(some, part) {
			return some, true
		}
	}
	return here, covers(here, part)
}

// isOwn reports whether the window is a slice of the wanted length, or the first.
func (w Want) isOwn(window connector.Window) bool {
	if !w.Slice.Positive() {
		return false
	}
	loc := location(w.Location)
	return (floor(window.Since, w.Slice, loc).Equal(window.Since) || window.Since.Equal(w.Since)) &&
		ceiling(window.Since, w.Slice, loc).Equal(window.Until)
}

// covers reports whether entries in order, of which something was read whole,
// leave nothing of the part out.
func covers(entries []*Entry, part connector.Window) bool {
	read := part.Since
	for _, e := range entries {
		if w := e.Slice.Window; e.State != Partial && !e.LastReadAt.IsZero() && !w.Since.After(read) {
			read = latest(read, w.Until)
		}
	}
	return !read.Before(part.Until)
}

// add takes in a slice that overlaps the day.
func (d *Day) add(e *Entry, state DayState) {
	d.State = worse(d.State, state)
	if e.State == Failed {
		d.Error = cmp.Or(d.Error, e.Error)
	}
	if at := e.LastReadAt; !at.IsZero() && (d.ReadAt.IsZero() || at.Before(d.ReadAt)) {
		d.ReadAt = at
	}
}

func stateOf(e *Entry, want Want, lookback time.Time, view View) DayState {
	s := want.Stream
	switch {
	case e.State == Failed:
		return DayFailed
	case e.State == Partial || e.LastReadAt.IsZero():
		return DayMissing
	case e.Slice.Window.Until.After(lookback):
		if e.LastReadAt.Before(view.FreshSince) {
			return DayStale
		}
		return DayProvisional
	case s.DeepEvery.Positive() && e.Slice.Window.Until.After(s.DeepLookback.Before(view.Now)) &&
		e.LastReadAt.Before(s.DeepEvery.Before(view.FreshSince)):
		return DayStale // the deep re-read is overdue
	default:
		return DayHeld
	}
}

// A DaySummary counts days and finds the gaps among them.
type DaySummary struct {
	// Wanted counts the days that are wanted or held; the others, each state.
	Wanted, Held, Provisional, Stale, Missing, Failed int
	// Newest is the last day that is held, in whatever state but a gap.
	Newest Day
	Gaps   []Gap
}

// Have is how many days are held, also those that are provisional or stale.
func (s DaySummary) Have() int { return s.Held + s.Provisional + s.Stale }

// A Gap is a run of days that are missing, or whose last attempt failed.
type Gap struct {
	State       DayState
	First, Last time.Time // the first moments of its first and last day
	Days        int
	Error       string // of its first day
}

// Summarize counts the days.
func Summarize(days []Day) DaySummary {
	var s DaySummary
	for i, d := range days {
		switch d.State {
		case DayUnwanted:
			continue
		case DayHeld:
			s.Held++
		case DayProvisional:
			s.Provisional++
		case DayStale:
			s.Stale++
		case DayMissing:
			s.Missing++
		case DayFailed:
			s.Failed++
		}
		s.Wanted++
		if !d.State.Gap() {
			s.Newest = d
			continue
		}
		if n := len(s.Gaps); i > 0 && n > 0 && days[i-1].State == d.State {
			s.Gaps[n-1].Last = d.Start
			s.Gaps[n-1].Days++
			continue
		}
		s.Gaps = append(s.Gaps, Gap{State: d.State, First: d.Start, Last: d.Start, Days: 1, Error: d.Error})
	}
	return s
}
