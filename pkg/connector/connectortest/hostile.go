package connectortest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// The rules of temper: what a vendor sends never makes a pull lie about what it
// read, never keeps it for ever, and is told to the agent as the kind of error
// that the agent can act on.
var hostileChecks = []Check{
	{
		ID: "H1", Rule: "after a 429 nothing is asked for as long as Retry-After says, and then the pull goes on; or it is KindRateLimited with RetryAfter",
		Source: fromKinds, Means: "the vendor blocks the account", run: checkRetryAfter,
	},
	{
		ID: "H2", Rule: "a 429 that asks for an hour is KindRateLimited with RetryAfter, at once",
		Source: fromKinds, Means: "a pull sits in a wait for an hour, holding its slice, and looks as if it were working", run: checkLongWait,
	},
	{
		ID: "H3", Rule: "a single 503 loses nothing; 503 that stays is KindUnavailable after a few tries",
		Source: fromKinds, Means: "a hiccup fails the night's pull, or an outage is hammered", run: checkUnavailable,
	},
	{
		ID: "H4", Rule: "a 403 is KindForbidden, at once",
		Source: fromKinds, Means: "one stream that may not be read stops the whole source", run: checkForbidden,
	},
	{
		ID: "H5", Rule: "an answer that is cut off never passes for a whole one",
		Source: fromHostile, Means: "a lost connection deletes what was held", run: checkCutOff,
	},
	{
		ID: "H6", Rule: "HTML with status 200 is KindBadResponse",
		Source: fromKinds, Means: "a maintenance page empties a stream", run: checkHTML,
	},
	{
		ID: "H7", Rule: "JSON of another shape than the vendor's is KindBadResponse, never an empty list",
		Source: fromKinds, Means: "a change at the vendor empties a stream", run: checkShapes,
	},
	{
		ID: "H8", Rule: "a vendor that gives the first page for every page is found out: the pull ends, with KindBadResponse",
		Source: fromHostile, Means: "the pull never ends, or ends with the first page for the whole", run: checkRepeatedPage,
	},
	{
		ID: "H9", Rule: "an answer of 100 MB, also one that is small until it is unpacked, is read whole or is KindBadResponse",
		Source: fromHostile, Means: "one answer takes all memory, and other sources with it", run: checkHugeBody,
	},
}

// meddled pulls the lead slice through a gate that meddles, in a source of its
// own. It fails on what no pull may do: end without an error and without all
// records, or not end.
func (e *exam) meddled(ctx context.Context, lead *slice, m meddle) (pulled error, g *gate, err error) {
	s, err := e.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	s.leash(lead)
	s.gate.set(func(x *exchange) *answer {
		if x.token {
			return nil
		}
		return m(x)
	})
	var r recording
	pulled = s.pull(ctx, lead.req, &r)
	if gaveUp(pulled) {
		return pulled, s.gate, pulled
	}
	if pulled == nil {
		if text := difference(lead.keys, keysOf(lead.stream, r.events)); text != "" {
			return nil, s.gate, fmt.Errorf("the pull ended without an error although %s", text)
		}
	}
	return pulled, s.gate, nil
}

func checkRetryAfter(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	const wait = time.Second
	at := min(2, len(lead.requests))
	pulled, g, err := e.meddled(ctx, lead, func(x *exchange) *answer {
		if x.n != at {
			return nil
		}
		return reply(http.StatusTooManyRequests, `{"error":"slow down"}`).with("Retry-After", strconv.Itoa(int(wait.Seconds())))
	})
	if err != nil {
		return "", err
	}
	if pulled != nil {
		if connector.KindOf(pulled) != connector.KindRateLimited || connector.RetryAfterOf(pulled) < wait {
			return "", fmt.Errorf("%s with a RetryAfter of %s, want the pull to go on, or KindRateLimited with %s", describe(pulled), connector.RetryAfterOf(pulled), wait)
		}
		return "it leaves the waiting to the agent", nil
	}
	requests := g.exchanges(false)
	first := requests[at-1]
	waited := time.Duration(-1)
	for _, x := range requests[at:] {
		after := x.at.Sub(first.at)
		if x.target != first.target && after < slack {
			continue // it was under way
		}
		if waited < 0 || after < waited {
			waited = after
		}
	}
	switch {
	case waited < 0:
		return "", errors.New("the pull ended without an error, and without the answer that it was to wait for")
	case waited < wait:
		return "", fmt.Errorf("the next request came after %s, the vendor had asked for %s", waited.Round(time.Millisecond), wait)
	}
	return fmt.Sprintf("waited %s", waited.Round(10*time.Millisecond)), nil
}

func checkLongWait(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	pulled, g, err := e.meddled(ctx, lead, func(*exchange) *answer {
		return reply(http.StatusTooManyRequests, `{"error":"slow down"}`).with("Retry-After", "3600")
	})
	switch after := connector.RetryAfterOf(pulled); {
	case err != nil:
		return "", err
	case connector.KindOf(pulled) != connector.KindRateLimited:
		return "", fmt.Errorf("%s, want KindRateLimited", describe(pulled))
	case after < 59*time.Minute || after > 61*time.Minute:
		return "", fmt.Errorf("%s with a RetryAfter of %s, want an hour", describe(pulled), after)
	}
	if n := len(g.exchanges(false)); n > mostTries {
		return "", fmt.Errorf("the vendor was asked %d times", n)
	}
	return "", nil
}

