package pull_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

var now = time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)

// vendor is a source made of functions, one for each stream.
type vendor struct {
	streams    []connector.Stream
	partitions []string
	pull       func(ctx context.Context, req connector.Request, out connector.Emitter) error
}

func (v *vendor) Streams(context.Context) ([]connector.Stream, error) { return v.streams, nil }

func (v *vendor) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	return v.pull(ctx, req, out)
}

func (v *vendor) Partitions(context.Context, string) ([]string, error) { return v.partitions, nil }

func customers() connector.Stream {
	return connector.Stream{
		Name: "customers", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "name", Type: connector.TypeText}},
	}
}

func calls() connector.Stream {
	return connector.Stream{
		Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "day", Slice: connector.Days(1),
		Columns: []connector.Column{{Name: "id", Type: connector.TypeText}, {Name: "day", Type: connector.TypeDate}},
	}
}

// emitCalls emits n calls of the window's day.
func emitCalls(req connector.Request, out connector.Emitter, n int) error {
	day := req.Window.Since.Format(time.DateOnly)
	for i := range n {
		if err := out.Record(fmt.Appendf(nil, `{"id":"%s-%s-%d","day":"%s"}`, req.Partition, day, i, day)); err != nil {
			return err
		}
	}
	return nil
}

// fixture is a store and a job that reads three days of calls.
type fixture struct {
	*testing.T
	store  sink.Sink
	puller *pull.Puller
	job    pull.Job
	opened int
	events []pull.Event
}

func newFixture(t *testing.T, v *vendor) *fixture {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "winch.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, store: store}
	var mu sync.Mutex
	f.puller = &pull.Puller{
		Sink: store, Log: slog.New(slog.DiscardHandler), Slices: 1, Backoff: time.Microsecond,
		Observe: func(e pull.Event) { mu.Lock(); f.events = append(f.events, e); mu.Unlock() },
	}
	f.job = pull.Job{
		Source: "s", Connector: "toy", Trigger: "pull", AsOf: now,
		Open: func(context.Context) (*pull.Session, error) {
			f.opened++
			return &pull.Session{Source: v, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
		},
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			var all []ledger.Want
			for _, s := range offered {
				all = append(all, ledger.Want{Source: "s", Stream: s, Since: now.AddDate(0, 0, -3).Truncate(24 * time.Hour), Slice: s.Slice})
			}
			return all, nil
		},
	}
	return f
}

func (f *fixture) run(ctx context.Context) (pull.Result, error) {
	f.Helper()
	return f.puller.Run(ctx, f.job)
}

// show tells a result in the words of a test.
func show(res pull.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", res.Status)
	for _, s := range res.Streams {
		fmt.Fprintf(&b, "%s: %s, %d of %d slices, %d failed, %d skipped, %d rows", s.Name, s.Status, s.Slices, s.Due, s.Failed, s.Skipped, s.Counts.Rows)
		if s.Err != nil {
			fmt.Fprintf(&b, ": %v", s.Err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (f *fixture) expect(res pull.Result, want string) {
	f.Helper()
	if diff := cmp.Diff(want, show(res)); diff != "" {
		f.Errorf("result (-want +got):\n%s", diff)
	}
	recorded, reads, err := f.store.RunByID(context.WithoutCancel(f.Context()), res.Run)
	if err != nil {
		f.Fatal(err)
	}
	if recorded.Outcome != res.Status || recorded.Counts != res.Counts || recorded.EndedAt.IsZero() {
		f.Errorf("recorded run: %+v, want outcome %s and counts %+v", recorded, res.Status, res.Counts)
	}
	held := 0
	for _, r := range reads {
		if r.State == ledger.Held {
			held++
		}
	}
	if int64(held) != recorded.Slices {
		f.Errorf("%d reads are held, the run says %d slices", held, recorded.Slices)
	}
}

func TestRunLandsEverythingThatIsDue(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{customers(), calls()}}
	v.pull = func(ctx context.Context, req connector.Request, out connector.Emitter) error {
		connector.RecordUsage(ctx, connector.Usage{Requests: 2, Retries: 1})
		if req.Stream == "calls" {
			return emitCalls(req, out, 10)
		}
		return errors.Join(out.Record([]byte(`{"id":1,"name":"a"}`)), out.Record([]byte(`{"id":"2"}`)))
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "succeeded\ncustomers: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 2 rows\ncalls: succeeded, 3 of 3 slices, 0 failed, 0 skipped, 30 rows\n")
	if want := (connector.Usage{Requests: 8, Retries: 4}); res.Usage != want {
		t.Errorf("usage %+v, want %+v", res.Usage, want)
	}
	again, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(again, "succeeded\ncustomers: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 2 rows\ncalls: succeeded, 0 of 0 slices, 0 failed, 0 skipped, 0 rows\n")
	if again.Counts.Unchanged != 2 {
		t.Errorf("second run: %+v, want 2 unchanged", again.Counts)
	}
}

func TestFailingSliceLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{calls(), customers()}}
	attempts, broken := 0, true
	v.pull = func(_ context.Context, req connector.Request, out connector.Emitter) error {
		if req.Stream == "calls" && req.Window.Since.Day() == 2 && broken {
			attempts++
			return &connector.Error{Kind: connector.KindBadResponse, Op: "page 3", Err: errors.New("want JSON, got HTML")}
		}
		if req.Stream == "customers" {
			return nil
		}
		return emitCalls(req, out, 1)
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "incomplete\ncalls: incomplete, 2 of 3 slices, 1 failed, 0 skipped, 2 rows: s/calls 2026-03-02..2026-03-03: page 3: want JSON, got HTML\ncustomers: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 0 rows\n")
	if attempts != 2 {
		t.Errorf("an unreadable answer was asked for %d times, want 2", attempts)
	}
	broken = false
	res, err = f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "succeeded\ncalls: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 1 rows\ncustomers: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 0 rows\n")
}

