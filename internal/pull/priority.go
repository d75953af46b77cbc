package pull

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// ErrStopped ends a run whose Gate asked for it. The run is interrupted, with
// everything committed that had been.
var ErrStopped = errors.New("stopped between two slices")

// waitPause is how long a pull waits before it tries again to take a source from a
// backfill. It is a fraction of sink.WaitExpiry.
const waitPause = 500 * time.Millisecond

// lock takes the source. A pull that finds a backfill at it announces itself and
// waits until that gives way, at its next boundary of a slice; of anybody else the
// source stays busy.
func (p *Puller) lock(ctx context.Context, job Job) (context.Context, func(), error) {
	claim := sink.Claim{Source: job.Source, Budget: job.Budget}
	waiter, source := "", job.Source // who waits, and for which source
	for {
		held, release, err := p.Sink.Lock(ctx, claim)
		var busy *sink.Busy
		if waiter == "" && (!errors.As(err, &busy) || job.Backfill != 0) {
			return held, release, err
		}
		if !errors.As(err, &busy) {
			// Also when ctx has ended: the backfill would wait for nobody.
			return held, release, p.withdraw(ctx, source, waiter, err)
		}
		source = cmp.Or(busy.Held, job.Source) // or another one of its budget
		yields, stateErr := p.Sink.HeldByBackfill(ctx, source)
		if stateErr != nil {
			return nil, nil, p.withdraw(ctx, source, waiter, stateErr)
		}
		if !yields && waiter == "" {
			return nil, nil, busy
		}
		if waiter == "" {
			waiter = rand.Text()
			p.Log.InfoContext(ctx, "waiting for a backfill to give way", "source", job.Source, "holder", busy.Holder)
		}
		if err := p.Sink.Announce(ctx, source, waiter); err != nil {
			return nil, nil, p.withdraw(ctx, source, waiter, err)
		}
		if err := job.sleep(ctx, waitPause); err != nil {
			return nil, nil, p.withdraw(ctx, source, waiter, err)
		}
	}
}

// withdraw ends the announcement of a waiter and returns what ended its wait.
func (p *Puller) withdraw(ctx context.Context, source, waiter string, err error) error {
	if waiter == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitPause)
	defer cancel()
	if gone := p.Sink.Withdraw(ctx, source, waiter); gone != nil {
		// It expires by itself.
		p.Log.WarnContext(ctx, "a backfill may wait for nobody for a moment", "source", source, "error", gone)
	}
	return err
}

// stopped reports whether the run's gate stopped it.
func stopped(err error) bool { return errors.Is(err, ErrStopped) }

// gate asks whether the next slice may begin.
func (r *run) gate(ctx context.Context) error {
	if r.job.Gate == nil {
		return nil
	}
	if err := r.job.Gate(ctx); err != nil {
		return fmt.Errorf("source %s: %w", r.job.Source, err)
	}
	return nil
}
