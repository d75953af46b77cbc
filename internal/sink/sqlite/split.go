package sqlite

import (
	"context"
	"slices"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// PrepareSplit is Prepare, since SQLite cuts no tables. One whose rows were copied
// from a table that is cut keeps the key that they are told apart by.
func (s *Sink) PrepareSplit(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy, split ledger.Split) (connector.Stream, error) {
	if cut := sink.SplitKey(stream, split); !slices.Equal(cut.PrimaryKey, stream.PrimaryKey) {
		t := newTable(source, cut)
		rest, err := t.atRest(ctx, s.readers)
		if err != nil {
			return stream, fault(ctx, "prepare "+t.name, err)
		}
		if sameColumns(keyAtRest(rest), cut.PrimaryKey) {
			stream = cut
		}
	}
	return s.Prepare(ctx, source, stream, policy)
}
