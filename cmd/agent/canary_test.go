package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
)

// canaries are texts that must not leave the process but where they belong.
type canaries struct {
	mu    sync.Mutex
	texts map[string]string // with what they are
}

func (c *canaries) add(what, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(text) >= 8 { // shorter ones occur by chance
		c.texts[text] = what
	}
}

// search fails the test where a canary is in what left the process.
func (c *canaries) search(t *testing.T, where string, left []byte) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, what := range c.texts {
		for _, spelling := range []string{text, url.QueryEscape(text), url.PathEscape(text)} {
			if i := bytes.Index(left, []byte(spelling)); i >= 0 {
				t.Errorf("%s %q is in %s: ...%q...", what, text, where, left[max(0, i-80):min(len(left), i+len(spelling)+40)])
				break
			}
		}
	}
}

// leavings runs a command at the level debug and searches what it printed; stdout
// too unless it is there to show data.
func (w *workplace) leavings(c *canaries, shows bool, args ...string) {
	w.Helper()
	c.add("key for the receiver of lineage", "canary-lineage-key")
	args = append(args, "--log-level", "debug", "--log-format", "json")
	stdout, stderr, _ := w.winch(args...) // also what fails must be silent
	name := "winch " + strings.Join(args, " ")
	c.search(w.T, "stderr of "+name, []byte(stderr))
	if !shows {
		c.search(w.T, "stdout of "+name, []byte(stdout))
	}
	if !strings.Contains(stderr, `"level":"DEBUG"`) {
		w.Errorf("%s logged nothing at debug:\n%s", name, stderr)
	}
}

// searchTelemetry searches all that was sent to the receiver, and sees that there
// was something.
func (w *workplace) searchTelemetry(c *canaries) {
	w.Helper()
	bodies := w.receiver.Bodies()
	if len(bodies) == 0 || len(w.receiver.Named("GET")) == 0 {
		w.Error("nothing was traced")
	}
	for _, body := range bodies {
		c.search(w.T, "OTLP", body)
	}
	events := w.lineage.Bodies()
	if len(events) == 0 {
		w.Error("no lineage was told")
	}
	for _, body := range events {
		c.search(w.T, "OpenLineage", body)
	}
}

// searchHistory searches what the store keeps of runs for people.
func (w *workplace) searchHistory(c *canaries) {
	w.Helper()
	list, _, _ := w.winch("runs", "--output", "json", "-n", "1000")
	c.search(w.T, "runs", []byte(list))
	var runs struct {
		Runs []struct {
			ID int64 `json:"id"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(list), &runs); err != nil || len(runs.Runs) == 0 {
		w.Fatalf("runs: %v %s", err, list)
	}
	for _, r := range runs.Runs {
		for _, format := range []string{"text", "json"} {
			one, _, _ := w.winch("runs", fmt.Sprint(r.ID), "--output", format)
			c.search(w.T, "run", []byte(one))
		}
	}
}

// addPersonal takes the values of all columns that connectors mark as personal
// for canaries, from the rows that landed.
func (c *canaries) addPersonal(t *testing.T, w *workplace) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "winch.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, def := range bundled() {
		for _, stream := range def.Streams {
			for _, column := range stream.Columns {
				if !column.Personal || strings.HasSuffix(column.Name, "city") {
					continue // cities are the same for all vendors, also where one lists them
				}
				for _, text := range values(t, db, column.Name, def.Name+"_sandbox."+stream.Name) {
					c.add("personal "+stream.Name+"."+column.Name, text)
				}
			}
		}
	}
}

// values are those of a column; none if the account has no such table.
func values(t *testing.T, db *sql.DB, column, table string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf(`SELECT DISTINCT CAST(%q AS TEXT) FROM %q WHERE %[1]q IS NOT NULL`, column, table))
	if err != nil {
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	secretSetting = regexp.MustCompile(`(?:secret|password|key): "?([^\s"]+)`)
	issuedToken   = regexp.MustCompile(`"access_token"\s*:\s*"([^"]+)"`)
)

// listen takes tokens that the sandbox issues for canaries.
func (c *canaries) listen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "token") {
			next.ServeHTTP(rw, r)
			return
		}
		heard := &overheard{ResponseWriter: rw}
		next.ServeHTTP(heard, r)
		for _, match := range issuedToken.FindAllSubmatch(heard.body.Bytes(), -1) {
			c.add("token", string(match[1]))
		}
	})
}

type overheard struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (o *overheard) Write(b []byte) (int, error) {
	o.body.Write(b)
	return o.ResponseWriter.Write(b)
}

