package kaisa

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A widget is one type of aggregate over calls.
type widget struct {
	name string
	// rows makes the rows of a list type, value the number of a single-value one.
	rows  func(*tally) []bar
	value func(*tally) int64
	// quoted sends a single value as a string, as the vendor does for some types
	// and not for others (Developer API: /widgets/data).
	quoted bool
}

// A bar is a row: a value, or answered and missed.
type bar struct {
	name             string
	value            int64
	answered, missed int64
}

// widgets are the documented types.
var widgets = []widget{
	{name: "calls_per_day", rows: (*tally).perDay},
	{name: "daily_call_distribution", rows: (*tally).perHour},
	{name: "call_length_distribution", rows: (*tally).perLength},
	{name: "calls_top_attributions", rows: func(t *tally) []bar { return top(t.media, 5) }},
	{name: "geographic_origin", rows: func(t *tally) []bar { return top(t.areas, len(t.areas)) }},
	{name: "top_customers_by_calls", rows: func(t *tally) []bar { return top(t.customers, 10) }},
	{name: "missed_calls", quoted: true, value: func(t *tally) int64 { return t.calls - t.answered }},
	{name: "call_durations", value: func(t *tally) int64 { return t.seconds / max(1, t.answered) }},
	{name: "call_totals", quoted: true, value: func(t *tally) int64 { return t.calls }},
	{name: "average_calls_per_user", value: func(t *tally) int64 { return t.calls / max(1, int64(len(t.customers))) }},
	{name: "unique_callers", value: func(t *tally) int64 { return int64(len(t.callers)) }},
}

// isSplit reports whether the rows have Answered and Missed rather than val.
func (w *widget) isSplit() bool {
	return w.name == "calls_per_day" || w.name == "daily_call_distribution"
}

// A tally counts the calls of one customer, or of all, over some days.
type tally struct {
	from, to int64
	days     map[int64]*bar
	hours    [24]bar
	lengths  [4]int64

	calls, answered, seconds int64

	media, areas, customers map[string]int64
	callers                 map[int64]struct{}
}

// tally counts the days [from, to), as far as they have begun. They are days of
// UTC; the zone of the vendor's days is unknown.
func (a *API) tally(c *customer, from, to, asOf int64) *tally {
	to = max(from, min(to, asOf/day*day+day))
	t := &tally{
		from: from, to: to,
		days: map[int64]*bar{}, media: map[string]int64{}, areas: map[string]int64{}, customers: map[string]int64{},
		callers: map[int64]struct{}{},
	}
	for call := range a.direction(true).calls(from, min(to, asOf+1), asOf) {
		if c == nil || call.customer == c {
			t.add(call)
		}
	}
	return t
}

func (t *tally) add(c *call) {
	d := t.days[c.start/day]
	if d == nil {
		d = new(bar)
		t.days[c.start/day] = d
	}
	hour := &t.hours[c.start%day/3600]
	t.calls++
	t.media[c.source.media]++
	t.areas[c.area.Label]++
	t.customers[c.customer.name]++
	t.callers[c.caller] = struct{}{}
	if !c.answered {
		d.missed++
		hour.missed++
		return
	}
	d.answered++
	hour.answered++
	t.answered++
	t.seconds += c.duration
	// The classes of Call definitions in Kaisa, parted once more at ten minutes.
	switch {
	case c.duration < 60:
		t.lengths[0]++
	case c.duration < 120:
		t.lengths[1]++
	case c.duration < 600:
		t.lengths[2]++
	default:
		t.lengths[3]++
	}
}

func (t *tally) perDay() []bar {
	var rows []bar
	for d := t.from / day; d*day < t.to; d++ {
		row := bar{}
		if counted := t.days[d]; counted != nil {
			row = *counted
		}
		row.name = time.Unix(d*day, 0).UTC().Format(dateOnly)
		rows = append(rows, row)
	}
	return rows
}

func (t *tally) perHour() []bar {
	rows := slices.Clone(t.hours[:])
	for h := range rows {
		rows[h].name = fmt.Sprintf("%02d", h)
	}
	return rows
}

