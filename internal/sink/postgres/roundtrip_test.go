package postgres

import (
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sink/sinktest"
)

// Through each of the ways that rows take: as slices that are small, that are
// copied directly, that are asked about.
func FuzzRoundTrip(f *testing.F) {
	sinktest.FuzzRoundTrip(f, harness(openSink), harness(chunks(1, time.Hour)), harness(chunks(1, 0)))
}
