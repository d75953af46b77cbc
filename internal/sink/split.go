package sink

import (
	"context"
	"slices"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// Splitting is what a store does about tables that are cut into pieces by time.
type Splitting interface {
	// PrepareSplit is Prepare for a stream whose table is cut. The stream that it
	// returns then has the time column in its key, and a record without a time
	// cannot become a row. A table that is there and is not cut so is an error; none
	// is converted. A store that cuts no tables does what Prepare does.
	PrepareSplit(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy, split ledger.Split) (connector.Stream, error)
}

// SplitKey returns the stream as the rows of a cut table are told apart: by its key
// and the time.
func SplitKey(stream connector.Stream, split ledger.Split) connector.Stream {
	if split.Cuts(stream) && !slices.Contains(stream.PrimaryKey, stream.TimeColumn) {
		stream.PrimaryKey = append(slices.Clone(stream.PrimaryKey), stream.TimeColumn)
	}
	return stream
}
