//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A neighbourhood is a fleet in which agents of an older program take part.
type neighbourhood struct {
	*fleet
	older string // the program
	old   []int  // its processes
	ids   []int64
}

// doneQuery counts the jobs of ticks that were done and decided by the agents $1 ($2,
// $3), or by others.
const doneQuery = `SELECT count(*) FROM winch_river.river_job j
LEFT JOIN winch.ticks t ON t.source = j.args->'job'->>'source' AND t.schedule = j.args->'job'->>'schedule' AND t.tick = (j.args->'job'->>'tick')::timestamptz
WHERE j.state = 'completed' AND j.args->'job'->>'trigger' = 'tick'
	AND (substring(j.attempted_by[array_upper(j.attempted_by, 1)] FROM '[0-9]+$')::bigint = ANY ($1)) = $2
	AND (substring(t.agent FROM '^agent ([0-9]+),')::bigint = ANY ($1)) = $3`

// untilDone waits until a tick that old agents decided, or new ones, was done by old
// ones, or new ones. There is something to read each time.
func (n *neighbourhood) untilDone(doneByOld, decidedByOld bool) {
	n.Helper()
	side := map[bool]string{true: "an older agent", false: "a newer agent"}
	what := fmt.Sprintf("%s has done what %s decided", side[doneByOld], side[decidedByOld])
	before := n.number(doneQuery, n.ids, doneByOld, decidedByOld)
	n.exec("DELETE FROM winch.slices")
	n.until(what, "SELECT (("+doneQuery+") > $4)::int", n.ids, doneByOld, decidedByOld, before)
}

// queued queues a pull by the newer program and waits until it is done.
func (n *neighbourhood) queued(source string) {
	n.Helper()
	const ended = "SELECT count(*) FROM winch.runs WHERE source = $1 AND trigger = 'pull' AND outcome = 'succeeded'"
	before := n.number(ended, source)
	n.exec("DELETE FROM winch.slices")
	n.run("pull", "--queue", source)
	n.until("what was queued by hand is done", "SELECT (("+ended+") > $2)::int", source, before)
}

// BenchmarkNeighbours lets agents of an older program, WINCH_TEST_NEIGHBOUR, and of
// this one serve one database, as in a rolling update: the newer one migrates while
// the older ones work, both work side by side, and the older ones are drained. No tick
// is lost, no run fails, and the rows are the truth. `make neighbours` builds the
// older one.
func BenchmarkNeighbours(b *testing.B) {
	older := os.Getenv("WINCH_TEST_NEIGHBOUR")
	if older == "" {
		b.Fatal("WINCH_TEST_NEIGHBOUR names no older winch: run make neighbours")
	}
	n := &neighbourhood{fleet: newFleetOf(b, fleetBudgets...), older: older}
	n.runOf(older, "migrate")
	const version = "SELECT max(version_id) FROM winch.schema_version"
	before := n.number(version)

	for range 2 {
		n.old = append(n.old, n.launchOf(older))
	}
	n.until("two older agents are at work", "SELECT (count(*) = 2)::int FROM winch.agents")
	for _, pid := range n.old {
		n.ids = append(n.ids, n.number("SELECT id FROM winch.agents WHERE pid = $1", pid))
	}
	n.untilDone(true, true)
	n.run("migrate")       // while they work
	n.queued(n.sources[0]) // only older ones serve
	n.untilDone(true, true)

	for range 2 {
		n.launch()
	}
	n.until("four agents are at work", "SELECT (count(*) = 4)::int FROM winch.agents")
	n.untilDone(false, true)
	n.untilDone(true, false)
	n.untilDone(false, false)

	for i, pid := range n.old {
		agent := n.agents[pid]
		delete(n.agents, pid)
		n.run("agents", "drain", fmt.Sprint(n.ids[i]))
		if err := agent.Wait(); err != nil {
			b.Errorf("the older agent %d: %v\n%s%s", pid, err, agent.Stdout, agent.Stderr)
		}
	}
	n.queued(n.sources[1])
	n.untilDone(false, false)
	n.settle()
	fmt.Printf("versions %s: tables of %d and %d\n", strings.Join(n.versions(), " and "), before, n.number(version))
	fmt.Printf("%d runs, %d ticks, none lost; decided and done across versions; rows equal the truth\n",
		n.number("SELECT count(*) FROM winch.runs"), n.number("SELECT count(*) FROM winch.ticks"))
}

// versions are what the two programs say they are.
func (n *neighbourhood) versions() (all []string) {
	n.Helper()
	for _, program := range []string{n.older, n.program()} {
		out, err := n.commandOf(program, "version").Output()
		if err != nil {
			n.Fatal(err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		all = append(all, first)
	}
	return all
}
