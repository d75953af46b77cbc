package scheduler

import (
	"context"
	"sync/atomic"
)

// A Task is a job that is about to be done, with what the queue cannot know: whether
// its tick was done meanwhile, by an agent that was believed dead. Whoever does it
// asks Open when it holds the source, and calls Done before it lets go. Then a tick
// is done once, however often it was queued.
type Task struct {
	Job
	scheduler *Scheduler
	stay      *stay
	done      *atomic.Bool // the end of its work is recorded
}

// Runner returns a Runner that does jobs with do. An error of do says that the job
// has to be done again.
func (s *Scheduler) Runner(do func(context.Context, Task) error) Runner {
	return func(ctx context.Context, job Job) error {
		ctx, end := job.resume(ctx)
		defer end()
		t := Task{job, s, s.stayOf(ctx, job), new(atomic.Bool)}
		if err := do(ctx, t); err != nil {
			return err // the tick stays open
		}
		return t.Done(ctx, 0) // unless it was called already
	}
}

// Open reports whether there is still something to do. The job's stay in the queue
// ends here.
func (t Task) Open(ctx context.Context) (open bool, err error) {
	defer func() {
		if open {
			t.stay.ended(t.Job)
		}
	}()
	if t.Trigger != TriggerTick {
		return true, nil
	}
	err = t.scheduler.insist(ctx, "tick cannot be looked up", func() (err error) {
		open, err = t.scheduler.Store.TickOpen(ctx, t.Source, t.Schedule, t.Tick)
		return err
	})
	return open, err
}

// Done records the end of the work, by which run (0: none was made). The first call
// counts.
func (t Task) Done(ctx context.Context, run int64) error {
	if t.Trigger != TriggerTick || t.done.Load() {
		return nil
	}
	// Recorded also when ctx has ended, within reason: unrecorded, the tick is done a
	// second time, which reads again what is held and changes nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := t.scheduler.insist(ctx, "end of a tick cannot be recorded", func() error {
		return t.scheduler.Store.FinishTick(ctx, t.Source, t.Schedule, t.Tick, run)
	})
	t.done.Store(err == nil)
	return err
}
