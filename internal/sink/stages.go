package sink

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/winchdata/winch/internal/tracing"
)

// A Stage is a part of what a writer does.
type Stage int

// The stages. Decoding is estimated from samples, the others are measured.
const (
	Decoding   Stage = iota // records to rows
	Copying                 // rows to the staging table
	Merging                 // staged rows to the stream's table, with the ledger
	Committing              // the transaction's end
	Awaiting                // a connection, or the table or the store to be free
	stages
)

// Stages is how long each stage took. Copying overlaps with decoding.
type Stages struct {
	Decoding   time.Duration
	Copying    time.Duration
	Merging    time.Duration
	Committing time.Duration
	Awaiting   time.Duration
}

// Add returns the sum of both.
func (s Stages) Add(t Stages) Stages {
	return Stages{s.Decoding + t.Decoding, s.Copying + t.Copying, s.Merging + t.Merging, s.Committing + t.Committing, s.Awaiting + t.Awaiting}
}

// A Clock sums how long the stages of attempts take. It is safe for concurrent
// use. A nil Clock counts nothing.
type Clock struct {
	mu    sync.Mutex
	ended [stages]time.Duration
	since [stages]time.Time // of what is under way
	inner bool              // a stage inside merging is under way, which stands still
	still []Stage           // stand still while the store is awaited
}

// Total returns the sums so far, with what is under way.
func (c *Clock) Total() Stages {
	if c == nil {
		return Stages{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.ended
	for i, since := range c.since {
		if !since.IsZero() {
			all[i] += time.Since(since)
		}
	}
	return Stages{all[Decoding], all[Copying], all[Merging], all[Committing], all[Awaiting]}
}

// Busy reports whether a stage is under way. Decoding, which is only estimated, never
// is.
func (c *Clock) Busy() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since != [stages]time.Time{}
}

// Add adds to the sums.
func (c *Clock) Add(s Stages) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range [stages]time.Duration{s.Decoding, s.Copying, s.Merging, s.Committing, s.Awaiting} {
		c.ended[i] += d
	}
}

// Start begins a stage, which Stop ends. A stage is not begun twice at a time. Time
// of a stage inside merging does not count as merging, and time in which the store is
// awaited as nothing else.
func (c *Clock) Start(s Stage) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if s == Awaiting {
		for _, other := range []Stage{Copying, Merging} {
			if !c.since[other].IsZero() {
				c.ended[other] += now.Sub(c.since[other])
				c.since[other], c.still = time.Time{}, append(c.still, other)
			}
		}
	} else if !c.since[Merging].IsZero() {
		c.ended[Merging] += now.Sub(c.since[Merging])
		c.since[Merging], c.inner = time.Time{}, true
	}
	c.since[s] = now
}

// Stop ends a stage.
func (c *Clock) Stop(s Stage) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.since[s].IsZero() {
		c.ended[s] += now.Sub(c.since[s])
	}
	c.since[s] = time.Time{}
	if s == Awaiting {
		for _, other := range c.still {
			c.since[other] = now
		}
		c.still = c.still[:0]
	} else if s != Merging && c.inner {
		c.since[Merging], c.inner = now, false
	}
}

// Begin begins a stage of the attempt: its clock runs, and a span with the name,
// below that of ctx, until end is called with the outcome.
func (a Attempt) Begin(ctx context.Context, s Stage, name string, attrs ...attribute.KeyValue) (staged context.Context, end func(error)) {
	staged, span := tracing.StartCall(ctx, name, attrs...)
	a.Clock.Start(s)
	return staged, func(err error) {
		a.Clock.Stop(s)
		tracing.End(span, err)
	}
}

// Await waits for a connection, or for the table or the store to be free. What is
// lost to that is a stage and a wait of its own.
func (a Attempt) Await(ctx context.Context, wait func() error) error {
	since := time.Now()
	a.Clock.Start(Awaiting)
	err := wait()
	a.Clock.Stop(Awaiting)
	tracing.Waited(ctx, since, tracing.WaitStore)
	return err
}

// A Sampler estimates how long decoding takes: reading the clock for each record
// would cost more than it tells.
type Sampler struct {
	clock *Clock
	n     int64
}

// NewSampler returns a sampler for the attempt.
func (a Attempt) NewSampler() Sampler { return Sampler{clock: a.Clock} }

// sampleEvery is how many records one measured stands for, after as many that
// are all measured.
const sampleEvery = 64

// Start is called before each record. It returns the zero time where the record
// is not measured.
func (s *Sampler) Start() time.Time {
	if s.n++; s.clock != nil && (s.n <= sampleEvery || s.n%sampleEvery == 0) {
		return time.Now()
	}
	return time.Time{}
}

// End is called after the record with what Start returned.
func (s *Sampler) End(started time.Time) {
	if started.IsZero() {
		return
	}
	took := time.Since(started)
	if s.n > sampleEvery {
		took *= sampleEvery
	}
	s.clock.Add(Stages{Decoding: took})
}
