package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

const indexesQuery = `SELECT indexdef, COALESCE((SELECT contype::text FROM pg_constraint WHERE conname = indexname), '') FROM pg_indexes WHERE schemaname = 'shop' ORDER BY 1`

// filling is a writer that has sent ten rows into the new table.
func filling(t *testing.T, s *Sink) *writer {
	t.Helper()
	s.brisk = time.Hour
	w := begin(t, s, attempt(1)).(*writer)
	write(t, w, 0, 10, "x")
	if err := errors.Join(w.flush(t.Context(), w.fresh), w.wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	if w.tx == nil || w.part.direct != 10 {
		t.Fatal("the chunk was not copied directly")
	}
	return w
}

func TestATableIsFirstFilledWithoutItsIndexes(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	exec(t, address, `CREATE INDEX "of mine" ON shop."order" (note DESC, id) WITH (fillfactor = 50) WHERE note <> 'y'`)
	before := query(t, address, indexesQuery)

	given := filling(t, s)
	if len(given.tx.bare.again) != len(before)-1 || !strings.Contains(given.tx.bare.later, "brin") {
		t.Errorf("of %q were dropped %+v", before, given.tx.bare)
	}
	_ = given.Close()
	if diff := cmp.Diff(before, query(t, address, indexesQuery)); diff != "" {
		t.Errorf("indexes after an attempt that was given up (-before +after):\n%s", diff)
	}

	w := filling(t, s)
	write(t, w, 5, 12, "y") // some of them again
	if !w.omit || w.fresh.marked || w.repeats.marked {
		t.Error("the rows carry what is the default in their table")
	}
	reader := make(chan string, 1)
	go func() { reader <- query(t, address, `SELECT count(*)::text FROM shop."order"`)[0][0] }()
	for query(t, address, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)[0][0] == "0" {
		time.Sleep(10 * time.Millisecond)
	}
	wantCommit(t, w, ledger.Counts{Rows: 12, Inserted: 12})
	if got := <-reader; got != "12" {
		t.Errorf("who waited for the table sees %s rows", got)
	}
	wantIndexes := func(when string, want [][]string) {
		t.Helper()
		if diff := cmp.Diff(want, query(t, address, indexesQuery)); diff != "" {
			t.Errorf("indexes %s (-want +got):\n%s", when, diff)
		}
	}
	wantIndexes("after the commit, but for the one on the time", slices.DeleteFunc(slices.Clone(before), func(index []string) bool {
		return strings.Contains(index[0], "brin")
	}))
	_ = begin(t, s, tomorrow(2)).Close()
	wantIndexes("when the next slice has begun", before)
	if got := query(t, address, `SELECT count(*)::text FROM shop."order" WHERE note = 'y'`)[0][0]; got != "7" {
		t.Errorf("%s of 7 rows are as they came last", got)
	}
	const unlike = `SELECT count(*) FILTER (WHERE (_winch_run, _winch_seen_at) IS DISTINCT FROM ($1::bigint, $2::timestamptz))::text FROM shop."order"`
	if got := query(t, address, unlike, w.attempt.Run, w.attempt.StartedAt)[0][0]; got != "0" {
		t.Errorf("%s rows do not have the mark of the attempt", got)
	}
	if got := query(t, address, `SELECT count(*)::text FROM pg_attrdef WHERE adrelid = 'shop."order"'::regclass`)[0][0]; got != "0" {
		t.Errorf("%s defaults are left", got)
	}
	exec(t, address, `TRUNCATE shop."order"`)
	if w := filling(t, s); len(w.tx.bare.again) > 0 {
		t.Error("a table that was emptied, and may be read, lost its indexes")
	}
}

func TestATableKeepsItsIndexes(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"on which something depends": `CREATE TABLE shop.notes ("user" text COLLATE "C", id bigint, FOREIGN KEY ("user", id) REFERENCES shop."order")`,
		"that order the table":       `ALTER TABLE shop."order" CLUSTER ON order_pkey`,
		"with defaults of its own":   `ALTER TABLE shop."order" ALTER _winch_run SET DEFAULT 7`,
		"that somebody described":    `COMMENT ON INDEX shop.order_pkey IS 'mine'`,
		"that identify to replicas":  `ALTER TABLE shop."order" REPLICA IDENTITY USING INDEX order_pkey`,
		"that are unique besides":    `CREATE UNIQUE INDEX ON shop."order" (id, at)`,
		"of what is computed":        `CREATE UNIQUE INDEX ON shop."order" ((id + 1), lower("user"))`,
		"whose text folds": `CREATE COLLATION shop.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			ALTER TABLE shop."order" ALTER COLUMN "user" TYPE text COLLATE shop.folded`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := migrated.Database(t)
			s := prepared(t, address)
			exec(t, address, sql)
			before := query(t, address, indexesQuery)
			w := filling(t, s)
			if diff := cmp.Diff(before, queryOn(t, w.conn.Conn(), indexesQuery)); diff != "" || len(w.tx.bare.again) > 0 {
				t.Errorf("indexes while it is filled (-before +while):\n%s", diff)
			}
			wantCommit(t, w, ledger.Counts{Rows: 10, Inserted: 10})
		})
	}
}

