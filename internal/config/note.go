package config

import (
	"fmt"
	"time"
)

// Note says what the clock does at a tick of the schedule, if that is unusual: the
// tick stands for times that the clock skips, or the clock shows its time twice.
func (s Schedule) Note(tick time.Time) string {
	tick = tick.In(s.Location())
	from, to := tick.ZoneBounds()
	if from.Equal(tick) && !s.shows(tick) {
		return fmt.Sprintf("the clock jumps from %s to %s: due at the jump", wallClock(from).Add(-shift(from)).Format("15:04"), from.Format("15:04"))
	}
	if !to.IsZero() {
		// What the clock shows again after it is put back.
		if again := tick.Add(-shift(to)); shift(to) < 0 && !again.Before(to) && wallClock(again).Equal(wallClock(tick)) {
			return "the clock shows this time twice: the first"
		}
	}
	if back := shift(from); !from.IsZero() && back < 0 && tick.Add(back).Before(from) {
		return "the clock shows this time twice: the second"
	}
	return ""
}

// shift is by how much clocks are put forward at a change of the zone.
func shift(change time.Time) time.Duration {
	_, before := change.Add(-1).Zone()
	_, after := change.Zone()
	return time.Duration(after-before) * time.Second
}

// shows reports whether the schedule names the time that the clock shows.
func (s Schedule) shows(tick time.Time) bool {
	c, ok := s.calendar.(byClock)
	if !ok {
		return true
	}
	wall := wallClock(tick)
	return c.cron.Next(wall.Add(-time.Second)).Equal(wall)
}
