package config

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/pkg/connector"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// dueIn returns the moments of a schedule in a span, in its own time zone.
func dueIn(t *testing.T, text string, loc *time.Location, from, to time.Time) []string {
	t.Helper()
	s, err := parseSchedule(text, loc)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var due []string
	for at := s.Next(from.Add(-1)); !at.IsZero() && at.Before(to); at = s.Next(at) {
		due = append(due, at.Format("02 15:04:05 MST"))
	}
	return due
}

func TestTimesThatTheClockSkipsOrShowsTwice(t *testing.T) {
	t.Parallel()
	// Stockholm skips 02:00 to 03:00 on 2026-03-29 and repeats it on 2026-10-25;
	// Cairo skips midnight to 01:00 on 2026-04-24; Lord Howe shifts by half an hour.
	for _, c := range []struct {
		why, zone, schedule, from string
		days                      int
		want                      []string
	}{
		{"skipped: due at the jump", "Europe/Stockholm", "30 2 * * *", "2026-03-28", 3, []string{"28 02:30:00 CET", "29 03:00:00 CEST", "30 02:30:00 CEST"}},
		{"skipped several times: once", "Europe/Stockholm", "*/20 2,3 29 3 *", "2026-03-29", 1, []string{"29 03:00:00 CEST", "29 03:20:00 CEST", "29 03:40:00 CEST"}},
		{"twice: due the first time", "Europe/Stockholm", "30 2 * * *", "2026-10-24", 3, []string{"24 02:30:00 CEST", "25 02:30:00 CEST", "26 02:30:00 CET"}},
		{"after what comes twice", "Europe/Stockholm", "0 3 * * *", "2026-10-25", 1, []string{"25 03:00:00 CET"}},
		{"each hour, skipped", "Europe/Stockholm", "0 * * * *", "2026-03-29", 0, []string{"29 00:00:00 CET", "29 01:00:00 CET", "29 03:00:00 CEST", "29 04:00:00 CEST"}},
		{"each hour, twice", "Europe/Stockholm", "30 * * * *", "2026-10-25", 0, []string{"25 00:30:00 CEST", "25 01:30:00 CEST", "25 02:30:00 CEST", "25 02:30:00 CET", "25 03:30:00 CET"}},
		{"every second hour, skipped", "Europe/Stockholm", "0 */2 * * *", "2026-03-29", 0, []string{"29 00:00:00 CET", "29 03:00:00 CEST", "29 04:00:00 CEST"}},
		{"midnight skipped", "Africa/Cairo", "@daily", "2026-04-23", 3, []string{"23 00:00:00 EET", "24 01:00:00 EEST", "25 00:00:00 EEST"}},
		{"half an hour skipped", "Australia/Lord_Howe", "15 2 4 10 *", "2026-10-04", 1, []string{"04 02:30:00 +11"}},
		{"one-shot, skipped", "Europe/Stockholm", "2026-03-29T02:30, 2026-03-28 01:00", "2026-03-28", 3, []string{"28 01:00:00 CET", "29 03:00:00 CEST"}},
		{"one-shot, twice", "Europe/Stockholm", "2026-10-25T02:30:15", "2026-10-25", 1, []string{"25 02:30:15 CEST"}},
		{"one-shot with an offset", "Europe/Stockholm", "2026-10-25T02:30:00+01:00", "2026-10-25", 1, []string{"25 02:30:00 CET"}},
		{"every, from wherever it is asked", "Europe/Stockholm", "@every 6h", "2026-03-29", 1, []string{"29 01:00:00 CET", "29 08:00:00 CEST", "29 14:00:00 CEST", "29 20:00:00 CEST"}},
	} {
		loc := zone(t, c.zone)
		from, err := time.ParseInLocation(time.DateOnly, c.from, loc)
		if err != nil {
			t.Fatal(err)
		}
		to := from.AddDate(0, 0, c.days)
		if c.days == 0 {
			to = time.Date(from.Year(), from.Month(), from.Day(), 4, 0, 1, 0, loc)
		}
		if diff := cmp.Diff(c.want, dueIn(t, c.schedule, loc, from, to)); diff != "" {
			t.Errorf("%s: %s in %s (-want +got):\n%s", c.why, c.schedule, c.zone, diff)
		}
	}
}

// awkward are time zones whose clocks jump at odd times and by odd amounts.
var awkward = []string{"UTC", "Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "America/Santiago", "Antarctica/Troll"}

// The oracle walks over the minutes of the wall clock, on which each matching one
// is due once: when it is shown first, or when the clock jumps over it.
func TestScheduleThatNamesHoursIsDueOnceForEachTimeOnTheWallClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(awkward).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		hours := rapid.SampledFrom([]string{"0", "1", "2", "3", "23", "0-4", "1,2", "*/3", "0,12"}).Draw(t, "hours")
		minutes := rapid.SampledFrom([]string{"0", "30", "15,45", "*/10", "59"}).Draw(t, "minutes")
		text := minutes + " " + hours + " * * *"
		s, err := parseSchedule(text, loc)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := cron.ParseStandard(text)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(1_262_304_000, 1_798_761_600).Draw(t, "from"), 0).Truncate(time.Hour)
		// Half of the time around a jump of the clock.
		if _, jump := from.In(loc).ZoneBounds(); !jump.IsZero() && jump.Year() < 2030 && rapid.Bool().Draw(t, "jump") {
			from = jump.Add(-26 * time.Hour)
		}
		to := from.Add(60 * time.Hour)
		due := map[time.Time]bool{}
		shown := wallClock(from.Add(-50 * time.Hour).In(loc))
		for at := from.Add(-50 * time.Hour); at.Before(to); at = at.Add(time.Minute) {
			for wall := wallClock(at.In(loc)); shown.Before(wall); {
				shown = shown.Add(time.Minute)
				if spec.Next(shown.Add(-time.Second)).Equal(shown) && !at.Before(from) {
					due[at.UTC()] = true
				}
			}
		}
		var want, got []time.Time
		for at := range due {
			want = append(want, at)
		}
		slices.SortFunc(want, time.Time.Compare)
		for at := s.Next(from.Add(-1)); at.Before(to); at = s.Next(at) {
			got = append(got, at.UTC())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s in %s from %s (-want +got):\n%s", text, loc, from.In(loc), diff)
		}
	})
}

