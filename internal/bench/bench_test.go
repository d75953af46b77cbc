package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/pkg/connector/serve"
)

// roleEnv tells a process that the benchmark starts what to be.
const roleEnv = "WINCH_BENCH_ROLE"

func TestMain(m *testing.M) {
	serve.Bundled(os.Args[1:], definition(), slowDefinition())
	var err error
	switch os.Getenv(roleEnv) {
	case "pages":
		err = servePages(number("WINCH_BENCH_ROWS", 1_000_000))
	case "agent":
		err = runAgent(context.Background(), os.Getenv("WINCH_BENCH_DATABASE"), os.Getenv("WINCH_BENCH_PAGES"))
	case "scale":
		err = runScaleAgent(context.Background(), os.Getenv("WINCH_BENCH_DATABASE"), os.Getenv("WINCH_SCALE_AT"))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(env string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return def
}

// benchRows is how many records a benchmark pulls that does not say so itself.
func benchRows() int { return number("WINCH_BENCH_ROWS", 1_000_000) }

// A measurement is what one run of one kind cost.
type measurement struct {
	seconds, postgresCPU, agentCPU, pluginCPU, mallocs float64
	wal, agentPeak, pluginPeak                         int64
}

// A bed is the machinery of a benchmark.
type bed struct {
	*testing.B
	rows     int
	database string
	conn     *pgx.Conn
	meter    *meter
	pages    string
	version  versions
	receiver string // of telemetry; empty for none
	memory   []byte // the rows as binary COPY data
}

func newBed(b *testing.B, rows int) *bed {
	b.Helper()
	bed := &bed{B: b, rows: rows}
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"max_wal_size": "8GB"}})
	bed.database = server.Database(b)
	var err error
	if bed.conn, err = pgx.Connect(b.Context(), bed.database); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { bed.conn.Close(context.Background()) })
	if bed.meter, err = newMeter(b.Context(), bed.conn); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=pages", "WINCH_BENCH_ROWS="+strconv.Itoa(rows))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	bed.pages = strings.TrimSpace(line)
	return bed
}

