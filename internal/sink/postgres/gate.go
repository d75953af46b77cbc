package postgres

import (
	"context"
	"sync"
	"sync/atomic"
)

// A gate lets one writer of this process at a time change a table. It stands
// before the server's own lock on the table, so that writers which wait for each
// other hold no connection.
type gate struct {
	held    chan struct{}
	commits atomic.Int64 // of all writers, counted while the gate is held
}

type gates struct {
	mu  sync.Mutex
	all map[int64]*gate // by the table's lock
}

// of returns the gate of a table. It is kept: there are few tables.
func (g *gates) of(lock int64) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[int64]*gate{}
	}
	if g.all[lock] == nil {
		g.all[lock] = &gate{held: make(chan struct{}, 1)}
	}
	return g.all[lock]
}

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) tryEnter() bool {
	select {
	case g.held <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *gate) leave() { <-g.held }
