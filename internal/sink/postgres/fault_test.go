package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A wire lies between the sink and a server and breaks once: all connections are
// reset when so many messages have come from the sink.
type wire struct {
	listener net.Listener
	server   string
	done     sync.WaitGroup

	mu    sync.Mutex
	left  int // messages until it breaks; 0 when it does not
	open  map[net.Conn]bool
	count int // messages so far
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, server: server, open: map[net.Conn]bool{}}
	w.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.reset()
		w.done.Wait()
	})
	return w
}

// breakAfter lets n more messages through.
func (w *wire) breakAfter(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.count = n, 0
}

// broke reports whether it has broken, and how many messages came since breakAfter.
func (w *wire) broke() (bool, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left == 0, w.count
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		_ = conn.Close()
	}
	clear(w.open)
}

func (w *wire) serve(client net.Conn) {
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.open[client], w.open[server] = true, true
	w.mu.Unlock()
	w.done.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	defer func() { _ = server.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if w.breaks() {
			w.reset()
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *wire) breaks() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	if w.left == 0 {
		return false
	}
	w.left--
	return w.left == 0
}

// pullOnce does what a run does to a store: one slice, with a checkpoint in its
// middle.
func pullOnce(ctx context.Context, address string) (err error) {
	s, err := Open(ctx, address, Options{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	held, release, err := s.Lock(ctx, sink.Claim{Source: "shop"})
	if err != nil {
		return err
	}
	defer release()
	run, err := s.StartRun(held, sink.Run{Source: "shop", Connector: "toy", Trigger: "pull", StartedAt: time.Now()})
	if err != nil {
		return err
	}
	if _, err := s.Prepare(held, "shop", calls, ledger.SchemaEvolve); err != nil {
		return err
	}
	w, err := s.Begin(held, attempt(run))
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	for id := range 40 {
		if err := w.Record(call(id, "n")); err != nil {
			return err
		}
		if id == 20 {
			if err := w.Checkpoint(held, connector.Cursor(`{"id":20}`), connector.Usage{}); err != nil {
				return err
			}
		}
	}
	counts, err := w.Commit(held, connector.Usage{})
	if err != nil {
		return err
	}
	return s.FinishRun(ctx, run, sink.RunEnd{EndedAt: time.Now(), Outcome: sink.Succeeded, Slices: 1, Counts: counts})
}

// I1, I4, I7
func TestConnectionLostAtAnyMessageIsWorthARetryAndLosesNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Loopback: true})
	direct, err := url.Parse(server.LoopbackURL())
	if err != nil {
		t.Fatal(err)
	}
	between := newWire(t, direct.Host)
	through := *direct
	through.Host = between.listener.Addr().String()
	if err := pullOnce(t.Context(), through.String()); err != nil { // migrated
		t.Fatal(err)
	}
	// One message of four, another each time: all would take a while.
	const step = 4
	broken := 0
	for n := 1 + rand.N(step); ; n += step {
		query(t, direct.String(), `WITH s AS (DELETE FROM winch.slices) DELETE FROM winch.runs`)
		query(t, direct.String(), `DROP SCHEMA shop CASCADE`)
		between.breakAfter(n)
		err := pullOnce(t.Context(), through.String())
		if cut, count := between.broke(); !cut {
			if err != nil {
				t.Fatal(err)
			}
			if count < 30 {
				t.Fatalf("a pull is %d messages: too few to be one", count)
			}
			break // it was over before
		}
		broken++
		var store *sink.Error
		if err != nil && (!errors.As(err, &store) || !store.Retryable()) {
			t.Errorf("broken at message %d: %v, want an error worth a retry", n, err)
		}
		if err := pullOnce(t.Context(), through.String()); err != nil {
			t.Fatalf("broken at message %d, then again: %v", n, err)
		}
		got := query(t, direct.String(), `SELECT count(*)::text, count(DISTINCT id)::text,
			(SELECT string_agg(state || ' ' || rows, ',') FROM winch.slices),
			(SELECT count(*)::text FROM winch.runs WHERE outcome = '') FROM shop."order"`)
		if diff := cmp.Diff([][]string{{"40", "40", "held 40", "0"}}, got); diff != "" {
			t.Errorf("broken at message %d (-want +got):\n%s", n, diff)
		}
	}
	if broken < 30/step {
		t.Errorf("only %d messages were lost", broken)
	}
}

