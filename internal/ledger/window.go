package ledger

import (
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// Windows cuts a window at the boundaries of a grid, in order. The first and the
// last part may be shorter than the span.
//
// The grid does not depend on the window, so that two cuts of overlapping windows
// have their parts in common: months count from January of year 1, days (weeks)
// from Monday 2000-01-03 at midnight in loc, and durations from midnight UTC of
// that day. A span that mixes units is cut by its largest.
func Windows(window connector.Window, span connector.Span, loc *time.Location) []connector.Window {
	loc = location(loc)
	var parts []connector.Window
	for since := window.Since.In(loc); since.Before(window.Until); {
		until := ceiling(since, span, loc)
		if until.After(window.Until) {
			until = window.Until.In(loc)
		}
		parts = append(parts, connector.Window{Since: since, Until: until})
		since = until
	}
	return parts
}

// gridOrigin is the Monday from which days and durations are counted.
var gridOrigin = time.Date(2000, time.January, 3, 0, 0, 0, 0, time.UTC)

// floor returns the latest grid boundary at or before t.
func floor(t time.Time, span connector.Span, loc *time.Location) time.Time {
	t = t.In(loc)
	year, month, day := t.Date()
	switch {
	case span.Months > 0:
		n := (year*12 + int(month) - 1) / span.Months * span.Months
		return startOfDay(n/12, time.Month(n%12+1), 1, loc)
	case span.Days > 0:
		// Calendar days are counted in UTC, where each has 24 hours.
		n := int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Sub(gridOrigin) / (24 * time.Hour))
		return date(n-mod(n, span.Days), loc)
	default:
		since := t.Sub(gridOrigin)
		rest := since % span.Clock
		if rest < 0 {
			rest += span.Clock
		}
		return t.Add(-rest)
	}
}

// ceiling returns the earliest grid boundary after t.
func ceiling(t time.Time, span connector.Span, loc *time.Location) time.Time {
	start := floor(t, span, loc)
	if span.Months == 0 && span.Days == 0 {
		return start.Add(span.Clock)
	}
	year, month, day := start.Date()
	if span.Months > 0 {
		return startOfDay(year, month+time.Month(span.Months), 1, loc)
	}
	return startOfDay(year, month, day+span.Days, loc)
}

// date returns the start of the day that lies n calendar days after the grid's
// origin.
func date(n int, loc *time.Location) time.Time {
	year, month, day := gridOrigin.AddDate(0, 0, n).Date()
	return startOfDay(year, month, day, loc)
}

// startOfDay returns the first instant of a calendar day, which is not midnight
// where clocks are put forward at midnight. time.Date may answer with an instant
// of the day before then; the day begins as much later as that one's clock lacks.
func startOfDay(year int, month time.Month, day int, loc *time.Location) time.Time {
	civil := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	t := time.Date(year, month, day, 0, 0, 0, 0, loc)
	if y, m, d := t.Date(); time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(civil) {
		h, m, s := t.Clock()
		t = t.Add(24*time.Hour - (time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second))
	}
	return t
}

func mod(n, m int) int { return ((n % m) + m) % m }
