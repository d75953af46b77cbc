// Package ledger knows which slices of a stream are wanted, which are held, and
// so which are due. It is pure: no clock, no database.
package ledger

import (
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Slice is the unit that is planned, pulled, committed and recorded: one
// partition of one stream of one source, in one window. Snapshot and cursor
// streams have one slice, whose window is zero.
type Slice struct {
	Source    string
	Stream    string
	Partition string
	Window    connector.Window
}

// String returns the slice as people and errors name it:
// source/stream[partition] window.
func (s Slice) String() string {
	name := s.Source + "/" + s.Stream
	if s.Partition != "" {
		name += "[" + s.Partition + "]"
	}
	if !s.Window.IsZero() {
		name += " " + s.Window.String()
	}
	return name
}

// A State says what the ledger holds of a slice.
type State string

// The states.
const (
	// Held: read whole and committed.
	Held State = "held"
	// Partial: read up to the cursor and committed that far.
	Partial State = "partial"
	// Failed: the last attempt failed; what an earlier one committed is still there.
	Failed State = "failed"
)

// Counts says what reading a slice did to its rows. Rows is the number of
// distinct rows the vendor reported: inserted, updated and unchanged together.
type Counts struct {
	Rows      int64 `json:"rows"`
	Inserted  int64 `json:"inserted"`
	Updated   int64 `json:"updated"`
	Unchanged int64 `json:"unchanged"`
	Deleted   int64 `json:"deleted"`
	// Quarantined is the number of records that could not become rows and were
	// set aside. They are not among Rows.
	Quarantined int64 `json:"quarantined"`
}

// Add returns the sum of both.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		c.Rows + d.Rows, c.Inserted + d.Inserted, c.Updated + d.Updated, c.Unchanged + d.Unchanged,
		c.Deleted + d.Deleted, c.Quarantined + d.Quarantined,
	}
}

// An Entry is a row of the ledger: what is known about one slice.
type Entry struct {
	Slice  Slice
	State  State
	Cursor connector.Cursor // committed position; nil unless the connector checkpoints
	Counts Counts           // of the last committed read
	Usage  connector.Usage  // of the last committed read
	// FirstReadAt and LastReadAt are the moments of the first and the last
	// commit; zero if nothing was ever committed.
	FirstReadAt time.Time
	LastReadAt  time.Time
	Run         int64 // the run of the last attempt
	Backfilled  bool  // that run was part of a backfill
	Failures    int   // attempts that failed since the last commit
	ErrorKind   connector.Kind
	Error       string // of the last attempt; empty unless it failed
}

// A Reason says why a slice is due.
type Reason string

// The reasons.
const (
	Missing  Reason = "missing"      // not held, or not whole
	Resume   Reason = "resume"       // read in part
	Retry    Reason = "failed"       // the last attempt failed
	Lookback Reason = "lookback"     // young enough to be restated, and not read a moment ago
	Deep     Reason = "deep re-read" // old, but not read for long: see Stream.DeepEvery
	Refresh  Reason = "refresh"      // a snapshot or cursor stream, read on every pull
	Forced   Reason = "forced"       // a person asked for it
)

// A Due is a slice that should be read, and why.
type Due struct {
	Slice  Slice
	Reason Reason
	Cursor connector.Cursor // where to go on; nil at the beginning
	// LastReadAt is when the part of a held window that was not read for longest
	// was read; zero if it is not held.
	LastReadAt time.Time
}
