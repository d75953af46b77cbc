package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
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
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/alert"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// An alertHook is a webhook that takes what it is told, once it may.
type alertHook struct {
	url     string
	arrived chan alert.Message

	mu     sync.Mutex
	stuck  bool // takes nothing: whoever tells waits
	taken  []alert.Message
	header []string
}

func newAlertHook(t *testing.T) *alertHook {
	t.Helper()
	h := &alertHook{arrived: make(chan alert.Message, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m alert.Message
		if err := json.Unmarshal(body, &m); err != nil || r.URL.Path != "/canary-path" || m.ID == "" {
			t.Errorf("%s %s: %v", r.URL.Path, body, err)
		}
		h.mu.Lock()
		stuck := h.stuck
		h.taken, h.header = append(h.taken, m), append(h.header, r.Header.Get("Webhook-Id"))
		h.mu.Unlock()
		h.arrived <- m
		if stuck {
			<-r.Context().Done()
			return
		}
		rw.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL + "/canary-path"
	return h
}

// told are events and streams of what came since the last time.
func (h *alertHook) told() (events []string) {
	for _, m := range h.messages() {
		events = append(events, m.Event+" "+m.Stream)
	}
	slices.Sort(events)
	return events
}

func (h *alertHook) messages() []alert.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.taken
	h.taken = nil
	return all
}

func (h *alertHook) hold(stuck bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck = stuck
}

// await waits for the next message.
func (h *alertHook) await(t *testing.T) alert.Message {
	t.Helper()
	select {
	case m := <-h.arrived:
		return m
	case <-time.After(patience):
		t.Fatal("the webhook was told nothing")
		return alert.Message{}
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Append(before, text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// noFaults switches the faults of the sandbox off.
func (w *workplace) noFaults() {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodDelete, w.sandbox+"/_sandbox/faults", nil)
	if err != nil {
		w.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	resp.Body.Close()
}

// changeStore changes the embedded store beside the agent.
func changeStore(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "winch.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}

func TestAPullTellsWebhooksOnceAndIsNotFailedByThem(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	hook := newAlertHook(t)
	told := hook.told
	file := filepath.Join(w.dir, "winch.yaml")
	appendTo(t, file, "\nalerts:\n  ops: {url: \"${env:HOOK}\"}\n  away: {url: \"http://127.0.0.1:1/canary-path\", on: [failure]}\n")
	w.env = append(w.env, "HOOK="+hook.url)

	out, errs, code := w.winch("alerts", "test", "ops")
	if code != exitOK || !slices.Equal(told(), []string{"test "}) {
		t.Errorf("test: %d %s%s", code, out, errs)
	}
	out, errs, code = w.winch("alerts", "test", "--output", "json")
	if code != exitStreams || !strings.Contains(out, `"ok": false`) || strings.Contains(out+errs, "canary") {
		t.Errorf("test of one that is away: %d %s%s", code, out, errs)
	}
	told()
	if _, errs, code = w.winch("alerts", "test", "nobody"); code != exitUsage {
		t.Errorf("test of none: %d %s", code, errs)
	}

	w.fault(url.Values{"kind": {"html"}, "path": {"/customers"}})
	for i, want := range []string{"failure customers", ""} {
		_, errs, code = w.winch("pull", "kaisa_sandbox", "--stream", "customers")
		if got := strings.Join(told(), ","); code != exitStreams || got != want {
			t.Errorf("pull %d: code %d, told %q, want %q", i, code, got, want)
		}
		if !strings.Contains(errs, "alert not told") || strings.Contains(errs, "canary") {
			t.Errorf("log: %s", errs)
		}
	}
	w.noFaults()
	_, errs, code = w.winch("pull", "kaisa_sandbox", "--stream", "customers")
	if got := strings.Join(told(), ","); code != exitOK || got != "drift customers,recovery customers" {
		t.Errorf("after it was well again: code %d, told %q\n%s", code, got, errs)
	}
}

// An agent that dies between recording and telling leaves what it did not tell; one
// that dies while it tells leads to the same message, with the same id, a second time.
func TestAnAlertIsToldAlsoIfTheAgentDiesWhileItTells(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
		w.killWhileItTells(func() {
			changeStore(t, w.dir, `UPDATE "winch.alert_messages" SET claimed_until = '2000-01-01T00:00:00.000000Z'`)
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
		address := pgtest.Database(t)
		w.env = append(w.env, "WINCH_SINK_URL="+address)
		w.killWhileItTells(func() {
			conn, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			tag, err := conn.Exec(t.Context(), "UPDATE winch.alert_messages SET claimed_until = now() - interval '1 second' WHERE claimed_until > now()")
			if err != nil || tag.RowsAffected() == 0 {
				t.Fatalf("%d claims, %v", tag.RowsAffected(), err)
			}
		})
	})
}

// killWhileItTells kills an agent while it tells, and lets another one tell the same.
// The dead agent's claim ends by itself, after half a minute; endClaims does it now.
func (w *workplace) killWhileItTells(endClaims func()) {
	t := w.T
	t.Helper()
	hook := newAlertHook(t)
	appendTo(t, filepath.Join(w.dir, "winch.yaml"), fmt.Sprintf("\nalerts: {ops: {url: %q}}\n", hook.url))
	w.fault(url.Values{"kind": {"html"}, "path": {"/customers"}})
	hook.hold(true)
	agent := exec.CommandContext(t.Context(), filepath.Join(w.dir, "winch"), "pull", "kaisa_sandbox", "--stream", "customers")
	agent.Dir, agent.Env = w.dir, w.env
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	before := hook.await(t)
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // it was killed
	hook.hold(false)
	hook.messages()
	w.noFaults()

	endClaims()
	if _, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers"); code != exitOK {
		t.Fatalf("code %d\n%s", code, errs)
	}
	after := hook.messages()
	if len(after) < 2 || after[0].ID != before.ID || after[0].Event != alert.Failure || !after[0].At.Equal(before.At) {
		t.Errorf("told %+v, then %+v", before, after)
	}
	if hook.header[0] != before.ID {
		t.Errorf("header %q", hook.header[0])
	}
	if last := after[len(after)-1]; last.Event != alert.Recovery && after[len(after)-2].Event != alert.Recovery {
		t.Errorf("the failure before what came after it: %+v", after)
	}
	if _, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers"); code != exitOK || len(hook.told()) > 0 {
		t.Errorf("told again: code %d\n%s", code, errs)
	}
}

func TestServeTellsOfAStaleStreamAndItsRecovery(t *testing.T) {
	t.Parallel()
	s := newServing(t)
	hook := newAlertHook(t)
	file := filepath.Join(s.dir, "winch.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("streams: [customers, cdrs_in]"), []byte("streams: {customers: {freshness: 1h}}"), 1)
	text = bytes.Replace(text, []byte("@every 1s"), []byte("@every 2s"), 1)
	if err := os.WriteFile(file, fmt.Appendf(text, "alerts: {ops: {url: %q, on: [staleness, recovery]}}\n", hook.url), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.winch("pull"); err != nil {
		t.Fatal(err)
	}
	if got := hook.told(); len(got) > 0 {
		t.Errorf("of fresh data: %v", got)
	}
	changeStore(t, s.dir, `UPDATE "winch.slices" SET last_read_at = '2026-01-01T00:00:00.000000Z'`)
	s.start()
	stale, well := hook.await(t), hook.await(t)
	if stale.Event != alert.Staleness || stale.Source != "kaisa_test" || stale.Stream != "customers" || stale.Newest == nil || !strings.Contains(stale.Text, "may be 1h old") {
		t.Errorf("staleness: %+v", stale)
	}
	if well.Event != alert.Recovery || well.Of != alert.Staleness || well.Stream != "customers" || well.ID == stale.ID {
		t.Errorf("recovery: %+v", well)
	}
	s.signal(syscall.SIGTERM)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	if got := hook.messages(); len(got) != 2 {
		t.Errorf("told %+v", got)
	}
}

const moodyConfig = `sink: {url: "sqlite:winch.db"}
alerts: {ops: {url: %[2]q}}
sources:
  moody:
    connector: generic
    lookback_every: 0s
    config:
      client_id: someone
      client_secret: canary-secret
      base_url: %[1]s
      token_url: %[1]s/token
      manifest:
        version: 1
        name: moody
        title: Moody
        base_url: https://api.example.com
        auth: {type: oauth2_client_credentials, token_path: /token, body: form}
        streams:
          - name: orders
            path: /orders
            records: orders
            key: [id]
            columns: [{name: id, type: bigint}, {name: amount, type: numeric}]
`

// Each kind of alert once, by the real program, a real vendor and a real webhook.
func TestEachKindOfAlertIsTold(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[string]
	vendor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			fmt.Fprint(rw, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
			return
		}
		fmt.Fprint(rw, *answer.Load())
	}))
	t.Cleanup(vendor.Close)
	w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
	hook := newAlertHook(t)
	if err := os.WriteFile(filepath.Join(w.dir, "winch.yaml"), fmt.Appendf(nil, moodyConfig, vendor.URL, hook.url), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct{ answer, want string }{
		{`{"orders":[{"id":1,"amount":"1.50"},{"id":2,"amount":"2"}]}`, ""},
		{`{"orders":[{"id":1,"amount":"much"},{"id":2,"amount":"2"}]}`, "quarantine orders"},
		{`{"orders":[{"id":1,"amount":"1.50"},{"id":2,"amount":"2","currency":"SEK"}]}`, "drift orders"},
		{`{"oops":true}`, "failure orders"},
		{`{"orders":[{"id":1,"amount":"1.50"},{"id":2,"amount":"2","currency":"SEK"}]}`, "recovery orders"},
	} {
		answer.Store(&step.answer)
		out, errs, _ := w.winch("pull")
		if got := strings.Join(hook.told(), ","); got != step.want {
			t.Errorf("step %d: told %q, want %q\n%s%s", i, got, step.want, out, errs)
		}
	}
}
