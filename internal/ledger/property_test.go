package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/pkg/connector"
)

// plainPlan is what Plan means, window by window and moment by moment, however
// slow.
func plainPlan(want Want, entries []Entry, now time.Time) []Due {
	loc := location(want.Location)
	var due []Due
	for since := want.Since.In(loc); ; {
		w := connector.Window{Since: since, Until: ceiling(since, want.Slice, loc)}
		if w.Until.After(want.Lag.Before(now)) {
			break
		}
		since = w.Until
		d := Due{Slice: Slice{Source: want.Source, Stream: want.Stream.Name, Window: w}}
		readAt, held := plainlyHeld(w, entries)
		young := func(span connector.Span) bool { return w.Until.After(span.Before(now)) }
		every := *want.LookbackEvery
		switch {
		case !held:
			d.Reason = Missing
		case !want.Lookback.IsZero() && young(want.Lookback) && !readAt.After(every.Before(now)):
			d.Reason = Lookback
		case want.Stream.DeepEvery.Positive() && young(want.Stream.DeepLookback) && !readAt.After(want.Stream.DeepEvery.Before(now)):
			d.Reason = Deep
		}
		for _, e := range entries {
			if e.State != Held && e.Slice.Window.Since.Equal(w.Since) && e.Slice.Window.Until.Equal(w.Until) {
				d.Reason, d.Cursor = map[State]Reason{Failed: Retry, Partial: Resume}[e.State], e.Cursor
			}
		}
		if d.Reason != "" {
			due = append(due, d)
		}
	}
	if want.Order != OldestFirst {
		slices.Reverse(due)
	}
	return due
}

// plainlyHeld says whether held entries cover a window, and when the part of it
// that was not read for longest was read.
func plainlyHeld(w connector.Window, entries []Entry) (oldest time.Time, held bool) {
	edges := []time.Time{w.Since, w.Until}
	for _, e := range entries {
		for _, edge := range []time.Time{e.Slice.Window.Since, e.Slice.Window.Until} {
			if w.Contains(edge) {
				edges = append(edges, edge)
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	for i := range len(edges) - 1 {
		if edges[i].Equal(edges[i+1]) {
			continue
		}
		var newest time.Time
		for _, e := range entries {
			if e.State == Held && e.Slice.Window.Contains(edges[i]) && e.LastReadAt.After(newest) {
				newest = e.LastReadAt
			}
		}
		if newest.IsZero() {
			return time.Time{}, false
		}
		if oldest.IsZero() || newest.Before(oldest) {
			oldest = newest
		}
	}
	return oldest, true
}

// hold does to entries what a store does when it commits a slice: what lies
// within it, and what overlaps it and is not held, is superseded.
func hold(entries []Entry, slice Slice, at time.Time) []Entry {
	w := slice.Window
	kept := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		v := e.Slice.Window
		within := !v.Since.Before(w.Since) && !v.Until.After(w.Until)
		overlaps := v.Since.Before(w.Until) && w.Since.Before(v.Until)
		return within || overlaps && e.State != Held
	})
	return append(kept, Entry{Slice: slice, State: Held, LastReadAt: at})
}

func drawWant(t *rapid.T, now time.Time) Want {
	stream := calls(connector.ModeWindow)
	if rapid.Bool().Draw(t, "deep re-read") {
		stream.DeepLookback, stream.DeepEvery = span("90d"), span("7d")
	}
	every := span(rapid.SampledFrom([]string{"30m", "6h", "1d"}).Draw(t, "lookback every"))
	return Want{
		Source: "s", Stream: stream, Location: drawLocation(t), Slice: drawSlice(t),
		Since:         now.Add(-time.Duration(rapid.IntRange(0, 60*24).Draw(t, "hours back")) * time.Hour),
		Lag:           span(rapid.SampledFrom([]string{"0", "1h", "1d", "-3d"}).Draw(t, "lag")),
		Lookback:      span(rapid.SampledFrom([]string{"0", "36h", "7d", "1mo"}).Draw(t, "lookback")),
		Order:         rapid.SampledFrom([]Order{"", NewestFirst, OldestFirst}).Draw(t, "order"),
		LookbackEvery: &every,
	}
}

// drawEntries draws a ledger that was written with any slices, zones and
// interruptions.
func drawEntries(t *rapid.T, want Want, now time.Time) []Entry {
	var entries []Entry
	other := want
	for range rapid.IntRange(0, 3).Draw(t, "grids") {
		if rapid.Bool().Draw(t, "other grid") {
			other.Slice, other.Location = drawSlice(t), drawLocation(t)
		}
		first := rapid.IntRange(-10*24, 60*24).Draw(t, "from")
		length := rapid.IntRange(1, 40*24).Draw(t, "hours")
		since := want.Since.Add(time.Duration(first) * time.Hour)
		windows := Windows(connector.Window{Since: since, Until: since.Add(time.Duration(length) * time.Hour)}, other.Slice, other.Location)
		for _, w := range windows[:min(len(windows), 60)] {
			e := Entry{Slice: Slice{Source: "s", Stream: "calls", Window: w}, State: Held}
			e.LastReadAt = now.Add(-time.Duration(rapid.IntRange(0, 10*24).Draw(t, "read")) * time.Hour)
			switch rapid.IntRange(0, 9).Draw(t, "state") {
			case 0:
				e.State = Failed
			case 1:
				e.State, e.Cursor = Partial, connector.Cursor("p")
			}
			if slices.ContainsFunc(entries, func(o Entry) bool { return key(o.Slice) == key(e.Slice) }) {
				continue
			}
			entries = append(entries, e)
		}
	}
	return entries
}

// key is the slice with its bounds as numbers, so that equal moments are equal.
func key(s Slice) string {
	return fmt.Sprint(s.Partition, s.Window.Since.UnixNano(), s.Window.Until.UnixNano())
}

func TestPlanIsWhatItMeans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := drawTime(t, "now")
		want := drawWant(t, now)
		entries := drawEntries(t, want, now)
		got := Plan(want, entries, now)
		if diff := gocmp.Diff(show(plainPlan(want, entries, now)), show(got)); diff != "" {
			t.Fatalf("plan (-as it is meant +got):\n%s", diff)
		}
		if diff := gocmp.Diff(show(got), show(Plan(want, entries, now))); diff != "" {
			t.Fatalf("the same arguments gave another plan:\n%s", diff)
		}
		if diff := gocmp.Diff(show(got), show(Plan(want, rapid.Permutation(entries).Draw(t, "entries"), now))); diff != "" {
			t.Fatalf("the ledger in another order gave another plan:\n%s", diff)
		}
	})
}

