package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// drawn writes the days as a string of one letter each: h, p, s, m, F, and . for
// what nobody wants.
func drawn(days []ledger.Day) string {
	var b strings.Builder
	for _, d := range days {
		b.WriteString(map[ledger.DayState]string{
			ledger.DayUnwanted: ".", ledger.DayHeld: "h", ledger.DayProvisional: "p", ledger.DayStale: "s",
			ledger.DayMissing: "m", ledger.DayFailed: "F",
		}[d.State])
	}
	return b.String()
}

// march is an hour of a day of March 2026, UTC.
func march(day, hour int) time.Time { return time.Date(2026, time.March, day, hour, 0, 0, 0, time.UTC) }

// marchWant wants March from the first on, day by day.
func marchWant() ledger.Want {
	return ledger.Want{
		Source: "shop", Stream: connector.Stream{Name: "calls", Mode: connector.ModeWindow},
		Since: march(1, 0), Slice: connector.Days(1), Lookback: connector.Days(3), Lag: connector.Span{Clock: 2 * time.Hour},
	}
}

func read(since, until, at time.Time) ledger.Entry {
	return ledger.Entry{
		Slice: ledger.Slice{Source: "shop", Stream: "calls", Window: connector.Window{Since: since, Until: until}},
		State: ledger.Held, FirstReadAt: at, LastReadAt: at,
	}
}

// dailyReads are held days of March from the first to the last, each read at the
// given moment.
func dailyReads(first, last int, at time.Time) []ledger.Entry {
	var entries []ledger.Entry
	for d := first; d <= last; d++ {
		entries = append(entries, read(march(d, 0), march(d+1, 0), at))
	}
	return entries
}

func failed(e ledger.Entry) ledger.Entry {
	e.State, e.Error = ledger.Failed, "502"
	return e
}

func never(e ledger.Entry) ledger.Entry {
	e.FirstReadAt, e.LastReadAt = time.Time{}, time.Time{}
	return e
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	now := march(11, 6) // the tenth has ended; the eighth and later are within the lookback
	fresh := march(10, 0)
	hours := func(day, n int) (entries []ledger.Entry) {
		for h := range n {
			entries = append(entries, read(march(day, h), march(day, h+1), now))
		}
		return entries
	}
	all := dailyReads(1, 10, now)
	hourly := marchWant()
	hourly.Slice = connector.Span{Clock: time.Hour}
	monthly := marchWant()
	monthly.Since, monthly.Slice = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), connector.Span{Months: 1}
	projects := marchWant()
	projects.Partitions = []string{"a", "b"}
	of := func(partition string, entries []ledger.Entry) []ledger.Entry {
		var out []ledger.Entry
		for _, e := range entries {
			e.Slice.Partition = partition
			out = append(out, e)
		}
		return out
	}
	dropped := ledger.Want{Source: "shop", Stream: connector.Stream{Name: "calls"}}
	deep := marchWant()
	deep.Stream.DeepLookback, deep.Stream.DeepEvery = connector.Days(6), connector.Days(2)

	for name, c := range map[string]struct {
		want    ledger.Want
		entries []ledger.Entry
		days    string
	}{
		"nothing read":                     {marchWant(), nil, "mmmmmmmmmm"},
		"all read":                         {marchWant(), all, "hhhhhhhppp"},
		"not read again":                   {marchWant(), dailyReads(1, 10, march(9, 0)), "hhhhhhhsss"},
		"a hole":                           {marchWant(), append(dailyReads(1, 3, now), dailyReads(6, 10, now)...), "hhhmmhhppp"},
		"a failed day, never read":         {marchWant(), append(dailyReads(1, 9, now), failed(never(all[9]))), "hhhhhhhppF"},
		"a failed day that was read":       {marchWant(), append(dailyReads(2, 10, now), failed(all[0])), "Fhhhhhhppp"},
		"read in part":                     {marchWant(), append(dailyReads(1, 9, now), ledger.Entry{Slice: all[9].Slice, State: ledger.Partial, LastReadAt: now}), "hhhhhhhppm"},
		"hours":                            {hourly, append(dailyReads(1, 9, now), hours(10, 24)...), "hhhhhhhpppm"}, // four hours of the eleventh are wanted
		"hours, one missing":               {hourly, append(dailyReads(1, 9, now), append(hours(10, 23), hours(11, 4)...)...), "hhhhhhhppmp"},
		"a month in one slice":             {monthly, []ledger.Entry{read(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), now)}, strings.Repeat("h", 31) + strings.Repeat("m", 28)},
		"both partitions":                  {projects, append(of("a", all), of("b", all)...), "hhhhhhhppp"},
		"one partition is behind":          {projects, append(of("a", all), of("b", dailyReads(1, 8, now))...), "hhhhhhhpmm"},
		"a partition nobody wants":         {projects, append(append(of("a", all), of("b", all)...), of("c", dailyReads(1, 1, now))...), "hhhhhhhppp"},
		"weeks of an earlier slice length": {marchWant(), append([]ledger.Entry{read(march(1, 0), march(8, 0), march(8, 3))}, dailyReads(8, 10, now)...), "hhhhhhhppp"},
		"days instead of a failed week":    {marchWant(), append([]ledger.Entry{failed(never(read(march(2, 0), march(9, 0), now)))}, all...), "hhhhhhhppp"},
		"a failed week, some days read":    {marchWant(), append([]ledger.Entry{failed(never(read(march(2, 0), march(9, 0), now)))}, dailyReads(1, 5, now)...), "hhhhhFFFmm"},
		"held before since":                {marchWant(), append([]ledger.Entry{read(march(1, 0).AddDate(0, 0, -2), march(1, 0).AddDate(0, 0, -1), now)}, all...), "h.hhhhhhhppp"},
		"no longer configured":             {dropped, dailyReads(3, 5, now), "hhh"},
		"deep re-read overdue":             {deep, append(dailyReads(1, 5, march(6, 0)), dailyReads(6, 10, now)...), "hhhhshhppp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ledger.Coverage(c.want, c.entries, ledger.View{Now: now, FreshSince: fresh})
			if drawn(got) != c.days {
				t.Errorf("got  %s\nwant %s", drawn(got), c.days)
			}
		})
	}
}

