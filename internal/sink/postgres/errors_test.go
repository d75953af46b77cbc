package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// wantFault checks the class of an error, that its text says what and its hint
// what to do, and that neither tells the password.
func wantFault(t *testing.T, err error, fault sink.Fault, says, hint string) {
	t.Helper()
	var e *sink.Error
	if !errors.As(err, &e) {
		t.Errorf("want a *sink.Error, got %v", err)
		return
	}
	if e.Fault != fault || !strings.Contains(e.Error(), says) || !strings.Contains(e.Hint, hint) {
		t.Errorf("want fault %d that says %q with the hint %q, got fault %d: %q, hint %q", fault, says, hint, e.Fault, e, e.Hint)
	}
	if text := e.Error() + e.Hint; strings.Contains(text, pgtest.Password) || strings.ContainsAny(text, "\n") {
		t.Errorf("%q holds the password or several lines", text)
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWhatIsWrongIsSaidWithWhatToDo(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true, Settings: map[string]string{"max_connections": "12"}})
	address := server.LoopbackURL()
	with := func(change func(u *url.URL)) string {
		u := mustParse(t, address)
		change(u)
		return u.String()
	}
	migrate := func(address string) error {
		s, err := Open(t.Context(), address, Options{})
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		if _, err := s.Migrate(t.Context()); err != nil {
			return err
		}
		_, err = s.Prepare(t.Context(), "shop", calls, ledger.SchemaEvolve)
		return err
	}

	err := migrate(with(func(u *url.URL) { u.User = url.UserPassword("winch", pgtest.Password+"x") }))
	wantFault(t, err, sink.FaultDenied, "password authentication failed", "check user and password")

	err = migrate(with(func(u *url.URL) { u.Path = "/nowhere" }))
	wantFault(t, err, sink.FaultDenied, `database "nowhere" does not exist`, "create the database")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	err = migrate(with(func(u *url.URL) { u.Host = closed }))
	wantFault(t, err, sink.FaultUnreachable, closed+"/postgres: connect: connection refused", "see that PostgreSQL runs")

	err = migrate(with(func(u *url.URL) { u.Host = "no-such-host.invalid:5432" }))
	wantFault(t, err, sink.FaultUnreachable, "no-such-host.invalid", "see that PostgreSQL runs")

	for _, bad := range []string{
		"postgres://winch:" + pgtest.Password + "@host:port/db",
		"postgres://winch:" + pgtest.Password + "@host/db?sslmode=" + pgtest.Password,
		"postgres://winch:" + pgtest.Password + "%zz@host/db",
		"password=" + pgtest.Password + " port=x",
	} {
		wantFault(t, migrate(bad), sink.FaultDenied, "read sink.url", "postgres://user:password@host:5432/database")
	}
	wantFault(t, migrate(with(func(u *url.URL) { u.RawQuery = "sslmode=sometimes" })), sink.FaultDenied, "sslmode is invalid", "")

	query(t, address, "CREATE ROLE visitor LOGIN PASSWORD '"+pgtest.Password+"'")
	visitor := with(func(u *url.URL) { u.User = url.UserPassword("visitor", pgtest.Password) })
	wantFault(t, migrate(visitor), sink.FaultDenied, "permission denied for database", "GRANT CREATE")

	query(t, address, "CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0")
	err = migrate(with(func(u *url.URL) { u.Path = "/latin1" }))
	wantFault(t, err, sink.FaultSchema, "encoded in LATIN1", "ENCODING 'UTF8'")

	query(t, address, "CREATE DATABASE frozen TEMPLATE template0")
	query(t, address, "ALTER DATABASE frozen SET default_transaction_read_only = on")
	err = migrate(with(func(u *url.URL) { u.Path = "/frozen" }))
	wantFault(t, err, sink.FaultReadOnly, "read-only transaction", "the primary")

	s, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, err = s.Entries(t.Context(), "")
	wantFault(t, err, sink.FaultSchema, `relation "winch.slices" does not exist`, "winch migrate")
	if diff := cmp.Diff("postgres://"+mustParse(t, address).Host+"/postgres", s.Location()); diff != "" {
		t.Errorf("location (-want +got):\n%s", diff)
	}

	var crowd []*pgx.Conn
	for err == nil || len(crowd) == 0 {
		var conn *pgx.Conn
		if conn, err = pgx.Connect(t.Context(), address); err == nil {
			crowd = append(crowd, conn)
		}
	}
	err = migrate(address)
	wantFault(t, err, sink.FaultUnreachable, "too many clients", "max_connections")
	var full *sink.Error
	if errors.As(err, &full) && !full.Retryable() {
		t.Error("a full server is worth a retry")
	}
	for _, conn := range crowd {
		_ = conn.Close(t.Context())
	}
}

