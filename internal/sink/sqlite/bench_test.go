//go:build unix

package sqlite_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

var orders = connector.Stream{
	Name: "orders", Mode: connector.ModeCursor, PrimaryKey: []string{"uuid"},
	Columns: []connector.Column{
		{Name: "id", Type: connector.TypeBigint},
		{Name: "uuid", Type: connector.TypeText},
		{Name: "customer", Type: connector.TypeText},
		{Name: "email", Type: connector.TypeText},
		{Name: "status", Type: connector.TypeText},
		{Name: "created_at", Type: connector.TypeTimestamp},
		{Name: "updated_at", Type: connector.TypeTimestamp},
		{Name: "amount", Type: connector.TypeNumeric},
		{Name: "paid", Type: connector.TypeBoolean},
		{Name: "quantity", Type: connector.TypeBigint},
		{Name: "address", Type: connector.TypeJSON},
		{Name: "tags", Type: connector.TypeJSON},
	},
}

// order returns the nth record: twelve fields, about 350 bytes. Its key says
// nothing of n, so keys come in no order.
func order(n, version int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	at := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
	return fmt.Appendf(nil, `{"id":%d,"uuid":"%016x%016x","customer":"Customer Number %d","email":"customer%d@example.com",`+
		`"status":"delivered","created_at":%q,"updated_at":%q,"amount":"%d.%02d","paid":true,"quantity":%d,`+
		`"address":{"street":"Storgatan %d","city":"Lund","country":"SE"},"tags":["new","web"]}`,
		n, r.Uint64(), r.Uint64(), n, n, at.Format(time.RFC3339), at.Add(time.Hour).Format(time.RFC3339),
		n%1000, n%100, n%7+version, n%90)
}

// BenchmarkSink writes records from memory, decoding included: into an empty
// table, the same again, and with every hundredth changed. The floor is plain
// prepared inserts of the same rows, decoded ahead, in one transaction. of-floor is
// how the rows per second compare with it.
func BenchmarkSink(b *testing.B) {
	for _, rows := range []int{100_000, 1_000_000} {
		fresh, changed := make([][]byte, rows), make([][]byte, rows)
		for i := range fresh {
			fresh[i] = order(i, 0)
			changed[i] = fresh[i]
			if i%100 == 0 {
				changed[i] = order(i, 1)
			}
		}
		var atFloor float64 // rows/s
		b.Run(fmt.Sprint("floor/", rows), func(b *testing.B) { atFloor = floor(b, fresh) })
		for _, c := range []struct {
			name          string
			first, second [][]byte
		}{{"new", nil, fresh}, {"unchanged", fresh, fresh}, {"changed 1%", fresh, changed}} {
			b.Run(fmt.Sprint(c.name, "/", rows), func(b *testing.B) {
				var cpu time.Duration
				for b.Loop() {
					b.StopTimer()
					s := migrated(b)
					if c.first != nil {
						write(b, s, c.first)
					}
					before := spent(b)
					b.StartTimer()
					write(b, s, c.second)
					cpu += spent(b) - before
				}
				speed := report(b, rows, cpu)
				if atFloor > 0 {
					b.ReportMetric(speed/atFloor, "of-floor")
				}
			})
		}
	}
	b.Run("slice of one row", func(b *testing.B) {
		s, raw := migrated(b), [][]byte{order(1, 0)}
		for b.Loop() {
			write(b, s, raw)
		}
	})
}

func migrated(b *testing.B) *sqlite.Sink {
	b.Helper()
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "winch.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Prepare(b.Context(), "shop_se", orders, ledger.SchemaEvolve); err != nil {
		b.Fatal(err)
	}
	return s
}

func write(b *testing.B, s *sqlite.Sink, records [][]byte) {
	b.Helper()
	w, err := s.Begin(b.Context(), sink.Attempt{
		Run: 1, Stream: orders, StartedAt: time.Now(), Slice: ledger.Slice{Source: "shop_se", Stream: "orders"},
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, raw := range records {
		if err := w.Record(raw); err != nil {
			b.Fatal(err)
		}
	}
	counts, err := w.Commit(b.Context(), connector.Usage{})
	if err != nil || counts.Rows != int64(len(records)) {
		b.Fatal(counts, err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func floor(b *testing.B, records [][]byte) (speed float64) {
	decoder, err := record.NewDecoder(orders)
	if err != nil {
		b.Fatal(err)
	}
	decoded := make([][]any, len(records))
	for i, raw := range records {
		var row record.Row
		if err := decoder.Decode(raw, &row); err != nil {
			b.Fatal(err)
		}
		for j, v := range row.Values {
			switch orders.Columns[j].Type {
			case connector.TypeBigint, connector.TypeBoolean:
				decoded[i] = append(decoded[i], v.Int)
			case connector.TypeTimestamp:
				decoded[i] = append(decoded[i], time.UnixMicro(v.Int).UTC().Format("2006-01-02T15:04:05.000000Z"))
			default:
				decoded[i] = append(decoded[i], string(v.Bytes))
			}
		}
		decoded[i] = append(decoded[i], int64(1), "2026-01-01T00:00:00.000000Z", append([]byte(nil), row.Hash[:]...), nil, nil)
	}
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		s := migrated(b)
		db, err := sql.Open("sqlite", "file:"+s.Location()+"?_pragma=synchronous(normal)&_pragma=cache_size(-16384)")
		if err != nil {
			b.Fatal(err)
		}
		before := spent(b)
		b.StartTimer()
		tx, err := db.BeginTx(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		insert, err := tx.Prepare(`INSERT INTO "shop_se.orders" VALUES (?` + strings.Repeat(", ?", len(decoded[0])-1) + `)`) //nolint:sqlclosecheck // it ends with the transaction
		if err != nil {
			b.Fatal(err)
		}
		for _, row := range decoded {
			if _, err := insert.Exec(row...); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		cpu += spent(b) - before
		b.StartTimer()
	}
	return report(b, len(records), cpu)
}

// report adds the processor's time, which other work on the machine disturbs less,
// and returns the rows per second.
func report(b *testing.B, rows int, cpu time.Duration) (speed float64) {
	speed = float64(rows) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(speed, "rows/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(rows)/float64(b.N), "cpu-ns/row")
	return speed
}

// spent is the processor time of this process so far.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
