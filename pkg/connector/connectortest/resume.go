package connectortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

const (
	// mostCuts is at how many places of a slice a pull is cut off; a slice with
	// more events is cut at as many, spread evenly.
	mostCuts = 40
	// slack is what the machine may take for what should take no time.
	slack = 500 * time.Millisecond
)

var errCut = errors.New("the exam cut the pull off")

// smallest returns for each mode the slice to cut: one that can be cut at every
// event, if possible with checkpoints and several requests.
func (e *exam) smallest() []*slice {
	byMode := map[connector.Mode][]*slice{}
	for _, s := range e.good() {
		if len(s.events) >= 2 {
			byMode[s.stream.Mode] = append(byMode[s.stream.Mode], s)
		}
	}
	var chosen []*slice
	for _, mode := range slices.Sorted(maps.Keys(byMode)) {
		chosen = append(chosen, slices.MinFunc(byMode[mode], func(x, y *slice) int {
			return cmp.Or(
				cmp.Compare(max(len(x.events), mostCuts), max(len(y.events), mostCuts)),
				cmp.Compare(checkpoints(y), checkpoints(x)),
				cmp.Compare(min(len(y.requests), 4), min(len(x.requests), 4)),
				cmp.Compare(len(x.requests), len(y.requests)),
				cmp.Compare(len(x.events), len(y.events)),
			)
		}))
	}
	return chosen
}

// checkpoints counts those of a slice, up to where more make no difference.
func checkpoints(s *slice) int {
	n := 0
	for _, ev := range s.events {
		if ev.record == nil {
			n++
		}
	}
	return min(n, 3)
}

// checkP1 resumes from each checkpoint of a pull, without cutting it off.
func checkP1(ctx context.Context, e *exam) (string, error) {
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var p problems
	tried := 0
	for _, one := range e.good() {
		var checkpoints []int
		for i, event := range one.events {
			if event.record == nil {
				checkpoints = append(checkpoints, i)
			}
		}
		for _, i := range sample(len(checkpoints), mostCuts) {
			at := checkpoints[i]
			req := one.req
			req.Cursor = one.events[at].cursor
			var rest recording
			if err := s.pull(ctx, req, &rest); err != nil {
				p.addf("%s, resumed from checkpoint %d: %v", where(req), i+1, err)
				continue
			}
			tried++
			if text := difference(one.keys, keysOf(one.stream, one.events[:at], rest.events)); text != "" {
				p.addf("%s, %d records before checkpoint %d of %d and those after it: %s", where(req), at-i, i+1, len(checkpoints), text)
			}
		}
	}
	if tried == 0 && p.err() == nil {
		return "", lacks("no stream has checkpoints: a snapshot becomes visible at once, a window is small enough to be read again")
	}
	return fmt.Sprintf("resumed from %d checkpoints", tried), p.err()
}

