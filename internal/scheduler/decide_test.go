package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/sink"
)

// hourly is due at each full hour.
func hourly(overlap Overlap, catchUp CatchUp) *Schedule {
	return &Schedule{
		Schedule: sink.Schedule{Source: "shop", Name: "schedule"}, Overlap: overlap, CatchUp: catchUp,
		Next: func(at time.Time) time.Time { return at.Truncate(time.Hour).Add(time.Hour) },
	}
}

func TestWhatBecomesOfTicksAndWhy(t *testing.T) {
	t.Parallel()
	at := func(hour, minute int) time.Time { return time.Date(2026, 3, 1, hour, minute, 0, 0, time.UTC) }
	open := []sink.Tick{{Tick: at(1, 0)}}
	byHand := &sink.Run{ID: 7, Trigger: "pull"}
	for _, c := range []struct {
		why     string
		overlap Overlap
		catchUp CatchUp
		from    int
		state   sink.TickState
		want    []string
	}{
		{"nothing is due", OverlapSkip, CatchUpAll, 2, sink.TickState{Now: at(2, 59)}, nil},
		{"on time", OverlapSkip, CatchUpNone, 1, sink.TickState{Now: at(2, 0)}, []string{"taken: on time"}},
		{"decided by another", OverlapSkip, CatchUpAll, 1, sink.TickState{Now: at(2, 0), Decided: []time.Time{at(2, 0)}}, nil},
		{"overlaps a queued tick", OverlapSkip, CatchUpOnce, 1, sink.TickState{Now: at(2, 0), Open: open}, []string{
			"skipped: the tick of 2026-03-01 01:00:00 UTC is queued",
		}},
		{"overlaps a run", OverlapSkip, CatchUpOnce, 1, sink.TickState{Now: at(2, 0), Open: open, Running: &sink.Run{ID: 7, Trigger: "tick"}}, []string{
			"skipped: run 7 of the source is running, and the tick of 2026-03-01 01:00:00 UTC is not done",
		}},
		{"overlaps a pull by hand", OverlapSkip, CatchUpOnce, 1, sink.TickState{Now: at(2, 0), Running: byHand}, []string{"skipped: run 7 of the source is running, by hand"}},
		{"waits for a backfill", OverlapSkip, CatchUpOnce, 1, sink.TickState{Now: at(2, 0), Running: &sink.Run{ID: 7, Trigger: "backfill"}}, []string{"taken: on time"}},
		{"overlaps and is queued", OverlapQueue, CatchUpOnce, 1, sink.TickState{Now: at(2, 0), Open: open}, []string{
			"taken: queued: the tick of 2026-03-01 01:00:00 UTC is queued",
		}},
		{"paused", OverlapQueue, CatchUpAll, 0, sink.TickState{Now: at(2, 0), PausedAt: at(0, 30)}, []string{
			"skipped: the source is paused since 2026-03-01 00:30:00 UTC", "skipped: the source is paused since 2026-03-01 00:30:00 UTC",
		}},
		{"missed, none", OverlapSkip, CatchUpNone, 0, sink.TickState{Now: at(2, 30)}, []string{
			"skipped: missed: no agent decided it for 1h30m0s, and catch_up is none", "skipped: missed: no agent decided it for 30m0s, and catch_up is none",
		}},
		{"missed, once", OverlapSkip, CatchUpOnce, 0, sink.TickState{Now: at(2, 30)}, []string{
			"skipped: missed: no agent decided it for 1h30m0s; a later tick makes up for it", "taken: caught up: no agent decided it for 30m0s",
		}},
		{"missed, once, and one is on time", OverlapSkip, CatchUpOnce, 0, sink.TickState{Now: at(3, 0)}, []string{
			"skipped: missed: no agent decided it for 2h0m0s; a later tick makes up for it",
			"skipped: missed: no agent decided it for 1h0m0s; a later tick makes up for it", "taken: on time",
		}},
		{"missed, once, and a run is under way", OverlapSkip, CatchUpOnce, 1, sink.TickState{Now: at(2, 30), Running: byHand}, []string{
			"skipped: run 7 of the source is running, by hand",
		}},
		{"missed, all, whatever overlaps", OverlapSkip, CatchUpAll, 1, sink.TickState{Now: at(4, 0), Open: open}, []string{
			"taken: caught up: no agent decided it for 2h0m0s", "taken: caught up: no agent decided it for 1h0m0s",
			"skipped: the tick of 2026-03-01 03:00:00 UTC is queued",
		}},
	} {
		ticks, _ := hourly(c.overlap, c.catchUp).decide(at(c.from, 0), c.state, "me")
		var got []string
		for _, one := range ticks {
			got = append(got, string(one.Decision)+": "+one.Reason)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, diff)
		}
	}
}

func TestTicksOfYearsThatNobodySawAreOneRow(t *testing.T) {
	t.Parallel()
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	now := from.AddDate(5, 0, 0)
	hours := int(now.Sub(from) / time.Hour)
	ticks, through := hourly(OverlapSkip, CatchUpOnce).decide(from, sink.TickState{Now: now}, "me")
	if len(ticks) != mostMissed+1 || !through.Equal(now) || ticks[mostMissed].Decision != sink.Taken {
		t.Fatalf("%d ticks through %v", len(ticks), through)
	}
	if first := ticks[0]; first.Decision != sink.Skipped || !first.Tick.Equal(from.Add(time.Hour)) || !strings.Contains(first.Reason, "too many for a row each") ||
		!strings.Contains(first.Reason, ticks[1].Tick.Add(-time.Hour).Format(time.DateTime)) {
		t.Errorf("of %d hours: %+v", hours, first)
	}
}

func TestDelayIsStableAndSpread(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.StringMatching(`[a-z][a-z0-9_]{0,20}`).Draw(t, "source")
		jitter := time.Duration(rapid.Int64Range(0, int64(6*time.Hour)).Draw(t, "jitter"))
		d := Delay(source, jitter)
		if d != Delay(source, jitter) || d < 0 || d > jitter || d%time.Second != 0 {
			t.Fatalf("%s of %s", d, jitter)
		}
	})
	// Of a hundred sources of similar names, each tenth of an hour has some.
	tenths := map[time.Duration]int{}
	for i := range 100 {
		tenths[Delay("shop_"+string(rune('a'+i/10))+string(rune('a'+i%10)), time.Hour)/(6*time.Minute)]++
	}
	for i := range time.Duration(10) {
		if tenths[i] < 2 || tenths[i] > 25 {
			t.Errorf("spread over tenths of the jitter: %v", tenths)
		}
	}
}