func TestNothingSecretOrPersonalLeavesWhileAllVendorsArePulled(t *testing.T) {
	t.Parallel()
	c := &canaries{texts: map[string]string{}}
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2}, c.listen)
	configuration, err := os.ReadFile(filepath.Join(w.dir, "winch.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range secretSetting.FindAllSubmatch(configuration, -1) {
		c.add("secret", string(match[1]))
	}
	secrets := len(c.texts)
	var alerts bytes.Buffer
	hook := newRawHook(t, &alerts)
	appendTo(t, filepath.Join(w.dir, "winch.yaml"), fmt.Sprintf("\nalerts: {ops: {url: %q}, chat: {url: %q, format: slack}}\n", hook, hook))
	w.winch("pull") // for the rows
	c.addPersonal(t, w)
	if tokens := len(slices.Collect(keysOf(c.texts, "token"))); secrets < 3 || tokens < 4 || len(c.texts) < 50 {
		t.Fatalf("%d secrets, %d tokens, %d canaries in all", secrets, tokens, len(c.texts))
	}

	w.leavings(c, false, "check")
	w.leavings(c, true, "preview", "kaisa_sandbox", "customers")
	w.leavings(c, false, "plan")
	w.leavings(c, false, "pull", "--record", "tapes")
	for _, kind := range []string{"unauthorized", "server_error", "errors_with_ok", "html", "truncated", "cut_off"} {
		w.fault(url.Values{"kind": {kind}, "probability": {"0.1"}, "count": {"1"}})
	}
	w.fault(url.Values{"kind": {"html"}, "path": {"/customers"}})
	w.leavings(c, false, "pull", "--keep-failed", "tapes")

	w.searchTelemetry(c)
	w.searchHistory(c)
	if !strings.Contains(alerts.String(), "failure") {
		t.Error("no failure was told")
	}
	c.search(t, "alerts", alerts.Bytes())
	tapes := 0
	err = filepath.WalkDir(filepath.Join(w.dir, "tapes"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		tapes++
		content, err := os.ReadFile(path)
		c.search(t, entry.Name(), content)
		return err
	})
	if err != nil || tapes < 4 {
		t.Errorf("%d cassettes: %v", tapes, err)
	}
}

func keysOf(all map[string]string, what string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for text, is := range all {
			if is == what && !yield(text) {
				return
			}
		}
	}
}

// newRawHook starts a webhook that keeps all that it is told, and returns its URL.
func newRawHook(t *testing.T, taken *bytes.Buffer) string {
	t.Helper()
	var mu sync.Mutex
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = r.Header.Write(taken)
		_, _ = taken.ReadFrom(r.Body)
	}))
	t.Cleanup(hook.Close)
	return hook.URL
}

// A vendor that repeats whatever it was told and says more than it should.
func talkative(t *testing.T, c *canaries) http.Handler {
	for what, text := range map[string]string{
		"secret": "canary-secret", "token": "canary-token", "person": "canary-alice@example.com", "name in a path": "canary-bob",
		"query": "canary-cursor", "header": "canary-header",
	} {
		c.add(what, text)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(rw, `{"access_token":"canary-token","token_type":"Bearer","expires_in":300}`)
		case r.URL.Path == "/people" && r.URL.Query().Get("after") == "":
			fmt.Fprint(rw, `{"people":[{"handle":"canary-bob","email":"canary-alice@example.com"}],"next":"/people?after=canary-cursor"}`)
		case r.URL.Path == "/people":
			fmt.Fprint(rw, `{"people":[],"next":null}`)
		case strings.HasPrefix(r.URL.Path, "/people/canary-bob/calls"):
			fmt.Fprint(rw, `{"calls":[{"id":1,"email":"canary-alice@example.com"}]}`)
		default:
			rw.Header().Set("X-Trouble", "canary-header")
			rw.WriteHeader(http.StatusForbidden) // final, so that nobody waits
			fmt.Fprintf(rw, `{"message":"no","authorization":%q,"about":"canary-alice@example.com"}`, r.Header.Get("Authorization"))
		}
	})
}

const talkativeConfig = `sink: {url: "sqlite:winch.db"}
sources:
  talker:
    connector: generic
    config:
      client_id: someone
      client_secret: canary-secret
      base_url: %[1]s
      token_url: %[1]s/token
      manifest:
        version: 1
        name: talker
        title: Talker
        base_url: https://api.example.com
        auth: {type: oauth2_client_credentials, token_path: /token, body: form}
        streams:
          - name: people
            path: /people
            records: people
            key: [handle]
            paging: {type: next_url, next: next}
            columns: [{name: handle, type: text}, {name: email, type: text}]
          - name: calls
            parent: {stream: people, key: handle}
            path: /people/{parent.handle}/calls
            records: calls
            key: [id]
            columns: [{name: id, type: bigint}, {name: email, type: text}]
          - name: broken
            path: /broken
            params: {who: canary-cursor}
            records: people
            key: [id]
            columns: [{name: id, type: bigint}]
`

func TestNothingThatATalkativeVendorSaysLeaves(t *testing.T) {
	t.Parallel()
	c := &canaries{texts: map[string]string{}}
	vendor := httptest.NewServer(talkative(t, c))
	t.Cleanup(vendor.Close)
	w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
	if err := os.WriteFile(filepath.Join(w.dir, "winch.yaml"), fmt.Appendf(nil, talkativeConfig, vendor.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	w.leavings(c, false, "check")
	w.leavings(c, false, "pull", "--stream", "people,calls", "talker")
	w.leavings(c, false, "pull", "talker")
	w.leavings(c, true, "preview", "talker", "people")
	w.searchTelemetry(c)
	w.searchHistory(c)
	if tree := w.receiver.Tree(); !strings.Contains(tree, "GET /people/{}/calls") || !strings.Contains(tree, "GET /broken ERROR") {
		t.Errorf("not all requests were traced:\n%s", tree)
	}
}
