package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// priced is a stream of most types with a key of text.
func priced(price connector.Type) connector.Stream {
	return connector.Stream{
		Name: "orders", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
		Description: "What was bought.",
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeText, Description: "Id."},
			{Name: "at", Type: connector.TypeTimestamp},
			{Name: "price", Type: price},
		},
	}
}

const ownColumns = `, _winch_run bigint NOT NULL, _winch_seen_at timestamptz NOT NULL, _winch_hash bytea NOT NULL, _extra json, _deleted_at timestamptz`

func TestTablesOfUsers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql   string
		fails []string   // parts of error and hint; none: it is used
		rows  [][]string // after o1 and o2 were read; nil: o1 and o2
	}{
		"rows that winch did not write": {
			`CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamp(3) with time zone, price integer);
			INSERT INTO shop.orders VALUES ('o1', '2026-03-01 10:00Z', 5), ('mine', '2026-04-01 10:00Z', 7)`, nil,
			[][]string{{"mine", "7", "0"}, {"o1", "5", "5"}, {"o2", "6", "5"}},
		},
		"types that widen":              {`CREATE TABLE shop.orders (id varchar(20) PRIMARY KEY, at timestamptz, price smallint)`, nil, nil},
		"a unique index as key":         {`CREATE TABLE shop.orders (n bigserial PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, at timestamptz, price bigint)`, nil, nil},
		"columns added by hand":         {`CREATE TABLE shop.orders (id text COLLATE "C" PRIMARY KEY, at timestamptz, price bigint, "mine ""é"" ` + strings.Repeat("x", 40) + `" text, d int NOT NULL DEFAULT 7, i int GENERATED ALWAYS AS IDENTITY, g bigint GENERATED ALWAYS AS (price * 2) STORED` + ownColumns + `)`, nil, nil},
		"partitioned by the key":        {`CREATE TABLE shop.orders (id text COLLATE "C" PRIMARY KEY, at timestamptz, price bigint` + ownColumns + `) PARTITION BY HASH (id); CREATE TABLE shop.orders_0 PARTITION OF shop.orders FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE shop.orders_1 PARTITION OF shop.orders FOR VALUES WITH (MODULUS 2, REMAINDER 1)`, nil, nil},
		"partitioned by time":           {`CREATE TABLE shop.orders (id text COLLATE "C", at timestamptz, price bigint` + ownColumns + `, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`, []string{"its primary key is (id, at), the stream declares (id)", "the key of a partitioned table holds the columns it is partitioned by"}, nil},
		"another key":                   {`CREATE TABLE shop.orders (uid text PRIMARY KEY, id text, at timestamptz, price bigint)`, []string{"its primary key is (uid), the stream declares (id)"}, nil},
		"a key of some rows":            {`CREATE TABLE shop.orders (id text NOT NULL, at timestamptz, price bigint); CREATE UNIQUE INDEX ON shop.orders (id) WHERE price > 0`, []string{"its primary key is (), the stream declares (id)"}, nil},
		"a key that may be null":        {`CREATE TABLE shop.orders (id text UNIQUE, at timestamptz, price bigint)`, []string{"column id of its key may be null", `ALTER COLUMN "id" SET NOT NULL`}, nil},
		"not null without default":      {`CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamptz, price bigint, mine text NOT NULL)`, []string{"column mine is not declared, must not be null and has no default", `ALTER COLUMN "mine" DROP NOT NULL`}, nil},
		"a generated column":            {`CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamptz, price bigint GENERATED ALWAYS AS (1) STORED)`, []string{"column price is generated"}, nil},
		"a view":                        {`CREATE VIEW shop.orders AS SELECT 'a' AS id`, []string{"there is a view of this name"}, nil},
		"a materialized view":           {`CREATE MATERIALIZED VIEW shop.orders AS SELECT 'a' AS id`, []string{"there is a materialized view of this name"}, nil},
		"a sequence":                    {`CREATE SEQUENCE shop.orders`, []string{"there is a sequence of this name"}, nil},
		"a type that narrows":           {`CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamptz, price text)`, []string{"column price is text, the stream declares bigint", `run ALTER TABLE "shop"."orders" ALTER COLUMN "price" TYPE bigint`}, nil},
		"an own column of another type": {`CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamptz, price bigint, _extra text)`, []string{"column _extra is text"}, nil},
		"a unique index by hand":        {`CREATE TABLE shop.orders (id text COLLATE "C" PRIMARY KEY, at timestamptz, price bigint); CREATE UNIQUE INDEX times ON shop.orders (at)`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := migrated.Database(t)
			s := open(t, address)
			query(t, address, "CREATE SCHEMA shop")
			exec(t, address, c.sql)
			stream, err := s.Prepare(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve)
			if c.fails != nil {
				wantMisfit(t, err, c.fails...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for run := int64(5); run < 7; run++ {
				landOrders(t, s, run, stream, `{"id":"o1","at":"2026-03-01T10:00:00Z","price":5}`, `{"id":"o2","at":"2026-03-01T11:00:00Z","price":"6"}`)
			}
			want := c.rows
			if want == nil {
				want = [][]string{{"o1", "5", "5"}, {"o2", "6", "5"}}
			}
			got := query(t, address, "SELECT id, price::text, _winch_run::text FROM shop.orders ORDER BY 1")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			// Once it fits, every policy leaves it alone.
			for _, policy := range []ledger.SchemaPolicy{ledger.SchemaFreeze, ledger.SchemaQuarantine} {
				if _, err := s.Prepare(t.Context(), "shop", priced(connector.TypeBigint), policy); err != nil {
					t.Errorf("%s: %v", policy, err)
				}
			}
		})
	}
}

