package main

import (
	"context"
	"fmt"
	"time"

	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
)

// A serveLine is one thing that happened, as JSON. Scripts rely on it.
type serveLine struct {
	At       time.Time     `json:"at"`
	Event    string        `json:"event"`
	Source   string        `json:"source,omitempty"`
	Schedule string        `json:"schedule,omitempty"`
	Tick     *time.Time    `json:"tick,omitempty"`
	Late     *float64      `json:"late_seconds,omitempty"`
	Run      int64         `json:"run,omitempty"`
	Outcome  *sink.Outcome `json:"outcome,omitempty"`
	Slices   int           `json:"slices,omitempty"`
	Missing  int           `json:"missing,omitempty"`
	Rows     int64         `json:"rows,omitempty"`
	Message  string        `json:"message,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// line prints one line: JSON, or text for people.
func (s *server) line(l serveLine, text string) {
	l.At = time.Now().UTC()
	s.printing.Lock()
	defer s.printing.Unlock()
	if s.app.json() {
		if err := s.app.printJSONLine(l); err != nil {
			s.app.log.Warn("line not printed", "error", err)
		}
		return
	}
	if l.Error != "" {
		text += ": " + l.Error
	}
	s.app.printf("%s %s: %s\n", l.At.Local().Format(time.DateTime), l.Event, text)
}

func (s *server) tell(event string, err error, format string, args ...any) {
	l := serveLine{Event: event, Message: fmt.Sprintf(format, args...)}
	if err != nil {
		l.Error = err.Error()
	}
	s.line(l, l.Message)
}

// tellTick prints what became of a tick.
func (s *server) tellTick(t sink.Tick) {
	s.app.observed.metrics.Decided(context.Background(), t)
	tick, late := t.Tick.UTC(), t.DecidedAt.Sub(t.DueAt).Seconds()
	s.line(serveLine{
		Event: "tick " + string(t.Decision), Source: t.Source, Schedule: t.Schedule, Tick: &tick, Late: &late, Message: t.Reason,
	}, fmt.Sprintf("%s %s of %s: %s", t.Source, t.Schedule, tick.Format(time.DateTime+" MST"), t.Reason))
}

// tellRun prints how a run ended.
func (s *server) tellRun(res pull.Result) {
	l := serveLine{Event: "run " + string(res.Status), Source: res.Name, Run: res.Run, Outcome: &res.Status, Missing: res.Failures(), Rows: res.Counts.Rows}
	for _, stream := range res.Streams {
		l.Slices += stream.Slices
	}
	if err := res.FirstError(); err != nil {
		l.Error = err.Error()
	}
	s.line(l, fmt.Sprintf("%s run %d, %s landed, %d missing, %s", l.Source, l.Run, count(int64(l.Slices), "slice"), l.Missing, count(l.Rows, "row")))
}
