package scheduler

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// localWorkers is how many sources are pulled at the same time.
	localWorkers = 8
	// againAfter is when a job that was interrupted without a shutdown is tried
	// again: its source may be held by a pull by hand.
	againAfter = 5 * time.Second
)

// Local is a queue in the memory of one agent. What it holds when the agent ends is
// queued again from the open ticks of the store.
type Local struct {
	mu      sync.Mutex
	jobs    []*localJob // waiting and running, in their order
	changed chan struct{}
}

type localJob struct {
	Job
	running   bool
	notBefore time.Time
}

var _ Queue = (*Local)(nil)

// NewLocal returns an empty queue.
func NewLocal() *Local { return &Local{changed: make(chan struct{}, 1)} }

// Enqueue implements Queue.
func (q *Local) Enqueue(ctx context.Context, jobs ...Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, job := range jobs {
		if slices.ContainsFunc(q.jobs, func(j *localJob) bool { return j.Key() == job.Key() }) {
			continue
		}
		job = job.Traced(ctx)
		job.Queued = time.Now()
		q.jobs = append(q.jobs, &localJob{Job: job})
	}
	q.signal()
	return nil
}

// signal wakes Work; it may be awake.
func (q *Local) signal() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// Depth implements Queue.
func (q *Local) Depth(context.Context) (d Depth, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		if j.running {
			d.Running++
		} else {
			d.Waiting++
		}
	}
	return d, nil
}

// Work implements Queue.
func (q *Local) Work(ctx context.Context, drain <-chan struct{}, run Runner) error {
	var working sync.WaitGroup
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-drain:
		case <-q.changed:
		case <-again.C:
		}
		if ctx.Err() != nil || closed(drain) {
			break
		}
		jobs, wait := q.take()
		again.Reset(wait)
		for _, j := range jobs {
			working.Go(func() { q.do(ctx, j, run) })
		}
	}
	working.Wait()
	return nil
}

// take marks the jobs that can be done now and says when to look again: no two of
// a source, backfills last, as many as there are workers.
func (q *Local) take() (jobs []*localJob, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	busy, running := map[string]bool{}, 0
	for _, j := range q.jobs {
		if j.running {
			busy[j.Source] = true
			running++
		}
	}
	waiting := slices.Clone(q.jobs)
	slices.SortStableFunc(waiting, func(a, b *localJob) int {
		return cmp.Compare(yields(a.Job), yields(b.Job))
	})
	wait = time.Hour
	now := time.Now()
	for _, j := range waiting {
		switch {
		case j.running || busy[j.Source] || running == localWorkers:
		case j.notBefore.After(now):
			wait = min(wait, j.notBefore.Sub(now))
		default:
			j.running = true
			jobs = append(jobs, j)
			busy[j.Source] = true
			running++
		}
	}
	return jobs, wait
}

func yields(j Job) int {
	if j.Trigger == TriggerBackfill {
		return 1
	}
	return 0
}

// do does one job. One that failed to end is tried again; the Runner has told why.
func (q *Local) do(ctx context.Context, j *localJob, run Runner) {
	err := run(ctx, j.Job)
	q.mu.Lock()
	defer q.mu.Unlock()
	j.running = false
	if err != nil {
		j.notBefore = time.Now().Add(againAfter)
	} else {
		q.jobs = slices.DeleteFunc(q.jobs, func(other *localJob) bool { return other == j })
	}
	q.signal()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
