package postgres

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

func hold(t *testing.T, s *Sink, c sink.Claim) context.Context {
	t.Helper()
	held, release, err := s.Lock(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return held
}

// expire makes the agents of a database look as if they had been silent for too
// long, and holds them so: none can give a sign of life until restore.
func expire(t *testing.T, address string) (restore func()) {
	t.Helper()
	return expireOne(t, address, 0)
}

// expireOne does it with one agent.
func expireOne(t *testing.T, address string, id int64) (restore func()) {
	t.Helper()
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), "UPDATE winch.agents SET expires_at = now() - interval '1 second' WHERE $1 IN (0, id)", id); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM winch.agents WHERE expires_at < now() FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = conn.Close(context.WithoutCancel(t.Context())) }
}

// I3
func TestAgentThatWasSilentTooLongIsFenced(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s, other := prepared(t, address), open(t, address)
	held := hold(t, s, sink.Claim{Source: "shop"})
	land(t, s, 1, 0, 5, "held") // under the lease
	late, checkpointed := begin(t, s, attempt(1)), begin(t, s, attempt(1))
	for _, w := range []sink.Writer{late, checkpointed} {
		if err := w.Record(call(1, "late")); err != nil {
			t.Fatal(err)
		}
	}
	restore := expire(t, address)
	hold(t, other, sink.Claim{Source: "shop"})
	restore()

	_, err := late.Commit(t.Context(), connector.Usage{})
	wantFault(t, err, sink.FaultFenced, "gave no sign of life", "another agent goes on")
	err = checkpointed.Checkpoint(t.Context(), connector.Cursor(`{}`), connector.Usage{})
	wantFault(t, err, sink.FaultFenced, "gave no sign of life", "another agent goes on")
	err = s.Fail(t.Context(), attempt(1), connector.Usage{}, errors.New("late"))
	wantFault(t, err, sink.FaultFenced, "gave no sign of life", "another agent goes on")
	got := query(t, address, `SELECT (SELECT count(*) FROM shop."order" WHERE note = 'late')::text,
	(SELECT string_agg(state, ',') FROM winch.slices), (SELECT string_agg(state, ',') FROM winch.reads)`)[0]
	if got[0] != "0" || got[1] != "held" || got[2] != "held" {
		t.Errorf("written without the lease: %v", got)
	}
	// The agent learns of it by itself and ends what reads for the source.
	<-held.Done()
	wantFault(t, context.Cause(held), sink.FaultFenced, "gave no sign of life", "another agent goes on")
	// It may take part again, and holds other sources.
	hold(t, s, sink.Claim{Source: "other"})
}

