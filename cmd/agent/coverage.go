package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// streamsPatience is how long a connector may take to list its streams. Most do
// so without the vendor; those that ask it must not keep the calendar waiting.
const streamsPatience = 5 * time.Second

// unscheduledFreshness is when a window of a source without a schedule should
// have been read again: a night, and half a day for whoever starts it by hand.
const unscheduledFreshness = 36 * time.Hour

func (a *app) coverageCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "coverage [SOURCE[/STREAM]]",
		Short: "show which days are held, and which are missing",
		Long: `Draws the ledger: for each day of each stream whether it is

  held         read whole, and old enough to stay as it is
  provisional  read whole, but within the lookback: the vendor may still change it
  stale        provisional, but not read again when it should have been: since the
               scheduled pull before the last one, or for 36 hours without a schedule
  missing      wanted, and never read or only in part
  failed       the last attempt failed; what was read before is still there

With SOURCE/STREAM it draws a calendar of one stream, its last twelve months unless
--from says more; otherwise a line a stream. Days begin in the source's time zone. A
day that several slices or partitions share has the worst of their states. Snapshot
and cursor streams have no days; their line says when they were last read.

It reads the store and asks the connector for its streams, not the vendor for data:
it works while the vendor is down.`,
		Example: `  winch coverage
  winch coverage kaisa_se/cdrs_in --from 2025-01-01
  winch coverage kaisa_se --output json | jq '.streams[] | select(.missing > 0) | .gaps'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, store, closeStore, err := a.openStore(cmd.Context()) // what the ledger knows can be drawn without a configuration
			if err != nil {
				return err
			}
			defer closeStore()
			c := coverer{app: a, cfg: cfg, store: store, launcher: a.launcher(cfg), now: time.Now()}
			if len(args) > 0 {
				c.source, c.stream, _ = strings.Cut(args[0], "/")
			}
			if c.from, err = dayFlag("--from", from); err != nil {
				return err
			}
			if c.to, err = dayFlag("--to", to); err != nil {
				return err
			}
			all, err := c.streams(cmd.Context())
			if err != nil {
				return err
			}
			return a.printCoverage(all, c)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first `DAY` drawn, such as 2026-01-01 (default: the first that is wanted or held)")
	cmd.Flags().StringVar(&to, "to", "", "last `DAY` drawn (default: the last that is wanted or held)")
	return cmd
}

// dayFlag reads a day; its year, month and day count, not its location.
func dayFlag(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return day, usagef("a day such as 2026-01-31", "%s %q", name, text)
	}
	return day, nil
}

// A coverer gathers what is to be drawn.
type coverer struct {
	*app
	cfg            *config.Config
	store          sink.Sink
	launcher       *plugin.Launcher
	now            time.Time
	source, stream string    // empty for all
	from, to       time.Time // days, zero for all
}

// A covered is one stream and what is held of it.
type covered struct {
	want       ledger.Want
	configured bool // the configuration wants the stream
	days       []ledger.Day
	summary    ledger.DaySummary
	whole      *wholeRead // of snapshot and cursor streams
}

// A wholeRead is what is held of a stream without windows, all partitions
// together.
type wholeRead struct {
	state  ledger.DayState
	rows   int64     // of the last read
	readAt time.Time // the oldest last read of a partition
	err    string
}

// streams returns the streams of the configuration and of the ledger.
func (c *coverer) streams(ctx context.Context) ([]covered, error) {
	entries, err := c.store.Entries(ctx, c.source)
	if err != nil {
		return nil, err
	}
	var all []covered
	var names []string
	for _, src := range c.cfg.Sources {
		names = append(names, src.Name)
		if c.source == src.Name || c.source == "" && src.Enabled {
			all = append(all, c.ofSource(ctx, src, entries)...)
		}
	}
	// What the ledger holds of sources and streams that are not configured.
	type stream struct{ source, name string }
	known := map[stream]bool{}
	for _, one := range all {
		known[stream{one.want.Source, one.want.Stream.Name}] = true
	}
	for _, e := range entries {
		s := stream{e.Slice.Source, e.Slice.Stream}
		if known[s] {
			continue
		}
		known[s] = true
		names = append(names, s.source)
		want := ledger.Want{Source: s.source, Stream: connector.Stream{Name: s.name, Mode: connector.ModeWindow}}
		if e.Slice.Window.IsZero() {
			want.Stream.Mode = connector.ModeSnapshot
			if len(e.Cursor) > 0 {
				want.Stream.Mode = connector.ModeCursor
			}
		}
		if src, err := c.cfg.Source(s.source); err == nil {
			want.Location = src.Location
		}
		all = append(all, c.cover(want, false, entries, c.now.Add(-unscheduledFreshness)))
	}
	if c.source != "" && !slices.Contains(names, c.source) {
		return nil, usagef("one of "+strings.Join(names, ", "), "neither the configuration nor the ledger has a source %q", c.source)
	}
	if c.stream == "" {
		return all, nil
	}
	var streams []string
	for _, one := range all {
		if one.want.Stream.Name == c.stream {
			return []covered{one}, nil
		}
		streams = append(streams, one.want.Stream.Name)
	}
	return nil, usagef("one of "+strings.Join(streams, ", "), "source %s has no stream %q", c.source, c.stream)
}

// ofSource returns the streams that the configuration wants of a source.
func (c *coverer) ofSource(ctx context.Context, src *config.Source, entries []ledger.Entry) []covered {
	offered, err := c.offered(ctx, src)
	if err == nil {
		var all []ledger.Want
		if all, err = wants(src, offered); err == nil {
			var streams []covered
			for _, want := range all {
				streams = append(streams, c.cover(want, true, entries, freshSince(src.Schedule, c.now)))
			}
			return streams
		}
	}
	// The ledger still knows what is held, if not what is wanted.
	c.log.WarnContext(ctx, "the streams that are wanted are not known, only those in the ledger are shown", "source", src.Name, "error", err)
	return nil
}

// offered asks the source's connector for its streams. If it cannot tell now, the
// streams that it is described with are the next best.
func (c *coverer) offered(ctx context.Context, src *config.Source) ([]connector.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, streamsPatience)
	defer cancel()
	offered, err := c.ask(ctx, src)
	if err == nil {
		return offered, nil
	}
	if def, known := bundledConnector(src.Connector); known {
		c.log.InfoContext(ctx, "the connector was not asked for its streams, its defaults are assumed", "source", src.Name, "error", err)
		return def.Streams, nil
	}
	return nil, err
}

func (c *coverer) ask(ctx context.Context, src *config.Source) ([]connector.Stream, error) {
	session, err := c.openSource(ctx, c.launcher, src)
	if err != nil {
		return nil, err
	}
	defer c.closing("connector", session.Close)
	return session.Source.Streams(ctx)
}

// cover says what is held of one stream.
func (c *coverer) cover(want ledger.Want, configured bool, entries []ledger.Entry, fresh time.Time) covered {
	one := covered{want: want, configured: configured}
	if want.Stream.Mode != connector.ModeWindow {
		one.whole = wholeOf(want, entries, fresh)
		return one
	}
	loc := cmp.Or(want.Location, time.UTC)
	view := ledger.View{Now: c.now, FreshSince: fresh}
	if !c.from.IsZero() {
		view.From = inZone(c.from, loc)
	}
	if !c.to.IsZero() {
		view.To = inZone(c.to.AddDate(0, 0, 1), loc)
	}
	one.days = ledger.Coverage(want, entries, view)
	one.summary = ledger.Summarize(one.days)
	return one
}

// inZone returns the same date at its midnight in the location.
func inZone(day time.Time, loc *time.Location) time.Time {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, loc)
}

func wholeOf(want ledger.Want, entries []ledger.Entry, fresh time.Time) *wholeRead {
	var whole *wholeRead
	for _, e := range entries {
		if e.Slice.Source != want.Source || e.Slice.Stream != want.Stream.Name {
			continue
		}
		if whole == nil {
			whole = &wholeRead{state: ledger.DayHeld, readAt: e.LastReadAt}
		}
		whole.rows += e.Counts.Rows
		if e.LastReadAt.Before(whole.readAt) {
			whole.readAt = e.LastReadAt
		}
		switch {
		case e.State == ledger.Failed:
			whole.state, whole.err = ledger.DayFailed, e.Error
		case whole.state == ledger.DayFailed:
		case e.State == ledger.Partial || e.LastReadAt.IsZero():
			whole.state = ledger.DayMissing
		case whole.state == ledger.DayHeld && e.LastReadAt.Before(fresh):
			whole.state = ledger.DayStale
		}
	}
	if whole == nil {
		whole = &wholeRead{state: ledger.DayMissing}
	}
	return whole
}

// freshSince is when what is read on every pull should have been read the last
// time: at the scheduled pull before the last one, since the last may be running.
func freshSince(schedule config.Schedule, now time.Time) time.Time {
	if schedule.IsZero() {
		return now.Add(-unscheduledFreshness)
	}
	// A schedule only looks ahead, so start far enough back for two of its ticks.
	for _, back := range []time.Duration{time.Hour, 25 * time.Hour, 15 * 24 * time.Hour, 63 * 24 * time.Hour, 2 * 366 * 24 * time.Hour} {
		var last, before time.Time
		for tick := schedule.Next(now.Add(-back)); !tick.IsZero() && !tick.After(now); tick = schedule.Next(tick) {
			last, before = tick, last
		}
		if !before.IsZero() {
			return before
		}
	}
	return time.Time{} // rarer than once a year: nothing is ever overdue
}
