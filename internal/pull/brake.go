package pull

import (
	"errors"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// brake is how many rows of a stream may vanish at once; nil for all.
func (r *run) brake(want ledger.Want) *ledger.Brake {
	switch {
	case r.job.AcceptVanished:
		return nil
	case want.Brake != nil:
		return want.Brake
	default:
		return &ledger.DefaultBrake
	}
}

// braked gives a commit that the brake refused its kind, and says what a person
// can do. It is tried once more, as any answer that cannot be right.
func braked(slice ledger.Slice, err error) error {
	var vanished *ledger.Vanished
	if !errors.As(err, &vanished) {
		return err
	}
	return &connector.Error{
		Kind: connector.KindBadResponse, Err: err,
		Hint: "if the vendor really dropped them: winch pull " + slice.Source + " --stream " + slice.Stream +
			" --accept-vanished, or set vanish_brake for the stream",
	}
}
