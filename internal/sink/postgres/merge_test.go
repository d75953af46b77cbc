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

// Without statistics the planner takes a few staged rows for many, and reads all of
// the table to update them.
func TestAFewChangedRowsAreLookedUp(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0", "autovacuum": "off",
	}})
	address := server.Database(t)
	s := prepared(t, address)
	land(t, s, 1, 0, 20_000, "x")
	query(t, address, `VACUUM ANALYZE shop."order"`)
	query(t, address, "SELECT 'the plans that count'")
	a := attempt(2)
	a.Resumed = true // or the others would vanish
	w := begin(t, s, a)
	write(t, w, 0, 20, "y")
	if counts, err := w.Commit(t.Context(), connector.Usage{}); err != nil || counts.Updated != 20 {
		t.Fatalf("%+v, %v", counts, err)
	}
	plans := explained(t, server)
	_, update, found := strings.Cut(plans, "Update on")
	update, _, _ = strings.Cut(update, "LOG:")
	if !found || strings.Contains(update, `Seq Scan on "order"`) {
		t.Errorf("the update reads the whole table:\n%s", update)
	}
}

func TestWritersOfOneTableDoNotDeadlock(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	agents := []*Sink{prepared(t, address), open(t, address)} // which share the server's lock alone
	const writers, rounds, rows = 4, 5, 500
	group, ctx := errgroup.WithContext(t.Context())
	for n := range writers {
		s := agents[n/2]
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

// Rows of a table that winch did not fill lie in any order. A window's are found all
// the same without reading the table.
func TestAWindowOfAnAdoptedTableIsFoundByItsTime(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := open(t, address)
	exec(t, address, "CREATE SCHEMA shop")
	exec(t, address, `CREATE TABLE shop.orders (id text COLLATE "C" PRIMARY KEY, at timestamptz, price bigint)`)
	exec(t, address, `INSERT INTO shop.orders SELECT 'o' || n, '2024-01-01Z'::timestamptz + n * 7919 % 1000 * interval '1 day', n FROM generate_series(1, 50000) n`)
	stream, err := s.Prepare(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, address, "ANALYZE shop.orders")
	var pages, read int
	table := newTable("shop", stream)
	sql := table.countScope()
	for i, value := range []string{"1", "'2026-01-01'", "''", "'2026-03-01Z'", "'2026-03-02Z'"} {
		sql = strings.ReplaceAll(sql, fmt.Sprint("$", i+1), value)
	}
	conn := connect(t, address)
	defer func() { _ = conn.Close(t.Context()) }()
	const blocks = "SELECT pg_relation_size('shop.orders') / 8192, pg_stat_get_xact_blocks_fetched('shop.orders'::regclass)"
	for _, statement := range []string{"BEGIN", sql} {
		queryOn(t, conn, statement)
	}
	if err := conn.QueryRow(t.Context(), blocks).Scan(&pages, &read); err != nil {
		t.Fatal(err)
	}
	if read == 0 || read > pages/4 {
		t.Errorf("%d pages of %d were read for 50 rows", read, pages)
	}
	// What it lands is what it replaces.
	landOrders(t, s, 1, stream, `{"id":"new","at":"2026-03-01T10:00:00Z","price":5}`)
	if got := query(t, address, "SELECT count(*)::text, count(*) FILTER (WHERE at >= '2026-03-01Z' AND at < '2026-03-02Z')::text FROM shop.orders")[0]; got[0] != "49951" || got[1] != "1" {
		t.Errorf("rows, and of the window: %v, want 49951 and 1", got)
	}
}
