package sink

import (
	"context"
	"errors"
	"time"
)

// A Claim says what an agent wants to hold.
type Claim struct {
	Source string
	// Budget names the allowance of a vendor that the source uses up. Of the
	// sources that name the same one, one is held at a time. Empty: none is shared.
	Budget string
}

// ErrCancelled ends a run that a person cancelled.
var ErrCancelled = errors.New("the run was cancelled on request")

// Leases give the right to pull a source to one agent at a time (I3).
type Leases interface {
	// Lock takes the right to pull a source, across agents, or returns a *Busy
	// error at once. The right ends with release or with the process.
	//
	// The context that it returns is ctx, cancelled also when the right is lost:
	// its cause is then an *Error of FaultFenced, or ErrCancelled after CancelRun.
	// Whatever reads for the source runs under it. A right that was lost cannot be
	// used to commit, also by a process that was stopped meanwhile and does not know
	// yet. A source stays busy for the process until release.
	//
	// Runs of the source that have no outcome belong to agents that died: Lock
	// records them as Lost.
	Lock(ctx context.Context, c Claim) (held context.Context, release func(), err error)

	// CancelRun asks whoever does the run to end it, which takes seconds. It returns
	// an error that wraps ErrNoRun if there is none, and false if it has ended.
	CancelRun(ctx context.Context, id int64) (asked bool, err error)

	// Agents returns those who take part, the oldest first.
	Agents(ctx context.Context) ([]Agent, error)

	// Drain asks an agent, or all with id 0, to take no more jobs, or to take jobs
	// again. It returns how many agents heard it. A store with one agent has none to
	// drain.
	Drain(ctx context.Context, id int64, drain bool) (int, error)
}

// An Agent is a process that takes part in the work on a store.
type Agent struct {
	ID        int64
	Host      string
	PID       int
	Version   string
	StartedAt time.Time
	SeenAt    time.Time // its last sign of life, by the store's clock
	Alive     bool
	Draining  bool
	Holds     []Holding // by source
}

// A Holding is a source that an agent holds.
type Holding struct {
	Source string
	Since  time.Time
	Run    int64 // that is under way; 0 if none is
}
