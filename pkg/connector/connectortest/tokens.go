package connectortest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// The rules of token flows. A token is renewed ahead of its end, one renewal at a
// time for each credential. A 401 is followed by exactly one renewal and one
// repetition of the request with the new token, then by a clear error. A request
// that waited or is repeated is signed at the moment it is sent. A token leaves
// for the vendor's own hosts alone, also on redirects. The token endpoint's own
// 400 and 401 are final, its 5xx are retried briefly.
var tokenChecks = []Check{
	{
		ID: "T1", Rule: "a token of 5 seconds is renewed ahead of its end, all through a pull that outlives it",
		Source: fromTokens, Means: "long pulls lose their token in the middle", run: checkEarlyRefresh, timed: true,
	},
	{
		ID: "T2", Rule: "a token of 5 minutes is used as long as it is good: one fetch for all streams",
		Source: fromTokens, Means: "the token endpoint is asked for each request, until the vendor blocks the account", run: checkReuse,
	},
	{
		ID: "T3", Rule: "pulls that begin at the same time share one token request",
		Source: fromTokens, Means: "streams that start together storm the token endpoint, and where only the last token counts end each other's", run: checkSingleFlight,
	},
	{
		ID: "T4", Rule: "a 401 is answered by exactly one renewal and one repetition of the request, and the pull goes on",
		Source: fromTokens, Means: "a token that ends early fails the pull", run: checkOneRenewal,
	},
	{
		ID: "T5", Rule: "a second 401 for the same request is KindAuth: no further renewal, no further try",
		Source: fromTokens, Means: "revoked credentials make for an endless storm of token requests", run: checkRefused,
	},
	{
		ID: "T6", Rule: "pulls whose token is refused at the same time share one renewal",
		Source: fromTokens, Means: "each stream renews for itself, and their tokens may end each other", run: checkSharedRenewal,
	},
	{
		ID: "T7", Rule: "a request that waited is signed when it is sent: never with a token that ended meanwhile",
		Source: fromTokens, Means: "each wait that a vendor asks for ends in a 401", run: checkStaleHeader, timed: true,
	},
	{
		ID: "T8", Rule: "no credential goes to a host that is not the vendor's, also when the vendor redirects there",
		Source: fromTokens, Means: "whoever can plant a redirect has the account", run: checkForeignHost,
	},
	{
		ID: "T9", Rule: "the token endpoint's 400 and 401 are final, of KindAuth or KindConfig",
		Source: fromTokens, Means: "wrong credentials are tried again until the account is locked", run: checkTokenRefused,
	},
	{
		ID: "T10", Rule: "the token endpoint's 503 is retried, a few times within seconds, and is KindUnavailable if it stays",
		Source: fromTokens, Means: "a hiccup of the vendor fails the night's pull, or is taken for wrong credentials", run: checkTokenUnavailable,
	},
}

const (
	shortLife = 5 * time.Second
	// latestRenewal is the age of such a token at which its renewal is not ahead of
	// its end any more.
	latestRenewal = shortLife * 19 / 20
	// stretched is how long pulls are drawn out.
	stretched = 7 * time.Second
)

