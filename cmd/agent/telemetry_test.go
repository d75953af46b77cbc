package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/lineage/lineagetest"
	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/telemetry/otlptest"
)

// A workplace is a folder to run winch as a process, with a sandbox and a receiver.
type workplace struct {
	*testing.T
	dir, sandbox string
	receiver     *otlptest.Receiver
	lineage      *lineagetest.Receiver
	env          []string
	gate         gate
}

// A gate holds requests to a path until it is opened.
type gate struct {
	path    atomic.Pointer[string]
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

func (g *gate) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if path := g.path.Load(); path != nil && strings.Contains(r.URL.Path, *path) {
			select {
			case g.arrived <- struct{}{}:
			default:
			}
			select {
			case <-g.open:
			case <-r.Context().Done():
			}
		}
		next.ServeHTTP(rw, r)
	})
}

// holdRequests holds requests to a path from now on; wait returns when one has
// arrived.
func (w *workplace) holdRequests(path string) (wait func()) {
	w.gate.arrived = make(chan struct{}, 1)
	w.gate.path.Store(&path)
	return func() {
		select {
		case <-w.gate.arrived:
		case <-w.Context().Done():
			w.Fatal("no request came")
		}
	}
}

// release lets them go on.
func (w *workplace) release() { w.gate.once.Do(func() { close(w.gate.open) }) }

func newWorkplace(t *testing.T, o sandbox.Options, wrap ...func(http.Handler) http.Handler) *workplace {
	t.Helper()
	w := &workplace{T: t, dir: t.TempDir(), receiver: otlptest.New(t), lineage: lineagetest.New(t)}
	sim := sandbox.New(o)
	w.gate.open = make(chan struct{})
	handler := w.gate.before(sim)
	for _, f := range wrap {
		handler = f(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(w.release)
	w.sandbox = server.URL
	if err := os.WriteFile(filepath.Join(w.dir, "winch.yaml"), sandboxConfig(sim, server.URL, "sqlite:winch.db"), 0o600); err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(executable, filepath.Join(w.dir, "winch")); err != nil { // the name makes it the command
		t.Fatal(err)
	}
	w.env = []string{
		"HOME=" + w.dir, "TMPDIR=" + os.TempDir(), "PATH=" + os.Getenv("PATH"),
		"WINCH_TELEMETRY_OTLP_ENDPOINT=" + w.receiver.URL,
		"OPENLINEAGE_URL=" + w.lineage.URL, "OPENLINEAGE_API_KEY=canary-lineage-key",
	}
	return w
}

// winch runs a command and returns what it printed and its exit code.
func (w *workplace) winch(args ...string) (stdout, stderr string, code int) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), filepath.Join(w.dir, "winch"), args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// fault switches a fault of the sandbox on.
func (w *workplace) fault(form url.Values) {
	w.Helper()
	resp, err := http.PostForm(w.sandbox+"/_sandbox/faults", form)
	if err != nil {
		w.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		w.Fatalf("fault %v: %s", form, resp.Status)
	}
}

const (
	agentService = "@winch"
	kaisaService = "@winch-connector-kaisa"
	pullCall     = "winch.connector.v1.ConnectorService/Pull"
)

func TestAPullIsOneTraceFromTheCommandToTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers,cdrs_in"); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	tree := w.receiver.Tree()
	t.Log("\n" + tree)
	if strings.Contains(tree, "ORPHAN") || strings.Contains(tree, "ERROR") {
		t.Error("a span has lost its parent, or there is an error where nothing failed")
	}
	run := []string{"winch pull" + agentService, "run kaisa_sandbox" + agentService}
	slice := append(slices.Clone(run), "slice customers"+agentService, "attempt"+agentService)
	connector := append(slices.Clone(slice), pullCall+agentService, pullCall+kaisaService)
	for _, want := range [][]string{
		append(slices.Clone(run), "plan"+agentService),
		append(slices.Clone(connector), "GET /kaisa/{}/customers"+kaisaService),
		append(slices.Clone(slice), "decode"+agentService),
		append(slices.Clone(slice), "INSERT kaisa_sandbox.customers"+agentService),
		append(slices.Clone(slice), "merge kaisa_sandbox.customers"+agentService),
		append(slices.Clone(slice), "COMMIT kaisa_sandbox.customers"+agentService),
	} {
		if !slices.ContainsFunc(w.receiver.Named(""), func(s *otlptest.Span) bool { return slices.Equal(w.receiver.Path(s), want) }) {
			t.Errorf("no span %s", strings.Join(want, " > "))
		}
	}
	token := w.receiver.Named("fetch token")
	if len(token) == 0 || token[0].Service != "winch-connector-kaisa" {
		t.Errorf("spans of token fetches: %v", token)
	}
	traces := map[string]bool{}
	for _, s := range w.receiver.Spans() {
		traces[s.Trace()] = true
	}
	if len(traces) != 1 {
		t.Errorf("%d traces, want one", len(traces))
	}
	out, _, _ := w.winch("runs", "1")
	if trace := w.receiver.Spans()[0].Trace(); !strings.Contains(out, trace) {
		t.Errorf("winch runs does not show the trace %s:\n%s", trace, out)
	}
}

