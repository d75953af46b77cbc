package auth

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// A Fetch asks the vendor for a new token. The token's ExpiresAt is counted from
// the moment before the request was sent, by the local clock, so that a vendor
// whose clock is off does no harm. A token without ExpiresAt is good until the
// vendor answers 401.
type Fetch func(ctx context.Context) (connector.Token, error)

// A Policy says how long before its end a token is renewed: Share of its
// lifetime, but at least Floor and at most a quarter of the lifetime. The zero
// Policy renews a token of an hour five minutes, one of 300 seconds a minute and
// one of 5 seconds 1.25 seconds ahead.
type Policy struct {
	// Share of the lifetime; zero means 1/12.
	Share float64
	// Floor is the shortest time ahead; zero means a minute.
	Floor time.Duration
}

// ahead returns how long before its end a token of that lifetime is renewed.
func (p Policy) ahead(lifetime time.Duration) time.Duration {
	share, floor := p.Share, p.Floor
	if share <= 0 {
		share = 1.0 / 12
	}
	if floor <= 0 {
		floor = time.Minute
	}
	return min(max(time.Duration(share*float64(lifetime)), floor), lifetime/4)
}

// A Cache holds the token of one credential. It is safe for concurrent use.
//
// A Cache is a rest.Authorizer: it signs requests with the header
// "Authorization: <type> <token>" and renews the token after a 401.
type Cache struct {
	fetch  Fetch
	policy Policy

	mu      sync.Mutex
	token   connector.Token
	renewAt time.Time // from then on a token that still works is renewed
	flight  *flight   // the fetch under way, if any
}

// A flight is one fetch that several callers wait for. Its fields may be read
// once done is closed.
type flight struct {
	done      chan struct{}
	token     connector.Token
	err       error
	abandoned bool // the caller that ran it gave up, which says nothing to the others
}

// NewCache returns an empty cache over fetch.
func NewCache(fetch Fetch, policy Policy) *Cache { return &Cache{fetch: fetch, policy: policy} }

// Token returns a token that is good now, and fetches one when there is none or
// its end is near. Callers at the same time share one fetch; a caller that gives
// up does not fail the others. While a token that nears its end still works,
// only one caller waits for its renewal, and a vendor that is out of reach is no
// error.
func (c *Cache) Token(ctx context.Context) (connector.Token, error) {
	for {
		c.mu.Lock()
		usable := c.usable()
		if usable && (!passed(c.renewAt) || c.flight != nil) {
			defer c.mu.Unlock()
			return c.token, nil
		}
		f, mine := c.join()
		reason := "none yet"
		switch {
		case usable:
			reason = "near its end"
		case !c.token.Value.IsZero():
			reason = "at its end"
		}
		c.mu.Unlock()

		if !mine {
			if again, err := f.wait(ctx); again {
				continue
			} else if err != nil {
				return connector.Token{}, err
			}
			return f.token, nil
		}
		token, err := c.run(ctx, f, reason)
		if err != nil && usable && ctx.Err() == nil && !final(err) {
			return c.postpone(err)
		}
		return token, err
	}
}

// Renew returns a token to use instead of rejected, which the vendor answered
// with 401. All who hold the same rejected token share one renewal.
func (c *Cache) Renew(ctx context.Context, rejected connector.Token) (connector.Token, error) {
	for {
		c.mu.Lock()
		if c.token.Value.Reveal() == rejected.Value.Reveal() {
			c.token = connector.Token{}
		} else if c.usable() {
			defer c.mu.Unlock()
			return c.token, nil
		}
		f, mine := c.join()
		c.mu.Unlock()

		if !mine {
			if again, err := f.wait(ctx); again {
				continue
			} else if err != nil {
				return connector.Token{}, err
			}
			return f.token, nil
		}
		token, err := c.run(ctx, f, "answered with 401")
		if err == nil {
			connector.RecordUsage(ctx, connector.Usage{RenewedOn401: 1})
		}
		return token, err
	}
}