func checkEarlyRefresh(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	s, err := e.shortened(ctx, shortLife)
	if err != nil {
		return "", err
	}
	defer s.close()
	pace := min(max(stretched/time.Duration(len(lead.requests)), 20*time.Millisecond), 250*time.Millisecond)
	s.gate.set(func(x *exchange) *answer {
		if !x.token {
			x.hold(pace)
		}
		return nil
	})
	start := time.Now()
	for time.Since(start) < stretched {
		var r recording
		if err := s.pull(ctx, lead.req, &r); err != nil {
			return "", fmt.Errorf("%s with tokens of %s: %w", where(lead.req), shortLife, err)
		}
		if text := difference(lead.keys, keysOf(lead.stream, r.events)); text != "" {
			return "", fmt.Errorf("%s with tokens of %s: %s", where(lead.req), shortLife, text)
		}
	}
	var p problems
	late := 0
	for _, x := range s.gate.exchanges(false) {
		if issued, ok := s.gate.granted(x.credential); ok && !x.at.Before(issued.Add(shortLife)) {
			late++
		}
	}
	if late > 0 {
		p.addf("%d requests were signed with a token that had ended", late)
	}
	fetches := s.gate.exchanges(true)
	before := map[string]time.Time{} // by credential
	for _, x := range fetches {
		earlier := before[string(x.body)]
		if age := x.at.Sub(earlier); !earlier.IsZero() && age >= latestRenewal && s.gate.usedBetween(earlier.Add(shortLife*4/5), x.at) {
			p.addf("a token was used until it was renewed %s after it was fetched, not ahead of its end after %s", age.Round(10*time.Millisecond), shortLife)
		}
		before[string(x.body)] = x.at
	}
	took := time.Since(start)
	if most := distinct(fetches) * (int(took/(shortLife/4)) + 2); len(fetches) > most {
		p.addf("%d tokens were fetched in %s", len(fetches), took.Round(time.Millisecond))
	}
	return fmt.Sprintf("%d tokens in %s, none used after its end", len(fetches), took.Round(100*time.Millisecond)), p.err()
}

// shortened opens a source whose tokens live for d.
func (e *exam) shortened(ctx context.Context, d time.Duration) (*session, error) {
	if !e.lifetimeTold {
		return nil, lacks("the token endpoint's answer names no lifetime where the exam looks for it; Candidate.LifetimeField says under what name it does")
	}
	s, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	s.gate.shorten(d)
	return s, nil
}

// distinct counts the credentials for which tokens were fetched.
func distinct(fetches []*exchange) int {
	seen := map[string]bool{}
	for _, x := range fetches {
		seen[string(x.body)+" "+x.credential] = true
	}
	return len(seen)
}

func checkReuse(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.gate.shorten(5 * time.Minute)
	for _, one := range e.good() {
		if err := s.pull(ctx, one.req, &recording{}); err != nil {
			return "", fmt.Errorf("%s: %w", where(one.req), err)
		}
	}
	fetches := s.gate.exchanges(true)
	if len(fetches) != distinct(fetches) {
		return "", fmt.Errorf("%d tokens were fetched for %d requests", len(fetches), len(s.gate.exchanges(false)))
	}
	return fmt.Sprintf("%d fetched for %d requests", len(fetches), len(s.gate.exchanges(false))), nil
}

// mostPulls is how many pulls are made at the same time.
const mostPulls = 8

// several returns slices to pull at the same time, or why there are not two.
func (e *exam) several() ([]*slice, error) {
	all := e.good()
	slices.SortStableFunc(all, func(x, y *slice) int { return len(x.requests) - len(y.requests) })
	all = all[:min(len(all), mostPulls)]
	if len(all) == 1 && all[0].stream.Mode == connector.ModeWindow {
		earlier := *all[0]
		earlier.keys = nil // not read before
		earlier.req = e.request(earlier.stream, earlier.req.Partition, 1)
		if earlier.req.Window == all[0].req.Window {
			earlier.req = e.request(earlier.stream, earlier.req.Partition, 2)
		}
		all = append(all, &earlier)
	}
	if len(all) < 2 {
		return nil, lacks("there is one slice to pull, and two of it are never pulled at the same time")
	}
	return all, nil
}

// together pulls slices at the same time and compares what comes.
func (s *session) together(ctx context.Context, all []*slice) error {
	var (
		pulls sync.WaitGroup
		mu    sync.Mutex
		p     problems
	)
	for _, one := range all {
		pulls.Go(func() {
			var r recording
			err := s.pull(ctx, one.req, &r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				p.addf("%s: %v", where(one.req), err)
			} else if text := difference(one.keys, keysOf(one.stream, r.events)); one.keys != nil && text != "" {
				p.addf("%s: %s", where(one.req), text)
			}
		})
	}
	pulls.Wait()
	return p.err()
}

