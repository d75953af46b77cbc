package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Cost is what one past read of a slice cost.
type Cost struct {
	Window   connector.Window
	Requests int64 // retries not counted
	// Took is how long it took; Waited, how much of that it waited for limits.
	Took, Waited time.Duration
}

// An Estimate is what reading some slices will cost, as far as past reads tell.
type Estimate struct {
	Slices int
	// Requests to the vendor. A slice of a stream that was never read counts as
	// one.
	Requests int64
	// Work is how long reading them takes one after the other, without waiting
	// for limits.
	Work time.Duration
	// Assumed is how many of the slices are of a stream that was never read:
	// Requests and Work are then the least they can be.
	Assumed int
}

// Add returns the sum of both.
func (e Estimate) Add(f Estimate) Estimate {
	return Estimate{e.Slices + f.Slices, e.Requests + f.Requests, e.Work + f.Work, e.Assumed + f.Assumed}
}

// Duration is how long the reading will take if so many slices are read at the
// same time: what the rate limits dictate, or what the work takes if that is
// longer. Partitions that have the limits to themselves are how many share the
// requests; 1 or less for limits that all share.
func (e Estimate) Duration(limits connector.Limits, atOnce, partitions int) time.Duration {
	apart := int64(1)
	if limits.PerPartition && partitions > 1 {
		apart = int64(partitions)
	}
	lanes := min(atOnce, e.Slices)
	if limits.Concurrency > 0 {
		lanes = min(lanes, limits.Concurrency*int(apart))
	}
	return max(limits.Least((e.Requests+apart-1)/apart), e.Work/time.Duration(max(lanes, 1)))
}

// EstimateDue says what reading the slices of one stream will cost, given what
// reads of the stream have cost: each slice the median. Where the slices are
// longer or shorter than those that were read, as for a backfill by months,
// requests and time grow and shrink with their length.
func EstimateDue(due []Due, past []Cost) Estimate {
	e := Estimate{Slices: len(due)}
	if len(past) == 0 {
		e.Requests, e.Assumed = int64(len(due)), len(due)
		return e
	}
	requests := median(past, func(c Cost) float64 { return float64(c.Requests) })
	seconds := median(past, func(c Cost) float64 { return max(0, c.Took-c.Waited).Seconds() })
	length := median(past, func(c Cost) float64 { return c.Window.Until.Sub(c.Window.Since).Hours() })
	var sum, work float64
	for _, d := range due {
		share := 1.0
		if w := d.Slice.Window; length > 0 && !w.IsZero() {
			share = w.Until.Sub(w.Since).Hours() / length
			if math.Abs(share-1) < sameLength {
				share = 1
			}
		}
		// Less than one request is not sent, unless slices are read without any.
		sum += max(requests*share, min(requests, 1))
		work += seconds * share
	}
	e.Requests = int64(math.Round(sum))
	e.Work = time.Duration(work * float64(time.Second)).Round(time.Microsecond)
	return e
}

// sameLength is by what share days and months differ from one another: they cost
// the same all the same.
const sameLength = 0.15

// median returns the middle value, of two the mean.
func median(costs []Cost, value func(Cost) float64) float64 {
	values := make([]float64, len(costs))
	for i, c := range costs {
		values[i] = value(c)
	}
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
