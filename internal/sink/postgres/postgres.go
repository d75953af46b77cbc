// Package postgres is the sink that lands rows in PostgreSQL 13 or newer.
//
// A source is a schema and a stream a table in it; the agent's own tables are in
// the schema winch. Rows go by binary COPY into the stream's table or, if there may
// be rows of their keys, those that differ go into a temporary table and are
// merged from there; all in one transaction with the ledger (writer.go, route.go,
// merge.go). That needs sessions: temporary tables and session-level locks do not
// survive a pooler in transaction mode, which Open therefore refuses.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/winchdata/winch/internal/sink"
)

// Options of a sink; the zero value is what most want.
type Options struct {
	// Writers is how many slices that are larger than a chunk can be written at
	// the same time; each has a connection until it ends. Slices that fit into a
	// chunk have one only while they are committed. 0 means 8.
	Writers int
	// Version is the program's, for those who look at the agents.
	Version string
}

const (
	defaultWriters = 8
	// commitConns serve the commits of slices that hold no connection.
	commitConns = 4
	// statementConns serve what is short: the ledger, runs, Prepare.
	statementConns = 4
	connectTimeout = 10 * time.Second
	// endTimeout bounds tidying up on a server that no longer answers.
	endTimeout = 5 * time.Second
)

// A Sink is a PostgreSQL database.
type Sink struct {
	config   *pgx.ConnConfig
	pool     *pgxpool.Pool // for short statements
	writers  *pgxpool.Pool // for slices
	settled  chan struct{} // one for each slice that holds a connection
	gates    gates
	pieces   pieces
	memory   memory
	chunk    int           // chunkSize, but for tests
	brisk    time.Duration // briskChunk, but for tests
	location string
	version  string
	sessions int64 // the advisory lock that each session of this process holds, shared

	attending sync.Mutex  // held while joining and leaving the agents
	agent     *attendance // nil until something is locked
	startedAt time.Time
	draining  atomic.Bool

	mu     sync.Mutex
	leases map[string]*lease // by source
}

var _ sink.Sink = (*Sink)(nil)

// socketBuffer is how many bytes of rows wait in a local socket for a server that
// has not read them yet, as far as the system allows. It should have something to
// do until this process has its turn again on a busy processor.
const socketBuffer = 1 << 20

// Open connects to the database at a URL such as
// postgres://user:password@host:5432/name. Errors are of type *sink.Error and
// hold no password.
func Open(ctx context.Context, url string, o Options) (*Sink, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, badURL(url, err)
	}
	conn := config.ConnConfig
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "winch"
	}
	conn.RuntimeParams["timezone"] = "UTC"
	conn.RuntimeParams["client_encoding"] = "UTF8"
	// After a PANIC the driver would wait for more, and tell of the lost connection
	// in place of its reason.
	fatal := conn.OnPgError
	conn.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool { return !panicked(e) && fatal(c, e) }
	// By SET, since poolers refuse most parameters at the start of a session. All
	// names are written in full; compiling a merge takes longer than it saves.
	sessions := rand.Int64()
	conn.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		return c.Exec(ctx, fmt.Sprintf("SET search_path = ''; SET jit = off; SET idle_in_transaction_session_timeout = %d; SELECT pg_advisory_lock_shared(%d)",
			patience.Milliseconds(), sessions)).Close()
	}

	s := &Sink{
		config: conn.Copy(), location: location(conn), version: o.Version, sessions: sessions, leases: map[string]*lease{},
		chunk: chunkSize, brisk: briskChunk,
	}
	s.memory.left.Store(chunkMemory)
	if err := s.examine(ctx); err != nil {
		return nil, err
	}
	config.MaxConns = statementConns
	if s.pool, err = pgxpool.NewWithConfig(ctx, config.Copy()); err != nil {
		return nil, fault(ctx, "connect to "+s.location, err)
	}
	writers := defaultWriters
	if o.Writers > 0 {
		writers = o.Writers
	}
	s.settled = make(chan struct{}, writers)
	config.MaxConns = int32(writers + commitConns)
	// Plans are made for the staged rows at hand, and staging tables come and go.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if socket, ok := conn.PgConn().Conn().(*net.UnixConn); ok { // TCP finds its own size
			if err := socket.SetWriteBuffer(socketBuffer); err != nil {
				return err
			}
		}
		// What is staged is lost with the session anyway, so nobody waits for
		// the disk; Commit does (see begin in merge.go).
		_, err := conn.Exec(ctx, "SET synchronous_commit = off")
		return err
	}
	if s.writers, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		s.pool.Close()
		return nil, fault(ctx, "connect to "+s.location, err)
	}
	return s, nil
}

