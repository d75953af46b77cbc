//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// Agents as real processes on one database, struck at random. `make takeover` does
// it for longer, by the clock that users have.

const (
	fleetSize   = 3
	fleetStream = "cdrs_in"
	// fleetPace is how long the simulated vendor takes for each answer.
	fleetPace = 100 * time.Millisecond
)

// fleetBudgets are the budgets of the sources: two share one.
var fleetBudgets = []string{"kaisa_0", "kaisa_1", "kaisa_2", "shared", "shared"}

// A fleet is some agents, their database and their vendor.
type fleet struct {
	testing.TB
	dir     string // with the binary and the configuration
	address string
	box     *sandbox.Sandbox
	url     string   // of the vendor
	env     []string // of the agents, beside the test's own
	sources []string
	agents  map[int]*exec.Cmd // by process id
	conn    *pgx.Conn
}

func newFleet(t testing.TB, budgets ...string) *fleet {
	t.Helper()
	f := newFleetOf(t, budgets...)
	f.run("migrate")
	return f
}

// newFleetOf makes a fleet whose database nobody has migrated yet.
func newFleetOf(t testing.TB, budgets ...string) *fleet {
	t.Helper()
	f := &fleet{TB: t, dir: t.TempDir(), address: pgtest.Database(t), agents: map[int]*exec.Cmd{}}
	f.box = sandbox.New(sandbox.Options{Size: 3, Days: 12, Faults: []sandbox.Fault{
		{Kind: sandbox.FaultSlow, Path: "/statistics/cdrs", Delay: fleetPace},
	}})
	server := httptest.NewServer(f.box)
	t.Cleanup(server.Close)
	f.url = server.URL
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self) // plugins are told by the program's own path
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.program(), program, 0o700); err != nil {
		t.Fatal(err)
	}
	var settings []byte
	for _, s := range f.box.Sources(server.URL) {
		if s.Connector == "kaisa" {
			if settings, err = json.Marshal(s.Config); err != nil {
				t.Fatal(err)
			}
		}
	}
	var config strings.Builder
	fmt.Fprintf(&config, "sink: {url: %q}\nserve: {listen: '127.0.0.1:0', grace: 20s}\nsources:\n", f.address)
	for i, budget := range budgets {
		name := fmt.Sprint("kaisa_", i)
		f.sources = append(f.sources, name)
		fmt.Fprintf(&config, "  %s: {connector: kaisa, config: %s, schedule: '*/4 * * * * *', budget: %s, since: %s, streams: {%s: {lookback: 60d, slice: 1d}}}\n",
			name, settings, budget, f.box.Begin().Format(time.DateOnly), fleetStream)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "winch.yaml"), []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.conn, err = pgx.Connect(t.Context(), f.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, a := range f.agents {
			_ = a.Process.Signal(syscall.SIGCONT)
			_ = a.Process.Kill()
			_ = a.Wait()
		}
		_ = f.conn.Close(context.WithoutCancel(t.Context()))
	})
	return f
}

func (f *fleet) program() string { return filepath.Join(f.dir, "winch") }

// commandOf is a command of a program in the fleet's folder.
func (f *fleet) commandOf(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(f.Context()), program, args...)
	cmd.Dir = f.dir
	cmd.Env = append(append(os.Environ(), "HOME="+f.dir), f.env...)
	return cmd
}

// run runs a command to its end.
func (f *fleet) run(args ...string) {
	f.Helper()
	f.runOf(f.program(), args...)
}

func (f *fleet) runOf(program string, args ...string) {
	f.Helper()
	if out, err := f.commandOf(program, args...).CombinedOutput(); err != nil {
		f.Fatalf("winch %q: %v\n%s", args, err, out)
	}
}

// launch starts an agent.
func (f *fleet) launch() {
	f.Helper()
	f.launchOf(f.program())
}

// launchOf starts an agent of a program, and returns its process id.
func (f *fleet) launchOf(program string) int {
	f.Helper()
	cmd := f.commandOf(program, "serve", "--output", "json")
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.agents[cmd.Process.Pid] = cmd
	return cmd.Process.Pid
}

// number returns what a query of one number gives.
func (f *fleet) number(query string, args ...any) (n int64) {
	f.Helper()
	if err := f.conn.QueryRow(f.Context(), query, args...).Scan(&n); err != nil {
		f.Fatalf("%s: %v", query, err)
	}
	return n
}

// until returns when a query of one number gives something else than zero.
func (f *fleet) until(what, query string, args ...any) int64 {
	f.Helper()
	for started := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if n := f.number(query, args...); n != 0 {
			return n
		}
		if time.Since(started) > 2*time.Minute {
			for _, a := range f.agents {
				f.Logf("agent %d:\n%s%s", a.Process.Pid, a.Stdout, a.Stderr)
			}
			f.Fatalf("it took too long until %s", what)
		}
	}
}