func TestServerThatWaitsNoLongerThanItIsToldIsReportedAndRetried(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	s := prepared(t, address)
	land(t, s, 1, 0, 5, "before")
	database := mustParse(t, address).Path[1:]
	for setting, want := range map[string]struct {
		fault sink.Fault
		says  string
	}{
		"statement_timeout": {sink.FaultOther, "statement timeout"},
		"lock_timeout":      {sink.FaultTransient, "lock timeout"},
	} {
		query(t, address, fmt.Sprintf("ALTER DATABASE %s SET %s = '200ms'", database, setting))
		impatient := open(t, address)
		blocker := connect(t, address)
		queryOn(t, blocker, "BEGIN")
		queryOn(t, blocker, `LOCK TABLE shop."order" IN ACCESS EXCLUSIVE MODE`)
		w := begin(t, impatient, attempt(2))
		err := w.Record(call(1, "after"))
		if err == nil {
			_, err = w.Commit(t.Context(), connector.Usage{})
		}
		wantFault(t, err, want.fault, want.says, "")
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		queryOn(t, blocker, "ROLLBACK")
		_ = blocker.Close(t.Context())
		if got := query(t, address, `SELECT count(*)::text, min(note) FROM shop."order"`)[0]; cmp.Diff([]string{"5", "before"}, got) != "" {
			t.Errorf("%s: %v", setting, got)
		}
		if counts := land(t, impatient, 3, 0, 5, "before"); counts.Unchanged != 5 {
			t.Errorf("%s: the next attempt: %+v", setting, counts)
		}
		query(t, address, fmt.Sprintf("ALTER DATABASE %s RESET %s", database, setting))
	}
}

func TestDatabaseThatIsSerializableByDefaultTakesConcurrentSlices(t *testing.T) {
	t.Parallel()
	address := migrated.Database(t)
	prepared(t, address)
	query(t, address, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_isolation = 'serializable'", mustParse(t, address).Path[1:]))
	s := open(t, address)
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() {
			for try := 0; ; try++ {
				err := landDay(t.Context(), s, n)
				var store *sink.Error
				if errors.As(err, &store) && store.Retryable() && try < 50 {
					continue
				}
				if err != nil {
					t.Errorf("slice %d: %v", n, err)
				}
				return
			}
		})
	}
	group.Wait()
	if got := query(t, address, `SELECT count(*)::text, (SELECT count(*)::text FROM winch.slices WHERE state = 'held') FROM shop."order"`)[0]; cmp.Diff([]string{"60", "6"}, got) != "" {
		t.Errorf("rows and slices: %v", got)
	}
}

// landDay lands ten rows of the nth day.
func landDay(ctx context.Context, s *Sink, n int) error {
	a := attempt(int64(n + 1))
	a.Slice.Window = connector.Window{Since: day.Since.AddDate(0, 0, n), Until: day.Until.AddDate(0, 0, n)}
	w, err := s.Begin(ctx, a)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	for id := range 10 {
		raw := fmt.Appendf(nil, `{"id":%d,"user":"u","at":%q}`, n*10+id, a.Slice.Window.Since.Format(time.RFC3339))
		if err := w.Record(raw); err != nil {
			return err
		}
	}
	_, err = w.Commit(ctx, connector.Usage{})
	return err
}

