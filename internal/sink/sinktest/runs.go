package sinktest

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// started returns a run that goes on.
func (s *store) started(t *testing.T, source string, n int) sink.Run {
	t.Helper()
	r := sink.Run{
		Source: source, Connector: "shop", Trigger: "pull",
		StartedAt: begun(int64(n)), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7",
	}
	id, err := s.StartRun(t.Context(), r)
	if err != nil {
		t.Fatal("start run:", err)
	}
	r.ID = id
	return r
}

// run returns the run as it is at rest, its times in UTC.
func (s *store) run(t *testing.T, id int64) (sink.Run, []sink.Read) {
	t.Helper()
	r, reads, err := s.RunByID(t.Context(), id)
	if err != nil {
		t.Fatal("run:", err)
	}
	return r, reads
}

var runCases = map[string]func(*testing.T, Harness){
	"a run goes on until it ends": func(t *testing.T, h Harness) {
		s := open(t, h)
		r := s.started(t, source, 1)
		got, reads := s.run(t, r.ID)
		if diff := gocmp.Diff(r, got); diff != "" || len(reads) != 0 {
			t.Errorf("started (-want +got):\n%s\nreads %v", diff, reads)
		}
		r.RunEnd = sink.RunEnd{
			EndedAt: begun(9).Add(123456 * time.Microsecond), Outcome: sink.Incomplete, Slices: 3, Failed: 2,
			Counts: ledger.Counts{Rows: 6, Inserted: 1, Updated: 2, Unchanged: 3, Deleted: 4},
			Usage:  usage, ErrorKind: connector.KindRateLimited, Error: "calls: 429 Too Many Requests", Hint: "wait",
			Stages: sink.Stages{Decoding: time.Second, Copying: 2 * time.Second, Merging: 3 * time.Second, Committing: 4 * time.Microsecond, Awaiting: 5 * time.Second},
		}
		r.Usage.Requesting, r.Usage.FetchingTokens = 5*time.Minute, 6*time.Millisecond
		if err := s.FinishRun(t.Context(), r.ID, r.RunEnd); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.run(t, r.ID); gocmp.Diff(r, got) != "" {
			t.Errorf("ended (-want +got):\n%s", gocmp.Diff(r, got))
		}
	},

	// I4
	"a run keeps its first outcome": func(t *testing.T, h Harness) {
		s := open(t, h)
		r := s.started(t, source, 1)
		for _, outcome := range []sink.Outcome{sink.Succeeded, sink.FailedRun} {
			if err := s.FinishRun(t.Context(), r.ID, sink.RunEnd{EndedAt: begun(2), Outcome: outcome}); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := s.run(t, r.ID); got.Outcome != sink.Succeeded {
			t.Errorf("outcome %s", got.Outcome)
		}
	},

	"every outcome can be recorded": func(t *testing.T, h Harness) {
		s := open(t, h)
		for i, outcome := range []sink.Outcome{sink.Succeeded, sink.Incomplete, sink.FailedRun, sink.Interrupted, sink.Lost} {
			r := s.started(t, source, i)
			if err := s.FinishRun(t.Context(), r.ID, sink.RunEnd{EndedAt: begun(int64(i + 1)), Outcome: outcome}); err != nil {
				t.Fatal(err)
			}
			if got, _ := s.run(t, r.ID); got.Outcome != outcome || !got.EndedAt.Equal(begun(int64(i+1))) {
				t.Errorf("want %s, got %+v", outcome, got.RunEnd)
			}
		}
	},

	"runs come newest first, of one source or of all, up to a limit": func(t *testing.T, h Harness) {
		s := open(t, h)
		var all, mine []int64
		for i := range 6 {
			name := source
			if i%3 == 0 {
				name = "other"
			}
			r := s.started(t, name, i)
			all = append([]int64{r.ID}, all...)
			if name == source {
				mine = append([]int64{r.ID}, mine...)
			}
		}
		for _, c := range []struct {
			source string
			limit  int
			want   []int64
		}{{"", 10, all}, {"", 4, all[:4]}, {source, 10, mine}, {source, 1, mine[:1]}, {"nobody", 10, nil}} {
			runs, err := s.Runs(t.Context(), c.source, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range runs {
				got = append(got, r.ID)
			}
			if diff := gocmp.Diff(c.want, got); diff != "" {
				t.Errorf("source %q, limit %d (-want +got):\n%s", c.source, c.limit, diff)
			}
		}
	},

	"a run that is not there": func(t *testing.T, h Harness) {
		s := open(t, h)
		if _, _, err := s.RunByID(t.Context(), 4711); !errors.Is(err, sink.ErrNoRun) {
			t.Errorf("read: want %v, got %v", sink.ErrNoRun, err)
		}
		end := sink.RunEnd{EndedAt: begun(1), Outcome: sink.Succeeded}
		if err := s.FinishRun(t.Context(), 4711, end); !errors.Is(err, sink.ErrNoRun) {
			t.Errorf("finish: want %v, got %v", sink.ErrNoRun, err)
		}
	},

	"a run knows its reads in the order they ended": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		r, other := s.started(t, source, 1), s.started(t, source, 2)
		s.land(t, attempt(r.ID, calls, day(1)), call("b", day(1).Since, 1), call("c", day(1).Since, 1))
		s.land(t, attempt(other.ID, calls, day(2)))
		s.fail(t, attempt(r.ID, calls, day(0)), unavailable)
		got, reads := s.run(t, r.ID)
		if got.Slices != 0 || len(reads) != 2 {
			t.Fatalf("run %+v, reads %+v", got, reads)
		}
		for i, want := range []sink.Read{
			{
				Run: r.ID, Slice: attempt(0, calls, day(1)).Slice, State: ledger.Held, StartedAt: begun(r.ID),
				Counts: ledger.Counts{Rows: 2, Inserted: 2}, Usage: connector.Usage{Requests: 2},
			},
			{
				Run: r.ID, Slice: attempt(0, calls, day(0)).Slice, State: ledger.Failed, StartedAt: begun(r.ID),
				Usage: connector.Usage{Requests: 5}, ErrorKind: connector.KindUnavailable, Error: unavailable.Error(),
			},
		} {
			if reads[i].EndedAt.IsZero() {
				t.Errorf("read %d has no end", i)
			}
			want.EndedAt = reads[i].EndedAt
			if diff := gocmp.Diff(want, reads[i]); diff != "" {
				t.Errorf("read %d (-want +got):\n%s", i, diff)
			}
		}
	},
}