// A strike is what befell an agent in the middle of a run.
type strike struct {
	pid    int
	run    int64
	source string
	slices int64 // that the run had committed
}

// aim waits until an agent is in the middle of a run, and chooses one. So that there
// is something to read, it makes the fleet forget what it holds.
func (f *fleet) aim() (s strike) {
	f.Helper()
	if _, err := f.conn.Exec(f.Context(), "DELETE FROM winch.slices"); err != nil {
		f.Fatal(err)
	}
	const query = `SELECT a.pid, r.id, r.source, (SELECT count(*) FROM winch.reads d WHERE d.run = r.id)
FROM winch.runs r JOIN winch.leases l ON l.source = r.source JOIN winch.agents a ON a.id = l.holder
WHERE r.outcome = '' AND a.expires_at > now() AND EXISTS (SELECT FROM winch.reads d WHERE d.run = r.id) ORDER BY random() LIMIT 1`
	f.until("a run has committed a slice", "SELECT count(*) FROM ("+query+") q")
	err := f.conn.QueryRow(f.Context(), query).Scan(&s.pid, &s.run, &s.source, &s.slices)
	if err != nil || f.agents[s.pid] == nil {
		return f.aim() // it has just ended
	}
	return s
}

func (f *fleet) kill(s strike) {
	f.Helper()
	a := f.agents[s.pid]
	delete(f.agents, s.pid)
	if err := a.Process.Kill(); err != nil {
		f.Fatal(err)
	}
	_ = a.Wait() // killed
}

// takenOver waits until the source that was struck goes on, and returns how long that
// took by the clock of the database. If the run was at its end there is nothing to
// take over, and it returns false.
func (f *fleet) takenOver(s strike, since time.Time) (time.Duration, bool) {
	f.Helper()
	f.until(fmt.Sprintf("run %d has an outcome", s.run), "SELECT count(*) FROM winch.runs WHERE id = $1 AND outcome <> ''", s.run)
	if f.number("SELECT count(*) FROM winch.runs WHERE id = $1 AND outcome = 'lost'", s.run) == 0 {
		return 0, false
	}
	f.until("another agent goes on", "SELECT count(*) FROM winch.runs WHERE source = $1 AND id > $2", s.source, s.run)
	var began time.Time
	if err := f.conn.QueryRow(f.Context(), "SELECT min(started_at) FROM winch.runs WHERE source = $1 AND id > $2", s.source, s.run).Scan(&began); err != nil {
		f.Fatal(err)
	}
	return began.Sub(since), true
}

