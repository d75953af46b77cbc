package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A newer agent migrates by adding (see CONTRIBUTING.md). An older one that works
// meanwhile, with statements prepared and leases held, goes on.
func TestAgentGoesOnWhileANewerOneMigrates(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	held := hold(t, s, sink.Claim{Source: "shop"})
	work := func(note string) {
		t.Helper()
		run, err := s.StartRun(t.Context(), sink.Run{Source: "shop", Connector: "shop", Trigger: "pull", StartedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if counts := land(t, s, run, 0, 5, note); counts.Rows != 5 {
			t.Errorf("%s: landed %+v", note, counts)
		}
		if err := s.Fail(t.Context(), attempt(run), connector.Usage{}, errors.New("no answer")); err != nil {
			t.Error(err)
		}
		if err := s.FinishRun(t.Context(), run, sink.RunEnd{EndedAt: time.Now().Add(time.Minute), Outcome: sink.Incomplete}); err != nil {
			t.Error(err)
		}
		if _, _, err := s.RunByID(t.Context(), run); err != nil {
			t.Error(err)
		}
		if _, err := s.Entries(t.Context(), ""); err != nil {
			t.Error(err)
		}
		if agents, err := s.Agents(t.Context()); err != nil || len(agents) != 1 || len(agents[0].Holds) != 1 {
			t.Errorf("%s: agents %+v, error %v", note, agents, err)
		}
		_, release, err := s.Lock(t.Context(), sink.Claim{Source: "other"})
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	work("before")
	w := begin(t, s, attempt(1)) // a slice that is being read
	if err := w.Record(call(1, "meanwhile")); err != nil {
		t.Fatal(err)
	}
	for _, table := range query(t, address, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'winch' AND tablename <> 'schema_version' ORDER BY 1") {
		query(t, address, `ALTER TABLE winch."`+table[0]+`" ADD COLUMN newer text, ADD COLUMN newest bigint NOT NULL DEFAULT 0`)
	}
	query(t, address, "INSERT INTO winch.schema_version (version_id, is_applied) VALUES (9999, true)")
	if _, err := w.Commit(t.Context(), connector.Usage{}); err != nil {
		t.Error(err)
	}
	work("after")
	if held.Err() != nil {
		t.Error("the source was lost:", held.Err())
	}
	// One that starts now is too old.
	late, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()
	_, err = late.Migrate(t.Context())
	wantFault(t, err, sink.FaultVersion, "this program knows up to", "upgrade")
}
