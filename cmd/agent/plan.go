package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
)

// sliceReport is a due slice as JSON. Scripts rely on it.
type sliceReport struct {
	Source    string        `json:"source"`
	Stream    string        `json:"stream"`
	Partition string        `json:"partition,omitempty"`
	Since     *time.Time    `json:"since"`
	Until     *time.Time    `json:"until"`
	Reason    ledger.Reason `json:"reason"`
}

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan [SOURCE...]",
		Short: "show what a pull would read now, and why",
		Long: `Shows the slices that a pull would read now, each with its reason: missing (never
read), lookback (young enough to be restated), failed, resume (read in part),
refresh (a snapshot, read on every pull). It reads nothing from the vendor but what
the connector needs to list its streams.`,
		Example: "  winch plan kaisa_se\n  winch plan --output json | jq '.slices | length'",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			sources, err := cfg.Pick(args...)
			if err != nil {
				return err
			}
			store, _, err := a.openSink(cmd.Context(), cfg.Sink)
			if err != nil {
				return err
			}
			defer a.closing("store", store.Close)
			launcher := a.launcher(cfg)
			var due []ledger.Due
			for _, src := range sources {
				part, err := a.planSource(cmd.Context(), store, launcher, src)
				if err != nil {
					return fmt.Errorf("source %s: %w", src.Name, err)
				}
				due = append(due, part...)
			}
			return a.printPlan(due)
		},
	}
}

func (a *app) planSource(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, src *config.Source) ([]ledger.Due, error) {
	session, err := a.openSource(ctx, launcher, src)
	if err != nil {
		return nil, err
	}
	defer a.closing("connector", session.Close)
	offered, err := session.Source.Streams(ctx)
	if err != nil {
		return nil, err
	}
	all, err := wants(src, offered)
	if err != nil {
		return nil, err
	}
	entries, err := store.Entries(ctx, src.Name)
	if err != nil {
		return nil, err
	}
	var due []ledger.Due
	now := time.Now()
	for _, want := range all {
		want.Partitions, err = pull.Partitions(ctx, session.Source, want.Stream.Name)
		if err != nil {
			return nil, err
		}
		due = append(due, ledger.Plan(want, entries, now)...)
	}
	return due, nil
}

func (a *app) printPlan(due []ledger.Due) error {
	if a.json() {
		reports := make([]sliceReport, 0, len(due))
		for _, d := range due {
			one := sliceReport{Source: d.Slice.Source, Stream: d.Slice.Stream, Partition: d.Slice.Partition, Reason: d.Reason}
			one.Since, one.Until = bounds(d.Slice.Window)
			reports = append(reports, one)
		}
		return a.printJSON(struct {
			Slices []sliceReport `json:"slices"`
		}{reports})
	}
	if len(due) == 0 {
		a.printf("nothing is due\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "source\tstream\twindow\twhy")
	for _, d := range due {
		stream := d.Slice.Stream
		if d.Slice.Partition != "" {
			stream += "[" + d.Slice.Partition + "]"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", d.Slice.Source, stream, d.Slice.Window, d.Reason)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	a.printf("%s due; winch pull reads them\n", count(int64(len(due)), "slice"))
	return nil
}