// now is the clock of the database, which is this machine's.
func (f *fleet) now() (now time.Time) {
	f.Helper()
	if err := f.conn.QueryRow(f.Context(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		f.Fatal(err)
	}
	return now
}

// settle lets every tick that was taken come to its end, ends the agents, and checks
// what must hold whatever befell them.
func (f *fleet) settle() {
	f.Helper()
	for _, source := range f.sources {
		f.run("schedule", "pause", source)
	}
	f.until("every tick is done", "SELECT (count(*) FILTER (WHERE done_at IS NULL) = 0)::int FROM winch.ticks")
	f.until("every job is done", "SELECT (count(*) FILTER (WHERE state IN ('available', 'running', 'scheduled', 'retryable')) = 0)::int FROM winch_river.river_job")
	for pid, a := range f.agents {
		delete(f.agents, pid)
		if err := a.Process.Signal(syscall.SIGTERM); err != nil {
			f.Fatal(err)
		}
		if err := a.Wait(); err != nil {
			f.Errorf("agent %d: %v\n%s%s", pid, err, a.Stdout, a.Stderr)
		}
	}
	for what, query := range map[string]string{
		"runs without an outcome": "SELECT count(*) FROM winch.runs WHERE outcome = ''",
		"runs that failed":        "SELECT count(*) FROM winch.runs WHERE outcome IN ('failed', 'incomplete')",
		"ticks that were passed over": `SELECT count(*) FROM (
	SELECT tick - lag(tick) OVER (PARTITION BY source, schedule ORDER BY tick) AS gap FROM winch.ticks) g WHERE gap <> interval '4 seconds'`,
		"ticks that two runs were made for": `SELECT count(*) FROM (SELECT run FROM winch.ticks WHERE run > 0 GROUP BY run HAVING count(*) > 1) d`,
		// I3: a source, and a budget, is pulled by one agent at a time.
		"slices that were committed after the next run had begun": `SELECT count(*) FROM winch.reads d JOIN winch.runs n ON n.source = d.source AND n.id > d.run
	WHERE d.state = 'held' AND d.ended_at > n.started_at`,
		"slices of one budget that were read at the same time": `SELECT count(*) FROM winch.reads a JOIN winch.reads b ON a.source < b.source
	WHERE a.source IN ('kaisa_3', 'kaisa_4') AND b.source IN ('kaisa_3', 'kaisa_4')
		AND a.state = 'held' AND b.state = 'held' AND a.started_at < b.ended_at AND b.started_at < a.ended_at`,
		"agents that are left":  "SELECT count(*) FROM winch.agents",
		"sources that are held": "SELECT count(*) FROM winch.leases WHERE holder IS NOT NULL",
	} {
		if n := f.number(query); n != 0 {
			f.Errorf("%d %s", n, what)
		}
	}
	f.run("pull")
	var until time.Time
	if err := f.conn.QueryRow(f.Context(), "SELECT max(until) FROM winch.slices").Scan(&until); err != nil {
		f.Fatal(err)
	}
	want := []string{}
	for record := range f.box.KaisaTruth(fleetStream, f.box.Begin(), until) {
		want = append(want, fmt.Sprint(record["cdr_id"]))
	}
	slices.Sort(want)
	for _, source := range f.sources {
		rows, err := f.conn.Query(f.Context(), "SELECT cdr_id::text FROM "+pgx.Identifier{source, fleetStream}.Sanitize())
		if err != nil {
			f.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			f.Fatal(err)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			f.Errorf("%s: %d rows (-truth +landed):\n%.2000s", source, len(got), diff)
		}
	}
}

// I1, I3, I4, I7: of three agents one is killed and one stopped, each in the middle of
// a run. The stopped one's silence is not waited for but written down.
func TestAgentsTakeOverFromEachOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetBudgets...)
	for range fleetSize {
		f.launch()
	}
	killed := f.aim()
	since := f.now()
	f.kill(killed)
	if took, lost := f.takenOver(killed, since); lost {
		t.Logf("killed: another agent went on after %s", took)
	}

	var stopped strike
	for lost := false; !lost; {
		stopped = f.aim()
		agent := f.agents[stopped.pid]
		if err := agent.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		f.number("WITH silent AS (UPDATE winch.agents SET expires_at = now() - interval '1 second' WHERE pid = $1 RETURNING 1) SELECT count(*) FROM silent", stopped.pid)
		if f.number("SELECT count(*) FROM winch.runs WHERE id = $1 AND outcome = ''", stopped.run) == 0 {
			if err := agent.Process.Signal(syscall.SIGCONT); err != nil { // it had just ended
				t.Fatal(err)
			}
			continue
		}
		_, lost = f.takenOver(stopped, f.now())
		if err := agent.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	f.settle()
}

// BenchmarkTakeOver strikes TAKEOVER_ROUNDS times at random moments and prints
// how long it took until another agent went on.
func BenchmarkTakeOver(b *testing.B) {
	rounds := 20
	if text := os.Getenv("TAKEOVER_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	f := newFleet(b, fleetBudgets...)
	for range fleetSize {
		f.launch()
	}
	took := map[string][]time.Duration{}
	open := func(s strike) bool {
		return f.number("SELECT count(*) FROM winch.runs WHERE id = $1 AND outcome = ''", s.run) != 0
	}
	for struck := 0; struck < rounds; {
		s := f.aim()
		time.Sleep(rand.N(300 * time.Millisecond)) // anywhere in what it does next
		if !open(s) {
			continue
		}
		struck++
		since := f.now()
		how := "kill -9"
		if rand.IntN(2) == 0 {
			f.kill(s)
			f.launch()
		} else {
			how = "SIGSTOP"
			if err := f.agents[s.pid].Process.Signal(syscall.SIGSTOP); err != nil {
				b.Fatal(err)
			}
		}
		d, lost := time.Duration(0), false
		if open(s) {
			d, lost = f.takenOver(s, since)
		}
		if how == "SIGSTOP" {
			if err := f.agents[s.pid].Process.Signal(syscall.SIGCONT); err != nil {
				b.Fatal(err)
			}
		}
		if lost {
			took[how] = append(took[how], d)
			if d > 30*time.Second {
				b.Errorf("%s: another agent went on after %s", how, d)
			}
		}
	}
	f.settle()
	for how, all := range took {
		slices.Sort(all)
		fmt.Printf("%-8s %2d take-overs; another agent went on after %.1f s (median), %.1f s (longest)\n",
			how, len(all), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	}
	fmt.Printf("%d runs, %d of them lost; %d ticks, none passed over; rows equal the truth\n", f.number("SELECT count(*) FROM winch.runs"),
		f.number("SELECT count(*) FROM winch.runs WHERE outcome = 'lost'"), f.number("SELECT count(*) FROM winch.ticks"))
}
