package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
)

// backfillReport is a backfill as JSON. Scripts rely on it.
type backfillReport struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"`
	Streams []string  `json:"streams"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Slice   string    `json:"slice,omitempty"` // absent: each stream's own
	Order   string    `json:"order"`
	Force   bool      `json:"force"`
	// State is running, interrupted (running, but no run is under way), paused, done
	// or cancelled.
	State     string     `json:"state"`
	Due       int64      `json:"due"`    // slices, when it was created
	Slices    int64      `json:"slices"` // committed by its runs
	Rows      int64      `json:"rows"`
	Requests  int64      `json:"requests"`
	Runs      int64      `json:"runs"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

func (a *app) backfillCommands() []*cobra.Command {
	list := &cobra.Command{
		Use:     "list [SOURCE]",
		Short:   "backfills and how far they are, the newest first",
		Example: "  winch backfill list\n  winch backfill list kaisa_se --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source := strings.Join(args, "")
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				return a.listBackfills(cmd.Context(), store, source)
			})
		},
	}
	show := &cobra.Command{
		Use:     "show NAME",
		Short:   "one backfill, how far it is, and its runs",
		Example: "  winch backfill show kaisa_se-2025-01-01-2025-12-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withBackfill(cmd.Context(), args[0], func(store sink.Sink, b sink.Backfill) error {
				return a.showBackfill(cmd.Context(), store, b)
			})
		},
	}
	resume := &cobra.Command{
		Use:     "resume NAME",
		Short:   "go on with a backfill that was paused or interrupted",
		Example: "  winch backfill resume kaisa_se-2025-01-01-2025-12-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withBackfill(cmd.Context(), args[0], func(store sink.Sink, b sink.Backfill) error {
				cfg, err := a.loadConfig()
				if err != nil {
					return err
				}
				src, err := cfg.Source(b.Source)
				if err != nil {
					return err
				}
				moved, err := store.MoveBackfill(cmd.Context(), b.ID, sink.BackfillRunning, sink.BackfillPaused, sink.BackfillRunning)
				if err != nil {
					return err
				}
				if !moved {
					return hasEnded(b)
				}
				return a.runBackfill(cmd.Context(), store, a.launcher(cfg), src, b)
			})
		},
	}
	return []*cobra.Command{
		list, show, resume,
		a.moveCommand("pause", "stop a backfill at the next boundary of a slice, to go on later", sink.BackfillPaused, sink.BackfillRunning),
		a.moveCommand("cancel", "end a backfill at the next boundary of a slice; what is landed stays", sink.BackfillCancelled, sink.BackfillRunning, sink.BackfillPaused),
	}
}

// moveCommand changes a backfill's state, which whoever works at it sees at the
// next boundary of a slice.
func (a *app) moveCommand(name, short string, to sink.BackfillState, from ...sink.BackfillState) *cobra.Command {
	return &cobra.Command{
		Use:     name + " NAME",
		Short:   short,
		Example: "  winch backfill " + name + " kaisa_se-2025-01-01-2025-12-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withBackfill(cmd.Context(), args[0], func(store sink.Sink, b sink.Backfill) error {
				if b.State != to {
					moved, err := store.MoveBackfill(cmd.Context(), b.ID, to, from...)
					if err != nil {
						return err
					}
					if !moved {
						return hasEnded(b)
					}
					b.State = to
				}
				return a.showBackfill(cmd.Context(), store, b)
			})
		},
	}
}

func hasEnded(b sink.Backfill) error {
	return usagef("winch backfill "+b.Source+" --from DAY --to DAY begins a new one", "backfill %s has ended: it is %s", b.Name, b.State)
}

// withBackfill finds a backfill by its name: the one that has not ended, or else
// the newest.
func (a *app) withBackfill(ctx context.Context, name string, do func(sink.Sink, sink.Backfill) error) error {
	return a.withStore(ctx, func(_ *config.Config, store sink.Sink) error {
		all, err := store.Backfills(ctx, "")
		if err != nil {
			return err
		}
		named := slices.DeleteFunc(all, func(b sink.Backfill) bool { return b.Name != name })
		if len(named) == 0 {
			return usagef("winch backfill list", "there is no backfill %q", name)
		}
		i := max(0, slices.IndexFunc(named, func(b sink.Backfill) bool { return !b.Ended() }))
		return do(store, named[i])
	})
}

func reportOfBackfill(ctx context.Context, store sink.Sink, b sink.Backfill) (backfillReport, error) {
	p, err := store.BackfillProgress(ctx, b.ID)
	if err != nil {
		return backfillReport{}, err
	}
	r := backfillReport{
		Name: b.Name, Source: b.Source, Streams: b.Streams, Since: b.Window.Since, Until: b.Window.Until, Order: string(b.Order),
		Force: b.Force, State: string(b.State), Due: b.Slices, Slices: p.Slices, Rows: p.Counts.Rows, Requests: p.Usage.Requests,
		Runs: p.Runs, CreatedAt: b.CreatedAt,
	}
	if !b.Slice.IsZero() {
		r.Slice = b.Slice.String()
	}
	if !b.EndedAt.IsZero() {
		r.EndedAt = &b.EndedAt
	}
	if b.State == sink.BackfillRunning {
		newest, err := store.Runs(ctx, b.Source, 1)
		if err != nil {
			return r, err
		}
		if len(newest) == 0 || newest[0].Backfill != b.ID || newest[0].Outcome != "" {
			r.State = "interrupted"
		}
	}
	return r, nil
}

