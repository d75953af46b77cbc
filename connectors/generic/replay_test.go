package generic

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fuuffy"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func TestReplayGivesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	served := sandboxtest.Start(t, "generic", sandbox.Options{Fuuffy: simulated.Options{PerMinute: 100_000, PerHour: 1_000_000}}, nil)
	counts := connectortest.Replay(t, connectortest.Replayed{
		Definition: Definition(), Settings: served.Config, Vanish: served.Stop,
		Pulls: func(_ context.Context, _ connector.Source, st connector.Stream) ([]connector.Request, error) {
			return requests(st, served.Box), nil
		},
	})
	for _, name := range []string{"orders", "order_details", "country_divisions"} {
		if counts[name] == 0 {
			t.Errorf("%s: nothing was recorded", name)
		}
	}
}

// While a cassette is replayed, nobody waits for what a vendor asked to wait for.
func TestReplayDoesNotWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "empty.jsonl")
	recorder, err := cassette.Record(path, cassette.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(cassette.With(t.Context(), player), longestWait/2)
	defer cancel()
	closed := &gate{until: time.Now().Add(longestWait - time.Second)}
	if err := closed.wait(ctx); err != nil {
		t.Errorf("waited: %v", err)
	}
}
