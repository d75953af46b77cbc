package rest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

// A limiter lets requests go as the rate windows allow. All windows hold at
// once, and exactly: whatever span of length Per the vendor looks at, at most
// Requests lie in it. (A token bucket with a burst of Requests would let through
// almost twice as many in the first span, and one with a small burst would make
// a short pull pay for a long window.)
//
// A 429 halves the rates, and each success gives a little back, so that a client
// whose windows are set too high finds what the vendor grants.
type limiter struct {
	maxWait time.Duration
	turn    chan struct{} // held by the one request that waits for the rate; others queue, first come first served

	mu          sync.Mutex
	windows     []window
	share       float64 // of the rates that is used, from leastShare to 1
	pausedUntil time.Time
}

const (
	leastShare = 1.0 / 16
	regain     = 1.0 / 50 // of the full rate, with each success
)

// A window remembers when the last requests were sent, as many as it allows.
type window struct {
	Window
	sent []time.Time // a ring
	next int
}

func newLimiter(windows []Window, maxWait time.Duration) *limiter {
	l := &limiter{maxWait: maxWait, turn: make(chan struct{}, 1), share: 1}
	for _, w := range windows {
		l.windows = append(l.windows, window{Window: w, sent: make([]time.Time, w.Requests)})
	}
	return l
}

// wait returns when a request may be sent, and counts it as sent. It returns the
// error of ctx, or one of KindRateLimited if the vendor asked for a pause that
// is longer than the client waits.
func (l *limiter) wait(ctx context.Context) error {
	if err := enter(ctx, l.turn, tracing.WaitRateLimit); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	for {
		delay, paused := l.take(time.Now())
		if delay <= 0 {
			return nil
		}
		if paused && delay > l.maxWait {
			return tooLong(delay)
		}
		if cassette.Replaying(ctx) {
			return nil // the limits are the vendor's, and nobody is asked
		}
		reason := tracing.WaitRateLimit
		if paused {
			reason = tracing.WaitRetryAfter
		}
		if err := manners.Sleep(ctx, delay, reason); err != nil {
			return err
		}
	}
}

// take counts a request as sent now, or returns how long it must wait, and
// whether that is because the vendor asked for a pause.
func (l *limiter) take(now time.Time) (delay time.Duration, paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delay := l.pausedUntil.Sub(now); delay > 0 {
		return delay, true
	}
	for i := range l.windows {
		delay = max(delay, l.windows[i].delay(now, l.share))
	}
	if delay > 0 {
		return delay, false
	}
	for i := range l.windows {
		w := &l.windows[i]
		w.sent[w.next] = now
		w.next = (w.next + 1) % len(w.sent)
	}
	return 0, false
}

// delay returns how long a request must wait for the window alone.
func (w *window) delay(now time.Time, share float64) time.Duration {
	allowed := max(1, int(share*float64(w.Requests)))
	last := w.sent[(w.next-allowed+len(w.sent))%len(w.sent)] // the request that must have left the window
	if last.IsZero() {
		return 0
	}
	return last.Add(w.Per).Sub(now)
}

// pause holds all requests back for d.
func (l *limiter) pause(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(d); until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
}

// slow halves the rates and pauses for d. Of answers to requests that were under
// way together only the first one halves.
func (l *limiter) slow(d time.Duration) {
	l.mu.Lock()
	if !l.pausedUntil.After(time.Now()) {
		l.share = max(l.share/2, leastShare)
	}
	l.mu.Unlock()
	l.pause(d)
}

// succeeded gives a little of the rate back.
func (l *limiter) succeeded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = min(l.share+regain, 1)
}

// tooLong is the error instead of a wait that the vendor asked for.
func tooLong(wait time.Duration) *connector.Error {
	return &connector.Error{
		Kind: connector.KindRateLimited, RetryAfter: wait,
		Err: fmt.Errorf("the vendor asks to wait %s", wait.Round(time.Second)),
	}
}

// enter takes a place in a channel that limits how many there are. reason is what
// a wait for one is called in traces.
func enter(ctx context.Context, places chan struct{}, reason string) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	wait := manners.StartWait(ctx, reason)
	defer wait.End()
	for {
		select {
		case places <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
			wait.Note()
		}
	}
}
