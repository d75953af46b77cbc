package sink

import (
	"context"
	"time"
)

// A Pruner forgets what only tells of the past.
type Pruner interface {
	// Prune deletes, of what ended before the moment: runs with their reads, decided
	// ticks but the last of each schedule, and settled records of the quarantine.
	// The ledger, records that wait in quarantine and what is under way stay. With
	// dryRun it counts and deletes nothing.
	Prune(ctx context.Context, before time.Time, dryRun bool) (Pruned, error)
}

// Pruned says how much was forgotten.
type Pruned struct {
	Runs        int64 `json:"runs"`
	Reads       int64 `json:"reads"`
	Ticks       int64 `json:"ticks"`
	Quarantined int64 `json:"quarantined"`
}
