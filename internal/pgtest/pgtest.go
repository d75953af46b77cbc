// Package pgtest gives tests a real PostgreSQL.
//
// [Database] is what most tests want: a fresh, empty database. All tests of one
// test binary share one server, which the binary starts itself and which ends
// with it, also when it panics or is killed. Tests that kill servers start their
// own with [Start].
//
// The server programs are looked for where installations put them and fetched
// otherwise; WINCH_TEST_POSTGRES chooses a major version, and
// WINCH_TEST_DATABASE_URL names a server to use instead, on which databases are
// created and dropped. Nothing is ever skipped: without a server
// the test fails and says what to install.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvURL names the environment variable with the address of a server to use
// instead of an own one. Its user must be allowed to create databases.
const EnvURL = "WINCH_TEST_DATABASE_URL"

// EnvVersion names the environment variable with the major version that servers
// have which ask for none; without it they have the newest that is installed.
const EnvVersion = "WINCH_TEST_POSTGRES"

// shared is the one server of this test binary. Nobody stops it: it ends when
// this process does (see watch).
var shared = sync.OnceValues(func() (*Server, error) { return start(Options{}) })

// Database returns the URL of a fresh, empty database. On an own server it goes
// with the server, elsewhere with the test.
func Database(t testing.TB) string {
	t.Helper()
	if external := os.Getenv(EnvURL); external != "" {
		return createOn(t, external, true)
	}
	server, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return createOn(t, server.URL(), false)
}

// Database returns the URL of a fresh, empty database on this server.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return createOn(t, s.URL(), false)
}

// Installed returns the major versions whose programs this machine has, each
// once, the one that servers have by default first. None is fetched.
func Installed() ([]int, error) {
	run, err := unprivileged()
	if err != nil {
		return nil, err
	}
	var majors []int
	for _, p := range candidates(run) {
		if major, err := p.major(); err == nil && !slices.Contains(majors, major) {
			majors = append(majors, major)
		}
	}
	return majors, nil
}

func createOn(t testing.TB, server string, drop bool) string {
	t.Helper()
	name := "winch_test_" + strings.ToLower(rand.Text()[:12])
	// template0 and UTF8: what the server's own template holds does not matter.
	if err := execute(t.Context(), server, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if drop {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
			defer cancel()
			if err := execute(ctx, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
				t.Errorf("pgtest: %v", err)
			}
		})
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("pgtest: %s is not a URL", EnvURL) // the cause would print a password
	}
	u.Path = "/" + name
	return u.String()
}

func execute(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