func TestDaysAreThoseOfTheTimeZone(t *testing.T) {
	t.Parallel()
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	want := marchWant()
	want.Location = stockholm
	want.Since = time.Date(2026, 3, 28, 0, 0, 0, 0, stockholm)
	var entries []ledger.Entry
	for d := 28; d <= 30; d++ { // the 29th has 23 hours
		entries = append(entries, read(time.Date(2026, 3, d, 0, 0, 0, 0, stockholm).UTC(), time.Date(2026, 3, d+1, 0, 0, 0, 0, stockholm).UTC(), march(31, 10)))
	}
	days := ledger.Coverage(want, entries, ledger.View{Now: time.Date(2026, 3, 31, 12, 0, 0, 0, stockholm)})
	if drawn(days) != "ppp" || days[1].Start.Format(time.RFC3339) != "2026-03-29T00:00:00+01:00" {
		t.Errorf("got %s, second day %v", drawn(days), days[1].Start)
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	entries := append(dailyReads(1, 2, march(9, 5)), dailyReads(5, 9, march(11, 5))...)
	entries = append(entries, failed(never(read(march(4, 0), march(5, 0), time.Time{}))))
	got := ledger.Summarize(ledger.Coverage(marchWant(), entries, ledger.View{Now: march(11, 6)}))
	want := ledger.DaySummary{
		Wanted: 10, Held: 5, Provisional: 2, Missing: 2, Failed: 1,
		Newest: ledger.Day{Start: march(9, 0), State: ledger.DayProvisional, ReadAt: march(11, 5)},
		Gaps: []ledger.Gap{
			{State: ledger.DayMissing, First: march(3, 0), Last: march(3, 0), Days: 1},
			{State: ledger.DayFailed, First: march(4, 0), Last: march(4, 0), Days: 1, Error: "502"},
			{State: ledger.DayMissing, First: march(10, 0), Last: march(10, 0), Days: 1},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if got.Have() != 7 {
		t.Errorf("has %d days, want 7", got.Have())
	}
}

// What a plan would read is what the calendar says is not held, and reading it
// leaves no gap.
func TestCoverageAgreesWithThePlan(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Stockholm", "America/New_York", "Asia/Kathmandu"}
	spans := []connector.Span{{Clock: time.Hour}, {Clock: 6 * time.Hour}, connector.Days(1), connector.Days(7), {Months: 1}}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		want := marchWant()
		want.Location = loc
		want.Slice = rapid.SampledFrom(spans).Draw(t, "slice")
		want.Since = time.Date(2026, 1, rapid.IntRange(1, 40).Draw(t, "since"), 0, 0, 0, 0, loc)
		want.Partitions = rapid.SampledFrom([][]string{nil, {"a", "b"}}).Draw(t, "partitions")
		now := march(rapid.IntRange(1, 31).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"))
		view := ledger.View{Now: now}

		all := ledger.Plan(want, nil, now)
		var entries []ledger.Entry
		missing := map[string]bool{}
		for _, d := range all {
			if rapid.Bool().Draw(t, "read") {
				entries = append(entries, ledger.Entry{Slice: d.Slice, State: ledger.Held, FirstReadAt: now, LastReadAt: now})
				continue
			}
			for _, day := range d.Slice.Window.Days(loc) {
				missing[day.Since.In(loc).Format(time.DateOnly)] = true
			}
		}
		days := ledger.Coverage(want, entries, view)
		for _, day := range days {
			name := day.Start.Format(time.DateOnly)
			if (day.State == ledger.DayMissing) != missing[name] {
				t.Fatalf("%s is %q, missing by the plan: %v", name, day.State, missing[name])
			}
			delete(missing, name)
		}
		if len(missing) > 0 {
			t.Fatalf("missing and not drawn: %v", missing)
		}
		for _, d := range ledger.Plan(want, entries, now) {
			entries = append(entries, ledger.Entry{Slice: d.Slice, State: ledger.Held, FirstReadAt: now, LastReadAt: now})
		}
		if s := ledger.Summarize(ledger.Coverage(want, entries, view)); len(s.Gaps) > 0 || s.Stale > 0 {
			t.Fatalf("after all was read: %+v", s)
		}
	})
}
