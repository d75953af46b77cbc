package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// forgetEvery is how often winch serve prunes the store.
const forgetEvery = 24 * time.Hour

func (a *app) pruneCommand() *cobra.Command {
	var (
		olderThan string
		dryRun    bool
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "forget runs, reads and ticks that ended long ago",
		Long: `Deletes what only tells of the past: runs that ended before retention.history
with their reads, decided ticks, and records of the quarantine that are settled.
Rows, ledger and records that wait in quarantine stay. winch pull and winch serve do
the same by themselves.`,
		Example: "  winch prune --dry-run\n  winch prune --older-than 90d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadSink()
			if err != nil {
				return err
			}
			history := cfg.History
			if olderThan != "" {
				if history, err = connector.ParseSpan(olderThan); err != nil || !history.Positive() {
					return usagef("--older-than 90d", "--older-than %q: want a span of time", olderThan)
				}
			}
			if history.IsZero() {
				return usagef("--older-than 90d, or set retention.history", "retention.history is 0: everything is kept")
			}
			store, _, err := a.openSink(cmd.Context(), cfg.Sink)
			if err != nil {
				return err
			}
			defer a.closing("store", store.Close)
			before := history.Before(time.Now())
			pruned, err := store.Prune(cmd.Context(), before, dryRun)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(struct {
					Before time.Time `json:"before"`
					DryRun bool      `json:"dry_run"`
					sink.Pruned
				}{before, dryRun, pruned})
			}
			verb := "forgot"
			if dryRun {
				verb = "would forget"
			}
			a.printf("%s what ended before %s: %s with %s, %s, %s of the quarantine\n", verb, before.Format(time.DateOnly),
				count(pruned.Runs, "run"), count(pruned.Reads, "read"), count(pruned.Ticks, "tick"), count(pruned.Quarantined, "record"))
			return nil
		},
	}
	cmd.Flags().StringVar(&olderThan, "older-than", "", "instead of retention.history, such a `SPAN`")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count, and delete nothing")
	return cmd
}

// forget prunes the store by the configuration. It is no part of a pull's result.
func (a *app) forget(ctx context.Context, store sink.Sink, cfg *config.Config) {
	if cfg.History.IsZero() || ctx.Err() != nil {
		return
	}
	pruned, err := store.Prune(ctx, cfg.History.Before(time.Now()), false)
	if err != nil {
		a.log.WarnContext(ctx, "history was not pruned", "error", err)
		return
	}
	if pruned != (sink.Pruned{}) {
		a.log.InfoContext(ctx, "history pruned", "runs", pruned.Runs, "reads", pruned.Reads, "ticks", pruned.Ticks, "quarantined", pruned.Quarantined)
	}
}