// mostTries is how many requests are few.
const mostTries = 20

func checkUnavailable(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	down := reply(http.StatusServiceUnavailable, `{"error":"maintenance"}`).with("Retry-After", "1")
	at := min(2, len(lead.requests))
	pulled, _, err := e.meddled(ctx, lead, func(x *exchange) *answer {
		if x.n != at {
			return nil
		}
		return down
	})
	if err != nil {
		p.addf("a single 503: %v", err)
	} else if pulled != nil && connector.KindOf(pulled) != connector.KindUnavailable {
		p.addf("a single 503: %s, want none or KindUnavailable", describe(pulled))
	}
	pulled, g, err := e.meddled(ctx, lead, func(*exchange) *answer { return down })
	switch {
	case err != nil:
		p.addf("503 that stays: %v", err)
	case connector.KindOf(pulled) != connector.KindUnavailable:
		p.addf("503 that stays: %s, want KindUnavailable", describe(pulled))
	case len(g.exchanges(false)) > mostTries:
		p.addf("503 that stays: the vendor was asked %d times", len(g.exchanges(false)))
	}
	if err := p.err(); err != nil {
		return "", err
	}
	return fmt.Sprintf("given up after %d requests", len(g.exchanges(false))), nil
}

func checkForbidden(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	pulled, g, err := e.meddled(ctx, lead, func(*exchange) *answer {
		return reply(http.StatusForbidden, `{"error":"forbidden"}`)
	})
	if err != nil {
		return "", err
	}
	if connector.KindOf(pulled) != connector.KindForbidden {
		return "", fmt.Errorf("%s, want KindForbidden", describe(pulled))
	}
	if n := len(g.exchanges(false)); n > 2 {
		return "", fmt.Errorf("the vendor was asked %d times", n)
	}
	return "", nil
}

// everywhere meddles from the first request of the lead slice on and, in a pull of
// its own, from the last. A pull in which m finds nothing to meddle with, and
// gives nil, may end as it likes.
func (e *exam) everywhere(ctx context.Context, name string, p *problems, allowed []connector.Kind, m meddle) error {
	lead, err := e.lead()
	if err != nil {
		return err
	}
	places := []int{1}
	if last := len(lead.requests); last > 1 {
		places = append(places, last)
	}
	for _, place := range places {
		var met atomic.Bool
		pulled, _, err := e.meddled(ctx, lead, func(x *exchange) *answer {
			if x.n < place {
				return nil
			}
			a := m(x)
			if a != nil {
				met.Store(true)
			}
			return a
		})
		switch {
		case err != nil:
			p.addf("%s at request %d of %d: %v", name, place, len(lead.requests), err)
		case met.Load() && !slices.Contains(allowed, connector.KindOf(pulled)):
			p.addf("%s at request %d of %d: %s, want kind %s", name, place, len(lead.requests), describe(pulled), allowed)
		}
	}
	return nil
}

func checkCutOff(ctx context.Context, e *exam) (string, error) {
	var p problems
	kinds := []connector.Kind{connector.KindBadResponse, connector.KindUnavailable}
	err := e.everywhere(ctx, "half an answer that claims to be whole", &p, kinds, func(x *exchange) *answer {
		a := x.ask()
		a.body = a.body[:len(a.body)/2]
		return a
	})
	if err != nil {
		return "", err
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	// Once, since it may be retried: then nothing is lost.
	at := min(2, len(lead.requests))
	_, _, err = e.meddled(ctx, lead, func(x *exchange) *answer {
		if x.n != at {
			return nil
		}
		honest := x.ask()
		return &answer{status: honest.status, write: func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(honest.body)))
			_, _ = w.Write(honest.body[:len(honest.body)/2])
			panic(http.ErrAbortHandler)
		}}
	})
	if err != nil {
		p.addf("a connection that is lost in the middle of answer %d: %v", at, err)
	}
	return "", p.err()
}

func checkHTML(ctx context.Context, e *exam) (string, error) {
	var p problems
	err := e.everywhere(ctx, "HTML", &p, []connector.Kind{connector.KindBadResponse}, func(*exchange) *answer {
		return reply(http.StatusOK, "<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>").
			with("Content-Type", "text/html; charset=utf-8")
	})
	return "", errors.Join(err, p.err())
}

