package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
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

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// Kill tests, really killing: `winch backfill` and then `winch pull` read the
// simulated accounts of all vendors, as processes with their plugins, into a store,
// while the agent, plugins and PostgreSQL are sent SIGKILL at random moments; the
// same command goes on until it ends well. Then the tables are the truth, the
// ledger is what the tables hold, no window was committed twice, and every run has
// its one outcome (I1, I2, I4, I7).
//
// In `make test` a few die. `make kill` kills WINCH_TEST_KILLS times, 200 unless it is
// set, and prints how often whom; WINCH_TEST_KILL_SEED repeats the choices of a run,
// though not the moments at which the machine gets there.
func TestKills(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"postgres", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			k := newKiller(t, store)
			defer func() { t.Logf("seed %d: %s", k.seed, k.sum()) }()
			for k.killed < k.wanted && !t.Failed() {
				k.round()
			}
		})
	}
}

const (
	killsInShort = 5 // of each store: a quick form for every run of the tests
	killsARound  = 12
	mostRetries  = 40 // commands that end badly without a kill
)

// A killer kills what pulls into one store.
type killer struct {
	*testing.T
	random *rand.Rand
	seed   uint64
	wanted int

	box     *sandbox.Sandbox
	sandbox string // its address
	server  *pgtest.Server
	calm    time.Duration // how long a command takes that nobody disturbs

	// Of the round.
	dir  string
	url  string // of the store
	path string // of the store, for SQLite

	killed, commands, rounds int
	victims                  map[string]int
}

func newKiller(t *testing.T, store string) *killer {
	t.Helper()
	k := &killer{T: t, wanted: setting(t, "WINCH_TEST_KILLS", killsInShort), victims: map[string]int{}}
	k.seed = uint64(setting(t, "WINCH_TEST_KILL_SEED", int(time.Now().UnixNano()%1_000_000)))
	k.random = rand.New(rand.NewPCG(k.seed, uint64(len(store))))
	k.box = sandbox.New(sandbox.Options{Size: 1, Days: 3})
	server := httptest.NewServer(k.box)
	t.Cleanup(server.Close)
	k.sandbox = server.URL
	if store == "postgres" {
		k.server = pgtest.Start(t, pgtest.Options{})
	}
	return k
}

// setting is a number of the environment.
func setting(t *testing.T, name string, def int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a positive number", name, text)
	}
	return n
}

func (k *killer) sum() string {
	text := fmt.Sprintf("%d kills in %d commands of %d rounds", k.killed, k.commands, k.rounds)
	for _, who := range slices.Sorted(func(yield func(string) bool) {
		for who := range k.victims {
			if !yield(who) {
				return
			}
		}
	}) {
		text += fmt.Sprintf(", %s %d", who, k.victims[who])
	}
	return text
}

// round pulls everything into a fresh store, kills until enough have died, lets
// the last pull end well and looks at what is there.
func (k *killer) round() {
	k.Helper()
	k.rounds++
	k.dir = k.TempDir()
	k.path = filepath.Join(k.dir, "winch.db")
	k.url = "sqlite:" + k.path
	if k.server != nil {
		k.url = k.server.Database(k.T)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "winch.yaml"), sandboxConfig(k.box, k.sandbox, k.url), 0o600); err != nil {
		k.Fatal(err)
	}
	if k.calm == 0 {
		k.calm = 3 * time.Second // a guess, until the first pull has ended
	}
	before := k.killed
	first, last := k.box.Begin().Format(time.DateOnly), k.box.AsOf().AddDate(0, 0, -1).Format(time.DateOnly)
	k.until(before, "backfill", "kaisa_sandbox", "--from", first, "--to", last, "--yes")
	k.until(before, "pull")
	k.verify()
}

// until runs a command until it ends well. The round began with so many killed.
func (k *killer) until(before int, command ...string) {
	k.Helper()
	for badly := 0; ; {
		kills := k.killed
		started := time.Now()
		out, err := k.run(min(k.wanted-k.killed, killsARound-(k.killed-before)), command)
		if k.commands++; err == nil {
			if k.killed == kills {
				k.calm = max(time.Since(started), time.Second)
			}
			return
		}
		if k.killed > kills {
			continue
		}
		if badly++; badly > mostRetries {
			k.Fatalf("seed %d: winch %s ends badly although nobody dies any more: %v\n%s\n%s", k.seed, command[0], err, out, k.database())
		}
	}
}

