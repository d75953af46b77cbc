package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// The scale of scheduling: many sources are due at one moment, and their vendor
// answers at once, so that what is measured is Winch and its database. Each agent is
// a process of its own; there are no connector processes.

// A scaleBed is a database and the sources that are pulled into it.
type scaleBed struct {
	*testing.B
	address string
	sources int
	conn    *pgx.Conn
	meter   *meter
}

// A night is what it took to pull all sources once, all due at the same moment.
type night struct {
	agents                    int
	seconds                   float64 // from the moment until the last was done
	decided, began            float64 // p99 of the lateness of the decision and of the run, in seconds
	transactions, wal         float64 // per run
	connections               float64 // at most
	idle                      float64 // transactions a second while nothing is due
	agentCPU, postgresCPU     float64 // milliseconds per run
	agentCores, postgresCores float64 // in use while there was work
}

func (s *scaleBed) number(query string, args ...any) (n float64) {
	if err := s.conn.QueryRow(s.Context(), query, args...).Scan(&n); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
	return n
}

// launch starts an agent; it ends when stop is called, which returns its CPU seconds.
func (s *scaleBed) launch(at time.Time) (stop func() float64) {
	cmd := exec.CommandContext(s.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=scale", "WINCH_BENCH_DATABASE="+s.address, "WINCH_SCALE_AT="+at.Format(time.RFC3339))
	cmd.Stderr = os.Stderr
	life, err := cmd.StdinPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	return func() float64 {
		_ = life.Close() // or it has ended
		if err := cmd.Wait(); err != nil {
			s.Error(err)
		}
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
}

const (
	transactionsQuery = "SELECT sum(xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = current_database()"
	walQuery          = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8"
)

func (s *scaleBed) night(agents int) (n night) {
	n.agents = agents
	at := time.Now().Add(time.Duration(10+s.sources/100) * time.Second).Truncate(time.Second).UTC()
	var stops []func() float64
	for range agents {
		stops = append(stops, s.launch(at))
	}
	sleepUntil(at.Add(-4 * time.Second))
	idle, from := s.number(transactionsQuery), time.Now()
	sleepUntil(at.Add(-time.Second))
	n.idle = (s.number(transactionsQuery) - idle) / time.Since(from).Seconds()
	transactions, wal, cpu := s.number(transactionsQuery), s.number(walQuery), s.cpu()
	runs := float64(s.sources)
	for s.number("SELECT count(*)::float8 FROM winch.ticks WHERE tick = $1 AND done_at IS NOT NULL", at) < runs {
		n.connections = max(n.connections, s.number("SELECT count(*)::float8 FROM pg_stat_activity WHERE datname = current_database()"))
		time.Sleep(500 * time.Millisecond)
	}
	n.seconds = s.number("SELECT extract(epoch FROM max(done_at) - min(due_at))::float8 FROM winch.ticks WHERE tick = $1", at)
	n.decided = s.number("SELECT extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY decided_at - due_at))::float8 FROM winch.ticks WHERE tick = $1", at)
	n.began = s.number(`SELECT extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY r.started_at - t.due_at))::float8
FROM winch.ticks t JOIN winch.runs r ON r.id = t.run WHERE t.tick = $1`, at)
	postgresCPU, agentCPU := s.cpu()-cpu, 0.0
	n.transactions = (s.number(transactionsQuery) - transactions) / runs
	n.wal = (s.number(walQuery) - wal) / runs
	for _, stop := range stops {
		agentCPU += stop()
	}
	n.agentCPU, n.postgresCPU = 1000*agentCPU/runs, 1000*postgresCPU/runs
	n.agentCores, n.postgresCores = agentCPU/n.seconds, postgresCPU/n.seconds
	if failed := s.number("SELECT count(*)::float8 FROM winch.runs WHERE outcome <> 'succeeded'"); failed != 0 {
		s.Errorf("%v runs did not succeed", failed)
	}
	return n
}

// cpu is what the server has used.
func (s *scaleBed) cpu() float64 {
	cpu, err := s.meter.cpu()
	if err != nil {
		s.Fatal(err)
	}
	return cpu
}

func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }

// BenchmarkScale pulls WINCH_SCALE_SOURCES sources, all due at one moment, with 1, 2
// and 4 agents.
func BenchmarkScale(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"max_connections": "200", "max_locks_per_transaction": "256"}})
	s := &scaleBed{B: b, address: server.Database(b), sources: len(scaleSources())}
	store, err := postgres.Open(b.Context(), s.address, postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := riverqueue.Migrate(b.Context(), store); err != nil {
		b.Fatal(err)
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	if s.conn, err = pgx.Connect(b.Context(), s.address); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.conn.Close(context.Background()) }()
	if s.meter, err = newMeter(b.Context(), s.conn); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("\n%d sources of %d streams, all due at one moment; each agent a process with 8 workers\n\n", s.sources, scaleStreams)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "night\tagents\tseconds\truns/s\tslices/s\tdecided p99 s\tbegun p99 s\ttx/run\ttx/s\tWAL KiB/run\tagents ms/run\tPostgreSQL ms/run\tagents cores\tPostgreSQL cores\tconnections\tidle tx/s\t")
	for i, agents := range []int{4, 1, 2, 4} {
		n := s.night(agents)
		rate := float64(s.sources) / n.seconds
		what := fmt.Sprint(i)
		if i == 0 {
			what = "0: tables are made"
		}
		n.print(tw, what, rate)
	}
	if err := tw.Flush(); err != nil {
		b.Fatal(err)
	}
}

func (n night) print(to io.Writer, what string, rate float64) {
	fmt.Fprintf(to, "%s\t%d\t%.1f\t%.1f\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%.1f\t\n", what, n.agents, n.seconds, rate, rate*scaleStreams,
		n.decided, n.began, n.transactions, n.transactions*rate, n.wal/1024, n.agentCPU, n.postgresCPU, n.agentCores, n.postgresCores, n.connections, n.idle)
}
