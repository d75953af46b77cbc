package postgres

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
)

// pool is a small connection pooler, as far as its clients can tell one from a
// server: in transaction mode all of them get the same server session, in session
// mode each gets its own.
type pool struct {
	server string
	shared *pgconn.HijackedConn // in transaction mode
	mu     sync.Mutex           // held for the time of a query
}

func TestPoolerInTransactionModeIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true})
	_, err := Open(t.Context(), startPool(t, &pool{server: server.LoopbackURL(), shared: dial(t, server.LoopbackURL())}), Options{})
	wantFault(t, err, sink.FaultSchema, "a connection pooler in transaction mode", "pool in session mode")

	s := prepared(t, startPool(t, &pool{server: server.LoopbackURL()}))
	_, release, err := s.Lock(t.Context(), sink.Claim{Source: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if counts := land(t, s, 1, 0, 100, "through the pool"); counts.Inserted != 100 {
		t.Errorf("through a pool in session mode: %+v", counts)
	}
}

func dial(t *testing.T, address string) *pgconn.HijackedConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hijacked.Conn.Close() })
	return hijacked
}

// startPool serves until the test ends and returns the pooler's address.
func startPool(t *testing.T, p *pool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	group, ctx := errgroup.WithContext(context.WithoutCancel(t.Context()))
	group.Go(func() error {
		for {
			client, err := listener.Accept()
			if err != nil {
				return nil //nolint:nilerr // closed: the test is over
			}
			group.Go(func() error {
				defer func() { _ = client.Close() }()
				p.serve(ctx, t, client)
				return nil
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		_ = group.Wait()
	})
	address := mustParse(t, p.server)
	address.Host = listener.Addr().String()
	address.RawQuery = url.Values{"sslmode": {"disable"}}.Encode()
	return address.String()
}

// serve relays one client's session, message by message, until it ends.
func (p *pool) serve(ctx context.Context, t *testing.T, conn net.Conn) {
	client := pgproto3.NewBackend(conn, conn)
	startup, err := client.ReceiveStartupMessage()
	if err != nil {
		return
	}
	server := p.shared
	if server == nil {
		config, err := pgconn.ParseConfig(p.server)
		if err != nil {
			t.Error(err)
			return
		}
		if m, ok := startup.(*pgproto3.StartupMessage); ok {
			config.RuntimeParams["application_name"] = m.Parameters["application_name"]
		}
		own, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			t.Error(err)
			return
		}
		if server, err = own.Hijack(); err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = server.Conn.Close() }()
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	client.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	client.Send(&pgproto3.BackendKeyData{ProcessID: 4711, SecretKey: []byte{1, 2, 3, 4}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for client.Flush() == nil && p.relay(client, server.Frontend) {
	}
}

// relay passes on one query and its answer.
func (p *pool) relay(client *pgproto3.Backend, server *pgproto3.Frontend) (more bool) {
	message, err := client.Receive()
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if _, ends := message.(*pgproto3.Terminate); ends {
			return false
		}
		server.Send(message)
		switch message.(type) {
		case *pgproto3.Query, *pgproto3.Sync, *pgproto3.CopyDone, *pgproto3.CopyFail:
			if server.Flush() != nil {
				return false
			}
			return answer(client, server)
		}
		if message, err = client.Receive(); err != nil {
			return false
		}
	}
}

// answer passes on what the server says until it waits for the client.
func answer(client *pgproto3.Backend, server *pgproto3.Frontend) bool {
	for {
		message, err := server.Receive()
		if err != nil {
			return false
		}
		client.Send(message)
		switch message.(type) {
		case *pgproto3.ReadyForQuery, *pgproto3.CopyInResponse:
			return true
		}
	}
}
