package postgres

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// orders has the twelve fields that the performance budget speaks of.
var orders = connector.Stream{
	Name: "orders", Mode: connector.ModeCursor, PrimaryKey: []string{"id"},
	Columns: []connector.Column{
		{Name: "id", Type: connector.TypeBigint},
		{Name: "reference", Type: connector.TypeText},
		{Name: "customer", Type: connector.TypeText},
		{Name: "email", Type: connector.TypeText},
		{Name: "status", Type: connector.TypeText},
		{Name: "created_at", Type: connector.TypeTimestamp},
		{Name: "updated_at", Type: connector.TypeTimestamp},
		{Name: "amount", Type: connector.TypeNumeric},
		{Name: "quantity", Type: connector.TypeBigint},
		{Name: "note", Type: connector.TypeText},
		{Name: "address", Type: connector.TypeJSON},
		{Name: "tags", Type: connector.TypeJSON},
	},
}

func appendOrder(dst []byte, i int) []byte {
	return fmt.Appendf(dst, `{"id":%d,"reference":"7c9e6679-7425-40de-944b-%012x","customer":"Customer %d","email":"customer.%d@example.com",`+
		`"status":"shipped","created_at":"2026-03-%02dT%02d:%02d:11Z","updated_at":"2026-04-01T10:20:30.123456Z","amount":"%d.%02d","quantity":%d,`+
		`"note":"left at the door","address":{"street":"Storgatan %d","city":"Lund","zip":"222 %02d"},"tags":["new","web"]}`,
		i, i*7919, i%50_000, i%50_000, 1+i%28, i%24, i%60, i%1000, i%100, i%9, i%200, i%100)
}

// bench is one million orders in memory, as records and as the chunks of a COPY.
type bench struct {
	records [][]byte
	chunks  [][]byte
}

func newBench(b *testing.B, rows int) *bench {
	b.Helper()
	decoder, err := record.NewDecoder(orders)
	if err != nil {
		b.Fatal(err)
	}
	d := &bench{records: make([][]byte, rows)}
	all := make([]byte, 0, rows*400)
	var row record.Row
	layout := newLayout(decoder.Columns())
	mark := appendMark(nil, 1, time.Now())
	var data []byte
	for i := range rows {
		start := len(all)
		all = appendOrder(all, i)
		d.records[i] = all[start:]
		if err := decoder.Decode(d.records[i], &row); err != nil {
			b.Fatal(err)
		}
		if data == nil {
			data = append(make([]byte, 0, chunkSize+chunkSize/8), copyHeader...)
		}
		if data, err = layout.appendRow(data, &row, mark, 0); err != nil {
			b.Fatal(err)
		}
		if len(data) >= chunkSize || i == rows-1 {
			d.chunks = append(d.chunks, append(data, copyTrailer...))
			data = nil
		}
	}
	return d
}

