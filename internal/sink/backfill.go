package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// A BackfillState says how far a backfill is.
type BackfillState string

// The states. Done and cancelled ones have ended and stay so.
const (
	BackfillRunning   BackfillState = "running" // wanted, whether or not an agent works at it
	BackfillPaused    BackfillState = "paused"
	BackfillDone      BackfillState = "done"
	BackfillCancelled BackfillState = "cancelled"
)

// ErrBackfillName says that a backfill that has not ended has the name.
var ErrBackfillName = errors.New("a backfill of this name has not ended")

// A Backfill is what a person asked to be read, once.
type Backfill struct {
	ID   int64
	Name string // unique among those that have not ended
	// Source and Streams, all of which have windows.
	Source  string
	Streams []string
	Window  connector.Window
	// Slice is the length of its slices; zero is each stream's own.
	Slice connector.Span
	Order ledger.Order
	// Force reads what is held too, unless it was read since CreatedAt.
	Force bool
	// Slices is how many were due when it was created.
	Slices    int64
	State     BackfillState
	CreatedAt time.Time // by the clock of the agent that created it
	EndedAt   time.Time // zero until it is done or cancelled
}

// String is the name and what it reads.
func (b Backfill) String() string {
	return fmt.Sprintf("backfill %s of %s %s", b.Name, b.Source, b.Window)
}

// Ended reports whether it is done or cancelled.
func (b Backfill) Ended() bool { return b.State == BackfillDone || b.State == BackfillCancelled }

// A BackfillProgress is what the runs of a backfill have committed so far.
type BackfillProgress struct {
	Runs   int64
	Slices int64 // different ones
	Counts ledger.Counts
	Usage  connector.Usage
}

// Backfills keep what people asked for, so that any agent can go on with it.
type Backfills interface {
	// CreateBackfill records a backfill as running and returns it with its ID. The
	// error wraps ErrBackfillName if its name is taken.
	CreateBackfill(ctx context.Context, b Backfill) (Backfill, error)
	// Backfills returns those of a source, or of all if it is empty, the newest
	// first.
	Backfills(ctx context.Context, source string) ([]Backfill, error)
	// MoveBackfill changes the state, if it is one of from, in one step. It returns
	// false if it is another.
	MoveBackfill(ctx context.Context, id int64, to BackfillState, from ...BackfillState) (bool, error)
	// BackfillState returns the state, which another process may change at any
	// time.
	BackfillState(ctx context.Context, id int64) (BackfillState, error)
	// BackfillProgress sums the reads of its runs.
	BackfillProgress(ctx context.Context, id int64) (BackfillProgress, error)
}
