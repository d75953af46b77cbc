package sink

import (
	"context"

	"github.com/winchdata/winch/internal/ledger"
)

// Declarations keep what each stream was declared and configured as when it was
// last read. They are written with the rows, see Attempt.Declared.
type Declarations interface {
	// Declarations returns those of a source, by stream.
	Declarations(ctx context.Context, source string) (map[string]ledger.Declaration, error)

	// Reset lets a stream start over, in one transaction: its table is renamed to
	// aside, or dropped if that is empty, and what is known of its slices goes:
	// ledger, reads, quarantine, declaration. Runs stay. The source must be held
	// (Lock). A dry run returns what would go and changes nothing. Views on the
	// table follow it, and are an error if it is dropped.
	Reset(ctx context.Context, source, stream, aside string, dryRun bool) (Started, error)
}

// Started is what a stream had when it started over.
type Started struct {
	Table       bool  `json:"table"` // there was one
	Rows        int64 `json:"rows"`
	Slices      int64 `json:"slices"`
	Reads       int64 `json:"reads"`
	Quarantined int64 `json:"quarantined"` // that waited to be landed
}

// Empty reports whether nothing was known of the stream.
func (s Started) Empty() bool { return s == Started{} }
