package ledger

// A Reread sums what reading windows again found, of all reads that came at the
// same ages.
type Reread struct {
	// Before and Age are the window's ages, in whole units, at the read before and
	// at this one.
	Before, Age int
	Reads       int64
	Counts      Counts
}
