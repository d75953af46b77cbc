package sim

import (
	"sort"
	"sync/atomic"
	"time"
)

// hourBits is how many bits of an event's id number it within its hour.
const hourBits = 20

// epochHour is the hour from which event ids count: 2020-01-01 00:00 UTC.
const epochHour = 438288

// A Timeline is a sequence of events in the order of their starts, without
// holding any. It follows the hours of the working day and week, ends nowhere,
// and begins at the world's history; an event's content depends on its hour and
// number alone.
type Timeline struct {
	seed   uint64
	perDay float64
	first  int64 // hour number since the Unix epoch
	// sums[k] is how many events lie before hour first+k. Only grows.
	sums atomic.Pointer[[]int]
}

// NewTimeline returns a timeline of perDay events on an average day.
func NewTimeline(w *World, tag uint64, perDay float64) *Timeline {
	t := &Timeline{seed: Mix(w.Seed, tag), perDay: perDay * w.Volume, first: w.Begin.Unix() / 3600}
	t.sums.Store(&[]int{0})
	return t
}

// An Event is one place on a timeline.
type Event struct {
	ID    int64
	Start int64 // Unix seconds
	// Dice are the event's own.
	Dice Dice
}

// dayShape is the share of a working day's events in each hour, UTC; of 1000.
var dayShape = [24]float64{4, 3, 2, 2, 4, 10, 25, 55, 85, 98, 96, 88, 78, 86, 90, 84, 70, 48, 30, 18, 10, 7, 4, 3}

// weekShape is the share of each weekday against the average, Sunday first.
var weekShape = [7]float64{0.36, 1.28, 1.24, 1.2, 1.16, 1.12, 0.64}

// inHour is how many events the hour has.
func (t *Timeline) inHour(hour int64) int {
	dice := Roll(t.seed, uint64(hour), 1)
	day := hour / 24
	share := dayShape[hour%24] / 1000 * weekShape[(day+4)%7] // 1970-01-01 was a Thursday
	n := t.perDay * share * (0.8 + 0.4*dice.Unit())
	whole := int(n)
	if dice.Unit() < n-float64(whole) {
		whole++
	}
	return min(whole, 1<<hourBits-1)
}

// through returns sums that reach beyond the hour.
func (t *Timeline) through(hour int64) []int {
	for {
		old := t.sums.Load()
		sums := *old
		if hour-t.first+1 < int64(len(sums)) {
			return sums
		}
		// Grown by a copy, so that readers need no lock, and by a day at least.
		grown := append(make([]int, 0, int(hour-t.first)+26), sums...)
		for k := len(sums) - 1; k <= int(hour-t.first)+23; k++ {
			grown = append(grown, grown[k]+t.inHour(t.first+int64(k)))
		}
		t.sums.CompareAndSwap(old, &grown)
	}
}

// offset is the second of the hour at which the j-th of n events starts; it
// never falls as j grows.
func (t *Timeline) offset(hour int64, j, n int) int64 {
	u := Mix(Mix(t.seed, uint64(hour)), uint64(j)<<1) >> 48
	return int64((uint64(j)<<16 + u) * 3600 / uint64(n) >> 16)
}

// Before is how many events start before t: the place of the first that does not.
func (t *Timeline) Before(unix int64) int {
	hour := unix / 3600
	if hour < t.first {
		return 0
	}
	sums := t.through(hour)
	k := hour - t.first
	n := sums[k+1] - sums[k]
	second := unix - hour*3600
	return sums[k] + sort.Search(n, func(j int) bool { return t.offset(hour, j, n) >= second })
}

// A Walk moves along a timeline.
type Walk struct {
	t    *Timeline
	sums []int
	k    int // the hour, counted from the first
	j    int // in the hour
}

// From returns a walk whose next event is the one at the place, which must lie
// before one that Before has returned.
func (t *Timeline) From(place int) Walk {
	w := Walk{t: t, sums: *t.sums.Load()}
	w.k = sort.SearchInts(w.sums, place+1) - 1
	w.j = place - w.sums[w.k]
	return w
}

// Next returns the event and moves to the one behind it.
func (w *Walk) Next() Event {
	for w.k+1 >= len(w.sums) || w.j >= w.sums[w.k+1]-w.sums[w.k] {
		w.k++
		w.j = 0
		w.sums = w.t.through(w.t.first + int64(w.k))
	}
	e := w.t.event(w.t.first+int64(w.k), w.j, w.sums[w.k+1]-w.sums[w.k])
	w.j++
	return e
}

func (t *Timeline) event(hour int64, j, n int) Event {
	return Event{
		ID:    (hour-epochHour)<<hourBits | int64(j),
		Start: hour*3600 + t.offset(hour, j, n),
		Dice:  Roll(t.seed, uint64(hour), uint64(j)<<1|1),
	}
}

// Find returns the event with the id.
func (t *Timeline) Find(id int64) (Event, bool) {
	hour, j := id>>hourBits+epochHour, int(id&(1<<hourBits-1))
	if id < 0 || hour < t.first {
		return Event{}, false
	}
	n := t.inHour(hour)
	if j >= n {
		return Event{}, false
	}
	return t.event(hour, j, n), true
}

// Some returns an event that starts in the same hour as unix, chosen by dice.
func (t *Timeline) Some(unix int64, dice *Dice) (Event, bool) {
	hour := unix / 3600
	if hour < t.first {
		return Event{}, false
	}
	n := t.inHour(hour)
	if n == 0 {
		return Event{}, false
	}
	return t.event(hour, dice.Below(n), n), true
}

// Clip bounds [since, until) to the timeline's history and to what had started by
// asOf, as Unix seconds; zero times are unbounded.
func (t *Timeline) Clip(since, until time.Time, asOf int64) (from, to int64) {
	from, to = t.first*3600, asOf+1
	if !since.IsZero() {
		from = max(from, Ceil(since))
	}
	if !until.IsZero() {
		to = min(to, Ceil(until))
	}
	return from, max(from, to)
}

// Ceil is the first whole second not before t.
func Ceil(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}
