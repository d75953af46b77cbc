package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/alert"
	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
)

func (a *app) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "webhooks that are told what is the matter",
		Long: `winch pull and winch serve tell the webhooks under alerts of runs that fail, streams
that are staler than their freshness, fields that are not declared, records that were
set aside, and recovery: each once until it changes.`,
		Example: "  winch alerts test",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.alertsTestCommand())
	return cmd
}

// A toldReport is what became of a test message, as JSON. Scripts rely on it.
type toldReport struct {
	Alert string  `json:"alert"`
	OK    bool    `json:"ok"`
	Error *string `json:"error"`
}

func (a *app) alertsTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "test [NAME]",
		Short:   "send a test message to the webhooks",
		Long:    "Sends a message of the event test to the named webhook, or to all, whatever they are\notherwise told. It exits with 1 if one did not take it.",
		Example: "  winch alerts test\n  winch alerts test ops --output json",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			var reports []toldReport
			failed := false
			for _, w := range webhooks(cfg) {
				if len(args) > 0 && w.Name != args[0] {
					continue
				}
				report := toldReport{Alert: w.Name, OK: true}
				if err := w.Send(cmd.Context(), alert.Message{Event: alert.Test, Text: "a test of the alert " + w.Name}); err != nil {
					failed, report.OK, report.Error = true, false, orNil(err.Error())
				}
				reports = append(reports, report)
			}
			if len(reports) == 0 {
				return noAlert(cfg, args)
			}
			if err := a.printTold(reports); err != nil || !failed {
				return err
			}
			return &toldError{exitStreams}
		},
	}
}

func noAlert(cfg *config.Config, args []string) error {
	if len(cfg.Alerts) == 0 {
		return usagef("name a webhook under alerts: in the configuration", "no alerts are configured")
	}
	var names []string
	for _, c := range cfg.Alerts {
		names = append(names, c.Name)
	}
	return usagef("one of "+strings.Join(names, ", "), "no alert is called %q", args[0])
}

func (a *app) printTold(reports []toldReport) error {
	if a.json() {
		return a.printJSON(map[string]any{"alerts": reports})
	}
	for _, r := range reports {
		if r.OK {
			a.printf("%s took a test message\n", r.Alert)
		} else {
			a.printf("%s did not take it: %s\n", r.Alert, *r.Error)
		}
	}
	return nil
}

func webhooks(cfg *config.Config) []alert.Webhook {
	var all []alert.Webhook
	for _, c := range cfg.Alerts {
		all = append(all, alert.Webhook{Name: c.Name, Format: c.Format, On: c.On, URL: c.Resolve})
	}
	return all
}

// teller tells the configured webhooks; nil if there are none.
func (a *app) teller(cfg *config.Config, store sink.Sink) *alert.Teller {
	if len(cfg.Alerts) == 0 {
		return nil
	}
	return &alert.Teller{Store: store, Webhooks: webhooks(cfg), Log: a.logFor("agent"), Metrics: a.observed.metrics}
}

// alertPulls tells what became of pulls, and which streams are stale. Nothing that
// goes wrong with it fails a pull.
func (a *app) alertPulls(ctx context.Context, cfg *config.Config, store sink.Sink, results []pull.Result) {
	t := a.teller(cfg, store)
	if t == nil {
		return
	}
	for _, res := range results {
		t.Ran(ctx, res)
	}
	a.alertStale(ctx, cfg, store)
}

// alertStale tells which streams of enabled sources, of all or of the named ones, are
// staler than they may be, and whatever else is recorded and was not told.
func (a *app) alertStale(ctx context.Context, cfg *config.Config, store sink.Sink, sources ...string) {
	t := a.teller(cfg, store)
	if t == nil {
		return
	}
	var ages []alert.Age
	for _, src := range cfg.Sources {
		stated := src.Freshness()
		if !src.Enabled || len(stated) == 0 || len(sources) > 0 && !slices.Contains(sources, src.Name) {
			continue
		}
		entries, err := store.Entries(ctx, src.Name)
		if err != nil {
			a.log.WarnContext(ctx, "whether streams are stale is not known", "source", src.Name, "error", err)
			continue
		}
		held := ledger.ByStream(entries)
		for stream, freshness := range stated {
			ages = append(ages, alert.Age{Source: src.Name, Stream: stream, Newest: ledger.Newest(held[stream]), Freshness: freshness})
		}
	}
	t.Aged(ctx, ages, time.Now())
	t.Deliver(ctx)
}

// staleEvery is how often winch serve looks for stale streams.
const staleEvery = time.Minute

// watchStaleness tells of stale streams until ctx ends.
func (s *server) watchStaleness(ctx context.Context) {
	look := time.NewTicker(staleEvery)
	defer look.Stop()
	for {
		s.app.alertStale(ctx, s.config.Load(), s.store)
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
