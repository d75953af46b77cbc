package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/pkg/connector"
)

func at(text string) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	panic("not a time: " + text)
}

func span(text string) connector.Span {
	s, err := connector.ParseSpan(text)
	if err != nil {
		panic(err)
	}
	return s
}

func calls(mode connector.Mode) connector.Stream {
	return connector.Stream{Name: "calls", Mode: mode}
}

func entry(state State, since, until string) Entry {
	return Entry{
		Slice:      Slice{Source: "s", Stream: "calls", Window: connector.Window{Since: at(since), Until: at(until)}},
		State:      state,
		LastReadAt: at(until),
	}
}

func backfilled(e Entry) Entry {
	e.Backfilled = true
	return e
}

// show prints a plan one slice a line, as a person reads it.
func show(due []Due) string {
	var b strings.Builder
	for _, d := range due {
		fmt.Fprintf(&b, "%s %s", d.Reason, d.Slice.Window)
		if d.Slice.Partition != "" {
			fmt.Fprintf(&b, " [%s]", d.Slice.Partition)
		}
		if len(d.Cursor) > 0 {
			fmt.Fprintf(&b, " from %s", d.Cursor)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	t.Parallel()
	partial := entry(Partial, "2026-03-02", "2026-03-03")
	partial.Cursor = connector.Cursor("p7")
	ahead := entry(Held, "2026-03-03", "2026-03-04")
	ahead.LastReadAt = at("2027-01-01")
	heldPast := entry(Held, "2026-03-02", "2026-03-03")
	heldPast.Cursor = connector.Cursor("p9")
	for _, c := range []struct {
		name    string
		want    Want
		entries []Entry
		now     string
		plan    string
	}{
		{
			name: "nothing held: every whole window since, the freshest first",
			want: Want{Since: at("2026-03-01")},
			now:  "2026-03-04T12:00:00Z",
			plan: "missing 2026-03-03..2026-03-04\nmissing 2026-03-02..2026-03-03\nmissing 2026-03-01..2026-03-02\n",
		},
		{
			name: "lag keeps what has just ended for later",
			want: Want{Since: at("2026-03-02"), Lag: span("13h")},
			now:  "2026-03-04T12:00:00Z",
			plan: "missing 2026-03-02..2026-03-03\n",
		},
		{
			name: "a negative lag reads ahead",
			want: Want{Since: at("2026-03-03"), Lag: span("-2d")},
			now:  "2026-03-04T00:00:00Z",
			plan: "missing 2026-03-05..2026-03-06\nmissing 2026-03-04..2026-03-05\nmissing 2026-03-03..2026-03-04\n",
		},
		{
			name:    "held and older than the lookback: not due",
			want:    Want{Since: at("2026-03-01"), Lookback: span("2d")},
			entries: []Entry{entry(Held, "2026-03-01", "2026-03-02"), entry(Held, "2026-03-02", "2026-03-03"), entry(Held, "2026-03-03", "2026-03-04")},
			now:     "2026-03-04T12:00:00Z",
			plan:    "lookback 2026-03-03..2026-03-04\nlookback 2026-03-02..2026-03-03\n",
		},
		{
			name:    "failed and partial slices come again, partial ones from their cursor",
			want:    Want{Since: at("2026-03-01")},
			entries: []Entry{entry(Failed, "2026-03-01", "2026-03-02"), partial, entry(Held, "2026-03-03", "2026-03-04")},
			now:     "2026-03-04T12:00:00Z",
			plan:    "resume 2026-03-02..2026-03-03 from p7\nfailed 2026-03-01..2026-03-02\n",
		},
		{
			name:    "a held slice is read again from its beginning",
			want:    Want{Since: at("2026-03-02"), Lookback: span("7d")},
			entries: []Entry{heldPast},
			now:     "2026-03-03T12:00:00Z",
			plan:    "lookback 2026-03-02..2026-03-03\n",
		},
		{
			name:    "without since the oldest held window is the beginning, however long ago",
			want:    Want{Slice: span("1mo")},
			entries: []Entry{entry(Held, "2025-11-01", "2025-12-01")},
			now:     "2026-03-04T12:00:00Z",
			plan:    "missing 2026-02-01..2026-03-01\nmissing 2026-01-01..2026-02-01\nmissing 2025-12-01..2026-01-01\n",
		},
		{
			name:    "a read by a clock that was ahead counts as old",
			want:    Want{Since: at("2026-03-01"), Lookback: span("2d")},
			entries: []Entry{entry(Held, "2026-03-01", "2026-03-02"), entry(Held, "2026-03-02", "2026-03-03"), ahead},
			now:     "2026-03-04T12:00:00Z",
			plan:    "lookback 2026-03-03..2026-03-04\nlookback 2026-03-02..2026-03-03\n",
		},
		{
			name:    "without since a window that a backfill read is no beginning",
			want:    Want{Slice: span("1mo")},
			entries: []Entry{backfilled(entry(Held, "2020-01-01", "2020-02-01")), entry(Held, "2025-12-01", "2026-01-01")},
			now:     "2026-03-04T12:00:00Z",
			plan:    "missing 2026-02-01..2026-03-01\nmissing 2026-01-01..2026-02-01\n",
		},
		{
			name: "each partition has its own windows",
			want: Want{Since: at("2026-03-02"), Partitions: []string{"b", "a"}},
			now:  "2026-03-04T00:00:00Z",
			plan: "missing 2026-03-03..2026-03-04 [a]\nmissing 2026-03-03..2026-03-04 [b]\nmissing 2026-03-02..2026-03-03 [a]\nmissing 2026-03-02..2026-03-03 [b]\n",
		},
		{
			name: "since in the middle of a slice makes the first one shorter",
			want: Want{Since: at("2026-03-04"), Slice: span("1w")},
			now:  "2026-03-16T00:00:00Z",
			plan: "missing 2026-03-09..2026-03-16\nmissing 2026-03-04..2026-03-09\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want.Source, c.want.Stream = "s", calls(connector.ModeWindow)
			if c.want.Slice.IsZero() {
				c.want.Slice = connector.Days(1)
			}
			got := show(Plan(c.want, c.entries, at(c.now)))
			if diff := cmp.Diff(c.plan, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeepRereadComesBackToOldWindowsOnceInAWhile(t *testing.T) {
	t.Parallel()
	stream := calls(connector.ModeWindow)
	stream.DeepLookback, stream.DeepEvery = span("90d"), span("7d")
	want := Want{Source: "s", Stream: stream, Since: at("2025-12-01"), Slice: span("1mo"), Lookback: span("1d")}
	entries := []Entry{entry(Held, "2025-12-01", "2026-01-01"), entry(Held, "2026-01-01", "2026-02-01"), entry(Held, "2026-02-01", "2026-03-01")}
	for i, last := range []string{"2026-02-01", "2026-03-10", "2026-03-21"} {
		entries[i].LastReadAt = at(last)
	}
	now := at("2026-03-25") // 90 days before: 2025-12-25
	if diff := cmp.Diff("deep re-read 2026-01-01..2026-02-01\ndeep re-read 2025-12-01..2026-01-01\n", show(Plan(want, entries, now))); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	for i := range entries {
		entries[i].LastReadAt = now
	}
	if due := Plan(want, entries, now.AddDate(0, 0, 6)); len(due) != 0 {
		t.Errorf("read six days ago and due again:\n%s", show(due))
	}
	if due := Plan(want, entries, at("2026-05-10")); len(due) != 3 { // February, and March and April for the first time
		t.Errorf("plan:\n%swant February again and two new months", show(due))
	}
}

func TestPlanOfStreamsWithoutWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entries []Entry
		plan    string
	}{
		{nil, "missing -\n"},
		{[]Entry{{Slice: Slice{Source: "s", Stream: "calls"}, State: Held, Cursor: connector.Cursor("c1"), LastReadAt: at("2026-03-01")}}, "refresh - from c1\n"},
		{[]Entry{{Slice: Slice{Source: "s", Stream: "calls"}, State: Failed}}, "failed -\n"},
	} {
		got := show(Plan(Want{Source: "s", Stream: calls(connector.ModeCursor)}, c.entries, at("2026-03-04")))
		if diff := cmp.Diff(c.plan, got); diff != "" {
			t.Errorf("plan (-want +got):\n%s", diff)
		}
	}
}

func TestRangeIsOldestFirstAndSkipsWhatIsHeld(t *testing.T) {
	t.Parallel()
	window := connector.Window{Since: at("2026-03-01"), Until: at("2026-03-04")}
	entries := []Entry{entry(Held, "2026-03-02", "2026-03-03"), entry(Failed, "2026-03-03", "2026-03-04")}
	want := Want{Source: "s", Stream: calls(connector.ModeWindow), Slice: connector.Days(1)}
	if diff := cmp.Diff("missing 2026-03-01..2026-03-02\nfailed 2026-03-03..2026-03-04\n", show(Range(want, entries, Ask{Window: window}, at("2026-04-01")))); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("forced 2026-03-01..2026-03-02\nforced 2026-03-02..2026-03-03\nforced 2026-03-03..2026-03-04\n", show(Range(want, entries, Ask{Window: window, Force: true, AskedAt: at("2026-04-01")}, at("2026-04-01")))); diff != "" {
		t.Errorf("forced plan (-want +got):\n%s", diff)
	}
}

func TestPlansCoverExactlyTheWantedTimeAndThenNothingIsDue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := drawLocation(t)
		now := drawTime(t, "now")
		want := Want{
			Source: "s", Stream: calls(connector.ModeWindow), Location: loc,
			Since: now.Add(-time.Duration(rapid.IntRange(0, 400*24).Draw(t, "hours back")) * time.Hour),
			Slice: drawSlice(t),
			Lag:   span(rapid.SampledFrom([]string{"0", "1h", "1d", "-3d"}).Draw(t, "lag")),
		}
		due := Plan(want, nil, now)
		until := want.Lag.Before(now)
		next := until
		var entries []Entry
		for _, d := range due { // the freshest first: walk back in time
			w := d.Slice.Window
			if !w.Since.Before(w.Until) || w.Until.After(next) {
				t.Fatalf("%v is empty or overlaps what follows at %v", w, next)
			}
			if next != until && !w.Until.Equal(next) {
				t.Fatalf("gap between %v and %v", w.Until, next)
			}
			next = w.Since
			entries = append(entries, Entry{Slice: d.Slice, State: Held, LastReadAt: now})
		}
		if len(due) > 0 && !next.Equal(want.Since) {
			t.Fatalf("the plan begins at %v, want %v", next, want.Since)
		}
		if len(due) > 0 && ceiling(due[0].Slice.Window.Until, want.Slice, loc).Before(until) {
			t.Fatalf("a whole window after %v is missing, until %v", due[0].Slice.Window, until)
		}
		if again := Plan(want, entries, now); len(again) != 0 {
			t.Fatalf("after reading the plan, still due:\n%s", show(again))
		}
		if diff := cmp.Diff(show(due), show(Plan(want, nil, now))); diff != "" {
			t.Fatalf("the same arguments gave another plan:\n%s", diff)
		}
	})
}

func TestWindowsOfOverlappingTimesHaveTheirPartsInCommon(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc, slice, since := drawLocation(t), drawSlice(t), drawTime(t, "since")
		long := connector.Window{Since: since, Until: since.AddDate(1, 0, 0)}
		short := connector.Window{Since: since.AddDate(0, 3, 0), Until: since.AddDate(0, 6, 0)}
		known := map[int64]bool{}
		for _, w := range Windows(long, slice, loc) {
			known[w.Since.Unix()] = true
		}
		for i, w := range Windows(short, slice, loc) {
			if i > 0 && !known[w.Since.Unix()] {
				t.Fatalf("%v begins where the longer window has no boundary", w)
			}
		}
	})
}

