package main

import (
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// runReport is a run as JSON. Scripts rely on it.
type runReport struct {
	ID        int64         `json:"id"`
	Source    string        `json:"source"`
	Connector string        `json:"connector"`
	Trigger   string        `json:"trigger"`
	StartedAt time.Time     `json:"started_at"`
	EndedAt   *time.Time    `json:"ended_at"`
	Seconds   *float64      `json:"seconds"`
	Outcome   *sink.Outcome `json:"outcome"`
	Slices    int64         `json:"slices"`
	Failed    int64         `json:"failed"`
	Counts    ledger.Counts `json:"counts"`
	Usage     usageReport   `json:"usage"`
	Stages    stageReport   `json:"stages"`
	ErrorKind *string       `json:"error_kind"`
	Error     *string       `json:"error"`
	Hint      *string       `json:"hint"`
	TraceID   *string       `json:"trace_id"`
	Reads     []readReport  `json:"reads,omitempty"`
}

type usageReport struct {
	Requests      int64   `json:"requests"`
	Retries       int64   `json:"retries"`
	Bytes         int64   `json:"bytes"`
	WaitedSeconds float64 `json:"waited_seconds"`
	TokensFetched int64   `json:"tokens_fetched"`
	RenewedOn401  int64   `json:"renewed_on_401"`
}

type readReport struct {
	Stream    string        `json:"stream"`
	Partition string        `json:"partition,omitempty"`
	Since     *time.Time    `json:"since"`
	Until     *time.Time    `json:"until"`
	State     ledger.State  `json:"state"`
	StartedAt time.Time     `json:"started_at"`
	Seconds   float64       `json:"seconds"`
	Counts    ledger.Counts `json:"counts"`
	Usage     usageReport   `json:"usage"`
	Stages    stageReport   `json:"stages"`
	ErrorKind *string       `json:"error_kind"`
	Error     *string       `json:"error"`
	Hint      *string       `json:"hint"`
}

func (a *app) runsCommand() *cobra.Command {
	var (
		limit  int
		source string
	)
	cmd := &cobra.Command{
		Use:   "runs [ID]",
		Short: "show past runs, or one with its slices",
		Example: `  winch runs                      the newest runs
  winch runs --source kaisa_se -n 5
  winch runs 42                   one run: its slices, counts, requests, errors, and where the time went
  winch runs cancel 42            end one that goes on, wherever it is`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, store, closeStore, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			if len(args) == 0 {
				runs, err := store.Runs(cmd.Context(), source, limit)
				if err != nil {
					return err
				}
				return a.printRuns(runs)
			}
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("winch runs lists the ids", "run id %q is no number", args[0])
			}
			one, reads, err := store.RunByID(cmd.Context(), id)
			if errors.Is(err, sink.ErrNoRun) {
				return usagef("winch runs lists the ids", "run %d: %w in %s", id, sink.ErrNoRun, store.Location())
			}
			if err != nil {
				return err
			}
			return a.printRun(one, reads)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "show at most `N` runs")
	cmd.Flags().StringVar(&source, "source", "", "only runs of this `SOURCE`")
	cmd.AddCommand(a.runsCancelCommand())
	return cmd
}

