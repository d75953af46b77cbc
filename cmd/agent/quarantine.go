package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

func (a *app) quarantineCommand() *cobra.Command {
	list := a.quarantineListCommand()
	cmd := &cobra.Command{
		Use:   "quarantine [SOURCE[/STREAM]]",
		Short: "records that could not become rows: list, show, retry, drop",
		Long: `Shows the records that could not become rows and were set aside, with the reason.
A record is held until its slice is read again without it, until a retry lands it,
or until it is dropped. quarantine.limit and quarantine.share in the configuration
say how many are set aside before a slice fails instead.`,
		Example: `  winch quarantine                      what is held
  winch quarantine show 12              one record, with its text
  winch quarantine retry kaisa_se       after an upgrade of the connector
  winch quarantine drop kaisa_se/users  give them up`,
		Args: cobra.MaximumNArgs(1),
		RunE: list.RunE,
	}
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, a.quarantineShowCommand(), a.quarantineRetryCommand(), a.quarantineDropCommand())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// quarantineFilter reads SOURCE[/STREAM], if there is one.
func quarantineFilter(args []string) (f sink.QuarantineFilter) {
	if len(args) > 0 {
		f.Source, f.Stream, _ = strings.Cut(args[0], "/")
	}
	return f
}

func (a *app) quarantineListCommand() *cobra.Command {
	var (
		settled bool
		limit   int
	)
	cmd := &cobra.Command{
		Use:     "list [SOURCE[/STREAM]]",
		Short:   "list what is held",
		Example: "  winch quarantine list kaisa_se/cdrs_in --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				f := quarantineFilter(args)
				f.Limit = limit
				if !settled {
					f.State = sink.QuarantineHeld
				}
				records, err := store.Quarantined(cmd.Context(), f)
				if err != nil {
					return err
				}
				return a.printQuarantine(records, limit)
			})
		},
	}
	cmd.Flags().BoolVar(&settled, "settled", false, "also those that were landed, superseded or dropped")
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "show at most `N` records; 0: all")
	return cmd
}

func (a *app) quarantineShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "show one record with its text",
		Long:    "Shows one record with its text, which can hold personal data.",
		Example: "  winch quarantine show 12 --output json | jq .raw",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return usagef("winch quarantine lists the ids", "id %q is no number", args[0])
			}
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				records, err := store.Quarantined(cmd.Context(), sink.QuarantineFilter{ID: id})
				if err != nil {
					return err
				}
				if len(records) == 0 {
					return usagef("winch quarantine lists the ids", "%d: %w of %s", id, sink.ErrNotQuarantined, store.Location())
				}
				return a.printQuarantined(records[0])
			})
		},
	}
}

func (a *app) quarantineDropCommand() *cobra.Command {
	var id int64
	cmd := &cobra.Command{
		Use:   "drop SOURCE[/STREAM] | --id ID",
		Short: "give records up",
		Long: `Gives up what is held of a source or stream, or one record. Its text is deleted. A
dropped record that comes again unchanged stays dropped.`,
		Example: "  winch quarantine drop kaisa_se/users\n  winch quarantine drop --id 12",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (id == 0) {
				return usagef("winch quarantine drop SOURCE[/STREAM], or --id ID", "say which records to drop")
			}
			f := quarantineFilter(args)
			f.ID = id
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				n, err := store.DropQuarantined(cmd.Context(), f)
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(struct {
						Dropped int64 `json:"dropped"`
					}{n})
				}
				a.printf("%s dropped\n", count(n, "record"))
				return nil
			})
		},
	}
	cmd.Flags().Int64Var(&id, "id", 0, "the record with this `ID`")
	return cmd
}

func (a *app) quarantineRetryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retry [SOURCE[/STREAM]]",
		Short: "make rows of what is held, after a fix",
		Long: `Makes rows of what is held, by the streams as the connector declares them now:
after an upgrade of the connector or a change of its settings. Nothing is read from
the vendor but that declaration. A record whose key was read again later is
superseded: the row stays. What still cannot become a row stays held, with the
reason as it is now, and the exit code is 1.`,
		Example: "  winch quarantine retry\n  winch quarantine retry kaisa_se/cdrs_in --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.retryQuarantined(cmd, quarantineFilter(args))
		},
	}
}

func (a *app) retryQuarantined(cmd *cobra.Command, f sink.QuarantineFilter) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	ctx := cmd.Context() // with the trace that the configuration asks for
	if f.Source != "" {
		if _, err := cfg.Source(f.Source); err != nil {
			return err
		}
	}
	store, _, err := a.openSink(ctx, cfg.Sink)
	if err != nil {
		return err
	}
	defer a.closing("store", store.Close)
	f.State = sink.QuarantineHeld
	held, err := store.Quarantined(ctx, f)
	if err != nil {
		return err
	}
	bySource := map[string]bool{}
	for _, q := range held {
		bySource[q.Slice.Source] = true
	}
	report := retryReport{Sources: []retriedReport{}}
	code := exitOK
	launcher := a.launcher(cfg)
	puller := &pull.Puller{Sink: store, Log: a.log, Metrics: a.observed.metrics, Lineage: a.observed.lineage}
	for _, src := range cfg.Sources {
		if !bySource[src.Name] {
			continue
		}
		res, done, err := puller.Retry(ctx, pull.Job{
			Source: src.Name, Budget: src.SharedBudget(ctx), Connector: src.Connector, Trigger: "retry", AsOf: time.Now(),
			Open:   func(ctx context.Context) (*pull.Session, error) { return a.openSource(ctx, launcher, src) },
			Select: func(offered []connector.Stream) ([]ledger.Want, error) { return wants(src, offered) },
		}, f.Stream)
		one := newRetriedReport(res, done)
		report.Sources = append(report.Sources, one)
		switch {
		case err != nil:
			code = worse(code, exitCode(ctx, err))
		case one.Refused > 0 || res.FirstError() != nil:
			code = worse(code, exitStreams)
		}
	}
	if a.json() {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else {
		a.printRetried(report, len(held))
	}
	if code != exitOK {
		return &toldError{code}
	}
	return nil
}

