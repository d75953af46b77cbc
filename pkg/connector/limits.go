package connector

import (
	"context"
	"time"
)

// A Limiter knows the limits that it keeps its requests to. The host uses them to
// say beforehand how long reading will take; the limits themselves the source
// keeps. Called at most once per run.
type Limiter interface {
	// Limits returns the limits that hold with the source's settings. It does not
	// ask the vendor. ctx lives as long as the call.
	Limits(ctx context.Context) (Limits, error)
}

// Limits are what a source keeps its requests to.
type Limits struct {
	// Rates hold all at once. None: no limit is known.
	Rates []Rate
	// Concurrency is how many requests may be under way at once; 0 if that is not
	// known.
	Concurrency int
	// PerPartition says that each partition has these limits to itself.
	PerPartition bool
}

// A Rate is a rate limit: at most Requests in any span of length Per.
type Rate struct {
	Requests int
	Per      time.Duration
}

// Least returns the shortest time in which so many requests can be sent one after
// the other, the first of them at once.
func (l Limits) Least(requests int64) time.Duration {
	var least time.Duration
	for _, r := range l.Rates {
		if r.Requests > 0 && requests > 0 {
			least = max(least, time.Duration((requests-1)/int64(r.Requests))*r.Per)
		}
	}
	return least
}
