package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/pkg/connector"
)

// explained returns the plans of the statements of a session, from the log that
// auto_explain writes.
func explained(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	_, plans, _ := strings.Cut(server.Log(), "the plans that count")
	return plans
}

// Statistics that are older than the rows make the planner expect one row where
// there are thousands. A plan that compares each with each is then cheapest by
// its estimate, and takes minutes.
func TestMergeIsNotQuadraticWhereTheEstimateIsBad(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0", "autovacuum": "off",
	}})
	address := server.Database(t)
	s := prepared(t, address)
	earlier := attempt(1)
	earlier.Slice.Window.Since, earlier.Slice.Window.Until = day.Since.AddDate(0, 0, -1), day.Since
	w := begin(t, s, earlier)
	for id := range 2000 {
		if err := w.Record(fmt.Appendf(nil, `{"id":-%d,"user":"u","at":"2026-02-28T%02d:00:00Z"}`, id, id%24)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), connector.Usage{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	query(t, address, `ANALYZE shop."order"`) // before the day that follows
	land(t, s, 2, 0, 2000, "x")
	query(t, address, "SELECT 'the plans that count'")
	if counts := land(t, s, 3, 0, 1000, "x"); counts.Unchanged != 1000 || counts.Deleted != 1000 {
		t.Fatalf("%+v", counts)
	}
	plans := explained(t, server)
	if !strings.Contains(plans, "Delete on") {
		t.Fatalf("the deletion was not logged:\n%s", plans)
	}
	// A nested loop is fine over an index, and quadratic over the staged rows.
	for plan := range strings.SplitSeq(plans, "LOG:") {
		if loop := strings.Index(plan, "Nested Loop"); loop >= 0 && !strings.Contains(plan[loop:], "Index") {
			t.Error(plan)
		}
	}
}

func TestWritersOfOneTableDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := prepared(t, migrated.Database(t))
	const writers, rounds, rows = 4, 5, 500
	group, ctx := errgroup.WithContext(t.Context())
	for n := range writers {
		group.Go(func() error {
			for round := range rounds {
				a := attempt(int64(1 + n*rounds + round))
				a.Slice.Window.Since = day.Since.AddDate(0, 0, n)
				a.Slice.Window.Until = day.Until.AddDate(0, 0, n)
				w, err := s.Begin(ctx, a)
				if err != nil {
					return err
				}
				for i := range rows {
					id := i // the same keys, half of the writers in the opposite order
					if n%2 == 0 {
						id = rows - i
					}
					if err := w.Record(call(id, fmt.Sprint(n, round))); err != nil {
						return errors.Join(err, w.Close())
					}
				}
				_, err = w.Commit(ctx, connector.Usage{})
				if err := errors.Join(err, w.Close()); err != nil {
					return err
				}
				if _, err := s.Prepare(ctx, "shop", calls, ledger.SchemaEvolve); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestNoTransactionIsOpenWhileTheVendorIsSlow(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	w := begin(t, s, attempt(1)).(*writer)
	if err := w.Record(call(1, "x")); err != nil {
		t.Fatal(err)
	}
	s.brisk = 0
	if err := errors.Join(w.flush(t.Context(), w.fresh), w.wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	open := query(t, address, `SELECT state, application_name FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL OR application_name <> 'winch')`)
	if len(open) != 0 {
		t.Errorf("sessions with an open transaction or another name: %v", open)
	}
}

func TestTableIsDescribedAndPreparedOnce(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	snapshot := func() [][]string {
		return query(t, address, `SELECT c.relname, c.oid::text, c.xmin::text, pg_get_indexdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'shop' AND relkind IN ('r', 'i') ORDER BY relname`)
	}
	before := snapshot()
	if _, err := s.Prepare(t.Context(), "shop", calls, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, snapshot()); diff != "" {
		t.Errorf("the second Prepare changed the catalogue (-before +after):\n%s", diff)
	}
	columns := query(t, address, `SELECT attname, format_type(atttypid, atttypmod), attnotnull::text,
	COALESCE((SELECT collname FROM pg_collation l WHERE l.oid = attcollation), ''), (col_description(attrelid, attnum) IS NOT NULL)::text
FROM pg_attribute WHERE attrelid = 'shop."order"'::regclass AND attnum > 0 ORDER BY attnum`)
	want := [][]string{
		{"id", "bigint", "true", "", "false"},
		{"user", "text", "true", "C", "false"},
		{"at", "timestamp with time zone", "false", "", "false"},
		{"note", "text", "false", "default", "false"},
		{"_extra", "json", "false", "", "true"},
		{"_winch_run", "bigint", "true", "", "true"},
		{"_winch_seen_at", "timestamp with time zone", "true", "", "true"},
		{"_winch_hash", "bytea", "true", "", "true"},
		{"_deleted_at", "timestamp with time zone", "false", "", "true"},
	}
	if diff := cmp.Diff(want, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}
