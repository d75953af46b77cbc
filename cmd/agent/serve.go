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
	"time"

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
anywhere. The next start goes on from there. SIGHUP
reads the configuration again; if it is wrong, the one before stays in force. What is
under sink, serve and log is read at the start only.`,
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
	drain     chan struct{}                 // closed when the shutdown begins
	streams   streamWatch
	putBack   sync.Map // keys of jobs whose source this agent does not know, as far as it told so

	printing sync.Mutex
}

// errCut says that a shutdown did not wait for what was being read.
var errCut = errors.New("what was being read was cancelled; the next start goes on from the last commit")

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
	s := &server{app: a, store: store, drain: make(chan struct{})}
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

	// None of the three contexts ends with ctx: the order of the shutdown is below.
	base := context.WithoutCancel(ctx)
	deciding, stopDeciding := context.WithCancel(base)
	defer stopDeciding()
	working, cancelWork := context.WithCancel(base)
	defer cancelWork()
	failed := make(chan error, 3)
	var decided, worked, answered sync.WaitGroup
	decided.Go(func() { failed <- s.scheduler.Run(deciding, s.schedules(cfg)) })
	decided.Go(func() { s.watchStaleness(deciding) })
	worked.Go(func() { failed <- s.queue.Work(working, s.drain, s.scheduler.Runner(s.pull)) })
	web := s.webServer(listener)
	answered.Go(func() { failed <- web.run() })
	s.tell("serving", nil, "%s, %s, on http://%s", store.Location(), count(int64(len(s.schedules(cfg))), "schedule"), listener.Addr())

	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	a.forget(ctx, store, cfg)
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-ask.C:
			running = !s.drained()
		case err = <-failed:
			running = false
		case <-reload:
			s.reload(ctx)
		case <-forget.C:
			a.forget(ctx, store, s.config.Load())
		}
	}
	// The drain first: what is still being decided or told to a webhook must not keep
	// slices from ending. A tick that is taken now is queued for the next start.
	close(s.drain)
	stopDeciding()
	s.tell("stopping", nil, "no new slices; what is being read has %s", cfg.Serve.Grace)
	cut := s.await(&worked, signals, cfg.Serve.Grace, cancelWork)
	decided.Wait()
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

// await waits until the work has ended, for the grace period at most or until the
// second signal, and cancels it then. It reports whether it did.
func (s *server) await(worked *sync.WaitGroup, signals <-chan os.Signal, grace time.Duration, cancel context.CancelFunc) (cut bool) {
	ended := make(chan struct{})
	go func() { // ends with the work, which is waited for below
		worked.Wait()
		close(ended)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	seen := 0
	for {
		select {
		case <-ended:
			return false
		case <-signals:
			if seen++; seen < 2 {
				continue // the one that began the shutdown
			}
		case <-timer.C:
		}
		break
	}
	s.tell("cancelling", nil, "what is being read is cancelled")
	cancel()
	<-ended
	return true
}

// reload puts the configuration of the file in force, if it is right.
func (s *server) reload(ctx context.Context) {
	cfg, err := s.app.readConfig(false)
	if err != nil {
		s.tell("not reloaded", err, "the configuration is wrong, the one before stays in force")
		return
	}
	s.config.Store(cfg)
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
