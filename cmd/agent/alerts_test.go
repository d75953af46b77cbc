package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/winchdata/winch/internal/alert"
	"github.com/winchdata/winch/internal/sandbox"
)

func TestAPullTellsWebhooksOnceAndIsNotFailedByThem(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	var (
		mu    sync.Mutex
		taken []alert.Message
	)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m alert.Message
		if err := json.Unmarshal(body, &m); err != nil || r.URL.Path != "/canary-path" {
			t.Errorf("%s %s: %v", r.URL.Path, body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, m)
		rw.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(hook.Close)
	told := func() (events []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range taken {
			events = append(events, m.Event+" "+m.Stream)
		}
		slices.Sort(events)
		taken = nil
		return events
	}
	file := filepath.Join(w.dir, "winch.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Append(text, "\nalerts:\n  ops: {url: \"${env:HOOK}\"}\n  away: {url: \"http://127.0.0.1:1/canary-path\", on: [failure]}\n")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "HOOK="+hook.URL+"/canary-path")

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
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.sandbox+"/_sandbox/faults", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_, errs, code = w.winch("pull", "kaisa_sandbox", "--stream", "customers")
	if got := strings.Join(told(), ","); code != exitOK || got != "drift customers,recovery customers" {
		t.Errorf("after it was well again: code %d, told %q\n%s", code, got, errs)
	}
}
