package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/winchdata/winch/internal/sink/sqlite"
)

// A ledger of a million slices, each read once: what the file takes for the rows
// of the ledger and for their history.
func BenchmarkLedgerSize(b *testing.B) {
	const series = `WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 999999),
s AS (SELECT 'a_source' AS source, 'stream_' || (n % 500) AS stream, '' AS part,
	strftime('%Y-%m-%dT00:00:00.000000Z', '2020-01-01', (n / 500) || ' days') AS since,
	strftime('%Y-%m-%dT00:00:00.000000Z', '2020-01-01', (n / 500 + 1) || ' days') AS until,
	'2026-03-01T02:00:00.123456Z' AS at FROM c) `
	fills := []struct{ metric, statement string }{
		{"slices-MiB/million", `INSERT INTO "winch.slices" (source, stream, "partition", since, until, state, "rows", inserted, requests, bytes, waited_us, first_read_at, last_read_at, run) ` +
			series + `SELECT source, stream, part, since, until, 'held', 4711, 4711, 12, 1234567, 98765, at, at, 42 FROM s`},
		{"reads-MiB/million", `INSERT INTO "winch.reads" (run, source, stream, "partition", since, until, state, started_at, ended_at, "rows", inserted, requests, bytes, waited_us) ` +
			series + `SELECT 42, source, stream, part, since, until, 'held', at, at, 4711, 4711, 12, 1234567, 98765 FROM s`},
	}
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "winch.db")
		s, err := sqlite.Open(b.Context(), path, sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Migrate(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			b.Fatal(err)
		}
		before := int64(0)
		for _, fill := range fills {
			for _, statement := range []string{fill.statement, "PRAGMA wal_checkpoint(TRUNCATE)"} {
				if _, err := db.ExecContext(b.Context(), statement); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size()-before)/(1<<20), fill.metric)
			before = info.Size()
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
