package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
)

// patience is for what comes for sure, on a machine that is busy.
const patience = 2 * time.Minute

// A serving is a winch serve as a process of its own, in a folder with a
// configuration for a sandbox.
type serving struct {
	t      *testing.T
	dir    string
	url    string // of the sandbox
	cmd    *exec.Cmd
	events chan serveLine
	stderr bytes.Buffer
	health string
}

// newServing writes a configuration in which a few streams of two accounts are due
// each second.
func newServing(t *testing.T) *serving {
	t.Helper()
	sim := sandbox.New(sandbox.Options{Size: 2, Days: 2})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	s := &serving{t: t, dir: t.TempDir(), url: server.URL}
	yaml := fmt.Sprintf(`
sink: {url: "sqlite:winch.db"}
serve: {listen: "127.0.0.1:0", grace: 5m}
sources:
  kaisa_test:
    connector: kaisa
    config: {client_id: sandbox-kaisa-client, client_secret: sandbox-kaisa-secret, base_url: %[1]s/kaisa, token_url: %[1]s/kaisa/oauth2/token}
    schedule: "@every 1s"
    since: %[2]s
    streams: [customers, cdrs_in]
`, server.URL, sim.Begin().Format(time.DateOnly))
	if err := os.WriteFile(filepath.Join(s.dir, "winch.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// winch runs another command in the folder and returns what it prints.
func (s *serving) winch(args ...string) (stdout string, err error) {
	cmd := exec.CommandContext(s.t.Context(), "winch", args...)
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
		return string(out), fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// start starts the process and waits until it serves.
func (s *serving) start() {
	s.t.Helper()
	s.cmd = exec.CommandContext(s.t.Context(), "winch", "serve", "--output", "json")
	s.cmd.Dir = s.dir
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.events = make(chan serveLine, 10_000)
	go func() { // ends with the process
		defer close(s.events)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var l serveLine
			if err := json.Unmarshal(lines.Bytes(), &l); err == nil {
				s.events <- l
			}
		}
	}()
	_, s.health, _ = strings.Cut(s.await("serving").Message, " on ")
}

// await returns the next event of a kind, one with the text in its message.
func (s *serving) await(event string, text ...string) serveLine {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-s.events:
			if !ok {
				s.t.Fatalf("ended before %q:\n%s", event, s.stderr.String())
			}
			if l.Event == event && strings.Contains(l.Message, strings.Join(text, "")) {
				return l
			}
		case <-timeout:
			s.t.Fatalf("no %q:\n%s", event, s.stderr.String())
		}
	}
}

func (s *serving) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the end of the process and returns its exit code.
func (s *serving) ends() int {
	s.t.Helper()
	for range s.events { // until its output is closed
	}
	_ = s.cmd.Wait() // the exit code tells
	return s.cmd.ProcessState.ExitCode()
}

// children returns the processes that the process has started.
func (s *serving) children() (pids []int) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pid, _ := strconv.Atoi(fields[0])
		if fields[1] == strconv.Itoa(s.cmd.Process.Pid) && !strings.HasPrefix(fields[2], "Z") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitChild waits until a connector runs and returns the connectors.
func (s *serving) awaitChild() []int {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if pids := s.children(); len(pids) > 0 {
			return pids
		}
	}
	s.t.Fatal("no connector was started")
	return nil
}

// alive returns those of the processes that are still there.
func alive(pids []int) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return syscall.Kill(pid, 0) != nil })
}

func (s *serving) get(path string) (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.health+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// slow makes the vendor take minutes for each answer.
func (s *serving) slow() {
	s.t.Helper()
	resp, err := http.PostForm(s.url+"/_sandbox/faults", map[string][]string{"kind": {"slow"}, "delay": {"5m"}, "path": {"/statistics/cdrs"}})
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		s.t.Fatal("fault:", resp.Status)
	}
}

