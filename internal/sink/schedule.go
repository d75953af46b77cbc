package sink

import (
	"context"
	"time"
)

// A Decision says what became of a tick.
type Decision string

// The decisions.
const (
	Taken   Decision = "taken"   // the source is pulled for it
	Skipped Decision = "skipped" // it is not; the reason says why
)

// A Schedule is a schedule of a source, as an agent has it in its configuration.
type Schedule struct {
	Source string
	// Name is the schedule's key in the configuration of the source: schedule,
	// deep_schedule, streams.NAME.schedule.
	Name string
	// Expression is what it says, with its time zone.
	Expression string
}

// A Tick is one moment of a schedule, and what was decided about it. Source,
// Schedule and Tick identify it.
type Tick struct {
	Source   string
	Schedule string
	Tick     time.Time // by the schedule alone, to the second
	DueAt    time.Time // with the source's jitter

	Decision  Decision
	Reason    string    // for people: why it was taken or skipped
	DecidedAt time.Time // by the store's clock
	Agent     string    // who decided

	// Run is the run that was made for it, once it has ended.
	Run int64
	// DoneAt is when the work of a taken tick had ended, well or not; zero while it
	// is queued or being done. A skipped tick is done when it is decided.
	DoneAt time.Time
}

// TickState is what a decision about ticks may rest on, as of one moment.
type TickState struct {
	// Now is the store's clock.
	Now time.Time
	// Decided are the ticks of the schedule that are decided already, from the
	// moment asked for on.
	Decided []time.Time
	// Open are the ticks of the schedule that were taken and are not done, the
	// oldest first.
	Open []Tick
	// Running is the run that holds the source, nil if none does.
	Running *Run
	// PausedAt is when the source was paused; zero if it is not.
	PausedAt time.Time
}

// An Undecided is a schedule that has ticks to decide, and how.
type Undecided struct {
	Source   string
	Schedule string // its name
	// From is the moment from which on its ticks may be undecided.
	From time.Time
	// Decide says what becomes of them. It does not call the store, and may be called
	// again.
	Decide func(TickState) []Tick
}

// Schedules keeps what was decided about ticks, so that each is decided once
// whoever decides and whoever dies.
type Schedules interface {
	// Serve takes the right to run the schedules of the store until release or the
	// end of the process. Of a store that one agent has for itself it is exclusive,
	// also against pulls by others, and a *Busy error without source says who holds
	// it; a store that agents share grants it to any number.
	Serve(ctx context.Context) (release func(), err error)

	// Now returns the store's clock: the one clock that all agents share.
	Now(ctx context.Context) (time.Time, error)

	// RegisterSchedules records the schedules that are in force and returns for
	// each since when its ticks count: its last decided tick, or, if it is new or
	// its expression has changed, the moment of that. So no past is invented.
	RegisterSchedules(ctx context.Context, schedules []Schedule) (since []time.Time, err error)

	// DecideTicks decides ticks of some schedules in one transaction: all of them are
	// recorded or none. Others who decide ticks of the same sources wait. For each
	// schedule it reads the state, calls Decide, and records the ticks that Decide
	// returns. A tick that is decided already is left as it is; the others are
	// returned with DecidedAt, in their order.
	DecideTicks(ctx context.Context, schedules []Undecided) ([]Tick, error)

	// FinishTick records that the work of a taken tick has ended, by which run (0:
	// none was made). A tick that is done stays as it is.
	FinishTick(ctx context.Context, source, schedule string, tick time.Time, run int64) error

	// TickOpen reports whether the tick was taken and is not done.
	TickOpen(ctx context.Context, source, schedule string, tick time.Time) (bool, error)

	// OpenTicks returns the ticks that were taken and are not done, the oldest
	// first, of all sources.
	OpenTicks(ctx context.Context) ([]Tick, error)

	// Ticks returns the newest ticks first, of one source or of all if it is empty.
	Ticks(ctx context.Context, source string, limit int) ([]Tick, error)

	// PauseSource skips the source's ticks from now on until ResumeSource. Both
	// report whether they changed anything.
	PauseSource(ctx context.Context, source string) (changed bool, err error)
	ResumeSource(ctx context.Context, source string) (changed bool, err error)
	// PausedSources returns since when the paused sources are.
	PausedSources(ctx context.Context) (map[string]time.Time, error)
}
