package connector

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Span is a length of time by the calendar: months and days, whose length
// depends on where they lie, and a duration. "1mo", "7d" and "90m" are spans.
type Span struct {
	Months int
	Days   int
	Clock  time.Duration
}

// Days returns a span of n days.
func Days(n int) Span { return Span{Days: n} }

// ParseSpan reads a span: an optional minus sign, then numbers with units, from
// mo (months), w (weeks), d (days), h, m and s. Examples: 1d, 2w, 1mo, 36h, -30d.
func ParseSpan(text string) (Span, error) {
	bad := fmt.Errorf("%q: want a span such as 1h, 1d, 2w or 1mo", text)
	rest, negative := strings.CutPrefix(text, "-")
	if rest == "" {
		return Span{}, bad
	}
	var s Span
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 32)
		if err != nil {
			return Span{}, bad
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit := rest[:letters]
		rest = rest[letters:]
		switch unit {
		case "mo":
			s.Months += int(n)
		case "w":
			s.Days += 7 * int(n)
		case "d":
			s.Days += int(n)
		case "h":
			s.Clock += time.Duration(n) * time.Hour
		case "m":
			s.Clock += time.Duration(n) * time.Minute
		case "s":
			s.Clock += time.Duration(n) * time.Second
		default:
			if text != "0" {
				return Span{}, bad
			}
		}
	}
	if negative {
		s = s.Negate()
	}
	return s, nil
}

// Negate returns the span backwards.
func (s Span) Negate() Span { return Span{-s.Months, -s.Days, -s.Clock} }

// Positive reports whether the span leads forwards: no part of it is negative
// and not all are zero.
func (s Span) Positive() bool {
	return s.Months >= 0 && s.Days >= 0 && s.Clock >= 0 && s != Span{}
}

// After returns the moment that lies the span after t, by the calendar of t's
// location. Days of 23 and 25 hours count as days.
func (s Span) After(t time.Time) time.Time {
	if s.Months != 0 || s.Days != 0 {
		t = t.AddDate(0, s.Months, s.Days)
	}
	return t.Add(s.Clock)
}

// Before returns the moment that lies the span before t, as After does.
func (s Span) Before(t time.Time) time.Time { return s.Negate().After(t) }

// String returns the span as ParseSpan reads it.
func (s Span) String() string {
	if s == (Span{}) {
		return "0"
	}
	var b strings.Builder
	if s.Months < 0 || s.Days < 0 || s.Clock < 0 {
		b.WriteByte('-')
		s = s.Negate()
	}
	part := func(n int64, unit string) {
		if n != 0 {
			fmt.Fprintf(&b, "%d%s", n, unit)
		}
	}
	part(int64(s.Months), "mo")
	part(int64(s.Days), "d")
	part(int64(s.Clock/time.Hour), "h")
	part(int64(s.Clock%time.Hour/time.Minute), "m")
	part(int64(s.Clock%time.Minute/time.Second), "s")
	return b.String()
}

// MarshalText returns the span as String does.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a span as ParseSpan does.
func (s *Span) UnmarshalText(text []byte) error {
	parsed, err := ParseSpan(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// IsZero reports whether the span is zero; encoding/json's omitzero asks it.
func (s Span) IsZero() bool { return s == Span{} }

// A Window is a half-open time interval: Since <= t < Until.
type Window struct {
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// IsZero reports whether there is no window: the slice of a snapshot or cursor
// stream.
func (w Window) IsZero() bool { return w.Since.IsZero() && w.Until.IsZero() }

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool { return !t.Before(w.Since) && t.Before(w.Until) }

// Days returns the parts of the window that lie in one calendar day each, in the
// location loc, in order. The first and the last may be shorter than a day.
func (w Window) Days(loc *time.Location) []Window {
	var days []Window
	for since := w.Since; since.Before(w.Until); {
		y, m, d := since.In(loc).Date()
		until := time.Date(y, m, d+1, 0, 0, 0, 0, loc)
		if until.After(w.Until) {
			until = w.Until
		}
		days = append(days, Window{since, until})
		since = until
	}
	return days
}

// String returns the window with its bounds as RFC 3339, or as dates where both
// bounds are midnight in their location.
func (w Window) String() string {
	if w.IsZero() {
		return "-"
	}
	layout := time.RFC3339
	midnight := func(t time.Time) bool {
		h, m, s := t.Clock()
		return h == 0 && m == 0 && s == 0 && t.Nanosecond() == 0
	}
	if midnight(w.Since) && midnight(w.Until) {
		layout = time.DateOnly
	}
	return w.Since.Format(layout) + ".." + w.Until.Format(layout)
}
