package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/backfill"
	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// backfillFlags are what a person asks for.
type backfillFlags struct {
	from, to, slice, name, order string
	streams                      []string
	force, yes, dryRun, queue    bool
}

func (a *app) backfillCommand() *cobra.Command {
	var flags backfillFlags
	cmd := &cobra.Command{
		Use:   "backfill SOURCE --from DAY --to DAY",
		Short: "read named windows, once, with their cost known before",
		Long: `Shows which slices of the named days are not held and what reading them costs, asks,
then reads them, the oldest first. What is held is left alone unless --force.

A backfill is an object with a name. Interrupted by Ctrl-C or harder, by a lost
database or a vendor that is down, the same command or winch backfill resume goes on
where it stopped; no slice that was committed is read twice. It gives way to a pull of
its source at the next boundary of a slice. Only window streams can be backfilled.

A source that is called list, show, pause, resume or cancel comes after its flags and --.`,
		Example: `  winch backfill kaisa_se --from 2025-01-01 --to 2025-12-31 --dry-run
  winch backfill kaisa_se --from 2025-01-01 --to 2025-12-31 --stream cdrs_in --slice 1w --yes
  winch backfill list
  winch backfill pause kaisa_se-2025-01-01-2025-12-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSources(cmd.Context(), func(cfg *config.Config, store sink.Sink) error {
				src, err := cfg.Source(args[0])
				if err != nil {
					return err
				}
				return a.backfill(cmd.Context(), store, a.launcher(cfg), src, flags)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.from, "from", "", "first `DAY`, such as 2025-01-01, or a moment as RFC 3339")
	f.StringVar(&flags.to, "to", "", "last `DAY`, included; or a moment, not included")
	f.StringSliceVar(&flags.streams, "stream", nil, "only these `STREAMS`, separated by commas (default: all window streams that are pulled)")
	f.StringVar(&flags.slice, "slice", "", "length of the slices, a `SPAN` such as 1d, 1w or 1mo (default: each stream's own)")
	f.StringVar(&flags.order, "order", string(ledger.OldestFirst), "which slices come first: `oldest` or newest")
	f.StringVar(&flags.name, "name", "", "`NAME` of the backfill (default: from source and days)")
	f.BoolVar(&flags.force, "force", false, "read what is held, too")
	f.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&flags.queue, "queue", false, "leave it to the agents that serve, on whatever machine")
	f.BoolVar(&flags.dryRun, "dry-run", false, "show plan and cost, read nothing")
	for _, sub := range a.backfillCommands() {
		sub.Args = usageArgs(sub.Args)
		cmd.AddCommand(sub)
	}
	return cmd
}

// ask makes the backfill that the flags ask for.
func (f backfillFlags) ask(src *config.Source, now time.Time) (b sink.Backfill, err error) {
	b = sink.Backfill{Source: src.Name, Streams: f.streams, Force: f.force, Order: ledger.Order(f.order), CreatedAt: now.UTC().Truncate(time.Microsecond)}
	if b.Order != ledger.OldestFirst && b.Order != ledger.NewestFirst {
		return b, usagef("oldest or newest", "--order %q", f.order)
	}
	if f.slice != "" {
		if b.Slice, err = connector.ParseSpan(f.slice); err != nil || !b.Slice.Positive() {
			return b, usagef("a span such as 1d, 1w or 1mo", "--slice %q", f.slice)
		}
	}
	var since, until bool
	if b.Window.Since, _, since = boundary(f.from, src.Location); !since {
		return b, usagef("--from 2025-01-01", "--from %q: want a day, or a moment as RFC 3339", f.from)
	}
	var day bool
	if b.Window.Until, day, until = boundary(f.to, src.Location); !until {
		return b, usagef("--to 2025-12-31", "--to %q: want a day, or a moment as RFC 3339", f.to)
	}
	if day {
		b.Window.Until = b.Window.Until.AddDate(0, 0, 1)
	}
	if !b.Window.Since.Before(b.Window.Until) {
		return b, usagef("--from the earlier day", "--from %s is not before --to %s", f.from, f.to)
	}
	b.Name = cmp.Or(f.name, src.Name+"-"+f.from+"-"+f.to)
	return b, nil
}

// boundary reads a day, which begins in a location, or a moment.
func boundary(text string, loc *time.Location) (t time.Time, day, ok bool) {
	if t, err := time.ParseInLocation(time.DateOnly, text, loc); err == nil {
		return t, true, true
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.In(loc), false, err == nil
}

func (a *app) backfill(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, src *config.Source, flags backfillFlags) error {
	b, err := flags.ask(src, time.Now())
	if err != nil {
		return err
	}
	if !flags.yes && !flags.dryRun && (a.json() || !isTerminal(a.stdin)) {
		return usagef("--yes, after a look at what --dry-run prints", "standard input is no terminal that could be asked")
	}
	known, err := store.Backfills(ctx, src.Name)
	if err != nil {
		return err
	}
	plan, b, err := a.planBackfill(ctx, store, launcher, src, b, known)
	if err != nil {
		return err
	}
	if flags.dryRun || len(plan.due) == 0 && b.ID == 0 {
		return a.printBackfillPlan(b, plan)
	}
	if !a.json() {
		if err := a.printBackfillPlan(b, plan); err != nil {
			return err
		}
	}
	if !flags.yes && !a.confirm("read them?") {
		a.printf("nothing was read\n")
		return nil
	}
	switch {
	case b.ID == 0:
		b.Slices = int64(len(plan.due))
		if b, err = store.CreateBackfill(ctx, b); err != nil {
			return nameTaken(b, err)
		}
	case b.State == sink.BackfillPaused:
		if _, err := store.MoveBackfill(ctx, b.ID, sink.BackfillRunning, sink.BackfillPaused); err != nil {
			return err
		}
	}
	if flags.queue {
		return a.enqueue(ctx, store, []scheduler.Job{{Source: src.Name, Trigger: scheduler.TriggerBackfill, Backfill: b.Name}})
	}
	return a.runBackfill(ctx, store, launcher, src, b)
}

func nameTaken(b sink.Backfill, err error) error {
	if errors.Is(err, sink.ErrBackfillName) {
		return usagef("winch backfill resume "+b.Name+", or another --name", "%w", err)
	}
	return err
}

// planBackfill says what is due. If the same was asked for before and has not
// ended, it returns that backfill.
func (a *app) planBackfill(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, src *config.Source, b sink.Backfill, known []sink.Backfill) (p plan, _ sink.Backfill, err error) {
	session, err := a.openSource(ctx, launcher, src)
	if err != nil {
		return p, b, err
	}
	defer a.closing("connector", session.Close)
	offered, err := session.Source.Streams(ctx)
	if err != nil {
		return p, b, err
	}
	all, err := wants(src, offered)
	if err != nil {
		return p, b, err
	}
	if b.Streams, err = windowStreams(src, all, b.Streams); err != nil {
		return p, b, err
	}
	for _, other := range known {
		if !other.Ended() && sameBackfill(b, other) {
			b = other
			break
		}
	}
	chosen, err := backfill.Wants(b, all)
	if err != nil {
		return p, b, err
	}
	entries, err := store.Entries(ctx, src.Name)
	if err != nil {
		return p, b, err
	}
	held, now := ledger.ByStream(entries), time.Now()
	for _, want := range chosen {
		if want.Partitions, err = pull.Partitions(ctx, session.Source, want.Stream.Name); err != nil {
			return p, b, err
		}
		p.due = append(p.due, backfill.Plan(b, want, held[want.Stream.Name], now)...)
	}
	streams, whole, err := a.estimate(ctx, store, session.Source, src.Name, p.due)
	p.streams, p.sources = streams, []estimateReport{whole}
	return p, b, err
}

// windowStreams are the named streams, or all that have windows.
func windowStreams(src *config.Source, all []ledger.Want, names []string) ([]string, error) {
	chosen, err := only(all, src.Name, names)
	if err != nil {
		return nil, err
	}
	var windows []string
	for _, want := range chosen {
		switch {
		case want.Stream.Mode == connector.ModeWindow:
			windows = append(windows, want.Stream.Name)
		case len(names) > 0:
			return nil, usagef("winch pull "+src.Name+" --stream "+want.Stream.Name, "%s/%s is a %s stream: it has no windows to read", src.Name, want.Stream.Name, want.Stream.Mode)
		}
	}
	if len(windows) == 0 {
		return nil, usagef("winch pull "+src.Name, "source %s pulls no stream that has windows", src.Name)
	}
	return windows, nil
}

// sameBackfill reports whether two ask for the same.
func sameBackfill(a, b sink.Backfill) bool {
	return a.Name == b.Name && a.Source == b.Source && a.Window.Since.Equal(b.Window.Since) && a.Window.Until.Equal(b.Window.Until) &&
		a.Slice == b.Slice && a.Order == b.Order && a.Force == b.Force && slices.Equal(a.Streams, b.Streams)
}

// confirm asks a person.
func (a *app) confirm(question string) bool {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n') // no answer is no
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer)))
}

// runBackfill carries a backfill out and reports how that ended.
func (a *app) runBackfill(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, src *config.Source, b sink.Backfill) error {
	display := a.newProgress()
	runner := &backfill.Runner{
		Sink: store, Log: a.logFor("backfill"),
		Puller:  &pull.Puller{Sink: store, Log: a.logFor("pull"), Observe: display.observe, Metrics: a.observed.metrics, Lineage: a.observed.lineage},
		Waiting: func(why string) { fmt.Fprintln(a.logOutput, why) },
	}
	res, runErr := runner.Run(ctx, b, pull.Job{
		Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, AsOf: time.Now(),
		Open:   func(ctx context.Context) (*pull.Session, error) { return a.openSource(ctx, launcher, src) },
		Select: func(offered []connector.Stream) ([]ledger.Want, error) { return wants(src, offered) },
	})
	display.end(a)
	res.Name, res.Connector = src.Name, src.Connector
	stopped := errors.Is(runErr, backfill.ErrPaused) || errors.Is(runErr, backfill.ErrCancelled)
	if stopped {
		res.Err = nil // a person asked for it: it is no failure
	}
	reading := context.WithoutCancel(ctx)
	state, err := store.BackfillState(reading, b.ID)
	if err == nil {
		b.State = state
		err = a.reportBackfill(reading, store, b, res)
	}
	if err != nil {
		a.log.Warn("the backfill's end is not shown", "error", err)
	}
	switch {
	case stopped || res.Status == sink.Succeeded && runErr == nil:
		return nil
	case ctx.Err() != nil || res.Status == sink.Interrupted:
		return &toldError{exitInterrupted}
	case runErr != nil:
		return &toldError{exitCode(ctx, runErr)}
	default:
		return &toldError{exitStreams}
	}
}
