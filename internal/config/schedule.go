package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the time zones of a configuration exist on machines that have none

	"github.com/robfig/cron/v3"
)

// A Schedule says when a source is pulled. The zero Schedule never is due.
//
// Its moments are of whole seconds. A cron expression that names hours goes by the
// wall clock of its location, one with a star for the hour by time as it passes,
// and @every by time since 1970.
type Schedule struct {
	text     string
	calendar calendar
	location *time.Location
}

// IsZero reports whether there is no schedule.
func (s Schedule) IsZero() bool { return s.calendar == nil }

// String returns the schedule as it was written.
func (s Schedule) String() string { return s.text }

// Location is the time zone that the schedule goes by.
func (s Schedule) Location() *time.Location { return location(s.location) }

// Next returns the first moment after t at which the source is due; the zero time
// if there is none.
func (s Schedule) Next(t time.Time) time.Time {
	if s.calendar == nil {
		return time.Time{}
	}
	next := s.calendar.next(t)
	if next.IsZero() {
		return next
	}
	return next.In(s.Location())
}

func location(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}

const (
	wantCron = `want a cron expression such as "0 2 * * *", @daily or "@every 6h", or a time such as "2026-12-24T02:00"`
	wantDay  = `want a date such as 2025-01-01, or a time such as 2025-01-01T06:00:00+01:00`
)

var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

var cronFields = [...]string{"second", "minute", "hour", "day of month", "month", "day of week"}

// parseSchedule reads a cron expression of five fields, of six with seconds
// first, a descriptor, or one-shot times. The error says what is wanted and, where
// it can, why this is not it.
func parseSchedule(text string, location *time.Location) (Schedule, error) {
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return Schedule{}, errors.New("the time zone belongs in timezone, not in the schedule")
	}
	if times, isOnce, err := parseOnce(text, location); isOnce {
		return Schedule{text, times, location}, err
	}
	if spelled, ok := strings.CutPrefix(text, "@every "); ok {
		d, err := time.ParseDuration(spelled)
		if err != nil || d < time.Second || d%time.Second != 0 {
			return Schedule{}, errors.New(`want whole seconds, at least one, after @every, such as "@every 6h" or "@every 90m"`)
		}
		return Schedule{text, every(d), location}, nil
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return Schedule{}, errors.New(wantCron + whyNotCron(text))
	}
	// Any starting point will do: what never comes in the five years that cron
	// looks ahead, leap years among them, never comes.
	if parsed.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, errors.New("this day never comes")
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok && spec.Hour&everyHour == everyHour {
		return Schedule{text, byHours{parsed, location}, location}, nil
	}
	return Schedule{text, byClock{parsed, location}, location}, nil
}

// everyHour is the hour field of an expression that leaves no hour out.
const everyHour = 1<<24 - 1

func whyNotCron(text string) string {
	fields := strings.Fields(text)
	switch {
	case strings.HasPrefix(text, "@"):
		return ": the names are @hourly, @daily, @weekly, @monthly, @yearly and @every"
	case len(fields) != 5 && len(fields) != 6:
		return fmt.Sprintf(": want 5 fields, or 6 with seconds first, found %d", len(fields))
	}
	names := cronFields[6-len(fields):]
	for i, field := range fields {
		alone := []string{"0", "*", "*", "*", "*", "*"}
		alone[i+6-len(fields)] = field
		if _, err := cronParser.Parse(strings.Join(alone, " ")); err != nil {
			return fmt.Sprintf(": %q is not a valid %s", field, names[i])
		}
	}
	return ""
}

// parseSince reads a date, which begins at midnight in the location, or a time as
// RFC 3339.
func parseSince(text string, location *time.Location) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, location); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New(wantDay)
	}
	return t.In(location), nil
}
