package scheduler

import (
	"hash/fnv"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// Overlap says what happens to a tick while an earlier one is not done.
type Overlap string

// The ways to treat an overlap.
const (
	OverlapSkip  Overlap = "skip"
	OverlapQueue Overlap = "queue"
)

// CatchUp says what happens to ticks that nobody decided in time.
type CatchUp string

// The ways to catch up.
const (
	CatchUpOnce CatchUp = "once" // one pull for all of them
	CatchUpAll  CatchUp = "all"  // a pull for each
	CatchUpNone CatchUp = "none" // none
)

// A Schedule is one schedule of one source.
type Schedule struct {
	sink.Schedule
	// Next returns the first tick after a moment, to the second; the zero time if
	// there is none. It depends on nothing else.
	Next func(time.Time) time.Time
	// Jitter is the longest delay of a tick. The delay itself is the same for all
	// ticks of a source, see Delay.
	Jitter  time.Duration
	Overlap Overlap
	CatchUp CatchUp
	// Streams and Deep go into the job of a tick.
	Streams []string
	Deep    bool
}

// Delay is how long after each tick the source is due: between 0 and the jitter,
// evenly spread over sources by their names, and always the same for one.
func Delay(source string, jitter time.Duration) time.Duration {
	seconds := uint64(jitter / time.Second)
	if seconds == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(source)) // it never fails
	// FNV leaves the low bits of similar names alike; their mix is even.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return time.Duration(x%(seconds+1)) * time.Second
}

// due is when a tick of the schedule is due.
func (s *Schedule) due(tick time.Time) time.Time { return tick.Add(Delay(s.Source, s.Jitter)) }

// job is the work of a tick.
func (s *Schedule) job(tick time.Time) Job {
	return Job{
		Source: s.Source, Trigger: TriggerTick, Schedule: s.Name, Tick: tick.UTC(),
		Streams: s.Streams, Deep: s.Deep,
	}
}