// join returns the fetch under way, or a new one that is the caller's to run.
// c.mu is held.
func (c *Cache) join() (f *flight, mine bool) {
	if c.flight != nil {
		return c.flight, false
	}
	c.flight = &flight{done: make(chan struct{})}
	return c.flight, true
}

// run fetches a token for everyone who waits for f, for a reason that traces
// tell. It runs in the goroutine and
// under the context of one of them: if that one gives up, the next one starts
// over, and no fetch outlives its callers.
func (c *Cache) run(ctx context.Context, f *flight, reason string) (connector.Token, error) {
	start := time.Now()
	f.abandoned = true // unless fetch returns
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flight = nil
		close(f.done)
	}()
	ctx, span := tracing.Start(ctx, "fetch token", tracing.TokenReason.String(reason))
	token, err := c.fetch(ctx)
	tracing.End(span, err)
	f.token, f.err = token, err
	f.abandoned = err != nil && ctx.Err() != nil
	if err != nil {
		return connector.Token{}, err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	c.renewAt = time.Time{}
	if !token.ExpiresAt.IsZero() {
		c.renewAt = token.ExpiresAt.Add(-c.policy.ahead(token.ExpiresAt.Sub(start)))
	}
	return token, nil
}

// wait waits for the end of the fetch; again says that its owner gave up.
func (f *flight) wait(ctx context.Context) (again bool, err error) {
	start := time.Now()
	defer func() {
		connector.RecordUsage(ctx, connector.Usage{FetchingTokens: time.Since(start)})
		tracing.Waited(ctx, start, tracing.WaitToken)
	}()
	select {
	case <-f.done:
		return f.abandoned, f.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// postpone returns the token that still works although its renewal ahead of time
// failed with err, and sets the next attempt so that not every request makes one.
// Where the token has ended or was rejected meanwhile, it returns err.
func (c *Cache) postpone(err error) (connector.Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.usable() {
		return connector.Token{}, err
	}
	c.renewAt = time.Now().Add(min(time.Until(c.token.ExpiresAt)/4, 10*time.Second))
	return c.token, nil
}

// usable reports whether there is a token and its end has not come. c.mu is
// held.
func (c *Cache) usable() bool {
	return !c.token.Value.IsZero() && !passed(c.token.ExpiresAt)
}

// passed reports whether t has come, by the monotonic clock, which no step of the
// wall clock moves, or by the wall clock, which goes on while a machine sleeps.
// The zero time never comes.
func passed(t time.Time) bool {
	now := time.Now()
	return !t.IsZero() && (!now.Before(t) || !now.Round(0).Before(t.Round(0)))
}

// final reports whether an error is the vendor's considered answer, which
// waiting does not change.
func final(err error) bool {
	switch connector.KindOf(err) {
	case connector.KindAuth, connector.KindConfig, connector.KindForbidden:
		return true
	default:
		return false
	}
}

// BaseURL returns the base URL that came with the token; it is made for
// rest.Options.BaseURLFrom.
func (c *Cache) BaseURL(ctx context.Context) (string, error) {
	token, err := c.Token(ctx)
	return token.BaseURL, err
}

// Authorize signs req with the token that is good now.
func (c *Cache) Authorize(req *http.Request) error {
	token, err := c.Token(req.Context())
	if err != nil {
		return err
	}
	scheme := token.Type
	if scheme == "" {
		scheme = "Bearer"
	}
	req.Header.Set("Authorization", scheme+" "+token.Value.Reveal())
	return nil
}

// Rejected renews the token that resp.Request was signed with. It reports that
// the request is worth sending once more.
func (c *Cache) Rejected(ctx context.Context, resp *http.Response) (again bool, err error) {
	_, value, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	_, err = c.Renew(ctx, connector.Token{Value: connector.NewSecret(value)})
	return err == nil, err
}
