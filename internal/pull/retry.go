package pull

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A Retried says what became of the records of a source that were set aside.
type Retried struct {
	Landed     []sink.Quarantined
	Superseded []sink.Quarantined // the same key was read again later
	Refused    []sink.Quarantined // still held, with the reason as it is now
}

// Retry makes rows of the held records of a source, or of one of its streams, by
// the streams as the connector declares them now. It is a run of its own that
// reads nothing from the vendor but its declaration.
func (p *Puller) Retry(ctx context.Context, job Job, stream string) (Result, Retried, error) {
	var done Retried
	res, err := p.perform(ctx, job, func(r *run, ctx context.Context) error {
		return r.retry(ctx, stream, &done)
	})
	return res, done, err
}

func (r *run) retry(ctx context.Context, stream string, done *Retried) error {
	held, err := r.Sink.Quarantined(ctx, sink.QuarantineFilter{Source: r.job.Source, Stream: stream, State: sink.QuarantineHeld})
	if err != nil || len(held) == 0 {
		return err
	}
	opening := connector.WithUsage(ctx, &r.usage)
	_, offered, err := r.open(opening)
	if err != nil {
		return err
	}
	wants, err := r.job.Select(offered)
	if err != nil {
		return err
	}
	for len(held) > 0 {
		name := held[0].Slice.Stream
		var records []sink.Quarantined
		records, held = split(held, func(q sink.Quarantined) bool { return q.Slice.Stream == name })
		state := &streamState{closed: map[string]error{}, want: wanted(name, wants, offered)}
		state.result.Name = name
		r.streams = append(r.streams, state)
		if err := r.relandStream(ctx, state, records, done); err != nil {
			if ctx.Err() != nil || stopsRun(err) {
				return err
			}
			state.fail("", fmt.Errorf("%s/%s: %w", r.job.Source, name, err))
		}
	}
	return nil
}

// wanted is what the configuration says of a stream: also of one that it no
// longer names, whose records are landed all the same.
func wanted(name string, wants []ledger.Want, offered []connector.Stream) ledger.Want {
	for _, w := range wants {
		if w.Stream.Name == name {
			return w
		}
	}
	for _, s := range offered {
		if s.Name == name {
			return ledger.Want{Stream: s}
		}
	}
	return ledger.Want{}
}

// split returns the elements that are chosen, and the others.
func split(all []sink.Quarantined, chosen func(sink.Quarantined) bool) (yes, no []sink.Quarantined) {
	for _, q := range all {
		if chosen(q) {
			yes = append(yes, q)
		} else {
			no = append(no, q)
		}
	}
	return yes, no
}

// relandStream lands the records of a stream, those of each attempt together and
// in the order in which they were read.
func (r *run) relandStream(ctx context.Context, state *streamState, records []sink.Quarantined, done *Retried) error {
	state.start(time.Now())
	if state.want.Stream.Name == "" {
		return &connector.Error{
			Kind: connector.KindConfig, Op: "retry " + records[0].Slice.Stream, Err: fmt.Errorf("the connector %s no longer has the stream", r.job.Connector),
			Hint: "winch quarantine drop gives its records up",
		}
	}
	fitted, err := r.Sink.PrepareSplit(ctx, r.job.Source, state.want.Stream, state.want.Schema, state.want.Split)
	if err != nil {
		return err
	}
	slices.SortStableFunc(records, func(a, b sink.Quarantined) int { return a.ReadAt.Compare(b.ReadAt) })
	for len(records) > 0 {
		first := records[0]
		var part []sink.Quarantined
		part, records = split(records, func(q sink.Quarantined) bool { return q.Slice == first.Slice && q.ReadAt.Equal(first.ReadAt) })
		state.result.Due++
		got, err := r.Sink.Reland(ctx, sink.Attempt{Run: r.id, Slice: first.Slice, Stream: fitted, Split: state.want.Split, StartedAt: first.ReadAt}, part)
		if err != nil {
			return err
		}
		done.note(part, got)
		state.commit(got.Counts, connector.Usage{}, time.Now())
	}
	return nil
}

func (d *Retried) note(part []sink.Quarantined, got sink.Relanded) {
	for _, q := range part {
		reason, refused := got.Refused[q.ID]
		switch {
		case refused:
			q.Reason = reason
			d.Refused = append(d.Refused, q)
		case slices.Contains(got.Superseded, q.ID):
			d.Superseded = append(d.Superseded, q)
		default:
			d.Landed = append(d.Landed, q)
		}
	}
}
