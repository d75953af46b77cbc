package main

import (
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// coverageReport is what is held, as JSON. Scripts rely on it: fields may be
// added, never changed.
type coverageReport struct {
	Now     time.Time       `json:"now"`
	Streams []coveredReport `json:"streams"`
}

// A coveredReport is one stream. Counts, days and gaps are of window streams,
// state and rows of the others.
type coveredReport struct {
	Source     string         `json:"source"`
	Stream     string         `json:"stream"`
	Mode       connector.Mode `json:"mode"`
	Configured bool           `json:"configured"`
	// LastReadAt is when the newest day, or the whole stream, was last read.
	LastReadAt *time.Time `json:"last_read_at"`
	AgeSeconds *float64   `json:"age_seconds"`

	State *ledger.DayState `json:"state,omitempty"`
	Rows  *int64           `json:"rows,omitempty"`
	Error *string          `json:"error,omitempty"`

	*daysReport
}

// daysReport are the days of a window stream. Days are local dates of the time
// zone; those that are neither wanted nor held are left out.
type daysReport struct {
	TimeZone string `json:"timezone"`
	// Wanted is how many days are wanted or held; it is the sum of the states.
	Wanted      int         `json:"wanted"`
	Held        int         `json:"held"`
	Provisional int         `json:"provisional"`
	Stale       int         `json:"stale"`
	Missing     int         `json:"missing"`
	Failed      int         `json:"failed"`
	Newest      *string     `json:"newest"`
	Gaps        []gapReport `json:"gaps"`
	Days        []dayReport `json:"days"`
}

// A gapReport is a run of days of one state, its first and last day in it.
type gapReport struct {
	From  string          `json:"from"`
	To    string          `json:"to"`
	Days  int             `json:"days"`
	State ledger.DayState `json:"state"`
	Error *string         `json:"error"`
}

type dayReport struct {
	Day    string          `json:"day"`
	State  ledger.DayState `json:"state"`
	ReadAt *time.Time      `json:"read_at"`
	Error  *string         `json:"error,omitempty"`
}

func newCoverageReport(all []covered, now time.Time) coverageReport {
	report := coverageReport{Now: now.UTC(), Streams: make([]coveredReport, 0, len(all))}
	for _, s := range all {
		one := coveredReport{Source: s.want.Source, Stream: s.want.Stream.Name, Mode: s.want.Stream.Mode, Configured: s.configured}
		read := s.summary.Newest.ReadAt
		if s.whole != nil {
			read = s.whole.readAt
			one.State, one.Rows, one.Error = &s.whole.state, &s.whole.rows, orNil(s.whole.err)
		} else {
			one.daysReport = newDaysReport(s)
		}
		if one.LastReadAt = momentOrNil(read); one.LastReadAt != nil {
			age := now.Sub(read).Seconds()
			one.AgeSeconds = &age
		}
		report.Streams = append(report.Streams, one)
	}
	return report
}

func newDaysReport(s covered) *daysReport {
	sum := s.summary
	report := &daysReport{
		TimeZone: "UTC", Wanted: sum.Wanted, Held: sum.Held, Provisional: sum.Provisional, Stale: sum.Stale,
		Missing: sum.Missing, Failed: sum.Failed, Gaps: []gapReport{}, Days: make([]dayReport, 0, len(s.days)),
	}
	if loc := s.want.Location; loc != nil {
		report.TimeZone = loc.String()
	}
	if day := sum.Newest.Start; !day.IsZero() {
		report.Newest = orNil(day.Format(time.DateOnly))
	}
	for _, g := range sum.Gaps {
		report.Gaps = append(report.Gaps, gapReport{
			From: g.First.Format(time.DateOnly), To: g.Last.Format(time.DateOnly), Days: g.Days, State: g.State, Error: orNil(g.Error),
		})
	}
	for _, d := range s.days {
		if d.State != ledger.DayUnwanted {
			report.Days = append(report.Days, dayReport{d.Start.Format(time.DateOnly), d.State, momentOrNil(d.ReadAt), orNil(d.Error)})
		}
	}
	return report
}

// momentOrNil returns a moment as JSON has it: null for the zero time.
func momentOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
