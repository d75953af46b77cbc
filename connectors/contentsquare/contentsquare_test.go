package contentsquare

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/winchdata/winch/pkg/connector"
)

var update = flag.Bool("update", false, "rewrite the wanted parts of testdata and README.md")

// What must never come out of the connector.
const (
	secretCanary = "canary;client-Secret"
	tokenCanary  = "canary-token"
	signCanary   = "canary-signature"
)

// Each file in testdata is a scenario: settings, what to pull, the vendor's
// answers by request (several of one name are given one after another, the last
// one for ever), and what is wanted: the requests in order, the records, the
// cursors, the error. VENDOR in an answer is the vendor's address.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, archive)
			i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			if i < 0 {
				i = len(archive.Files)
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
			}
			if *update {
				archive.Files[i].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[i].Data), got); diff != "" {
				t.Errorf("run with -update to accept (-want +got):\n%s", diff)
			}
		})
	}
}

// asked is the request of a scenario.
type asked struct {
	Stream, Partition, Since, Until, AsOf, From string
	Cursor                                      json.RawMessage
}

func (a asked) request(t *testing.T) connector.Request {
	t.Helper()
	if a.AsOf == "" {
		a.AsOf = "2026-03-10T02:00:00Z"
	}
	return connector.Request{
		Stream: a.Stream, Partition: a.Partition, Cursor: connector.Cursor(a.Cursor), AsOf: parseTime(t, a.AsOf), Since: parseTime(t, a.From),
		Window: connector.Window{Since: parseTime(t, a.Since), Until: parseTime(t, a.Until)},
	}
}

func play(t *testing.T, archive *txtar.Archive) string {
	v := newVendor(t)
	settings := map[string]any{}
	req := asked{Partition: "42"}
	for _, f := range archive.Files {
		switch f.Name {
		case "settings":
			decode(t, f.Data, &settings)
		case "pull":
			decode(t, f.Data, &req)
		case "want":
		default:
			v.answers[f.Name] = append(v.answers[f.Name], strings.ReplaceAll(string(f.Data), "VENDOR", v.server.URL))
		}
	}
	src := v.open(t, settings)
	var out recorder
	err := src.Pull(t.Context(), req.request(t), &out)

	var b strings.Builder
	for _, request := range v.seen() {
		fmt.Fprintln(&b, request)
	}
	fmt.Fprintf(&b, "%d records\n", out.n)
	for _, record := range out.events {
		fmt.Fprintln(&b, record)
	}
	for line := range strings.Lines(v.log.String()) {
		_, line, _ = strings.Cut(line, " ") // the time
		b.WriteString(line)
	}
	if err != nil {
		fmt.Fprintf(&b, "error, %s: %s\n", connector.KindOf(err), err)
		if hint := connector.HintOf(err); hint != "" {
			fmt.Fprintf(&b, "hint: %s\n", hint)
		}
	}
	text := strings.ReplaceAll(b.String(), strings.TrimPrefix(v.server.URL, "http://"), "vendor")
	for _, canary := range []string{secretCanary, tokenCanary, signCanary} {
		if strings.Contains(text, canary) {
			t.Errorf("%s came out:\n%s", canary, text) // P10
		}
	}
	for _, event := range out.events {
		if !json.Valid([]byte(strings.TrimPrefix(event, "cursor "))) {
			t.Errorf("no JSON: %s", event)
		}
	}
	return text
}

