package ledger_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// dueDays returns n days that are due, of the given length in days each.
func dueDays(n, length int) []ledger.Due {
	var due []ledger.Due
	at := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	for range n {
		until := at.AddDate(0, 0, length)
		due = append(due, ledger.Due{Slice: ledger.Slice{Stream: "calls", Window: connector.Window{Since: at, Until: until}}})
		at = until
	}
	return due
}

// dayCost is the cost of one day that took so many requests, of 100 ms each.
func dayCost(requests int64) ledger.Cost {
	at := time.Date(2025, time.June, 1, 0, 0, 0, 0, time.UTC)
	took := time.Duration(requests) * 100 * time.Millisecond
	return ledger.Cost{
		Window: connector.Window{Since: at, Until: at.AddDate(0, 0, 1)}, Requests: requests,
		Took: took + time.Minute, Waited: time.Minute,
	}
}

func TestEstimateDue(t *testing.T) {
	t.Parallel()
	fourPages := []ledger.Cost{dayCost(4), dayCost(3), dayCost(4), dayCost(90), dayCost(4)} // a freak does not count
	snapshot := []ledger.Cost{{Requests: 7, Took: time.Second}, {Requests: 9, Took: 3 * time.Second}}
	for name, c := range map[string]struct {
		due  []ledger.Due
		past []ledger.Cost
		want ledger.Estimate
	}{
		"nothing due":            {nil, fourPages, ledger.Estimate{}},
		"never read":             {dueDays(30, 1), nil, ledger.Estimate{Slices: 30, Requests: 30, Assumed: 30}},
		"days":                   {dueDays(365, 1), fourPages, ledger.Estimate{Slices: 365, Requests: 1460, Work: 146 * time.Second}},
		"weeks, from days":       {dueDays(10, 7), fourPages, ledger.Estimate{Slices: 10, Requests: 280, Work: 28 * time.Second}},
		"days, from one request": {dueDays(8, 1), []ledger.Cost{dayCost(1)}, ledger.Estimate{Slices: 8, Requests: 8, Work: 800 * time.Millisecond}},
		"a snapshot":             {[]ledger.Due{{}}, snapshot, ledger.Estimate{Slices: 1, Requests: 8, Work: 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ledger.EstimateDue(c.due, c.past); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestEstimateOfMonthsAndDaylightSaving(t *testing.T) {
	t.Parallel()
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	// A day of 23 hours and a month of 28 days cost as much as their siblings.
	spring := connector.Window{Since: time.Date(2026, 3, 29, 0, 0, 0, 0, stockholm), Until: time.Date(2026, 3, 30, 0, 0, 0, 0, stockholm)}
	got := ledger.EstimateDue([]ledger.Due{{Slice: ledger.Slice{Window: spring}}}, []ledger.Cost{dayCost(40)})
	if got.Requests != 40 {
		t.Errorf("a day of 23 hours: %d requests, want 40", got.Requests)
	}
	month := func(m time.Month) connector.Window {
		return connector.Window{Since: time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, m+1, 1, 0, 0, 0, 0, time.UTC)}
	}
	got = ledger.EstimateDue([]ledger.Due{{Slice: ledger.Slice{Window: month(time.February)}}}, []ledger.Cost{{Window: month(time.January), Requests: 50}})
	if got.Requests != 50 {
		t.Errorf("February: %d requests, want 50", got.Requests)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	year := ledger.Estimate{Slices: 365, Requests: 1460, Work: 146 * time.Second}
	rate := connector.Limits{Rates: []connector.Rate{{Requests: 20, Per: time.Second}}}
	for name, c := range map[string]struct {
		limits             connector.Limits
		atOnce, partitions int
		want               time.Duration
	}{
		"the rate dictates":         {rate, 4, 1, 72 * time.Second},
		"the work dictates":         {rate, 1, 1, 146 * time.Second},
		"no limit known":            {connector.Limits{}, 2, 1, 73 * time.Second},
		"one request at once":       {connector.Limits{Concurrency: 1}, 4, 1, 146 * time.Second},
		"limits of each partition":  {connector.Limits{Rates: rate.Rates, PerPartition: true}, 8, 4, 146 * time.Second / 8},
		"the slowest of two limits": {connector.Limits{Rates: []connector.Rate{{Requests: 20, Per: time.Second}, {Requests: 100, Per: time.Minute}}}, 4, 1, 14 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := year.Duration(c.limits, c.atOnce, c.partitions); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := (ledger.Estimate{}).Duration(rate, 4, 1); got != 0 {
		t.Errorf("nothing takes %v", got)
	}
}

// More slices never cost less, and two halves cost what the whole does.
func TestEstimatesAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var past []ledger.Cost
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 50), 0, 9).Draw(t, "requests") {
			past = append(past, dayCost(n))
		}
		all := dueDays(rapid.IntRange(0, 60).Draw(t, "slices"), 1)
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		whole := ledger.EstimateDue(all, past)
		sum := ledger.EstimateDue(all[:cut], past).Add(ledger.EstimateDue(all[cut:], past))
		if sum.Slices != whole.Slices || sum.Assumed != whole.Assumed || max(sum.Requests, whole.Requests)-min(sum.Requests, whole.Requests) > 1 {
			t.Fatalf("halves %+v, whole %+v", sum, whole)
		}
		limits := connector.Limits{Rates: []connector.Rate{{Requests: rapid.IntRange(1, 9).Draw(t, "rate"), Per: time.Second}}}
		part := ledger.EstimateDue(all[:cut], past)
		if part.Duration(limits, 4, 1) > whole.Duration(limits, 4, 1) && whole.Slices >= 4 && part.Slices >= 4 {
			t.Fatalf("a part takes %v, the whole %v", part.Duration(limits, 4, 1), whole.Duration(limits, 4, 1))
		}
	})
}