func checkSingleFlight(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	all, err := e.several()
	if err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.gate.set(func(x *exchange) *answer {
		if x.token {
			x.hold(300 * time.Millisecond)
		}
		return nil
	})
	if err := s.together(ctx, all); err != nil {
		return "", err
	}
	fetches := s.gate.exchanges(true)
	if len(fetches) != distinct(fetches) {
		return "", fmt.Errorf("%d token requests for %d pulls that began at the same time, %d would do", len(fetches), len(all), distinct(fetches))
	}
	return fmt.Sprintf("%d pulls, %d token requests", len(all), len(fetches)), nil
}

func checkOneRenewal(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.leash(lead)
	middle := (len(lead.requests) + 1) / 2
	s.gate.set(func(x *exchange) *answer {
		if !x.token && x.n == middle {
			s.gate.revoke(x.credential)
			return s.gate.refuse(x, origin(s.gate.api))
		}
		return nil
	})
	var r recording
	if err := s.pull(ctx, lead.req, &r); err != nil {
		return "", fmt.Errorf("%s, whose token was refused at request %d: %w", where(lead.req), middle, err)
	}
	var p problems
	if text := difference(lead.keys, keysOf(lead.stream, r.events)); text != "" {
		p.addf("%s, whose token was refused at request %d: %s", where(lead.req), middle, text)
	}
	requests, fetches := s.gate.exchanges(false), s.gate.exchanges(true)
	refused, late := 0, 0
	for _, x := range requests {
		if x.status == http.StatusUnauthorized {
			refused++
			if x.at.Sub(requests[middle-1].at) > slack { // else it was under way
				late++
			}
		}
	}
	if late > 0 {
		p.addf("the refused token was sent %d more times", late)
	}
	if n := len(fetches) - distinct(fetches); n != 1 {
		p.addf("%d renewals, want 1", n)
	}
	if n := len(requests) - len(lead.requests); n != refused {
		p.addf("%d requests were refused, and %d sent again", refused, n)
	}
	return fmt.Sprintf("refused at request %d of %d: one renewal, %d sent again", middle, len(lead.requests), refused), p.err()
}

func count(requests []*exchange, status int) int {
	n := 0
	for _, x := range requests {
		if x.status == status {
			n++
		}
	}
	return n
}

func checkRefused(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.leash(lead)
	s.gate.set(func(x *exchange) *answer {
		if x.token {
			return nil
		}
		return s.gate.refuse(x, origin(s.gate.api))
	})
	var p problems
	if err := s.pull(ctx, lead.req, &recording{}); connector.KindOf(err) != connector.KindAuth {
		p.addf("%s: %s, want KindAuth", where(lead.req), describe(err))
	}
	requests, fetches := s.gate.exchanges(false), s.gate.exchanges(true)
	// A connector may have several requests under way; each is repeated once.
	again := map[string]int{}
	for _, target := range targets(requests) {
		if again[target]++; again[target] == 3 {
			p.addf("%.200s was sent more than twice", target)
		}
	}
	if n := len(fetches) - distinct(fetches); n != 1 {
		p.addf("%d renewals, want 1", n)
	}
	return fmt.Sprintf("%d requests, %d tokens", len(requests), len(fetches)), p.err()
}

func checkSharedRenewal(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	all, err := e.several()
	if err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	// The first token is refused wherever it comes, and late enough for all pulls
	// to have it. With the next one nobody is held.
	s.gate.set(func(x *exchange) *answer {
		first := !x.token && s.gate.first(x.credential)
		if x.token || first {
			x.hold(200 * time.Millisecond)
		}
		if first {
			return s.gate.refuse(x, origin(s.gate.api))
		}
		return nil
	})
	if err := s.together(ctx, all); err != nil {
		return "", err
	}
	refused := count(s.gate.exchanges(false), http.StatusUnauthorized)
	fetches := s.gate.exchanges(true)
	if n := len(fetches) - distinct(fetches); n != distinct(fetches) {
		return "", fmt.Errorf("%d renewals after %d requests of %d pulls were refused together, want %d", n, refused, len(all), distinct(fetches))
	}
	return fmt.Sprintf("%d pulls, %d requests refused, %d tokens", len(all), refused, len(fetches)), nil
}

