package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// stageReport is where time went, as JSON. Of a run it is summed over slices that
// ran side by side, so that it can exceed the run's own time; copying overlaps
// with decoding and both with requests.
type stageReport struct {
	Vendor     float64 `json:"vendor_seconds"`
	Waiting    float64 `json:"waiting_seconds"`
	Tokens     float64 `json:"token_seconds"`
	Decoding   float64 `json:"decoding_seconds"`
	Copying    float64 `json:"copying_seconds"`
	Merging    float64 `json:"merging_seconds"`
	Committing float64 `json:"committing_seconds"`
	StoreWait  float64 `json:"store_wait_seconds"`
}

func newStageReport(u connector.Usage, s sink.Stages) stageReport {
	return stageReport{
		u.Requesting.Seconds(), u.Waited.Seconds(), u.FetchingTokens.Seconds(),
		s.Decoding.Seconds(), s.Copying.Seconds(), s.Merging.Seconds(), s.Committing.Seconds(), s.Awaiting.Seconds(),
	}
}

// A part is a stage that time went to.
type part struct {
	letter byte // in bars
	name   string
	took   time.Duration
}

func parts(u connector.Usage, s sink.Stages) []part {
	return []part{
		{'v', "vendor's answers", u.Requesting},
		{'w', "waiting for limits and backoff", u.Waited},
		{'t', "tokens", u.FetchingTokens},
		{'d', "decoding records", s.Decoding},
		{'s', "staging rows", s.Copying},
		{'q', "waiting for the store", s.Awaiting},
		{'m', "merging rows", s.Merging},
		{'c', "committing", s.Committing},
	}
}

const (
	shareWidth = 24 // characters of a bar of shares
	lineWidth  = 40 // characters that stand for the time of a run
)

// printStages shows where the time of a run went.
func (a *app) printStages(r sink.Run) {
	all := parts(r.Usage, r.Stages)
	var sum time.Duration
	for _, p := range all {
		sum += p.took
	}
	if sum == 0 {
		return
	}
	a.printf("  where the time went, %s summed over what ran side by side:\n", short(sum))
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, p := range all {
		share := float64(p.took) / float64(sum)
		fmt.Fprintf(tw, "    %c\t%s\t%s\t%3.0f%%\t%s\n", p.letter, p.name, short(p.took), 100*share, strings.Repeat("█", int(math.Round(share*shareWidth))))
	}
	if err := tw.Flush(); err != nil {
		a.log.Warn("result not printed", "error", err)
	}
}

// printTree shows the slices of a run below their streams, each with a bar that
// begins and ends where it did, of letters for where its time went.
func (a *app) printTree(r sink.Run, reads []sink.Read) {
	if len(reads) == 0 {
		return
	}
	until := r.EndedAt
	for _, read := range reads {
		until = latest(until, read.EndedAt)
	}
	slices.SortStableFunc(reads, func(x, y sink.Read) int {
		return cmp.Or(cmp.Compare(x.Slice.Stream, y.Slice.Stream), x.StartedAt.Compare(y.StartedAt))
	})
	width := 0
	for _, read := range reads {
		width = max(width, utf8.RuneCountInString(sliceText(read.Slice)))
	}
	a.printf("  from start to end (%c is time between stages):\n", other)
	first := slices.MinFunc(reads, func(x, y sink.Read) int { return x.StartedAt.Compare(y.StartedAt) }).StartedAt
	opening := max(min(int(math.Round(float64(first.Sub(r.StartedAt))/float64(max(until.Sub(r.StartedAt), 1))*lineWidth)), lineWidth), 0)
	a.printf("    %-*s |%-*s| %7s\n", width+10, "start and plan", lineWidth, strings.Repeat("p", opening), short(first.Sub(r.StartedAt)))
	for i, read := range reads {
		if i == 0 || reads[i-1].Slice.Stream != read.Slice.Stream {
			a.printf("    %s\n", read.Slice.Stream)
		}
		branch, trunk := "├─", "│ "
		if i == len(reads)-1 || reads[i+1].Slice.Stream != read.Slice.Stream {
			branch, trunk = "└─", "  "
		}
		state := string(read.State)
		if read.State == ledger.Failed {
			state = "FAILED"
		}
		a.printf("    %s %-*s  %-6s |%s| %7s  %s\n", branch, width, sliceText(read.Slice), state,
			timeline(r.StartedAt, until, read), short(read.EndedAt.Sub(read.StartedAt)), readText(read))
		if read.Error != "" {
			a.printf("    %s   failed: %s\n", trunk, read.Error)
			if read.Hint != "" {
				a.printf("    %s      try: %s\n", trunk, read.Hint)
			}
		}
	}
}

