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
	"github.com/winchdata/winch/pkg/connector"
)

// sliceReport is a due slice as JSON. Scripts rely on it.
type sliceReport struct {
	Source    string        `json:"source"`
	Stream    string        `json:"stream"`
	Partition string        `json:"partition,omitempty"`
	Since     *time.Time    `json:"since"`
	Until     *time.Time    `json:"until"`
	Reason    ledger.Reason `json:"reason"`
	// LastReadAt is absent from what is not held.
	LastReadAt *time.Time `json:"last_read_at,omitempty"`
}

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan [SOURCE...]",
		Short: "show what a pull would read now, and why",
		Long: `Shows the slices that a pull would read now, each with its reason: missing (not
held, or not whole), lookback (young enough to be restated, and last read
lookback_every ago or earlier), failed, resume (read in part), refresh (a snapshot
or cursor stream, read on every pull). Slices that adjoin and have one reason share
a line; --output json has each. A window is held when the ledger covers it, whatever
slices it was read by.

What changed in the declaration or the configuration of a stream since it was read
last comes first, with what to run; a stream whose key or mode is another one is not
read. Requests and time are estimated from past reads of the stream and the limits
that the connector keeps to. It reads nothing from the vendor but what the connector
needs to list its streams.`,
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
			var all plan
			for _, src := range sources {
				if err := a.planSource(cmd.Context(), store, launcher, src, &all); err != nil {
					return fmt.Errorf("source %s: %w", src.Name, err)
				}
			}
			return a.printPlan(all)
		},
	}
}

// A plan is what a pull would read, and what that will cost.
type plan struct {
	due              []ledger.Due
	changes          []changeReport
	streams, sources []estimateReport
}

// planSource adds what is due of one source.
func (a *app) planSource(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, src *config.Source, p *plan) error {
	session, err := a.openSource(ctx, launcher, src)
	if err != nil {
		return err
	}
	defer a.closing("connector", session.Close)
	offered, err := session.Source.Streams(ctx)
	if err != nil {
		return err
	}
	all, err := wants(src, offered)
	if err != nil {
		return err
	}
	entries, err := store.Entries(ctx, src.Name)
	if err != nil {
		return err
	}
	declared, err := store.Declarations(ctx, src.Name)
	if err != nil {
		return err
	}
	var due []ledger.Due
	known, now := ledger.ByStream(entries), time.Now()
	for _, want := range all {
		want.Partitions, err = pull.Partitions(ctx, session.Source, want.Stream.Name)
		if err != nil {
			return err
		}
		changes := changesOf(declared, want, known[want.Stream.Name])
		p.changes = append(p.changes, reportChanges(src.Name, want.Stream.Name, changes)...)
		if _, refused := ledger.Refused(changes); refused {
			continue // a pull reads none of it
		}
		due = append(due, ledger.Plan(want, known[want.Stream.Name], now)...)
	}
	streams, whole, err := a.estimate(ctx, store, session.Source, src.Name, due)
	if err != nil {
		return err
	}
	p.due, p.streams, p.sources = append(p.due, due...), append(p.streams, streams...), append(p.sources, whole)
	return nil
}

// planReport is a plan as JSON. Scripts rely on it.
type planReport struct {
	Slices    []sliceReport    `json:"slices"`
	Changes   []changeReport   `json:"changes"`
	Estimates []estimateReport `json:"estimates"`
}

func (p plan) report() planReport {
	reports := make([]sliceReport, 0, len(p.due))
	for _, d := range p.due {
		one := sliceReport{Source: d.Slice.Source, Stream: d.Slice.Stream, Partition: d.Slice.Partition, Reason: d.Reason}
		one.Since, one.Until = bounds(d.Slice.Window)
		if !d.LastReadAt.IsZero() {
			one.LastReadAt = &d.LastReadAt
		}
		reports = append(reports, one)
	}
	return planReport{reports, append([]changeReport{}, p.changes...), append(append([]estimateReport{}, p.streams...), p.sources...)}
}

func (a *app) printPlan(p plan) error {
	if a.json() {
		return a.printJSON(p.report())
	}
	if a.printChanges(p.changes); len(p.due) == 0 {
		a.printf("nothing is due\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "source\tstream\twindow\tslices\twhy")
	for _, s := range stretches(p.due, time.Now()) {
		stream := s.slice.Stream
		if s.slice.Partition != "" {
			stream += "[" + s.slice.Partition + "]"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", s.slice.Source, stream, s.slice.Window, s.slices, s.why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	a.printf("\n")
	if err := a.printEstimates(p.streams, p.sources); err != nil {
		return err
	}
	a.printf("%s due; winch pull reads them\n", count(int64(len(p.due)), "slice"))
	return nil
}

// A stretch is slices of one stream and partition that follow one another in a
// plan, adjoin, and are due for the same reason: a year of days is one line.
type stretch struct {
	slice  ledger.Slice
	slices int
	why    string
}

func stretches(due []ledger.Due, now time.Time) []stretch {
	var all []stretch
	last := map[ledger.Slice]int{} // by stream and partition: those of a stream take turns in a plan
	for _, d := range due {
		why := string(d.Reason)
		if !d.LastReadAt.IsZero() {
			why += ", last read " + ageText(now.Sub(d.LastReadAt)) + " ago"
		}
		of := d.Slice
		of.Window = connector.Window{}
		if i, ok := last[of]; ok && all[i].extend(d.Slice.Window, why) {
			continue
		}
		last[of] = len(all)
		all = append(all, stretch{d.Slice, 1, why})
	}
	return all
}

// extend takes a window in, if it adjoins for the same reason.
func (s *stretch) extend(next connector.Window, why string) bool {
	whole := &s.slice.Window
	switch {
	case why != s.why:
		return false
	case next.Until.Equal(whole.Since):
		whole.Since = next.Since
	case next.Since.Equal(whole.Until):
		whole.Until = next.Until
	default:
		return false
	}
	s.slices++
	return true
}
