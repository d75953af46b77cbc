package main

import (
	"cmp"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
)

func (a *app) scheduleCommand() *cobra.Command {
	list := a.scheduleListCommand()
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "show the schedules, what is to come and what was decided; pause a source",
		Long: `Shows the schedules of the configuration. The next ticks, and what became of those
that were due, are sub-commands, as are pause and resume.`,
		Example: `  winch schedule                      all schedules, with their next ticks
  winch schedule next -n 5 kaisa_se
  winch schedule history kaisa_se     why each tick was taken or skipped
  winch schedule pause kaisa_se`,
		RunE: list.RunE,
	}
	cmd.AddCommand(list, a.scheduleNextCommand(), a.scheduleHistoryCommand(), a.schedulePauseCommand(true), a.schedulePauseCommand(false))
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// scheduleReport is a schedule as JSON. Scripts rely on it.
type scheduleReport struct {
	Source       string     `json:"source"`
	Schedule     string     `json:"schedule"`
	Expression   string     `json:"expression"`
	Timezone     string     `json:"timezone"`
	DelaySeconds float64    `json:"delay_seconds"`
	Overlap      string     `json:"overlap"`
	CatchUp      string     `json:"catch_up"`
	Enabled      bool       `json:"enabled"`
	PausedAt     *time.Time `json:"paused_at"`
	NextDue      *time.Time `json:"next_due"`
	Open         int        `json:"open"` // ticks that are taken and not done
}

func (a *app) scheduleListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "show all schedules, with their next ticks",
		Example: "  winch schedule list\n  winch schedule list --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSources(cmd.Context(), func(cfg *config.Config, store sink.Sink) error {
				paused, err := store.PausedSources(cmd.Context())
				if err != nil {
					return err
				}
				open, err := store.OpenTicks(cmd.Context())
				if err != nil {
					return err
				}
				now := time.Now()
				reports := []scheduleReport{}
				for _, src := range cfg.Sources {
					for _, one := range src.Schedules() {
						delay := scheduler.Delay(src.Name, src.Jitter)
						r := scheduleReport{
							Source: src.Name, Schedule: one.Key, Expression: one.Schedule.String(), Timezone: src.Location.String(),
							DelaySeconds: delay.Seconds(), Overlap: string(src.Overlap), CatchUp: string(src.CatchUp), Enabled: src.Enabled,
						}
						if at, ok := paused[src.Name]; ok {
							r.PausedAt = &at
						}
						if next := one.Schedule.Next(now.Add(-delay)); !next.IsZero() {
							next = next.Add(delay)
							r.NextDue = &next
						}
						for _, t := range open {
							if t.Source == r.Source && t.Schedule == r.Schedule {
								r.Open++
							}
						}
						reports = append(reports, r)
					}
				}
				return a.printSchedules(reports)
			})
		},
	}
}

func (a *app) printSchedules(reports []scheduleReport) error {
	if a.json() {
		return a.printJSON(struct {
			Schedules []scheduleReport `json:"schedules"`
		}{reports})
	}
	if len(reports) == 0 {
		a.printf("no source has a schedule; give one by sources.NAME.schedule\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "source\tschedule\texpression\tzone\tdelay\toverlap\tcatch-up\topen\tnext due")
	for _, r := range reports {
		next := "never"
		switch {
		case !r.Enabled:
			next = "disabled"
		case r.PausedAt != nil:
			next = "paused since " + r.PausedAt.Local().Format(time.DateTime)
		case r.NextDue != nil:
			next = r.NextDue.Format(time.DateTime + " MST")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.Source, r.Schedule, r.Expression, r.Timezone,
			time.Duration(r.DelaySeconds*float64(time.Second)), r.Overlap, r.CatchUp, r.Open, next)
	}
	return tw.Flush()
}

// tickReport is a tick to come as JSON. Scripts rely on it.
type tickReport struct {
	Source   string    `json:"source"`
	Schedule string    `json:"schedule"`
	Tick     time.Time `json:"tick"`
	DueAt    time.Time `json:"due_at"`
	Timezone string    `json:"timezone"`
	Note     string    `json:"note"`
}

func (a *app) scheduleNextCommand() *cobra.Command {
	var (
		limit int
		after string
	)
	cmd := &cobra.Command{
		Use:   "next [SOURCE...]",
		Short: "show the next ticks",
		Long: `Shows the next ticks of the named sources, or of all that are enabled, in the time
zone of each, with the delay that the jitter gives it, and a note where the clock skips
the time or shows it twice. It asks nobody: a paused source has ticks too, which are
skipped.`,
		Example: "  winch schedule next\n  winch schedule next -n 5 kaisa_se\n  winch schedule next --after 2026-10-24 kaisa_se",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			sources, err := cfg.Pick(args...)
			if err != nil {
				return err
			}
			from := time.Now()
			if after != "" {
				if from, err = parseMoment(after); err != nil {
					return err
				}
			}
			if limit < 1 {
				return usagef("-n 10", "-n %d: want at least one tick", limit)
			}
			return a.printTicks(nextTicks(sources, from, limit))
		},
	}
	cmd.Flags().IntVarP(&limit, "number", "n", 10, "show `N` ticks")
	cmd.Flags().StringVar(&after, "after", "", "those after this `TIME`, such as 2026-10-24 or 2026-10-24T12:00:00Z, instead of now")
	return cmd
}

func parseMoment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("a date such as 2026-10-24, or a time such as 2026-10-24T12:00:00Z", "--after %q is no time", text)
}

