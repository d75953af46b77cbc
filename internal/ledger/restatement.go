package ledger

import (
	"cmp"
	"slices"
)

// A Reread sums what reading windows again found, of all reads that came at the
// same ages.
type Reread struct {
	// Before and Age are the window's ages, in whole units, at the read before and
	// at this one. Negative ages are of windows that lay ahead.
	Before, Age int
	Reads       int64
	Counts      Counts
}

// changed is how many rows were not as they had been, of how many there were.
func (c Counts) changed() (changed, of int64) {
	return c.Inserted + c.Updated + c.Deleted, c.Rows + c.Deleted
}

// A RestatementPoint is what was found at the reads that came at one age.
type RestatementPoint struct {
	Age   int
	Reads int64 // how many windows were read again at this age
	// Rows were reported or had been; Changed of them were new, different or gone.
	Rows, Changed int64
	// Rate is the share of rows that changes at this age, from one unit to the
	// next. What a read found after a longer pause is spread over the pause.
	Rate float64
	// Residual is the share of rows that still changes after this age: the sum of
	// the later rates, at most 1.
	Residual float64
}

// Share is which part of the rows had changed when they were read again at this
// age.
func (p RestatementPoint) Share() float64 {
	if p.Rows == 0 {
		return 0
	}
	return float64(p.Changed) / float64(p.Rows)
}

// oldestAge bounds the ages that are told apart; older ones count as this old. In
// hours it is more than ten years.
const oldestAge = 100_000

// Restatement returns how much windows changed by their age, from age 0 to the
// greatest at which one was read again; nothing if none was.
//
// A read at age a of a window that was last read at age b has seen what happened
// at the ages b+1 to a. Rates are what such reads found per row that they saw, so
// that a window which was read often and one which was read once, long after,
// count alike. When a window is read twice at one age, the second read adds what it
// found and no rows.
func Restatement(rereads []Reread) []RestatementPoint {
	oldest := -1
	for _, r := range rereads {
		oldest = max(oldest, min(r.Age, oldestAge))
	}
	points := make([]RestatementPoint, oldest+1)
	found, seen, again := make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points))
	for _, r := range rereads {
		age, before := min(r.Age, oldestAge), max(min(r.Before, oldestAge), -1)
		if age < 0 {
			continue // it lay ahead: nothing had happened yet
		}
		changed, rows := r.Counts.changed()
		p := &points[age]
		p.Reads, p.Rows, p.Changed = p.Reads+r.Reads, p.Rows+rows, p.Changed+changed
		if before >= age {
			found[age] += float64(changed)
			again[age] += float64(rows)
			continue
		}
		for a := before + 1; a <= age; a++ {
			found[a] += float64(changed) / float64(age-before)
			seen[a] += float64(rows)
		}
	}
	residual := 0.0
	for a := len(points) - 1; a >= 0; a-- {
		points[a].Age = a
		points[a].Residual = min(residual, 1)
		if rows := cmp.Or(seen[a], again[a]); rows > 0 {
			points[a].Rate = found[a] / rows
		}
		residual += points[a].Rate
	}
	return points
}

// leastReads is how many reads of windows a statement about them rests on at
// least.
const leastReads = 10

// An Advice is the lookback that past reads speak for.
type Advice struct {
	// Lookback is the shortest after which the share of rows that still changes is
	// at most the threshold, in units; 0 needs none. It counts only if Enough.
	Lookback int
	// Residual is the share of rows that changes after it, unseen.
	Residual float64
	// Reads is how many reads saw windows after the lookback.
	Reads int64
	// Oldest is the greatest age at which a window was read again: of what happens
	// later nothing is known.
	Oldest int
	// Enough says that the evidence suffices; Lacks, what it lacks otherwise.
	Enough bool
	Lacks  Lack
}

// A Lack is what evidence lacks.
type Lack string

// The lacks.
const (
	LackReads    Lack = "reads"    // too few windows were read again at all
	LackOld      Lack = "old"      // too few were read again after the lookback
	LackSettling Lack = "settling" // they still changed at the greatest age there is
)

// Advise returns the lookback that the points speak for, if the share of rows that
// may change unseen is the threshold. A lookback of n units reads windows again at
// the ages 0 to n-1.
func Advise(points []RestatementPoint, threshold float64) Advice {
	advice := Advice{Oldest: len(points) - 1}
	var reads int64
	for _, p := range points {
		reads += p.Reads
	}
	advice.Lookback = len(points)
	for n := len(points) - 1; n >= 0 && Unseen(points, n) <= threshold; n-- {
		advice.Lookback = n
	}
	for _, p := range points[advice.Lookback:] {
		advice.Reads += p.Reads
	}
	advice.Residual = Unseen(points, advice.Lookback)
	switch {
	case reads < leastReads:
		advice.Lacks = LackReads
	case advice.Lookback == len(points):
		advice.Lacks = LackSettling
	case advice.Reads < leastReads:
		advice.Lacks = LackOld
	default:
		advice.Enough = true
	}
	return advice
}

// Unseen is the share of rows that changes after a lookback of n units, as far as
// the points tell.
func Unseen(points []RestatementPoint, n int) float64 {
	switch {
	case n >= len(points):
		return 0
	case n <= 0:
		return min(points[0].Rate+points[0].Residual, 1)
	default:
		return points[n-1].Residual
	}
}

// Merge returns points of neighbouring ages as one, for a coarser drawing: its age
// is the last one's.
func Merge(points []RestatementPoint) RestatementPoint {
	last := points[len(points)-1]
	sum := RestatementPoint{Age: last.Age, Residual: last.Residual}
	for _, p := range points {
		sum.Reads, sum.Rows, sum.Changed, sum.Rate = sum.Reads+p.Reads, sum.Rows+p.Rows, sum.Changed+p.Changed, sum.Rate+p.Rate
	}
	return sum
}

// Ages cuts the points into spans of ages that a person can take in: the first
// fourteen one by one, later ones ever wider. Spans without a read are left out.
func Ages(points []RestatementPoint) [][]RestatementPoint {
	const single = 14
	var spans [][]RestatementPoint
	for from, width := 0, 1; from < len(points); from += width {
		if from > single {
			width = max(7, from/4)
		}
		span := points[from:min(from+width, len(points))]
		if slices.ContainsFunc(span, func(p RestatementPoint) bool { return p.Reads > 0 }) {
			spans = append(spans, span)
		}
	}
	return spans
}