func TestReadingWhatIsPlannedMakesTheNextPlanEmptyWhateverChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := drawTime(t, "now")
		want := drawWant(t, now)
		entries := drawEntries(t, want, now)
		for range 2 { // the second time with another slice, zone and since
			due := Plan(want, entries, now)
			byTime := slices.SortedFunc(slices.Values(due), func(a, b Due) int { return a.Slice.Window.Since.Compare(b.Slice.Window.Since) })
			for i, d := range byTime {
				w := d.Slice.Window
				if !w.Since.Before(w.Until) || w.Since.Before(want.Since) || w.Until.After(want.Lag.Before(now)) {
					t.Fatalf("%v is empty or lies outside of what is wanted", w)
				}
				if i > 0 && byTime[i-1].Slice.Window.Until.After(w.Since) {
					t.Fatalf("%v overlaps %v", byTime[i-1].Slice.Window, w)
				}
			}
			for _, d := range due {
				entries = hold(entries, d.Slice, now)
			}
			if again := Plan(want, entries, now); len(again) != 0 {
				t.Fatalf("after reading the plan, still due:\n%s", show(again))
			}
			expectAllHeld(t, want, entries, now)
			want.Slice, want.Location = drawSlice(t), drawLocation(t)
			want.Since = want.Since.Add(time.Duration(rapid.IntRange(-200, 200).Draw(t, "since moves by")) * time.Hour)
		}
	})
}

// expectAllHeld checks, without any grid, that all time from since on is held up
// to less than a slice before the last moment wanted.
func expectAllHeld(t *rapid.T, want Want, entries []Entry, now time.Time) {
	t.Helper()
	until := floor(want.Lag.Before(now), want.Slice, location(want.Location))
	if !want.Since.Before(until) {
		return
	}
	if _, held := plainlyHeld(connector.Window{Since: want.Since, Until: until}, entries); !held {
		t.Fatalf("not all of %v..%v is held", want.Since, until)
	}
}

func TestChangedGridReadsNothingTwiceButItsEdges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := drawTime(t, "now")
		want := drawWant(t, now)
		want.Lookback, want.Stream.DeepEvery = connector.Span{}, connector.Span{}
		var entries []Entry
		for _, d := range Plan(want, nil, now) {
			entries = hold(entries, d.Slice, now)
		}
		if len(entries) == 0 {
			return
		}
		held := connector.Window{Since: want.Since, Until: floor(want.Lag.Before(now), want.Slice, location(want.Location))}
		want.Slice, want.Location = drawSlice(t), drawLocation(t)
		for _, d := range Plan(want, entries, now) {
			if w := d.Slice.Window; !w.Since.Before(held.Since) && !w.Until.After(held.Until) {
				t.Fatalf("%v is due although all of %v is held", w, held)
			}
		}
	})
}