func TestATableThatIsReadKeepsItsIndexes(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT FROM shop."order"`); err != nil {
		t.Fatal(err)
	}
	w := filling(t, s)
	if len(w.tx.bare.again) > 0 {
		t.Error("the indexes were dropped under a reader")
	}
	wantCommit(t, w, ledger.Counts{Rows: 10, Inserted: 10})
	_ = conn.Close(t.Context())
}

// Rows that the table does not take by COPY are merged, with the key that a merge
// needs.
func TestATableThatTakesNoCopyGetsItsKeyBack(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	exec(t, address, `CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF position('COPY' in current_query()) > 0 THEN RAISE EXCEPTION 'no COPY' USING ERRCODE = 'feature_not_supported'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON shop."order" FOR EACH ROW EXECUTE FUNCTION shop.refuse()`)
	s.brisk, s.chunk = time.Hour, 1
	w := begin(t, s, attempt(1)).(*writer)
	write(t, w, 0, 10, "x")
	wantCommit(t, w, ledger.Counts{Rows: 10, Inserted: 10})
	if w.route != asked {
		t.Errorf("route %d", w.route)
	}
	if got := query(t, address, indexesQuery); len(got) != 2 {
		t.Errorf("indexes %v", got)
	}
}

// The index on the time that a first fill left to the next slice: the next run makes
// it if that slice never came, and it is not left where no run would.
func TestTheIndexOnTheTimeIsLeftToTheNextSlice(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	before := query(t, address, indexesQuery)
	wantCommit(t, filling(t, s), ledger.Counts{Rows: 10, Inserted: 10})
	if got := query(t, address, indexesQuery); len(got) != len(before)-1 {
		t.Fatalf("indexes %v", got)
	}
	again := prepared(t, address)
	if diff := cmp.Diff(before, query(t, address, indexesQuery)); diff != "" {
		t.Errorf("indexes after the next run began (-want +got):\n%s", diff)
	}
	_ = begin(t, s, tomorrow(2)).Close() // which the slice of another run finds done
	exec(t, address, `DROP TABLE shop."order"; DELETE FROM winch.slices`)
	if _, err := again.Prepare(t.Context(), "shop", calls, ledger.SchemaFreeze); err != nil {
		t.Fatal(err)
	}
	wantCommit(t, filling(t, again), ledger.Counts{Rows: 10, Inserted: 10})
	if diff := cmp.Diff(before, query(t, address, indexesQuery)); diff != "" {
		t.Errorf("indexes of a table that is not to be changed (-want +got):\n%s", diff)
	}
}

// A chunk whose rows do not carry the mark any more, and that the table does not
// take by COPY, is merged with the mark.
func TestALaterChunkIsMergedInstead(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	exec(t, address, `CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF position('COPY' in current_query()) > 0 THEN RAISE EXCEPTION 'no COPY' USING ERRCODE = 'feature_not_supported'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON shop."order" FOR EACH ROW WHEN (NEW.note = 'y') EXECUTE FUNCTION shop.refuse()`)
	w := filling(t, s)
	write(t, w, 10, 20, "y")
	if w.fresh.marked {
		t.Fatal("the rows carry their mark")
	}
	wantCommit(t, w, ledger.Counts{Rows: 20, Inserted: 20})
	if w.route != asked {
		t.Errorf("route %d", w.route)
	}
	const alike = `SELECT count(*)::text FROM shop."order" WHERE _winch_run = $1 AND _winch_seen_at = $2`
	if got := query(t, address, alike, w.attempt.Run, w.attempt.StartedAt)[0][0]; got != "20" {
		t.Errorf("%s of 20 rows have the mark of the attempt", got)
	}
}

// I6: a slice that has its table to itself holds up others of the table only, and
// these hold no connection.
func TestWriterWaitsWhileAnotherHasTheTableToItself(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	first := filling(t, s)
	if len(first.tx.bare.again) == 0 {
		t.Fatal("the table was not taken")
	}
	landed := make(chan error, 1)
	go func() {
		w, err := s.Begin(t.Context(), tomorrow(2))
		if err == nil {
			err = w.Record([]byte(`{"id":99,"user":"u","at":"2026-03-02T12:00:00Z"}`))
		}
		if err == nil {
			err = w.(*writer).flush(t.Context(), w.(*writer).fresh)
		}
		if err == nil {
			_, err = w.Commit(t.Context(), connector.Usage{})
			err = errors.Join(err, w.Close())
		}
		landed <- err
	}()
	for range 100 {
		if n := s.writers.Stat().AcquiredConns(); n != 1 {
			t.Fatalf("%d connections are in use", n)
		}
		time.Sleep(time.Millisecond)
	}
	wantCommit(t, first, ledger.Counts{Rows: 10, Inserted: 10})
	if err := <-landed; err != nil {
		t.Error(err)
	}
	if got := query(t, address, `SELECT count(*)::text FROM shop."order"`)[0][0]; got != "11" {
		t.Errorf("%s of 11 rows", got)
	}
	second := begin(t, s, tomorrow(3))
	third := begin(t, s, attempt(4)).(*writer)
	if third.gate.claim() {
		t.Error("a table was claimed that another writer has open")
	}
	_ = second.Close()
}
