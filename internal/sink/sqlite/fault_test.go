package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// fullDisk is part of the path of files whose disk is full beyond 200 pages.
const fullDisk = "full-disk"

func init() {
	driver.RegisterConnectionHook(func(conn driver.ExecQuerierContext, dsn string) error {
		if !strings.Contains(dsn, fullDisk) {
			return nil
		}
		_, err := conn.ExecContext(context.Background(), "PRAGMA max_page_count = 200", nil)
		return err
	})
}

var notes = connector.Stream{
	Name: "notes", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
	Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "note", Type: connector.TypeText}},
}

func ready(t *testing.T, path string, o sqlite.Options) *sqlite.Sink {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(t.Context(), "shop_se", notes, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	return s
}

// land writes so many notes.
func land(t *testing.T, s *sqlite.Sink, run int64, rows int) (err error) {
	t.Helper()
	w, err := s.Begin(t.Context(), sink.Attempt{
		Run: run, Stream: notes, StartedAt: time.Now(), Slice: ledger.Slice{Source: "shop_se", Stream: "notes"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for i := range rows {
		if err := w.Record(fmt.Appendf(nil, `{"id":%d,"note":"%0200d"}`, i, i)); err != nil {
			return err
		}
	}
	_, err = w.Commit(t.Context(), connector.Usage{})
	return err
}

// wantFault checks an error that a person is to read.
func wantFault(t *testing.T, err error, want sink.Fault, parts ...string) {
	t.Helper()
	var fault *sink.Error
	if !errors.As(err, &fault) {
		t.Fatalf("want a *sink.Error, got %v", err)
	}
	if fault.Fault != want || fault.Hint == "" {
		t.Errorf("want fault %d with a hint, got %d with %q: %v", want, fault.Fault, fault.Hint, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+" | "+fault.Hint, part) {
			t.Errorf("%q is not in %q, hint %q", part, err, fault.Hint)
		}
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("Dear diary, today I learned about file headers.\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		fault sink.Fault
		parts []string
	}{
		{filepath.Join(dir, "not", "there", "winch.db"), sink.FaultDenied, []string{"directory does not exist", "mkdir -p " + filepath.Join(dir, "not", "there")}},
		{text, sink.FaultOther, []string{"file is not a database", "choose another path"}},
		{dir, sink.FaultDenied, []string{"unable to open"}},
		{filepath.Join(text, "winch.db"), sink.FaultDenied, []string{"unable to open"}},
	} {
		s, err := sqlite.Open(t.Context(), c.path, sqlite.Options{})
		if err == nil {
			err = s.Close()
		}
		wantFault(t, err, c.fault, append(c.parts, "open "+c.path)...)
	}
}

func TestPathsMayHoldAnyCharacter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "50% of #1? å&b=c;d.db")
	s := ready(t, path, sqlite.Options{})
	if err := land(t, s, 1, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil || s.Location() != path {
		t.Errorf("location %s: %v", s.Location(), err)
	}
}

func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	s := ready(t, filepath.Join(t.TempDir(), fullDisk+".db"), sqlite.Options{})
	if err := land(t, s, 1, 100); err != nil {
		t.Fatal(err)
	}
	wantFault(t, land(t, s, 2, 5000), sink.FaultFull, "commit shop_se.notes", "free space")
	if n := len(rows(t, s.Location(), "shop_se", "notes", "id")); n != 100 {
		t.Errorf("want the 100 rows of before, got %d", n)
	}
	entries, err := s.Entries(t.Context(), "")
	if err != nil || len(entries) != 1 || entries[0].Run != 1 || entries[0].Counts.Rows != 100 {
		t.Errorf("ledger %+v, error %v", entries, err)
	}
	if err := land(t, s, 3, 100); err != nil {
		t.Errorf("what fits no longer lands: %v", err)
	}
}

// I1
func TestRowsDoNotLandWithoutTheirLedgerRow(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"winch.slices", "winch.reads"} {
		path := filepath.Join(t.TempDir(), "winch.db")
		s := ready(t, path, sqlite.Options{})
		exec(t, path, fmt.Sprintf(`CREATE TRIGGER refuse BEFORE INSERT ON "%s" BEGIN SELECT RAISE(ABORT, 'refused'); END`, table))
		if err := land(t, s, 1, 10); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: got %v", table, err)
		}
		exec(t, path, `DROP TRIGGER refuse`)
		entries, err := s.Entries(t.Context(), "")
		if n := len(rows(t, path, "shop_se", "notes", "id")); n != 0 || len(entries) != 0 || err != nil {
			t.Errorf("%s: %d rows, ledger %v, error %v", table, n, entries, err)
		}
	}
}

func TestAReadOnlyFileIsReadAndNotWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	s := ready(t, path, sqlite.Options{})
	if err := land(t, s, 1, 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A file whose header says that it takes a newer SQLite to write it is
	// read-only for everybody, also for root: https://sqlite.org/fileformat.html
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{3}, 18); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	s = ready(t, path, sqlite.Options{})
	if entries, err := s.Entries(t.Context(), ""); err != nil || len(entries) != 1 {
		t.Errorf("ledger %v, error %v", entries, err)
	}
	wantFault(t, land(t, s, 2, 20), sink.FaultReadOnly, "commit shop_se.notes", "writable")
	_, err = s.StartRun(t.Context(), sink.Run{Source: "shop_se", StartedAt: time.Now()})
	wantFault(t, err, sink.FaultReadOnly, "record start of a run of shop_se")
}

