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

	mu      sync.Mutex
	writers int           // that are open
	claimed chan struct{} // closed when the claim ends; nil if there is none
	evolves bool          // Prepare makes indexes that the table lacks
	index   string        // the statement for the index on the time, while it is to be made
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

// leave ends what the holder of the gate has.
func (g *gate) leave() {
	g.yield()
	<-g.held
}

// open counts a writer until it is closed.
func (g *gate) open(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writers += n
}

// claim lets the holder of the gate have the table to itself until it yields, if
// its writer is the only one.
func (g *gate) claim() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writers > 1 || g.claimed != nil {
		return false
	}
	g.claimed = make(chan struct{})
	return true
}

func (g *gate) yield() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.claimed != nil {
		close(g.claimed)
		g.claimed = nil
	}
}

// unclaimed returns when nobody has the table to itself. A writer that uses the
// table outside of the gate waits here, without a connection, instead of for the
// server's lock with one.
func (g *gate) unclaimed(ctx context.Context) error {
	g.mu.Lock()
	claimed := g.claimed
	g.mu.Unlock()
	if claimed == nil {
		return nil
	}
	select {
	case <-claimed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare notes whether a run that finds no index on the time makes it.
func (g *gate) prepare(evolves bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.evolves = evolves
}

// mayLeaveIndex reports whether the index on the time may be left to the next
// slice: if this process ends before, the next run makes it.
func (g *gate) mayLeaveIndex() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.evolves
}

// leaveIndex leaves the index on the time, if there is one to make, to the next
// slice.
func (g *gate) leaveIndex(statement string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if statement != "" {
		g.index = statement
	}
}

func (g *gate) takeIndex() (statement string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	statement, g.index = g.index, ""
	return statement
}