func TestReplicaIsReportedAndFailoverGoesOn(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{Loopback: true, Durable: true, Settings: toBeKilled})
	s := prepared(t, primary.LoopbackURL())
	land(t, s, 1, 0, 50, "before")
	w := begin(t, s, attempt(2))
	for id := range 60 {
		if err := w.Record(call(id, "after")); err != nil {
			t.Fatal(err)
		}
	}
	primary.Kill(t)
	_, err := w.Commit(t.Context(), connector.Usage{})
	wantRetryable(t, err)
	if err := w.Close(); err != nil {
		t.Error(err)
	}

	standby := primary.Clone(t, true)
	replica, err := Open(t.Context(), standby.LoopbackURL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = replica.Close() }()
	_, err = replica.Prepare(t.Context(), "archive", calls, ledger.SchemaEvolve)
	wantFault(t, err, sink.FaultReadOnly, "read-only", "the primary")
	if entries, err := replica.Entries(t.Context(), ""); err != nil || len(entries) != 1 || entries[0].State != ledger.Held {
		t.Errorf("the ledger of a replica: %+v, %v", entries, err)
	}

	// An address that names all servers finds the one that takes writes.
	promoted := primary.Clone(t, false)
	all := mustParse(t, primary.LoopbackURL())
	all.Host = strings.Join([]string{all.Host, mustParse(t, standby.LoopbackURL()).Host, mustParse(t, promoted.LoopbackURL()).Host}, ",")
	all.RawQuery = "target_session_attrs=read-write"
	after := open(t, all.String())
	if counts := land(t, after, 3, 0, 60, "after"); counts.Inserted != 10 || counts.Updated != 50 {
		t.Errorf("on the promoted server: %+v", counts)
	}
	if strings.Count(after.Location(), ",") != 2 {
		t.Errorf("location %s, want all three servers", after.Location())
	}
}

// What the replica has confirmed is there after it has taken over, and what was
// under way is not. The agent goes on without a restart.
func TestFailoverToAStreamingReplicaGoesOn(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{Loopback: true, Durable: true, Settings: toBeKilled})
	replica := primary.Replica(t)
	both := mustParse(t, primary.LoopbackURL())
	both.Host += "," + mustParse(t, replica.LoopbackURL()).Host
	both.RawQuery = "target_session_attrs=read-write"
	query(t, primary.URL(), "ALTER SYSTEM SET synchronous_standby_names = '*'")
	query(t, primary.URL(), "SELECT pg_reload_conf()")
	for len(query(t, primary.URL(), "SELECT pid::text FROM pg_stat_replication WHERE sync_state = 'sync'")) == 0 {
	}

	s := prepared(t, both.String())
	reader, err := Open(t.Context(), replica.LoopbackURL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	_, err = reader.Prepare(t.Context(), "archive", calls, ledger.SchemaEvolve)
	wantFault(t, err, sink.FaultReadOnly, "read-only", "the primary")

	land(t, s, 1, 0, 50, "before")
	w := begin(t, s, attempt(2))
	for id := range 60 {
		if err := w.Record(call(id, "after")); err != nil {
			t.Fatal(err)
		}
	}
	primary.Kill(t)
	_, err = w.Commit(t.Context(), connector.Usage{})
	wantRetryable(t, err)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	query(t, replica.URL(), "SELECT pg_promote()")
	if got := query(t, replica.URL(), `SELECT count(*)::text, min(note), max(note), (SELECT string_agg(state || rows, ',') FROM winch.slices) FROM shop."order"`)[0]; cmp.Diff([]string{"50", "before", "before", "held50"}, got) != "" {
		t.Errorf("after the failover: %v", got)
	}
	// Sessions with the dead server fail once each.
	for range statementConns + defaultWriters + commitConns {
		if _, err := s.Entries(t.Context(), "shop"); err != nil {
			wantRetryable(t, err)
		}
	}
	if counts := land(t, s, 3, 0, 60, "after"); counts.Inserted != 10 || counts.Updated != 50 {
		t.Errorf("the next attempt: %+v", counts)
	}
}
