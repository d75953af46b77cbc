package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// BenchmarkWriters lands the same rows by 1, 2, 4 and 8 writers of windows that do
// not overlap, in one table and in a table for each writer: new, unchanged and
// changed. It reports rows per second, that to one writer's in the same run, bytes
// of WAL a row, what the writers' sessions waited for, as a share of their time in
// statements, by looking every few milliseconds, and how long all writers together
// were merging, which includes their queueing for the table in this process. A
// deadlock or a missing row fails it.
func BenchmarkWriters(b *testing.B) {
	rows := 160_000
	if testing.Short() {
		rows /= 10
	}
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"max_wal_size": "8GB"}})
	address := server.Database(b)
	s := open(b, address)
	crowd := newCrowd(rows)
	for _, apart := range []bool{false, true} {
		name := map[bool]string{false: "one table", true: "tables apart"}[apart]
		for content, changed := range []string{"new", "unchanged", "changed"} {
			b.Run(name+"/"+changed, func(b *testing.B) {
				took, waits := map[int][]time.Duration{}, map[int]*sightings{}
				for b.Loop() {
					for _, writers := range []int{1, 2, 4, 8} {
						run := crowd.prepare(b, s, address, writers, apart, content)
						crowd.merging.Store(0)
						if waits[writers] == nil {
							waits[writers] = &sightings{of: map[string]int{}}
						}
						unwatch := waits[writers].watch(b, address)
						before, start := walBytes(b, address), time.Now()
						run()
						took[writers] = append(took[writers], time.Since(start))
						unwatch()
						b.ReportMetric(time.Duration(crowd.merging.Load()).Seconds(), fmt.Sprint("merging-s-", writers))
						b.ReportMetric(float64(walBytes(b, address)-before)/float64(rows), fmt.Sprint("wal-B/row-", writers))
					}
				}
				for writers, w := range waits {
					w.report(b, writers)
				}
				b.ReportMetric(float64(rows)/median(took[1], nil), "rows/s-1")
				for _, writers := range []int{2, 4, 8} {
					b.ReportMetric(median(took[1], took[writers]), fmt.Sprint("speed-up-", writers))
				}
				if deadlocks := query(b, address, "SELECT sum(deadlocks)::text FROM pg_stat_database"); deadlocks[0][0] != "0" {
					b.Fatalf("%s deadlocks", deadlocks[0][0])
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// crowdSlices is how many windows the rows lie in, whoever writes them.
const crowdSlices = 24

// crowd is rows of days of April, as records by day.
type crowd struct {
	rows    int
	run     int64
	merging atomic.Int64 // nanoseconds, of all writers
	records [crowdSlices][][]byte
}

func newCrowd(rows int) *crowd {
	c := &crowd{rows: rows}
	for i := range rows {
		day := i % crowdSlices
		raw := bytes.Replace(appendOrder(nil, i), []byte("2026-04-01"), fmt.Appendf(nil, "2026-04-%02d", day+1), 1)
		c.records[day] = append(c.records[day], raw)
	}
	return c
}

func crowdStream(table int) connector.Stream {
	s := orders
	s.Name, s.Mode, s.TimeColumn, s.Slice = "orders_"+strconv.Itoa(table), connector.ModeWindow, "updated_at", connector.Days(1)
	return s
}

// prepare makes the tables, with the rows in them unless the content is new, and
// returns what lands the rows by so many writers.
func (c *crowd) prepare(b *testing.B, s *Sink, address string, writers int, apart bool, content int) (run func()) {
	b.Helper()
	exec(b, address, "DROP SCHEMA IF EXISTS shop CASCADE; DELETE FROM winch.slices")
	for n := range writers {
		if _, err := s.Prepare(b.Context(), "shop", crowdStream(n), ledger.SchemaEvolve); err != nil {
			b.Fatal(err)
		}
	}
	if content > 0 {
		c.land(b, s, writers, apart, false)
		exec(b, address, "VACUUM ANALYZE")
	}
	exec(b, address, "CHECKPOINT")
	return func() { c.land(b, s, writers, apart, content == 2) }
}

func (c *crowd) land(b *testing.B, s *Sink, writers int, apart, changed bool) {
	b.Helper()
	c.run++
	group, ctx := errgroup.WithContext(b.Context())
	for n := range writers {
		group.Go(func() error {
			for day := n; day < crowdSlices; day += writers {
				table := 0
				if apart {
					table = n
				}
				if err := c.slice(ctx, s, table, day, changed); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

func (c *crowd) slice(ctx context.Context, s *Sink, table, day int, changed bool) error {
	since := time.Date(2026, time.April, 1+day, 0, 0, 0, 0, time.UTC)
	stream := crowdStream(table)
	clock := new(sink.Clock)
	w, err := s.Begin(ctx, sink.Attempt{
		Run: c.run, Stream: stream, StartedAt: time.Now(), Clock: clock,
		Slice: ledger.Slice{Source: "shop", Stream: stream.Name, Window: connector.Window{Since: since, Until: since.AddDate(0, 0, 1)}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	var other []byte
	for _, raw := range c.records[day] {
		if changed {
			other = append(append(other[:0], raw[:len(raw)-1]...), `,"undeclared":1}`...)
			raw = other
		}
		if err := w.Record(raw); err != nil {
			return err
		}
	}
	counts, err := w.Commit(ctx, connector.Usage{})
	c.merging.Add(int64(clock.Total().Merging))
	if err == nil && (counts.Rows != int64(len(c.records[day])) || counts.Deleted != 0) {
		err = fmt.Errorf("%s: %+v of %d rows", stream.Name, counts, len(c.records[day]))
	}
	return err
}

func walBytes(b *testing.B, address string) int64 {
	b.Helper()
	n, err := strconv.ParseInt(query(b, address, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint::text")[0][0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// sightings are what sessions were seen to wait for.
type sightings struct {
	all int // of a session in a statement
	of  map[string]int
}

// watch looks every few milliseconds, until the returned function is called.
func (s *sightings) watch(b *testing.B, address string) (unwatch func()) {
	b.Helper()
	conn := connect(b, address)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
		tick := time.NewTicker(4 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				ended <- nil
				return
			case <-tick.C:
			}
			if err := s.look(b.Context(), conn); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() {
		close(stop)
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
}

func (s *sightings) look(ctx context.Context, conn *pgx.Conn) error {
	// A session that waits for the client's next bytes does not wait for the server.
	rows, err := conn.Query(ctx, `SELECT COALESCE(CASE WHEN wait_event_type <> 'Client' THEN wait_event_type END, ''), count(*)
FROM pg_stat_activity WHERE application_name = 'winch' AND state = 'active' GROUP BY 1`)
	if err != nil {
		return err
	}
	var kind string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&kind, &n}, func() error {
		s.all += n
		s.of[kind] += n
		return nil
	})
	return err
}

// report says which share of the sessions' time was waiting for locks of tables and
// rows, for the server's own short locks, and for files.
func (s *sightings) report(b *testing.B, writers int) {
	b.Helper()
	for kind, name := range map[string]string{"Lock": "locks", "LWLock": "latches", "IO": "io"} {
		b.ReportMetric(100*float64(s.of[kind])/float64(max(1, s.all)), fmt.Sprintf("%%-%s-%d", name, writers))
	}
}
