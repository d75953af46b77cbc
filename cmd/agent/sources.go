package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// openSink opens the configured store and brings its own tables up to date.
func (a *app) openSink(ctx context.Context, where config.Sink) (store sink.Sink, applied []int64, err error) {
	url, err := where.Resolve(ctx)
	if err != nil {
		return nil, nil, err
	}
	if url.SQLite != "" {
		store, err = sqlite.Open(ctx, url.SQLite, sqlite.Options{Logger: a.log})
	} else {
		store, err = postgres.Open(ctx, url.Postgres.Reveal(), postgres.Options{Version: buildVersion()})
	}
	if err != nil {
		return nil, nil, err
	}
	applied, err = store.Migrate(ctx)
	if err != nil {
		a.closing("store", store.Close)
		return nil, nil, err
	}
	return store, applied, nil
}

// openStore opens the configured store, of a command that needs no file of
// configuration: what WINCH_SINK_URL or the default names will do.
func (a *app) openStore(ctx context.Context) (*config.Config, sink.Sink, func(), error) {
	cfg, err := a.loadSink()
	if err != nil {
		return nil, nil, nil, err
	}
	store, _, err := a.openSink(ctx, cfg.Sink)
	if err != nil {
		return nil, nil, nil, err
	}
	return cfg, store, func() { a.closing("store", store.Close) }, nil
}

// withStore does something with the store that openStore opens.
func (a *app) withStore(ctx context.Context, do func(*config.Config, sink.Sink) error) error {
	cfg, store, closeStore, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	return do(cfg, store)
}

// withSources does something with the configured sources and their store.
func (a *app) withSources(ctx context.Context, do func(*config.Config, sink.Sink) error) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	store, _, err := a.openSink(ctx, cfg.Sink)
	if err != nil {
		return err
	}
	defer a.closing("store", store.Close)
	return do(cfg, store)
}

// openSource starts the source's connector and opens the source.
func (a *app) openSource(ctx context.Context, launcher *plugin.Launcher, src *config.Source) (*pull.Session, error) {
	settings, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	if run := pull.RunOf(ctx); run != 0 {
		of := *launcher
		of.Logger = launcher.Logger.With("run", run, "source", src.Name)
		launcher = &of
	}
	process, err := launcher.Launch(ctx, src.Connector)
	if err != nil {
		return nil, err
	}
	opened, err := process.Open(ctx, settings)
	if err != nil {
		a.closing("connector", process.Close)
		return nil, err
	}
	alive := func() bool {
		select {
		case <-process.Done():
			return false
		default:
			return true
		}
	}
	ended := a.observed.metrics.WatchConnector(src.Name, src.Connector, process.Memory)
	shut := func() error {
		err := process.Close()
		ended(process.PeakMemory())
		return err
	}
	return &pull.Session{Source: opened, Alive: alive, Close: shut}, nil
}

// wants says which streams of a source are wanted, and from when on.
func wants(src *config.Source, offered []connector.Stream) ([]ledger.Want, error) {
	selected, err := src.Select(offered)
	if err != nil {
		return nil, err
	}
	var all []ledger.Want
	for _, s := range selected {
		want := ledger.Want{
			Source: src.Name, Stream: s.Stream, Since: s.Since,
			Slice: s.Slice, Lookback: s.Lookback, Lag: s.Lag, Location: src.Location,
			Schema: ledger.SchemaPolicy(s.Tolerance.Schema), Split: ledger.Split(s.Split), Quarantine: limits(s.Tolerance),
			LookbackEvery: s.LookbackEvery, Order: ledger.Order(s.Order),
		}
		if s.VanishBrake != nil {
			want.Brake = &ledger.Brake{Share: *s.VanishBrake, Rows: ledger.DefaultBrake.Rows}
		}
		all = append(all, want)
	}
	return all, nil
}

// limits completes what is configured by the defaults.
func limits(t config.Tolerance) *ledger.Limits {
	l := ledger.DefaultLimits
	if t.Limit != nil {
		l.Records = *t.Limit
	}
	if t.Share != nil {
		l.Share = *t.Share
	}
	return &l
}

// only keeps the named streams among the wanted ones; all if there are no names.
func only(all []ledger.Want, source string, names []string) ([]ledger.Want, error) {
	if len(names) == 0 {
		return all, nil
	}
	known := map[string]ledger.Want{}
	var list []string
	for _, w := range all {
		known[w.Stream.Name] = w
		list = append(list, w.Stream.Name)
	}
	var chosen []ledger.Want
	for _, name := range names {
		w, ok := known[name]
		if !ok {
			return nil, usagef("one of "+strings.Join(list, ", "), "--stream: source %s pulls no stream %q", source, name)
		}
		chosen = append(chosen, w)
	}
	return chosen, nil
}

// newestWindow is the newest whole window of a window stream, where a probe looks
// for a record; zero for other streams.
func newestWindow(want ledger.Want, now time.Time) connector.Window {
	if want.Stream.Mode != connector.ModeWindow {
		return connector.Window{}
	}
	until := want.Lag.Before(now)
	if until.After(now) {
		until = now
	}
	// Two slices back there is a boundary whatever the grid.
	since := want.Slice.Before(want.Slice.Before(until))
	windows := ledger.Windows(connector.Window{Since: since, Until: until}, want.Slice, want.Location)
	if len(windows) < 2 {
		return connector.Window{Since: since, Until: until}
	}
	return windows[len(windows)-2]
}

// worse returns the exit code that says more: interrupted, environment,
// configuration, streams.
func worse(x, y int) int {
	rank := map[int]int{exitOK: 0, exitStreams: 1, exitUsage: 2, exitEnvironment: 3, exitInterrupted: 4}
	if cmp.Compare(rank[x], rank[y]) >= 0 {
		return x
	}
	return y
}
