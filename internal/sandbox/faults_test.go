package sandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
)

func (c *client) fault(f sandbox.Fault) {
	c.t.Helper()
	if _, err := c.box.AddFault(f); err != nil {
		c.t.Fatal(err)
	}
}

func TestFaultsThatAreAStatus(t *testing.T) {
	t.Parallel()
	c := start(t)
	for kind, status := range map[sandbox.FaultKind]int{
		sandbox.FaultServerError: 500, sandbox.FaultUnavailable: 503,
		sandbox.FaultRateSeconds: 429, sandbox.FaultRateDate: 429, sandbox.FaultRateSilent: 429,
	} {
		c.fault(sandbox.Fault{Kind: kind, Count: 1, Delay: 90 * time.Second})
		res := c.raw("customers")
		if res.status != status || !strings.HasPrefix(res.body, `{"errors":[`) {
			t.Errorf("%s: %d %s", kind, res.status, res.body)
		}
		after := res.header.Get("Retry-After")
		switch kind {
		case sandbox.FaultRateSeconds:
			if after != "90" {
				t.Errorf("Retry-After %q, want 90", after)
			}
		case sandbox.FaultRateDate:
			if at, err := http.ParseTime(after); err != nil || !at.Equal(c.clock.now().Add(90*time.Second).Truncate(time.Second)) {
				t.Errorf("Retry-After %q, %v", after, err)
			}
		default:
			if after != "" {
				t.Errorf("%s: Retry-After %q", kind, after)
			}
		}
		if res := c.raw("customers"); res.status != 200 {
			t.Errorf("after %s is spent: %d", kind, res.status)
		}
	}
}

func TestUnauthorizedInTheMiddleOfPagesRevokesTheToken(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultUnauthorized, Path: "/statistics/cdrs", After: 2, Count: 1})
	var statuses []int
	for page := range 4 {
		statuses = append(statuses, c.raw("statistics/cdrs?pagesize=10&page="+strconv.Itoa(page)).status)
	}
	if diff := cmp.Diff([]int{200, 200, 401, 401}, statuses); diff != "" {
		t.Fatal(diff)
	}
	c.token = c.newToken()
	if res := c.raw("statistics/cdrs?pagesize=10&page=2"); res.status != 200 {
		t.Errorf("with a new token: %d", res.status)
	}
}

func TestBodiesThatAreNotTheAnswer(t *testing.T) {
	t.Parallel()
	c := start(t)
	whole := c.raw("customers").body

	c.fault(sandbox.Fault{Kind: sandbox.FaultErrorsWithOK, Count: 1})
	if res := c.raw("customers"); res.status != 200 || !strings.HasPrefix(res.body, `{"errors":["`) {
		t.Errorf("errors with ok: %d %s", res.status, res.body)
	}
	c.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: 1})
	if res := c.raw("customers"); res.status != 200 || !strings.HasPrefix(res.header.Get("Content-Type"), "text/html") || !strings.HasPrefix(res.body, "<!DOCTYPE html>") {
		t.Errorf("html: %d %q %.50s", res.status, res.header.Get("Content-Type"), res.body)
	}
	c.fault(sandbox.Fault{Kind: sandbox.FaultTruncated, Count: 1})
	if res := c.raw("customers"); res.status != 200 || res.body != whole[:len(whole)/2] || json.Valid([]byte(res.body)) {
		t.Errorf("truncated: %d, %d of %d bytes", res.status, len(res.body), len(whole))
	}
	c.fault(sandbox.Fault{Kind: sandbox.FaultCutOff, Count: 1})
	res, err := c.do("GET", "/kaisa/2.4.9/customers", map[string]string{"Authorization": "Bearer " + c.token}, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.body != whole[:len(whole)/2] {
		t.Errorf("cut off: %v, %d of %d bytes", err, len(res.body), len(whole))
	}
	c.fault(sandbox.Fault{Kind: sandbox.FaultHugeBody, Count: 1, Bytes: 3 << 20})
	if res := c.raw("customers"); len(res.body) != 3<<20+len(whole) || !json.Valid([]byte(res.body)) {
		t.Errorf("huge: %d bytes", len(res.body))
	}
	if res := c.raw("customers"); res.body != whole {
		t.Error("the answer is not whole again")
	}
}

