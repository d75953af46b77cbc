package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// pastReads is how many of a stream's newest reads an estimate rests on.
const pastReads = 100

// An estimateReport is what reading due slices is expected to cost, as JSON.
// Scripts rely on it.
type estimateReport struct {
	Source string `json:"source"`
	Stream string `json:"stream,omitempty"` // empty for the source as a whole
	Slices int    `json:"slices"`
	// Requests and Seconds are the least it can be where slices are assumed: of
	// streams that were never read.
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds"`
	Assumed  int     `json:"assumed_slices"`
}

// estimate says what reading the due slices of one source will cost: a report a
// stream in the order of the slices, and one of the source as a whole, whose
// streams share the vendor's limits. It asks the store and the connector, never
// the vendor.
func (a *app) estimate(ctx context.Context, store sink.Sink, src connector.Source, source string, due []ledger.Due) (streams []estimateReport, whole estimateReport, err error) {
	limits, err := pull.Limits(ctx, src)
	if err != nil {
		return nil, whole, err
	}
	var names []string
	byStream := map[string][]ledger.Due{}
	partitions := map[string]bool{}
	for _, d := range due {
		name := d.Slice.Stream
		if _, known := byStream[name]; !known {
			names = append(names, name)
		}
		byStream[name] = append(byStream[name], d)
		partitions[d.Slice.Partition] = true
	}
	report := func(stream string, e ledger.Estimate) estimateReport {
		return estimateReport{
			Source: source, Stream: stream, Slices: e.Slices, Requests: e.Requests, Assumed: e.Assumed,
			Seconds: e.Duration(limits, pull.MostSlices, len(partitions)).Seconds(),
		}
	}
	var sum ledger.Estimate
	for _, name := range names {
		past, err := store.Costs(ctx, source, name, pastReads)
		if err != nil {
			return nil, whole, err
		}
		e := ledger.EstimateDue(byStream[name], past)
		sum = sum.Add(e)
		streams = append(streams, report(name, e))
	}
	return streams, report("", sum), nil
}

// printEstimates prints what reading will cost: a line a stream, and one a source.
func (a *app) printEstimates(streams, sources []estimateReport) error {
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "source\tstream\tslices\trequests\tabout\t")
	assumed := false
	line := func(name string, e estimateReport) {
		least := ""
		if e.Assumed > 0 {
			least, assumed = ">=", true
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s%d\t%s%s\t\n", e.Source, name, e.Slices, least, e.Requests, least, secondsText(e.Seconds))
	}
	for _, whole := range sources {
		n := 0
		for _, e := range streams {
			if e.Source == whole.Source {
				line(e.Stream, e)
				n++
			}
		}
		if n > 1 {
			line("all", whole)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if assumed {
		a.printf(">= never read before: one request a slice is the least it takes\n")
	}
	return nil
}

// secondsText is a duration for people: 0s, 45s, 3m20s, 2h5m.
func secondsText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		text := d.Round(time.Minute).String()
		return text[:len(text)-len("0s")]
	}
}
