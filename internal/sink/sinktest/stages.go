package sinktest

import (
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// clocked begins an attempt that tells where its time goes.
func (s *store) clocked(t *testing.T) (sink.Attempt, sink.Writer) {
	t.Helper()
	s.prepare(t, calls)
	a := attempt(s.started(t, source, 1).ID, calls, day(0))
	a.Clock = &sink.Clock{}
	return a, s.begin(t, a)
}

var stageCases = map[string]func(*testing.T, Harness){
	"a read tells where its time went": func(t *testing.T, h Harness) {
		s := open(t, h)
		a, w := s.clocked(t)
		for _, key := range []string{"a", "b", "c"} {
			if err := w.Record([]byte(call(key, day(0).Since, 1))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Commit(t.Context(), connector.Usage{Requesting: time.Second, FetchingTokens: time.Minute}); err != nil {
			t.Fatal(err)
		}
		whole := a.Clock.Total()
		if whole.Decoding <= 0 || whole.Copying <= 0 || whole.Merging <= 0 || whole.Committing <= 0 {
			t.Errorf("a stage took no time: %+v", whole)
		}
		_, reads := s.run(t, a.Run)
		if len(reads) != 1 {
			t.Fatalf("reads %v", reads)
		}
		// The row is written before its transaction ends.
		got := reads[0].Stages
		if got.Decoding <= 0 || got.Copying <= 0 || got.Merging <= 0 || got.Merging > whole.Merging || got.Committing != 0 {
			t.Errorf("recorded %+v of %+v", got, whole)
		}
		if u := reads[0].Usage; u.Requesting != time.Second || u.FetchingTokens != time.Minute {
			t.Errorf("recorded %+v", u)
		}
	},

	"waiting for the table is no merging": func(t *testing.T, h Harness) {
		s := open(t, h)
		a, w := s.clocked(t)
		if err := w.Record([]byte(call("a", day(0).Since, 1))); err != nil {
			t.Fatal(err)
		}
		release := h.Hold(t, s.address, source, calls.Name)
		defer release()
		committed := make(chan error, 1)
		go func() {
			_, err := w.Commit(t.Context(), connector.Usage{})
			committed <- err
		}()
		const longer = 50 * time.Millisecond
		var first sink.Stages // when it waits
		for {
			now := a.Clock.Total()
			if first.Awaiting == 0 {
				first = now
			} else if now.Awaiting-first.Awaiting > longer {
				if now.Merging != first.Merging {
					t.Errorf("merging went on from %s to %s", first.Merging, now.Merging)
				}
				break
			}
			select {
			case err := <-committed:
				t.Fatalf("it did not wait: %v, %+v", err, now)
			case <-time.After(time.Millisecond):
			}
		}
		release()
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
		if _, reads := s.run(t, a.Run); len(reads) != 1 || reads[0].Stages.Awaiting <= longer || reads[0].Stages.Merging <= 0 {
			t.Errorf("recorded %+v", reads)
		}
	},

	"a failed read has the stages and the hint": func(t *testing.T, h Harness) {
		s := open(t, h)
		run := s.started(t, source, 1)
		a := attempt(run.ID, calls, day(0))
		a.Clock = &sink.Clock{}
		a.Clock.Add(sink.Stages{Decoding: time.Second, Committing: time.Minute})
		cause := &connector.Error{Kind: connector.KindAuth, Err: unavailable.Err, Hint: "check the credentials"}
		if err := s.Fail(t.Context(), a, connector.Usage{Requesting: time.Hour}, cause); err != nil {
			t.Fatal(err)
		}
		_, reads := s.run(t, a.Run)
		want := sink.Stages{Decoding: time.Second, Committing: time.Minute}
		if len(reads) != 1 || reads[0].Stages != want || reads[0].Usage.Requesting != time.Hour || reads[0].Hint != "check the credentials" {
			t.Errorf("recorded %+v", reads)
		}
	},
}