// A vendor is a server that answers by script, behind a token endpoint that
// works and tells /cloud as the base.
type vendor struct {
	server  *httptest.Server
	answers map[string][]string // "GET /path?query" -> status line and body

	// handle answers instead of the script, if it is set.
	handle http.HandlerFunc
	// grant answers the token endpoint instead, if it is set; n counts from 1.
	grant func(w http.ResponseWriter, params map[string]any, n int)
	// lives is how many requests a token is good for; 0 is any number.
	lives int

	log bytes.Buffer // what the source logs

	mu       sync.Mutex
	requests []string
	tokens   int
	used     int
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{answers: map[string][]string{}}
	v.server = httptest.NewServer(v)
	t.Cleanup(v.server.Close)
	return v
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := r.Method + " " + r.URL.Path
	if r.URL.RawQuery != "" {
		name += "?" + r.URL.Query().Encode()
	}
	if strings.HasPrefix(r.URL.Path, "/v1/oauth/") {
		v.oauth(w, r)
		return
	}
	if rest, ok := strings.CutPrefix(name, "GET /cloud/"); ok {
		name = "GET " + rest
	}
	shown := strings.ReplaceAll(name, signCanary, "SIGNATURE")
	v.requests = append(v.requests, shown)
	v.used++
	script := v.answers[shown]
	if !strings.Contains(name, "signature") && (v.handle == nil || v.lives > 0) {
		if r.Header.Get("Authorization") != "Bearer "+tokenCanary+strconv.Itoa(v.tokens) || v.lives > 0 && v.used > v.lives {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"errorMessage":"Auth token is expired.","errorCode":"JWT_EXPIRED"}`)
			return
		}
	}
	if v.handle != nil {
		v.handle(w, r)
		return
	}
	if len(script) == 0 {
		http.Error(w, "not in the script", http.StatusTeapot)
		return
	}
	if len(script) > 1 {
		v.answers[shown] = script[1:]
	}
	line, body, _ := strings.Cut(script[0], "\n")
	status, err := strconv.Atoi(line)
	if err != nil {
		status, body = http.StatusOK, script[0]
	}
	if json.Valid([]byte(body)) {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// oauth gives out tokens and lists projects, and logs how it was asked.
func (v *vendor) oauth(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	v.requests = append(v.requests, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, strings.ReplaceAll(string(body), secretCanary, "SECRET")))
	var params map[string]any
	if r.Header.Get("Authorization") != "" || json.Unmarshal(body, &params) != nil || params["client_secret"] != secretCanary {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/v1/oauth/me" {
		script := v.answers["me"]
		if len(script) == 0 {
			script = []string{`{"permissions":{"projects":[{"id":42,"name":"EU"},{"id":43,"name":"US"}]}}`}
		}
		_, _ = io.WriteString(w, script[0])
		return
	}
	v.tokens++
	v.used = 0
	if v.grant != nil {
		v.grant(w, params, v.tokens)
		return
	}
	v.answerToken(w, v.server.URL+"/cloud")
}

func (v *vendor) answerToken(w io.Writer, endpoint string) {
	_, _ = fmt.Fprintf(w, `{"access_token":"%s%d","token_type":"Bearer","expires_in":3600,"scope":"metrics","project_id":42,"endpoint":%q}`, tokenCanary, v.tokens, endpoint)
}

func (v *vendor) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

// open opens a source at the vendor, with settings besides those that lead there.
func (v *vendor) open(t *testing.T, settings map[string]any) connector.Source {
	t.Helper()
	all := map[string]any{
		"client_id": "id-1", "client_secret": secretCanary, "token_url": v.server.URL + "/v1/oauth/token", "project_id": 42,
	}
	maps.Copy(all, settings)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	src, err := openWith(t, all)
	if err != nil {
		t.Fatal(err)
	}
	src.(*source).log = slog.New(slog.NewTextHandler(&v.log, nil))
	return src
}

func openWith(t *testing.T, settings map[string]any) (connector.Source, error) {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return Definition().Open(t.Context(), connector.NewConfig(raw))
}

// A recorder is an emitter that keeps what it gets.
type recorder struct {
	events  []string // records, and cursors after the word cursor
	n       int      // records
	cursor  connector.Cursor
	records []string
	// failAt is the event at which it gives up, counted from 1; 0 is never.
	failAt int
	// then is called after each record.
	then func(n int)
}

var errFull = fmt.Errorf("the sink is full")

func (r *recorder) Record(raw []byte) error {
	r.events = append(r.events, string(raw))
	r.records = append(r.records, string(raw))
	r.n++
	if r.then != nil {
		r.then(r.n)
	}
	return r.full()
}

func (r *recorder) Checkpoint(c connector.Cursor) error {
	r.cursor = slices.Clone(c)
	r.events = append(r.events, "cursor "+string(c))
	return r.full()
}

func (r *recorder) full() error {
	if r.failAt > 0 && len(r.events) >= r.failAt {
		return errFull
	}
	return nil
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

func parseTime(t *testing.T, text string) time.Time {
	t.Helper()
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

var march = connector.Window{
	Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	Until: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
}

func TestDefinitionIsComplete(t *testing.T) {
	t.Parallel()
	def := Definition()
	if !connector.ValidName(def.Name) || def.Title == "" || def.DocsURL == "" {
		t.Errorf("definition: %q %q %q", def.Name, def.Title, def.DocsURL)
	}
	var names []string
	for _, st := range def.Streams {
		names = append(names, st.Name)
		if err := st.Validate(); err != nil {
			t.Error(err)
		}
		if st.Description == "" || st.DocsURL == "" {
			t.Errorf("%s has no description or page", st.Name)
		}
		if st.Name != "projects" && st.PartitionColumn != projectID {
			t.Errorf("%s: partition column %q", st.Name, st.PartitionColumn)
		}
		for _, c := range st.Columns {
			if !strings.HasSuffix(c.Description, "]") {
				t.Errorf("%s.%s: the description %q does not end in its source", st.Name, c.Name, c.Description)
			}
		}
	}
	if diff := cmp.Diff(streamNames, names); diff != "" {
		t.Errorf("stream names (-want +got):\n%s", diff)
	}
}

// The sheet's full key: without any of its parts two figures would be taken for
// one.
func TestMetricsAreKeyedInFull(t *testing.T) {
	t.Parallel()
	common := []string{"metric_name", "period_start", "grain", "device", "segment_ids", "goal_id"}
	for name, want := range map[string][]string{
		"site_metrics":          slices.Concat([]string{"project_id"}, common, []string{"ordinal"}),
		"page_group_metrics":    slices.Concat([]string{"project_id", "page_group_id"}, common, []string{"ordinal"}),
		"page_group_web_vitals": slices.Concat([]string{"project_id", "page_group_id"}, common, []string{"metric_type", "quantile", "ordinal"}),
		"zone_metrics":          slices.Concat([]string{"project_id", "zone_id"}, common, []string{"ordinal"}),
	} {
		i := slices.IndexFunc(Definition().Streams, func(s connector.Stream) bool { return s.Name == name })
		if diff := cmp.Diff(want, Definition().Streams[i].PrimaryKey); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestScopesAndSettingsChooseTheStreams(t *testing.T) {
	t.Parallel()
	names := func(settings map[string]any) (names []string) {
		all, err := newVendor(t).open(t, settings).Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range all {
			if err := st.Validate(); err != nil {
				t.Error(err)
			}
			names = append(names, st.Name)
		}
		return names
	}
	if diff := cmp.Diff(streamNames[:11], names(map[string]any{"scopes": []string{"metrics"}})); diff != "" {
		t.Errorf("metrics alone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"projects"}, names(map[string]any{"scopes": []string{"enrichment"}})); diff != "" {
		t.Errorf("enrichment alone (-want +got):\n%s", diff)
	}
	got := names(map[string]any{"exports": []any{map[string]any{"job": 1119, "stream": "visits", "scope": "sessions"}}})
	if diff := cmp.Diff("visits", got[len(got)-1]); diff != "" {
		t.Errorf("the export's stream (-want +got):\n%s", diff)
	}
}

func TestExportColumnsComeFromTheSettings(t *testing.T) {
	t.Parallel()
	st := exportStream(exportConfig{
		Job: "7", Stream: "visits", Scope: "sessions", Key: []string{"user_id", "session_id"},
		Columns: []exportColumn{{Name: "session_id", Type: connector.TypeNumeric}, {Name: "template", Field: "page template", Personal: true}},
	})
	if diff := cmp.Diff([]string{"project_id", "user_id", "session_id"}, st.PrimaryKey); diff != "" {
		t.Errorf("key (-want +got):\n%s", diff)
	}
	if c, _ := st.Column("session_id"); c.Type != connector.TypeNumeric {
		t.Errorf("session_id is %s, the settings say numeric", c.Type)
	}
	if c, _ := st.Column("template"); c.Type != connector.TypeText || c.Path[0] != "page template" || !c.Personal {
		t.Errorf("template: %+v", c)
	}
	if c, _ := st.Column("user_id_unhashed"); !c.Personal {
		t.Error("user_id_unhashed is not marked as personal")
	}
}

func TestFileAddressesAreSecret(t *testing.T) {
	t.Parallel()
	if c, _ := exportFiles().Column("url"); !c.Secret {
		t.Error("export_files.url is not marked as secret")
	}
}
