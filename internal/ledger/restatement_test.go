package ledger_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/ledger"
)

// reread is what so many reads found in 100 rows each, of which some per cent had
// changed.
func reread(before, age int, reads int64, percent int64) ledger.Reread {
	return ledger.Reread{Before: before, Age: age, Reads: reads, Counts: ledger.Counts{
		Rows: 100 * reads, Updated: percent * reads, Unchanged: (100 - percent) * reads,
	}}
}

// nightly reads windows each night while they are young; percent is what changes
// at the ages 1, 2 and so on.
func nightly(reads int64, percent ...int64) []ledger.Reread {
	var all []ledger.Reread
	for i, p := range percent {
		all = append(all, reread(i, i+1, reads, p))
	}
	return all
}

func close(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestRestatement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rereads []ledger.Reread
		rates   []float64 // by age
	}{
		"nothing":               {nil, nil},
		"each night":            {nightly(30, 20, 5, 1), []float64{0, .20, .05, .01}},
		"once, long after":      {[]ledger.Reread{reread(0, 10, 12, 30)}, []float64{0, .03, .03, .03, .03, .03, .03, .03, .03, .03, .03}},
		"twice on one day":      {append(nightly(10, 20), reread(1, 1, 10, 4)), []float64{0, .24}},
		"only twice on one day": {[]ledger.Reread{reread(1, 1, 10, 4)}, []float64{0, .04}},
		"windows that lay ahead": {
			[]ledger.Reread{reread(-9, -3, 5, 90), reread(-3, 0, 5, 10)}, []float64{.10},
		},
		"often and seldom read windows count alike": {
			append(nightly(10, 20, 0), reread(0, 2, 10, 20)), []float64{0, .15, .05},
		},
		"gone and late rows count": {
			[]ledger.Reread{{Before: 0, Age: 1, Reads: 1, Counts: ledger.Counts{Rows: 90, Inserted: 5, Unchanged: 85, Deleted: 10}}}, []float64{0, .15},
		},
		"empty windows": {[]ledger.Reread{{Before: 0, Age: 1, Reads: 7}}, []float64{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := ledger.Restatement(c.rereads)
			if len(points) != len(c.rates) {
				t.Fatalf("%d points, want %d", len(points), len(c.rates))
			}
			rest := 0.0
			for a := len(points) - 1; a >= 0; a-- {
				p := points[a]
				if p.Age != a || !close(p.Rate, c.rates[a]) || !close(p.Residual, rest) {
					t.Errorf("age %d: %+v, want rate %v and residual %v", a, p, c.rates[a], rest)
				}
				rest += p.Rate
			}
		})
	}
}

func TestAdvise(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rereads   []ledger.Reread
		threshold float64
		want      ledger.Advice
	}{
		"settled after two nights": {
			nightly(12, 20, 5, 0, 0), .001, ledger.Advice{Lookback: 3, Reads: 24, Oldest: 4, Enough: true},
		},
		"a little risk is allowed": {
			nightly(12, 20, 5, 1, 0), .02, ledger.Advice{Lookback: 3, Residual: .01, Reads: 24, Oldest: 4, Enough: true},
		},
		"never changes": {
			nightly(12, 0, 0), .001, ledger.Advice{Lookback: 0, Reads: 24, Oldest: 2, Enough: true},
		},
		"still changing": {
			nightly(12, 20, 5, 2), .001, ledger.Advice{Lookback: 4, Oldest: 3, Lacks: ledger.LackSettling},
		},
		"nothing yet": {nil, .001, ledger.Advice{Oldest: -1, Lacks: ledger.LackReads}},
		"few reads":   {nightly(3, 20, 0), .001, ledger.Advice{Lookback: 2, Reads: 3, Oldest: 2, Lacks: ledger.LackReads}},
		"few old reads": {
			append(nightly(20, 20, 5), nightly(2, 20, 5, 0, 0)[2:]...), .001,
			ledger.Advice{Lookback: 3, Reads: 4, Oldest: 4, Lacks: ledger.LackOld},
		},
		// Two hundred old windows were read once more, long after: what each found
		// is no risk of its own, as a sum over ages would have it.
		"a forced reading of old windows": {
			func() []ledger.Reread {
				all := nightly(20, 20, 5, 0, 0, 0)
				for age := 100; age < 300; age++ {
					all = append(all, reread(5, age, 1, 0))
				}
				return append(all, ledger.Reread{Before: 5, Age: 250, Reads: 1, Counts: ledger.Counts{Rows: 1000, Updated: 1, Unchanged: 999}})
			}(), .001, ledger.Advice{Lookback: 3, Residual: .0001, Reads: 261, Oldest: 299, Enough: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ledger.Advise(ledger.Restatement(c.rereads), c.threshold)
			if math.Abs(got.Residual-c.want.Residual) > 2e-4 {
				t.Errorf("residual %v, want about %v", got.Residual, c.want.Residual)
			}
			got.Residual, c.want.Residual = 0, 0
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// Of a vendor whose rules are known, read every night, the advice is the rule: no
// change after it, and change before.
func TestAdviceIsTheVendorsRule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		settled := rapid.IntRange(0, 20).Draw(t, "settled")
		read := settled + rapid.IntRange(1, 20).Draw(t, "read")
		var percent []int64
		for age := 1; age <= read; age++ {
			changes := int64(0)
			if age <= settled {
				changes = rapid.Int64Range(1, 90).Draw(t, "percent")
			}
			percent = append(percent, changes)
		}
		rereads := nightly(20, percent...)
		// Some windows are read less often. They can blur what happened when, and
		// make the advice longer, never shorter.
		for range rapid.IntRange(0, 3).Draw(t, "seldom") {
			before := rapid.IntRange(0, read-1).Draw(t, "before")
			age := rapid.IntRange(before+1, read).Draw(t, "age")
			rereads = append(rereads, reread(before, age, 1, min(99, int64(max(0, min(age, settled)-before)))))
		}
		advice := ledger.Advise(ledger.Restatement(rereads), 0)
		want := settled + 1
		if settled == 0 {
			want = 0
		}
		if advice.Enough && advice.Lookback < want {
			t.Fatalf("lookback %d, the vendor restates until %d: %+v", advice.Lookback, settled, advice)
		}
		if len(rereads) == read && (!advice.Enough || advice.Lookback != want) {
			t.Fatalf("read every night: %+v, want %d", advice, want)
		}
	})
}

func TestAgesAreAllDrawnOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		points := ledger.Restatement(nightly(1, make([]int64, rapid.IntRange(1, 2000).Draw(t, "ages"))...))
		next := 0
		for _, span := range ledger.Ages(points) {
			if next == 0 {
				next = span[0].Age
			}
			if span[0].Age != next {
				t.Fatalf("a span begins at %d, the one before ends at %d", span[0].Age, next)
			}
			next += len(span)
		}
		if next != len(points) || len(ledger.Ages(points)) > 40 {
			t.Fatalf("%d ages of %d drawn, in %d spans", next, len(points), len(ledger.Ages(points)))
		}
	})
}
