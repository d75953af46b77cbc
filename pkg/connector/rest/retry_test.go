package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestWhatIsTriedAgainAndWhatIsNot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status   int
		err      error // of the transport
		request  rest.Request
		requests int
		kind     connector.Kind
	}{
		{status: 400, requests: 1, kind: connector.KindBadResponse},
		{status: 401, requests: 1, kind: connector.KindAuth},
		{status: 403, requests: 1, kind: connector.KindForbidden},
		{status: 404, requests: 1, kind: connector.KindBadResponse},
		{status: 405, requests: 1, kind: connector.KindBadResponse},
		{status: 304, requests: 1, kind: connector.KindBadResponse},
		{status: 422, requests: 1, kind: connector.KindBadResponse},
		{status: 408, requests: 5, kind: connector.KindUnavailable},
		{status: 425, requests: 5, kind: connector.KindUnavailable},
		{status: 429, requests: 5, kind: connector.KindRateLimited},
		{status: 500, requests: 5, kind: connector.KindUnavailable},
		{status: 503, requests: 5, kind: connector.KindUnavailable},
		{err: io.ErrUnexpectedEOF, requests: 5, kind: connector.KindUnavailable},
		{err: errors.New("odd"), requests: 5, kind: connector.KindUnavailable},
		{status: 503, request: rest.Request{Method: "POST"}, requests: 1, kind: connector.KindUnavailable},
		{status: 429, request: rest.Request{Method: "POST"}, requests: 1, kind: connector.KindRateLimited},
		{err: io.ErrUnexpectedEOF, request: rest.Request{Method: "POST"}, requests: 1, kind: connector.KindUnavailable},
		{status: 503, request: rest.Request{Method: "POST", ReadOnly: true, Body: []byte("{}")}, requests: 5, kind: connector.KindUnavailable},
		{status: 503, request: rest.Request{Method: "HEAD"}, requests: 5, kind: connector.KindUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			client := newClient(t, rest.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				requests++
				if body, _ := io.ReadAll(r.Body); string(body) != string(test.request.Body) {
					t.Errorf("attempt %d has the body %q", requests, body)
				}
				if test.err != nil {
					return nil, test.err
				}
				return reply(r, test.status, ""), nil
			})})
			var usage connector.UsageRecorder
			test.request.Path = "customers"
			_, err := client.Do(connector.WithUsage(t.Context(), &usage), test.request)
			wantKind(t, err, test.kind)
			if requests != test.requests {
				t.Errorf("%d %v %s: %d requests, want %d", test.status, test.err, test.request.Method, requests, test.requests)
			}
			got := usage.Total()
			if got.Requests != int64(requests) || got.Retries != int64(requests-1) || (got.Waited > 0) != (requests > 1) {
				t.Errorf("usage %+v of %d requests", got, requests)
			}
		})
	}
}

func TestBackoffGrowsWithFullJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sums := make([]time.Duration, 7)
		const rounds = 100
		for range rounds {
			var sent log
			client := newClient(t, rest.Options{MaxAttempts: 8, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				sent.add()
				return reply(r, 500, ""), nil
			})})
			if _, err := client.Get(t.Context(), "x", nil); err == nil {
				t.Fatal("no error")
			}
			for i := range sums {
				wait := sent.sent[i+1].Sub(sent.sent[i])
				if bound := min(time.Second<<i, 30*time.Second) + 1; wait > bound {
					t.Fatalf("wait %d is %s, bound %s", i, wait, bound)
				}
				sums[i] += wait
			}
		}
		for i, sum := range sums {
			mean, want := sum/rounds, min(time.Second<<i, 30*time.Second)/2
			if mean < want*6/10 || mean > want*14/10 { // nearly 7 standard deviations
				t.Errorf("wait %d: mean %s, want about %s", i, mean, want)
			}
		}
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]func(now time.Time) []string{
		"seconds": func(time.Time) []string { return []string{"Retry-After", "90"} },
		"date":    func(now time.Time) []string { return []string{"Retry-After", httpDate(now.Add(90 * time.Second))} },
		"date of a vendor whose clock is a day off": func(now time.Time) []string {
			off := now.Add(24 * time.Hour)
			return []string{"Retry-After", httpDate(off.Add(90 * time.Second)), "Date", httpDate(off)}
		},
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := newClient(t, rest.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if requests++; requests == 1 {
						return reply(r, status, "", header(time.Now())...), nil
					}
					return reply(r, 200, "{}"), nil
				})})
				var usage connector.UsageRecorder
				start := time.Now()
				if _, err := client.Get(connector.WithUsage(t.Context(), &usage), "x", nil); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != 90*time.Second {
					t.Errorf("%s, %d: took %s, want 1m30s", name, status, took)
				}
				got := usage.Total()
				if got.Waited != 90*time.Second || got.WaitedForLimit != got.Waited {
					t.Errorf("%s: %s counted, of it %s for the limit", name, got.Waited, got.WaitedForLimit)
				}
				if got.Status2xx != 1 || got.Status4xx+got.Status5xx != 1 || (got.Status4xx == 1) != (status == 429) {
					t.Errorf("%s, %d: answers %+v", name, status, got)
				}
			})
		}
	}
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func TestTooManyRequestsWithoutRetryAfterWaitsASecondAtLeast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent log
		client := newClient(t, rest.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			sent.add()
			return reply(r, 429, ""), nil
		})})
		_, err := client.Get(t.Context(), "x", nil)
		wantKind(t, err, connector.KindRateLimited)
		if len(sent.sent) != 5 || sent.most(time.Second) != 1 {
			t.Errorf("sent at %v", sent.sent)
		}
	})
}

