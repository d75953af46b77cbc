package connector_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/pkg/connector"
)

func TestParseSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]connector.Span{
		"1d":      {Days: 1},
		"2w":      {Days: 14},
		"1mo":     {Months: 1},
		"36h":     {Clock: 36 * time.Hour},
		"1d12h":   {Days: 1, Clock: 12 * time.Hour},
		"90m":     {Clock: 90 * time.Minute},
		"-30d":    {Days: -30},
		"0":       {},
		"1mo2w1s": {Months: 1, Days: 14, Clock: time.Second},
	} {
		got, err := connector.ParseSpan(text)
		if err != nil {
			t.Errorf("ParseSpan(%q): %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseSpan(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseSpanRefusesWhatIsNoSpan(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "-", "d", "1", "1y", "1D", "1 d", "--1d", "1d-2h", "1.5h", "00", "99999999999d", "١d"} {
		if got, err := connector.ParseSpan(text); err == nil {
			t.Errorf("ParseSpan(%q) = %v, want an error", text, got)
		}
	}
}

func TestSpanTextRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := connector.Span{
			Months: rapid.IntRange(0, 1000).Draw(t, "months"),
			Days:   rapid.IntRange(0, 10000).Draw(t, "days"),
			Clock:  time.Duration(rapid.IntRange(0, 1<<30).Draw(t, "seconds")) * time.Second,
		}
		if rapid.Bool().Draw(t, "negative") {
			s = s.Negate()
		}
		got, err := connector.ParseSpan(s.String())
		if err != nil || got != s {
			t.Fatalf("ParseSpan(%q) = %+v, %v, want %+v", s.String(), got, err, s)
		}
	})
}

func FuzzParseSpan(f *testing.F) {
	for _, text := range []string{"1d", "-2w", "1mo2d3h4m5s", "0", "x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := connector.ParseSpan(text)
		if err != nil {
			return
		}
		again, err := connector.ParseSpan(s.String())
		if err != nil || again != s {
			t.Fatalf("%q reads as %+v, which prints as %q, which reads as %+v, %v", text, s, s.String(), again, err)
		}
	})
}

func TestSpanDaysFollowTheCalendar(t *testing.T) {
	t.Parallel()
	stockholm := location(t, "Europe/Stockholm")
	before := time.Date(2026, time.March, 28, 12, 0, 0, 0, stockholm) // the night after has 23 hours
	after := connector.Days(1).After(before)
	if want := time.Date(2026, time.March, 29, 12, 0, 0, 0, stockholm); !after.Equal(want) {
		t.Errorf("a day after %v is %v, want %v", before, after, want)
	}
	if back := connector.Days(1).Before(after); !back.Equal(before) {
		t.Errorf("a day before %v is %v, want %v", after, back, before)
	}
}

func TestWindowDaysCoverTheWindow(t *testing.T) {
	t.Parallel()
	stockholm := location(t, "Europe/Stockholm")
	w := connector.Window{
		Since: time.Date(2026, time.March, 28, 18, 0, 0, 0, stockholm),
		Until: time.Date(2026, time.March, 30, 6, 0, 0, 0, stockholm),
	}
	var lengths []time.Duration
	for _, day := range w.Days(stockholm) {
		lengths = append(lengths, day.Until.Sub(day.Since))
	}
	want := []time.Duration{6 * time.Hour, 23 * time.Hour, 6 * time.Hour}
	if diff := cmp.Diff(want, lengths); diff != "" {
		t.Errorf("lengths of the days (-want +got):\n%s", diff)
	}
}

func TestWindowIsHalfOpen(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	w := connector.Window{Since: since, Until: since.AddDate(0, 0, 1)}
	if !w.Contains(w.Since) || w.Contains(w.Until) || w.Contains(since.Add(-1)) {
		t.Errorf("%v does not contain exactly since <= t < until", w)
	}
	if got, want := w.String(), "2026-01-01..2026-01-02"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func location(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}
