package config

import (
	"cmp"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Selected is a stream to pull, with the settings that hold for it: the
// configuration's where it has them, the connector's otherwise.
type Selected struct {
	Stream               connector.Stream
	Slice, Lookback, Lag connector.Span
	// Since is the earliest moment wanted; zero if the configuration has none.
	Since time.Time
	// Tolerance is the stream's own, completed by the source's.
	Tolerance Tolerance
	// LookbackEvery is how long ago a window within the lookback must have been
	// read to be read again; nil if the configuration does not say.
	LookbackEvery *connector.Span
	// Order is which slices are read first.
	Order Order
	// VanishBrake is the largest share of the rows that may vanish at once; nil if
	// the configuration does not say.
	VanishBrake *float64
	// Split is month or year; empty for one whole table.
	Split string
}

// A Scheduled is one of the schedules of a source, and what is read by it.
type Scheduled struct {
	// Key is the schedule's key below the source: schedule, deep_schedule,
	// streams.NAME.schedule.
	Key      string
	Schedule Schedule
	// Streams are the streams it is for; empty for those without their own.
	Streams []string
	// Deep asks for the deep re-read.
	Deep bool
}

// OwnSchedule is the key of the schedule that is for the streams without their own.
const OwnSchedule = "schedule"

// Schedules returns the schedules of the source, its own first.
func (s *Source) Schedules() []Scheduled {
	var all []Scheduled
	if !s.Schedule.IsZero() {
		all = append(all, Scheduled{Key: OwnSchedule, Schedule: s.Schedule})
	}
	if !s.DeepSchedule.IsZero() {
		all = append(all, Scheduled{Key: "deep_schedule", Schedule: s.DeepSchedule, Deep: true})
	}
	for _, named := range s.streams {
		if named.enabled && !named.schedule.IsZero() {
			all = append(all, Scheduled{
				Key: path{"streams", named.name, "schedule"}.String(), Schedule: named.schedule, Streams: []string{named.name},
			})
		}
	}
	return all
}

// Select returns the streams to pull out of those that the source offers: those
// that the configuration names, in its order, or else all that are not optional,
// in the connector's. Streams and settings that do not fit what is offered are
// returned as Problems, all at once.
func (s *Source) Select(streams []connector.Stream) ([]Selected, error) {
	if !s.named {
		var all []Selected
		for _, offered := range streams {
			if !offered.Optional {
				all = append(all, s.selected(offered, stream{}))
			}
		}
		return all, nil
	}
	offered := map[string]connector.Stream{}
	var names []string
	for _, o := range streams {
		offered[o.Name] = o
		names = append(names, o.Name)
	}
	var selected []Selected
	var problems Problems
	for _, named := range s.streams {
		o, ok := offered[named.name]
		if !ok {
			p := s.origins.of(named.at)
			p.Key = path{"sources", s.Name, "streams"}.String()
			p.Value, p.Message, p.Fix = shown(named.name), "the connector "+s.Connector+" has no such stream", didYouMean(named.name, names)
			problems = append(problems, p)
			continue
		}
		problems = append(problems, s.misfits(named, o)...)
		if named.enabled {
			selected = append(selected, s.selected(o, named))
		}
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return selected, nil
}

// misfits are the settings that have no meaning for the stream's mode.
func (s *Source) misfits(named stream, offered connector.Stream) Problems {
	var problems Problems
	for _, setting := range []struct {
		key   string
		given bool
		means bool
	}{
		{"slice", named.slice != nil, offered.Mode == connector.ModeWindow},
		{"lookback", named.lookback != nil, offered.Mode == connector.ModeWindow},
		{"lookback_every", named.lookbackEvery != nil, offered.Mode == connector.ModeWindow},
		{"order", named.order != "", offered.Mode == connector.ModeWindow},
		{"split", named.split != "", offered.Mode == connector.ModeWindow && offered.TimeColumn != ""},
		{"lag", named.lag != nil, offered.Mode == connector.ModeWindow},
		{"deep_lookback", named.deepLookback != nil, offered.Mode == connector.ModeWindow},
		{"vanish_brake", named.vanishBrake != nil, offered.Mode != connector.ModeCursor},
		{"since", named.since != nil, offered.Mode != connector.ModeSnapshot},
	} {
		if setting.given && !setting.means {
			p := s.origins.of(named.at.key(setting.key))
			p.Message, p.Fix = "has no meaning for a "+string(offered.Mode)+" stream", "remove it"
			if offered.Mode == connector.ModeWindow {
				p.Message = "has no meaning for a stream without a time column"
			}
			problems = append(problems, p)
		}
	}
	return problems
}

func (s *Source) selected(offered connector.Stream, named stream) Selected {
	sel := Selected{Stream: offered, Slice: offered.Slice, Lookback: offered.Lookback, Lag: offered.Lag, Since: s.Since, Tolerance: named.tolerance.or(s.Tolerance), VanishBrake: named.vanishBrake, Split: named.split}
	sel.LookbackEvery, sel.Order = cmp.Or(named.lookbackEvery, s.LookbackEvery), cmp.Or(named.order, s.Order)
	if named.slice != nil {
		sel.Slice = *named.slice
	}
	if named.lookback != nil {
		sel.Lookback = *named.lookback
	}
	if named.lag != nil {
		sel.Lag = *named.lag
	}
	if named.since != nil {
		sel.Since = *named.since
	}
	if named.deepLookback != nil {
		sel.Stream.DeepLookback = *named.deepLookback
	}
	return sel
}
