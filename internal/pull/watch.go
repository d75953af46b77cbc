package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// DefaultStuckAfter is how long reading a slice may make no progress. Requests have
// time limits of their own, far below it: it is for what has none.
const DefaultStuckAfter = 15 * time.Minute

// looks is how often a watch looks within the time that it allows.
const looks = 20

// A Stuck error says that reading a slice made no progress, or that the source did
// not answer.
type Stuck struct {
	After time.Duration
	// Asked is what it did not answer; empty for a slice.
	Asked string
}

func (e *Stuck) Error() string {
	if e.Asked != "" {
		return fmt.Sprintf("stuck: no answer for %s", e.After)
	}
	return fmt.Sprintf("stuck: no byte and no record for %s, and no wait that was announced", e.After)
}

func stuck(e *Stuck) error {
	return &connector.Error{
		Kind: connector.KindUnavailable, Op: e.Asked, Err: e,
		Hint: "the next pull tries it again; if it stays so, see the log of the connector at level debug, or allow more by serve.stuck_after",
	}
}

// ask makes a call of the source that reads no slice: what opens it, or asks what it
// offers. Connectors tell what such a call has cost when it ends, and announce no
// waits. It is given up when it takes as long as a slice may make no progress.
func ask[T any](ctx context.Context, r *run, what string, call func(context.Context) (T, error)) (T, error) {
	given := &Stuck{After: cmp.Or(r.StuckAfter, DefaultStuckAfter), Asked: what}
	inner, cancel := context.WithTimeoutCause(ctx, given.After, given)
	defer cancel()
	answer, err := call(inner)
	if err != nil && errors.Is(context.Cause(inner), given) {
		err = stuck(given)
	}
	return answer, err
}

// A watch cancels an attempt that makes no progress: whose usage, in which bytes,
// requests and waits are counted, and whose number of records stay as they are.
// Time that the store takes does not count.
type watch struct {
	clock  *sink.Clock // of the attempt: runs where the store takes its time
	cancel context.CancelFunc
	ended  chan struct{} // when stuck is set for good
	stuck  error

	steps atomic.Int64 // records and checkpoints
	apart atomic.Bool  // in a call of the store that is not for a single record
}

// watch watches what happens under the context that it returns, until end.
func (r *run) watch(ctx context.Context, clock *sink.Clock, usage *connector.UsageRecorder) (context.Context, *watch) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{clock: clock, cancel: cancel, ended: make(chan struct{})}
	after := cmp.Or(r.StuckAfter, DefaultStuckAfter)
	go w.look(ctx, after, usage) // awaited by end
	return ctx, w
}

func (w *watch) look(ctx context.Context, after time.Duration, usage *connector.UsageRecorder) {
	defer close(w.ended)
	ticker := time.NewTicker(max(after/looks, time.Millisecond))
	defer ticker.Stop()
	var (
		seen  connector.Usage
		steps int64
		since = time.Now()
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if total, n := usage.Total(), w.steps.Load(); w.apart.Load() || w.clock.Busy() || n != steps || total != seen {
			seen, steps, since = total, n, time.Now()
		}
		if time.Since(since) >= after {
			w.stuck = stuck(&Stuck{After: after})
			w.cancel()
			return
		}
	}
}

// step counts a record.
func (w *watch) step() { w.steps.Add(1) }

// enter and leave enclose a call of the store that may take its time.
func (w *watch) enter() { w.apart.Store(true) }

func (w *watch) leave() {
	w.step()
	w.apart.Store(false)
}

// end ends the watch and returns an error that wraps a *Stuck if it fired.
func (w *watch) end() error {
	w.cancel()
	<-w.ended
	return w.stuck
}
