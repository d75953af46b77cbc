package postgres

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A shape is a kind of table that could be slower than the usual one.
type shape struct {
	name   string
	rows   int
	key    []string
	record func(dst []byte, i, version int) []byte
	// alter is run on the empty table, with its name.
	alter string
}

// scrambled is i in an order in which neighbours are far apart, as a uuid would be.
func scrambled(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 }

// scrambledOrder is an order whose reference is scrambled; a version differs in
// its quantity.
func scrambledOrder(dst []byte, i, version int) []byte {
	from := len(dst)
	dst = appendOrder(dst, i)
	copy(dst[from+bytes.Index(dst[from:], []byte("7c9e6679")):], fmt.Sprintf("%016x", scrambled(i)))
	at := from + bytes.Index(dst[from:], []byte(`"quantity":`)) + len(`"quantity":`)
	dst[at] = byte('0' + version)
	return dst
}

// stored is an order with 10 KiB of JSON that do not compress, so that PostgreSQL
// keeps them beside the row.
func stored(dst []byte, i, version int) []byte {
	dst = scrambledOrder(dst, i, version)
	dst = append(dst[:bytes.LastIndex(dst, []byte(`,"tags"`))], `,"tags":["`...)
	seed := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	var noise [5 << 10]byte
	_, _ = seed.Read(noise[:]) // never fails
	return append(hex.AppendEncode(dst, noise[:]), `"]}`...)
}

var shapes = []shape{
	{"bigint key", 200_000, []string{"id"}, scrambledOrder, ""},
	{"text key", 200_000, []string{"reference"}, scrambledOrder, ""},
	{"composite key", 200_000, []string{"customer", "reference", "id"}, scrambledOrder, ""},
	{"TOAST", 20_000, []string{"id"}, stored, ""},
	{"fillfactor 80", 200_000, []string{"id"}, scrambledOrder, "ALTER TABLE %s SET (fillfactor = 80)"},
	// What is asked by a scan of an index alone, which each update must then write.
	{"text key and hash in an index", 200_000, []string{"reference"}, scrambledOrder, "CREATE UNIQUE INDEX ON %s (reference) INCLUDE (_winch_hash, _deleted_at)"},
}

