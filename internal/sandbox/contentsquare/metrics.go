package contentsquare

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// vendorTime is the form of moments in answers.
const vendorTime = "2006-01-02T15:04:05.000Z"

// accepted are the documented forms of dates.
var accepted = []string{
	"2006-01-02T15:04:05.999Z", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01",
	"2006-01-02T15:04:05-07:00", "2006-01-02T15:04-07:00",
}

// maxRange is the documented limit of a range.
const maxRange = 92 * day

// A metric is one name and the size of its values; counts are whole and summed
// over days.
type metric struct {
	name  string
	size  float64
	count bool
	// null is the chance that a value is null; whether there are such is unknown.
	null float64
}

var (
	siteMetrics = []metric{
		{"bounceRate", 90, false, 0},
		{"cartAverage", 120, false, 0},
		{"conversionCount", 900, true, 0},
		{"conversionRate", 5, false, 0},
		{"pageviewAverage", 9, false, 0},
		{"revenueSum", 90_000, false, 0},
		{"sessionTimeAverage", 300, false, 0},
		{"visits", 50_000, true, 0},
	}
	pageGroupMetrics = []metric{
		{"activityRate", 60, false, 0},
		{"bounceRate", 60, false, 0},
		{"conversionRate", 5, false, 0},
		{"exitRate", 40, false, 0},
		{"foldHeight", 900, false, 0},
		{"interactionTime", 20, false, 0},
		{"landingRate", 40, false, 0},
		{"loadingTime", 4, false, 0.1},
		{"pageHeight", 4000, false, 0},
		{"scrollRate", 80, false, 0},
		{"elapsedTime", 90, false, 0},
		{"uniqueVisits", 9000, true, 0},
		{"views", 15_000, true, 0},
		{"viewsVisits", 3, false, 0},
		{"visits", 12_000, true, 0},
	}
	// The first comes twice, as a client has met it.
	webVitals = []metric{
		{"largestContentfulPaint", 4, false, 0},
		{"largestContentfulPaint", 4, false, 0},
		{"interactionToNextPaint", 0.4, false, 0},
		{"cumulativeLayoutShift", 0.3, false, 0},
		{"firstContentfulPaint", 2, false, 0},
		{"timeToFirstByte", 1, false, 0},
	}
	zoneMetrics = []metric{
		{"attractivityRate", 20, false, 0.05},
		{"clickRate", 10, false, 0},
		{"clickRepetition", 3, false, 0},
		{"avgConversionAfterClick", 20, false, 0},
		{"avgConversionAfterHover", 10, false, 0},
		{"engagementRateLive", 40, false, 0},
		{"exposureRate", 90, false, 0},
		{"exposureTime", 12, false, 0},
		{"hesitation", 3, false, 0},
		{"hoverRate", 40, false, 0},
		{"totalClicks", 900, true, 0},
		{"timeBeforeFirstClick", 20, false, 0},
	}
)

// A measure is what is measured: an object, for some visitors.
type measure struct {
	project  *project
	kind     string
	id       int64
	device   string
	segments string
	goal     int64
	extra    string // of web vitals: type and quantile
}

// value is a metric on a day that begins then, as of a moment: what has just
// happened is not counted to its end and is restated for three days. ok is false
// for days that have not begun or of which nothing is known.
func (a *API) value(m measure, i int, one metric, begin, asOf time.Time) (v float64, null, ok bool) {
	if begin.Before(a.world.Begin) || begin.After(asOf) {
		return 0, false, false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.kind + "/" + one.name + "/" + m.device + "/" + m.segments + "/" + m.extra)) // never fails
	dice := sim.Roll(sim.Mix(a.seed, tagValue)^h.Sum64(), uint64(m.project.ID)<<32^uint64(m.id)^uint64(m.goal)<<48, uint64(begin.Unix())+uint64(i))
	v, null = one.size*(0.2+0.8*dice.Unit()), dice.Chance(one.null)
	switch age := asOf.Sub(begin.Add(day)); {
	case age < 0:
		v *= 0.8 * float64(day+age) / float64(day)
	case age < day:
		v *= 0.93
	case age < 2*day:
		v *= 0.98
	case age < 3*day:
		v *= 0.995
	}
	if one.count {
		v = math.Round(v)
	}
	return v, null, true
}

// number spells a value: whole ones as integers.
func number(v float64) json.RawMessage { return strconv.AppendFloat(nil, v, 'f', -1, 64) }

// A valueJSON is an element of payload.values.
type valueJSON struct {
	StartDate string          `json:"startDate"`
	EndDate   string          `json:"endDate"`
	Value     json.RawMessage `json:"value"`
	Name      string          `json:"name"`
	Currency  string          `json:"currency"`
}