func (a *app) listBackfills(ctx context.Context, store sink.Sink, source string) error {
	all, err := store.Backfills(ctx, source)
	if err != nil {
		return err
	}
	reports := []backfillReport{}
	for _, b := range all {
		r, err := reportOfBackfill(ctx, store, b)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if a.json() {
		return a.printJSON(struct {
			Backfills []backfillReport `json:"backfills"`
		}{reports})
	}
	if len(reports) == 0 {
		a.printf("no backfill was asked for; winch backfill SOURCE --from DAY --to DAY does\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "name\tstate\tsource\tstreams\tslices\trows\tcreated")
	for _, r := range reports {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\n", r.Name, r.State, r.Source, strings.Join(r.Streams, ","), r.Slices, r.Due, r.Rows, r.CreatedAt.Local().Format(time.DateTime))
	}
	return tw.Flush()
}

func (a *app) showBackfill(ctx context.Context, store sink.Sink, b sink.Backfill) error {
	r, err := reportOfBackfill(ctx, store, b)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(r)
	}
	a.printBackfill(r)
	return nil
}

func (a *app) printBackfill(r backfillReport) {
	a.printf("backfill %s: %s\n", r.Name, r.State)
	slice := "each stream's own"
	if r.Slice != "" {
		slice = r.Slice
	}
	a.printf("  reads %s/%s from %s until %s, slice %s, %s first", r.Source, strings.Join(r.Streams, ","),
		r.Since.Format(time.RFC3339), r.Until.Format(time.RFC3339), slice, r.Order)
	if r.Force {
		a.printf(", also what was held")
	}
	a.printf("\n  %d of %s read in %s: %s, %s\n", r.Slices, count(r.Due, "slice"), count(r.Runs, "run"),
		count(r.Rows, "row"), count(r.Requests, "request"))
	switch r.State {
	case string(sink.BackfillPaused), "interrupted":
		a.printf("  go on: winch backfill resume %s\n", r.Name)
	case string(sink.BackfillRunning):
		a.printf("  stop it for now: winch backfill pause %s\n", r.Name)
	}
}

// printBackfillPlan shows what a backfill would read, and what that costs.
func (a *app) printBackfillPlan(b sink.Backfill, p plan) error {
	if a.json() {
		return a.printJSON(struct {
			Name string `json:"name"`
			planReport
		}{b.Name, p.report()})
	}
	if len(p.due) == 0 {
		if b.Force {
			a.printf("nothing to read: all of %s was read again already, or ended too short a while ago (lag)\n", b.Window)
		} else {
			a.printf("nothing to read: all of %s is held, or ended too short a while ago (lag); --force reads again what is held\n", b.Window)
		}
		return nil
	}
	known := "backfill " + b.Name
	if b.ID != 0 {
		known += ", begun " + ageText(time.Since(b.CreatedAt)) + " ago"
	}
	a.printf("%s: %s\n", known, b.Window)
	for _, stream := range b.Streams {
		reasons := map[string]int64{}
		var order []string
		for _, d := range p.due {
			if d.Slice.Stream != stream {
				continue
			}
			if reasons[string(d.Reason)]++; reasons[string(d.Reason)] == 1 {
				order = append(order, string(d.Reason))
			}
		}
		var parts []string
		for _, reason := range order {
			parts = append(parts, fmt.Sprintf("%s %s", count(reasons[reason], "slice"), reason))
		}
		if len(parts) == 0 {
			parts = append(parts, "all held")
		}
		a.printf("  %s: %s\n", stream, strings.Join(parts, ", "))
	}
	return a.printEstimates(p.streams, p.sources)
}

// reportBackfill prints how a backfill ended.
func (a *app) reportBackfill(ctx context.Context, store sink.Sink, b sink.Backfill, res pull.Result) error {
	r, err := reportOfBackfill(ctx, store, b)
	if err != nil {
		return err
	}
	again := func(pull.Result) string {
		if b.Ended() {
			return ""
		}
		return "winch backfill resume " + b.Name
	}
	if a.json() {
		return a.printJSON(struct {
			Backfill backfillReport `json:"backfill"`
			pullReport
		}{r, newPullReport(store.Location(), []pull.Result{res}, nil, again)})
	}
	a.printResultsAgain([]pull.Result{res}, nil, again)
	a.printBackfill(r)
	a.printf("rows are in %s\n", store.Location())
	return nil
}