// BenchmarkShapes lands rows in tables several times as large as the server's
// buffers: new, again unchanged, with every hundredth changed, all changed. Beside
// each, the floor: COPY from memory into the keyed table for new rows, else the
// best merge that compares each column, into a table of the same shape. It reports
// ours to the floor's, and the share of updates that were HOT.
func BenchmarkShapes(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"autovacuum": "off", "shared_buffers": "16MB", "max_wal_size": "8GB"}})
	address := server.Database(b)
	s := open(b, address)
	for _, shape := range shapes {
		if testing.Short() {
			shape.rows /= 10
		}
		b.Run(shape.name, func(b *testing.B) {
			took := map[string][2][]time.Duration{}
			for b.Loop() {
				m := shape.prepare(b, s, address)
				for n, step := range []string{"new", "unchanged", "1%", "all"} {
					ours, floor := m.step(b, n)
					took[step] = [2][]time.Duration{append(took[step][0], ours), append(took[step][1], floor)}
				}
				for _, row := range query(b, address, `SELECT schemaname, (100 * n_tup_hot_upd / GREATEST(n_tup_upd, 1))::text,
pg_table_size(relid)::text FROM pg_stat_user_tables WHERE schemaname IN ('shop', 'floor')`) {
					hot, _ := strconv.ParseFloat(row[1], 64)
					size, _ := strconv.ParseFloat(row[2], 64)
					b.ReportMetric(hot, "%-hot-"+row[0])
					b.ReportMetric(size/float64(16<<20), "x-buffers-"+row[0])
				}
			}
			for step, t := range took {
				b.ReportMetric(median(t[0], t[1]), "ratio-"+step)
				b.ReportMetric(median(t[1], nil), "s-floor-"+step)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// measured are two tables of a shape, ours and the floor's.
type measured struct {
	shape
	sink    *Sink
	address string
	stream  connector.Stream
}

func (s shape) prepare(b *testing.B, to *Sink, address string) *measured {
	b.Helper()
	m := &measured{s, to, address, orders}
	m.stream.PrimaryKey = s.key
	exec(b, address, "DROP SCHEMA IF EXISTS shop CASCADE; DROP SCHEMA IF EXISTS floor CASCADE; DELETE FROM winch.slices")
	for _, source := range []string{"shop", "floor"} {
		if _, err := to.Prepare(b.Context(), source, m.stream, ledger.SchemaEvolve); err != nil {
			b.Fatal(err)
		}
		if s.alter != "" {
			exec(b, address, fmt.Sprintf(s.alter, quote(source, m.stream.Name)))
		}
	}
	return m
}

// step lands the rows in both tables: new, unchanged, 1 % changed or all changed.
func (m *measured) step(b *testing.B, step int) (ours, floors time.Duration) {
	b.Helper()
	version := func(i int) int {
		switch {
		case step == 3:
			return 3
		case step == 2 && i%100 == 0:
			return 2
		}
		return 1
	}
	records := make([][]byte, m.rows)
	for i := range records {
		records[i] = m.record(nil, i, version(i))
	}
	chunks := m.chunks(b, records, int64(step+1))
	exec(b, m.address, "CHECKPOINT")
	ours = m.ours(b, records, step)
	exec(b, m.address, "CHECKPOINT")
	floors = m.floor(b, chunks, step == 0)
	if step == 0 {
		exec(b, m.address, "VACUUM ANALYZE")
	}
	return ours, floors
}

func (m *measured) ours(b *testing.B, records [][]byte, step int) time.Duration {
	b.Helper()
	started := time.Now()
	a := sink.Attempt{Run: int64(step + 1), Stream: m.stream, StartedAt: started}
	a.Slice.Source, a.Slice.Stream = "shop", m.stream.Name
	w, err := m.sink.Begin(b.Context(), a)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	for _, raw := range records {
		if err := w.Record(raw); err != nil {
			b.Fatal(err)
		}
	}
	counts, err := w.Commit(b.Context(), connector.Usage{})
	if err != nil {
		b.Fatal(err)
	}
	n := int64(len(records))
	if want := []ledger.Counts{{Rows: n, Inserted: n}, {Rows: n, Unchanged: n}, {Rows: n, Updated: n / 100, Unchanged: n - n/100}, {Rows: n, Updated: n}}[step]; counts != want {
		b.Fatalf("step %d: %+v, want %+v", step, counts, want)
	}
	return time.Since(started)
}

func (m *measured) floor(b *testing.B, chunks [][]byte, fresh bool) time.Duration {
	b.Helper()
	t := newTable("floor", m.stream)
	started := time.Now()
	if fresh {
		floor(b, m.address, "SELECT 1", t.copyInto(t.name(), true, false), chunks)
	} else {
		floor(b, m.address, t.createStaging(1, time.Now(), true), t.copyInto(staging, true, false), chunks, t.analyze(staging), fullCompare(t), t.insert(false))
	}
	return time.Since(started)
}

// chunks encodes the records as the data of binary COPYs.
func (m *measured) chunks(b *testing.B, records [][]byte, run int64) (chunks [][]byte) {
	b.Helper()
	decoder, err := record.NewDecoder(m.stream)
	if err != nil {
		b.Fatal(err)
	}
	var row record.Row
	var data []byte
	layout := newLayout(decoder.Columns())
	mark := appendMark(nil, run, time.Now())
	for i, raw := range records {
		if data == nil {
			data = append(make([]byte, 0, chunkSize+chunkSize/8), copyHeader...)
		}
		if err = decoder.Decode(raw, &row); err == nil {
			data, err = layout.appendRow(data, &row, mark, 0)
		}
		if err != nil {
			b.Fatal(err)
		}
		if len(data) >= chunkSize || i == len(records)-1 {
			chunks = append(chunks, append(data, copyTrailer...))
			data = nil
		}
	}
	return chunks
}