// other stands in a bar for time that no stage accounts for.
const other = '·'

// timeline draws a read on the line from since to until.
func timeline(since, until time.Time, read sink.Read) string {
	whole := max(until.Sub(since), 1)
	column := func(t time.Time) int {
		return min(max(int(math.Round(float64(t.Sub(since))/float64(whole)*lineWidth)), 0), lineWidth)
	}
	begin := min(column(read.StartedAt), lineWidth-1)
	length := max(column(read.EndedAt)-begin, 1)
	all := parts(read.Usage, read.Stages)
	var sum time.Duration
	for _, p := range all {
		sum += p.took
	}
	sum = max(sum, read.EndedAt.Sub(read.StartedAt), 1)
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", begin))
	var done time.Duration
	drawn := 0
	for _, p := range all {
		done += p.took
		until := int(math.Round(float64(done) / float64(sum) * float64(length)))
		b.WriteString(strings.Repeat(string(p.letter), until-drawn))
		drawn = until
	}
	b.WriteString(strings.Repeat(string(other), length-drawn))
	b.WriteString(strings.Repeat(" ", lineWidth-begin-length))
	return b.String()
}

func sliceText(s ledger.Slice) string {
	var text []string
	if s.Partition != "" {
		text = append(text, "["+s.Partition+"]")
	}
	if !s.Window.IsZero() {
		text = append(text, s.Window.String())
	}
	if len(text) == 0 {
		return "all"
	}
	return strings.Join(text, " ")
}

// readText says what a read brought and cost.
func readText(r sink.Read) string {
	text := countsText(r.Counts) + "; " + count(r.Usage.Requests, "request")
	if r.Usage.Retries > 0 {
		text += fmt.Sprintf(", %d retried", r.Usage.Retries)
	}
	return text + ", " + bytesText(r.Usage.Bytes)
}

// countsText says how many rows there were, and of which kinds there were any.
func countsText(c ledger.Counts) string {
	var kinds []string
	for _, k := range []struct {
		n    int64
		name string
	}{{c.Inserted, "new"}, {c.Updated, "changed"}, {c.Unchanged, "same"}, {c.Deleted, "gone"}, {c.Quarantined, "set aside"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.name))
		}
	}
	text := count(c.Rows, "row")
	if len(kinds) > 0 {
		text += ": " + strings.Join(kinds, ", ")
	}
	return text
}

// short is a duration with what of it matters.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	default:
		return fmt.Sprintf("%.1fms", d.Seconds()*1000)
	}
}

func latest(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

// showRun shows one of the runs that were just done as winch runs does: of those
// that read several slices the smallest, which fits a screen.
func (a *app) showRun(ctx context.Context, store sink.Sink, results []pull.Result) error {
	least := int64(0)
	var chosen sink.Run
	var reads []sink.Read
	for _, res := range results {
		if res.Run == 0 {
			continue
		}
		run, all, err := store.RunByID(ctx, res.Run)
		if err != nil {
			return err
		}
		if n := int64(len(all)); n > 1 && (least == 0 || n < least) {
			least, chosen, reads = n, run, all
		}
	}
	if least == 0 {
		return nil
	}
	a.printf("\none run, from its start to the commit:\n")
	return a.printRun(chosen, reads)
}
