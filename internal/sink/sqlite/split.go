package sqlite

import (
	"context"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// PrepareSplit is Prepare: SQLite cuts no tables.
func (s *Sink) PrepareSplit(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy, _ ledger.Split) (connector.Stream, error) {
	return s.Prepare(ctx, source, stream, policy)
}
