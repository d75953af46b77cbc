package sim

import (
	"testing"
	"time"
)

func world(volume float64) *World {
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	return &World{Seed: 7, Size: 10, Volume: volume, Begin: begin, Origin: begin.AddDate(0, 0, 14), Now: time.Now}
}

func TestPlacesOfATimelineAreInTheOrderOfStarts(t *testing.T) {
	t.Parallel()
	for _, perDay := range []float64{3, 400, 30_000} {
		w := world(1)
		line := NewTimeline(w, 1, perDay)
		end := w.Origin.Unix()
		n := line.Before(end)
		if n == 0 {
			t.Fatalf("%g per day: no events in two weeks", perDay)
		}
		walk, last, seen := line.From(0), int64(0), map[int64]bool{}
		for place := range n {
			e := walk.Next()
			if e.Start < last || e.Start >= end || seen[e.ID] {
				t.Fatalf("place %d: start %d after %d, end %d, id %d seen %t", place, e.Start, last, end, e.ID, seen[e.ID])
			}
			if e.Start > last && line.Before(e.Start) != place {
				t.Fatalf("Before(%d) = %d, want %d", e.Start, line.Before(e.Start), place)
			}
			if found, ok := line.Find(e.ID); !ok || found != e {
				t.Fatalf("Find(%d) = %v, %t, want %v", e.ID, found, ok, e)
			}
			seen[e.ID], last = true, e.Start
		}
	}
}

func TestTimelineHasTheAskedNumberOfEventsOnAnAverageDay(t *testing.T) {
	t.Parallel()
	w := world(1000)
	line := NewTimeline(w, 1, 1000)
	perDay := float64(line.Before(w.Origin.Unix())) / 14
	if perDay < 0.95e6 || perDay > 1.05e6 {
		t.Errorf("%.0f events per day, want about a million", perDay)
	}
}

func TestAWalkFromAnyPlaceMeetsTheSameEvents(t *testing.T) {
	t.Parallel()
	w := world(1)
	line := NewTimeline(w, 1, 50)
	n := line.Before(w.Origin.Unix())
	var all []Event
	walk := line.From(0)
	for range n {
		all = append(all, walk.Next())
	}
	for place := range n {
		again := line.From(place)
		if got := again.Next(); got != all[place] {
			t.Fatalf("From(%d) met %v, want %v", place, got, all[place])
		}
	}
}

func TestASelectionPagesLikeASliceOfWhatMatches(t *testing.T) {
	t.Parallel()
	w := world(1)
	line := NewTimeline(w, 1, 40)
	if n := line.Before(w.Origin.Unix()); n < 320 {
		t.Fatalf("%d events, want 320 at least", n)
	}
	s := Selection{Line: line, From: 20, To: 320, Settled: 200, Match: func(e Event) bool { return e.ID%3 != 0 }}
	var want []Event
	walk := line.From(s.From)
	for place := s.From; place < s.To; place++ {
		if e := walk.Next(); place < s.Settled || s.Match(e) {
			want = append(want, e)
		}
	}
	if s.Total() != len(want) {
		t.Fatalf("total %d, want %d", s.Total(), len(want))
	}
	for size := 1; size <= len(want); size += 17 {
		var up, down []Event
		for x := 0; x < len(want); x += size {
			y := min(x+size, len(want))
			s.Each(x, y, func(e Event) { up = append(up, e) })
			s.Newest(x, y, func(e Event) { down = append(down, e) })
		}
		for i := range want {
			if up[i] != want[i] || down[len(want)-1-i] != want[i] {
				t.Fatalf("pages of %d: record %d differs", size, i)
			}
		}
	}
}
