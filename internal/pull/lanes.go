package pull

import (
	"context"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// MostSlices is how many slices of one source are in flight at most. It bounds
// memory: what waits for the vendor holds less than earlyBytes each, and what
// writes is bounded by the store's own writers.
const MostSlices = 32

// limitedShare is the share of a slice's time spent waiting for limits from which
// on more slices in flight would only wait more.
const limitedShare = 0.1

// lanes bounds how many slices are in flight. It opens more while slices do not
// wait for the vendor's limits, so that latency does not decide how long a
// backfill takes; what is open stays open.
type lanes struct {
	mu    sync.Mutex
	open  int // slices that may be in flight
	most  int
	busy  int
	freed chan struct{} // closed when a lane may have become free

	slices       int // that ended since open was set
	took, waited time.Duration
}

// newLanes has a fixed number of lanes, or by itself as many as the limits of the
// source make worth while.
func newLanes(fixed int, limits connector.Limits) *lanes {
	l := &lanes{open: fixed, most: fixed, freed: make(chan struct{})}
	if fixed == 0 {
		l.open, l.most = DefaultSlices, MostSlices
		if n := limits.Concurrency; n > 0 && !limits.PerPartition {
			// As many again write what they have read.
			l.most = min(MostSlices, max(DefaultSlices, 2*n))
		}
	}
	return l
}

// enter takes a lane, as soon as one is free.
func (l *lanes) enter(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.mu.Lock()
		if l.busy < l.open {
			l.busy++
			l.mu.Unlock()
			return nil
		}
		freed := l.freed
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-freed:
		}
	}
}

// leave gives the lane back.
func (l *lanes) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	close(l.freed)
	l.freed = make(chan struct{})
}

// ended takes in what a slice that was committed took, and how much of that it
// waited for limits. Once as many as are open have ended, it decides anew.
func (l *lanes) ended(took, waited time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slices++
	l.took, l.waited = l.took+took, l.waited+waited
	if l.slices < l.open {
		return
	}
	if float64(l.waited) < limitedShare*float64(l.took) {
		l.open = min(l.most, 2*l.open)
	}
	l.slices, l.took, l.waited = 0, 0, 0
}
