package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sinktest"
	"github.com/winchdata/winch/internal/sink/sqlite"
)

func TestMain(m *testing.M) {
	becomeReader()
	sinktest.BecomeChild(open)
	os.Exit(m.Run())
}

func open(ctx context.Context, path string) (sink.Sink, error) {
	return sqlite.Open(ctx, path, sqlite.Options{})
}

func TestSink(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, harness)
}

func FuzzRoundTrip(f *testing.F) { sinktest.FuzzRoundTrip(f, harness) }

var harness = sinktest.Harness{
	Fresh: func(t testing.TB) string { return filepath.Join(t.TempDir(), "winch.db") },
	Open:  open,
	Rows:  rows,
	Hold:  hold,
	Newer: func(t testing.TB, path string) {
		exec(t, path, `INSERT INTO "winch.migrations" (version_id, is_applied) VALUES (9999, 1)`)
	},
}

// others are the connections of other, by path: one for each test's file.
var others sync.Map

// other opens the file as another program would.
func other(t testing.TB, path string) *sql.DB {
	t.Helper()
	if db, ok := others.Load(path); ok {
		return db.(*sql.DB)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	others.Store(path, db)
	t.Cleanup(func() {
		others.Delete(path)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func exec(t testing.TB, path, query string) {
	t.Helper()
	if _, err := other(t, path).Exec(query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// rows reads a table by what its columns are declared as.
func rows(t testing.TB, path, source, stream string, columns ...string) [][]string {
	t.Helper()
	query := fmt.Sprintf(`SELECT "%s" FROM "%s.%s"`, strings.Join(columns, `", "`), source, stream)
	found, err := other(t, path).Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	types, err := found.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for found.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = text(v)
			if flag, ok := v.(int64); ok && types[i].DatabaseTypeName() == "BOOLEAN" {
				row[i] = strconv.FormatBool(flag == 1)
			}
		}
		all = append(all, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return sinktest.Null
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return hex.EncodeToString(v)
	}
	return fmt.Sprint(v)
}

func TestOneAgentServesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	var agents [2]sink.Sink
	for i := range agents {
		s, err := open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		agents[i] = s
	}
	release, err := agents[0].Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var busy *sink.Busy
	if _, err := agents[1].Serve(t.Context()); !errors.As(err, &busy) || busy.Source != "" {
		t.Errorf("second: want a *sink.Busy of the store, got %v", err)
	}
	if _, _, err := agents[1].Lock(t.Context(), sink.Claim{Source: "shop_se"}); !errors.As(err, &busy) {
		t.Errorf("a pull beside: want a *sink.Busy, got %v", err)
	}
	release()
}

// hold keeps others from writing to the file, as another process's writer does.
func hold(t testing.TB, path, _, _ string) (release func()) {
	t.Helper()
	conn, err := other(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}
