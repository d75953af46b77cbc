package sink

import (
	"context"
	"errors"
	"time"

	"github.com/winchdata/winch/internal/ledger"
)

// ErrNotQuarantined says that no record with the id was set aside.
var ErrNotQuarantined = errors.New("no such record in quarantine")

// A QuarantineState says what became of a record that was set aside.
type QuarantineState string

// The states. A settled record, one that is not held, has no raw text any more.
const (
	QuarantineHeld       QuarantineState = "held"       // waits to be landed
	QuarantineLanded     QuarantineState = "landed"     // a retry made a row of it
	QuarantineSuperseded QuarantineState = "superseded" // the same key was read again later
	QuarantineDropped    QuarantineState = "dropped"    // a person gave it up
)

// A Quarantined is a record that could not become a row, and was set aside by
// Writer.Quarantine. The records of a slice are those that its last whole read
// set aside; one that comes again keeps its id, and a dropped one stays dropped.
type Quarantined struct {
	ID    int64
	Slice ledger.Slice
	// Run read the record last, in an attempt that began at ReadAt.
	Run    int64
	ReadAt time.Time
	Column string // that does not take its value; empty if the record as a whole is at fault
	Reason string // never quotes a personal value
	// Raw is the record's text without what Secret columns read (P10); empty
	// once it is settled. Whole is false where that is only its beginning or
	// had to be repaired: such a record cannot be landed by a retry.
	Raw       string
	Whole     bool
	Attempts  int64 // at making a row of it
	State     QuarantineState
	SettledAt time.Time // zero while it is held
}

// A QuarantineFilter chooses records.
type QuarantineFilter struct {
	Source, Stream string          // of all if empty
	State          QuarantineState // any if empty
	ID             int64           // any if 0
	Limit          int             // no limit if 0
}

// A Relanded says what a retry did.
type Relanded struct {
	Counts     ledger.Counts
	Landed     []int64
	Superseded []int64          // the row at rest was read later, it stays
	Refused    map[int64]string // still cannot become rows: they stay held, with this reason
}

// A Quarantine is the part of a sink that keeps the records that were set aside.
type Quarantine interface {
	// Quarantined returns the records that the filter chooses, by their id.
	Quarantined(ctx context.Context, f QuarantineFilter) ([]Quarantined, error)

	// Reland makes rows of held records of the attempt's slice that were read at
	// its StartedAt, by the same decoding and merge as a read, and settles them
	// in the same transaction (I1). A row at rest that was written by a later
	// attempt stays, and the record is superseded. The ledger stays as it is:
	// nothing was read.
	Reland(ctx context.Context, a Attempt, records []Quarantined) (Relanded, error)

	// DropQuarantined gives up the held records that the filter chooses and
	// returns how many they were.
	DropQuarantined(ctx context.Context, f QuarantineFilter) (int64, error)
}
