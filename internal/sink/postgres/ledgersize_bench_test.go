package postgres

import (
	"testing"

	"github.com/winchdata/winch/internal/pgtest"
)

// A ledger of a million slices, each read once: what the tables take with their
// indexes, and how long it takes to load what one stream of it needs.
func BenchmarkLedgerSize(b *testing.B) {
	const fill = `WITH s AS (
	SELECT 'a_source' AS source, 'stream_' || n % 500 AS stream, '' AS partition,
		'2020-01-01'::timestamptz + n / 500 * interval '1 day' AS since, now() AS at
	FROM generate_series(0, 999999) n
), l AS (
	INSERT INTO winch.slices (source, stream, partition, since, until, state, rows, inserted, requests, bytes, waited_us, first_read_at, last_read_at, run)
	SELECT source, stream, partition, since, since + interval '1 day', 'held', 4711, 4711, 12, 1234567, 98765, at, at, 42 FROM s
)
INSERT INTO winch.reads (run, source, stream, partition, since, until, state, started_at, ended_at, rows, inserted, requests, bytes, waited_us)
SELECT 42, source, stream, partition, since, since + interval '1 day', 'held', at, at, 4711, 4711, 12, 1234567, 98765 FROM s`
	for b.Loop() {
		s, err := Open(b.Context(), pgtest.Database(b), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Migrate(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, err := s.pool.Exec(b.Context(), fill); err != nil {
			b.Fatal(err)
		}
		var slices, reads int64
		const sizes = "SELECT pg_total_relation_size('winch.slices'), pg_total_relation_size('winch.reads')"
		if err := s.pool.QueryRow(b.Context(), sizes).Scan(&slices, &reads); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(slices)/(1<<20), "slices-MiB/million")
		b.ReportMetric(float64(reads)/(1<<20), "reads-MiB/million")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
