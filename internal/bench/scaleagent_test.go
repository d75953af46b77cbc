package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	scaleStreams = 10
	scaleRows    = 5 // of each stream, the same every night
)

// fastVendor has small streams and answers at once.
type fastVendor struct{ streams []connector.Stream }

func (v fastVendor) Streams(context.Context) ([]connector.Stream, error) { return v.streams, nil }

func (v fastVendor) Pull(_ context.Context, req connector.Request, out connector.Emitter) error {
	for i := range scaleRows {
		if err := out.Record(fmt.Appendf(nil, `{"id":%d,"name":"%s %d"}`, i, req.Stream, i)); err != nil {
			return err
		}
	}
	return nil
}

func newFastVendor() (v fastVendor) {
	for i := range scaleStreams {
		v.streams = append(v.streams, connector.Stream{
			Name: fmt.Sprint("stream_", i), Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
			Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "name", Type: connector.TypeText}},
		})
	}
	return v
}

// scaleSources are the names of the sources.
func scaleSources() (names []string) {
	for i := range number("WINCH_SCALE_SOURCES", 1000) {
		names = append(names, fmt.Sprintf("source_%05d", i))
	}
	return names
}

// dueOnce are schedules of all sources that are due at one moment.
func dueOnce(at time.Time) (all []scheduler.Schedule) {
	for _, source := range scaleSources() {
		all = append(all, scheduler.Schedule{
			Schedule: sink.Schedule{Source: source, Name: "schedule", Expression: at.Format(time.RFC3339)},
			Next: func(after time.Time) time.Time {
				if after.Before(at) {
					return at
				}
				return time.Time{}
			},
			Overlap: scheduler.OverlapSkip, CatchUp: scheduler.CatchUpOnce,
		})
	}
	return all
}

// runScaleAgent serves the sources, which are due at one moment, as winch serve does,
// until standard input ends.
func runScaleAgent(ctx context.Context, database, moment string) (err error) {
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		return err
	}
	profiled, err := profile(os.Getenv(profileEnv), "scale")
	if err != nil {
		return err
	}
	defer profiled()
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the benchmark
		end()
	}()
	store, err := postgres.Open(ctx, database, postgres.Options{Version: "scale"})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing is written after
	queue, err := riverqueue.Open(ctx, store, riverqueue.Options{})
	if err != nil {
		return err
	}
	defer queue.Close()
	decider := scheduler.New(store, queue, slog.New(slog.DiscardHandler), fmt.Sprint("agent ", os.Getpid()))
	drain, worked := make(chan struct{}), make(chan error, 1)
	go func() {
		worked <- queue.Work(context.WithoutCancel(ctx), drain, decider.Runner(pullFast(store)))
	}()
	err = decider.Run(ctx, dueOnce(at))
	close(drain)
	if workErr := <-worked; err == nil {
		err = workErr
	}
	return err
}

// pullFast serves a job as winch serve does, from a vendor in this process.
func pullFast(store sink.Sink) func(context.Context, scheduler.Task) error {
	puller := &pull.Puller{Sink: store, Log: slog.New(slog.DiscardHandler)}
	vendor := newFastVendor()
	return func(ctx context.Context, t scheduler.Task) error {
		_, err := puller.Run(ctx, pull.Job{
			Source: t.Source, Connector: "fast", Trigger: string(t.Trigger), AsOf: time.Now(),
			Open: func(context.Context) (*pull.Session, error) {
				return &pull.Session{Source: vendor, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
			},
			Select: func(offered []connector.Stream) (all []ledger.Want, err error) {
				for _, one := range offered {
					all = append(all, ledger.Want{Source: t.Source, Stream: one})
				}
				return all, nil
			},
			Begin: t.Open,
			End:   func(ctx context.Context, res pull.Result) error { return t.Done(ctx, res.Run) },
		})
		return err
	}
}