func TestNightlyPullReadsTheWholeLookbackAndASecondOneNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		night := at("2026-03-01").Add(time.Duration(rapid.IntRange(0, 23*60).Draw(t, "minute")) * time.Minute)
		want := Want{Source: "s", Stream: calls(connector.ModeWindow), Since: at("2026-02-01"), Slice: span("1d"), Lookback: span("7d"), Location: drawLocation(t)}
		var entries []Entry
		for range 4 {
			due := Plan(want, entries, night)
			young := 0
			for _, w := range Windows(connector.Window{Since: want.Since, Until: want.Lag.Before(night)}, want.Slice, want.Location) {
				if w.Until.After(want.Lookback.Before(night)) && ceiling(w.Since, want.Slice, location(want.Location)).Equal(w.Until) {
					young++
				}
			}
			if read := len(slices.DeleteFunc(slices.Clone(due), func(d Due) bool { return !d.Slice.Window.Until.After(want.Lookback.Before(night)) })); read != young {
				t.Fatalf("at %v %d windows of the lookback are due, want %d:\n%s", night, read, young, show(due))
			}
			took := time.Duration(rapid.IntRange(0, 5*60).Draw(t, "minutes it took")) * time.Minute
			for i, d := range due {
				entries = hold(entries, d.Slice, night.Add(took*time.Duration(i)/time.Duration(len(due))))
			}
			if again := Plan(want, entries, night.Add(took+5*time.Minute)); len(again) > 1 { // a day may have ended meanwhile
				t.Fatalf("five minutes later due again:\n%s", show(again))
			}
			night = night.Add(24*time.Hour + time.Duration(rapid.IntRange(-20, 20).Draw(t, "minutes late"))*time.Minute)
		}
	})
}

func TestForcedRangeGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := drawTime(t, "now")
		want := drawWant(t, now)
		entries := drawEntries(t, want, now)
		asked := now.Add(time.Hour)
		ask := Ask{
			Window: connector.Window{Since: want.Since, Until: want.Since.Add(time.Duration(rapid.IntRange(1, 60*24).Draw(t, "length")) * time.Hour)},
			Force:  rapid.Bool().Draw(t, "force"), AskedAt: asked,
		}
		all := Range(want, entries, ask, now)
		stop := rapid.IntRange(0, len(all)).Draw(t, "interrupted after")
		for _, d := range all[:stop] {
			entries = hold(entries, d.Slice, asked.Add(time.Minute))
		}
		if diff := gocmp.Diff(windows(all[stop:]), windows(Range(want, entries, ask, now))); diff != "" {
			t.Fatalf("after %d of %d slices (-want +got):\n%s", stop, len(all), diff)
		}
		for i, d := range all {
			if i > 0 && cmp.Compare(all[i-1].Slice.Window.Until.UnixNano(), d.Slice.Window.Since.UnixNano()) > 0 {
				t.Fatalf("%v after %v: not the oldest first, or they overlap", d.Slice.Window, all[i-1].Slice.Window)
			}
			if d.Slice.Window.Until.After(want.Lag.Before(now)) {
				t.Fatalf("%v has not ended", d.Slice.Window)
			}
		}
	})
}

func windows(due []Due) string {
	var b strings.Builder
	for _, d := range due {
		fmt.Fprintln(&b, d.Slice.Window)
	}
	return b.String()
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, since, until, slice string
		windows                   int
		lengths                   string // in hours, of those that are not as the first
	}{
		{"UTC", "2024-02-01", "2024-03-01", "1d", 29, ""},
		{"UTC", "2023-02-01", "2023-03-01", "1d", 28, ""},
		{"UTC", "2024-02-29", "2025-03-01", "1mo", 13, ""},
		{"Europe/Stockholm", "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00", "1d", 3, "23"},
		{"Europe/Stockholm", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00", "1d", 3, "25"},
		{"Europe/Stockholm", "2026-03-23T00:00:00+01:00", "2026-04-06T00:00:00+02:00", "1w", 2, ""},
		{"America/Sao_Paulo", "2018-11-03T00:00:00-03:00", "2018-11-06T00:00:00-02:00", "1d", 3, "23"},
		{"Australia/Lord_Howe", "2026-04-04T00:00:00+11:00", "2026-04-07T00:00:00+10:30", "1d", 3, "24.5"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		cut := Windows(connector.Window{Since: at(c.since), Until: at(c.until)}, span(c.slice), loc)
		if len(cut) != c.windows {
			t.Errorf("%s..%s in %s by %s: %d windows, want %d", c.since, c.until, c.zone, c.slice, len(cut), c.windows)
		}
		for _, w := range cut {
			if hours := fmt.Sprint(w.Until.Sub(w.Since).Hours()); c.lengths != "" && hours != "24" && hours != c.lengths {
				t.Errorf("%v in %s has %s hours, want 24 or %s", w, c.zone, hours, c.lengths)
			}
		}
		if c.slice != "1d" {
			continue
		}
		want := Want{Source: "s", Stream: calls(connector.ModeWindow), Since: at(c.since), Slice: span(c.slice), Location: loc}
		if due := Plan(want, nil, at(c.until)); len(due) != c.windows {
			t.Errorf("plan of %s..%s: %d slices, want %d", c.since, c.until, len(due), c.windows)
		}
	}
}
