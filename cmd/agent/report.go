package main

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// pullReport is what demo and pull print as JSON. Scripts rely on it: fields may
// be added, never changed.
type pullReport struct {
	Sources []sourceReport `json:"sources"`
	Sink    string         `json:"sink"`
	// Run is the id of the newest run; each source has its own.
	Run int64 `json:"run"`
}

type sourceReport struct {
	Name      string         `json:"name"`
	Connector string         `json:"connector"`
	Status    sink.Outcome   `json:"status"`
	Run       int64          `json:"run"`
	Tokens    tokenReport    `json:"tokens"`
	Streams   []streamReport `json:"streams"`
	Error     *string        `json:"error"`
	Hint      *string        `json:"hint"`
	// Command reads what is missing; absent where nothing is.
	Command string `json:"command,omitempty"`
	// Kept is the file with what was said last, where --keep-failed kept it.
	Kept string `json:"kept,omitempty"`
}

type tokenReport struct {
	Fetched      int64 `json:"fetched"`
	RenewedOn401 int64 `json:"renewed_on_401"`
}

type streamReport struct {
	Name      string       `json:"name"`
	Status    sink.Outcome `json:"status"`
	Due       int          `json:"due"`
	Slices    int          `json:"slices"`
	Rows      int64        `json:"rows"`
	Inserted  int64        `json:"inserted"`
	Updated   int64        `json:"updated"`
	Unchanged int64        `json:"unchanged"`
	Deleted   int64        `json:"deleted"`
	// Quarantined records could not become rows; they are not among Rows.
	Quarantined int64 `json:"quarantined"`
	// Undeclared fields went to _extra; the numbers are of a sample of the records.
	Undeclared map[string]int64 `json:"undeclared,omitempty"`
	// Changes are what differs from what the stream was read as last.
	Changes []ledger.Change `json:"changes,omitempty"`
	// Missing is what was due and could not be read; Command of the source reads it.
	Missing  []missingReport `json:"missing,omitempty"`
	Requests int64           `json:"requests"`
	Retries  int64           `json:"retries"`
	Bytes    int64           `json:"bytes"`
	Seconds  float64         `json:"seconds"`
	Error    *string         `json:"error"`
	Hint     *string         `json:"hint"`
}

func newPullReport(location string, results []pull.Result, kept map[string]string, again func(pull.Result) string) pullReport {
	report := pullReport{Sources: []sourceReport{}, Sink: location}
	for _, res := range results {
		report.Run = max(report.Run, res.Run)
		one := sourceReport{
			Name: res.Name, Connector: res.Connector, Status: res.Status, Run: res.Run,
			Tokens:  tokenReport{res.Usage.TokensFetched, res.Usage.RenewedOn401},
			Streams: []streamReport{},
			Kept:    kept[res.Name],
		}
		one.Error, one.Hint = explain(res.Err)
		if res.Status != sink.Succeeded {
			one.Command = again(res)
		}
		for _, s := range res.Streams {
			stream := streamReport{
				Name: s.Name, Status: s.Status, Due: s.Due, Slices: s.Slices,
				Rows: s.Counts.Rows, Inserted: s.Counts.Inserted, Updated: s.Counts.Updated,
				Unchanged: s.Counts.Unchanged, Deleted: s.Counts.Deleted, Quarantined: s.Counts.Quarantined, Undeclared: s.Undeclared,
				Changes: s.Changes, Missing: reportMissing(s),
				Requests: s.Usage.Requests, Retries: s.Usage.Retries, Bytes: s.Usage.Bytes,
				Seconds: math.Round(s.Seconds*1000) / 1000,
			}
			stream.Error, stream.Hint = explain(s.Err)
			one.Streams = append(one.Streams, stream)
		}
		report.Sources = append(report.Sources, one)
	}
	return report
}

// explain returns an error's text and hint, nil where there is none.
func explain(err error) (text, hint *string) {
	if err == nil {
		return nil, nil
	}
	s := err.Error()
	if h := hintOf(err); h != "" {
		hint = &h
	}
	return &s, hint
}

// printResults prints the results of a pull for a person: a table a source, then
// every failure with what to try, and where its last exchanges are kept.
func (a *app) printResults(results []pull.Result, kept map[string]string) {
	a.printResultsAgain(results, kept, pullAgain)
}

