package fospha

import (
	"context"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fospha"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func TestReplayGivesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	served := sandboxtest.Start(t, "fospha", world(sandbox.Options{Fospha: simulated.Options{MaxPage: 7}}), nil)
	counts := connectortest.Replay(t, connectortest.Replayed{
		Definition: Definition(), Settings: served.Config, Vanish: served.Stop,
		Pulls: func(_ context.Context, _ connector.Source, st connector.Stream) (all []connector.Request, err error) {
			until := served.Box.AsOf().Truncate(24 * time.Hour)
			for _, brand := range []string{"SANDBOX_BRAND_A", "SANDBOX_BRAND_B"} {
				for day := until.AddDate(0, 0, -5); day.Before(until); day = st.Slice.After(day) {
					all = append(all, connector.Request{
						Stream: st.Name, Partition: brand, Window: connector.Window{Since: day, Until: st.Slice.After(day)},
					})
				}
			}
			return all, nil
		},
	})
	if counts["performance_daily"] < 8 {
		t.Errorf("%d records: not even two pages", counts["performance_daily"])
	}
}