func checkStaleHeader(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	const life, wait = 2 * time.Second, 3 * time.Second
	s, err := e.shortened(ctx, life)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.leash(lead)
	s.gate.set(func(x *exchange) *answer {
		if x.token || x.n > 1 {
			return nil
		}
		return reply(http.StatusTooManyRequests, `{"error":"slow down"}`).with("Retry-After", "3")
	})
	var r recording
	pulled := s.pull(ctx, lead.req, &r)
	requests := s.gate.exchanges(false)
	if len(requests) < 2 {
		if connector.KindOf(pulled) == connector.KindRateLimited {
			return "", lacks("the connector does not wait itself: after a 429 it returns KindRateLimited")
		}
		return "", fmt.Errorf("%s after a 429 with Retry-After: %s", where(lead.req), describe(pulled))
	}
	if again := requests[1]; again.at.Sub(requests[0].at) >= life && again.credential == requests[0].credential {
		return "", fmt.Errorf("after a wait of %s the request came with the token from before, which had ended after %s",
			again.at.Sub(requests[0].at).Round(10*time.Millisecond), life)
	}
	if pulled != nil {
		return "", fmt.Errorf("%s with a wait of %s in it: %w", where(lead.req), wait, pulled)
	}
	return fmt.Sprintf("after a wait of %s the request came with a new token", requests[1].at.Sub(requests[0].at).Round(100*time.Millisecond)), nil
}

func checkTokenRefused(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	for status, code := range map[int]string{http.StatusBadRequest: "invalid_request", http.StatusUnauthorized: "invalid_client"} {
		s, err := e.open(ctx)
		if err != nil {
			return "", err
		}
		s.leash(lead)
		s.gate.set(func(x *exchange) *answer {
			if !x.token {
				return nil
			}
			return reply(status, `{"error":"`+code+`"}`)
		})
		pulled := s.pull(ctx, lead.req, &recording{})
		fetches := s.gate.exchanges(true)
		s.close()
		if kind := connector.KindOf(pulled); kind != connector.KindAuth && kind != connector.KindConfig {
			p.addf("%d: %s, want KindAuth or KindConfig", status, describe(pulled))
		}
		if len(fetches) != 1 {
			p.addf("%d: the token endpoint was asked %d times", status, len(fetches))
		}
	}
	return "", p.err()
}

func checkTokenUnavailable(ctx context.Context, e *exam) (string, error) {
	if err := e.tokens(); err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	asked := 0
	for _, stays := range []bool{false, true} {
		s, err := e.open(ctx)
		if err != nil {
			return "", err
		}
		s.leash(lead)
		s.gate.set(func(x *exchange) *answer {
			if !x.token || !stays && x.n > 1 {
				return nil
			}
			return reply(http.StatusServiceUnavailable, `{"error":"maintenance"}`)
		})
		pulled := s.pull(ctx, lead.req, &recording{})
		fetches := len(s.gate.exchanges(true))
		s.close()
		switch {
		case !stays && pulled != nil:
			p.addf("a single 503: %s", describe(pulled))
		case stays && connector.KindOf(pulled) != connector.KindUnavailable:
			p.addf("503 that stays: %s, want KindUnavailable", describe(pulled))
		case stays && (fetches < 2 || fetches > 10):
			p.addf("503 that stays: the token endpoint was asked %d times, want a few", fetches)
		}
		asked = fetches
	}
	return fmt.Sprintf("given up after %d requests", asked), p.err()
}
