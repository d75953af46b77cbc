//go:build unix

package main

import (
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// I3, I7: an agent is stopped while the server does one long statement for it, which
// holds the table and, in a commit, the lease. Whoever takes over ends that
// statement, which would go on for ten minutes, and what wakes up commits nothing.
func TestTakeOverFromAnAgentThatIsStoppedInALongMerge(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "kaisa_0")
	f.launch()
	f.launch()
	f.until("the first night is over", "SELECT count(*) FROM winch.ticks WHERE run > 0")
	table := pgx.Identifier{f.sources[0], fleetStream}.Sanitize()
	for _, sql := range []string{
		// All rows are to be written again, so that slices are merged in their commits.
		"UPDATE " + table + " SET _winch_hash = '\\x00'",
		"CREATE TABLE public.slow ()",
		`CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF to_regclass('public.slow') IS NOT NULL THEN PERFORM pg_catalog.pg_sleep(600); END IF; RETURN NULL; END $$`,
		"CREATE TRIGGER dawdle AFTER INSERT OR UPDATE ON " + table + " FOR EACH STATEMENT EXECUTE FUNCTION public.dawdle()",
		"DELETE FROM winch.slices",
	} {
		f.exec(sql)
	}
	session := f.until("the server is in the middle of a merge", "SELECT COALESCE(max(pid), 0) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
	var s strike
	const holder = "SELECT a.pid, r.id, r.source FROM winch.runs r JOIN winch.leases l ON l.source = r.source JOIN winch.agents a ON a.id = l.holder WHERE r.outcome = ''"
	if err := f.conn.QueryRow(t.Context(), holder).Scan(&s.pid, &s.run, &s.source); err != nil {
		t.Fatal(err)
	}
	agent := f.agents[s.pid]
	if err := agent.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.exec("DROP TABLE public.slow") // what is under way sleeps on
	f.number("WITH silent AS (UPDATE winch.agents SET expires_at = now() - interval '1 second' WHERE pid = $1 RETURNING 1) SELECT count(*) FROM silent", s.pid)
	if _, lost := f.takenOver(s, f.now()); !lost {
		t.Error("the run of the stopped agent was not lost")
	}
	f.until("another agent has merged the slice", "SELECT count(*) FROM winch.reads WHERE source = $1 AND run > $2 AND state = 'held'", s.source, s.run)
	if n := f.number("SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'", session); n != 0 {
		t.Error("the statement of the stopped agent goes on")
	}
	before := f.number("SELECT count(*) FROM winch.reads WHERE run = $1 AND state = 'held'", s.run)
	if err := agent.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.until("the agent that was stopped gives signs of life", "SELECT count(*) FROM winch.agents WHERE pid = $1 AND expires_at > now()", s.pid)
	f.settle()
	if after := f.number("SELECT count(*) FROM winch.reads WHERE run = $1 AND state = 'held'", s.run); after != before {
		t.Errorf("the woken agent committed %d slices of a run that was lost", after-before)
	}
}

func (f *fleet) exec(sql string) {
	f.Helper()
	if _, err := f.conn.Exec(f.Context(), sql); err != nil {
		f.Fatalf("%s: %v", sql, err)
	}
}