// Close ends all connections, and with them what the agent holds. Writers must be
// closed before.
func (s *Sink) Close() error {
	for source, l := range s.leasesHeld() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		_, _ = s.pool.Exec(ctx, freeQuery, source, l.token) // or it ends with the agent
		cancel()
	}
	s.leaveAgents()
	s.writers.Close()
	s.pool.Close()
	return nil
}

// Location returns hosts, ports and database.
func (s *Sink) Location() string { return s.location }

func location(c *pgx.ConnConfig) string {
	u := url.URL{Scheme: "postgres", Path: "/" + c.Database}
	port := strconv.Itoa(int(c.Port))
	if strings.HasPrefix(c.Host, "/") || strings.HasPrefix(c.Host, "@") {
		u.RawQuery = url.Values{"host": {c.Host}, "port": {port}}.Encode()
		return "postgres://" + u.RequestURI() // with an empty host
	}
	hosts := []string{net.JoinHostPort(c.Host, port)}
	for _, f := range c.Fallbacks { // the other hosts, and each without TLS where that is allowed
		hosts = append(hosts, net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))))
	}
	u.Host = strings.Join(slices.Compact(hosts), ",")
	return u.String()
}

// badURL explains an address that cannot be read, without what may be a password.
func badURL(text string, err error) error {
	why := errors.New("not the address of a PostgreSQL database")
	var parse *pgconn.ParseConfigError
	if u, urlErr := url.Parse(text); urlErr == nil && errors.As(err, &parse) && parse.Unwrap() != nil {
		password, _ := u.User.Password()
		if cause := parse.Unwrap().Error(); password == "" || !strings.Contains(cause, password) {
			why = errors.New(cause)
		}
	}
	return &sink.Error{
		Fault: sink.FaultDenied, Op: "read sink.url", Err: why,
		Hint: "write it as postgres://user:password@host:5432/database, with special characters of the password percent-encoded",
	}
}

// examine connects once and refuses what cannot work.
func (s *Sink) examine(ctx context.Context) error {
	op := "connect to " + s.location
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return fault(ctx, op, err)
	}
	defer closeConn(ctx, conn)
	refuse := func(hint, format string, args ...any) error {
		return &sink.Error{Fault: sink.FaultSchema, Op: op, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	var (
		version  int
		name     string
		encoding string
		pid      uint32
	)
	const query = `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), pg_backend_pid()`
	// The simple protocol, here and below: poolers may lose prepared statements.
	if err := conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&version, &name, &encoding, &pid); err != nil {
		return fault(ctx, op, err)
	}
	if version < 13_00_00 {
		return refuse("use PostgreSQL 13 or newer", "PostgreSQL %s is too old", name)
	}
	if encoding != "UTF8" {
		return refuse("create the database with ENCODING 'UTF8' TEMPLATE template0", "the database is encoded in %s", encoding)
	}
	if pid == conn.PgConn().PID() {
		return nil
	}
	// The server told another process id than the session began with: a pooler
	// is between.
	shared, err := s.sharesSessions(ctx, conn)
	if err != nil {
		return fault(ctx, op, err)
	}
	if shared {
		return refuse("give sink.url the address of the server itself, or of a pool in session mode",
			"a connection pooler in transaction mode is in between; winch needs temporary tables and session locks")
	}
	return nil
}

// sharesSessions reports whether a client gets a server process that is not its
// own, as it does from a pooler in transaction or statement mode. Such a one gives
// two clients the same process or, if it hands them out in turn, a client that asks
// twice at once two of them.
func (s *Sink) sharesSessions(ctx context.Context, conn *pgx.Conn) (bool, error) {
	other, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, other)
	var pids [4]uint32
	for i, c := range []*pgx.Conn{conn, other, other, conn} {
		if err := c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pids[i]); err != nil {
			return false, err
		}
	}
	return pids[0] == pids[1] || pids[1] != pids[2] || pids[0] != pids[3], nil
}

// querier is a transaction, or a connection on which one is open.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// keptPlan are the arguments of a statement that each commit has, on the agent's own
// tables: it is parsed and planned once a connection, also on those of writers.
func keptPlan(args []any) []any {
	return append([]any{pgx.QueryExecModeCacheStatement}, args...)
}

// closeConn ends a connection, also when ctx has ended.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server notices by itself otherwise
}

// self names this process to people who look at the server's sessions.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("pid %d on %s", os.Getpid(), host)
}
