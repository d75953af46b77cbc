package fospha

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A decimal is a number that must stay exact, as text.
type decimal string

func decimalOf(v float64) decimal {
	return decimal(strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64))
}

// A row is the performance of one campaign on one day.
type row struct {
	day                              int64 // since 1970
	market, group, source, campaign  string
	cost                             float64
	impressions, clicks              int64
	visits, conversions, new_, sales float64
}

// A cell is a field of a row: its name and type in the schema, the column where
// it must land, and its value: string, int64 or decimal.
type cell struct {
	field, column, typ string
	value              func(r *row) any
}

// cells are the composed fields, in the order of the sheet's example.
var cells = []cell{
	{"date", "date", "String!", func(r *row) any { return dayText(r.day) }},
	{"market", "market", "String!", func(r *row) any { return r.market }},
	{"channelGroup", "channel_group", "String!", func(r *row) any { return r.group }},
	{"source", "source", "String!", func(r *row) any { return r.source }},
	{"campaign", "campaign", "String!", func(r *row) any { return r.campaign }},
	{"cost", "cost", "Float!", func(r *row) any { return decimalOf(r.cost) }},
	{"impressions", "impressions", "Int!", func(r *row) any { return r.impressions }},
	{"clicks", "clicks", "Int!", func(r *row) any { return r.clicks }},
	{"visits", "visits", "Float!", func(r *row) any { return decimalOf(r.visits) }},
	{"conversions", "conversions", "Float!", func(r *row) any { return decimalOf(r.conversions) }},
	{"newConversions", "new_conversions", "Float!", func(r *row) any { return decimalOf(r.new_) }},
	{"revenue", "revenue", "Float!", func(r *row) any { return decimalOf(r.sales) }},
}

func dayText(day int64) string { return time.Unix(day*86400, 0).UTC().Format(time.DateOnly) }

func dayOf(t time.Time) int64 { return int64(math.Floor(float64(t.Unix()) / 86400)) }

// The vocabulary is that of the help pages (Metrics & Dimension Definitions).
var (
	markets  = []string{"UK", "US", "DE"}
	channels = [][2]string{
		{"Paid Social", "meta"},
		{"Paid Social", "snapchat"},
		{"Paid Social", "tiktok"},
		{"Paid Social", "pinterest"},
		{"Paid Social", "reddit"},
		{"PPC Generic", "google"},
	}
	seasons    = []string{"spring", "summer", "autumn", "winter", "evergreen"}
	strategies = []string{"prospecting", "retargeting", "remarketing_or_retention", "advantage_plus"}
)

// campaigns is how many campaigns a brand has.
func (a *API) campaigns() int {
	return max(5, int(float64(a.world.Size)*a.world.Volume/4))
}

const (
	// mappedAfter is the age in days from which a campaign that Fospha did not know
	// is in the channel where it belongs: the row of a day moves.
	mappedAfter = 3
	// lateFor is the age until which a day changes by some per cent, as the page on
	// data validation has it, and settledAfter that from which it is final; the
	// vendor's own feed sends as many days again.
	lateFor      = 7
	settledAfter = 14
)

// row returns the performance of campaign n of a brand on a day, as it is known
// at that age of the day, or false if the campaign did not run.
func (a *API) row(brand uint64, n int, day, age int64) (r row, ran bool) {
	c := sim.Roll(sim.Mix(brand, tagCampaign), uint64(n), 0)
	r.market = sim.Pick(&c, markets)
	channel := sim.Pick(&c, channels)
	if n%5 == 2 {
		channel = [2]string{"Performance Max", "google"}
		if age < mappedAfter {
			channel[0] = "PPC Generic"
		}
	}
	r.day, r.group, r.source = day, channel[0], channel[1]
	r.campaign = fmt.Sprintf("%s_%s_%d", sim.Pick(&c, seasons), sim.Pick(&c, strategies), n)
	size := 0.2 + 3*c.Unit()*c.Unit()

	d := sim.Roll(sim.Mix(brand, tagDay), uint64(n), uint64(day))
	if !d.Chance(0.9) {
		return row{}, false
	}
	r.impressions = int64(size * float64(d.Between(8_000, 60_000)))
	r.clicks = int64(float64(r.impressions) * (0.005 + 0.015*d.Unit()))
	r.cost = float64(r.clicks) * (0.1 + 0.4*d.Unit())
	r.visits = float64(r.clicks) * (0.85 + 0.1*d.Unit())
	r.conversions = r.visits * (0.01 + 0.03*d.Unit())
	r.new_ = r.conversions * (0.4 + 0.3*d.Unit())
	r.sales = r.conversions * (40 + 30*d.Unit())

	swing := 0.0
	switch {
	case age <= lateFor:
		swing = 0.05
	case age < settledAfter:
		swing = 0.005
	}
	late := sim.Roll(sim.Mix(brand, tagRestatement), uint64(n)<<32|uint64(day), uint64(age))
	factor := 1 + swing*(2*late.Unit()-1)
	r.visits, r.conversions, r.new_, r.sales = r.visits*factor, r.conversions*factor, r.new_*factor, r.sales*factor
	return r, true
}

// rows are a brand's rows of the days from first to before end, as known at asOf,
// by day and campaign. The day that is under way has none yet.
func (a *API) rows(brand string, first, end int64, asOf time.Time) iter.Seq[row] {
	today := dayOf(asOf)
	first, end = max(first, dayOf(a.world.Begin)), min(end, today)
	seed := a.seed
	for _, b := range []byte(brand) {
		seed = sim.Mix(seed, uint64(b))
	}
	return func(yield func(row) bool) {
		for day := first; day < end; day++ {
			for n := range a.campaigns() {
				if r, ran := a.row(seed, n, day, today-day); ran && !yield(r) {
					return
				}
			}
		}
	}
}

// Streams are the names that Truth knows.
var Streams = []string{"performance_daily"}

// Truth yields the records that must land for performance_daily in the window
// [since, until), where a zero time is no bound, as of the simulated now at the
// call: of each brand that may be read, with fospha_client_id. A date is its
// midnight in UTC, decimals are text. Another stream is a programmer's error and
// panics.
func (a *API) Truth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	if stream != Streams[0] {
		panic(fmt.Sprintf("sandbox: fospha has no stream %q", stream))
	}
	asOf := a.world.AsOf()
	first, end := int64(math.MinInt32), int64(math.MaxInt32)
	if !since.IsZero() {
		first = dayOf(since.Add(24*time.Hour - 1)) // a day belongs to where its midnight is
	}
	if !until.IsZero() {
		end = dayOf(until.Add(24*time.Hour - 1))
	}
	return func(yield func(map[string]any) bool) {
		for _, brand := range a.opts.Brands {
			if !a.mayRead(brand) {
				continue
			}
			for r := range a.rows(brand, first, end, asOf) {
				record := map[string]any{"fospha_client_id": brand}
				for _, c := range cells {
					switch v := c.value(&r).(type) {
					case decimal:
						record[c.column] = string(v)
					default:
						record[c.column] = v
					}
				}
				record["date"] = time.Unix(r.day*86400, 0).UTC()
				if !yield(record) {
					return
				}
			}
		}
	}
}