func (s *serving) fast() {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodDelete, s.url+"/_sandbox/faults", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

func TestServePullsByScheduleAndEndsWhole(t *testing.T) {
	t.Parallel()
	s := newServing(t)
	s.start()
	first := s.await("run succeeded")
	if first.Rows == 0 || first.Source != "kaisa_test" {
		t.Errorf("%+v", first)
	}
	if status, body := s.get("/readyz"); status != http.StatusOK || !strings.Contains(body, `"schedules":1`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, body := s.get("/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %s", status, body)
	}
	// The embedded store has one agent.
	if _, err := s.winch("serve"); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "in use by another agent (pid") {
		t.Errorf("a second one: %v", err)
	}

	// A paused source is skipped, with that reason, and pulled again when resumed.
	if _, err := s.winch("schedule", "pause", "kaisa_test"); err != nil {
		t.Error(err)
	}
	s.await("tick skipped", "paused since")
	if _, err := s.winch("schedule", "resume", "kaisa_test"); err != nil {
		t.Error(err)
	}
	s.await("tick taken")

	// A wrong configuration does not replace the one in force, a right one does.
	file := filepath.Join(s.dir, "winch.yaml")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s.signal(syscall.SIGHUP)
	}
	write(bytes.ReplaceAll(right, []byte("@every 1s"), []byte("now and then")))
	if l := s.await("not reloaded"); !strings.Contains(l.Error, "now and then") {
		t.Errorf("%+v", l)
	}
	s.await("tick taken")
	write(bytes.ReplaceAll(right, []byte("@every 1s"), []byte("*/2 * * * * *")))
	s.await("reloaded")
	s.await("tick taken")

	s.signal(syscall.SIGTERM)
	s.await("stopping")
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	if s.stderr.Len() > 0 {
		t.Errorf("stderr: %s", s.stderr.String())
	}
	s.wantEachTickOnce()
}

// wantEachTickOnce examines what was decided: no tick without a reason, none twice,
// and the taken ones done, but for the newest, which the shutdown may have met.
func (s *serving) wantEachTickOnce() {
	s.t.Helper()
	out, err := s.winch("schedule", "history", "-n", "1000", "--output", "json")
	if err != nil {
		s.t.Fatal(err)
	}
	var history struct{ Ticks []decisionReport }
	if err := json.Unmarshal([]byte(out), &history); err != nil {
		s.t.Fatal(err)
	}
	seen := map[time.Time]bool{}
	for i, one := range history.Ticks {
		if seen[one.Tick] || one.Reason == "" || one.DoneAt == nil && i > 0 {
			s.t.Errorf("twice, without reason or not done: %+v", one)
		}
		seen[one.Tick] = true
	}
	if len(seen) < 3 {
		s.t.Errorf("%d ticks", len(seen))
	}
}

// The first signal lets what is being read go on; the second ends it at once, and no
// connector outlives the agent. The next start does the work of the tick.
func TestServeIsCutByTheSecondSignalAndGoesOn(t *testing.T) {
	t.Parallel()
	s := newServing(t)
	s.slow()
	s.start()
	taken := s.await("tick taken")
	connectors := s.awaitChild()
	s.await("tick skipped") // the second tick overlaps: the pull is under way
	s.signal(syscall.SIGTERM)
	s.await("stopping")
	if status, body := s.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz while it ends: %d %s", status, body)
	}
	if left := alive(connectors); len(left) != len(connectors) {
		t.Errorf("connectors %v, of which %v live: the first signal is to wait", connectors, left)
	}
	s.signal(syscall.SIGTERM)
	s.await("cancelling")
	if code := s.ends(); code != exitInterrupted {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	if left := alive(connectors); len(left) > 0 {
		t.Errorf("connectors that remain: %v", left)
	}
	out, err := s.winch("runs", "1", "--output", "json")
	if err != nil || !strings.Contains(out, `"outcome": "interrupted"`) {
		t.Errorf("%v: %s", err, out)
	}

	s.fast()
	s.start()
	s.await("run succeeded")
	s.signal(os.Interrupt)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	out, err = s.winch("schedule", "history", "-n", "1000", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var history struct{ Ticks []decisionReport }
	if err := json.Unmarshal([]byte(out), &history); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(history.Ticks, func(d decisionReport) bool { return d.Tick.Equal(*taken.Tick) })
	if i < 0 || history.Ticks[i].Run == nil || *history.Ticks[i].Run < 2 {
		t.Errorf("the tick that was cut: %+v", history.Ticks)
	}
}

// Killed, the agent takes its connectors with it.
func TestServeKilledLeavesNoConnector(t *testing.T) {
	t.Parallel()
	s := newServing(t)
	s.slow()
	s.start()
	s.await("tick taken")
	connectors := s.awaitChild()
	s.signal(os.Kill)
	s.ends()
	for deadline := time.Now().Add(patience); len(alive(connectors)) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("connectors that remain: %v", alive(connectors))
		}
	}
	s.fast()
	s.start()
	s.await("run succeeded")
	s.signal(syscall.SIGTERM)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
}