// wantMisfit checks that a table cannot take the stream, and what error and hint
// say.
func wantMisfit(t *testing.T, err error, parts ...string) {
	t.Helper()
	var e *sink.Error
	if !errors.As(err, &e) || e.Fault != sink.FaultSchema {
		t.Fatalf("%v, want a *sink.Error of FaultSchema", err)
	}
	for _, part := range parts {
		if text := e.Error() + "; try " + e.Hint; !strings.Contains(text, part) || strings.Contains(text, "\n") {
			t.Errorf("%q does not say %q on one line", text, part)
		}
	}
}

func exec(t testing.TB, address, sql string) {
	t.Helper()
	conn := connect(t, address)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func landOrders(t *testing.T, s *Sink, run int64, stream connector.Stream, records ...string) ledger.Counts {
	t.Helper()
	w := begin(t, s, sink.Attempt{Run: run, Stream: stream, StartedAt: time.Now(), Slice: ledger.Slice{Source: "shop", Stream: stream.Name, Window: day}})
	for _, raw := range records {
		if err := w.Record([]byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := w.Commit(t.Context(), connector.Usage{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestAViewKeepsAColumnFromBeingWidened(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := open(t, address)
	prepare := func(price connector.Type) error {
		_, err := s.Prepare(t.Context(), "shop", priced(price), ledger.SchemaEvolve)
		return err
	}
	if err := prepare(connector.TypeBigint); err != nil {
		t.Fatal(err)
	}
	exec(t, address, `CREATE VIEW public."Mine" AS SELECT price FROM shop.orders; CREATE MATERIALIZED VIEW shop.totals AS SELECT sum(price) FROM shop.orders`)
	wantMisfit(t, prepare(connector.TypeNumeric), `column price is bigint, the stream declares numeric; it is used by public."Mine" and shop.totals`, `ALTER COLUMN "price" TYPE numeric`)
	// New columns do not disturb views.
	wider := priced(connector.TypeBigint)
	wider.Columns = append(slices.Clone(wider.Columns), connector.Column{Name: "city", Type: connector.TypeText, Description: "Where to."})
	if _, err := s.Prepare(t.Context(), "shop", wider, ledger.SchemaEvolve); err != nil {
		t.Error(err)
	}
	if got := readComment(t, address, "shop", "orders", "city"); got != "Where to." {
		t.Errorf("comment %q", got)
	}
	exec(t, address, `DROP VIEW public."Mine"; DROP MATERIALIZED VIEW shop.totals`)
	if err := prepare(connector.TypeNumeric); err != nil {
		t.Error(err)
	}
}

// A text key that somebody made by the database's collation cannot be compared
// with staged text.
func TestPoliciesLeaveAKeyOfAnotherCollationAlone(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := open(t, address)
	exec(t, address, `CREATE SCHEMA shop; CREATE TABLE shop.orders (id text PRIMARY KEY, at timestamptz, price bigint`+ownColumns+`)`)
	for _, policy := range []ledger.SchemaPolicy{ledger.SchemaFreeze, ledger.SchemaQuarantine} {
		_, err := s.Prepare(t.Context(), "shop", priced(connector.TypeBigint), policy)
		wantMisfit(t, err, `column id is text COLLATE "default", the stream declares text COLLATE "C"`, `TYPE text COLLATE "C"`)
	}
}

// What a constraint of a user refuses is told as such, and not tried again.
func TestConstraintsOfUsersAreTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql   string
		fails []string
	}{
		"not null":        {`ALTER TABLE shop.orders ALTER COLUMN price SET NOT NULL`, []string{`null value in column "price"`}},
		"check":           {`ALTER TABLE shop.orders ADD CHECK (at > '2030-01-01')`, []string{"violates check constraint"}},
		"unique":          {`CREATE UNIQUE INDEX by_time ON shop.orders (at)`, []string{"by_time"}},
		"foreign key":     {`CREATE TABLE shop.days (at timestamptz PRIMARY KEY); ALTER TABLE shop.orders ADD FOREIGN KEY (at) REFERENCES shop.days`, []string{"violates foreign key constraint"}},
		"no partition":    {`DROP TABLE shop.orders; CREATE TABLE shop.orders (id text COLLATE "C" PRIMARY KEY, at timestamptz, price bigint` + ownColumns + `) PARTITION BY HASH (id)`, []string{`no partition of relation "orders" found`}},
		"a column narrow": {`ALTER TABLE shop.orders ADD COLUMN mine text NOT NULL DEFAULT NULL`, []string{`null value in column "mine"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := migrated.Database(t)
			s := open(t, address)
			stream, err := s.Prepare(t.Context(), "shop", priced(connector.TypeBigint), ledger.SchemaEvolve)
			if err != nil {
				t.Fatal(err)
			}
			exec(t, address, c.sql)
			w := begin(t, s, sink.Attempt{Run: 1, Stream: stream, StartedAt: time.Now(), Slice: ledger.Slice{Source: "shop", Stream: "orders", Window: day}})
			for _, id := range []string{"a", "b"} {
				if err := w.Record([]byte(`{"id":"` + id + `","at":"2026-03-01T10:00:00Z"}`)); err != nil {
					t.Fatal(err)
				}
			}
			_, err = w.Commit(t.Context(), connector.Usage{})
			wantMisfit(t, err, c.fails...)
		})
	}
}
