package sqlite_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// priced is notes with a price.
func priced(typ connector.Type) connector.Stream {
	stream := notes
	stream.Columns = append(slices.Clone(notes.Columns), connector.Column{Name: "price", Type: typ})
	return stream
}

func TestTablesOfUsers(t *testing.T) {
	t.Parallel()
	const own = `, _winch_run INTEGER NOT NULL, _winch_seen_at TIMESTAMPTZ_TEXT NOT NULL, _winch_hash BLOB NOT NULL, _extra JSON_TEXT, _deleted_at TIMESTAMPTZ_TEXT`
	for name, c := range map[string]struct {
		sql   string
		fails []string // parts of the error; none: it is used as it is
	}{
		"rows that winch did not write": {`CREATE TABLE "shop_no.notes" (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO "shop_no.notes" VALUES (1, 'mine'), (2, 'theirs')`, nil},
		"columns added by hand":         {`CREATE TABLE "shop_no.notes" (id INTEGER PRIMARY KEY, note TEXT, "mine ""é""" TEXT, n NOT NULL DEFAULT 7, twice AS (id * 2)` + own + `)`, nil},
		"another case":                  {`CREATE TABLE "shop_no.notes" (ID INTEGER PRIMARY KEY, NOTE text` + own + `)`, nil},
		"not null without default":      {`CREATE TABLE "shop_no.notes" (id INTEGER PRIMARY KEY, note TEXT, mine TEXT NOT NULL` + own + `)`, []string{"column mine is not declared, must not be null and has no default"}},
		"a generated column":            {`CREATE TABLE "shop_no.notes" (id INTEGER PRIMARY KEY, note TEXT AS ('x')` + own + `)`, []string{"column note is generated"}},
		"another key":                   {`CREATE TABLE "shop_no.notes" (id INTEGER, note TEXT PRIMARY KEY` + own + `)`, []string{"the primary key is (note), the stream declares (id)"}},
		"no key":                        {`CREATE TABLE "shop_no.notes" (id INTEGER, note TEXT` + own + `)`, []string{"the primary key is (), the stream declares (id)"}},
		"a view":                        {`CREATE VIEW "shop_no.notes" AS SELECT 1 AS id, 'x' AS note`, []string{"there is a view of this name"}},
		"another type":                  {`CREATE TABLE "shop_no.notes" (id INTEGER PRIMARY KEY, note VARCHAR(9)` + own + `)`, []string{"column note is VARCHAR(9), the stream declares TEXT"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "winch.db")
			s := ready(t, path, sqlite.Options{})
			exec(t, path, c.sql)
			stream, err := s.Prepare(t.Context(), "shop_no", notes, ledger.SchemaEvolve)
			if c.fails != nil {
				wantFault(t, err, sink.FaultSchema, c.fails...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w, err := s.Begin(t.Context(), sink.Attempt{Run: 5, Stream: stream, Slice: ledger.Slice{Source: "shop_no", Stream: "notes"}, StartedAt: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range []string{`{"id":1,"note":"mine"}`, `{"id":3,"note":"new"}`} {
				if err := w.Record([]byte(raw)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.Commit(t.Context(), connector.Usage{}); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got := rows(t, path, "shop_no", "notes", "id", "note", "_winch_run")
			if !slices.ContainsFunc(got, func(r []string) bool { return slices.Equal(r, []string{"3", "new", "5"}) }) {
				t.Errorf("rows %v", got)
			}
			if name == "rows that winch did not write" {
				want := [][]string{{"1", "mine", "5"}, {"2", "theirs", "0"}, {"3", "new", "5"}}
				if !slices.EqualFunc(got, want, slices.Equal) {
					t.Errorf("rows %v, want %v", got, want)
				}
			}
		})
	}
}

func TestWhatUsesAColumnKeepsItFromBeingWidened(t *testing.T) {
	t.Parallel()
	for what, make := range map[string]string{
		"view":  `CREATE VIEW prices AS SELECT price FROM "shop_se.notes"`,
		"index": `CREATE INDEX prices ON "shop_se.notes" (price)`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "winch.db")
			s := ready(t, path, sqlite.Options{})
			if _, err := s.Prepare(t.Context(), "shop_se", priced(connector.TypeBigint), ledger.SchemaEvolve); err != nil {
				t.Fatal(err)
			}
			exec(t, path, make)
			_, err := s.Prepare(t.Context(), "shop_se", priced(connector.TypeNumeric), ledger.SchemaEvolve)
			wantFault(t, err, sink.FaultSchema, "prices", "DROP COLUMN")
			exec(t, path, "DROP "+strings.ToUpper(what)+" prices")
			if _, err := s.Prepare(t.Context(), "shop_se", priced(connector.TypeNumeric), ledger.SchemaEvolve); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAKeyIsNotWidened(t *testing.T) {
	t.Parallel()
	s := ready(t, filepath.Join(t.TempDir(), "winch.db"), sqlite.Options{})
	wide := notes
	wide.Columns = slices.Clone(notes.Columns)
	wide.Columns[0].Type = connector.TypeNumeric
	_, err := s.Prepare(t.Context(), "shop_se", wide, ledger.SchemaEvolve)
	wantFault(t, err, sink.FaultSchema, "SQLite cannot change the type of a key")
}
