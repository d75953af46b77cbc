package contentsquare

import (
	"context"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/contentsquare"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

// The files of exports, which the downloader fetches by itself, are replayed too.
func TestReplayGivesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	served := sandboxtest.Start(t, "contentsquare", sandbox.Options{}, nil)
	counts := connectortest.Replay(t, connectortest.Replayed{
		Definition: Definition(), Settings: served.Config, Vanish: served.Stop,
		Pulls: func(ctx context.Context, src connector.Source, st connector.Stream) ([]connector.Request, error) {
			return slicesOf(ctx, src, st, served.Box.AsOf(), 0)
		},
	})
	for _, name := range []string{"projects", "segments", "site_metrics", "export_runs", simulated.SessionsExport, simulated.ViewsExport} {
		if counts[name] == 0 {
			t.Errorf("%s: nothing was recorded", name)
		}
	}
}
