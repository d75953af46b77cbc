package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/lineage"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/telemetry"
	"github.com/winchdata/winch/internal/tracing"
)

// flushTime is how long a command may stay at its end to send what is left of
// its traces.
const flushTime = 5 * time.Second

// The commands that tell about themselves: those that talk to vendors. Each makes
// one trace, but for those that go on and on, whose parts make their own.
var (
	tracedCommands = []string{"backfill", "backfill resume", "check", "demo", "plan", "preview", "pull", "quarantine retry"}
	lastingCommand = "serve"
)

// observed is the telemetry of one invocation.
type observed struct {
	cmd       *cobra.Command // that runs
	telemetry *telemetry.Telemetry
	span      trace.Span       // of the command; nil if it has none
	metrics   *metrics.Metrics // nil where nobody reads them
	lineage   *lineage.Teller  // nil where nobody is told
}

// observe starts telemetry as the configuration says, if the command has any. The
// command's context then carries its span.
func (a *app) observe(cfg *config.Config) error {
	cmd := a.observed.cmd
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	traced := slices.Contains(tracedCommands, name)
	if a.observed.telemetry != nil || !traced && cmd.Name() != lastingCommand {
		return nil
	}
	t, err := telemetry.Start(cmd.Context(), telemetry.Options{
		Endpoint: cfg.Telemetry.OTLPEndpoint, Sample: cfg.Telemetry.Sample, Version: buildVersion(), Log: a.logFor("telemetry"),
		Scraped: cmd.Name() == lastingCommand,
	})
	if err != nil {
		return err
	}
	a.observed.telemetry = t
	if a.observed.lineage, err = a.startLineage(cmd.Context(), cfg.Telemetry.Lineage); err != nil {
		return err
	}
	if t.Measuring() {
		if a.observed.metrics, err = metrics.New(t.MeterProvider()); err != nil {
			return err
		}
	}
	if traced && t.Tracing() {
		ctx, span := otel.Tracer(tracing.Scope).Start(cmd.Context(), "winch "+name)
		a.observed.span = span
		cmd.SetContext(ctx)
	}
	return nil
}

// startLineage starts telling a receiver where rows come from; nil if there is none.
func (a *app) startLineage(ctx context.Context, l config.Lineage) (*lineage.Teller, error) {
	if l.URL == "" {
		return nil, nil
	}
	key, err := l.APIKey(ctx)
	if err != nil {
		return nil, err
	}
	return lineage.Start(ctx, lineage.Options{
		URL: l.URL, APIKey: key, Namespace: l.Namespace, Version: buildVersion(), Parent: lineage.ParseParent(l.Parent), Log: a.logFor("telemetry"),
	}), nil
}

// endObserved sends what telemetry is left of a command that ended with err.
func (a *app) endObserved(ctx context.Context, err error) {
	if a.observed.telemetry == nil {
		return
	}
	if a.observed.span != nil {
		tracing.End(a.observed.span, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	var sending sync.WaitGroup
	sending.Go(func() { a.closing("lineage", func() error { return a.observed.lineage.Shutdown(ctx) }) })
	a.closing("telemetry", func() error { return a.observed.telemetry.Shutdown(ctx) })
	sending.Wait()
}

// logFor returns the logger of a part of the program, one of config.LogPackages.
func (a *app) logFor(name string) *slog.Logger { return a.logs.Logger(name) }
