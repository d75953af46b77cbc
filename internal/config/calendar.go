package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A calendar says which moments are due. Its moments depend on nothing but itself,
// so that all agents, and an agent before and after a restart, see the same ones.
type calendar interface {
	// next returns the first moment after t; the zero time if there is none.
	next(t time.Time) time.Time
}

// byHours is a cron expression whose hour field is a star: real time passes evenly
// through it, so that an hour that happens twice counts twice.
type byHours struct {
	cron     cron.Schedule
	location *time.Location
}

func (c byHours) next(t time.Time) time.Time { return c.cron.Next(t.In(c.location)) }

// byClock is a cron expression that names hours. It goes by the wall clock: a time
// that the clock skips is due when the clock has jumped, and a time that the clock
// shows twice is due the first time. Left to itself, cron would leave out the first
// and run the second twice.
type byClock struct {
	cron     cron.Schedule
	location *time.Location
}

func (c byClock) next(t time.Time) time.Time {
	// Of a wall clock without daylight saving, cron makes no mistakes.
	for wall := wallClock(t.In(c.location)); ; {
		if wall = c.cron.Next(wall); wall.IsZero() {
			return wall
		}
		if moment := firstShown(wall, c.location); moment.After(t) {
			return moment
		}
	}
}

// wallClock returns what the clock shows at t, as if it were UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// firstShown returns the first moment at which clocks in the location show the
// wall time, or, if they never do, the moment at which they jump over it.
func firstShown(wall time.Time, location *time.Location) time.Time {
	guess := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, location)
	from, to := guess.ZoneBounds()
	zones := []time.Time{guess}
	if !from.IsZero() {
		zones = append(zones, from.Add(-1))
	}
	if !to.IsZero() {
		zones = append(zones, to)
	}
	first := time.Time{}
	for _, inZone := range zones {
		_, offset := inZone.Zone()
		moment := wall.Add(-time.Duration(offset) * time.Second).In(location)
		if wallClock(moment).Equal(wall) && (first.IsZero() || moment.Before(first)) {
			first = moment
		}
	}
	if !first.IsZero() {
		return first
	}
	if !from.IsZero() && wallClock(from.Add(-1)).Before(wall) && !wallClock(from).Before(wall) {
		return from
	}
	return to
}

// every is due at each multiple of itself, counted from 1970-01-01T00:00:00Z.
// cron's own counts from wherever it is asked, which each agent would do elsewhere.
type every time.Duration

func (e every) next(t time.Time) time.Time {
	step := int64(time.Duration(e) / time.Second)
	seconds := t.Unix() // rounds down, also before 1970
	passed := seconds % step
	if passed < 0 {
		passed += step
	}
	return time.Unix(seconds-passed+step, 0)
}

// once is due at the given moments, in order.
type once []time.Time

func (o once) next(t time.Time) time.Time {
	i := slices.IndexFunc(o, t.Before)
	if i < 0 {
		return time.Time{}
	}
	return o[i]
}

// onceLayouts are how a one-shot time may be written without an offset.
var onceLayouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"}

var beginsLikeDate = regexp.MustCompile(`^[0-9]{4}-[0-9]`)

// parseOnce reads one-shot times, separated by commas. It reports false for text
// that does not begin like a date.
func parseOnce(text string, location *time.Location) (times once, isOnce bool, err error) {
	if !beginsLikeDate.MatchString(text) {
		return nil, false, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		t, ok := parseMoment(strings.TrimSpace(item), location)
		if !ok {
			return nil, true, fmt.Errorf("want times such as 2026-12-24T02:00, separated by commas; %q is none", strings.TrimSpace(item))
		}
		times = append(times, t)
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal), true, nil
}

func parseMoment(text string, location *time.Location) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Truncate(time.Second), true
	}
	for _, layout := range onceLayouts {
		// Parsed as UTC, it is what the clock shows.
		if wall, err := time.Parse(layout, text); err == nil {
			return firstShown(wall, location), true
		}
	}
	return time.Time{}, false
}
