package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// atOnce is how many checks are made at the same time. Most of them wait.
const atOnce = 8

// Run examines the candidate in a test: each check is a subtest of its own, which
// logs what was seen, or why the check does not apply.
func Run(t *testing.T, c Candidate) {
	t.Helper()
	report, err := Examine(t.Context(), c)
	if err != nil {
		t.Fatalf("exam: %v\n%s", err, connector.HintOf(err))
	}
	for _, result := range report.Results {
		t.Run(result.ID, func(t *testing.T) {
			t.Helper()
			t.Logf("%s: %s (%.1f s)\n%s", result.Outcome, result.Rule, result.Seconds, result.Detail)
			if result.Outcome == Fail {
				t.Errorf("this means: %s\nthe rule stands in %s", result.Means, result.Source)
			}
		})
	}
}

// An exam is one examination.
type exam struct {
	candidate Candidate
	secrets   secrets
	def       connector.Definition // as told over the wire
	schema    schema

	slices []*slice // of the streams to examine, read once from an honest vendor
	signed bool     // requests are signed with tokens of the token endpoint
	unread error    // why there are no slices
	// lifetimeTold says that answers of the token endpoint name a lifetime.
	lifetimeTold bool
}

// A slice is one slice and how it is read when nothing goes wrong.
type slice struct {
	stream   connector.Stream
	req      connector.Request
	events   []event
	keys     keySet
	requests []*exchange // to the API, tokens not among them
	err      error
}

// Examine makes the checks and reports. Its error says that the exam could not
// begin: KindConfig when the candidate is incomplete, otherwise that of the start
// of the connector or that of ctx. Whatever the connector does wrong after it has
// started is in the report.
func Examine(ctx context.Context, c Candidate) (Report, error) {
	if err := c.validate(); err != nil {
		return Report{}, err
	}
	start := time.Now()
	if c.AsOf.IsZero() {
		c.AsOf = start
	}
	e := &exam{candidate: c}
	for i, secret := range c.Secrets {
		e.secrets.add(fmt.Sprintf("secret %d", i+1), secret)
	}
	if c.Path == "" {
		defer e.listen()()
	}
	if err := e.begin(ctx); err != nil {
		return Report{}, err
	}
	report := Report{Connector: e.def.Name, Path: c.Path, Passed: true}
	for _, check := range Checks() {
		if c.Checks == nil || slices.Contains(c.Checks, check.ID) {
			report.Results = append(report.Results, Result{Check: check})
		}
	}
	for _, last := range []bool{false, true} {
		var checks sync.WaitGroup
		places := make(chan struct{}, atOnce)
		for i := range report.Results {
			result := &report.Results[i]
			if result.last == last {
				checks.Go(func() {
					places <- struct{}{}
					defer func() { <-places }()
					e.make(ctx, result)
				})
			}
		}
		checks.Wait()
	}
	if ctx.Err() != nil {
		return Report{}, ctx.Err()
	}
	report.Passed = report.Count(Fail) == 0
	report.Seconds = time.Since(start).Seconds()
	return report, nil
}

// make makes one check.
func (e *exam) make(ctx context.Context, r *Result) {
	start := time.Now()
	var lacking *inapplicable
	detail, err := r.run(ctx, e)
	if err != nil && r.timed && !errors.As(err, &lacking) && ctx.Err() == nil {
		detail, err = r.run(ctx, e)
	}
	r.Seconds = time.Since(start).Seconds()
	switch {
	case errors.As(err, &lacking):
		r.Outcome, r.Detail = NotApplicable, lacking.reason
	case err != nil:
		r.Outcome, r.Detail = Fail, err.Error()
	default:
		r.Outcome, r.Detail = Pass, detail
	}
}

// begin starts the connector and reads the slices that all checks compare with.
func (e *exam) begin(ctx context.Context) error {
	s, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	e.def = s.def
	if json.Unmarshal(s.def.ConfigSchema, &e.schema) == nil { // else D1 fails
		for _, secret := range e.candidate.secretSettings(e.schema) {
			e.secrets.add("a secret setting", secret)
		}
	}
	if e.unread = s.openSource(ctx); e.unread == nil {
		e.slices, e.unread = e.read(ctx, s)
	}
	for _, x := range s.gate.exchanges(false) {
		if _, ok := s.gate.granted(x.credential); ok {
			e.signed = true
		}
	}
	for _, x := range s.gate.exchanges(true) {
		e.lifetimeTold = e.lifetimeTold || x.honest != nil && s.gate.lifetimeOf.Match(x.honest.body)
	}
	return ctx.Err()
}

