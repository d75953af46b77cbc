package sinktest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/winchdata/winch/internal/sink"
)

var alertCases = map[string]func(*testing.T, Harness){
	"a webhook is told once": func(t *testing.T, h Harness) {
		s := open(t, h)
		key := sink.AlertKey{Alert: "ops", Source: source, Stream: "calls", Event: "drift"}
		other := key
		other.Alert = "team"
		for i, step := range []struct {
			do     func() (bool, error)
			change bool
		}{
			{func() (bool, error) { return s.ClearAlert(t.Context(), key) }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a") }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), other, "a") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a, b") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a, b") }, false},
			{func() (bool, error) { return s.ClearAlert(t.Context(), key) }, true},
			{func() (bool, error) { return s.ClearAlert(t.Context(), key) }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), other, "a") }, false},
		} {
			if got, err := step.do(); err != nil || got != step.change {
				t.Errorf("step %d: %v, %v, want %v", i, got, err, step.change)
			}
		}
	},
	"one of several agents tells it": func(t *testing.T, h Harness) {
		s := open(t, h)
		var told atomic.Int32
		var agents sync.WaitGroup
		for range 8 {
			agents.Go(func() {
				news, err := s.RaiseAlert(t.Context(), sink.AlertKey{Alert: "ops", Source: source, Event: "failure"}, "")
				if err != nil {
					t.Error(err)
				}
				if news {
					told.Add(1)
				}
			})
		}
		agents.Wait()
		if told.Load() != 1 {
			t.Errorf("%d told it", told.Load())
		}
	},
}
