package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// An agent that was asked to drain takes jobs again if that is taken back before it
// has ended.
func TestDrainThatIsTakenBack(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	sim := sandbox.New(sandbox.Options{Size: 2, Days: 2})
	vendor := httptest.NewServer(sim)
	t.Cleanup(vendor.Close)
	s := &serving{t: t, dir: t.TempDir(), url: vendor.URL}
	yaml := fmt.Sprintf(`
sink: {url: %[3]q}
serve: {listen: "127.0.0.1:0", grace: 5m}
sources:
  kaisa_test:
    connector: kaisa
    config: {client_id: sandbox-kaisa-client, client_secret: sandbox-kaisa-secret, base_url: %[1]s/kaisa, token_url: %[1]s/kaisa/oauth2/token}
    schedule: "@every 1s"
    since: %[2]s
    streams: [customers]
`, vendor.URL, sim.Begin().Format(time.DateOnly), address)
	if err := os.WriteFile(filepath.Join(s.dir, "winch.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.winch("migrate"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	// The first run waits for the ledger until it is let go.
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE winch.slices IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	s.start()
	for waits := false; !waits; {
		const query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'winch.slices'::regclass)"
		if err := conn.QueryRow(t.Context(), query).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.winch("agents", "drain", "--all"); err != nil || out != "asked 1 agent\n" {
		t.Errorf("%q, %v", out, err)
	}
	s.await("stopping")
	if got := s.agentState(); got != "draining" {
		t.Errorf("it is %s", got)
	}
	if out, err := s.winch("agents", "drain", "--all", "--undo", "--output", "json"); err != nil || !strings.Contains(out, `"draining": false`) {
		t.Errorf("%q, %v", out, err)
	}
	s.await("resuming")
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	s.await("serving", "taken back")
	if l := s.await("run succeeded"); l.Rows == 0 {
		t.Errorf("%+v", l)
	}
	if got := s.agentState(); got != "alive" {
		t.Errorf("it is %s", got)
	}
	s.signal(syscall.SIGTERM)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
}

// agentState is the state of the one agent.
func (s *serving) agentState() string {
	s.t.Helper()
	out, err := s.winch("agents", "--output", "json")
	if err != nil {
		s.t.Fatal(err)
	}
	var list struct{ Agents []agentReport }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Agents) != 1 {
		s.t.Fatalf("%v: %s", err, out)
	}
	return list.Agents[0].State
}
