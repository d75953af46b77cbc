package sinktest

import (
	"context"
	"errors"
	"testing"

	"github.com/winchdata/winch/internal/sink"
)

var leaseCases = map[string]func(*testing.T, Harness){
	"of the sources that share a budget one is held at a time": func(t *testing.T, h Harness) {
		s := open(t, h)
		take := func(source, budget string) (func(), error) {
			_, release, err := s.Lock(t.Context(), sink.Claim{Source: source, Budget: budget})
			return release, err
		}
		one, err := take("one", "account")
		if err != nil {
			t.Fatal(err)
		}
		var busy *sink.Busy
		if _, err := take("two", "account"); !errors.As(err, &busy) || busy.Source != "two" || busy.Held != "one" {
			t.Errorf("two of one budget: want a *sink.Busy, got %v", err)
		}
		for _, c := range []sink.Claim{{Source: "three", Budget: "other"}, {Source: "four"}, {Source: "five"}} {
			release, err := take(c.Source, c.Budget)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			defer release()
		}
		one()
		two, err := take("two", "account")
		if err != nil {
			t.Fatal(err)
		}
		two()
	},

	"what is held ends with the caller's context and with release": func(t *testing.T, h Harness) {
		s := open(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		held, release, err := s.Lock(ctx, sink.Claim{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		if held.Err() != nil {
			t.Error("it ended at once:", context.Cause(held))
		}
		cancel()
		<-held.Done()
		release()
		held, release, err = s.Lock(t.Context(), sink.Claim{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		release()
		<-held.Done()
	},

	"a run is cancelled from another process": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		held, release, err := s.Lock(t.Context(), sink.Claim{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ended := s.started(t, "elsewhere", 1)
		if err := s.FinishRun(t.Context(), ended.ID, sink.RunEnd{EndedAt: begun(2), Outcome: sink.Succeeded}); err != nil {
			t.Fatal(err)
		}
		if asked, err := other.CancelRun(t.Context(), ended.ID); asked || err != nil {
			t.Errorf("a run that has ended: %t, %v", asked, err)
		}
		if _, err := other.CancelRun(t.Context(), ended.ID+100); !errors.Is(err, sink.ErrNoRun) {
			t.Errorf("want ErrNoRun, got %v", err)
		}
		run := s.started(t, source, 3)
		if asked, err := other.CancelRun(t.Context(), run.ID); !asked || err != nil {
			t.Fatalf("a run that goes on: %t, %v", asked, err)
		}
		<-held.Done()
		if cause := context.Cause(held); !errors.Is(cause, sink.ErrCancelled) {
			t.Errorf("want ErrCancelled, got %v", cause)
		}
		// The next run of the source is not meant.
		if err := s.FinishRun(t.Context(), run.ID, sink.RunEnd{EndedAt: begun(4), Outcome: sink.Interrupted}); err != nil {
			t.Fatal(err)
		}
		release()
		next, release, err := s.Lock(t.Context(), sink.Claim{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		s.started(t, source, 5)
		if next.Err() != nil {
			t.Error("the next run was cancelled too")
		}
	},

	"agents say what they hold": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		if agents, err := other.Agents(t.Context()); err != nil || len(agents) != 0 {
			t.Errorf("before anybody works: %+v, %v", agents, err)
		}
		defer lock(t, s, source)()
		run := s.started(t, source, 1)
		agents, err := other.Agents(t.Context())
		if err != nil || len(agents) != 1 {
			t.Fatalf("agents %+v, error %v", agents, err)
		}
		a := agents[0]
		if !a.Alive || a.PID == 0 || a.SeenAt.IsZero() || len(a.Holds) != 1 || a.Holds[0].Source != source || a.Holds[0].Run != run.ID || a.Holds[0].Since.IsZero() {
			t.Errorf("agent %+v", a)
		}
	},
}