// ranged reads startDate and endDate.
func (a *API) ranged(r *request) (since, until time.Time, f *failure) {
	parse := func(name string) (time.Time, bool) {
		for _, layout := range accepted {
			if t, err := time.Parse(layout, r.URL.Query().Get(name)); err == nil {
				return t.UTC(), true
			}
		}
		f = refuse(http.StatusBadRequest, "BAD_REQUEST", "%s: want an ISO 8601 date", name)
		return time.Time{}, false
	}
	since, ok1 := parse("startDate")
	until, ok2 := parse("endDate")
	switch {
	case !ok1 || !ok2:
	case !since.Before(until):
		f = refuse(http.StatusBadRequest, "BAD_REQUEST", "startDate must be before endDate")
	case until.Sub(since) > maxRange || since.Before(r.asOf.Add(-time.Duration(a.opts.Retention)*day).Truncate(day)):
		// The message is documented, the code and status are stand-ins.
		f = refuse(http.StatusBadRequest, "BAD_REQUEST", "The date range is out of bounds.")
	}
	return since, until, f
}

// measured answers a metric endpoint.
func (a *API) measured(r *request, kind string, id int64, metrics []metric, daily bool) (any, *failure) {
	since, until, f := a.ranged(r)
	if f != nil {
		return nil, f
	}
	q := r.URL.Query()
	m := measure{project: r.project, kind: kind, id: id, device: "all", segments: sorted(q.Get("segmentIds"))}
	if device := q.Get("device"); device != "" {
		m.device = device
	}
	if !slices.Contains([]string{"all", "desktop", "mobile", "tablet"}, m.device) {
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "device: want all, desktop, mobile or tablet")
	}
	if goal := q.Get("goalId"); goal != "" {
		var err error
		if m.goal, err = strconv.ParseInt(goal, 10, 64); err != nil {
			return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "goalId: want an integer")
		}
	}
	if kind == "web-vitals" {
		m.extra = strings.ToLower(q.Get("metricType")) + q.Get("quantile")
	}
	byDay := q.Get("period") == "daily"
	switch {
	case byDay && until.Sub(since) <= day:
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "period=daily is for ranges longer than one day")
	case byDay && a.opts.HeavyDays > 0 && until.Sub(since) > time.Duration(a.opts.HeavyDays)*day:
		return nil, refuse(http.StatusBadGateway, "", "")
	}
	values := []valueJSON{}
	for i, one := range metrics {
		if byDay && daily {
			for begin := since; begin.Before(until) || a.opts.InclusiveEnd && begin.Equal(until); begin = begin.Add(day) {
				if v, null, ok := a.value(m, i, one, begin, r.asOf); ok {
					values = append(values, r.project.value(one.name, v, null, begin, begin.Add(day)))
				}
			}
			continue
		}
		if v, null, ok := a.whole(m, i, one, since, until, r.asOf); ok {
			values = append(values, r.project.value(one.name, v, null, since, until))
		}
	}
	return map[string]any{"values": values}, nil
}

// whole is a metric over a range: counts are summed, others averaged.
func (a *API) whole(m measure, i int, one metric, since, until, asOf time.Time) (v float64, null, ok bool) {
	days := 0.0
	for begin := since; begin.Before(until); begin = begin.Add(day) {
		if part, isNull, known := a.value(m, i, one, begin, asOf); known {
			v, null, ok, days = v+part, isNull, true, days+1
		}
	}
	if !one.count && days > 1 {
		v /= days
	}
	return v, null && days == 1, ok
}

func (p *project) value(name string, v float64, null bool, since, until time.Time) valueJSON {
	text := number(v)
	if null {
		text = []byte("null")
	}
	return valueJSON{since.Format(vendorTime), until.Format(vendorTime), text, name, p.currency}
}

// sorted is a list of segments in the order in which it does not matter.
func sorted(ids string) string {
	parts := strings.Split(ids, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func (a *API) serveSite(r *request) (any, *failure) {
	return a.measured(r, "site", 0, siteMetrics, true)
}

func (a *API) servePageGroup(r *request) (any, *failure) {
	if r.project.group(r.ids[0]) == nil {
		return nil, notFound("page group", r.ids[0])
	}
	return a.measured(r, "page-group", r.ids[0], pageGroupMetrics, true)
}

// serveWebVitals answers for the whole range, also with period=daily.
func (a *API) serveWebVitals(r *request) (any, *failure) {
	if r.project.group(r.ids[0]) == nil {
		return nil, notFound("page group", r.ids[0])
	}
	return a.measured(r, "web-vitals", r.ids[0], webVitals, false)
}

func (a *API) serveZone(r *request) (any, *failure) {
	if !r.project.zone(r.ids[0]) {
		return nil, notFound("zone", r.ids[0])
	}
	return a.measured(r, "zone", r.ids[0], zoneMetrics, true)
}
