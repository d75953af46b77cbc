package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/pkg/connector"
)

// The scale of scheduling: many sources are due at one moment, and their vendor
// answers at once, so that what is measured is Winch and its database. Agents are
// simulated by one process, with what real ones have: connections, queue, schedule
// and leases of their own.

const (
	scaleStreams = 10
	scaleRows    = 5 // of each stream, the same every night
)

// fastVendor has small streams and answers at once.
type fastVendor struct{ streams []connector.Stream }

func (v fastVendor) Streams(context.Context) ([]connector.Stream, error) { return v.streams, nil }

func (v fastVendor) Pull(_ context.Context, req connector.Request, out connector.Emitter) error {
	for i := range scaleRows {
		if err := out.Record(fmt.Appendf(nil, `{"id":%d,"name":"%s %d"}`, i, req.Stream, i)); err != nil {
			return err
		}
	}
	return nil
}

func newFastVendor() (v fastVendor) {
	for i := range scaleStreams {
		v.streams = append(v.streams, connector.Stream{
			Name: fmt.Sprint("stream_", i), Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
			Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "name", Type: connector.TypeText}},
		})
	}
	return v
}

// A scaleBed is a database and the sources that are pulled into it.
type scaleBed struct {
	*testing.B
	address string
	sources []string
	vendor  fastVendor
	conn    *pgx.Conn
}

// A night is what it took to pull all sources once, all due at the same moment.
type night struct {
	agents                         int
	seconds                        float64 // from the moment until the last was done
	decided, began                 float64 // p99 of the lateness of the decision and of the run, in seconds
	transactions, wal, connections float64 // per run; the last is how many at most
	idle                           float64 // transactions a second while nothing is due
}

