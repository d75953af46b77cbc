//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
)

// What winch serve says to whoever may ask it, prints and tells, while vendors fail.
func TestNothingSecretOrPersonalLeavesAServer(t *testing.T) {
	t.Parallel()
	c := &canaries{texts: map[string]string{}}
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2}, c.listen)
	file := filepath.Join(w.dir, "winch.yaml")
	configuration, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range secretSetting.FindAllSubmatch(configuration, -1) {
		c.add("secret", string(match[1]))
	}
	w.winch("pull") // for the rows
	c.addPersonal(t, w)
	if len(c.texts) < 50 {
		t.Fatalf("%d canaries", len(c.texts))
	}
	scheduled := regexp.MustCompile(`(?m)^( +)schedule: .*$`).ReplaceAll(configuration, []byte("${1}schedule: '@every 2s'\n${1}lookback_every: 0s"))
	if err := os.WriteFile(file, scheduled, 0o600); err != nil {
		t.Fatal(err)
	}
	var alerts bytes.Buffer
	appendTo(t, file, fmt.Sprintf("\nalerts: {ops: {url: %q}}\n", newRawHook(t, &alerts)))
	w.fault(url.Values{"kind": {"html"}, "path": {"/customers"}})

	agent := exec.CommandContext(t.Context(), filepath.Join(w.dir, "winch"), "serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", "json")
	agent.Dir, agent.Env = w.dir, w.env
	var said, logged bytes.Buffer
	agent.Stderr = &logged
	stdout, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	address, runs := "", 0
	lines := bufio.NewScanner(stdout)
	for runs < 2*4 && lines.Scan() {
		said.Write(lines.Bytes())
		if _, on, ok := strings.Cut(lines.Text(), " on http"); ok && address == "" {
			address = "http" + on
		}
		if strings.Contains(lines.Text(), " run ") {
			runs++
		}
	}
	if address == "" {
		_ = agent.Wait() // it has ended
		t.Fatalf("it does not serve: %s%s", said.String(), logged.String())
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		c.search(t, path, ask(t, address+path))
	}
	if text := string(ask(t, address+"/metrics")); !strings.Contains(text, "winch_rows_total") || !strings.Contains(text, "trace_id=") {
		t.Errorf("metrics without rows or examples:\n%s", text)
	}
	if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = said.ReadFrom(stdout)
	if err := agent.Wait(); err != nil {
		t.Errorf("%v: %s", err, logged.String())
	}
	c.search(t, "stdout", said.Bytes())
	c.search(t, "stderr", logged.Bytes())
	c.search(t, "alerts", alerts.Bytes())
	w.searchTelemetry(c)
	if runs < 8 || alerts.Len() == 0 || !strings.Contains(logged.String(), `"level":"DEBUG"`) {
		t.Errorf("%d runs, %d bytes of alerts, %d of log", runs, alerts.Len(), logged.Len())
	}
}

// ask asks as Prometheus does, so that metrics come with their examples.
func ask(t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
