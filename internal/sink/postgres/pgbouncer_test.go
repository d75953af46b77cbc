//go:build pgbouncer

package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	osexec "os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sinktest"
)

// These tests need PgBouncer: make test-pooler.

func TestPgBouncerInSessionModePassesTheSuite(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true, Settings: map[string]string{"max_connections": "400"}})
	through := startPgBouncer(t, server, "session", "default_pool_size = 50")
	h := harness(openSink)
	h.Migrated = nil
	h.Fresh = func(t testing.TB) string { return through(server.Database(t)) }
	sinktest.Run(t, h)
}

func TestPgBouncerInOtherModesIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true})
	for mode, setting := range map[string]string{
		"transaction": "default_pool_size = 4",
		"statement":   "default_pool_size = 4",
		// Not the server's session that was used last, but each in turn.
		"transaction ": "min_pool_size = 3\nserver_round_robin = 1",
	} {
		through := startPgBouncer(t, server, strings.TrimSpace(mode), setting)
		address := through(server.Database(t))
		warm(t, address)
		_, err := Open(t.Context(), address, Options{})
		wantFault(t, err, sink.FaultSchema, "pooler in transaction mode", "pool in session mode")
	}
}

// warm has the pooler open several sessions with the server.
func warm(t *testing.T, address string) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	for range 3 {
		group.Go(func() error {
			conn, err := pgconn.Connect(ctx, address)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			return conn.Exec(ctx, "SELECT pg_sleep(0.2)").Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// PgBouncer refuses parameters of the start that it does not know, unless it is
// told to ignore them: Winch sends none of those, whatever the address asks for.
func TestPgBouncerKnowsWhatASessionBeginsWith(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true})
	through := startPgBouncer(t, server, "session", "default_pool_size = 20")
	address := through(server.Database(t)) + "&application_name=mine"
	s := prepared(t, address)
	if counts := land(t, s, 1, 0, 100, "through the pooler"); counts.Inserted != 100 {
		t.Errorf("landed %+v", counts)
	}
	// What a session sets stays its own: the next client of the server's session
	// finds the defaults.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if got := query(t, address, "SELECT current_setting('search_path'), current_setting('application_name')")[0]; got[0] != `"$user", public` || got[1] != "mine" {
			t.Errorf("search_path and application_name of another client: %q", got)
		}
	}
}

// startPgBouncer starts PgBouncer before the server until the test ends. The
// returned function gives a database's address there.
func startPgBouncer(t *testing.T, server *pgtest.Server, mode, setting string) (through func(address string) string) {
	t.Helper()
	dir := t.TempDir()
	for parent := dir; parent != os.TempDir() && len(parent) > 1; parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	behind := mustParse(t, server.LoopbackURL())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // it was free a moment ago
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s/users
pool_mode = %s
max_client_conn = 1000
%s
`, behind.Hostname(), behind.Port(), host, port, dir, mode, setting)
	for name, text := range map[string]string{"pgbouncer.ini": config, "users": fmt.Sprintf("\"winch\" %q\n", pgtest.Password)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	bouncer := osexec.CommandContext(context.WithoutCancel(t.Context()), "pgbouncer", filepath.Join(dir, "pgbouncer.ini"))
	bouncer.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	bouncer.Stdout, bouncer.Stderr = log, log
	bouncer.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged(t), Pdeathsig: syscall.SIGKILL}
	if err := bouncer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = bouncer.Process.Kill()
		_ = bouncer.Wait() // the error says that it was killed
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("pgbouncer does not start: %v; it said: %s", err, said)
		}
	}
	return func(address string) string {
		there := mustParse(t, server.LoopbackURL())
		there.Host, there.Path = listener.Addr().String(), mustParse(t, address).Path
		there.RawQuery = url.Values{"sslmode": {"disable"}}.Encode()
		return there.String()
	}
}

// unprivileged is whom PgBouncer runs as where we are root, as which it does not
// run.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