func TestAFileThatAnotherProgramWritesIsWorthARetry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	s := ready(t, path, sqlite.Options{Patience: time.Millisecond})
	conn, err := other(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	err = land(t, s, 1, 10)
	wantFault(t, err, sink.FaultTransient, "another program writes")
	var fault *sink.Error
	if errors.As(err, &fault) && !fault.Retryable() {
		t.Error("not retryable")
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := land(t, s, 1, 10); err != nil {
		t.Error(err)
	}
}

func TestTheHolderOfAFileIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	first, second := ready(t, path, sqlite.Options{}), ready(t, path, sqlite.Options{})
	_, release, err := first.Lock(t.Context(), sink.Claim{Source: "shop_se"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var busy *sink.Busy
	// One agent at a time pulls into a file, whatever the source.
	if _, _, err := second.Lock(t.Context(), sink.Claim{Source: "shop_no"}); !errors.As(err, &busy) || busy.Holder != fmt.Sprint("pid ", os.Getpid()) {
		t.Errorf("got %v", err)
	}
}

func TestUnchangedRowsAreNotTouched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	s := ready(t, path, sqlite.Options{})
	if err := land(t, s, 1, 100); err != nil {
		t.Fatal(err)
	}
	exec(t, path, `CREATE TABLE "watch.touched" (id)`)
	for _, event := range []string{"INSERT", "UPDATE"} {
		exec(t, path, fmt.Sprintf(`CREATE TRIGGER on_%[1]s AFTER %[1]s ON "shop_se.notes" BEGIN INSERT INTO "watch.touched" VALUES (new.id); END`, event))
	}
	if err := land(t, s, 2, 101); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, path, "watch", "touched", "id"); !slices.EqualFunc(got, [][]string{{"100"}}, slices.Equal) {
		t.Errorf("written: %v", got)
	}
}

func TestReplacingAWindowSearchesByTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	s := ready(t, path, sqlite.Options{})
	stream := connector.Stream{
		Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
		Columns: []connector.Column{{Name: "id", Type: connector.TypeText}, {Name: "at", Type: connector.TypeTimestamp}},
	}
	if _, err := s.Prepare(t.Context(), "shop_se", stream, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	var id, parent, unused int
	var plan string
	err := other(t, path).QueryRow(`EXPLAIN QUERY PLAN DELETE FROM "shop_se.calls" WHERE at >= 'a' AND at < 'b'`).Scan(&id, &parent, &unused, &plan)
	if err != nil || !strings.Contains(plan, `shop_se.calls.at`) {
		t.Errorf("plan %q, error %v", plan, err)
	}
}
