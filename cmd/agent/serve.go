package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/sink"
)

func (a *app) serveCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the schedules, until it is told to end",
		Long: `Pulls each source when its schedule says so, and answers on ` + "`serve.listen`" + `:
/healthz says whether the process is well, /readyz whether it can do its work,
/metrics has its numbers for Prometheus.

On PostgreSQL any number of agents may serve one database: each tick is decided by
one of them, and what one does that dies another goes on with, within 30 seconds. An
embedded store is served by one agent, which has the file for itself.

The first SIGTERM or Ctrl-C ends it in two phases: no new slices are begun, and those
that are being read go on to their next checkpoint or their end, for serve.grace at
most. A second signal cancels them at once. winch agents drain does the same from
anywhere. The next start goes on from there.

SIGHUP reads the configuration again; if it is wrong, the one before stays in force.
What is under sink, serve, log and telemetry is read at the start only.`,
		Example: `  winch serve
  winch serve --listen 127.0.0.1:9000 --output json
  curl -f http://127.0.0.1:8420/readyz`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if listen != "" {
				cfg.Serve.Listen = listen
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve health on this `ADDRESS`, instead of serve.listen")
	return cmd
}

// A server is one running winch serve.
type server struct {
	app       *app
	store     sink.Sink
	queue     scheduler.Queue
	scheduler *scheduler.Scheduler
	config    atomic.Pointer[config.Config] // in force
	shift     atomic.Pointer[shift]         // the one that goes on
	streams   streamWatch
	putBack   sync.Map // sources that the configuration in force does not know, as far as the agent told so

	printing sync.Mutex
}

func (a *app) serve(ctx context.Context, cfg *config.Config) (err error) {
	// Registered before anything is started: from here on no signal ends the process.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)

	store, _, err := a.openSink(ctx, cfg.Sink)
	if err != nil {
		return err
	}
	defer a.closing("store", store.Close)
	release, err := store.Serve(ctx)
	if err != nil {
		return err
	}
	defer release()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Serve.Listen)
	if err != nil {
		return fmt.Errorf("serve.listen: %w", err)
	}
	s := &server{app: a, store: store}
	agent, closeQueue, err := s.openQueue(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer closeQueue()
	s.scheduler = scheduler.New(store, s.queue, a.logFor("scheduler"), agent)
	s.scheduler.Observe = s.tellTick
	s.config.Store(cfg)
	if err := s.measure(); err != nil {
		return errors.Join(err, listener.Close())
	}

	s.shift.Store(&shift{drain: make(chan struct{})}) // health is asked before the first begins
	web := s.webServer(listener)
	var answered sync.WaitGroup
	failed := make(chan error, 1)
	answered.Go(func() { failed <- web.run() })
	s.tell("serving", nil, "%s, %s, on http://%s", store.Location(), count(int64(len(s.schedules(cfg))), "schedule"), listener.Addr())
	for again := true; again; {
		if again, err = s.work(ctx, ending{signals: signals, reload: reload, failed: failed}); again {
			s.tell("serving", nil, "the drain was taken back")
		}
	}
	cut := errors.Is(err, errCut)
	if cut {
		err = nil
	}
	err = errors.Join(err, web.close())
	answered.Wait()
	for len(failed) > 0 {
		err = errors.Join(err, <-failed)
	}
	s.tell("stopped", nil, "bye")
	if err == nil && cut {
		return errCut
	}
	return err
}

// reload puts the configuration of the file in force, if it is right.
func (s *server) reload(ctx context.Context) {
	cfg, err := s.app.readConfig(false)
	if err != nil {
		s.tell("not reloaded", err, "the configuration is wrong, the one before stays in force")
		return
	}
	s.config.Store(cfg)
	s.putBack.Clear()
	schedules := s.schedules(cfg)
	if err := s.scheduler.Replace(ctx, schedules); err != nil {
		return // the shutdown has begun
	}
	s.tell("reloaded", nil, "%s", count(int64(len(schedules)), "schedule"))
}

// schedules are those of the enabled sources.
func (s *server) schedules(cfg *config.Config) []scheduler.Schedule {
	var all []scheduler.Schedule
	for _, src := range cfg.Sources {
		if src.Enabled {
			all = append(all, schedulesOf(src)...)
		}
	}
	return all
}

func schedulesOf(src *config.Source) []scheduler.Schedule {
	var all []scheduler.Schedule
	for _, one := range src.Schedules() {
		all = append(all, scheduler.Schedule{
			Schedule: sink.Schedule{Source: src.Name, Name: one.Key, Expression: one.Schedule.String() + " " + src.Location.String()},
			Next:     one.Schedule.Next,
			Jitter:   src.Jitter,
			Overlap:  scheduler.Overlap(src.Overlap),
			CatchUp:  scheduler.CatchUp(src.CatchUp),
			Streams:  one.Streams,
			Deep:     one.Deep,
		})
	}
	return all
}

// agentName is what decisions are signed with.
func agentName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("pid %d on %s", os.Getpid(), host)
}