func nextTicks(sources []*config.Source, from time.Time, limit int) []tickReport {
	ticks := []tickReport{}
	for _, src := range sources {
		delay := scheduler.Delay(src.Name, src.Jitter)
		for _, one := range src.Schedules() {
			at := from.Add(-delay)
			for range limit {
				if at = one.Schedule.Next(at); at.IsZero() {
					break
				}
				ticks = append(ticks, tickReport{src.Name, one.Key, at, at.Add(delay), src.Location.String(), one.Schedule.Note(at)})
			}
		}
	}
	slices.SortStableFunc(ticks, func(x, y tickReport) int { return x.DueAt.Compare(y.DueAt) })
	return ticks[:min(limit, len(ticks))]
}

func (a *app) printTicks(ticks []tickReport) error {
	if a.json() {
		return a.printJSON(struct {
			Ticks []tickReport `json:"ticks"`
		}{ticks})
	}
	if len(ticks) == 0 {
		a.printf("no tick is to come\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "due\tzone\tsource\tschedule\ttick\tnote")
	for _, t := range ticks {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", t.DueAt.Format("Mon 2006-01-02 15:04:05 MST"), t.Timezone, t.Source, t.Schedule,
			t.Tick.Format(time.TimeOnly), cmp.Or(t.Note, "-"))
	}
	return tw.Flush()
}

// decisionReport is what became of a tick, as JSON. Scripts rely on it.
type decisionReport struct {
	Source      string        `json:"source"`
	Schedule    string        `json:"schedule"`
	Tick        time.Time     `json:"tick"`
	DueAt       time.Time     `json:"due_at"`
	Decision    sink.Decision `json:"decision"`
	Reason      string        `json:"reason"`
	DecidedAt   time.Time     `json:"decided_at"`
	LateSeconds float64       `json:"late_seconds"`
	Agent       string        `json:"agent"`
	Run         *int64        `json:"run"`
	DoneAt      *time.Time    `json:"done_at"`
}

func (a *app) scheduleHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "history [SOURCE]",
		Short:   "show what was decided about ticks, and why",
		Example: "  winch schedule history kaisa_se\n  winch schedule history -n 100 --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(_ *config.Config, store sink.Sink) error {
				source := ""
				if len(args) > 0 {
					source = args[0]
				}
				ticks, err := store.Ticks(cmd.Context(), source, limit)
				if err != nil {
					return err
				}
				return a.printDecisions(ticks)
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "number", "n", 20, "show the newest `N` ticks")
	return cmd
}

func (a *app) printDecisions(ticks []sink.Tick) error {
	if a.json() {
		reports := make([]decisionReport, 0, len(ticks))
		for _, t := range ticks {
			r := decisionReport{
				Source: t.Source, Schedule: t.Schedule, Tick: t.Tick, DueAt: t.DueAt, Decision: t.Decision, Reason: t.Reason,
				DecidedAt: t.DecidedAt, LateSeconds: t.DecidedAt.Sub(t.DueAt).Seconds(), Agent: t.Agent,
			}
			if t.Run != 0 {
				r.Run = &t.Run
			}
			if !t.DoneAt.IsZero() {
				r.DoneAt = &t.DoneAt
			}
			reports = append(reports, r)
		}
		return a.printJSON(struct {
			Ticks []decisionReport `json:"ticks"`
		}{reports})
	}
	if len(ticks) == 0 {
		a.printf("no tick was decided yet; winch serve decides them\n")
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "tick\tsource\tschedule\tdecision\tlate\trun\treason")
	for _, t := range ticks {
		run := "-"
		switch {
		case t.Run != 0:
			run = fmt.Sprint(t.Run)
		case t.DoneAt.IsZero():
			run = "open"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Tick.Local().Format(time.DateTime), t.Source, t.Schedule, t.Decision,
			t.DecidedAt.Sub(t.DueAt).Round(time.Millisecond), run, t.Reason)
	}
	return tw.Flush()
}

func (a *app) schedulePauseCommand(pause bool) *cobra.Command {
	use, short := "pause", "skip a source's ticks until it is resumed"
	if !pause {
		use, short = "resume", "let a paused source be pulled by its schedules again"
	}
	return &cobra.Command{
		Use:     use + " SOURCE",
		Short:   short,
		Long:    "The ticks of a paused source are decided and skipped, each with that reason. What is being\nread goes on, and pulls by hand are not affected. After resume nothing is caught up but what\nthe next pull finds missing.",
		Example: "  winch schedule " + use + " kaisa_se",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSources(cmd.Context(), func(cfg *config.Config, store sink.Sink) error {
				src, err := cfg.Source(args[0])
				if err != nil {
					return err
				}
				change := store.ResumeSource
				if pause {
					change = store.PauseSource
				}
				changed, err := change(cmd.Context(), src.Name)
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(struct {
						Source  string `json:"source"`
						Paused  bool   `json:"paused"`
						Changed bool   `json:"changed"`
					}{src.Name, pause, changed})
				}
				state := "resumed"
				if pause {
					state = "paused"
				}
				if !changed {
					state += " already"
				}
				a.printf("%s is %s\n", src.Name, state)
				return nil
			})
		},
	}
}