func checkShapes(ctx context.Context, e *exam) (string, error) {
	var p problems
	bad := []connector.Kind{connector.KindBadResponse}
	for name, body := range map[string]string{
		"a number": `4711`, "a text": `"maintenance"`, "an object of unknown keys": `{"no_such_key_of_the_exam":{"a":1}}`, "an empty body": ``,
	} {
		err := e.everywhere(ctx, name, &p, bad, func(*exchange) *answer { return reply(http.StatusOK, body) })
		if err != nil {
			return "", err
		}
	}
	for name, change := range map[string]func(list []any) any{
		"a text in place of the list":     func([]any) any { return "maintenance" },
		"numbers in place of the records": numbers,
	} {
		err := e.everywhere(ctx, name, &p, bad, func(x *exchange) *answer {
			a := x.ask()
			var v any
			decoder := json.NewDecoder(bytes.NewReader(a.body))
			decoder.UseNumber()
			if a.status != http.StatusOK || decoder.Decode(&v) != nil {
				return nil
			}
			found := false
			changed, err := json.Marshal(changeLists(v, func(list []any) any {
				found = true
				return change(list)
			}))
			if err != nil || !found {
				return nil
			}
			a.body = changed
			return a
		})
		if err != nil {
			return "", err
		}
	}
	return "", p.err()
}

func numbers(list []any) any {
	changed := make([]any, len(list))
	for i := range changed {
		changed[i] = i
	}
	return changed
}

// changeLists changes the outermost lists of objects in a JSON value.
func changeLists(v any, change func([]any) any) any {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			if _, isObject := v[0].(map[string]any); isObject {
				return change(v)
			}
		}
		return v
	case map[string]any:
		for key, member := range v {
			v[key] = changeLists(member, change)
		}
		return v
	default:
		return v
	}
}

// paged returns a slice whose requests are pages of one list, by a number that
// counts up or by a token from the page before.
func (e *exam) paged() *slice {
	var best *slice
	for _, s := range e.good() {
		if len(s.requests) >= 2 && isPaged(s.requests) && (best == nil || len(s.requests) < len(best.requests)) {
			best = s
		}
	}
	return best
}

func isPaged(requests []*exchange) bool {
	for i := 1; i < len(requests); i++ {
		before, x := requests[i-1], requests[i]
		if x.path != before.path || string(x.body) != string(before.body) {
			return false
		}
		param := ""
		for name, values := range x.query {
			if !slices.Equal(values, before.query[name]) {
				if param != "" {
					return false
				}
				param = name
			}
		}
		if param == "" {
			return false
		}
		value := x.query.Get(param)
		n, err := strconv.Atoi(value)
		m, errBefore := strconv.Atoi(before.query.Get(param))
		counts := err == nil && (n > m || errBefore != nil)
		fromPage := len(value) >= 4 && before.honest != nil && strings.Contains(textsOf(before.honest.body), value)
		if !counts && !fromPage {
			return false
		}
	}
	return true
}

func checkRepeatedPage(ctx context.Context, e *exam) (string, error) {
	if len(e.good()) == 0 {
		return "", lacks("no stream had a record")
	}
	one := e.paged()
	if one == nil {
		return "", lacks("no slice takes two pages of one list; with settings for smaller pages one might")
	}
	first := one.requests[0].honest
	pulled, g, err := e.meddled(ctx, one, func(*exchange) *answer {
		copied := *first
		return &copied
	})
	if err != nil {
		return "", err
	}
	if connector.KindOf(pulled) != connector.KindBadResponse {
		return "", fmt.Errorf("%s: %s, want KindBadResponse", where(one.req), describe(pulled))
	}
	return fmt.Sprintf("%s, found out after %d requests", where(one.req), len(g.exchanges(false))), nil
}

const hugeBytes = 100 << 20

func checkHugeBody(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	memory := int64(0)
	for _, packed := range []bool{false, true} {
		name := map[bool]string{false: "100 MB", true: "100 MB packed into 100 kB"}[packed]
		s, err := e.open(ctx)
		if err != nil {
			return "", err
		}
		s.gate.set(func(x *exchange) *answer {
			if x.token || packed && !strings.Contains(x.header.Get("Accept-Encoding"), "gzip") {
				return nil
			}
			honest := x.ask()
			return &answer{status: honest.status, write: func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				writeHuge(w, packed, honest.body)
			}}
		})
		var r recording
		pulled := s.pull(ctx, lead.req, &r)
		s.close()
		if s.process != nil {
			memory = max(memory, s.process.PeakMemory())
		}
		text := difference(lead.keys, keysOf(lead.stream, r.events))
		switch {
		case pulled == nil && text != "":
			p.addf("%s: no error although %s", name, text)
		case pulled != nil && connector.KindOf(pulled) != connector.KindBadResponse:
			p.addf("%s: %s, want KindBadResponse", name, describe(pulled))
		}
	}
	if memory > 0 {
		return fmt.Sprintf("the process took at most %d MB of memory", memory>>20), p.err()
	}
	return "", p.err()
}

// writeHuge writes white space, and then the body.
func writeHuge(w http.ResponseWriter, packed bool, body []byte) {
	blank := bytes.Repeat([]byte(" "), 1<<20)
	if packed {
		w.Header().Set("Content-Encoding", "gzip")
		blank, body = pack(blank), pack(body) // parts that are packed apart are one file (RFC 1952 section 2.2)
	}
	for range hugeBytes >> 20 {
		if _, err := w.Write(blank); err != nil {
			return // the connector has seen enough
		}
	}
	_, _ = w.Write(body)
}

func pack(plain []byte) []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(plain) // to memory
	_ = w.Close()
	return packed.Bytes()
}