func TestWrongCredentialsStopTheRun(t *testing.T) {
	t.Parallel()
	calledFor := 0
	v := &vendor{streams: []connector.Stream{calls(), customers()}}
	v.pull = func(context.Context, connector.Request, connector.Emitter) error {
		calledFor++
		return &connector.Error{Kind: connector.KindAuth, Op: "token", Err: errors.New("invalid_client"), Hint: "check client_secret"}
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if connector.KindOf(err) != connector.KindAuth || connector.HintOf(err) != "check client_secret" {
		t.Errorf("run error %v, want the connector's", err)
	}
	if calledFor != 1 {
		t.Errorf("the vendor was asked %d times with wrong credentials", calledFor)
	}
	if res.Status != sink.FailedRun {
		t.Errorf("status %s, want failed", res.Status)
	}
}

func TestForbiddenPartitionLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{calls()}, partitions: []string{"a", "b"}}
	askedForB := 0
	v.pull = func(_ context.Context, req connector.Request, out connector.Emitter) error {
		if req.Partition == "b" {
			askedForB++
			return &connector.Error{Kind: connector.KindForbidden, Op: "brand b", Err: errors.New("403")}
		}
		return emitCalls(req, out, 1)
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "incomplete\ncalls: incomplete, 3 of 6 slices, 1 failed, 2 skipped, 3 rows: s/calls[b] 2026-03-03..2026-03-04: brand b: 403\n")
	if askedForB != 1 {
		t.Errorf("the forbidden partition was asked for %d times, want once", askedForB)
	}
}

func TestRateLimitIsNoAttempt(t *testing.T) {
	t.Parallel()
	refused := 0
	v := &vendor{streams: []connector.Stream{customers()}}
	v.pull = func(context.Context, connector.Request, connector.Emitter) error {
		if refused++; refused <= 10 {
			return &connector.Error{Kind: connector.KindRateLimited, Op: "list", Err: errors.New("429"), RetryAfter: time.Microsecond}
		}
		return nil
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.Succeeded {
		t.Errorf("status %s, error %v after ten refusals, want succeeded", res.Status, err)
	}
}

func TestUnavailableVendorIsGivenUpAfterSomeAttempts(t *testing.T) {
	t.Parallel()
	attempts := 0
	v := &vendor{streams: []connector.Stream{customers()}}
	v.pull = func(context.Context, connector.Request, connector.Emitter) error {
		attempts++
		return &connector.Error{Kind: connector.KindUnavailable, Op: "list", Err: errors.New("503")}
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.FailedRun || attempts != 2 {
		t.Errorf("status %s, error %v after %d attempts, want failed after 2", res.Status, err, attempts)
	}
	entries, err := f.store.Entries(t.Context(), "s")
	if err != nil || len(entries) != 1 || entries[0].State != ledger.Failed || entries[0].ErrorKind != connector.KindUnavailable {
		t.Errorf("ledger %+v, %v: want one failed slice", entries, err)
	}
}

func TestDeadProcessIsReplaced(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{customers()}}
	f := newFixture(t, v)
	dead := false
	v.pull = func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		if err := out.Record([]byte(`{"id":1}`)); err != nil {
			return err
		}
		if f.opened == 1 {
			dead = true
			return &connector.Error{Kind: connector.KindUnavailable, Op: "connector toy", Err: errors.New("killed")}
		}
		return nil
	}
	open := f.job.Open
	f.job.Open = func(ctx context.Context) (*pull.Session, error) {
		session, err := open(ctx)
		first := f.opened == 1
		session.Alive = func() bool { return !first || !dead }
		return session, err
	}
	res, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "succeeded\ncustomers: succeeded, 1 of 1 slices, 0 failed, 0 skipped, 1 rows\n")
	if f.opened != 2 {
		t.Errorf("opened %d sessions, want 2", f.opened)
	}
}

func TestInterruptedRunGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var read []string
	v := &vendor{streams: []connector.Stream{calls()}}
	v.pull = func(ctx context.Context, req connector.Request, out connector.Emitter) error {
		read = append(read, req.Window.String())
		if err := emitCalls(req, out, 5); err != nil {
			return err
		}
		if len(read) == 2 {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	f := newFixture(t, v)
	res, err := f.run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the cancellation", err)
	}
	f.expect(res, "interrupted\ncalls: interrupted, 1 of 3 slices, 0 failed, 0 skipped, 5 rows\n")
	res, err = f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.expect(res, "succeeded\ncalls: succeeded, 2 of 2 slices, 0 failed, 0 skipped, 10 rows\n")
	want := []string{"2026-03-03..2026-03-04", "2026-03-02..2026-03-03", "2026-03-02..2026-03-03", "2026-03-01..2026-03-02"}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("windows read (-want +got):\n%s", diff)
	}
}

func TestRetryGoesOnFromTheLastCheckpoint(t *testing.T) {
	t.Parallel()
	stream := customers()
	stream.Mode = connector.ModeCursor
	var cursors []string
	v := &vendor{streams: []connector.Stream{stream}}
	v.pull = func(_ context.Context, req connector.Request, out connector.Emitter) error {
		cursors = append(cursors, string(req.Cursor))
		first := 0
		if len(req.Cursor) > 0 {
			first = 10
		}
		for id := range 10 {
			if err := out.Record(fmt.Appendf(nil, `{"id":%d}`, first+id)); err != nil {
				return err
			}
		}
		if err := out.Checkpoint(connector.Cursor(fmt.Sprintf(`{"next":%d}`, first+10))); err != nil {
			return err
		}
		if first == 0 {
			return errors.New("connection reset")
		}
		return nil
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.Succeeded {
		t.Fatalf("%s, %v", show(res), err)
	}
	if diff := cmp.Diff([]string{"", `{"next":10}`}, cursors); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	entries, err := f.store.Entries(t.Context(), "s")
	if err != nil || len(entries) != 1 || string(entries[0].Cursor) != `{"next":20}` {
		t.Errorf("ledger %+v, %v: want the last cursor", entries, err)
	}
}

func TestSnapshotThatCheckpointsIsRefused(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{customers()}}
	v.pull = func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		return out.Checkpoint(connector.Cursor(`{}`))
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.FailedRun {
		t.Errorf("status %s, %v: want failed", res.Status, err)
	}
}

func TestSourceThatIsBeingPulledIsBusy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, &vendor{})
	_, release, err := f.store.Lock(t.Context(), sink.Claim{Source: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = f.run(t.Context())
	var busy *sink.Busy
	if !errors.As(err, &busy) || f.opened != 0 {
		t.Errorf("error %v after %d openings, want Busy before anything", err, f.opened)
	}
}

func TestEventsTellTheStoryOfASlice(t *testing.T) {
	t.Parallel()
	attempt := 0
	v := &vendor{streams: []connector.Stream{customers()}}
	v.pull = func(context.Context, connector.Request, connector.Emitter) error {
		if attempt++; attempt == 1 {
			return errors.New("reset")
		}
		return nil
	}
	f := newFixture(t, v)
	if _, err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kinds []pull.EventKind
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	if want := []pull.EventKind{pull.Planned, pull.Started, pull.Waiting, pull.Committed}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

func TestSampleStopsThePullWhenItHasEnough(t *testing.T) {
	t.Parallel()
	emitted := 0
	v := &vendor{pull: func(_ context.Context, req connector.Request, out connector.Emitter) error {
		for {
			emitted++
			if err := out.Record([]byte(`{}`)); err != nil {
				return err
			}
		}
	}}
	records, err := pull.Sample(t.Context(), v, connector.Request{Stream: "x"}, 3)
	if err != nil || len(records) != 3 || emitted != 3 {
		t.Errorf("%d records of %d emitted, %v: want 3 of 3", len(records), emitted, err)
	}
}