func TestAResetConnectionHasNoAnswer(t *testing.T) {
	t.Parallel()
	c := start(t)
	// Go's client repeats a GET by itself if a connection that it had used before
	// ends, so all are reset.
	c.fault(sandbox.Fault{Kind: sandbox.FaultReset})
	_, err := c.do("GET", "/kaisa/2.4.9/customers", map[string]string{"Authorization": "Bearer " + c.token}, "")
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("%v, want a reset connection", err)
	}
	if n := c.box.Stats().Requests["/kaisa/2.4.9/customers"][0]; n == 0 {
		t.Error("no reset is counted")
	}
}

func TestSlowBytesCanBeLeft(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultSlow, Count: 1, Delay: 24 * time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/kaisa/2.4.9/customers", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body := bufio.NewReader(res.Body)
	if first, err := body.Peek(9); err != nil || string(first) != `{"total":` {
		t.Fatalf("the first drip: %q, %v", first, err)
	}
	cancel() // and the server's Close at the end waits for the request
	if _, err := io.ReadAll(body); !errors.Is(err, context.Canceled) {
		t.Errorf("the rest: %v, want that it was left", err)
	}
}

func TestARepeatedPageIgnoresItsNumber(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultRepeatedPage})
	first, second := c.get("customers?pagesize=5&page=0"), c.get("customers?pagesize=5&page=1")
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestEndlessPagesAreNeverTheLast(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultEndlessPages})
	for _, page := range []int{0, 1, 7, 1000} {
		object := c.get("customers?pagesize=5&page=" + strconv.Itoa(page))
		if n := len(records(t, object, "customers")); n == 0 || int(object["numpages"].(float64)) <= page+1 || object["page"] != float64(page) {
			t.Errorf("page %d: %d records, numpages %v", page, n, object["numpages"])
		}
	}
}

func TestShortTokensDieSoonerThanPromised(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultShortTokens, Delay: 20 * time.Second})
	res := c.askToken(jsonBody, `{"grant_type":"client_credentials","client_id":"sandbox-kaisa-client","client_secret":"sandbox-kaisa-secret"}`)
	if !strings.Contains(res.body, `"expires_in":300`) {
		t.Errorf("the answer is %s", res.body)
	}
	c.token = c.newToken()
	if res := c.raw("customers"); res.status != 200 {
		t.Errorf("at once: %d", res.status)
	}
	c.clock.advance(20 * time.Second)
	if res := c.raw("customers"); res.status != 401 {
		t.Errorf("after 20 s: %d", res.status)
	}
}

func TestAFaultWithoutAPathSparesTokenEndpoints(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultServerError})
	c.newToken()
	c.box.ClearFaults()
	c.fault(sandbox.Fault{Kind: sandbox.FaultUnavailable, Path: "/oauth2/token", Count: 1})
	if res := c.askToken(formBody, "grant_type=client_credentials"); res.status != 503 {
		t.Errorf("the token endpoint by its path: %d", res.status)
	}
	if res := c.raw("customers"); res.status != 200 {
		t.Errorf("another path: %d", res.status)
	}
}

func TestProbabilityIsAShareThatTheSeedDecides(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (pattern string) {
		c := start(t, func(o *sandbox.Options) { o.Seed = seed })
		c.fault(sandbox.Fault{Kind: sandbox.FaultServerError, Probability: 0.3})
		for range 100 {
			pattern += strconv.Itoa(c.raw("miscellaneous/ping").status / 100)
		}
		return pattern
	}
	one, again, other := run(1), run(1), run(2)
	if one != again || one == other {
		t.Errorf("seed 1: %s\nagain:  %s\nseed 2: %s", one, again, other)
	}
	if n := strings.Count(one, "5"); n < 15 || n > 45 {
		t.Errorf("%d of 100 struck, want about 30", n)
	}
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t)
	for _, f := range []sandbox.Fault{
		{Kind: "gremlin"}, {}, {Kind: sandbox.FaultSlow, Delay: -1}, {Kind: sandbox.FaultHTML, Probability: 1.5}, {Kind: sandbox.FaultHTML, Count: -1},
	} {
		if _, err := c.box.AddFault(f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
	if err := (sandbox.Options{Faults: []sandbox.Fault{{Kind: "gremlin"}}}).Validate(); err == nil {
		t.Error("options with an unknown fault were accepted")
	}
}

func TestFaultsOfTheOptionsAreOnFromTheStart(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) {
		o.Faults = []sandbox.Fault{{Kind: sandbox.FaultServerError, Path: "/customers", Count: 1}}
	})
	if res := c.raw("customers"); res.status != 500 {
		t.Errorf("%d, want 500", res.status)
	}
}