// checkP5 cuts a pull off before each of its events, resumes where a sink would,
// in the same source, and compares what is then held.
func checkP5(ctx context.Context, e *exam) (string, error) {
	small := e.smallest()
	if len(small) == 0 {
		return "", lacks("no stream had two records")
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var p problems
	detail := ""
	for _, one := range small {
		cuts := sample(len(one.events), mostCuts)
		for _, cut := range cuts {
			r := recording{at: func(n int) error {
				if n == cut {
					return errCut
				}
				return nil
			}}
			if err := s.pull(ctx, one.req, &r); !errors.Is(err, errCut) {
				p.addf("%s, cut off before event %d: %s", where(one.req), cut+1, describe(err))
				continue
			}
			kept, cursor := committed(r.events)
			req := one.req
			req.Cursor = cursor
			var rest recording
			if err := s.pull(ctx, req, &rest); err != nil {
				p.addf("%s, resumed after a cut before event %d: %v", where(req), cut+1, err)
				continue
			}
			if text := difference(one.keys, keysOf(one.stream, kept, rest.events)); text != "" {
				p.addf("%s, cut off before event %d of %d and resumed: %s", where(req), cut+1, len(one.events), text)
			}
		}
		detail += fmt.Sprintf("%s cut at %d of %d events; ", one.stream.Name, len(cuts), len(one.events))
	}
	return detail + "compared with a pull in one go", p.err()
}

// checkP3 has the emitter fail. Beside the wire this is exact; behind it the
// connector learns of the failure late, and must stop asking the vendor.
func checkP3(ctx context.Context, e *exam) (string, error) {
	small := e.smallest()
	if len(small) == 0 {
		return "", lacks("no stream had two records")
	}
	if e.candidate.Path != "" {
		return e.stopsAsking(ctx)
	}
	s, err := e.connect(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	src, err := s.direct(ctx)
	if err != nil {
		return "", err
	}
	var p problems
	detail := ""
	for _, one := range small {
		cuts := sample(len(one.events), mostCuts)
		for _, cut := range cuts {
			r := recording{at: func(n int) error {
				if n == cut {
					return errCut
				}
				return nil
			}}
			err := s.pullFrom(ctx, src, one.req, &r)
			if !errors.Is(err, errCut) {
				p.addf("%s: Pull returned %s instead of the error of event %d", where(one.req), describe(err), cut+1)
			}
			if r.late > 0 {
				p.addf("%s: events were emitted after the error of event %d", where(one.req), cut+1)
			}
		}
		detail += fmt.Sprintf("%s at %d of %d events; ", one.stream.Name, len(cuts), len(one.events))
	}
	return detail + "the emitter failed at each", p.err()
}

// stopsAsking has the emitter fail while the vendor answers slowly, and looks
// whether the vendor is asked on.
func (e *exam) stopsAsking(ctx context.Context) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	if len(lead.requests) < 3 {
		return "", lacks("no slice takes three requests, so there is nothing to be seen after the first records")
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	delay := min(max(5*time.Second/time.Duration(len(lead.requests)), 50*time.Millisecond), 1500*time.Millisecond)
	s.gate.set(func(x *exchange) *answer {
		if !x.token {
			x.hold(delay)
		}
		return nil
	})
	var failedAt time.Time
	r := recording{at: func(int) error {
		failedAt = time.Now()
		return errCut
	}}
	if err := s.pull(ctx, lead.req, &r); failedAt.IsZero() {
		return "", fmt.Errorf("%s from a slow vendor: %s", where(lead.req), describe(err))
	}
	if err := s.closeSource(); err != nil {
		return "", fmt.Errorf("after the emitter's error: %w", err)
	}
	if late := after(s.gate, failedAt); late > 0 {
		return "", fmt.Errorf("%s: %d requests were made after the emitter's error", where(lead.req), late)
	} else if n := len(s.gate.exchanges(false)); n == len(lead.requests) {
		return "", lacks("the records of %s came only after its last request", where(lead.req))
	}
	return "the vendor was asked no more", nil
}

// after counts the requests that were made after a moment.
func after(g *gate, moment time.Time) int {
	n := 0
	for _, x := range slices.Concat(g.exchanges(false), g.exchanges(true)) {
		if x.at.After(moment.Add(slack)) {
			n++
		}
	}
	return n
}

// A stall is a place at which a pull is cancelled while it waits.
type stall struct {
	name  string
	token bool // at the token endpoint
	then  func(x *exchange) *answer
}

var stalls = []stall{
	{"while the vendor does not answer", false, func(x *exchange) *answer {
		x.hold(time.Minute)
		return nil
	}},
	{"in the middle of an answer", false, func(x *exchange) *answer {
		return &answer{status: http.StatusOK, write: func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"`))
			_ = http.NewResponseController(w).Flush()
			x.hold(time.Minute)
		}}
	}},
	{"in a wait of a minute that the vendor asked for", false, func(*exchange) *answer {
		return reply(http.StatusTooManyRequests, `{"error":"slow down"}`).with("Retry-After", "60")
	}},
	{"while the token endpoint does not answer", true, func(x *exchange) *answer {
		x.hold(time.Minute)
		return nil
	}},
}

func checkP4(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var (
		mu   sync.Mutex
		p    problems
		wait sync.WaitGroup
		n    int
	)
	for _, st := range stalls {
		if st.token && !e.signed {
			continue
		}
		for _, direct := range []bool{false, true} {
			if direct && e.candidate.Path != "" {
				continue
			}
			n++
			wait.Go(func() {
				if err := e.cancel(ctx, lead, st, direct); err != nil {
					mu.Lock()
					defer mu.Unlock()
					p.addf("%s, cancelled %s: %v", where(lead.req), st.name, err)
				}
			})
		}
	}
	wait.Wait()
	return fmt.Sprintf("cancelled in %d situations", n), p.err()
}

// cancel cancels a pull in a stall.
func (e *exam) cancel(ctx context.Context, lead *slice, st stall, direct bool) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	src := s.source
	if direct {
		if src, err = s.direct(ctx); err != nil {
			return err
		}
	}
	stalled := make(chan struct{})
	var once sync.Once
	s.gate.set(func(x *exchange) *answer {
		if x.token != st.token || !x.token && x.n < min(2, len(lead.requests)) {
			return nil
		}
		once.Do(func() { close(stalled) })
		return st.then(x)
	})
	pulling, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.pullFrom(pulling, src, lead.req, &recording{}) }()
	select {
	case <-stalled:
	case err := <-ended:
		return fmt.Errorf("it ended before: %s", describe(err))
	case <-ctx.Done():
		return ctx.Err()
	}
	select { // the answer of a stall has to arrive before the wait that it asks for
	case err := <-ended:
		if connector.KindOf(err) == connector.KindRateLimited {
			return nil // it leaves the waiting to the agent
		}
		return fmt.Errorf("it ended before: %s", describe(err))
	case <-time.After(slack):
	}
	cancel()
	moment := time.Now()
	timer := time.NewTimer(promptness)
	defer timer.Stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("Pull returned %s, which does not wrap context.Canceled", describe(err))
		}
	case <-timer.C:
		return fmt.Errorf("Pull had not returned after %s", promptness)
	}
	if err := s.closeSource(); err != nil { // behind the wire, this waits for the pull
		return err
	}
	select { // for what it might still ask for
	case <-time.After(2 * slack):
	case <-ctx.Done():
	}
	if late := after(s.gate, moment); late > 0 {
		return fmt.Errorf("%d requests were made afterwards", late)
	}
	return nil
}
