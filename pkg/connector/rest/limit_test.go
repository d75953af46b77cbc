package rest_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A log keeps when requests were sent.
type log struct {
	mu   sync.Mutex
	sent []time.Time
}

func (l *log) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, time.Now())
}

// most is how many requests lie at most in any half-open span of that length.
func (l *log) most(per time.Duration) int {
	most := 0
	for i, first := range l.sent {
		n := 0
		for _, at := range l.sent[i:] {
			if at.Sub(first) < per {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestAllRateWindowsHoldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent log
		client := newClient(t, rest.Options{
			Concurrency: 50,
			Rate:        []rest.Window{{Requests: 10, Per: time.Minute}, {Requests: 100, Per: time.Hour}},
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				sent.add()
				return reply(r, 200, "{}"), nil
			}),
		})
		var usage connector.UsageRecorder
		ctx := connector.WithUsage(t.Context(), &usage)
		start := time.Now()
		var wg sync.WaitGroup
		for range 120 {
			wg.Go(func() {
				if _, err := client.Get(ctx, "x", nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := sent.most(time.Minute); got != 10 {
			t.Errorf("%d requests in a minute, want 10", got)
		}
		if got := sent.most(time.Hour); got != 100 {
			t.Errorf("%d requests in an hour, want 100", got)
		}
		// 10 minutes for the first hundred, then on from the full hour.
		if took := time.Since(start); took != time.Hour+time.Minute {
			t.Errorf("took %s, want 1h1m", took)
		}
		if usage.Total().Waited == 0 || usage.Total().Requests != 120 {
			t.Errorf("usage %+v", usage.Total())
		}
	})
}

func TestShortPullDoesNotPayForALongWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, rest.Options{
			Rate:      []rest.Window{{Requests: 1000, Per: time.Hour}},
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return reply(r, 200, "{}"), nil }),
		})
		start := time.Now()
		for range 1000 {
			if _, err := client.Get(t.Context(), "x", nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

func TestConcurrencyIsLimitedToTheReadingOfTheAnswer(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			client := newClient(t, rest.Options{
				Concurrency: limit,
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
					resp := reply(r, 200, "{}")
					resp.Body = slowBody{resp.Body, func() { now.Add(-1) }}
					return resp, nil
				}),
			})
			var wg sync.WaitGroup
			for range 12 {
				wg.Go(func() {
					if _, err := client.Get(t.Context(), "x", nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if want := int32(max(limit, 1)); most.Load() != want {
				t.Errorf("%d at once, want %d", most.Load(), want)
			}
		})
	}
}

type slowBody struct {
	body interface {
		Read([]byte) (int, error)
		Close() error
	}
	closed func()
}

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return b.body.Read(p)
}

func (b slowBody) Close() error {
	b.closed()
	return b.body.Close()
}

func TestTooManyRequestsSlowsAllStreamsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent log
		refuse := true
		client := newClient(t, rest.Options{
			Rate: []rest.Window{{Requests: 8, Per: time.Second}},
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				sent.add()
				if refuse {
					refuse = false
					return reply(r, 429, "", "Retry-After", "30"), nil
				}
				return reply(r, 200, "{}"), nil
			}),
		})
		get := func() {
			if _, err := client.Get(t.Context(), "x", nil); err != nil {
				t.Error(err)
			}
		}
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(get)
		synctest.Wait()
		wg.Go(get) // another stream
		wg.Wait()
		for _, at := range sent.sent[1:] {
			if at.Sub(start) < 30*time.Second {
				t.Errorf("a request after %s, want none before 30s", at.Sub(start))
			}
		}
		for range 8 {
			get()
		}
		if got := sent.most(time.Second); got > 5 {
			t.Errorf("%d requests in a second after a 429, want about half of 8", got)
		}
		for range 40 {
			get()
		}
		sent.sent = nil
		for range 20 {
			get()
		}
		if got := sent.most(time.Second); got != 8 {
			t.Errorf("%d requests in a second after many successes, want 8 again", got)
		}
	})
}

func TestPauseBeyondTheBoundIsAnErrorForAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := newClient(t, rest.Options{
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				requests++
				return reply(r, 429, "", "Retry-After", "3600"), nil
			}),
		})
		start := time.Now()
		for i, want := range []time.Duration{time.Hour, time.Hour - 10*time.Minute} {
			_, err := client.Get(t.Context(), "x", nil)
			wantKind(t, err, connector.KindRateLimited)
			if got := connector.RetryAfterOf(err); got != want {
				t.Errorf("request %d: retry after %s, want %s", i, got, want)
			}
			if i == 0 {
				if took := time.Since(start); took != 0 {
					t.Errorf("slept %s instead", took)
				}
				time.Sleep(10 * time.Minute)
			}
		}
		if requests != 1 {
			t.Errorf("%d requests, want 1", requests)
		}
	})
}

func TestWaitsEndWithTheContext(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]rest.Options{
		"rate":        {Rate: []rest.Window{{Requests: 1, Per: time.Hour}}},
		"concurrency": {},
		"turn":        {Rate: []rest.Window{{Requests: 1, Per: time.Hour}}, Concurrency: 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if name == "concurrency" {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return reply(r, 200, "{}"), nil
			})
			client := newClient(t, o)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var cancelled atomic.Int32
			for range 5 {
				wg.Go(func() {
					if _, err := client.Get(ctx, "x", nil); errors.Is(err, context.Canceled) {
						cancelled.Add(1)
					} else if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			synctest.Wait()
			start := time.Now()
			cancel()
			wg.Wait()
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: returned %s after the cancellation", name, took)
			}
			if want := int32(4); cancelled.Load() < want {
				t.Errorf("%s: %d cancelled, want %d at least", name, cancelled.Load(), want)
			}
		})
	}
}
