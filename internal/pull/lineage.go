package pull

import (
	"cmp"
	"context"
	"time"

	"github.com/winchdata/winch/internal/lineage"
	"github.com/winchdata/winch/internal/sink"
)

// Lineage is told beside a run: what goes wrong with it is logged and fails
// nothing.

// beginLineage tells that the run has begun, and that those have ended whose
// agents died.
func (r *run) beginLineage(ctx context.Context, started time.Time) {
	if r.Lineage == nil {
		return
	}
	r.told = lineage.Run{
		Source: r.job.Source, Connector: r.job.Connector, Trigger: r.job.Trigger, ID: r.id,
		StartedAt: started, TraceID: r.span.traceID(), Nominal: r.job.Nominal,
	}
	lost, err := r.Sink.LoseLineage(ctx, r.job.Source)
	if err != nil {
		r.log.WarnContext(ctx, "lineage of lost runs not told", "error", err)
	}
	for _, l := range lost {
		for i := len(l.Streams) - 1; i >= 0; i-- { // the whole is the first, and ends last
			r.Lineage.Lost(lineage.Run{
				Source: r.job.Source, Connector: r.job.Connector, Trigger: l.Trigger, ID: l.Run, StartedAt: l.StartedAt,
			}, l.Streams[i])
		}
	}
	if r.recordLineage(ctx, "") {
		r.Lineage.Begun(r.told)
	}
}

// recordLineage records what is about to be told the beginning of. What cannot be
// recorded is not told, since nobody could tell its end.
func (r *run) recordLineage(ctx context.Context, streams ...string) bool {
	if err := r.Sink.BeginLineage(ctx, r.id, streams...); err != nil {
		r.log.WarnContext(ctx, "lineage not told", "error", err)
		return false
	}
	return true
}

// beginStreams tells which streams the run reads: those of which something is due.
func (r *run) beginStreams(ctx context.Context) {
	if r.Lineage == nil {
		return
	}
	var names []string
	for _, s := range r.streams {
		if s.result.Due > 0 {
			names = append(names, s.want.Stream.Name)
		}
	}
	if len(names) == 0 || !r.recordLineage(ctx, names...) {
		return
	}
	for _, s := range r.streams {
		if s.result.Due > 0 {
			r.Lineage.BegunStream(r.told, r.lineageOf(s))
		}
	}
}

func (r *run) lineageOf(s *streamState) lineage.Stream {
	return lineage.Stream{Stream: s.want.Stream, Table: r.Sink.Dataset(r.job.Source, s.want.Stream.Name)}
}

// endLineage tells how the run ended, unless who took it for dead has told so.
func (r *run) endLineage(ctx context.Context, res Result) {
	if r.Lineage == nil {
		return
	}
	begun, err := r.Sink.EndLineage(ctx, r.id)
	if err != nil {
		r.log.WarnContext(ctx, "end of lineage not told", "error", err)
		return
	}
	open := map[string]bool{}
	for _, stream := range begun {
		open[stream] = true
	}
	if !open[""] {
		return
	}
	for i, s := range r.streams {
		one := res.Streams[i]
		if !open[one.Name] {
			if one.Err == nil && one.Slices == 0 {
				continue // nothing was due
			}
			r.Lineage.BegunStream(r.told, r.lineageOf(s)) // refused by the plan, or landed from the quarantine
		}
		r.Lineage.EndedStream(r.told, r.lineageOf(s), lineage.End{Outcome: endOf(res, one), Err: cmp.Or(one.Err, res.Err), Counts: one.Counts, Usage: one.Usage})
	}
	r.Lineage.Ended(r.told, lineage.End{Outcome: res.Status, Err: res.FirstError(), Counts: res.Counts, Usage: res.Usage})
}

// endOf is the outcome of a stream. What the end of the whole run left open was
// ended by that.
func endOf(res Result, s StreamResult) sink.Outcome {
	if s.Status == sink.Interrupted && res.Status != sink.Interrupted {
		return sink.FailedRun
	}
	return s.Status
}