// I3
func TestTakeOverEndsWhatADeadAgentsSessionsStillDo(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s, other, bystander := prepared(t, address), open(t, address), open(t, address)
	hold(t, s, sink.Claim{Source: "shop"})
	hold(t, bystander, sink.Claim{Source: "elsewhere"})
	w := begin(t, s, attempt(1))
	if err := w.Record(call(1, "late")); err != nil {
		t.Fatal(err)
	}
	// The commit holds its lease and its table, and waits for the ledger as for a
	// statement that takes hours.
	blocker := connect(t, address)
	defer func() { _ = blocker.Close(context.WithoutCancel(t.Context())) }()
	if _, err := blocker.Exec(t.Context(), "BEGIN; LOCK TABLE winch.slices IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() {
		_, err := w.Commit(t.Context(), connector.Usage{})
		committed <- err
	}()
	waiting(t, address, "winch.slices")
	const sessions = "SELECT pid::text FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND datname = current_database() AND classid::bigint = $1 AND objid::bigint = $2 ORDER BY 1"
	of := func(s *Sink) [][]string {
		return query(t, address, sessions, s.sessions>>32, s.sessions&0xffff_ffff)
	}
	before := of(bystander)
	if _, err := other.AgentID(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Dead is the one agent that is made to look so.
	id, err := s.AgentID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	restore := expireOne(t, address, id)
	if _, release, err := other.Lock(t.Context(), sink.Claim{Source: "shop"}); err != nil {
		t.Errorf("the take-over: %v", err)
	} else {
		defer release()
	}
	if err := <-committed; err == nil {
		t.Error("the commit of a dead agent went through")
	}
	if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	restore()
	if rows := query(t, address, `SELECT count(*)::text FROM shop."order"`)[0][0]; rows != "0" {
		t.Errorf("%s rows of a dead agent", rows)
	}
	if after := of(bystander); len(before) == 0 || !slices.EqualFunc(before, after, slices.Equal) {
		t.Errorf("sessions of another agent were %v and are %v", before, after)
	}
	// It learns of it, and commits no more.
	late := begin(t, s, attempt(1))
	if err := late.Record(call(1, "later")); err != nil {
		t.Fatal(err)
	}
	_, err = late.Commit(t.Context(), connector.Usage{})
	wantFault(t, err, sink.FaultFenced, "gave no sign of life", "another agent goes on")
}

// I3, I7: also where the roles of agents may not end each other's sessions.
func TestTakeOverWaitsForASessionThatItMayNotEnd(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	other, err := Open(t.Context(), asLittleRole(t, address), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	hold(t, s, sink.Claim{Source: "shop"})
	w := begin(t, s, attempt(1))
	if err := w.Record(call(1, "in time")); err != nil {
		t.Fatal(err)
	}
	// The commit holds its lease and waits for the ledger.
	blocker := connect(t, address)
	defer func() { _ = blocker.Close(context.WithoutCancel(t.Context())) }()
	if _, err := blocker.Exec(t.Context(), "BEGIN; LOCK TABLE winch.slices IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	committed, taken := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := w.Commit(t.Context(), connector.Usage{})
		committed <- err
	}()
	waiting(t, address, "winch.slices")
	defer expire(t, address)()
	go func() {
		_, release, err := other.Lock(t.Context(), sink.Claim{Source: "shop"})
		if err == nil {
			release()
		}
		taken <- err
	}()
	for query(t, address, "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")[0][0] == "0" {
		select {
		case err := <-taken:
			t.Fatalf("the source was taken while a commit held its lease, error %v", err)
		default:
		}
	}
	if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-committed; err != nil {
		t.Errorf("the commit that came first: %v", err)
	}
	if err := <-taken; err != nil {
		t.Errorf("the take-over that came second: %v", err)
	}
}

// asLittleRole returns the address of the database for a role that may use the
// agent's own tables, and nothing else.
func asLittleRole(t *testing.T, address string) string {
	t.Helper()
	config, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	role := "little_" + strings.TrimPrefix(config.Path, "/")
	config.User = url.UserPassword(role, "little")
	if values := config.Query(); values.Has("user") {
		values.Set("user", role)
		config.RawQuery = values.Encode()
	}
	for _, sql := range []string{
		"CREATE ROLE " + role + " LOGIN PASSWORD 'little'",
		"GRANT USAGE ON SCHEMA winch TO " + role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA winch TO " + role,
		"GRANT USAGE ON ALL SEQUENCES IN SCHEMA winch TO " + role,
	} {
		query(t, address, sql)
	}
	return config.String()
}

// waiting returns when somebody waits for a lock on the table.
func waiting(t *testing.T, address, table string) {
	t.Helper()
	for query(t, address, "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = '"+table+"'::regclass")[0][0] == "0" {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAgentThatLosesItsSessionKeepsWhatItHolds(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s, other := prepared(t, address), open(t, address)
	held := hold(t, s, sink.Claim{Source: "shop"})
	session := func() string {
		rows := query(t, address, "SELECT pid::text FROM pg_locks l JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND datname = current_database() AND classid = "+agentLock)
		if len(rows) == 0 {
			return ""
		}
		return rows[0][0]
	}
	before := session()
	query(t, address, "SELECT pg_terminate_backend("+before+")")
	for now := before; now == before || now == ""; now = session() {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	var busy *sink.Busy
	if _, _, err := other.Lock(t.Context(), sink.Claim{Source: "shop"}); !errors.As(err, &busy) {
		t.Errorf("want a *sink.Busy, got %v", err)
	}
	if counts := land(t, s, 1, 0, 5, "after"); counts.Inserted != 5 || held.Err() != nil {
		t.Errorf("landed %+v, the lease: %v", counts, context.Cause(held))
	}
}

// A client that stops in the middle of a transaction must not hold others up.
func TestTransactionThatWaitsForItsClientIsEnded(t *testing.T) {
	t.Parallel()
	s := open(t, migrated.Database(t))
	for name, connect := range map[string]func() (*pgx.Conn, func(), error){
		"statements": func() (*pgx.Conn, func(), error) {
			c, err := s.pool.Acquire(t.Context())
			return c.Conn(), c.Release, err
		},
		"writers": func() (*pgx.Conn, func(), error) {
			c, err := s.writers.Acquire(t.Context())
			return c.Conn(), c.Release, err
		},
	} {
		conn, release, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		var setting string
		if err := conn.QueryRow(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&setting); err != nil || setting != "8s" {
			t.Errorf("%s: idle_in_transaction_session_timeout is %q, error %v", name, setting, err)
		}
		release()
	}
}