func TestDaysBeginAtTheirFirstInstant(t *testing.T) {
	t.Parallel()
	// At these midnights clocks are put forward or back.
	for _, c := range []struct{ zone, day, first string }{
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"},
		{"America/Sao_Paulo", "2018-02-18", "2018-02-18T00:00:00-03:00"},
		{"Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"},
		{"Europe/Stockholm", "2026-03-29", "2026-03-29T00:00:00+01:00"},
		{"Africa/Cairo", "2014-05-16", "2014-05-16T01:00:00+03:00"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		d := at(c.day)
		if got := startOfDay(d.Year(), d.Month(), d.Day(), loc); !got.Equal(at(c.first)) {
			t.Errorf("%s in %s begins at %v, want %v", c.day, c.zone, got, c.first)
		}
	}
}

func drawLocation(t *rapid.T) *time.Location {
	name := rapid.SampledFrom([]string{"UTC", "Europe/Stockholm", "America/Sao_Paulo", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"}).Draw(t, "zone")
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func drawSlice(t *rapid.T) connector.Span {
	return span(rapid.SampledFrom([]string{"1h", "6h", "1d", "3d", "1w", "1mo", "3mo", "1mo"}).Draw(t, "slice"))
}

func drawTime(t *rapid.T, name string) time.Time {
	return time.Unix(rapid.Int64Range(at("2014-01-01").Unix(), at("2030-01-01").Unix()).Draw(t, name), 0).UTC()
}
