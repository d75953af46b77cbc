package sink

import (
	"context"
	"time"

	"github.com/winchdata/winch/internal/ledger"
)

// A History answers from what past reads did and what they cost.
type History interface {
	// Costs returns what the newest whole reads of a stream have cost, the newest
	// first, at most limit.
	Costs(ctx context.Context, source, stream string, limit int) ([]ledger.Cost, error)

	// Rereads sums what was found when windows of a stream that were held were
	// read again, by the ages of the window, in whole units, at the read before
	// and at the read itself. Age is the time from the window's end to the
	// attempt's start; it is negative for a window that lay ahead. The store sums,
	// so that the answer is small however long the history.
	Rereads(ctx context.Context, source, stream string, unit time.Duration) ([]ledger.Reread, error)
}