// measure runs f and returns what it and the server used.
func (b *bed) measure(f func() measurement) measurement {
	b.Helper()
	if _, err := b.conn.Exec(b.Context(), "CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	cpu, written := b.used()
	m := f()
	cpuAfter, writtenAfter := b.used()
	m.postgresCPU, m.wal = cpuAfter-cpu, writtenAfter-written
	return m
}

func (b *bed) used() (cpu float64, written int64) {
	b.Helper()
	// A backend's time counts once the server has seen it end.
	for others := 1; others > 0; {
		err := b.conn.QueryRow(b.Context(), `SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others, nil)
		if err != nil {
			b.Fatal(err)
		}
	}
	cpu, err := b.meter.cpu()
	if err != nil {
		b.Fatal(err)
	}
	written, err = wal(b.Context(), b.conn)
	if err != nil {
		b.Fatal(err)
	}
	return cpu, written
}

// A kind is what happens to the records between two pulls.
type kind struct {
	name    string
	fresh   bool // nothing is at rest
	percent int  // of the records have changed
}

// pipeline pulls all records through page server, plugin and agent.
func (b *bed) pipeline(k kind) measurement {
	b.Helper()
	if k.percent > 0 {
		b.version.change(k.percent)
		resp, err := http.Get(b.pages + "/change?percent=" + strconv.Itoa(k.percent))
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
	if k.fresh {
		if _, err := b.conn.Exec(b.Context(), "DROP SCHEMA IF EXISTS bench CASCADE; DROP SCHEMA IF EXISTS winch CASCADE"); err != nil {
			b.Fatal(err)
		}
	}
	if !k.fresh {
		// What was read a moment ago is not due: let it be of the day itself.
		if _, err := b.conn.Exec(b.Context(), "UPDATE winch.slices SET last_read_at = $1", day.Until); err != nil {
			b.Fatal(err)
		}
	}
	var r agentReport
	m := b.measure(func() measurement {
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), roleEnv+"=agent", "WINCH_BENCH_DATABASE="+b.database, "WINCH_BENCH_PAGES="+b.pages,
			"OTEL_EXPORTER_OTLP_ENDPOINT="+b.receiver, "OTEL_METRIC_EXPORT_INTERVAL=5000")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		if err := json.Unmarshal(out, &r); err != nil {
			b.Fatal(err)
		}
		return measurement{seconds: r.Seconds, agentCPU: r.AgentCPU, pluginCPU: r.PluginCPU, agentPeak: r.AgentPeak, pluginPeak: r.PluginPeak, mallocs: float64(r.Mallocs)}
	})
	want := ledger.Counts{Rows: int64(b.rows), Inserted: int64(b.rows)}
	if !k.fresh {
		for i := range b.rows {
			if i%len(b.version) < k.percent {
				want.Updated++
			}
		}
		want.Inserted, want.Unchanged = 0, want.Rows-want.Updated
	}
	if r.Counts != want {
		b.Fatalf("counts %+v, want %+v", r.Counts, want)
	}
	b.verify()
	return m
}

// verify compares the landed rows with the records: all by number and sum of
// keys, a thousand by content.
func (b *bed) verify() {
	b.Helper()
	var count, sum int64
	if err := b.conn.QueryRow(b.Context(), "SELECT count(*), sum(id)::bigint FROM bench.records").Scan(&count, &sum); err != nil {
		b.Fatal(err)
	}
	n := int64(b.rows)
	if count != n || sum != n*(n-1)/2 {
		b.Fatalf("%d rows with sum of keys %d, want %d and %d", count, sum, n, n*(n-1)/2)
	}
	for i := 0; i < b.rows; i += max(b.rows/1000, 1) {
		var same bool
		err := b.conn.QueryRow(b.Context(), `SELECT (uuid, status, channel, customer, created_at, updated_at, amount, quantity, active, address, tags) IS NOT DISTINCT FROM
			(j->>'uuid', j->>'status', j->>'channel', j->>'customer', (j->>'created_at')::timestamptz, date_trunc('microsecond', (j->>'updated_at')::timestamptz),
			(j->>'amount')::numeric, (j->>'quantity')::bigint, (j->>'active')::boolean, j->'address', j->'tags')
			FROM bench.records, (SELECT $1::jsonb AS j) AS record WHERE id = (j->>'id')::bigint`, string(appendRecord(nil, i, &b.version))).Scan(&same)
		if err != nil || !same {
			b.Fatalf("row %d differs from its record %s (%v)", i, appendRecord(nil, i, &b.version), err)
		}
	}
}

// floor lands the rows of the last pull from memory.
func (b *bed) floor(k kind) measurement {
	b.Helper()
	var err error
	if b.memory, err = export(b.Context(), b.conn); err != nil {
		b.Fatal(err)
	}
	return b.measure(func() measurement {
		seconds, err := floor(b.Context(), b.conn, b.memory, k.fresh)
		if err != nil {
			b.Fatal(err)
		}
		return measurement{seconds: seconds}
	})
}

// BenchmarkPull prints, for rows of each kind, the floor, the pipeline and their
// ratio pair by pair. WINCH_BENCH_ROWS, WINCH_BENCH_PAIRS and WINCH_BENCH_KINDS
// (names between commas) change what it does. WINCH_BENCH_PROFILE names a directory
// for the CPU profiles of all pulls.
func BenchmarkPull(b *testing.B) {
	bed := newBed(b, benchRows())
	pairs := number("WINCH_BENCH_PAIRS", 5)
	kinds := os.Getenv("WINCH_BENCH_KINDS")
	for _, k := range []kind{{"new", true, 0}, {"unchanged", false, 0}, {"one-percent", false, 1}, {"changed", false, 100}} {
		if kinds != "" && !strings.Contains(","+kinds+",", ","+k.name+",") {
			continue
		}
		if !k.fresh && bed.memory == nil {
			bed.pipeline(kind{fresh: true})
			bed.floor(kind{fresh: true})
		}
		var floors, ours []measurement
		var ratios []float64
		for range pairs {
			ours = append(ours, bed.pipeline(k))
			floors = append(floors, bed.floor(k))
			ratios = append(ratios, ours[len(ours)-1].seconds/floors[len(floors)-1].seconds)
		}
		fmt.Printf("\n%d %s rows, %d pairs, median (least .. most)\n", bed.rows, k.name, pairs)
		bed.print("floor: from memory", floors)
		bed.print("winch: whole pipeline", ours)
		fmt.Printf("  ratio of wall time   %s\n", spread(ratios, "%.2f"))
		fmt.Printf("  agent + plugin CPU against PostgreSQL's   %s\n", spread(each(ours, func(m measurement) float64 {
			return (m.agentCPU + m.pluginCPU) / m.postgresCPU
		}), "%.2f"))
		b.ReportMetric(median(ratios), k.name+"-ratio")
	}
}

func (b *bed) print(name string, ms []measurement) {
	fmt.Printf("  %-22s wall %s s, %.0f rows/s, CPU postgres %s s", name,
		spread(each(ms, func(m measurement) float64 { return m.seconds }), "%.2f"),
		float64(b.rows)/median(each(ms, func(m measurement) float64 { return m.seconds })),
		spread(each(ms, func(m measurement) float64 { return m.postgresCPU }), "%.2f"))
	if ms[0].agentCPU > 0 {
		fmt.Printf(", allocations a row in the agent %s", spread(each(ms, func(m measurement) float64 { return m.mallocs / float64(b.rows) }), "%.3f"))
		fmt.Printf(", agent %s s, plugin %s s, peak MiB agent %s plugin %s",
			spread(each(ms, func(m measurement) float64 { return m.agentCPU }), "%.2f"),
			spread(each(ms, func(m measurement) float64 { return m.pluginCPU }), "%.2f"),
			spread(each(ms, func(m measurement) float64 { return float64(m.agentPeak) / (1 << 20) }), "%.0f"),
			spread(each(ms, func(m measurement) float64 { return float64(m.pluginPeak) / (1 << 20) }), "%.0f"))
	}
	fmt.Printf(", WAL %s MiB\n", spread(each(ms, func(m measurement) float64 { return float64(m.wal) / (1 << 20) }), "%.0f"))
}

func each(ms []measurement, f func(measurement) float64) []float64 {
	var all []float64
	for _, m := range ms {
		all = append(all, f(m))
	}
	return all
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func spread(all []float64, format string) string {
	return fmt.Sprintf(format+" ("+format+" .. "+format+")", median(all), slices.Min(all), slices.Max(all))
}
