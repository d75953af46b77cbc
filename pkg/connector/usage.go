package connector

import (
	"context"
	"sync"
	"time"
)

// Usage counts what pulling cost at the vendor.
type Usage struct {
	// Requests sent, retries included, token requests not.
	Requests int64 `json:"requests"`
	// Retries is how many of the requests repeated an earlier one.
	Retries int64 `json:"retries"`
	// Bytes of response bodies read, before decompression where the client can
	// tell.
	Bytes int64 `json:"bytes"`
	// Waited is the time spent waiting for a rate limit or a backoff.
	Waited time.Duration `json:"waited"`
	// TokensFetched counts token requests that were granted.
	TokensFetched int64 `json:"tokens_fetched"`
	// RenewedOn401 counts tokens that were renewed because the vendor answered
	// 401 although they should have been good.
	RenewedOn401 int64 `json:"renewed_on_401"`
	// Requesting is the time from sending requests to having read their answers,
	// and FetchingTokens the time spent fetching tokens or waiting for one that
	// another request fetches. Neither holds time of Waited, and both are sums
	// over what ran side by side.
	Requesting     time.Duration `json:"requesting"`
	FetchingTokens time.Duration `json:"fetching_tokens"`
	// Status2xx to Status5xx count the answers by the class of their status. A
	// request that is in none of them had no whole answer.
	Status2xx int64 `json:"status_2xx"`
	Status3xx int64 `json:"status_3xx"`
	Status4xx int64 `json:"status_4xx"`
	Status5xx int64 `json:"status_5xx"`
	// WaitedForLimit is the part of Waited that a rate limit asked for: our own,
	// which is set to the vendor's, or the vendor in an answer.
	WaitedForLimit time.Duration `json:"waited_for_limit"`
}

// Add returns the sum of both.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		u.Requests + v.Requests, u.Retries + v.Retries, u.Bytes + v.Bytes, u.Waited + v.Waited,
		u.TokensFetched + v.TokensFetched, u.RenewedOn401 + v.RenewedOn401,
		u.Requesting + v.Requesting, u.FetchingTokens + v.FetchingTokens,
		u.Status2xx + v.Status2xx, u.Status3xx + v.Status3xx, u.Status4xx + v.Status4xx, u.Status5xx + v.Status5xx,
		u.WaitedForLimit + v.WaitedForLimit,
	}
}

// Sub returns what u counts beyond v.
func (u Usage) Sub(v Usage) Usage {
	return Usage{
		u.Requests - v.Requests, u.Retries - v.Retries, u.Bytes - v.Bytes, u.Waited - v.Waited,
		u.TokensFetched - v.TokensFetched, u.RenewedOn401 - v.RenewedOn401,
		u.Requesting - v.Requesting, u.FetchingTokens - v.FetchingTokens,
		u.Status2xx - v.Status2xx, u.Status3xx - v.Status3xx, u.Status4xx - v.Status4xx, u.Status5xx - v.Status5xx,
		u.WaitedForLimit - v.WaitedForLimit,
	}
}

// A UsageRecorder sums usage. It is safe for concurrent use.
type UsageRecorder struct {
	mu    sync.Mutex
	total Usage
}

// Add adds to the sum.
func (r *UsageRecorder) Add(u Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = r.total.Add(u)
}

// Total returns the sum so far.
func (r *UsageRecorder) Total() Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

type usageKey struct{}

// WithUsage returns a context in which RecordUsage adds to r. The host sets it
// for each Pull, so that each slice knows its own cost.
func WithUsage(ctx context.Context, r *UsageRecorder) context.Context {
	return context.WithValue(ctx, usageKey{}, r)
}

// RecordUsage adds u to the recorder of ctx, if it has one.
func RecordUsage(ctx context.Context, u Usage) {
	if r, ok := ctx.Value(usageKey{}).(*UsageRecorder); ok {
		r.Add(u)
	}
}
