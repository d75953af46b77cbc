package scheduler

import (
	"context"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// A clock shows the store's time. Between two looks at the store it goes on by the
// machine's, of which only the pace counts: what the machine believes the time to
// be does not matter.
type clock struct {
	store sink.Schedules

	mu    sync.Mutex
	then  time.Time // the store's
	local time.Time // the machine's at that moment
}

// look sets the clock by the store.
func (c *clock) look(ctx context.Context) error {
	then, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	c.set(then)
	return nil
}

// set takes over a moment that the store has just told.
func (c *clock) set(then time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then, c.local = then, time.Now()
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.then.Add(time.Since(c.local))
}

// looked is when the store was last heard of, by the machine's clock.
func (c *clock) looked() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}