// run runs winch and kills while it runs, at most so often. It returns what the
// command said and how it ended.
func (k *killer) run(most int, command []string) (said string, err error) {
	k.Helper()
	k.forgetTheDead()
	cmd := exec.CommandContext(k.Context(), "winch", command...)
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), "HOME="+k.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		// Nothing is killed any more when there are enough.
		moment := make(<-chan time.Time)
		if most > 0 {
			moment = time.After(time.Duration(k.random.Int64N(int64(k.calm))))
		}
		select {
		case err := <-ended:
			return out.String(), err
		case <-moment:
			most--
			plugins := k.kill(cmd.Process.Pid)
			if plugins == nil {
				continue
			}
			err := <-ended // the agent died
			k.gone(plugins)
			return out.String(), errors.Join(err, errors.New("killed"))
		}
	}
}

// kill kills somebody. It returns the plugins of an agent that it killed.
func (k *killer) kill(agent int) (plugins []int) {
	k.Helper()
	who := []string{"agent", "agent", "plugin", "plugin", "agent+plugin"}
	if k.server != nil {
		who = append(who, "postgres", "postgres", "plugin+postgres", "agent+postgres")
	}
	victim := who[k.random.IntN(len(who))]
	children := k.children(agent)
	k.victims[victim]++
	k.killed++
	if strings.Contains(victim, "plugin") && len(children) > 0 {
		end(children[k.random.IntN(len(children))])
	}
	if strings.Contains(victim, "agent") {
		end(agent)
		plugins = append([]int{}, children...)
	}
	if strings.Contains(victim, "postgres") {
		k.server.Kill(k.T)
		k.server.Restart(k.T)
	}
	return plugins
}

// end sends SIGKILL. Who is gone already needs none.
func end(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// gone waits until the plugins of a dead agent have ended too.
func (k *killer) gone(plugins []int) {
	k.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range plugins {
		for syscall.Kill(pid, 0) == nil && !k.zombie(pid) {
			if time.Now().After(deadline) {
				k.Fatalf("plugin %d outlives its agent", pid)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

// zombie reports whether a process has ended and nobody has asked how yet.
func (k *killer) zombie(pid int) bool {
	out, err := exec.CommandContext(k.Context(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// children are the processes that a process started.
func (k *killer) children(parent int) (pids []int) {
	k.Helper()
	out, err := exec.CommandContext(k.Context(), "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		k.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var pid, of int
		if _, err := fmt.Sscan(line, &pid, &of); err == nil && of == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// forgetTheDead lets the time pass after which an agent without a sign of life
// counts as dead, where its session did not tell: after a death of the server
// itself. No agent runs when it is called.
func (k *killer) forgetTheDead() {
	k.Helper()
	if k.server == nil {
		return
	}
	conn := k.connect()
	defer conn.Close(context.WithoutCancel(k.Context()))
	var there bool
	if err := conn.QueryRow(k.Context(), "SELECT to_regclass('winch.agents') IS NOT NULL").Scan(&there); err != nil {
		k.Fatal(err)
	}
	if there {
		if _, err := conn.Exec(k.Context(), "UPDATE winch.agents SET expires_at = clock_timestamp()"); err != nil {
			k.Fatal(err)
		}
	}
}

func (k *killer) connect() *pgx.Conn {
	k.Helper()
	conn, err := pgx.Connect(k.Context(), k.url)
	if err != nil {
		k.Fatal(err)
	}
	return conn
}

// database is what PostgreSQL said last, for the report of a failure.
func (k *killer) database() string {
	if k.server == nil {
		return ""
	}
	log := k.server.Log()
	return log[max(0, len(log)-2000):]
}

// app is an agent in this process, to look at the store with.
func (k *killer) app() (*app, *config.Config) {
	k.Helper()
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, logOutput: &redirected{w: &bytes.Buffer{}}}
	a.setLog(config.Log{Level: 100})
	cfg, err := a.demoConfig(k.box, k.sandbox, k.url)
	if err != nil {
		k.Fatal(err)
	}
	return a, cfg
}

// openTables opens the tables as anybody would.
func (k *killer) openTables() func(source, stream string, live bool) []map[string]any {
	k.Helper()
	if k.server == nil {
		db, err := sql.Open("sqlite", k.path)
		if err != nil {
			k.Fatal(err)
		}
		k.Cleanup(func() { _ = db.Close() })
		return func(source, stream string, live bool) []map[string]any { return k.sqliteRows(db, source, stream, live) }
	}
	conn := k.connect()
	k.Cleanup(func() { _ = conn.Close(context.Background()) })
	return func(source, stream string, live bool) []map[string]any {
		return k.postgresRows(conn, source, stream, live)
	}
}