func TestAFailedPullShowsItsWaitsRetriesAndError(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	w.fault(url.Values{"kind": {"rate_limit_seconds"}, "path": {"/customers"}, "count": {"1"}, "delay": {"1s"}})
	w.fault(url.Values{"kind": {"html"}, "path": {"/statistics/cdrs"}})
	if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers,cdrs_in"); code != 1 {
		t.Fatalf("exit code %d, want 1\n%s%s", code, out, errs)
	}
	tree := w.receiver.Tree()
	t.Log("\n" + tree)
	wait := w.receiver.Named("wait retry_after")
	if len(wait) == 0 || wait[0].Attribute("winch.wait.reason") != "retry_after" || wait[0].GetEndTimeUnixNano()-wait[0].GetStartTimeUnixNano() < 9e8 {
		t.Errorf("the second that the vendor asked to wait is not a span: %v", wait)
	}
	retried := slices.DeleteFunc(w.receiver.Named("GET /kaisa/{}/customers"), func(s *otlptest.Span) bool {
		return s.Attribute("http.request.resend_count") != "1"
	})
	if len(retried) != 1 || retried[0].Attribute("winch.retry.reason") != "429" || retried[0].Attribute("http.response.status_code") != "200" {
		t.Errorf("spans of the request that was sent again: %v", retried)
	}
	slice := w.receiver.Named("slice cdrs_in")
	if len(slice) == 0 || slice[0].GetStatus().GetCode() != 2 || !strings.Contains(slice[0].GetStatus().GetMessage(), "text/html") {
		t.Errorf("the slice that failed: %v", slice)
	}
	run := w.receiver.Named("run kaisa_sandbox")
	if len(run) != 1 || run[0].Attribute("error.type") != "bad_response" || run[0].Attribute("winch.outcome") != "incomplete" {
		t.Errorf("the run: %v", run)
	}
	if len(w.receiver.Named("attempt")) < 3 {
		t.Error("a slice that is tried again has a span for each attempt")
	}
}

// An answer with status 200 that is none fails its request's span, and not its
// attempt's alone.
func TestAnAnswerThatIsNoneFailsItsRequest(t *testing.T) {
	t.Parallel()
	const page, half, object = "text/html", "not the JSON expected", "not a JSON object"
	for _, vendor := range []struct{ source, path, span, stream, html, truncated string }{
		{"kaisa_sandbox", "/customers", "GET /kaisa/{}/customers", "customers", page, half},
		{"contentsquare_sandbox", "/goals", "GET /contentsquare/cloud-1/v1/goals", "goals", page, half},
		{"fuuffy_sandbox", "/order/list", "GET /order/list", "orders", page, half},
		{"fospha_sandbox", "/graphql", "POST /fospha/uk/graphql", "performance_daily", object, object},
	} {
		for kind, want := range map[string]string{"html": vendor.html, "truncated": vendor.truncated, "errors_with_ok": ": "} {
			t.Run(vendor.stream+" "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorkplace(t, sandbox.Options{Size: 1, Days: 4})
				w.fault(url.Values{"kind": {kind}, "path": {vendor.path}})
				if out, errs, code := w.winch("pull", vendor.source, "--stream", vendor.stream); code != exitStreams {
					t.Fatalf("exit code %d\n%s%s", code, out, errs)
				}
				requests := w.receiver.Named(vendor.span)
				if len(requests) == 0 {
					t.Fatalf("no request was traced:\n%s", w.receiver.Tree())
				}
				for _, s := range requests {
					if s.Attribute("http.response.status_code") != "200" || s.GetStatus().GetCode() != 2 || s.Attribute("error.type") == "" ||
						!strings.Contains(s.GetStatus().GetMessage(), want) {
						t.Errorf("the request's span: %v", s)
					}
					events := s.GetEvents()
					if len(events) != 1 || events[0].GetName() != "exception" || events[0].GetTimeUnixNano() > s.GetEndTimeUnixNano() {
						t.Errorf("its events: %v", events)
					}
				}
			})
		}
	}
}

