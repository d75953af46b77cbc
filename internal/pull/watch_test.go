package pull

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// While the store copies what came before, a slice that waits for it is not stuck;
// once the store has nothing to do, it is.
func TestTimeOfTheStoreDoesNotCountAsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &run{Puller: &Puller{}}
		var clock sink.Clock
		clock.Start(sink.Copying)
		ctx, w := r.watch(t.Context(), &clock, &connector.UsageRecorder{})
		time.Sleep(5 * DefaultStuckAfter)
		if ctx.Err() != nil {
			t.Error("stuck while the store was busy")
		}
		clock.Stop(sink.Copying)
		time.Sleep(DefaultStuckAfter / 2)
		if ctx.Err() != nil {
			t.Error("stuck too soon after")
		}
		time.Sleep(DefaultStuckAfter)
		var stuck *Stuck
		if err := w.end(); !errors.As(err, &stuck) || stuck.After != DefaultStuckAfter {
			t.Errorf("got %v, want stuck", err)
		}
	})
}
