package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/internal/sink/sqlite"
)

// A job of a source that is in no configuration waits an hour for an agent that knows
// it. Then it ends, and so does its tick, with a run that says why.
func TestJobOfASourceThatNobodyConfiguresEnds(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := &serving{t: t, dir: t.TempDir()}
	yaml := fmt.Sprintf("sink: {url: %q}\nserve: {listen: '127.0.0.1:0'}\n", address)
	if err := os.WriteFile(filepath.Join(s.dir, "winch.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.winch("migrate"); err != nil {
		t.Fatal(err)
	}
	s.start()
	store, err := postgres.Open(t.Context(), address, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	queue, err := riverqueue.Open(t.Context(), store, riverqueue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	at := time.Now().Truncate(time.Second)
	_, err = queue.DecideTicks(t.Context(), []sink.Undecided{{Source: "removed", Schedule: "schedule", From: at.Add(-time.Second), Decide: func(sink.TickState) []sink.Tick {
		return []sink.Tick{{Source: "removed", Schedule: "schedule", Tick: at, DueAt: at, Decision: sink.Taken, Reason: "on time", Agent: "one"}}
	}}}, func(_ context.Context, tick sink.Tick) scheduler.Job {
		return scheduler.Job{Source: tick.Source, Trigger: scheduler.TriggerTick, Schedule: tick.Schedule, Tick: tick.Tick}
	})
	if err != nil {
		t.Fatal(err)
	}
	if l := s.await("job put back"); l.Message != "removed" || !strings.Contains(l.Error, "no source has this name") {
		t.Errorf("%+v", l)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if open, err := store.TickOpen(t.Context(), "removed", "schedule", at); err != nil || !open {
		t.Errorf("the tick is open: %v, error %v", open, err)
	}
	// The hour passes.
	if _, err := conn.Exec(t.Context(), "UPDATE winch_river.river_job SET created_at = created_at - interval '61 minutes'"); err != nil {
		t.Fatal(err)
	}
	ended := s.await("run failed")
	if ended.Source != "removed" || !strings.Contains(ended.Error, "no agent has a source of this name in its configuration") {
		t.Errorf("%+v", ended)
	}
	s.signal(os.Interrupt)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	run, _, err := store.RunByID(t.Context(), ended.Run)
	if err != nil || run.Outcome != sink.FailedRun || run.Error == "" {
		t.Errorf("run %+v, error %v", run, err)
	}
	ticks, err := store.Ticks(t.Context(), "removed", 10)
	if err != nil || len(ticks) != 1 || ticks[0].Run != ended.Run || ticks[0].DoneAt.IsZero() {
		t.Errorf("ticks %+v, error %v", ticks, err)
	}
	if depth, err := queue.Depth(t.Context()); err != nil || depth != (scheduler.Depth{}) {
		t.Errorf("queued %+v, error %v", depth, err)
	}
}

// On the embedded store no other agent can know the source: a job that waits when its
// source is removed ends at once.
func TestJobOfASourceThatNobodyConfiguresEndsAtOnceOnTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	arrived, answer := make(chan struct{}, 100), make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	vendor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			fmt.Fprint(rw, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
			return
		}
		arrived <- struct{}{}
		<-answer
		fmt.Fprint(rw, `{"orders":[{"id":1,"amount":"2"}]}`)
	}))
	t.Cleanup(vendor.Close)
	t.Cleanup(release) // before it, so that nothing is under way
	s := &serving{t: t, dir: t.TempDir()}
	file := filepath.Join(s.dir, "winch.yaml")
	with := strings.NewReplacer(
		"lookback_every: 0s", "schedule: '@every 1s'\n    streams: {orders: {}, returns: {schedule: '@every 1s'}}",
		"          - name: orders\n", "          - {name: returns, path: /returns, records: orders, key: [id], columns: [{name: id, type: bigint}]}\n          - name: orders\n",
	).Replace(fmt.Sprintf(moodyConfig, vendor.URL, vendor.URL)) + "serve: {listen: '127.0.0.1:0'}\n"
	if err := os.WriteFile(file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	// Of two schedules of one source, one is done and the other waits.
	taken := map[string]bool{}
	for len(taken) < 2 {
		taken[s.await("tick taken").Schedule] = true
	}
	<-arrived
	if err := os.WriteFile(file, []byte("sink: {url: 'sqlite:winch.db'}\nserve: {listen: '127.0.0.1:0'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.await("reloaded")
	release()
	ended := s.await("run failed")
	if ended.Source != "moody" || !strings.Contains(ended.Error, "no agent has a source of this name in its configuration") {
		t.Errorf("%+v", ended)
	}
	s.signal(os.Interrupt)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(s.dir, "winch.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	run, _, err := store.RunByID(t.Context(), ended.Run)
	if err != nil || run.Outcome != sink.FailedRun || run.Error == "" {
		t.Errorf("run %+v, error %v", run, err)
	}
	if open, err := store.OpenTicks(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("open ticks %+v, error %v", open, err)
	}
}
