//go:build unix

package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/lineage/lineagetest"
	"github.com/winchdata/winch/internal/telemetry/otlptest"
)

// A tracedFleet is a fleet of one source whose agents tell a receiver.
type tracedFleet struct {
	*fleet
	receiver *otlptest.Receiver
	lineage  *lineagetest.Receiver
}

func newTracedFleet(t *testing.T) *tracedFleet {
	f := &tracedFleet{newFleet(t, "own"), otlptest.New(t), lineagetest.New(t)}
	f.env = []string{"WINCH_TELEMETRY_OTLP_ENDPOINT=" + f.receiver.URL, "WINCH_TELEMETRY_OPENLINEAGE_URL=" + f.lineage.URL}
	return f
}

// traceOf returns the ids of a run's trace and span.
func (f *tracedFleet) traceOf(run int64) (trace, span string) {
	f.Helper()
	if err := f.conn.QueryRow(f.Context(), "SELECT trace_id, span_id FROM winch.runs WHERE id = $1", run).Scan(&trace, &span); err != nil || trace == "" {
		f.Fatalf("the trace of run %d: %q, %v", run, trace, err)
	}
	return trace, span
}

// received waits until a span has come.
func (f *tracedFleet) received(trace, name string) *otlptest.Span {
	f.Helper()
	for started := time.Now(); time.Since(started) < patience; time.Sleep(20 * time.Millisecond) {
		for _, s := range f.receiver.Named(name) {
			if s.Trace() == trace {
				return s
			}
		}
	}
	f.Fatalf("no span %q of the trace %s came:\n%s", name, trace, f.receiver.Tree())
	return nil
}