func TestARunLinksToTheOneWhoseAgentDied(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	struck := w.holdRequests("/statistics/cdrs")
	killed := exec.CommandContext(t.Context(), filepath.Join(w.dir, "winch"), "pull", "kaisa_sandbox")
	killed.Dir, killed.Env = w.dir, w.env
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	struck()
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	w.release()
	if out, errs, code := w.winch("pull", "kaisa_sandbox"); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	var lost struct {
		TraceID string `json:"trace_id"`
		Outcome string `json:"outcome"`
	}
	out, _, _ := w.winch("runs", "1", "--output", "json")
	if err := json.Unmarshal([]byte(out), &lost); err != nil || lost.Outcome != "lost" || lost.TraceID == "" {
		t.Fatalf("the run that was killed (%v): %s", err, out)
	}
	run := w.receiver.Named("run kaisa_sandbox") // that of the killed one never ended
	if len(run) != 1 || len(run[0].GetLinks()) != 1 || hex.EncodeToString(run[0].GetLinks()[0].GetTraceId()) != lost.TraceID {
		t.Errorf("the run after it links to nothing or elsewhere: %v", run)
	}
}

func TestEachLineOfARunBelongsToItAndItsTrace(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 40, Days: 2})
	_, stderr, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers,cdrs_in", "--log-level", "info", "--log-format", "json")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	trace := w.receiver.Spans()[0].Trace()
	landed, others, rows := 0, map[any]int{}, 0.0
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "{") {
			continue // progress for people
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if fields["run"] != 1.0 || fields["source"] != "kaisa_sandbox" || fields["trace_id"] != trace {
			t.Errorf("a line of run 1 in trace %s: %s", trace, line)
		}
		if fields["msg"] == "slice landed" {
			landed++
			rows += fields["rows"].(float64)
		} else {
			others[fields["msg"]]++
		}
	}
	// Two streams have such fields. However many records there are, no other line is written.
	if diff := cmp.Diff(map[any]int{"run started": 1, "run ended": 1, "fields that the stream does not declare went to _extra": 2}, others); diff != "" || rows < 500 {
		t.Errorf("lines beside those of slices, of a run with %v rows (-want +got):\n%s", rows, diff)
	}
	if want := len(w.receiver.Named("slice ")); landed == 0 || landed != want {
		t.Errorf("%d lines of slices that landed, want one for each of %d", landed, want)
	}

	// One part of the program alone, and its connectors' lines with their level.
	w.env = append(w.env, "WINCH_LOG_LEVEL=error")
	path := filepath.Join(w.dir, "winch.yaml")
	configuration, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(configuration, "\nlog: {levels: {plugin: debug}, format: json}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, _ = w.winch("pull", "kaisa_sandbox", "--stream", "customers")
	if !strings.Contains(stderr, `"level":"DEBUG"`) || !strings.Contains(stderr, `"connector":"kaisa"`) || strings.Contains(stderr, "run started") {
		t.Errorf("with log.levels.plugin: debug\n%s", stderr)
	}
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "{") && !strings.Contains(line, `"run":2`) {
			t.Errorf("a line of the connector without its run: %s", line)
		}
	}
}
