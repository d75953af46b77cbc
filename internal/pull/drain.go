package pull

import (
	"context"
	"errors"
	"time"
)

// errDrained ends a slice at a checkpoint, from where it goes on later.
var errDrained = errors.New("the run is ended early")

func (r *run) draining() bool {
	select {
	case <-r.job.Drain: // nil: never
		return true
	default:
		return false
	}
}

// sleep waits, unless the run is to end first.
func (j Job) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-j.Drain:
		return errDrained
	case <-timer.C:
		return nil
	}
}