func TestEveryCodeHasAFaultAndAHint(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]sink.Fault{
		"53100": sink.FaultFull, "53400": sink.FaultFull, "25006": sink.FaultReadOnly,
		"40001": sink.FaultTransient, "40P01": sink.FaultTransient, "55P03": sink.FaultTransient,
		"57P01": sink.FaultUnreachable, "57P03": sink.FaultUnreachable, "08006": sink.FaultUnreachable,
		"28000": sink.FaultDenied, "42P07": sink.FaultSchema, "57014": sink.FaultOther, "XX000": sink.FaultOther, "": sink.FaultOther,
	} {
		err := fault(t.Context(), "try", fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, Message: "it\nbroke", Detail: "a row"}))
		var e *sink.Error
		if !errors.As(err, &e) || e.Fault != want || e.Hint == "" {
			t.Errorf("%s: want fault %d, got %+v", code, want, e)
		}
		if diff := cmp.Diff("try: it broke (SQLSTATE "+code+")", err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFullDiskSaysSoAndKeepsNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{FileSize: 16<<20 + 4096})
	s := prepared(t, server.Database(t))
	land(t, s, 1, 0, 10, "kept")
	w := begin(t, s, attempt(2))
	note := strings.Repeat("a note that fills the disk ", 40)
	var err error
	for id := 0; err == nil && id < 100_000; id++ {
		err = w.Record(call(id, note))
	}
	wantFault(t, err, sink.FaultFull, "could not extend file", "free disk space")
	if _, again := w.Commit(t.Context(), connector.Usage{}); again == nil {
		t.Error("committed a part of the slice")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	counts := land(t, s, 3, 0, 10, "kept")
	if counts.Unchanged != 10 {
		t.Errorf("the rows from before: %+v", counts)
	}
}

func TestEndedSessionIsWorthARetry(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	w := begin(t, s, attempt(1)).(*writer)
	if err := w.Record(call(1, "x")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.flush(t.Context(), w.fresh), w.wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	query(t, address, "SELECT pg_terminate_backend($1::int)", int(w.conn.Conn().PgConn().PID()))
	_, err := w.Commit(t.Context(), connector.Usage{})
	var e *sink.Error
	if !errors.As(err, &e) || !e.Retryable() || e.Hint == "" {
		t.Errorf("want an error worth a retry, got %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if counts := land(t, s, 2, 0, 5, "x"); counts.Inserted != 5 {
		t.Errorf("the next attempt: %+v", counts)
	}
}

func TestBusySourceNamesItsHolder(t *testing.T) {
	t.Parallel()
	s := open(t, migrated.Database(t))
	_, release, err := s.Lock(t.Context(), sink.Claim{Source: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, _, err = s.Lock(t.Context(), sink.Claim{Source: "shop"})
	var busy *sink.Busy
	if !errors.As(err, &busy) {
		t.Fatalf("want a *sink.Busy, got %v", err)
	}
	if diff := cmp.Diff(&sink.Busy{Source: "shop", Held: "shop", Holder: self()}, busy); diff != "" {
		t.Error(diff)
	}
}

func TestCancelledIsNoFault(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, pgtest.Database(t), Options{})
	if !connector.Cancelled(err) {
		t.Errorf("want a cancellation, got %v", err)
	}
}