// printResultsAgain is printResults for what another command reads again.
func (a *app) printResultsAgain(results []pull.Result, kept map[string]string, again func(pull.Result) string) {
	for _, res := range results {
		a.printf("%s (%s): %s", res.Name, res.Connector, outcomeText(res.Status))
		if res.Run > 0 {
			a.printf(", run %d", res.Run)
		}
		a.printf("\n")
		if len(res.Streams) > 0 {
			a.printStreams(res)
		}
		for _, s := range res.Streams {
			a.printChanges(reportChanges(res.Name, s.Name, s.Changes))
		}
		a.printf("  %s fetched, %d renewed on 401; %s, %d retried, %s read",
			count(res.Usage.TokensFetched, "token"), res.Usage.RenewedOn401,
			count(res.Usage.Requests, "request"), res.Usage.Retries, bytesText(res.Usage.Bytes))
		if res.Usage.Waited >= time.Second {
			a.printf(", %s spent waiting for limits", res.Usage.Waited.Round(time.Second))
		}
		a.printf("\n")
		if n := res.Counts.Quarantined; n > 0 {
			a.printf("  %s could not become rows: winch quarantine list %s\n", count(n, "record"), res.Name)
		}
		a.printFailures(res, again(res))
		if path := kept[res.Name]; path != "" {
			a.printf("  what was said last, redacted, is in %s\n", path)
		}
	}
}

func (a *app) printStreams(res pull.Result) {
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "  stream\trows\tnew\tchanged\tsame\tgone\tslices\trequests\tseconds\t")
	line := func(name string, s pull.StreamResult, slices string) {
		fmt.Fprintf(tw, "  %s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%.1f\t", name, s.Counts.Rows, s.Counts.Inserted,
			s.Counts.Updated, s.Counts.Unchanged, s.Counts.Deleted, slices, s.Usage.Requests, s.Seconds)
		if s.Status != sink.Succeeded {
			fmt.Fprintf(tw, "  %s", outcomeText(s.Status))
		}
		fmt.Fprintln(tw)
	}
	for _, s := range res.Streams {
		slices := fmt.Sprint(s.Slices)
		if s.Slices < s.Due {
			slices = fmt.Sprintf("%d of %d", s.Slices, s.Due)
		}
		line(s.Name, s, slices)
	}
	if err := tw.Flush(); err != nil {
		a.log.Warn("result not printed", "error", err)
	}
}

// printFailed says what went wrong, below the line of what it went wrong with.
// The problems of a configuration are a line each.
func (a *app) printFailed(text, hint string) {
	a.printf("  failed: %s\n", strings.ReplaceAll(text, "\n", "\n          "))
	if hint != "" {
		a.printf("     try: %s\n", hint)
	}
}

// printFailures says what is missing and what to do about it.
func (a *app) printFailures(res pull.Result, again string) {
	failure := func(err error) {
		a.printFailed(err.Error(), hintOf(err))
	}
	if res.Err != nil && res.Status != sink.Interrupted {
		failure(res.Err)
	}
	for _, s := range res.Streams {
		if s.Err == nil {
			continue
		}
		if res.Err == nil || s.Err.Error() != res.Err.Error() {
			failure(s.Err)
		}
		if missing := missingText(s); missing != "" {
			a.printf(" missing: %s %s\n", s.Name, missing)
		}
	}
	switch {
	case res.Status == sink.Interrupted:
		a.printf("  interrupted: what is landed is landed, the same command goes on from there\n")
	case res.Failures() > 0 && res.Run > 0:
		a.printf("  the rest is landed; once the cause is gone: %s\n", again)
	}
}

// pullAgain is the command that reads what a pull could not.
func pullAgain(res pull.Result) string {
	var names []string
	for _, s := range res.Streams {
		if s.Slices < s.Due || s.Err != nil {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 || len(names) == len(res.Streams) {
		return "winch pull " + res.Name
	}
	return "winch pull " + res.Name + " --stream " + strings.Join(names, ",")
}

func outcomeText(o sink.Outcome) string {
	switch o {
	case sink.Succeeded:
		return "ok"
	case sink.Incomplete:
		return "incomplete"
	case sink.FailedRun:
		return "FAILED"
	case sink.Interrupted:
		return "interrupted"
	case sink.Lost:
		return "lost: the agent died"
	case "":
		return "running"
	}
	return string(o)
}

// count returns a number with its noun in the right number.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, s := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, suffix = value/unit, s
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + suffix
}

// kindText names an error's kind for a person.
func kindText(err error) string {
	return strings.ReplaceAll(connector.KindOf(err).String(), "_", " ")
}
