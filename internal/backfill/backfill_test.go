package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/backfill"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

var calls = connector.Stream{
	Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "day", Slice: connector.Days(1),
	Columns: []connector.Column{{Name: "id", Type: connector.TypeText}, {Name: "day", Type: connector.TypeDate}},
}

// vendor notes the windows that are read.
type vendor struct {
	read  []string
	after func(read int)
}

func (v *vendor) Streams(context.Context) ([]connector.Stream, error) {
	return []connector.Stream{calls}, nil
}

func (v *vendor) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	day := req.Window.Since.Format(time.DateOnly)
	if err := out.Record(fmt.Appendf(nil, `{"id":"a","day":%q}`, day)); err != nil {
		return err
	}
	if v.after != nil {
		v.after(len(v.read) + 1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v.read = append(v.read, day)
	return nil
}

// fixture is a store with a backfill of four days.
type fixture struct {
	store  sink.Sink
	vendor *vendor
	b      sink.Backfill
	runner *backfill.Runner
	budget string
}

func newFixture(t *testing.T, force bool) *fixture {
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
	since := time.Date(2025, time.March, 1, 0, 0, 0, 0, time.UTC)
	b, err := store.CreateBackfill(t.Context(), sink.Backfill{
		Name: "spring", Source: "s", Streams: []string{"calls"}, Window: connector.Window{Since: since, Until: since.AddDate(0, 0, 4)},
		Order: ledger.OldestFirst, Force: force, Slices: 4, CreatedAt: time.Now().Truncate(time.Microsecond),
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return &fixture{store: store, vendor: &vendor{}, b: b, runner: &backfill.Runner{
		Sink: store, Log: log, Puller: &pull.Puller{Sink: store, Log: log, Slices: 1, Backoff: time.Microsecond},
	}}
}

func (f *fixture) run(ctx context.Context) (pull.Result, error) {
	return f.runner.Run(ctx, f.b, pull.Job{
		Source: "s", Budget: f.budget, Connector: "toy", AsOf: time.Now(),
		Open: func(context.Context) (*pull.Session, error) {
			return &pull.Session{Source: f.vendor, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
		},
		Select: func([]connector.Stream) ([]ledger.Want, error) {
			return []ledger.Want{{Source: "s", Stream: calls, Slice: calls.Slice}}, nil
		},
	})
}

func (f *fixture) expect(t *testing.T, state sink.BackfillState, read ...string) {
	t.Helper()
	if got, err := f.store.BackfillState(t.Context(), f.b.ID); err != nil || got != state {
		t.Errorf("state %s, %v, want %s", got, err, state)
	}
	if !slices.Equal(read, f.vendor.read) {
		t.Errorf("read %v, want %v", f.vendor.read, read)
	}
}

var all = []string{"2025-03-01", "2025-03-02", "2025-03-03", "2025-03-04"}

func TestInterruptedBackfillReadsNothingTwice(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		f := newFixture(t, force)
		ctx, cancel := context.WithCancel(t.Context())
		f.vendor.after = func(read int) {
			if read == 3 {
				cancel()
			}
		}
		if res, err := f.run(ctx); !errors.Is(err, context.Canceled) || res.Status != sink.Interrupted {
			t.Errorf("%s, %v: want it interrupted", res.Status, err)
		}
		f.expect(t, sink.BackfillRunning, all[:2]...)
		f.vendor.after = nil
		if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
			t.Errorf("%s, %v", res.Status, err)
		}
		f.expect(t, sink.BackfillDone, all...)
		cancel()
	}
}

func TestPausedBackfillReadsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, false)
	for _, step := range []struct {
		to   sink.BackfillState
		want error
	}{{sink.BackfillPaused, backfill.ErrPaused}, {sink.BackfillCancelled, backfill.ErrCancelled}} {
		if _, err := f.store.MoveBackfill(t.Context(), f.b.ID, step.to, sink.BackfillRunning, sink.BackfillPaused); err != nil {
			t.Fatal(err)
		}
		if _, err := f.run(t.Context()); !errors.Is(err, step.want) {
			t.Errorf("error %v, want %v", err, step.want)
		}
		f.expect(t, step.to)
	}
}

func TestBackfillGivesWayToAPullThatWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, false)
	if err := f.store.Announce(t.Context(), "s", "a pull"); err != nil {
		t.Fatal(err)
	}
	waited := false
	f.runner.Waiting = func(string) {
		waited = true
		if len(f.vendor.read) > 0 {
			t.Error("it read although a pull waits")
		}
		if err := f.store.Withdraw(t.Context(), "s", "a pull"); err != nil {
			t.Error(err)
		}
	}
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Errorf("%s, %v", res.Status, err)
	}
	f.expect(t, sink.BackfillDone, all...)
	if !waited {
		t.Error("it did not wait")
	}
}

// I3: it gives way to a pull of another source that uses up the same budget, too.
func TestBackfillGivesWayToAPullOfItsBudget(t *testing.T) {
	t.Parallel()
	f := newFixture(t, false)
	f.budget = "account"
	pulled := make(chan error, 1)
	readBefore := -1
	f.vendor.after = func(read int) {
		if read != 1 {
			return
		}
		other := &vendor{}
		waits := make(chan struct{})
		puller := &pull.Puller{Sink: announced{f.store, sync.OnceFunc(func() { close(waits) })}, Log: slog.New(slog.DiscardHandler)}
		go func() {
			_, err := puller.Run(t.Context(), pull.Job{
				Source: "other", Budget: "account", Connector: "toy", Trigger: "pull", AsOf: time.Now(),
				Open: func(context.Context) (*pull.Session, error) {
					readBefore = len(f.vendor.read)
					return &pull.Session{Source: other, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
				},
				Select: func([]connector.Stream) ([]ledger.Want, error) { return nil, nil },
			})
			pulled <- err
		}()
		select {
		case <-waits:
		case err := <-pulled:
			pulled <- err
		}
		time.Sleep(time.Second) // a slow vendor: the backfill looks who waits now and then only
	}
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Errorf("%s, %v", res.Status, err)
	}
	if err := <-pulled; err != nil {
		t.Error("the pull of the other source:", err)
	}
	if readBefore != 1 {
		t.Errorf("the other source was pulled after %d slices of the backfill, want 1", readBefore)
	}
	f.expect(t, sink.BackfillDone, all...)
}

// announced tells when somebody waits.
type announced struct {
	sink.Sink
	tell func()
}

func (a announced) Announce(ctx context.Context, source, waiter string) error {
	defer a.tell()
	return a.Sink.Announce(ctx, source, waiter)
}
