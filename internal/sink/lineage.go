package sink

import (
	"context"
	"time"
)

// A Dataset is a table as OpenLineage names it.
type Dataset struct {
	Namespace string
	Name      string
	URI       string // of the store: never with a user or a password
}

// A LostLineage is a run whose agent died after a receiver of lineage was told
// that it began.
type LostLineage struct {
	Run       int64
	Trigger   string
	StartedAt time.Time
	Streams   []string // that had begun; "" is the run as a whole
}

// Lineage keeps which runs a receiver of lineage was told the beginning of, and not
// yet the end, so that the end is told once, also of a run whose agent died.
type Lineage interface {
	// BeginLineage records that the beginning of streams of a run is told; "" is the
	// run as a whole.
	BeginLineage(ctx context.Context, run int64, streams ...string) error
	// EndLineage forgets the run and returns what had begun of it. Who gets it tells
	// the end.
	EndLineage(ctx context.Context, run int64) (streams []string, err error)
	// LoseLineage is EndLineage of the source's runs that are Lost, the oldest first.
	LoseLineage(ctx context.Context, source string) ([]LostLineage, error)
	// Dataset names the table of a stream.
	Dataset(source, stream string) Dataset
}
