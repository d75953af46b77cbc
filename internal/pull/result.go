package pull

import (
	"context"
	"errors"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// An EventKind says what an Event tells.
type EventKind int

// The kinds of events. Of one slice, Started comes first and Committed or Failed
// last, unless the run is interrupted.
const (
	Planned   EventKind = iota // a stream's slices are planned: Slices
	Started                    // a slice begins: Reason
	Progress                   // Records and Usage of the attempt so far
	Waiting                    // the slice failed with Err and is tried again after Wait
	Committed                  // the slice is held: Counts, Usage
	Failed                     // the slice is given up: Err, Usage
	Drifted                    // a record has a field that the stream does not declare: Field
)

// An Event is something that happened in a run.
type Event struct {
	Kind    EventKind
	Slice   ledger.Slice
	Slices  int
	Reason  ledger.Reason
	Records int64
	Counts  ledger.Counts
	Usage   connector.Usage
	Stages  sink.Stages // of Committed and Failed: all attempts
	Wait    time.Duration
	Err     error
	Field   string
}

// A Result says what a run of one source did.
type Result struct {
	Name      string
	Connector string
	Run       int64 // 0 if the run did not begin
	Status    sink.Outcome
	Counts    ledger.Counts
	Usage     connector.Usage
	Stages    sink.Stages // sums over slices that ran side by side
	Streams   []StreamResult
	Err       error // of the run as a whole; nil if only slices failed
}

// A StreamResult says what a run did to one stream.
type StreamResult struct {
	Name    string
	Status  sink.Outcome
	Due     int // slices that were due
	Slices  int // slices that were committed
	Failed  int // slices that failed
	Skipped int // slices that were not tried because an earlier failure made it pointless
	Counts  ledger.Counts
	Usage   connector.Usage
	Seconds float64 // from the first slice's start to the last one's end
	Err     error   // the first failure
	// Missing are the slices that failed or were skipped.
	Missing []ledger.Slice
	// Changes are what differs from what the stream was read as last.
	Changes []ledger.Change
	// Undeclared are top-level fields of records that no column declares, with the
	// number of records in a sample that have them. They went to _extra.
	Undeclared map[string]int64
}

// fail makes the result that of a run that ended by err before it did anything.
func (res *Result) fail(ctx context.Context, err error) {
	res.Err = err
	res.Status = sink.FailedRun
	if ctx.Err() != nil && connector.Cancelled(err) {
		res.Status = sink.Interrupted
	}
}

// fill takes over what happened to the streams.
func (r *run) fill(ctx context.Context, res *Result, err error) {
	res.Usage = r.usage.Total()
	res.Stages = r.clock.Total()
	failed, committed, open := 0, 0, 0
	for _, s := range r.streams {
		one := s.summary()
		res.Counts = res.Counts.Add(one.Counts)
		res.Usage = res.Usage.Add(one.Usage)
		committed += one.Slices
		switch one.Status {
		case sink.Incomplete, sink.FailedRun:
			failed++
		case sink.Interrupted:
			open++
		case sink.Succeeded, sink.Lost:
		}
		res.Streams = append(res.Streams, one)
	}
	switch {
	case ctx.Err() != nil && connector.Cancelled(err), errors.Is(err, sink.ErrCancelled), stopped(err):
		res.Status = sink.Interrupted
	case err == nil && open > 0 && r.draining(): // what failed beside is in the ledger
		res.Status = sink.Interrupted
	case err == nil && failed == 0 && open == 0:
		res.Status = sink.Succeeded
		return
	case committed > 0:
		res.Status = sink.Incomplete
	default:
		res.Status = sink.FailedRun
	}
	res.Err = err
}

// Failures is how many slices were due and are not committed.
func (res Result) Failures() int {
	n := 0
	for _, s := range res.Streams {
		n += s.Due - s.Slices
	}
	return n
}

// FirstError is the run's own error, or that of its first failed stream.
func (res Result) FirstError() error {
	if res.Err != nil {
		return res.Err
	}
	for _, s := range res.Streams {
		if s.Err != nil {
			return s.Err
		}
	}
	return nil
}

func (res Result) end(now time.Time) sink.RunEnd {
	end := sink.RunEnd{
		EndedAt: now, Outcome: res.Status, Failed: int64(res.Failures()),
		Counts: res.Counts, Usage: res.Usage, Stages: res.Stages,
	}
	for _, s := range res.Streams {
		end.Slices += int64(s.Slices)
	}
	if first := res.FirstError(); first != nil && (res.Status != sink.Interrupted || errors.Is(first, sink.ErrCancelled) || stopped(first)) {
		end.ErrorKind = connector.KindOf(first)
		end.Error = first.Error()
		end.Hint = sink.HintOf(first)
	}
	return end
}

func (s *streamState) start(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = at
	}
}

func (s *streamState) commit(counts ledger.Counts, usage connector.Usage, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Slices++
	s.declared = nil
	s.result.Counts = s.result.Counts.Add(counts)
	s.result.Usage = s.result.Usage.Add(usage)
	s.result.Seconds = at.Sub(s.first).Seconds()
}

func (s *streamState) interrupt(usage connector.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Usage = s.result.Usage.Add(usage)
}

func (s *streamState) skip(slice ledger.Slice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Skipped++
	s.result.Missing = append(s.result.Missing, slice)
}

// failSlice notes a slice that was given up. What is forbidden closes its
// partition: the vendor would refuse the other windows too.
func (s *streamState) failSlice(slice ledger.Slice, usage connector.Usage, err error) {
	s.mu.Lock()
	s.result.Failed++
	s.result.Missing = append(s.result.Missing, slice)
	s.result.Usage = s.result.Usage.Add(usage)
	s.result.Seconds = time.Since(s.first).Seconds()
	s.mu.Unlock()
	if connector.KindOf(err) == connector.KindForbidden {
		s.fail(slice.Partition, err)
		return
	}
	s.note(err)
}

// fail closes a partition for the rest of the run.
func (s *streamState) fail(partition string, err error) {
	s.note(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[partition] = err
}

func (s *streamState) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result.Err == nil {
		s.result.Err = err
	}
}

func (s *streamState) isClosed(partition string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, closed := s.closed[partition]
	return closed
}

func (s *streamState) summary() StreamResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := s.result
	res.Undeclared = fieldNames(s.extra)
	switch {
	case res.Err != nil && res.Slices > 0:
		res.Status = sink.Incomplete
	case res.Err != nil:
		res.Status = sink.FailedRun
	case res.Slices < res.Due:
		res.Status = sink.Interrupted
	default:
		res.Status = sink.Succeeded
	}
	return res
}

// errEnough ends a Sample.
var errEnough = errors.New("enough records")

// Sample reads the first n records of a slice and writes nothing. It ends the pull
// as soon as it has them.
func Sample(ctx context.Context, src connector.Source, req connector.Request, n int) ([][]byte, error) {
	out := &sample{n: n}
	err := src.Pull(ctx, req, out)
	if err != nil && len(out.records) < n {
		return out.records, err
	}
	return out.records, nil
}

type sample struct {
	records [][]byte
	n       int
}

func (s *sample) Record(raw []byte) error {
	if len(s.records) < s.n {
		s.records = append(s.records, append([]byte(nil), raw...))
	}
	if len(s.records) >= s.n {
		return errEnough
	}
	return nil
}

func (s *sample) Checkpoint(connector.Cursor) error { return nil }
