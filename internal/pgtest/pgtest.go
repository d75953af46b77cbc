// Package pgtest gives tests a real PostgreSQL.
//
// [Database] is what most tests want: a fresh, empty database; [Template] gives
// copies of one that was filled once. All tests of one
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

// Database returns the URL of a fresh, empty database. It goes with the test.
func Database(t testing.TB) string {
	t.Helper()
	if external := os.Getenv(EnvURL); external != "" {
		return createOn(t, nil, external, "template0")
	}
	server, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return createOn(t, server, server.URL(), "template0")
}

// A Template is the content of a database that many tests begin with, such as the
// agent's own tables. It is made once and then copied, which takes less time.
type Template struct {
	fill func(ctx context.Context, address string) error
	made func() (name string, err error)
}

// NewTemplate returns the template that fill makes of an empty database. When
// fill returns, it must have closed its connections.
func NewTemplate(fill func(ctx context.Context, address string) error) *Template {
	return &Template{fill: fill, made: sync.OnceValues(func() (string, error) {
		server, err := shared()
		if err != nil {
			return "", err
		}
		ctx, name := context.Background(), newName()
		if err := create(ctx, server.URL(), name, "template0"); err != nil {
			return "", err
		}
		return name, fill(ctx, within(server.URL(), name))
	})}
}

// Database returns the URL of a fresh database with the template's content. On a
// server that is not our own it is filled anew, so that no template stays there.
func (m *Template) Database(t testing.TB) string {
	t.Helper()
	if os.Getenv(EnvURL) != "" {
		address := Database(t)
		if err := m.fill(t.Context(), address); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
		return address
	}
	template, err := m.made()
	if err != nil {
		t.Fatalf("pgtest: template: %v", err)
	}
	server, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return createOn(t, server, server.URL(), template)
}

// Database returns the URL of a fresh, empty database on this server.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return createOn(t, s, s.URL(), "template0")
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

// createOn creates a database until the test ends, on a server of ours or, if on is
// nil, on another.
func createOn(t testing.TB, on *Server, server, template string) string {
	t.Helper()
	name := newName()
	if err := create(t.Context(), server, name, template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if on != nil && on.process == nil {
			return // the test killed it
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := execute(ctx, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	address := within(server, name)
	if address == "" {
		t.Fatalf("pgtest: %s is not a URL", EnvURL) // the cause would print a password
	}
	return address
}

func newName() string { return "winch_test_" + strings.ToLower(rand.Text()[:12]) }

// create copies the template's files, which for small databases is faster than
// to write them through the log, as PostgreSQL 15 and later do unasked.
func create(ctx context.Context, server, name, template string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// UTF8, and no template1: what the server's own template holds does not matter.
	statement := "CREATE DATABASE " + name + " TEMPLATE " + template + " ENCODING 'UTF8'"
	var asks bool
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::integer >= 150000").Scan(&asks); err != nil {
		return err
	}
	if asks {
		statement += " STRATEGY FILE_COPY"
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// within returns the address of a database of the server; empty if the server's
// is no URL.
func within(server, database string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	u.Path = "/" + database
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
