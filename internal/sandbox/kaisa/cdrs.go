package kaisa

import (
	"iter"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A direction is inbound or outbound calls.
type direction struct {
	line    *sim.Timeline
	call    func(sim.Event, int64) (call, bool)
	inbound bool
}

func (a *API) direction(inbound bool) direction {
	if inbound {
		return direction{a.inbound, a.inboundCall, true}
	}
	return direction{a.outbound, a.outboundCall, false}
}

// calls yields the calls that start in [from, to) and have been written by asOf.
func (d direction) calls(from, to, asOf int64) iter.Seq[*call] {
	return func(yield func(*call) bool) {
		place, end := d.line.Before(from), d.line.Before(to)
		walk := d.line.From(place)
		for range end - place {
			if c, known := d.call(walk.Next(), asOf); known && !yield(&c) {
				return
			}
		}
	}
}

// dateTime is the documented layout of filters; a day alone is its midnight.
const (
	dateTime = "2006-01-02 15:04:05"
	dateOnly = "2006-01-02"
)

// bounds reads from_date and to_date as [from, to) and fits them to the history.
func (a *API) bounds(r *request, line *sim.Timeline) (from, to int64) {
	from, to = line.Clip(time.Time{}, time.Time{}, r.asOf)
	from = max(from, r.moment("from_date", from, dateTime, dateOnly))
	if until := r.moment("to_date", to, dateTime, dateOnly); until < to {
		to = until
		if !a.opts.ExclusiveTo {
			to++
		}
	}
	return from, max(from, to)
}

func (a *API) serveInbound(r *request, out *answer)  { a.serveCalls(r, out, true, "cdrs") }
func (a *API) serveOutbound(r *request, out *answer) { a.serveCalls(r, out, false, a.opts.OutboundKey) }

// serveCalls filters by the start of a call, which is inferred.
func (a *API) serveCalls(r *request, out *answer, inbound bool, key string) {
	dir := a.direction(inbound)
	from, to := a.bounds(r, dir.line)
	s := sim.Selection{Line: dir.line, From: dir.line.Before(from), To: dir.line.Before(to)}
	id, customerID, sourceID, custnr := r.number("cdr_id", 0), r.number("customer_id", 0), r.number("source_id", 0), r.text("custnr")
	if id == 0 && customerID == 0 && sourceID == 0 && custnr == "" {
		s.Settled = dir.line.Before(r.asOf - longestCall - writeDelay)
	}
	if e, ok := dir.line.Find(id); id != 0 && ok {
		first := dir.line.Before(e.Start)
		s.From, s.To = max(s.From, first), min(s.To, dir.line.Before(e.Start+1))
	} else if id != 0 {
		s.To = s.From
	}
	s.To = max(s.From, s.To)
	s.Match = func(e sim.Event) bool {
		c, known := dir.call(e, r.asOf)
		return known && (id == 0 || c.id == id) && (customerID == 0 || c.customer.id == customerID) &&
			(sourceID == 0 || c.source.id == sourceID) && (custnr == "" || c.customer.custnr == custnr)
	}
	p := r.page(false)
	extended := r.number("extended", 0) == 1
	if r.problem != "" {
		return
	}
	total := s.Total()
	x, y := r.endless(p, total).span(total)
	out.paged(&a.opts, r, p, total, key)
	each := s.Each
	if r.text("newest_first") == "true" {
		each = s.Newest
	}
	each(x, y, func(e sim.Event) {
		c, _ := dir.call(e, r.asOf)
		a.writeCall(&out.Fields, &c, inbound, extended)
	})
	out.shut()
}

// Recordings are listed for as long as listedRecordings; their audio is gone
// after keptAudio. Neither is published.
const (
	keptAudio        = 30 * day
	listedRecordings = 60 * day
)

// recordings yields the calls of a customer, or of all for nil, whose recordings
// can be listed.
func (a *API) recordings(c *customer, asOf int64) iter.Seq[*call] {
	return func(yield func(*call) bool) {
		for one := range a.direction(true).calls(max(a.world.Begin.Unix(), asOf-listedRecordings), asOf+1, asOf) {
			if one.recorded != 0 && (c == nil || one.customer == c) && !yield(one) {
				return
			}
		}
	}
}

// writeRecording writes what the vendor's clients read. Other fields are unknown.
func (a *API) writeRecording(f *sim.Fields, c *call, asOf int64, audio bool) {
	var scratch [40]byte
	expired := c.recorded+keptAudio <= asOf
	f.Begin()
	f.Plain("recording_id", sim.AppendUUID(scratch[:0], a.recording(c.id)))
	f.Flag("expired", expired)
	if audio && !expired {
		f.Text("sounddata", silence)
	}
	f.End()
}

// serveRecordings needs a customer or a recording; that it does is inferred from
// the vendor's examples.
func (a *API) serveRecordings(r *request, out *answer) {
	out.open("recordings")
	switch text := r.text("recording_id"); {
	case text != "":
		if c, ok := a.recordedCall(text, r.asOf); ok {
			a.writeRecording(&out.Fields, &c, r.asOf, true)
		}
	default:
		if c := a.customerByID(r.must("customer_id"), r.asOf); c != nil {
			for one := range a.recordings(c, r.asOf) {
				a.writeRecording(&out.Fields, one, r.asOf, false)
			}
		}
	}
	out.shut()
}

func (a *API) recordedCall(text string, asOf int64) (c call, ok bool) {
	u, ok := parseUUID(text)
	if !ok {
		return call{}, false
	}
	id, ok := a.callOf(u)
	if !ok {
		return call{}, false
	}
	e, ok := a.inbound.Find(id)
	if !ok {
		return call{}, false
	}
	c, _ = a.inboundCall(e, asOf)
	return c, c.recorded != 0 && c.start >= asOf-listedRecordings
}