func (a *app) printRuns(runs []sink.Run) error {
	if a.json() {
		reports := make([]runReport, 0, len(runs))
		for _, r := range runs {
			reports = append(reports, newRunReport(r))
		}
		return a.printJSON(struct {
			Runs []runReport `json:"runs"`
		}{reports})
	}
	if len(runs) == 0 {
		a.printf("no runs yet; winch pull makes one\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "id\tsource\tstarted\ttook\toutcome\tslices\trows\tnew\tchanged\tgone\trequests\terror")
	for _, r := range runs {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", r.ID, r.Source,
			r.StartedAt.Local().Format(time.DateTime), took(r), outcomeText(r.Outcome), r.Slices,
			r.Counts.Rows, r.Counts.Inserted, r.Counts.Updated, r.Counts.Deleted, r.Usage.Requests, cut(r.Error, 60))
	}
	return tw.Flush()
}

func (a *app) printRun(r sink.Run, reads []sink.Read) error {
	if a.json() {
		report := newRunReport(r)
		report.Reads = make([]readReport, 0, len(reads))
		for _, read := range reads {
			report.Reads = append(report.Reads, newReadReport(read))
		}
		return a.printJSON(report)
	}
	a.printf("run %d of %s (%s), by %s: %s\n", r.ID, r.Source, r.Connector, r.Trigger, outcomeText(r.Outcome))
	a.printf("  started %s, took %s\n", r.StartedAt.Local().Format(time.DateTime), took(r))
	a.printf("  %s landed, %d missing; %d rows: %d new, %d changed, %d same, %d gone\n", count(r.Slices, "slice"), r.Failed,
		r.Counts.Rows, r.Counts.Inserted, r.Counts.Updated, r.Counts.Unchanged, r.Counts.Deleted)
	a.printf("  %s, %d retried, %s read, %s waiting; %s fetched, %d renewed on 401\n", count(r.Usage.Requests, "request"),
		r.Usage.Retries, bytesText(r.Usage.Bytes), r.Usage.Waited.Round(time.Millisecond), count(r.Usage.TokensFetched, "token"), r.Usage.RenewedOn401)
	if n := r.Counts.Quarantined; n > 0 {
		a.printf("  %s could not become rows and %s set aside: winch quarantine list %s\n", count(n, "record"), map[bool]string{true: "was", false: "were"}[n == 1], r.Source)
	}
	if r.Error != "" {
		a.printFailed(r.Error, r.Hint)
	}
	if r.TraceID != "" {
		a.printf("  trace %s\n", r.TraceID)
	}
	a.printStages(r)
	a.printTree(r, reads)
	return nil
}

func newRunReport(r sink.Run) runReport {
	report := runReport{
		ID: r.ID, Source: r.Source, Connector: r.Connector, Trigger: r.Trigger, StartedAt: r.StartedAt.UTC(),
		Slices: r.Slices, Failed: r.Failed, Counts: r.Counts, Usage: newUsageReport(r.Usage),
		Stages: newStageReport(r.Usage, r.Stages),
		Error:  orNil(r.Error), Hint: orNil(r.Hint), TraceID: orNil(r.TraceID),
	}
	if r.Error != "" {
		report.ErrorKind = orNil(r.ErrorKind.String())
	}
	if !r.EndedAt.IsZero() {
		ended, seconds := r.EndedAt.UTC(), r.EndedAt.Sub(r.StartedAt).Seconds()
		report.EndedAt, report.Seconds, report.Outcome = &ended, &seconds, &r.Outcome
	}
	return report
}

func newReadReport(r sink.Read) readReport {
	report := readReport{
		Stream: r.Slice.Stream, Partition: r.Slice.Partition, State: r.State, StartedAt: r.StartedAt.UTC(),
		Seconds: r.EndedAt.Sub(r.StartedAt).Seconds(), Counts: r.Counts, Usage: newUsageReport(r.Usage), Stages: newStageReport(r.Usage, r.Stages),
		Error: orNil(r.Error), Hint: orNil(r.Hint),
	}
	if r.Error != "" {
		report.ErrorKind = orNil(r.ErrorKind.String())
	}
	report.Since, report.Until = bounds(r.Slice.Window)
	return report
}

func newUsageReport(u connector.Usage) usageReport {
	return usageReport{u.Requests, u.Retries, u.Bytes, u.Waited.Seconds(), u.TokensFetched, u.RenewedOn401}
}

// bounds returns the bounds of a window as JSON has them: null without a window.
func bounds(w connector.Window) (since, until *time.Time) {
	if w.IsZero() {
		return nil, nil
	}
	return &w.Since, &w.Until
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func took(r sink.Run) string {
	if r.EndedAt.IsZero() {
		return "-"
	}
	return r.EndedAt.Sub(r.StartedAt).Round(10 * time.Millisecond).String()
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
