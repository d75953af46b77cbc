package main

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

func (a *app) pullCommand() *cobra.Command {
	var (
		streams   []string
		tapes     tapes
		replayDir string
		over      override
		queue     bool
	)
	cmd := &cobra.Command{
		Use:   "pull [SOURCE...]",
		Short: "read what is due now, once",
		Long: `Reads what is due now of the named sources, or of all: slices that were never
read, that lie within the lookback, or that failed before. Interrupted, by Ctrl-C
or harder, the same command goes on where it stopped: what is landed is landed.`,
		Example: `  winch pull                            all sources
  winch pull kaisa_se --stream cdrs_in,customers
  winch pull kaisa_se --keep-failed why  what the vendor said last, if it fails
  winch pull kaisa_se --queue           let an agent that serves do it
  winch pull --output json | jq '.sources[].streams[] | select(.error)'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			sources, err := cfg.Pick(args...)
			if err != nil {
				return err
			}
			if len(sources) == 0 {
				return usagef("winch init writes a configuration to begin with", "no source is configured and enabled")
			}
			if len(streams) > 0 && len(sources) != 1 {
				return usagef("winch pull SOURCE --stream "+streams[0], "--stream needs exactly one source")
			}
			if over != (override{}) && len(streams) == 0 {
				return usagef("winch pull SOURCE --stream STREAM", "--accept-vanished and --from-beginning need --stream: they are for streams that you looked at")
			}
			if cmp.Or(tapes.record, tapes.keepFailed) != "" && replayDir != "" || tapes.record != "" && tapes.keepFailed != "" {
				return usagef("one of them", "--record, --replay and --keep-failed exclude each other")
			}
			if replayDir != "" {
				return a.replaySources(cmd.Context(), a.launcher(cfg), sources, replayDir)
			}
			if err := tapes.prepare(sources); err != nil {
				return err
			}
			if queue && (cmp.Or(tapes.record, tapes.keepFailed) != "" || over != (override{})) {
				return usagef("without --queue", "--queue excludes --record, --keep-failed, --from-beginning and --accept-vanished")
			}
			store, _, err := a.openSink(cmd.Context(), cfg.Sink)
			if err != nil {
				return err
			}
			defer a.closing("store", store.Close)
			if queue {
				var jobs []scheduler.Job
				for _, src := range sources {
					jobs = append(jobs, scheduler.Job{Source: src.Name, Trigger: scheduler.TriggerPull, Streams: streams})
				}
				return a.enqueue(cmd.Context(), store, jobs)
			}
			results := a.pullSources(cmd.Context(), store, a.launcher(cfg), sources, streams, tapes, "pull", over)
			a.alertPulls(cmd.Context(), cfg, store, results)
			a.forget(cmd.Context(), store, cfg)
			return a.reportPull(cmd.Context(), store, results, a.keptTapes(tapes, results))
		},
	}
	cmd.Flags().StringSliceVar(&streams, "stream", nil, "only these `STREAMS` of the source, separated by commas")
	cmd.Flags().BoolVar(&over.fromBeginning, "from-beginning", false, "begin again where a cursor would go on; needs --stream")
	cmd.Flags().BoolVar(&over.acceptVanished, "accept-vanished", false, "let rows vanish although they are more than the brake allows; needs --stream")
	cmd.Flags().StringVar(&tapes.record, "record", "", "write what is said to and by the vendors into this `FOLDER`, redacted, a file a source")
	cmd.Flags().BoolVar(&queue, "queue", false, "leave it to the agents that serve, on whatever machine, and return at once")
	cmd.Flags().StringVar(&replayDir, "replay", "", "pull again, without network or store, what was recorded in this `FOLDER`")
	cmd.Flags().StringVar(&tapes.keepFailed, "keep-failed", "", "of runs that do not succeed, write what was said last into this `FOLDER`, redacted, a file a run")
	return cmd
}

// An override is what a person allows that Winch does not do by itself.
type override struct{ acceptVanished, fromBeginning bool }

// pullSources pulls sources side by side, each on its own: one that fails leaves
// the others alone (I6).
func (a *app) pullSources(ctx context.Context, store sink.Sink, launcher *plugin.Launcher, sources []*config.Source, streams []string, tapes tapes, trigger string, over override) []pull.Result {
	display := a.newProgress()
	defer display.end(a)
	puller := &pull.Puller{Sink: store, Log: a.logFor("pull"), Observe: display.observe, Metrics: a.observed.metrics, Lineage: a.observed.lineage}
	asOf := time.Now()
	results := make([]pull.Result, len(sources))
	budgets := map[string]*sync.Mutex{}
	var wg sync.WaitGroup
	for i, src := range sources {
		budget := src.SharedBudget(ctx)
		turn := budgets[budget]
		if turn == nil || budget == "" {
			turn = &sync.Mutex{}
			budgets[budget] = turn
		}
		wg.Go(func() {
			// Those that share a budget one after the other; a cancelled ctx ends each.
			turn.Lock()
			defer turn.Unlock()
			// What ended the run is in the result.
			results[i], _ = puller.Run(ctx, pull.Job{
				Source: src.Name, Budget: budget, Connector: src.Connector, Trigger: trigger, AsOf: asOf,
				AcceptVanished: over.acceptVanished, FromBeginning: over.fromBeginning,
				Open: func(ctx context.Context) (*pull.Session, error) {
					files, err := tapes.of(src.Name)
					if err != nil {
						return nil, err
					}
					return a.openSource(cassette.WithFiles(ctx, files), launcher, src)
				},
				Select: func(offered []connector.Stream) ([]ledger.Want, error) {
					all, err := wants(src, offered)
					if err != nil {
						return nil, err
					}
					return only(all, src.Name, streams)
				},
			})
		})
	}
	wg.Wait()
	return results
}

// reportPull prints what a pull did, with the tapes that were kept by source, and returns the error that sets the exit code.
func (a *app) reportPull(ctx context.Context, store sink.Sink, results []pull.Result, kept map[string]string) error {
	if a.json() {
		if err := a.printJSON(newPullReport(store.Location(), results, kept, pullAgain)); err != nil {
			return err
		}
	} else {
		a.printResults(results, kept)
		a.printf("rows are in %s\n", store.Location())
	}
	code := exitOK
	for _, res := range results {
		switch {
		case res.Status == sink.Succeeded:
		case res.Err != nil:
			code = worse(code, exitCode(ctx, res.Err))
		case res.Status == sink.Interrupted:
			code = worse(code, exitInterrupted)
		default:
			code = worse(code, exitStreams)
		}
	}
	if code == exitOK {
		return nil
	}
	return &toldError{code}
}
