package sink

import (
	"context"
	"time"
)

// WaitExpiry is how long an announcement counts without being renewed: a pull
// that waits may die.
const WaitExpiry = 15 * time.Second

// Yielding lets a pull take a source from a backfill, which gives way at the next
// boundary of a slice. So a source has one agent and one budget at any time (I3).
type Yielding interface {
	// HeldByBackfill reports whether the run that keeps others from the source is
	// one of a backfill.
	HeldByBackfill(ctx context.Context, source string) (bool, error)
	// Announce says, for WaitExpiry, that a waiter wants the source. A waiter is a
	// name that no other process uses. Announcing again renews it.
	Announce(ctx context.Context, source, waiter string) error
	// Withdraw ends the announcement. One that does not exist is not an error.
	Withdraw(ctx context.Context, source, waiter string) error
	// Awaited reports whether somebody waits for the source.
	Awaited(ctx context.Context, source string) (bool, error)
}
