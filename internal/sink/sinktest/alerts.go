package sinktest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
			{func() (bool, error) { return s.ClearAlert(t.Context(), key, "") }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a", "") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a", "") }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), other, "a", "") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a, b", "") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a, b", "") }, false},
			{func() (bool, error) { return s.ClearAlert(t.Context(), key, "") }, true},
			{func() (bool, error) { return s.ClearAlert(t.Context(), key, "") }, false},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), key, "a", "") }, true},
			{func() (bool, error) { return s.RaiseAlert(t.Context(), other, "a", "") }, false},
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
				news, err := s.RaiseAlert(t.Context(), sink.AlertKey{Alert: "ops", Source: source, Event: "failure"}, "", "")
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
	"what is news is told in its order, by one": func(t *testing.T, h Harness) {
		s := open(t, h)
		key := sink.AlertKey{Alert: "ops", Source: source, Event: "failure"}
		other := sink.AlertKey{Alert: "team", Source: source, Event: "failure"}
		for _, step := range []func() (bool, error){
			func() (bool, error) { return s.RaiseAlert(t.Context(), key, "", "1") },
			func() (bool, error) { return s.RaiseAlert(t.Context(), key, "", "no news") },
			func() (bool, error) { return s.RaiseAlert(t.Context(), other, "", "2") },
			func() (bool, error) { return s.ClearAlert(t.Context(), key, "3") },
			func() (bool, error) { return s.ClearAlert(t.Context(), key, "no news") },
			func() (bool, error) { return s.ClearAlert(t.Context(), other, "") },
		} {
			if _, err := step(); err != nil {
				t.Fatal(err)
			}
		}
		claim := func(alerts ...string) (messages string, all []sink.PendingAlert) {
			t.Helper()
			all, err := s.ClaimAlerts(t.Context(), alerts, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range all {
				messages += p.Alert + p.Message + " "
			}
			return messages, all
		}
		got, first := claim("ops", "nobody")
		if got != "ops1 ops3 " {
			t.Fatalf("claimed %q", got)
		}
		if got, _ := claim("ops", "team"); got != "team2 " {
			t.Errorf("claimed by another %q", got)
		}
		if _, err := s.RaiseAlert(t.Context(), key, "", "4"); err != nil {
			t.Fatal(err)
		}
		if got, _ := claim("ops"); got != "" {
			t.Errorf("claimed out of order: %q", got)
		}
		if err := s.AlertTold(t.Context(), first[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := s.ReleaseAlerts(t.Context(), []int64{first[1].ID}); err != nil {
			t.Fatal(err)
		}
		if got, _ := claim("ops"); got != "ops3 ops4 " {
			t.Errorf("after one was told and one was not: %q", got)
		}
	},
	"what a dead agent did not tell another tells": func(t *testing.T, h Harness) {
		s := open(t, h)
		if _, err := s.RaiseAlert(t.Context(), sink.AlertKey{Alert: "ops", Source: source, Event: "failure"}, "", "m"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a claim that is over keeps nobody back
			if got, err := s.ClaimAlerts(t.Context(), []string{"ops"}, -time.Second); err != nil || len(got) != 1 || got[0].Message != "m" {
				t.Errorf("%v, %v", got, err)
			}
		}
	},
	"of several agents one tells it": func(t *testing.T, h Harness) {
		s := open(t, h)
		if _, err := s.RaiseAlert(t.Context(), sink.AlertKey{Alert: "ops", Source: source, Event: "failure"}, "", "m"); err != nil {
			t.Fatal(err)
		}
		var claimed atomic.Int32
		var agents sync.WaitGroup
		for range 8 {
			agents.Go(func() {
				got, err := s.ClaimAlerts(t.Context(), []string{"ops"}, time.Hour)
				if err != nil {
					t.Error(err)
				}
				claimed.Add(int32(len(got)))
			})
		}
		agents.Wait()
		if claimed.Load() != 1 {
			t.Errorf("%d claimed it", claimed.Load())
		}
	},
}