// pull serves a job as winch serve does.
func (s *scaleBed) pull(store sink.Sink) func(context.Context, scheduler.Task) error {
	puller := &pull.Puller{Sink: store, Log: slog.New(slog.DiscardHandler)}
	return func(ctx context.Context, t scheduler.Task) error {
		_, err := puller.Run(ctx, pull.Job{
			Source: t.Source, Connector: "fast", Trigger: string(t.Trigger), AsOf: time.Now(),
			Open: func(context.Context) (*pull.Session, error) {
				return &pull.Session{Source: s.vendor, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
			},
			Select: func(offered []connector.Stream) (all []ledger.Want, err error) {
				for _, one := range offered {
					all = append(all, ledger.Want{Source: t.Source, Stream: one})
				}
				return all, nil
			},
			Begin: t.Open,
			End:   func(ctx context.Context, res pull.Result) error { return t.Done(ctx, res.Run) },
		})
		return err
	}
}

// agent serves the schedules until ctx ends.
func (s *scaleBed) agent(ctx context.Context, name string, schedules []scheduler.Schedule) error {
	store, err := postgres.Open(ctx, s.address, postgres.Options{Version: "scale"})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing is written after
	queue, err := riverqueue.Open(ctx, store, riverqueue.Options{})
	if err != nil {
		return err
	}
	defer queue.Close()
	decider := scheduler.New(store, queue, slog.New(slog.NewTextHandler(io.Discard, nil)), name)
	drain, worked := make(chan struct{}), make(chan error, 1)
	go func() { worked <- queue.Work(context.WithoutCancel(ctx), drain, decider.Runner(s.pull(store))) }()
	err = decider.Run(ctx, schedules)
	close(drain)
	if workErr := <-worked; err == nil {
		err = workErr
	}
	return err
}

func (s *scaleBed) number(query string, args ...any) (n float64) {
	if err := s.conn.QueryRow(s.Context(), query, args...).Scan(&n); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
	return n
}

const transactionsQuery = "SELECT sum(xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = current_database()"

func (s *scaleBed) night(agents int) (n night) {
	n.agents = agents
	at := time.Now().Add(time.Duration(10+len(s.sources)/100) * time.Second).Truncate(time.Second).UTC()
	var schedules []scheduler.Schedule
	for _, source := range s.sources {
		schedules = append(schedules, scheduler.Schedule{
			Schedule: sink.Schedule{Source: source, Name: "schedule", Expression: at.Format(time.RFC3339)},
			Next: func(after time.Time) time.Time {
				if after.Before(at) {
					return at
				}
				return time.Time{}
			},
			Overlap: scheduler.OverlapSkip, CatchUp: scheduler.CatchUpOnce,
		})
	}
	ctx, end := context.WithCancel(s.Context())
	defer end()
	var wg sync.WaitGroup
	for i := range agents {
		wg.Go(func() {
			if err := s.agent(ctx, fmt.Sprint("agent ", i), schedules); err != nil {
				s.Error(err)
			}
		})
	}
	sleepUntil(at.Add(-4 * time.Second))
	idle, from := s.number(transactionsQuery), time.Now()
	sleepUntil(at.Add(-time.Second))
	n.idle = (s.number(transactionsQuery) - idle) / time.Since(from).Seconds()
	before := s.number(transactionsQuery)
	wal := s.number("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8")
	for s.number("SELECT count(*)::float8 FROM winch.ticks WHERE tick = $1 AND done_at IS NOT NULL", at) < float64(len(s.sources)) {
		n.connections = max(n.connections, s.number("SELECT count(*)::float8 FROM pg_stat_activity WHERE datname = current_database()"))
		time.Sleep(200 * time.Millisecond)
	}
	runs := float64(len(s.sources))
	n.seconds = s.number("SELECT extract(epoch FROM max(done_at) - min(due_at))::float8 FROM winch.ticks WHERE tick = $1", at)
	n.decided = s.number("SELECT extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY decided_at - due_at))::float8 FROM winch.ticks WHERE tick = $1", at)
	n.began = s.number(`SELECT extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY r.started_at - t.due_at))::float8
FROM winch.ticks t JOIN winch.runs r ON r.id = t.run WHERE t.tick = $1`, at)
	end()
	wg.Wait()
	n.transactions = (s.number(transactionsQuery) - before) / runs
	n.wal = (s.number("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8") - wal) / runs
	if failed := s.number("SELECT count(*)::float8 FROM winch.runs WHERE outcome <> 'succeeded'"); failed != 0 {
		s.Errorf("%v runs did not succeed", failed)
	}
	return n
}

func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }

// BenchmarkScale pulls WINCH_SCALE_SOURCES sources, all due at one moment, with 1, 2
// and 4 agents.
func BenchmarkScale(b *testing.B) {
	s := &scaleBed{B: b, vendor: newFastVendor()}
	server := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"max_connections": "200", "max_locks_per_transaction": "256"}})
	s.address = server.Database(b)
	for i := range number("WINCH_SCALE_SOURCES", 1000) {
		s.sources = append(s.sources, fmt.Sprintf("source_%05d", i))
	}
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
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Printf("\n%d sources of %d streams, all due at one moment; 8 workers an agent\n\n", len(s.sources), scaleStreams)
	fmt.Fprintln(tw, "night\tagents\tseconds\truns/s\tslices/s\tdecided p99 s\tbegun p99 s\ttransactions/run\tWAL KiB/run\tconnections\tidle tx/s\t")
	for i, agents := range []int{4, 1, 2, 4} {
		n := s.night(agents)
		rate := float64(len(s.sources)) / n.seconds
		what := fmt.Sprint(i)
		if i == 0 {
			what = "0: tables are made"
		}
		fmt.Fprintf(tw, "%s\t%d\t%.1f\t%.1f\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%.1f\t\n", what, agents, n.seconds, rate, rate*scaleStreams,
			n.decided, n.began, n.transactions, n.wal/1024, n.connections, n.idle)
	}
	if err := tw.Flush(); err != nil {
		b.Fatal(err)
	}
}
