package pull_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A run that is drained begins no slice, lets the one that is being read go on to
// its checkpoint, and is interrupted; the next run reads what is missing from there.
func TestDrainedRunEndsAtTheNextCheckpoint(t *testing.T) {
	t.Parallel()
	drain := make(chan struct{})
	var read []string
	v := &vendor{streams: []connector.Stream{calls()}, pull: func(_ context.Context, req connector.Request, out connector.Emitter) error {
		read = append(read, req.Window.String()+" "+string(req.Cursor))
		if len(read) == 2 {
			close(drain)
		}
		for _, half := range []string{`{"half":1}`, `{"half":2}`} {
			if string(req.Cursor) >= half {
				continue
			}
			if err := emitCalls(req, out, 2); err != nil {
				return err
			}
			if err := out.Checkpoint(connector.Cursor(half)); err != nil {
				return err
			}
		}
		return nil
	}}
	f := newFixture(t, v)
	f.job.Drain = drain
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.Interrupted || len(read) != 2 || res.Streams[0].Slices != 1 || res.Streams[0].Failed != 0 {
		t.Errorf("%s, %v, read %q", show(res), err, read)
	}
	run, _, err := f.store.RunByID(t.Context(), res.Run)
	if err != nil || run.Outcome != sink.Interrupted {
		t.Errorf("recorded %+v, %v", run, err)
	}
	entries, err := f.store.Entries(t.Context(), "s")
	if err != nil || len(entries) != 2 {
		t.Fatalf("%+v, %v", entries, err)
	}
	f.job.Drain = nil
	if res, err = f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Errorf("%s, %v", show(res), err)
	}
	if len(read) != 4 || !strings.HasSuffix(read[2], ` {"half":1}`) {
		t.Errorf("read %q", read)
	}
}

func TestDrainedRunDoesNotWaitForARetry(t *testing.T) {
	t.Parallel()
	drain := make(chan struct{})
	v := &vendor{streams: []connector.Stream{calls()}, pull: func(context.Context, connector.Request, connector.Emitter) error {
		close(drain)
		return &connector.Error{Kind: connector.KindRateLimited, RetryAfter: 4 * time.Minute, Err: errors.New("later")}
	}}
	f := newFixture(t, v)
	f.job.Drain = drain
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Interrupted || res.Streams[0].Failed != 0 {
		t.Errorf("%s, %v", show(res), err)
	}
}

// What makes no progress is given up, also if it listens to nothing but its context;
// what waits because the vendor asked for it is not.
func TestStuckSliceFailsAndTheOthersLand(t *testing.T) {
	t.Parallel()
	slices := 0
	v := &vendor{streams: []connector.Stream{calls()}, pull: func(ctx context.Context, req connector.Request, out connector.Emitter) error {
		if slices++; slices == 2 {
			<-ctx.Done()
			return ctx.Err()
		}
		for range 15 {
			time.Sleep(100 * time.Millisecond)
			connector.RecordUsage(ctx, connector.Usage{Waited: 100 * time.Millisecond})
		}
		return emitCalls(req, out, 1)
	}}
	f := newFixture(t, v)
	f.puller.StuckAfter = time.Second
	res, err := f.run(t.Context())
	var stuck *pull.Stuck
	if err != nil || res.Status != sink.Incomplete || res.Streams[0].Slices != 2 || res.Streams[0].Failed != 1 || !errors.As(res.FirstError(), &stuck) {
		t.Errorf("%s, %v", show(res), err)
	}
	failed := 0
	entries, err := f.store.Entries(t.Context(), "s")
	for _, e := range entries {
		if e.State == ledger.Failed {
			failed++
			if !strings.Contains(e.Error, "stuck: no byte and no record for 1s") {
				t.Errorf("the ledger says %q", e.Error)
			}
		}
	}
	if err != nil || failed != 1 || slices != 3 {
		t.Errorf("%d slices failed, %d were read, %v", failed, slices, err)
	}
}

func TestJobIsAskedWhenTheSourceIsHeldAndToldBeforeItIsNot(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{calls()}, pull: func(_ context.Context, req connector.Request, out connector.Emitter) error {
		return emitCalls(req, out, 1)
	}}
	f := newFixture(t, v)
	held := func() bool {
		_, release, err := f.store.Lock(t.Context(), sink.Claim{Source: "s"})
		if err == nil {
			release()
		}
		return err != nil
	}
	open, told := true, []int64{}
	f.job.Begin = func(context.Context) (bool, error) { return open && held(), nil }
	f.job.End = func(_ context.Context, res pull.Result) error {
		if !held() {
			t.Error("told after the source was let go")
		}
		told = append(told, res.Run)
		return nil
	}
	first, err := f.run(t.Context())
	open = false
	second, secondErr := f.run(t.Context())
	if err != nil || secondErr != nil || first.Run == 0 || second.Run != 0 || len(told) != 1 || told[0] != first.Run {
		t.Errorf("runs %d and %d, told %v, %v %v", first.Run, second.Run, told, err, secondErr)
	}
}
