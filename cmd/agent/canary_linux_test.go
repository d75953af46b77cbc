package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
)

// What a process is started with, other processes of the machine can read.
func TestAConnectorIsStartedWithNothingSecret(t *testing.T) {
	t.Parallel()
	c := &canaries{texts: map[string]string{}}
	w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1}, c.listen)
	path := filepath.Join(w.dir, "winch.yaml")
	configuration, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := secretSetting.FindSubmatch(configuration)[1]
	c.add("secret", string(secret))
	c.add("header for the receiver", "canary-receiver")
	configuration = bytes.ReplaceAll(configuration, secret, []byte("${env:VENDOR_SECRET}"))
	if err := os.WriteFile(path, configuration, 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "VENDOR_SECRET="+string(secret), "OTEL_EXPORTER_OTLP_HEADERS=authorization=canary-receiver")

	held := w.holdRequests("/kaisa/")
	agent := exec.CommandContext(t.Context(), filepath.Join(w.dir, "winch"), "pull", "kaisa_sandbox", "--log-level", "debug")
	var out bytes.Buffer
	agent.Dir, agent.Env, agent.Stdout, agent.Stderr = w.dir, w.env, &out, &out
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	held()
	found := 0
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range processes {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // state, then the parent
		if fields := strings.Fields(rest); len(fields) < 2 || fields[1] != fmt.Sprint(agent.Process.Pid) {
			continue
		}
		found++
		for _, name := range []string{"cmdline", "environ"} {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(stat), name))
			if err != nil || len(content) == 0 {
				t.Errorf("%s of the connector: %d bytes, %v", name, len(content), err)
			}
			c.search(t, name+" of the connector", content)
		}
	}
	if found == 0 {
		t.Error("no process of a connector was found")
	}
	w.release()
	_ = agent.Wait() // how the pull went is not the question
	c.search(t, "output", out.Bytes())
}
