package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// resetReport is what reset did, or would do, as JSON. Scripts rely on it.
type resetReport struct {
	Source string `json:"source"`
	Stream string `json:"stream"`
	DryRun bool   `json:"dry_run"`
	// Aside is the new name of the old table; absent if it is dropped or was none.
	Aside string `json:"aside,omitempty"`
	sink.Started
	// Command reads the stream from its beginning.
	Command string `json:"command"`
}

func (a *app) resetCommand() *cobra.Command {
	var drop, yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "reset SOURCE/STREAM",
		Short: "let a stream start over, as when its key has changed",
		Long: `Sets the table of a stream aside, under another name, and forgets what is known of
its slices: ledger, reads, cursor, quarantine. The next pull makes the table anew, as
the stream is declared now, and reads it from its beginning. It is one transaction,
during which nobody pulls the source. Nothing is read from the vendor; what a vendor
no longer serves is in the old table alone.`,
		Example: "  winch reset kaisa_se/cdrs_in --dry-run\n  winch reset kaisa_se/cdrs_in --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, stream, ok := strings.Cut(args[0], "/")
			if !ok || !connector.ValidName(source) || !connector.ValidName(stream) {
				return usagef("winch reset SOURCE/STREAM", "%q names no stream", args[0])
			}
			if !yes && !dryRun && (a.json() || !isTerminal(a.stdin)) {
				return usagef("--yes, after a look at what --dry-run prints", "standard input is no terminal that could be asked")
			}
			report := resetReport{Source: source, Stream: stream, DryRun: dryRun, Command: "winch pull " + source + " --stream " + stream}
			if !drop {
				report.Aside = asideName(stream, time.Now())
			}
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				return a.reset(cmd.Context(), store, report, yes)
			})
		},
	}
	cmd.Flags().BoolVar(&drop, "drop", false, "drop the old table instead of setting it aside")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and do nothing")
	return cmd
}

// asideName is the name of a table that is set aside at a moment.
func asideName(stream string, now time.Time) string {
	const longest = 63
	suffix := now.UTC().Format("_before_20060102_150405")
	return stream[:min(len(stream), longest-len(suffix))] + suffix
}

// reset does what the report says, which it completes.
func (a *app) reset(ctx context.Context, store sink.Sink, report resetReport, yes bool) error {
	held, release, err := store.Lock(ctx, sink.Claim{Source: report.Source})
	if err != nil {
		return err
	}
	defer release()
	if report.Started, err = store.Reset(held, report.Source, report.Stream, report.Aside, true); err != nil {
		return err
	}
	if report.Empty() {
		return usagef("winch coverage shows what there is", "%s holds nothing of %s/%s", store.Location(), report.Source, report.Stream)
	}
	if !report.Started.Table {
		report.Aside = ""
	}
	if !report.DryRun && !yes {
		a.printReset(report, "is to be", store.Location())
		if !a.confirm("do it?") {
			a.printf("nothing was changed\n")
			return nil
		}
	}
	if !report.DryRun {
		if report.Started, err = store.Reset(held, report.Source, report.Stream, report.Aside, false); err != nil {
			return err
		}
		a.log.InfoContext(ctx, "stream starts over", "source", report.Source, "stream", report.Stream, "aside", report.Aside, "rows", report.Rows)
	}
	switch {
	case a.json():
		return a.printJSON(report)
	case report.DryRun:
		a.printReset(report, "would be", store.Location())
	default:
		a.printReset(report, "was", store.Location())
		a.printf("read it from its beginning: %s\n", report.Command)
	}
	return nil
}

// printReset says what becomes, or became, of what a stream had.
func (a *app) printReset(r resetReport, verb, location string) {
	what := "dropped"
	if r.Aside != "" {
		what = fmt.Sprintf("renamed to %s.%s", r.Source, r.Aside)
	}
	if r.Started.Table {
		a.printf("%s.%s with %s %s %s in %s\n", r.Source, r.Stream, count(r.Rows, "row"), verb, what, location)
	}
	a.printf("what the ledger knows %s forgotten: %s, %s, %s of the quarantine\n", verb,
		count(r.Slices, "slice"), count(r.Reads, "read"), count(r.Quarantined, "record"))
}