func (t *tally) perLength() []bar {
	rows := make([]bar, len(t.lengths))
	for i, name := range []string{"0-59", "60-119", "120-599", "600-"} {
		rows[i] = bar{name: name, value: t.lengths[i]}
	}
	return rows
}

// top is the n largest counts, by falling count and then by name.
func top(counts map[string]int64, n int) []bar {
	rows := make([]bar, 0, len(counts))
	for name, count := range counts {
		rows = append(rows, bar{name: name, value: count})
	}
	slices.SortFunc(rows, func(x, y bar) int {
		return cmp.Or(cmp.Compare(y.value, x.value), cmp.Compare(x.name, y.name))
	})
	return rows[:min(n, len(rows))]
}

// longestSpan bounds the days of one answer. The vendor's bound is unknown.
const longestSpan = 3660 * day

// serveWidget answers {"dataset":..., "datasources":[{"datasource":0,"data":...}]}.
// Single-value types come wrapped in an array of one element, which the vendor's
// widget library unwraps; when the vendor wraps is unknown.
func (a *API) serveWidget(r *request, out *answer) {
	i := slices.IndexFunc(widgets, func(w widget) bool { return w.name == r.text("type") })
	if i < 0 {
		r.complain("type: want one of the documented types")
		return
	}
	w := &widgets[i]
	// The span without dates is unknown; here it is the 30 days before today.
	today := r.asOf / day * day
	from, to := r.moment("from_date", today-30*day, dateOnly), r.moment("to_date", today, dateOnly)
	if !a.opts.ExclusiveTo {
		to += day
	}
	if to-from > longestSpan {
		r.complain("from_date: too far before to_date")
		return
	}
	var c *customer
	customerID := r.number("customer_id", 0)
	if customerID != 0 {
		c = a.customerByID(customerID, r.asOf)
	}
	counted := &tally{}
	if customerID == 0 || c != nil {
		counted = a.tally(c, from, to, r.asOf)
	}
	out.JSON = append(out.JSON, '{')
	if w.value != nil {
		out.JSON = append(out.JSON[:0], "[{"...)
	}
	out.Text("dataset", w.name)
	out.Key("datasources")
	out.JSON = append(out.JSON, '[')
	out.Begin()
	out.Int("datasource", 0)
	switch {
	case w.value == nil:
		out.Key("data")
		out.JSON = append(out.JSON, '[')
		for _, row := range w.rows(counted) {
			out.Begin()
			w.write(&out.Fields, row)
			out.End()
		}
		out.JSON = append(out.JSON, ']')
	case w.quoted:
		out.QuotedInt("data", w.value(counted))
	default:
		out.Int("data", w.value(counted))
	}
	out.End()
	out.shut()
	if w.value != nil {
		out.JSON = append(out.JSON, ']')
	}
}

func (w *widget) write(f *sim.Fields, row bar) {
	f.Text("name", row.name)
	if w.isSplit() {
		f.QuotedInt("Answered", row.answered)
		f.QuotedInt("Missed", row.missed)
		return
	}
	f.QuotedInt("val", row.value)
}

// land gives the rows of the tally's day the way they must land: with the type,
// the customer (0 for all) and the day that were asked for. The one row of a
// single-value type has an empty name.
func (w *widget) land(f *sim.Fields, t *tally, c *customer, yield func() bool) bool {
	rows := []bar{{}}
	if w.value != nil {
		rows[0].value = w.value(t)
	} else {
		rows = w.rows(t)
	}
	var id int64
	if c != nil {
		id = c.id
	}
	for _, row := range rows {
		f.Text("type", w.name)
		f.QuotedInt("customer_id", id)
		f.Date("date", t.from)
		f.Text("name", row.name)
		f.Int("datasource", 0)
		if w.isSplit() {
			f.Null("value")
			f.Int("answered", row.answered)
			f.Int("missed", row.missed)
		} else {
			f.Int("value", row.value)
			f.Null("answered")
			f.Null("missed")
		}
		if !yield() {
			return false
		}
	}
	return true
}