// stall makes the vendor take minutes for each answer, until it is told to go on.
func (f *tracedFleet) stall() (goOn func()) {
	f.Helper()
	send := func(method string, form url.Values) {
		req, err := http.NewRequestWithContext(f.Context(), method, f.url+"/_sandbox/faults", strings.NewReader(form.Encode()))
		if err != nil {
			f.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			f.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= http.StatusMultipleChoices {
			f.Fatalf("%s: %s", method, resp.Status)
		}
	}
	send(http.MethodDelete, nil) // they only slow each answer a little
	send(http.MethodPost, url.Values{"kind": {"slow"}, "delay": {"5m"}, "path": {"/statistics/cdrs"}})
	return func() { send(http.MethodDelete, nil) }
}

// runningBy returns the run that is under way, by the agent that does it, once its
// source has nothing that is held.
func (f *tracedFleet) runningBy() (s strike) {
	f.Helper()
	const query = `SELECT a.pid, r.id, r.source FROM winch.runs r JOIN winch.leases l ON l.source = r.source JOIN winch.agents a ON a.id = l.holder
WHERE r.outcome = '' AND r.trigger = 'tick' ORDER BY r.id DESC LIMIT 1`
	f.until("a run is under way", "SELECT count(*) FROM ("+query+") q")
	if err := f.conn.QueryRow(f.Context(), query).Scan(&s.pid, &s.run, &s.source); err != nil || f.agents[s.pid] == nil {
		f.Fatalf("the run that waits for the vendor: %+v, %v", s, err)
	}
	return s
}

// end ends the agents, so that each sends what it has left to tell.
func (f *tracedFleet) end() {
	f.Helper()
	for pid, a := range f.agents {
		delete(f.agents, pid)
		if err := a.Process.Signal(syscall.SIGTERM); err != nil {
			f.Fatal(err)
		}
		if err := a.Wait(); err != nil {
			f.Errorf("agent %d: %v\n%s%s", pid, err, a.Stdout, a.Stderr)
		}
	}
}

// wantPaths wants a trace to have spans at the paths below a root, all from one
// process to the other.
func (f *tracedFleet) wantPaths(trace string, paths ...[]string) {
	f.Helper()
	var have [][]string
	for _, s := range f.receiver.Spans() {
		if s.Trace() == trace {
			have = append(have, f.receiver.Path(s))
		}
	}
	for _, want := range paths {
		if !slices.ContainsFunc(have, func(path []string) bool { return slices.Equal(path, want) }) {
			f.Errorf("the trace %s has no span %s:\n%s", trace, strings.Join(want, " > "), f.receiver.Tree())
		}
	}
}

// A scheduled run is one trace from the tick to the commit, through the queue and the
// connector's process, also where another agent takes it from the queue, or takes it
// over from one that was killed.
func TestAScheduledRunIsOneTraceWhoeverDoesIt(t *testing.T) {
	t.Parallel()
	f := newTracedFleet(t)
	f.launch()
	f.launch()
	const succeeded = "SELECT COALESCE(min(id), 0) FROM winch.runs WHERE outcome = 'succeeded' AND trigger = $1"
	whole := f.until("a run of a tick has succeeded", succeeded, "tick")
	f.run("pull", "--queue", "kaisa_0")
	queued := f.until("the queued pull has succeeded", succeeded, "pull")

	f.run("schedule", "pause", "kaisa_0")
	f.until("nothing is under way", "SELECT (count(*) = 0)::int FROM winch.ticks WHERE done_at IS NULL")
	f.until("a tick is skipped", "SELECT count(*) FROM winch.ticks WHERE decision = 'skipped' AND reason LIKE '%paused since%'")
	if _, err := f.conn.Exec(t.Context(), "DELETE FROM winch.slices"); err != nil {
		t.Fatal(err)
	}
	goOn := f.stall()
	f.run("schedule", "resume", "kaisa_0")
	struck := f.runningBy()
	lostTrace, lostSpan := f.traceOf(struck.run)
	f.received(lostTrace, "tick kaisa_0")
	f.received(lostTrace, "wait queue")
	f.begun(struck.run)
	f.kill(struck)
	f.number("WITH silent AS (UPDATE winch.agents SET expires_at = now() - interval '1 second' WHERE pid = $1 RETURNING 1) SELECT count(*) FROM silent", struck.pid)
	goOn()
	heir := f.until("another agent has gone on", "SELECT COALESCE(min(id), 0) FROM winch.runs WHERE id > $1 AND outcome = 'succeeded'", struck.run)
	f.end()

	const tick, run = "tick kaisa_0" + agentService, "run kaisa_0" + agentService
	below := func(root string) [][]string {
		slice := []string{root, run, "slice cdrs_in" + agentService, "attempt" + agentService}
		return [][]string{
			{root, "wait queue" + agentService},
			{root, run, "plan" + agentService},
			append(slices.Clone(slice), pullCall+agentService, pullCall+kaisaService, "GET /kaisa/{}/statistics/cdrs"+kaisaService),
			append(slices.Clone(slice), "COMMIT kaisa_0.cdrs_in"+agentService),
		}
	}
	wholeTrace, _ := f.traceOf(whole)
	f.wantPaths(wholeTrace, below(tick)...)
	queuedTrace, _ := f.traceOf(queued)
	f.wantPaths(queuedTrace, []string{"winch pull" + agentService, "wait queue" + agentService}, []string{"winch pull" + agentService, run, "plan" + agentService})

	decided := f.received(wholeTrace, tick[:len("tick kaisa_0")])
	for key, want := range map[string]string{"winch.decision": "taken", "winch.schedule": "schedule", "winch.source": "kaisa_0", "winch.reason": "on time"} {
		if got := decided.Attribute(key); got != want {
			t.Errorf("the tick has %s %q, want %q", key, got, want)
		}
	}
	due, err := time.Parse(time.RFC3339, decided.Attribute("winch.due"))
	if err != nil || due.Unix()%4 != 0 || decided.Attribute("winch.tick") == "" || decided.Attribute("winch.lateness_seconds") == "" || len(decided.GetParentSpanId()) > 0 {
		t.Errorf("the tick: %v, %v", decided, err)
	}
	if !slices.ContainsFunc(f.receiver.Named("tick"), func(s *otlptest.Span) bool {
		return s.Attribute("winch.decision") == "skipped" && strings.Contains(s.Attribute("winch.reason"), "paused since")
	}) {
		t.Error("the ticks that were skipped do not say why")
	}

	// The run that was killed told nothing of its end; the one after it is part of the
	// same trace, and linked to it.
	heirTrace, heirSpan := f.traceOf(heir)
	if heirTrace != lostTrace || heirSpan == lostSpan {
		t.Errorf("trace %s of the run that was killed, %s of that which went on", lostTrace, heirTrace)
	}
	f.wantPaths(heirTrace, below(tick)...)
	ended := f.received(heirTrace, "run kaisa_0")
	links := ended.GetLinks()
	if ended.Attribute("winch.run") != fmt.Sprint(heir) || ended.Attribute("winch.resumes_run") != fmt.Sprint(struck.run) ||
		len(links) != 1 || hex.EncodeToString(links[0].GetTraceId())+hex.EncodeToString(links[0].GetSpanId()) != lostTrace+lostSpan {
		t.Errorf("the run %d after run %d, which was killed: %v", heir, struck.run, ended)
	}
	var waits int
	for _, s := range f.receiver.Named("wait queue") {
		if s.Trace() == heirTrace {
			waits++
		}
	}
	if waits != 2 {
		t.Errorf("%d waits in the queue, want one of each agent", waits)
	}
	f.wantLineage(whole, "COMPLETE")
	f.wantLineage(struck.run, "ABORT")
	f.wantLineage(heir, "COMPLETE")
}

// begun waits until the receiver of lineage was told the beginning of a run and of its
// stream.
func (f *tracedFleet) begun(run int64) {
	f.Helper()
	for started := time.Now(); len(told(f.lineage.Events(), run)) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Since(started) > time.Minute {
			f.Fatalf("lineage of run %d: %v", run, told(f.lineage.Events(), run))
		}
	}
}

// wantLineage wants each part of a run of a tick to have begun once and ended once.
func (f *tracedFleet) wantLineage(run int64, end string) {
	f.Helper()
	events := told(f.lineage.Events(), run)
	got := map[string]string{}
	for _, e := range events {
		if e.Type == "START" && (e.Run.Facets["nominalTime"]["nominalStartTime"] == nil || tagsOf(e)["winch.trigger"] != "tick") {
			f.Errorf("run %d: %s: %v", run, e, e.Run.Facets)
		}
		got[e.Job.Name] += " " + e.Type
	}
	want := " START " + end
	if len(got) != 2 || got["kaisa_0"] != want || got["kaisa_0."+fleetStream] != want {
		f.Errorf("lineage of run %d: %v, want%s of the whole and of the stream", run, got, want)
	}
}