// Agents that ask at different moments must see the same ticks.
func TestMomentsDoNotDependOnWhereOneAsks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(awkward).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		text := rapid.SampledFrom([]string{"30 2 * * *", "*/7 * * * *", "5 */10 * * * *", "@every 7m", "@every 13h", "@daily", "0 0 1 * *", "0 3 * * 1-5", "2026-03-29T02:30,2026-10-25T02:30"}).Draw(t, "schedule")
		s, err := parseSchedule(text, loc)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "from"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		next := s.Next(from)
		if next.IsZero() {
			return
		}
		if !next.After(from) || next.Nanosecond() != 0 {
			t.Fatalf("%s in %s: after %s comes %s", text, loc, from, next)
		}
		between := from.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(from))-1).Draw(t, "between")))
		if again := s.Next(between); !again.Equal(next) {
			t.Fatalf("%s in %s: from %s comes %s, from %s comes %s", text, loc, from, next, between, again)
		}
	})
}

func TestScheduleSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-13-01T00:00":   `want times such as 2026-12-24T02:00, separated by commas; "2026-13-01T00:00" is none`,
		"2026-12-24T02:00,x": `want times such as 2026-12-24T02:00, separated by commas; "x" is none`,
		"@every 1500ms":      `want whole seconds, at least one, after @every, such as "@every 6h" or "@every 90m"`,
		"@every 0s":          `want whole seconds, at least one, after @every, such as "@every 6h" or "@every 90m"`,
	} {
		if _, err := parseSchedule(text, time.UTC); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestStreamsHaveSchedulesOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `
serve: {listen: ":9000", grace: 1m, stuck_after: 2m}
sources:
  a:
    connector: free
    schedule: "@daily"
    deep_schedule: "0 4 * * 0"
    streams:
      orders: {schedule: "@hourly", deep_lookback: 90d}
      calls: {}
      off: {schedule: "@hourly", enabled: false}
`)
	var got []string
	for _, s := range c.Sources[0].Schedules() {
		got = append(got, s.Key+" "+s.Schedule.String())
	}
	if diff := cmp.Diff([]string{"schedule @daily", "deep_schedule 0 4 * * 0", "streams.orders.schedule @hourly"}, got); diff != "" {
		t.Error(diff)
	}
	selected, err := c.Sources[0].Select([]connector.Stream{windowStream("orders"), windowStream("calls"), windowStream("off")})
	if err != nil || len(selected) != 2 || selected[0].Stream.DeepLookback.Days != 90 {
		t.Errorf("selected %+v, %v", selected, err)
	}
	if want := (Serve{":9000", time.Minute, 2 * time.Minute}); c.Serve != want {
		t.Errorf("serve: %+v, want %+v", c.Serve, want)
	}
	if c := loadString(t, testOptions(t), ""); c.Serve != (Serve{DefaultListen, 30 * time.Second, 15 * time.Minute}) {
		t.Errorf("by default: %+v", c.Serve)
	}
}

func TestNoteSaysWhatTheClockDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schedule, after, want string }{
		{"30 2 * * *", "2026-03-28T12:00:00Z", "the clock jumps from 02:00 to 03:00: due at the jump"},
		{"0 3 * * *", "2026-03-28T12:00:00Z", ""},
		{"30 2 * * *", "2026-03-29T12:00:00Z", ""},
		{"30 2 * * *", "2026-10-24T12:00:00Z", "the clock shows this time twice: the first"},
		{"30 * * * *", "2026-10-25T00:00:00Z", "the clock shows this time twice: the first"},
		{"30 * * * *", "2026-10-25T00:45:00Z", "the clock shows this time twice: the second"},
		{"30 * * * *", "2026-10-25T01:45:00Z", ""},
		{"0 2 * * *", "2026-10-24T12:00:00Z", "the clock shows this time twice: the first"},
		{"0 3 * * *", "2026-10-24T12:00:00Z", ""},
	} {
		s, err := parseSchedule(c.schedule, zone(t, "Europe/Stockholm"))
		if err != nil {
			t.Fatal(err)
		}
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if next := s.Next(after); s.Note(next) != c.want {
			t.Errorf("%s: %s: %q, want %q", c.schedule, next, s.Note(next), c.want)
		}
	}
	if note := (Schedule{text: "x", calendar: every(time.Hour)}).Note(time.Unix(0, 0)); note != "" {
		t.Error(note)
	}
}
