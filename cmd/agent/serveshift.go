package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// A shift is a time in which the agent decides ticks and takes jobs: until it shuts
// down or is drained. When a drain is taken back, the next one begins.
type shift struct {
	drain chan struct{} // closed when it is to end
}

// ending reports whether the shift is to end, or has ended.
func (s *shift) ending() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

// ending is what ends a shift, beside the context, or changes it.
type ending struct {
	signals, reload <-chan os.Signal
	failed          chan error // of what goes on beside the shifts
}

// errCut says that a shutdown did not wait for what was being read.
var errCut = errors.New("what was being read was cancelled; the next start goes on from the last commit")

// work works for one shift, and returns when what it took has ended. It reports
// whether another is to follow.
func (s *server) work(ctx context.Context, e ending) (again bool, err error) {
	now := &shift{drain: make(chan struct{})}
	s.shift.Store(now)
	cfg := s.config.Load()
	// Neither context ends with ctx: the order of the shutdown is below.
	base := context.WithoutCancel(ctx)
	deciding, stopDeciding := context.WithCancel(base)
	defer stopDeciding()
	working, cancelWork := context.WithCancel(base)
	defer cancelWork()
	failed := make(chan error, 2)
	var decided, worked sync.WaitGroup
	decided.Go(func() { failed <- s.scheduler.Run(deciding, s.schedules(cfg)) })
	decided.Go(func() { s.watchStaleness(deciding) })
	worked.Go(func() { failed <- s.queue.Work(working, now.drain, s.scheduler.Runner(s.pull)) })

	err = s.attend(ctx, e, failed)
	// The drain first: what is still being decided or told to a webhook must not keep
	// slices from ending. A tick that is taken now is queued for the next start.
	close(now.drain)
	stopDeciding()
	s.tell("stopping", nil, "no new slices; what is being read has %s", cfg.Serve.Grace)
	cut := s.await(&worked, e.signals, cfg.Serve.Grace, cancelWork)
	decided.Wait()
	for len(failed) > 0 {
		err = errors.Join(err, <-failed)
	}
	switch {
	case err != nil:
		return false, err
	case ctx.Err() == nil && !s.drained():
		return true, nil
	case cut:
		return false, errCut
	}
	return false, nil
}

// attend does what is to be done now and then, until the shift is to end.
func (s *server) attend(ctx context.Context, e ending, failed <-chan error) error {
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	s.app.forget(ctx, s.store, s.config.Load())
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for !s.drained() {
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
		case err := <-failed:
			return err
		case err := <-e.failed:
			return err
		case <-e.reload:
			s.reload(ctx)
		case <-forget.C:
			s.app.forget(ctx, s.store, s.config.Load())
		}
	}
	return nil
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
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	seen, draining := 0, s.drained()
	for {
		select {
		case <-ended:
			return false
		case <-ask.C:
			if draining && !s.drained() {
				s.tell("resuming", nil, "the drain was taken back: jobs are taken again when what is being read has ended")
			}
			draining = s.drained()
			continue
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