// quarantinedReport is a record as JSON. Scripts rely on it.
type quarantinedReport struct {
	ID        int64                `json:"id"`
	Source    string               `json:"source"`
	Stream    string               `json:"stream"`
	Partition string               `json:"partition,omitempty"`
	Since     *time.Time           `json:"since"`
	Until     *time.Time           `json:"until"`
	Run       int64                `json:"run"`
	ReadAt    time.Time            `json:"read_at"`
	Column    *string              `json:"column"`
	Reason    string               `json:"reason"`
	Attempts  int64                `json:"attempts"`
	State     sink.QuarantineState `json:"state"`
	SettledAt *time.Time           `json:"settled_at"`
	Whole     bool                 `json:"whole"`
	Raw       *string              `json:"raw,omitempty"` // by show alone
}

func newQuarantinedReport(q sink.Quarantined) quarantinedReport {
	report := quarantinedReport{
		ID: q.ID, Source: q.Slice.Source, Stream: q.Slice.Stream, Partition: q.Slice.Partition, Run: q.Run, ReadAt: q.ReadAt.UTC(),
		Column: orNil(q.Column), Reason: q.Reason, Attempts: q.Attempts, State: q.State, Whole: q.Whole,
	}
	report.Since, report.Until = bounds(q.Slice.Window)
	if !q.SettledAt.IsZero() {
		report.SettledAt = &q.SettledAt
	}
	return report
}

func (a *app) printQuarantine(records []sink.Quarantined, limit int) error {
	if a.json() {
		reports := make([]quarantinedReport, 0, len(records))
		for _, q := range records {
			reports = append(reports, newQuarantinedReport(q))
		}
		return a.printJSON(struct {
			Records []quarantinedReport `json:"records"`
		}{reports})
	}
	if len(records) == 0 {
		a.printf("nothing is held\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "id\tslice\tstate\tread\tattempts\treason")
	for _, q := range records {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%s\n", q.ID, q.Slice, q.State, q.ReadAt.Local().Format(time.DateTime), q.Attempts, cut(q.Reason, 120))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(records) == limit {
		a.printf("there may be more: -n 0 shows all\n")
	}
	return nil
}

func (a *app) printQuarantined(q sink.Quarantined) error {
	if a.json() {
		report := newQuarantinedReport(q)
		report.Raw = &q.Raw
		return a.printJSON(report)
	}
	a.printf("record %d of %s: %s\n", q.ID, q.Slice, q.State)
	a.printf("  %s\n", q.Reason)
	a.printf("  read %s by run %d, %s\n", q.ReadAt.Local().Format(time.DateTime), q.Run, count(q.Attempts, "attempt"))
	switch {
	case !q.SettledAt.IsZero():
		a.printf("  %s %s; its text is no longer kept\n", q.State, q.SettledAt.Local().Format(time.DateTime))
	case !q.Whole:
		a.printf("  only a part of its text was kept, it cannot be landed by a retry\n")
	}
	if q.Raw != "" {
		a.printf("%s\n", indented(q.Raw))
	}
	return nil
}

// indented returns JSON text for a person, or the text as it is if it is none.
func indented(raw string) string {
	var v json.RawMessage
	if json.Unmarshal([]byte(raw), &v) != nil {
		return raw
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return raw
	}
	return string(text)
}

// retryReport is what quarantine retry prints as JSON. Scripts rely on it.
type retryReport struct {
	Sources []retriedReport `json:"sources"`
}

type retriedReport struct {
	Name       string              `json:"name"`
	Run        int64               `json:"run"`
	Status     sink.Outcome        `json:"status"`
	Landed     int                 `json:"landed"`
	Superseded int                 `json:"superseded"`
	Refused    int                 `json:"refused"`
	Records    []quarantinedReport `json:"records"` // that are refused
	Error      *string             `json:"error"`
	Hint       *string             `json:"hint"`
}

func newRetriedReport(res pull.Result, done pull.Retried) retriedReport {
	report := retriedReport{
		Name: res.Name, Run: res.Run, Status: res.Status, Landed: len(done.Landed), Superseded: len(done.Superseded),
		Refused: len(done.Refused), Records: []quarantinedReport{},
	}
	for _, q := range done.Refused {
		report.Records = append(report.Records, newQuarantinedReport(q))
	}
	report.Error, report.Hint = explain(res.FirstError())
	return report
}

// shownRefusals is how many of the records that still do not fit are told.
const shownRefusals = 10

func (a *app) printRetried(report retryReport, held int) {
	if held == 0 {
		a.printf("nothing is held\n")
		return
	}
	for _, one := range report.Sources {
		a.printf("%s: %s landed, %d superseded by later reads, %d still held", one.Name, count(int64(one.Landed), "record"), one.Superseded, one.Refused)
		if one.Run > 0 {
			a.printf(", run %d", one.Run)
		}
		a.printf("\n")
		for i, q := range one.Records {
			if i == shownRefusals {
				a.printf("  and %d more: winch quarantine list %s\n", len(one.Records)-i, one.Name)
				break
			}
			a.printf("  %d: %s\n", q.ID, q.Reason)
		}
		if one.Error != nil {
			a.printf("  failed: %s\n", *one.Error)
			if one.Hint != nil {
				a.printf("     try: %s\n", *one.Hint)
			}
		}
	}
	if len(report.Sources) == 0 {
		a.printf("what is held is of sources that are not configured: winch quarantine list\n")
	}
}