// slice writes the records as a run does.
func (d *bench) slice(b *testing.B, s *Sink, run int64) {
	a := sink.Attempt{Run: run, Stream: orders, StartedAt: time.Now()}
	a.Slice.Source, a.Slice.Stream = "shop", orders.Name
	w, err := s.Begin(b.Context(), a)
	if err != nil {
		b.Fatal(err)
	}
	for _, raw := range d.records {
		if err := w.Record(raw); err != nil {
			b.Fatal(err)
		}
	}
	counts, err := w.Commit(b.Context(), connector.Usage{})
	if err != nil {
		b.Fatal(err)
	}
	if want := int64(len(d.records)); counts.Rows != want || run == 1 && counts.Inserted != want || run == 2 && counts.Unchanged != want {
		b.Fatalf("run %d: %+v", run, counts)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// floor is what PostgreSQL needs alone: what is given as chunks is copied into
// the table and the statements follow, in one transaction.
func floor(b *testing.B, address, create, copyIn string, chunks [][]byte, statements ...string) {
	conn, err := pgx.Connect(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	exec := func(sql string) {
		if err := conn.PgConn().Exec(b.Context(), sql).Close(); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	exec("SET jit = off; " + create + "; BEGIN; SET LOCAL work_mem = '64MB'")
	for _, chunk := range chunks {
		if _, err := conn.PgConn().CopyFrom(b.Context(), bytes.NewReader(chunk), copyIn); err != nil {
			b.Fatal(err)
		}
	}
	for _, sql := range statements {
		exec(sql)
	}
	exec("COMMIT")
}

// BenchmarkSlice writes a slice from memory, and each time beside it what
// PostgreSQL needs alone for the same: the ratios are ours to the floor's. Run it
// with -benchtime 5x or so; -short takes a tenth of the rows.
func BenchmarkSlice(b *testing.B) {
	rows := 1_000_000
	if testing.Short() {
		rows = 100_000
	}
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"autovacuum": "off", "max_wal_size": "8GB"}})
	address := server.Database(b)
	s := open(b, address)
	d := newBench(b, rows)
	t := newTable("shop", orders)
	fresh := func(b *testing.B) {
		query(b, address, "DROP TABLE IF EXISTS "+t.name())
		if _, err := s.Prepare(b.Context(), "shop", orders, ledger.SchemaEvolve); err != nil {
			b.Fatal(err)
		}
		query(b, address, "CHECKPOINT")
	}
	contenders := map[string]func(b *testing.B){
		"slice": func(b *testing.B) { d.slice(b, s, 2) },
		"staged": func(b *testing.B) {
			floor(b, address, t.createStaging(1, time.Now(), true), t.copyInto(staging, true, false), d.chunks, t.analyze(staging), t.update(), t.insert(false))
		},
		// The best merge without a hash: each column is compared.
		"full": func(b *testing.B) {
			floor(b, address, t.createStaging(1, time.Now(), true), t.copyInto(staging, true, false), d.chunks, t.analyze(staging), fullCompare(t), t.insert(false))
		},
	}
	run := func(name string, prepare func(b *testing.B), floors []string, contenders map[string]func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			took := map[string][]time.Duration{}
			for b.Loop() {
				for _, contender := range append([]string{"slice"}, floors...) {
					prepare(b)
					start := time.Now()
					contenders[contender](b)
					took[contender] = append(took[contender], time.Since(start))
				}
			}
			b.ReportMetric(float64(rows)/median(took["slice"], nil), "rows/s")
			for _, f := range floors {
				b.ReportMetric(median(took[f], nil), "s-"+f)
				b.ReportMetric(median(took["slice"], took[f]), "ratio-to-"+f)
			}
			b.ReportMetric(median(took["slice"], nil), "s-slice")
		})
	}
	run("new", fresh, []string{"staged", "direct"}, map[string]func(b *testing.B){
		"slice": func(b *testing.B) { d.slice(b, s, 1) },
		"staged": func(b *testing.B) {
			floor(b, address, t.createStaging(1, time.Now(), true), t.copyInto(staging, true, false), d.chunks, t.analyze(staging), t.insert(true))
		},
		"direct": func(b *testing.B) { floor(b, address, "SELECT 1", t.copyInto(t.name(), true, false), d.chunks) },
	})
	fresh(b)
	d.slice(b, s, 1)
	query(b, address, "VACUUM ANALYZE "+t.name())
	run("unchanged", func(b *testing.B) {}, []string{"staged", "full"}, contenders)
}

// fullCompare is the update of a merge without a hash.
func fullCompare(t table) string {
	var ours, theirs []string
	for _, c := range t.columns {
		ours = append(ours, "t."+quote(c.Name))
		theirs = append(theirs, "s."+quote(c.Name))
	}
	return strings.Replace(t.update(), t.differs(),
		fmt.Sprintf("(%s) IS DISTINCT FROM (%s)", strings.Join(ours, ", "), strings.Join(theirs, ", ")), 1)
}

// median returns the median in seconds, or of the ratios pair by pair.
func median(of, to []time.Duration) float64 {
	values := make([]float64, len(of))
	for i := range of {
		values[i] = of[i].Seconds()
		if to != nil {
			values[i] /= to[i].Seconds()
		}
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkEncode encodes one order after another as COPY wants it.
func BenchmarkEncode(b *testing.B) {
	decoder, err := record.NewDecoder(orders)
	if err != nil {
		b.Fatal(err)
	}
	var row record.Row
	if err := decoder.Decode(appendOrder(nil, 1), &row); err != nil {
		b.Fatal(err)
	}
	layout := newLayout(decoder.Columns())
	mark := appendMark(nil, 1, time.Now())
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		if data, err = layout.appendRow(data[:0], &row, mark, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(data)))
}

// BenchmarkDecodeAndEncodeMany does what a writer does with each record of many that
// differ, but for the server's part.
func BenchmarkDecodeAndEncodeMany(b *testing.B) {
	decoder, err := record.NewDecoder(orders)
	if err != nil {
		b.Fatal(err)
	}
	const records = 1 << 16
	var raws [records][]byte
	all := make([]byte, 0, records*400)
	for i := range raws {
		from := len(all)
		all = appendOrder(all, i)
		raws[i] = all[from:len(all):len(all)]
	}
	w := &writer{
		sink: &Sink{chunk: chunkSize}, decoder: decoder, layout: newLayout(decoder.Columns()), table: newTable("shop", orders), mark: appendMark(nil, 1, time.Now()), aside: &quarantine.Set{},
		fresh: newChunk(new(memory), chunkSize, false),
	}
	w.fresh.full = math.MaxInt // it is never sent
	b.SetBytes(int64(len(all) / records))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%records == 0 {
			w.known, w.scope = seen{}, newScope(w.table, w.attempt.Slice)
		}
		if err := w.Record(raws[i%records]); err != nil {
			b.Fatal(err)
		}
		if i++; len(w.fresh.data) > chunkSize {
			w.fresh.empty()
		}
	}
}
