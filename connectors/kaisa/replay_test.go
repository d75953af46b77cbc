package kaisa

import (
	"context"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func TestReplayGivesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	served := sandboxtest.Start(t, "kaisa", sandbox.Options{}, nil)
	counts := connectortest.Replay(t, connectortest.Replayed{
		Definition: Definition(), Settings: served.Config, Vanish: served.Stop,
		Pulls: func(_ context.Context, _ connector.Source, st connector.Stream) ([]connector.Request, error) {
			return slicesOf(st, served.Box.AsOf()), nil
		},
	})
	for _, name := range []string{"customers", "cdrs_in", "campaigns", "callbacks"} {
		if counts[name] == 0 {
			t.Errorf("%s: nothing was recorded", name)
		}
	}
}
