package contentsquare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// metrics is what a metric stream measures.
type metrics struct {
	// of is the kind of objects that are measured, and column where the id
	// lands; empty for the site.
	of, column string
	// vitals come as one value for the whole range, whatever the period asked
	// for: one day per request.
	vitals bool
}

const (
	day      = 24 * time.Hour
	dateOnly = "2006-01-02"
	// settling leaves a day that has just ended some time to arrive. How late
	// figures settle is unknown; the lookback reads them again.
	settling = 2 * time.Hour
	// defaultQuantile is the vendor's.
	defaultQuantile = 75
)

// A span is whole days in UTC, [since, until).
type span struct{ since, until time.Time }

func (s span) days() int { return int(s.until.Sub(s.since) / day) }

// daysIn returns the days that begin in the window and have ended by asOf: the
// current one can still change (P9).
func daysIn(w connector.Window, asOf time.Time) span {
	since := w.Since.UTC().Truncate(day)
	if since.Before(w.Since) {
		since = since.Add(day)
	}
	until := w.Until.UTC().Truncate(day)
	if until.Before(w.Until) {
		until = until.Add(day)
	}
	if ended := asOf.UTC().Truncate(day); !asOf.IsZero() && until.After(ended) {
		until = ended
	}
	return span{since, until}
}

// pullMetrics reads one window: for each object, device, selection of segments
// and goal one request, or as many as the days need.
func pullMetrics(ctx context.Context, r *pulling) error {
	all := daysIn(r.req.Window, r.req.AsOf)
	if all.days() <= 0 {
		return nil
	}
	m := &measuring{pulling: r, chunk: r.cfg.MaxDays}
	if r.st.metrics.vitals {
		m.chunk = 1
	}
	if r.st.metrics.of == "" {
		return m.combinations(ctx, 0, all)
	}
	ids, err := r.ids(ctx, r.st.metrics.of)
	if err != nil {
		return err
	}
	return r.each(ctx, ids, func(id int64) error { return m.combinations(ctx, id, all) })
}

// measuring is what a pull of metrics learns on its way.
type measuring struct {
	*pulling
	// chunk is how many days a request asks for at most; halved when the vendor
	// cannot answer for so many.
	chunk int
	// oldest is the first day that the vendor still has.
	oldest time.Time
}

// A question is what one request asks, apart from its days.
type question struct {
	op    string
	path  string
	query url.Values
	mark  stamp
}

func (m *measuring) combinations(ctx context.Context, id int64, all span) error {
	mark, target, op := newStamp(m.id), "", m.op()
	if column := m.st.metrics.column; column != "" {
		target = strconv.FormatInt(id, 10)
		mark = mark.with(column, id)
		op = m.op(column, target)
	}
	mark = mark.with("grain", "day")
	vitals := url.Values{}
	if m.st.metrics.vitals {
		mark, vitals = m.webVitals(mark)
	}
	for _, device := range m.cfg.Devices {
		for _, segments := range m.cfg.Segments {
			for _, goal := range m.cfg.Goals {
				q := question{
					op: op + " device " + device, path: m.cfg.path(m.st.resource, target), query: url.Values{"device": {device}},
					mark: mark.with("device", device).with("segment_ids", string(segments)).with("goal_id", int64(goal)),
				}
				if segments != "" {
					q.query.Set("segmentIds", string(segments))
					q.op += " segments " + string(segments)
				}
				if goal != 0 {
					q.query.Set("goalId", strconv.FormatInt(int64(goal), 10))
					q.op += fmt.Sprintf(" goal %d", goal)
				}
				for name, values := range vitals {
					q.query[name] = values
				}
				if err := m.days(ctx, q, all); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// webVitals returns the parameters and key of the settings. What the vendor does
// by default is not asked for, since the accepted spelling is unknown.
func (m *measuring) webVitals(mark stamp) (stamp, url.Values) {
	query := url.Values{}
	kind, quantile := m.cfg.WebVitals.MetricType, m.cfg.WebVitals.Quantile
	switch {
	case kind == typeAverage:
		query.Set("metricType", "Average")
		quantile = 0
	case quantile != defaultQuantile:
		query.Set("metricType", "Quantile")
		query.Set("quantile", strconv.Itoa(quantile))
	}
	return mark.with("metric_type", kind).with("quantile", quantile), query
}

// days asks for a span, the newest days first. A range that the vendor finds too
// heavy or out of bounds is halved; a single day out of bounds is the end of
// what the vendor keeps, and no failure.
func (m *measuring) days(ctx context.Context, q question, all span) error {
	waiting := []span{all}
	for len(waiting) > 0 {
		s := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if s.since.Before(m.oldest) {
			s.since = m.oldest
		}
		n := s.days()
		if n <= 0 {
			continue
		}
		if n > m.chunk {
			cut := s.until.Add(-time.Duration(m.chunk) * day)
			waiting = append(waiting, span{s.since, cut}, span{cut, s.until})
			continue
		}
		err := m.ask(ctx, q, s)
		switch {
		case err == nil:
		case errors.Is(err, errHeavy) && n > 1:
			m.chunk = (n + 1) / 2
			waiting = append(waiting, s)
		case errors.Is(err, errOutOfBounds) && n > 1:
			cut := s.until.Add(-time.Duration(n/2) * day)
			waiting = append(waiting, span{s.since, cut}, span{cut, s.until})
		case errors.Is(err, errOutOfBounds):
			m.oldest = s.until
			m.s.log.WarnContext(ctx, "the vendor keeps no metrics of that day and before", "stream", m.st.Name, "project", m.id, "day", s.since.Format(dateOnly))
		default:
			return err
		}
	}
	return nil
}

// ask makes one request and emits its values.
func (m *measuring) ask(ctx context.Context, q question, s span) error {
	query := url.Values{"startDate": {s.since.Format(vendorTime)}}
	for name, values := range q.query {
		query[name] = values
	}
	// Whether endDate is included is unknown; clients send the last moment of
	// the day.
	end := s.until.Add(-time.Millisecond)
	if m.cfg.RangeEnd == endNextMidnight {
		end = s.until
	}
	query.Set("endDate", end.Format(vendorTime))
	if s.days() > 1 {
		query.Set("period", "daily") // for ranges longer than one day alone
	}
	op := q.op + " " + s.since.Format(dateOnly)
	values, err := m.records(ctx, op, q.path, query, "payload", "values")
	if err != nil {
		return err
	}
	type name struct{ metric, start string }
	times := map[name]int{}
	for _, raw := range values {
		var value struct {
			Name      string `json:"name"`
			StartDate string `json:"startDate"`
		}
		if err := json.Unmarshal(raw, &value); err != nil || value.Name == "" || value.StartDate == "" {
			return at(op, badResponse("a value without name or startDate")) // P8
		}
		// A range that includes its end may give the day after, too.
		if start, err := time.Parse(time.RFC3339, value.StartDate); err == nil && (start.Before(s.since) || !start.Before(s.until)) {
			continue
		}
		n := name{value.Name, value.StartDate}
		if err := m.out.Record(q.mark.with("ordinal", times[n]).on(nil, raw)); err != nil {
			return err
		}
		times[n]++
	}
	return nil
}

// vendorTime is the documented form of a moment in UTC.
const vendorTime = "2006-01-02T15:04:05.000Z"
