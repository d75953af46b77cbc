package pull

import (
	"errors"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A badCursor is the error of an attempt that its connector ended, before the
// first record, as wrongly configured although it only had to go on: it does not
// understand the cursor (P7), which is this slice's trouble and no other's.
type badCursor struct{ err *connector.Error }

func (e *badCursor) Error() string { return e.err.Error() }
func (e *badCursor) Unwrap() error { return e.err }

// cursorRefused recognizes a cursor that is not understood and says how to start
// over, which never happens by itself. Where it is the configuration after all,
// slices that begin at their beginning say so too, and end the run.
func cursorRefused(a sink.Attempt, records int64, err error) error {
	if !a.Resumed || records > 0 || connector.KindOf(err) != connector.KindConfig {
		return err
	}
	return &badCursor{&connector.Error{
		Kind: connector.KindConfig, Err: err,
		Hint: "to read it again from its beginning: winch pull " + a.Slice.Source + " --stream " + a.Slice.Stream + " --from-beginning",
	}}
}

// isBadCursor reports whether the slice's cursor alone is at fault.
func isBadCursor(err error) bool {
	var bad *badCursor
	return errors.As(err, &bad)
}
