package scheduler

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// A Trigger says what caused a job. It is the trigger that the run is recorded with.
type Trigger string

// The triggers.
const (
	TriggerTick     Trigger = "tick"     // a schedule was due
	TriggerPull     Trigger = "pull"     // a person queued it
	TriggerBackfill Trigger = "backfill" // a person asked for windows; yields to all others
	TriggerResume   Trigger = "resume"   // a run that its agent did not end
)

// A Job is one pull of one source that is to be done. It is small and can be
// stored; what the source's configuration says is looked up when it is done.
type Job struct {
	Source  string  `json:"source"`
	Trigger Trigger `json:"trigger"`
	// Schedule and Tick name the tick of a TriggerTick: the schedule by its key in
	// the source's configuration, and the moment without jitter, in UTC.
	Schedule string    `json:"schedule,omitempty"`
	Tick     time.Time `json:"tick,omitzero"`
	// Streams are the streams to read; all that the source pulls if empty.
	Streams []string `json:"streams,omitempty"`
	// Deep asks for the deep re-read of the streams that declare one.
	Deep bool `json:"deep,omitempty"`
	// Backfill names the backfill of a TriggerBackfill.
	Backfill string `json:"backfill,omitempty"`
	// Resumes is the run that a TriggerResume goes on with.
	Resumes int64 `json:"resumes,omitempty"`
	// Trace is the trace that the job is part of, as W3C Trace Context names it; see
	// Traced.
	Trace map[string]string `json:"trace,omitempty"`
	// Queued is since when it waits, by the store's clock. The queue tells it to who
	// does the job; it is not stored.
	Queued time.Time `json:"-"`
}

// Key identifies the job's cause: two jobs of the same key are the same work, and
// a queue holds one of them.
func (j Job) Key() string {
	parts := []string{j.Source, string(j.Trigger)}
	switch j.Trigger {
	case TriggerTick:
		parts = append(parts, j.Schedule, j.Tick.UTC().Format(time.RFC3339))
	case TriggerBackfill:
		parts = append(parts, j.Backfill)
	case TriggerPull, TriggerResume:
		parts = append(parts, strings.Join(j.Streams, ","))
	}
	return strings.Join(parts, " ")
}

// A Runner does a job and returns when it has ended, whatever its outcome: what
// failed is recorded with the run. It returns an error if the job has to be done
// again, by this agent or another: one that wraps ErrInterrupted after a shutdown,
// a *sink.Busy if the source is held elsewhere.
type Runner func(ctx context.Context, job Job) error

// ErrInterrupted says that a job was given up before its end, by a shutdown.
var ErrInterrupted = errors.New("the job was interrupted")

// A Queue holds jobs until an agent does them. It never does two jobs of one
// source at the same time.
type Queue interface {
	// Enqueue adds jobs, all or none, each unless one of the same key is queued or
	// being done. The trace of ctx goes with them.
	Enqueue(ctx context.Context, jobs ...Job) error
	// Work does jobs until drain is closed or ctx is cancelled. Closing drain takes
	// no more jobs and waits for those that are being done; cancelling ctx cancels
	// them too. What was interrupted stays in the queue.
	Work(ctx context.Context, drain <-chan struct{}, run Runner) error
	// Depth is how many jobs wait and how many are being done, by all agents.
	Depth(ctx context.Context) (Depth, error)
}

// A TickQueue is a queue that is part of the store. A tick that is taken then has
// its job from the first moment on, whenever an agent dies.
type TickQueue interface {
	Queue
	// DecideTicks decides ticks as sink.Schedules does, and adds the jobs of those that
	// are taken in the same transaction. Job may be called for a decision that is not
	// committed in the end.
	DecideTicks(ctx context.Context, schedules []sink.Undecided, job func(context.Context, sink.Tick) Job) ([]sink.Tick, error)
}

// Depth counts the jobs of a queue.
type Depth struct {
	Waiting int
	Running int
}
