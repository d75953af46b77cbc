package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/sink"
)

// demoStore is where the demo's rows land unless told otherwise.
const demoStore = "winch-demo.db"

func (a *app) demoCommand() *cobra.Command {
	var (
		flags sandboxFlags
		to    string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "everything at once, without credentials or a database",
		Long: `Starts the sandbox on loopback, starts the connectors as plugin processes, exchanges
client credentials for tokens, reads every stream of every simulated account, and
lands typed rows in an embedded store, showing it as it happens.

The store ` + demoStore + ` is made anew each time; --sink keeps what is there.`,
		Example: "  winch demo\n  winch demo --size 200 --days 90\n  winch demo --sink postgres://localhost/winch\n  winch demo --sink '${env:DATABASE_URL}'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := config.ParseSink("--sink", to, os.Environ()); to != "" && err != nil {
				return err
			}
			sim, err := flags.open()
			if err != nil {
				return err
			}
			server, err := serveSandbox(sim, "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer a.closing("sandbox", server.close)
			if to == "" {
				if err := removeStore(demoStore); err != nil {
					return err
				}
				path, err := filepath.Abs(demoStore)
				if err != nil {
					return err
				}
				to = "sqlite:" + path
			}
			cfg, err := a.demoConfig(sim, server.url, to)
			if err != nil {
				return err
			}
			if err := a.observe(cfg); err != nil {
				return err
			}
			store, _, err := a.openSink(cmd.Context(), cfg.Sink)
			if err != nil {
				return err
			}
			defer a.closing("store", store.Close)
			if !a.json() {
				a.printf("a simulated account of every vendor is at %s; pulling all streams through plugin processes\n", server.url)
			}
			results := a.pullSources(cmd.Context(), store, a.launcher(cfg), cfg.Sources, nil, tapes{}, "demo", override{})
			err = a.reportPull(cmd.Context(), store, results, nil)
			if err == nil && !a.json() {
				if err := a.showRun(cmd.Context(), store, results); err != nil {
					return err
				}
				a.printDemoCalendar(cmd.Context(), cfg, store)
				a.printNext(to)
			}
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&to, "sink", "", "land the rows in the store at `URL` instead, written as sink.url is, a password as a reference")
	return cmd
}

// demoConfig loads a configuration for the sandbox by the way that every
// configuration takes.
func (a *app) demoConfig(sim *sandbox.Sandbox, url, sinkURL string) (*config.Config, error) {
	dir, err := os.MkdirTemp("", "winch-demo-")
	if err != nil {
		return nil, err
	}
	defer a.closing("temporary directory", func() error { return os.RemoveAll(dir) })
	path := filepath.Join(dir, "winch.yaml")
	if err := os.WriteFile(path, sandboxConfig(sim, url, sinkURL), 0o600); err != nil {
		return nil, err
	}
	// The environment stays out: the demo is the same everywhere.
	return config.Load(config.Options{Path: path, Connectors: bundledSchema, Names: bundledNames()})
}

// printDemoCalendar draws what is held of the first stream that has days.
func (a *app) printDemoCalendar(ctx context.Context, cfg *config.Config, store sink.Sink) {
	c := coverer{app: a, cfg: cfg, store: store, launcher: a.launcher(cfg), now: time.Now()}
	all, err := c.streams(ctx)
	if err != nil {
		a.log.Warn("coverage not drawn", "error", err)
		return
	}
	for _, one := range all {
		if len(one.days) > 0 {
			a.printf("\n")
			a.printCalendar(one, c.now, true)
			return
		}
	}
}

// printNext tells what to try after the demo.
func (a *app) printNext(url string) {
	a.printf("\nlook at the rows: ")
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		a.printf("sqlite3 %s '.tables'\n", path)
	} else {
		a.printf("each source is a schema of the database\n")
	}
	a.printf("\nnext:\n")
	for _, next := range []struct{ command, why string }{
		{"runs", "this run and, with its id, each slice of it (WINCH_SINK_URL=" + url + ")"},
		{"coverage", "which days of every stream are held (with the same WINCH_SINK_URL)"},
		{"sandbox --write-config winch.yaml", "keep the simulated vendors running, with a configuration for them"},
		{"init kaisa", "a configuration for your own account"},
	} {
		a.printf("  %s %s\n      %s\n", self(), next.command, next.why)
	}
}

// self is how this program is called: winch, unless it was started by go run.
func self() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/agent"
	}
	return "winch"
}

// removeStore deletes an embedded store with what belongs to it.
func removeStore(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
