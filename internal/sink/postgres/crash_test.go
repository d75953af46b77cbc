package postgres

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// toBeKilled are settings of a server that leaves nothing behind in the system's
// shared memory when it is killed and not started again.
var toBeKilled = map[string]string{"dynamic_shared_memory_type": "mmap"}

// I1, I7
func TestServerKilledDuringCopyLeavesTheSliceAsItWas(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Durable: true, Settings: toBeKilled})
	address := server.Database(t)
	s := prepared(t, address)
	land(t, s, 1, 0, 100, "before")
	w := begin(t, s, attempt(2))
	var err error
	for id := 0; err == nil && id < 5_000_000; id++ {
		if id == 100_000 { // a first chunk has gone, a second is under way
			server.Kill(t)
		}
		err = w.Record(call(id, "after"))
	}
	wantRetryable(t, err)
	_, err = w.Commit(t.Context(), connector.Usage{})
	wantRetryable(t, err)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	server.Restart(t)
	wantBefore(t, s, address)
	if counts := land(t, s, 3, 0, 100, "after"); counts.Updated != 100 {
		t.Errorf("the next attempt: %+v", counts)
	}
}

// I1, I7
func TestServerKilledDuringCommitLeavesTheSliceAsItWas(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Durable: true, Settings: toBeKilled})
	address := server.Database(t)
	s := prepared(t, address)
	land(t, s, 1, 0, 100, "before")
	w := begin(t, s, attempt(2))
	for id := 50; id < 150; id++ {
		if err := w.Record(call(id, "after")); err != nil {
			t.Fatal(err)
		}
	}
	// The rows are merged and the ledger is about to be written: it is locked.
	blocker, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocker.Close(t.Context()) }()
	if _, err := blocker.Exec(t.Context(), "BEGIN; LOCK TABLE winch.slices IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() {
		_, err := w.Commit(t.Context(), connector.Usage{})
		committed <- err
	}()
	for query(t, address, "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 'winch.slices'::regclass")[0][0] == "0" {
		select {
		case err := <-committed:
			t.Fatalf("the commit passed the locked ledger, error %v", err)
		default:
		}
	}
	server.Kill(t)
	wantRetryable(t, <-committed)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	server.Restart(t)
	wantBefore(t, s, address)
	if counts := land(t, s, 3, 50, 150, "after"); counts.Updated != 50 || counts.Inserted != 50 || counts.Deleted != 50 {
		t.Errorf("the next attempt: %+v", counts)
	}

	// What was committed survives.
	server.Kill(t)
	server.Restart(t)
	if got := query(t, address, `SELECT count(*)::text, min(note), max(note) FROM shop."order"`)[0]; cmp.Diff([]string{"100", "after", "after"}, got) != "" {
		t.Errorf("after the commit: %v", got)
	}
}

func wantRetryable(t *testing.T, err error) {
	t.Helper()
	var e *sink.Error
	if !errors.As(err, &e) || e.Fault != sink.FaultUnreachable || !e.Retryable() {
		t.Errorf("want an error worth a retry, got %v", err)
	}
}

// wantBefore checks that rows and ledger are as the first run left them. The
// pool's connections are those of the dead server, so the first calls may fail.
func wantBefore(t *testing.T, s *Sink, address string) {
	t.Helper()
	if got := query(t, address, `SELECT count(*)::text, min(note), max(note), max(_winch_run)::text FROM shop."order"`)[0]; cmp.Diff([]string{"100", "before", "before", "1"}, got) != "" {
		t.Errorf("rows: %v", got)
	}
	var entries []ledger.Entry
	err := errors.New("not asked yet")
	for range statementConns + 1 {
		if entries, err = s.Entries(t.Context(), "shop"); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Run != 1 || entries[0].State != ledger.Held || entries[0].Counts.Rows != 100 {
		t.Errorf("ledger: %+v", entries)
	}
}
