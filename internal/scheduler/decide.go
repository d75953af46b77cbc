package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

const (
	// missedAfter is how late a tick is missed: nobody was there to decide it, and
	// the catch-up policy says what becomes of it.
	missedAfter = time.Minute
	// mostMissed is how many missed ticks of one schedule have a row of their own.
	// What is older is one row.
	mostMissed = 10_000
)

// decide says what becomes of the ticks of a schedule that are due and undecided,
// of those after the moment from. It is a function of its arguments alone. The
// ticks come in order; through is the last one that was looked at.
func (s *Schedule) decide(from time.Time, state sink.TickState, agent string) (ticks []sink.Tick, through time.Time) {
	candidates, older, through := s.candidates(from, state)
	missed := 0
	for missed < len(candidates) && state.Now.Sub(s.due(candidates[missed])) > missedAfter {
		missed++
	}
	busy := s.busy(state)
	for i, at := range candidates {
		t := sink.Tick{Source: s.Source, Schedule: s.Name, Tick: at, DueAt: s.due(at), Agent: agent, Decision: sink.Skipped}
		late := state.Now.Sub(t.DueAt).Truncate(time.Second)
		switch {
		case !state.PausedAt.IsZero():
			t.Reason = "the source is paused since " + moment(state.PausedAt)
		case i < missed && s.CatchUp == CatchUpNone:
			t.Reason = fmt.Sprintf("missed: no agent decided it for %s, and catch_up is none", late)
		case i < missed && s.CatchUp == CatchUpOnce && i < len(candidates)-1:
			t.Reason = fmt.Sprintf("missed: no agent decided it for %s; a later tick makes up for it", late)
		case i < missed && s.CatchUp == CatchUpAll:
			t.Decision, t.Reason = sink.Taken, fmt.Sprintf("caught up: no agent decided it for %s", late)
		case busy != "" && s.Overlap != OverlapQueue:
			t.Reason = busy
		case i < missed:
			t.Decision, t.Reason = sink.Taken, fmt.Sprintf("caught up: no agent decided it for %s", late)
		case busy != "":
			t.Decision, t.Reason = sink.Taken, "queued: "+busy
		default:
			t.Decision, t.Reason = sink.Taken, "on time"
		}
		if t.Decision == sink.Taken {
			busy = "the tick of " + moment(at) + " is queued"
		}
		ticks = append(ticks, t)
	}
	if older.count > 0 {
		t := sink.Tick{Source: s.Source, Schedule: s.Name, Tick: older.first, DueAt: s.due(older.first), Agent: agent, Decision: sink.Skipped}
		t.Reason = fmt.Sprintf("missed, with all ticks until %s: %d in all, too many for a row each", moment(older.last), older.count)
		ticks = append([]sink.Tick{t}, ticks...)
	}
	return ticks, through
}

// span is the ticks that have no row of their own.
type span struct {
	first, last time.Time
	count       int
}

// candidates returns the due ticks that are not decided, the newest mostMissed of
// them, and through which tick it looked.
func (s *Schedule) candidates(from time.Time, state sink.TickState) (ticks []time.Time, older span, through time.Time) {
	decided := make(map[int64]bool, len(state.Decided))
	for _, at := range state.Decided {
		decided[at.Unix()] = true
	}
	through = from
	for at := s.Next(from); !at.IsZero() && !s.due(at).After(state.Now); at = s.Next(at) {
		through = at
		if decided[at.Unix()] {
			continue
		}
		ticks = append(ticks, at.UTC())
		// Cut now and then and not for each, which would move all the others.
		if len(ticks) == 2*mostMissed {
			older.add(ticks[:mostMissed])
			ticks = slices.Clone(ticks[mostMissed:])
		}
	}
	if n := len(ticks) - mostMissed; n > 0 {
		older.add(ticks[:n])
		ticks = ticks[n:]
	}
	return ticks, older, through
}

func (o *span) add(ticks []time.Time) {
	if o.count == 0 {
		o.first = ticks[0]
	}
	o.last = ticks[len(ticks)-1]
	o.count += len(ticks)
}

// busy says why a tick would overlap with what is under way; empty if it would
// not: an earlier tick of the schedule, or a pull by hand, which reads the same.
// Other schedules of the source and backfills do not count: the tick waits its turn
// behind them.
func (s *Schedule) busy(state sink.TickState) string {
	running := state.Running
	switch {
	case running != nil && len(state.Open) > 0:
		return fmt.Sprintf("run %d of the source is running, and the tick of %s is not done", running.ID, moment(state.Open[0].Tick))
	case len(state.Open) > 0:
		return fmt.Sprintf("the tick of %s is queued", moment(state.Open[0].Tick))
	case running != nil && running.Trigger == string(TriggerPull) && !s.Deep:
		return fmt.Sprintf("run %d of the source is running, by hand", running.ID)
	}
	return ""
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
