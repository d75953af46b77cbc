package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

const (
	maxBackoff = 30 * time.Second // the longest wait between attempts that the vendor did not ask for
	leastPause = time.Second      // after a 429
)

// A TooLargeError says that a body is longer than MaxBody. Asking for less may help;
// asking again does not.
type TooLargeError = manners.TooLargeError

// A failure is an attempt that brought no good answer.
type failure struct {
	err   error
	retry bool
	slow  bool          // the vendor says that requests come too fast
	wait  time.Duration // what the vendor asked for before the next attempt; may be zero
}

// Get reads path. See Do.
func (c *Client) Get(ctx context.Context, path string, query url.Values) (*Response, error) {
	return c.Do(ctx, Request{Path: path, Query: query})
}

// Do sends req, retries what is worth it, and returns the answer if its status
// is 2xx and Request.Read can read it. Errors are *connector.Error, or wrap ctx.Err():
//
//	KindAuth         401, also with renewed credentials
//	KindForbidden    403
//	KindRateLimited  429, or a wait longer than MaxWait, with RetryAfter
//	KindUnavailable  408, 425, 5xx, unreachable, truncated: after MaxAttempts
//	KindBadResponse  any other status, among them 404, which may concern one
//	                 stream alone; a body above MaxBody, which wraps a
//	                 *TooLargeError; HTML; a link or redirect to a host that is
//	                 not allowed
//	KindConfig       the request cannot be sent at all, or TLS does not show that
//	                 the host is the right one
//
// Requests that are not read-only are sent once, and again only after a 401.
func (c *Client) Do(ctx context.Context, req Request) (*Response, error) {
	op := req.op()
	renewed, before := false, repeat{}
	for attempt := 1; ; {
		answer, failed := c.attempt(ctx, req, before)
		if failed == nil {
			failed = c.judge(answer, renewed)
			if failed == nil && req.Read != nil {
				if err := req.Read(answer.Response); err != nil {
					failed = &failure{err: err}
				}
			}
			answer.judged(ctx, failed)
		}
		switch {
		case failed == nil:
			c.limiter.succeeded()
			return answer.Response, nil
		case ctx.Err() != nil:
			return nil, manners.Cancelled(ctx, op)
		case errors.Is(failed.err, errRejected) && !renewed && c.options.Auth != nil:
			renewed = true
			replay, err := c.options.Auth.Rejected(ctx, answer.http)
			if err != nil && ctx.Err() != nil {
				return nil, manners.Cancelled(ctx, op)
			}
			if err != nil {
				return nil, &connector.Error{Op: op, Err: err}
			}
			if replay {
				before = before.after("401, credentials renewed")
				continue
			}
		}
		wait := failed.wait
		if wait == 0 {
			wait = manners.Backoff(attempt, maxBackoff)
		}
		if failed.slow {
			c.limiter.slow(max(wait, leastPause))
		} else if failed.retry && failed.wait > 0 {
			c.limiter.pause(wait)
		}
		if !failed.retry || !req.repeatable() || attempt >= c.options.MaxAttempts {
			return nil, final(op, failed.err, attempt)
		}
		if wait > c.options.MaxWait {
			return nil, &connector.Error{Kind: connector.KindRateLimited, Op: op, Err: failed.err, RetryAfter: wait}
		}
		reason := tracing.WaitBackoff
		if failed.wait > 0 {
			reason = tracing.WaitRetryAfter
		}
		if err := manners.Sleep(ctx, wait, reason); err != nil {
			return nil, manners.Cancelled(ctx, op)
		}
		attempt++
		before = before.after(why(answer, failed))
	}
}

// final is the error of a request that is given up.
func final(op string, err error, attempts int) error {
	if attempts > 1 {
		err = fmt.Errorf("%w, after %d attempts", err, attempts)
	}
	return &connector.Error{Op: op, Err: err}
}

// errRejected marks the answer 401 in its standard reading.
var errRejected = errors.New("401 Unauthorized")

// judge reads an answer: as the vendor's Classify does, else by its status. It
// returns nil for a good one.
func (c *Client) judge(a *answer, renewed bool) *failure {
	if c.options.Classify != nil {
		if err := c.options.Classify(a.Response); err != nil {
			kind := connector.KindOf(err)
			return &failure{
				err: err, retry: kind == connector.KindUnavailable || kind == connector.KindRateLimited,
				slow: kind == connector.KindRateLimited, wait: connector.RetryAfterOf(err),
			}
		}
	}
	fail := func(kind connector.Kind, cause error, hint string) *failure {
		if message := manners.Message(a.Body, a.secrets...); message != "" {
			cause = fmt.Errorf("%w (%s)", cause, message)
		}
		return &failure{err: &connector.Error{Kind: kind, Err: cause, Hint: hint}}
	}
	host := a.http.Request.URL.Host
	status := fmt.Errorf("%s from %s", manners.Status(a.Status), host)
	switch code := a.Status; {
	case code/100 == 2 && manners.HTML(a.Header, a.Body):
		return fail(connector.KindBadResponse, fmt.Errorf("got text/html instead of JSON from %s", host), "is base_url right?")
	case code/100 == 2:
		return nil
	case code == http.StatusUnauthorized:
		hint := "check the credentials"
		if renewed {
			hint = "credentials just renewed were refused as well: check what they may read, and that base_url belongs to them"
		}
		return fail(connector.KindAuth, fmt.Errorf("%w from %s", errRejected, host), hint)
	case code == http.StatusForbidden:
		return fail(connector.KindForbidden, status, "the credentials are good but may not read this; ask the vendor for the permission, or leave the stream out")
	case code == http.StatusNotFound:
		return fail(connector.KindBadResponse, status, "is base_url right, with its version, and is this part of the API open to the account?")
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
		kind := connector.KindUnavailable
		if code == http.StatusTooManyRequests {
			kind = connector.KindRateLimited
		}
		f := fail(kind, status, "")
		f.retry, f.slow = true, code == http.StatusTooManyRequests
		f.wait, _ = RetryAfter(a.Header)
		if e := (*connector.Error)(nil); errors.As(f.err, &e) {
			e.RetryAfter = f.wait
		}
		return f
	case code/100 == 3:
		return fail(connector.KindBadResponse, fmt.Errorf("%w: a redirect that cannot be followed", status), "is base_url right?")
	}
	return fail(connector.KindBadResponse, status, "")
}
