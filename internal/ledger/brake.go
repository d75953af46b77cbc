package ledger

import (
	"fmt"

	"github.com/winchdata/winch/pkg/connector"
)

// A Brake refuses a commit by which too many rows would vanish: a vendor that
// answers with an empty list, or with another account's, is taken for a failure.
type Brake struct {
	// Share is the largest share of the rows that may vanish; 1 lets all vanish.
	Share float64
	// Rows is how many must vanish at least for the brake to hold: a stream of a
	// few rows may change as it likes.
	Rows int64
}

// DefaultBrake is the brake of a stream that has no other.
var DefaultBrake = Brake{Share: 0.3, Rows: 20}

// A Vanished is the error of a commit that the brake refused. Nothing of it was
// written.
type Vanished struct {
	Rows, Of int64 // how many of how many would vanish
	Mode     connector.Mode
	Share    float64 // the brake's
}

func (v *Vanished) Error() string {
	percent := 100 * float64(v.Rows) / float64(v.Of)
	what := fmt.Sprintf("%d of %d rows (%.0f%%) are no longer reported", v.Rows, v.Of, percent)
	if v.Mode == connector.ModeWindow {
		what = fmt.Sprintf("the window came back with %d rows fewer than the %d that are held (%.0f%%)", v.Rows, v.Of, percent)
	}
	return fmt.Sprintf("%s, more than the brake's %.4g%%: nothing was changed", what, 100*v.Share)
}

// Hold returns a *Vanished if the counts of an attempt are beyond the brake. A nil
// brake lets everything pass.
//
// Of a snapshot the vanished rows count, whatever came in their place: another
// account's rows are not the vendor's change. Of a window the loss counts, rows
// that are gone less those that are new, since a restatement may give the rows of
// a day other keys.
func (b *Brake) Hold(mode connector.Mode, c Counts) error {
	if b == nil {
		return nil
	}
	before := c.Deleted + c.Rows - c.Inserted // at rest until now
	lost := c.Deleted
	if mode == connector.ModeWindow {
		lost -= c.Inserted
	}
	if lost <= 0 || lost < b.Rows || float64(lost) <= b.Share*float64(before) {
		return nil
	}
	return &Vanished{Rows: lost, Of: before, Mode: mode, Share: b.Share}
}
