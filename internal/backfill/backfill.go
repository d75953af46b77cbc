// Package backfill carries a backfill out: run after run until its windows are
// held, giving way to pulls of the source.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// What ends a backfill before its windows are held, beside failures. A person may
// ask for either from any process.
var (
	ErrPaused    = errors.New("the backfill was paused")
	ErrCancelled = errors.New("the backfill was cancelled")
)

var errGaveWay = errors.New("gave way to a pull")

// look is how often a backfill asks, between two slices, whether it is still
// wanted and whether a pull waits, and how often it asks while it waits itself.
const look = time.Second

// Runner carries backfills out.
type Runner struct {
	Sink   sink.Sink
	Puller *pull.Puller
	Log    *slog.Logger
	// Waiting is told what the backfill waits for; may be nil.
	Waiting func(why string)
}

// Ask is what the backfill asks of each stream. Windows that were read since it
// was created count as read, with force too: so it goes on where it stopped.
func Ask(b sink.Backfill) ledger.Ask {
	return ledger.Ask{Window: b.Window, Force: b.Force, AskedAt: b.CreatedAt, Order: b.Order}
}

// Plan returns what is due of one of its streams. Its slices are its own: what the
// stream is declared as stays as it is.
func Plan(b sink.Backfill, want ledger.Want, entries []ledger.Entry, now time.Time) []ledger.Due {
	if !b.Slice.IsZero() {
		want.Slice = b.Slice
	}
	return ledger.Range(want, entries, Ask(b), now)
}

// Wants narrows what a source wants to what the backfill reads.
func Wants(b sink.Backfill, all []ledger.Want) ([]ledger.Want, error) {
	var chosen []ledger.Want
	for _, name := range b.Streams {
		i := slices.IndexFunc(all, func(w ledger.Want) bool { return w.Stream.Name == name })
		if i < 0 {
			return nil, &connector.Error{
				Kind: connector.KindConfig, Op: "backfill " + b.Name, Err: fmt.Errorf("the source no longer pulls the stream %s", name),
				Hint: "name the stream under streams of " + b.Source + ", or winch backfill cancel " + b.Name,
			}
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Run reads what the backfill lacks, with a job that opens its source and selects
// among its streams. It returns the sum of its runs when all is held, some slices
// have failed, or the error says what else ended it. A pull that waits for the
// source gets it at the next boundary of a slice, and a source that is held by
// another agent is waited for.
func (r *Runner) Run(ctx context.Context, b sink.Backfill, job pull.Job) (pull.Result, error) {
	job.Trigger, job.Backfill = "backfill", b.ID
	choose := job.Select
	job.Select = func(offered []connector.Stream) ([]ledger.Want, error) {
		all, err := choose(offered)
		if err != nil {
			return nil, err
		}
		return Wants(b, all)
	}
	job.Plan = func(want ledger.Want, entries []ledger.Entry, now time.Time) []ledger.Due {
		return Plan(b, want, entries, now)
	}
	gate := &gate{sink: r.Sink, backfill: b}
	job.Gate = gate.ask
	var total pull.Result
	for {
		if err := r.free(ctx, gate); err != nil {
			return ended(total, job, err), err
		}
		res, err := r.Puller.Run(ctx, job)
		var busy *sink.Busy
		switch {
		case errors.As(err, &busy):
			r.wait("waiting for " + busy.Error())
			if err := pause(ctx); err != nil {
				return ended(total, job, err), err
			}
			continue
		case errors.Is(err, errGaveWay):
			total = add(total, res)
			continue
		}
		total = add(total, res)
		if err != nil || res.Status != sink.Succeeded {
			return total, err
		}
		_, err = r.Sink.MoveBackfill(ctx, b.ID, sink.BackfillDone, sink.BackfillRunning, sink.BackfillPaused)
		return total, err
	}
}

// free returns when no pull waits for the source.
func (r *Runner) free(ctx context.Context, g *gate) error {
	for {
		err := g.look(ctx)
		if err == nil || !errors.Is(err, errGaveWay) {
			return err
		}
		r.wait("giving way to a pull of " + g.backfill.Source)
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func (r *Runner) wait(why string) {
	r.Log.Info(why)
	if r.Waiting != nil {
		r.Waiting(why)
	}
}

// gate says whether the next slice of a backfill may begin.
type gate struct {
	sink     sink.Sink
	backfill sink.Backfill

	mu     sync.Mutex
	looked time.Time
}

// ask is look, but not more often than that.
func (g *gate) ask(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looked) < look {
		return nil
	}
	if err := g.look(ctx); err != nil {
		return err
	}
	g.looked = time.Now()
	return nil
}

func (g *gate) look(ctx context.Context) error {
	state, err := g.sink.BackfillState(ctx, g.backfill.ID)
	if err != nil {
		return err
	}
	switch state {
	case sink.BackfillPaused:
		return fmt.Errorf("%w: %w", ErrPaused, pull.ErrStopped)
	case sink.BackfillCancelled:
		return fmt.Errorf("%w: %w", ErrCancelled, pull.ErrStopped)
	case sink.BackfillRunning, sink.BackfillDone:
	}
	awaited, err := g.sink.Awaited(ctx, g.backfill.Source)
	if err == nil && awaited {
		err = fmt.Errorf("%w: %w", errGaveWay, pull.ErrStopped)
	}
	return err
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(look)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ended is the total of a backfill that ended while it did not run.
func ended(total pull.Result, job pull.Job, err error) pull.Result {
	total.Name, total.Connector, total.Err = job.Source, job.Connector, err
	total.Status = sink.Interrupted
	return total
}

// add sums a backfill's next run up. What is due then was due before.
func add(total, next pull.Result) pull.Result {
	if total.Run == 0 {
		return next
	}
	sum := next
	sum.Counts, sum.Usage = total.Counts.Add(next.Counts), total.Usage.Add(next.Usage)
	sum.Streams = slices.Clone(total.Streams)
	for _, s := range next.Streams {
		i := slices.IndexFunc(sum.Streams, func(t pull.StreamResult) bool { return t.Name == s.Name })
		if i < 0 {
			sum.Streams = append(sum.Streams, s)
			continue
		}
		before := sum.Streams[i]
		s.Due, s.Slices = before.Slices+s.Due, before.Slices+s.Slices
		s.Counts, s.Usage = before.Counts.Add(s.Counts), before.Usage.Add(s.Usage)
		s.Seconds += before.Seconds
		if len(before.Changes) > 0 { // the next run has nothing to tell of them
			s.Changes = before.Changes
		}
		sum.Streams[i] = s
	}
	return sum
}
