package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
)

// A vendor hands out numbered tokens: token-1, token-2, ...
type vendor struct {
	lifetime time.Duration
	latency  time.Duration

	mu      sync.Mutex
	fetches []time.Time
	fail    error // instead of a token
}

func (v *vendor) fetch(ctx context.Context) (connector.Token, error) {
	sent := time.Now()
	v.mu.Lock()
	v.fetches = append(v.fetches, sent)
	n, fail := len(v.fetches), v.fail
	v.mu.Unlock()
	select {
	case <-time.After(v.latency):
	case <-ctx.Done():
		return connector.Token{}, fmt.Errorf("fetch token: %w", ctx.Err())
	}
	if fail != nil {
		return connector.Token{}, fail
	}
	token := connector.Token{Value: connector.NewSecret(fmt.Sprintf("token-%d", n)), Type: "Bearer"}
	if v.lifetime > 0 {
		token.ExpiresAt = sent.Add(v.lifetime)
	}
	return token, nil
}

func (v *vendor) set(fail error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fail = fail
}

func (v *vendor) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.fetches)
}

func value(t *testing.T, token connector.Token, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return token.Value.Reveal()
}

func TestCacheRenewsAheadOfTheEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lifetime, ahead time.Duration
		policy          auth.Policy
	}{
		{lifetime: time.Hour, ahead: 5 * time.Minute},
		{lifetime: 300 * time.Second, ahead: time.Minute},
		{lifetime: 5 * time.Second, ahead: 1250 * time.Millisecond},
		{lifetime: time.Second, ahead: 250 * time.Millisecond},
		{lifetime: 24 * time.Hour, ahead: 2 * time.Hour},
		{lifetime: time.Hour, ahead: 10 * time.Minute, policy: auth.Policy{Share: 1.0 / 6}},
		{lifetime: time.Minute, ahead: 10 * time.Second, policy: auth.Policy{Floor: 10 * time.Second}},
	} {
		t.Run(test.lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{lifetime: test.lifetime}
				cache := auth.NewCache(v.fetch, test.policy)
				start := time.Now()
				for v.count() < 2 {
					token, err := cache.Token(t.Context())
					value(t, token, err)
					if v.count() < 2 {
						time.Sleep(test.lifetime / 1000)
					}
				}
				got := v.fetches[1].Sub(start)
				want := test.lifetime - test.ahead
				if got < want || got > want+test.lifetime/500 {
					t.Errorf("renewed after %s, want after %s", got, want)
				}
			})
		})
	}
}

func TestCacheKeepsATokenWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		for range 3 {
			token, err := cache.Token(t.Context())
			if got := value(t, token, err); got != "token-1" {
				t.Errorf("got %s", got)
			}
			time.Sleep(1000 * time.Hour)
		}
	})
}

func TestCacheFetchesOnceForManyCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: time.Hour, latency: time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		var usage connector.UsageRecorder
		ctx := connector.WithUsage(t.Context(), &usage)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				token, err := cache.Token(ctx)
				if err != nil || token.Value.Reveal() != "token-1" {
					t.Errorf("got %s, %v", token.Value.Reveal(), err)
				}
			})
		}
		wg.Wait()
		if v.count() != 1 {
			t.Errorf("%d fetches, want 1", v.count())
		}
	})
}

func TestCacheSharesAFailedFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := &connector.Error{Kind: connector.KindAuth, Err: errors.New("401")}
		v := &vendor{latency: time.Second, fail: refused}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := cache.Token(t.Context()); !errors.Is(err, refused) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if v.count() != 1 {
			t.Errorf("%d fetches, want 1", v.count())
		}
	})
}

func TestCallerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: time.Hour, latency: 10 * time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		impatient, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := cache.Token(impatient); !errors.Is(err, context.Canceled) {
				t.Errorf("first caller: got %v, want cancelled", err)
			}
		})
		synctest.Wait() // the first caller runs the fetch
		for range 5 {
			wg.Go(func() {
				token, err := cache.Token(t.Context())
				if err != nil || token.Value.Reveal() != "token-2" {
					t.Errorf("other caller: got %s, %v", token.Value.Reveal(), err)
				}
			})
		}
		waiter, cancelWaiter := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := cache.Token(waiter); !errors.Is(err, context.Canceled) {
				t.Errorf("waiting caller: got %v, want cancelled", err)
			}
		})
		synctest.Wait()
		cancelWaiter()
		cancel()
		wg.Wait()
		if v.count() != 2 {
			t.Errorf("%d fetches, want 2", v.count())
		}
	})
}

func TestTokenNearItsEndServesWhileTheVendorIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: 300 * time.Second, latency: time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		token, err := cache.Token(t.Context())
		value(t, token, err)
		v.set(&connector.Error{Kind: connector.KindUnavailable, Err: errors.New("503")})

		time.Sleep(250 * time.Second)
		for range 30 {
			token, err := cache.Token(t.Context())
			if got := value(t, token, err); got != "token-1" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(time.Second)
		}
		if n := v.count(); n < 3 || n > 5 {
			t.Errorf("%d fetches in 30 s: want an attempt about every 10 s", n)
		}
		time.Sleep(30 * time.Second)
		if _, err := cache.Token(t.Context()); connector.KindOf(err) != connector.KindUnavailable {
			t.Errorf("after the end: got %v", err)
		}
	})
}

func TestRefusedRenewalIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: 300 * time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		token, err := cache.Token(t.Context())
		value(t, token, err)
		v.set(&connector.Error{Kind: connector.KindAuth, Err: errors.New("401")})
		time.Sleep(250 * time.Second)
		if _, err := cache.Token(t.Context()); connector.KindOf(err) != connector.KindAuth {
			t.Errorf("got %v", err)
		}
	})
}

func TestOthersDoNotWaitForARenewalAheadOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: 300 * time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		token, err := cache.Token(t.Context())
		value(t, token, err)
		v.latency = 20 * time.Second
		time.Sleep(250 * time.Second)

		var wg sync.WaitGroup
		wg.Go(func() {
			token, err := cache.Token(t.Context())
			if err != nil || token.Value.Reveal() != "token-2" {
				t.Errorf("renewing caller: got %s, %v", token.Value.Reveal(), err)
			}
		})
		synctest.Wait()
		asked := time.Now()
		token, err = cache.Token(t.Context())
		if got := value(t, token, err); got != "token-1" || time.Since(asked) != 0 {
			t.Errorf("got %s after %s, want token-1 at once", got, time.Since(asked))
		}
		wg.Wait()
	})
}

func TestRejectedTokenIsRenewedOnceForAllWhoHoldIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: time.Hour, latency: time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		var usage connector.UsageRecorder
		ctx := connector.WithUsage(t.Context(), &usage)
		held, err := cache.Token(ctx)
		value(t, held, err)

		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				token, err := cache.Renew(ctx, held)
				if err != nil || token.Value.Reveal() != "token-2" {
					t.Errorf("got %s, %v", token.Value.Reveal(), err)
				}
			})
		}
		wg.Wait()
		late, err := cache.Renew(ctx, held) // its 401 arrives when all is over
		if got := value(t, late, err); got != "token-2" {
			t.Errorf("late: got %s", got)
		}
		if v.count() != 2 {
			t.Errorf("%d fetches, want 2", v.count())
		}
		if got := usage.Total().RenewedOn401; got != 1 {
			t.Errorf("%d renewals counted, want 1", got)
		}
	})
}

func TestRejectedTokenIsGivenToNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: time.Hour, latency: time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		held, err := cache.Token(t.Context())
		value(t, held, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = cache.Renew(t.Context(), held) })
		synctest.Wait()
		token, err := cache.Token(t.Context())
		if got := value(t, token, err); got != "token-2" {
			t.Errorf("got %s while token-1 is being renewed", got)
		}
		wg.Wait()
	})
}

func TestRenewSurvivesTheCallerThatGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{lifetime: time.Hour, latency: time.Second}
		cache := auth.NewCache(v.fetch, auth.Policy{})
		var usage connector.UsageRecorder
		ctx := connector.WithUsage(t.Context(), &usage)
		held, err := cache.Token(ctx)
		value(t, held, err)
		impatient, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = cache.Renew(impatient, held) })
		synctest.Wait()
		wg.Go(func() {
			token, err := cache.Renew(ctx, held)
			if err != nil || token.Value.Reveal() != "token-3" {
				t.Errorf("got %s, %v", token.Value.Reveal(), err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if got := usage.Total().RenewedOn401; got != 1 {
			t.Errorf("%d renewals counted, want 1", got)
		}
	})
}

func TestPanickingFetchLeavesTheCacheUsable(t *testing.T) {
	t.Parallel()
	calls := 0
	cache := auth.NewCache(func(context.Context) (connector.Token, error) {
		if calls++; calls == 1 {
			panic("defect of a connector")
		}
		return connector.Token{Value: connector.NewSecret("good")}, nil
	}, auth.Policy{})
	func() {
		defer func() { _ = recover() }()
		_, _ = cache.Token(t.Context())
	}()
	token, err := cache.Token(t.Context())
	if got := value(t, token, err); got != "good" {
		t.Errorf("got %q", got)
	}
}

func TestCacheSignsWithTheScheme(t *testing.T) {
	t.Parallel()
	for scheme, want := range map[string]string{"": "Bearer abc", "Bearer": "Bearer abc", "JWT": "JWT abc"} {
		cache := auth.NewCache(func(context.Context) (connector.Token, error) {
			return connector.Token{Value: connector.NewSecret("abc"), Type: scheme, BaseURL: "https://api.example.com"}, nil
		}, auth.Policy{})
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if err := cache.Authorize(req); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, req.Header.Get("Authorization")); diff != "" {
			t.Error(diff)
		}
		if base, err := cache.BaseURL(t.Context()); base != "https://api.example.com" || err != nil {
			t.Errorf("base URL %q, %v", base, err)
		}
	}
}