func TestRequestIsSignedWhenItIsSent(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]rest.Options{
		"waits for the rate":  {Rate: []rest.Window{{Requests: 1, Per: 10 * time.Minute}}},
		"waits for the retry": {MaxWait: time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			issued := map[string]time.Time{}
			tokens := auth.NewCache(func(context.Context) (connector.Token, error) {
				value := "token-" + strconv.Itoa(len(issued))
				issued["Bearer "+value] = time.Now()
				return connector.Token{Value: connector.NewSecret(value), ExpiresAt: time.Now().Add(300 * time.Second)}, nil
			}, auth.Policy{})
			requests := 0
			o.Auth = tokens
			o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if age := time.Since(issued[r.Header.Get("Authorization")]); age > 240*time.Second {
					t.Errorf("%s: signed with a token of age %s", name, age)
				}
				if requests++; requests%2 == 1 && o.Rate == nil {
					return reply(r, 503, "", "Retry-After", "600"), nil
				}
				return reply(r, 200, "{}"), nil
			})
			client := newClient(t, o)
			for range 3 {
				if _, err := client.Get(t.Context(), "x", nil); err != nil {
					t.Fatal(err)
				}
			}
			if len(issued) < 3 {
				t.Errorf("%s: %d tokens, want one after each wait", name, len(issued))
			}
		})
	}
}

func TestBackoffEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, rest.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return reply(r, 503, "", "Retry-After", "100"), nil
		})})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.Do(ctx, rest.Request{Path: "x", Op: "cdrs_in page 3"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		if want := "cdrs_in page 3: context deadline exceeded"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	})
}

func TestAnswerThatDoesNotEndIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, rest.Options{MaxAttempts: 2, Timeout: time.Minute, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := reply(r, 200, "")
			resp.Body, resp.ContentLength = drip{r.Context()}, -1
			return resp, nil
		})})
		start := time.Now()
		_, err := client.Get(t.Context(), "x", nil)
		wantKind(t, err, connector.KindUnavailable)
		if want := "GET x: no whole answer from api.example.com within 1m0s, after 2 attempts"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if took := time.Since(start); took < 2*time.Minute || took > 2*time.Minute+2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// drip is a body that brings a byte a second for ever.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (drip) Close() error { return nil }

func TestClassifyDecidesBeforeTheStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, requests int
		err              error
		kind             connector.Kind
		wait             time.Duration
	}{
		{200, 1, &connector.Error{Kind: connector.KindForbidden, Err: errors.New("errors in a 200")}, connector.KindForbidden, 0},
		{200, 5, &connector.Error{Kind: connector.KindUnavailable, Err: errors.New("busy")}, connector.KindUnavailable, 0},
		{200, 5, &connector.Error{Kind: connector.KindRateLimited, Err: errors.New("slow down"), RetryAfter: time.Minute}, connector.KindRateLimited, 4 * time.Minute},
		{400, 1, &connector.Error{Kind: connector.KindRateLimited, Err: errors.New("quota"), RetryAfter: time.Hour}, connector.KindRateLimited, 0},
		{500, 1, errors.New("a defect of the vendor that stays"), connector.KindUnknown, 0},
		{404, 1, nil, connector.KindBadResponse, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			client := newClient(t, rest.Options{
				Classify: func(*rest.Response) error { return test.err },
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					requests++
					return reply(r, test.status, ""), nil
				}),
			})
			start := time.Now()
			_, err := client.Get(t.Context(), "x", nil)
			wantKind(t, err, test.kind)
			if requests != test.requests || (test.wait > 0 && time.Since(start) != test.wait) {
				t.Errorf("%v: %d requests in %s", err, requests, time.Since(start))
			}
		})
	}
}