// read reads a slice of each stream.
func (e *exam) read(ctx context.Context, s *session) ([]*slice, error) {
	streams, err := s.source.Streams(ctx)
	if err != nil {
		e.told("Streams", err)
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	for _, name := range e.candidate.Streams {
		if !slices.ContainsFunc(streams, func(st connector.Stream) bool { return st.Name == name }) {
			return nil, fmt.Errorf("the source has no stream %q", name)
		}
	}
	var all []*slice
	for _, stream := range streams {
		if e.candidate.Streams != nil && !slices.Contains(e.candidate.Streams, stream.Name) {
			continue
		}
		partitions, err := e.partitions(ctx, s, stream.Name)
		if err != nil {
			all = append(all, &slice{stream: stream, req: connector.Request{Stream: stream.Name}, err: err})
			continue
		}
		for _, partition := range partitions[:min(len(partitions), 2)] {
			all = append(all, e.readSlice(ctx, s, stream, partition))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the source has no streams")
	}
	return all, nil
}

// partitions returns the names of a stream's partitions, one empty name where it
// has none.
func (e *exam) partitions(ctx context.Context, s *session, stream string) ([]string, error) {
	partitioner, ok := s.source.(connector.Partitioner)
	if !ok {
		return []string{""}, nil
	}
	names, err := partitioner.Partitions(ctx, stream)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		e.told("Partitions", err)
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
	if len(names) == 0 {
		names = []string{""}
	}
	return names, nil
}

// emptyWindows is how many windows the exam goes back for one with records.
const emptyWindows = 7

func (e *exam) readSlice(ctx context.Context, s *session, stream connector.Stream, partition string) *slice {
	var one *slice
	for back := range emptyWindows {
		one = &slice{stream: stream, req: e.request(stream, partition, back)}
		before := len(s.gate.exchanges(false))
		var r recording
		one.err = s.pull(ctx, one.req, &r)
		one.events, one.requests = r.events, s.gate.exchanges(false)[before:]
		one.keys = keysOf(stream, r.events)
		if one.err != nil || stream.Mode != connector.ModeWindow || len(r.events) > 0 {
			break
		}
	}
	return one
}

// request asks for a small slice: the newest whole window, or the one that many
// windows back.
func (e *exam) request(stream connector.Stream, partition string, back int) connector.Request {
	req := connector.Request{Stream: stream.Name, Partition: partition, AsOf: e.candidate.AsOf, Since: e.candidate.Since}
	if stream.Mode != connector.ModeWindow {
		return req
	}
	until := boundary(stream.Lag.Before(e.candidate.AsOf.UTC()), stream.Slice)
	for range back {
		until = stream.Slice.Before(until)
	}
	req.Window = connector.Window{Since: stream.Slice.Before(until), Until: until}
	return req
}

// boundary returns a moment at or before t at which windows of that length begin.
func boundary(t time.Time, length connector.Span) time.Time {
	switch {
	case length.Months > 0:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case length.Days > 0:
		return t.Truncate(24 * time.Hour)
	default:
		return t.Truncate(length.Clock)
	}
}

// good returns the slices that were read without error and had records.
func (e *exam) good() []*slice {
	return slices.DeleteFunc(slices.Clone(e.slices), func(s *slice) bool {
		return s.err != nil || len(s.keys) == 0 || len(s.requests) == 0
	})
}

// lead returns the slice to try things on: of those with several requests the
// one with fewest, so that something can go wrong in the middle and nobody waits.
func (e *exam) lead() (*slice, error) {
	all := e.good()
	if len(all) == 0 {
		return nil, lacks("no stream had a record, so there is nothing to go wrong (R1 has the reason)")
	}
	rank := func(s *slice) int {
		n := len(s.requests)
		if n < 3 {
			n = 1000 - n
		}
		return n
	}
	return slices.MinFunc(all, func(x, y *slice) int {
		if rank(x) != rank(y) {
			return rank(x) - rank(y)
		}
		return len(x.events) - len(y.events)
	}), nil
}

// tokens reports whether there is a token flow to examine.
func (e *exam) tokens() error {
	switch {
	case len(e.good()) == 0:
		return lacks("no stream could be read (R1 has the reason)")
	case !e.signed:
		if _, ok := e.candidate.text("token_url"); !ok {
			return lacks("the settings have no token_url, so no tokens are fetched")
		}
		return lacks("requests are not signed with what token_url answers")
	}
	return nil
}

// targets returns what was asked for, sorted, since requests may be made at once.
func targets(requests []*exchange) []string {
	var all []string
	for _, x := range requests {
		all = append(all, strings.TrimSpace(x.method+" "+x.target+" "+string(x.body)))
	}
	slices.Sort(all)
	return all
}
