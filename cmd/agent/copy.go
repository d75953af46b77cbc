package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sink"
)

// copyReport is what a copy did, as JSON. Scripts rely on it.
type copyReport struct {
	From    string             `json:"from"`
	To      string             `json:"to"`
	DryRun  bool               `json:"dry_run"`
	Sources []copySourceReport `json:"sources"`
}

type copySourceReport struct {
	Name   string           `json:"name"`
	Tables []copyTableCount `json:"tables"`
}

type copyTableCount struct {
	Table string `json:"table"`
	// Own says that it is one of the agent's own tables.
	Own  bool  `json:"own"`
	Rows int64 `json:"rows"`
}

func (a *app) copyCommand() *cobra.Command {
	var (
		from, to string
		dryRun   bool
	)
	cmd := &cobra.Command{
		Use:   "copy [SOURCE...] --from URL [--to URL]",
		Short: "move what one store holds, rows and ledger, into another",
		Long: `Copies sources from one store to another, such as from the embedded store to
PostgreSQL: tables with all rows, ledger, runs, quarantine and decided ticks. Each
source is one transaction, so that it is there whole or not at all; a source that
the other store holds already is refused. Nothing is read from a vendor, and
the store copied from keeps what it has. Pulls into the other store then go on where
those into the first one stopped.

URLs are written as sink.url is, references included; a password must be one.
Without --to the configured sink is meant, without SOURCE everything.`,
		Example: `  winch copy --from sqlite:winch.db --dry-run
  winch copy --from sqlite:winch.db --to '${env:DATABASE_URL}'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return usagef("winch copy --from sqlite:winch.db", "--from is required: the store to copy from")
			}
			source, err := a.openFlag(cmd.Context(), "--from", from, true)
			if err != nil {
				return err
			}
			defer a.closing("store copied from", source.Close)
			var target sink.Sink
			if to != "" {
				target, err = a.openFlag(cmd.Context(), "--to", to, false)
			} else {
				var cfg *config.Config
				if cfg, err = a.loadSink(); err == nil {
					target, _, err = a.openSink(cmd.Context(), cfg.Sink)
				}
			}
			if err != nil {
				return err
			}
			defer a.closing("store copied to", target.Close)
			if source.Location() == target.Location() {
				return usagef("name another one with --to", "both stores are %s", target.Location())
			}
			names, err := a.copied(cmd.Context(), source, args)
			if err != nil {
				return err
			}
			report := copyReport{From: source.Location(), To: target.Location(), DryRun: dryRun, Sources: []copySourceReport{}}
			var shift int64
			if !dryRun {
				last, err := source.LastRun(cmd.Context())
				if err != nil {
					return err
				}
				if shift, err = target.ReserveRuns(cmd.Context(), last); err != nil {
					return err
				}
			}
			for _, name := range names {
				one, err := copySource(cmd.Context(), name, shift, source, target, dryRun)
				if err != nil {
					return fmt.Errorf("copy source %s: %w", name, err)
				}
				a.log.InfoContext(cmd.Context(), "source copied", "source", name, "dry_run", dryRun)
				report.Sources = append(report.Sources, one)
			}
			return a.printCopy(report)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "`URL` of the store to copy from")
	cmd.Flags().StringVar(&to, "to", "", "`URL` of the store to copy to (default: the configured sink)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count what would be copied, and copy nothing")
	return cmd
}

// openFlag opens the store that a flag names. One that is read from must be there.
func (a *app) openFlag(ctx context.Context, flag, text string, existing bool) (sink.Sink, error) {
	where, err := config.ParseSink(flag, text, os.Environ())
	if err != nil {
		return nil, err
	}
	url, err := where.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(url.SQLite); existing && url.SQLite != "" && errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("give the path of the file that winch pulled into", "%s: there is no file %s", flag, url.SQLite)
	}
	store, _, err := a.openSink(ctx, where)
	return store, err
}

// copied returns the sources to copy: the named ones, which must be there, or all.
func (a *app) copied(ctx context.Context, store sink.Sink, named []string) ([]string, error) {
	held, err := store.Sources(ctx)
	if err != nil || len(named) == 0 {
		return held, err
	}
	for _, name := range named {
		if !slices.Contains(held, name) {
			return nil, usagef(cmp.Or("it holds "+strings.Join(held, ", "), "it holds none"), "%s holds no source %q", store.Location(), name)
		}
	}
	slices.Sort(named)
	return slices.Compact(named), nil
}

// copySource copies one source while nobody pulls it, into either store.
func copySource(ctx context.Context, name string, shift int64, from, to sink.Sink, dryRun bool) (copySourceReport, error) {
	report := copySourceReport{Name: name, Tables: []copyTableCount{}}
	ctx, release, err := from.Lock(ctx, sink.Claim{Source: name})
	if err != nil {
		return report, err
	}
	defer release()
	ctx, releaseTarget, err := to.Lock(ctx, sink.Claim{Source: name})
	if err != nil {
		return report, err
	}
	defer releaseTarget()
	in, err := to.Import(ctx, name, shift)
	if err != nil {
		return report, err
	}
	counting := &countedImport{Import: in, report: &report, discard: dryRun}
	err = from.Export(ctx, name, counting)
	if err == nil && !dryRun {
		err = in.Commit(ctx)
	}
	return report, errors.Join(err, in.Close())
}

// countedImport counts the rows of each table on their way, and may keep them.
type countedImport struct {
	sink.Import
	report  *copySourceReport
	discard bool
}

func (c *countedImport) Table(ctx context.Context, t sink.ArchivedTable) error {
	c.report.Tables = append(c.report.Tables, copyTableCount{Table: t.Name, Own: t.Own})
	if c.discard {
		return nil
	}
	return c.Import.Table(ctx, t)
}

func (c *countedImport) Row(ctx context.Context, values [][]byte) error {
	c.report.Tables[len(c.report.Tables)-1].Rows++
	if c.discard {
		return nil
	}
	return c.Import.Row(ctx, values)
}

func (a *app) printCopy(report copyReport) error {
	if a.json() {
		return a.printJSON(report)
	}
	verb := "copied"
	if report.DryRun {
		verb = "would be copied"
	}
	if len(report.Sources) == 0 {
		a.printf("%s holds no source\n", report.From)
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	total := int64(0)
	for _, s := range report.Sources {
		for _, t := range s.Tables {
			name := s.Name + "." + t.Table
			if t.Own {
				if t.Rows == 0 {
					continue
				}
				name = "winch." + t.Table + " of " + s.Name
			}
			fmt.Fprintf(tw, "%s\t%d\t\n", name, t.Rows)
			total += t.Rows
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	a.printf("%s of %s %s from %s to %s\n", count(total, "row"), count(int64(len(report.Sources)), "source"), verb, report.From, report.To)
	return nil
}
