package kaisa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	secretCanary = "canary-client-secret"
	tokenCanary  = "canary-token"
	userCanary   = "canary-activation"
	audioCanary  = "canary-audio"
)

// Each file in testdata is a scenario: settings, what to pull, the vendor's
// answers by request (several of one name are given one after another, the last
// one for ever), and what is wanted: the requests in order, the records, the
// error.
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

func play(t *testing.T, archive *txtar.Archive) string {
	v := newVendor(t)
	settings := map[string]any{}
	var req struct{ Stream, Since, Until string }
	for _, f := range archive.Files {
		switch f.Name {
		case "settings":
			decode(t, f.Data, &settings)
		case "pull":
			decode(t, f.Data, &req)
		case "want":
		default:
			v.answers[f.Name] = append(v.answers[f.Name], string(f.Data))
		}
	}
	src := v.open(t, settings)
	var out recorder
	err := src.Pull(t.Context(), connector.Request{
		Stream: req.Stream,
		Window: connector.Window{Since: parseTime(t, req.Since), Until: parseTime(t, req.Until)},
	}, &out)

	var b strings.Builder
	for _, request := range v.seen() {
		fmt.Fprintln(&b, request)
	}
	fmt.Fprintf(&b, "%d records\n", len(out.records))
	for _, record := range out.records {
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
	for _, canary := range []string{secretCanary, tokenCanary, userCanary, audioCanary} {
		if strings.Contains(text, canary) {
			t.Errorf("%s came out:\n%s", canary, text) // P10
		}
	}
	for _, record := range out.records {
		if !json.Valid([]byte(record)) {
			t.Errorf("record is no JSON: %s", record)
		}
	}
	return text
}

// A vendor is a server that answers by script, behind a token endpoint that
// works.
type vendor struct {
	server  *httptest.Server
	answers map[string][]string // "GET /path?query" -> status line and body

	// handle answers instead of the script, if it is set.
	handle http.HandlerFunc
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
	if r.URL.Path == "/oauth2/token" {
		v.grant(w, r)
		return
	}
	v.requests = append(v.requests, name)
	v.used++
	if v.handle == nil || v.lives > 0 {
		if r.Header.Get("Authorization") != "Bearer "+tokenCanary+strconv.Itoa(v.tokens) || v.lives > 0 && v.used > v.lives {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	if v.handle != nil {
		v.handle(w, r)
		return
	}
	script := v.answers[name]
	if len(script) == 0 {
		http.Error(w, "not in the script", http.StatusTeapot)
		return
	}
	if len(script) > 1 {
		v.answers[name] = script[1:]
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

// grant gives out a token and logs how it was asked for.
func (v *vendor) grant(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	v.requests = append(v.requests, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, strings.ReplaceAll(string(body), secretCanary, "SECRET")))
	if r.Header.Get("Authorization") != "" || !bytes.Contains(body, []byte(secretCanary)) {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	v.tokens++
	v.used = 0
	_, _ = fmt.Fprintf(w, `{"access_token":"%s%d","token_type":"Bearer","expires_in":300}`, tokenCanary, v.tokens)
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
		"client_id": "id-1", "client_secret": secretCanary, "token_url": v.server.URL + "/oauth2/token",
		"base_url": v.server.URL, "requests_per_second": 0,
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
	records []string
	// failAt is the record at which it gives up, counted from 1; 0 is never.
	failAt int
	// then is called after each record.
	then func(n int)
}

var errFull = fmt.Errorf("the sink is full")

func (r *recorder) Record(raw []byte) error {
	r.records = append(r.records, string(raw))
	if r.then != nil {
		r.then(len(r.records))
	}
	if r.failAt > 0 && len(r.records) >= r.failAt {
		return errFull
	}
	return nil
}

func (r *recorder) Checkpoint(connector.Cursor) error {
	return fmt.Errorf("a checkpoint in a connector without cursors")
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

var march5 = connector.Window{
	Since: time.Date(2024, 3, 5, 0, 0, 0, 0, time.UTC),
	Until: time.Date(2024, 3, 6, 0, 0, 0, 0, time.UTC),
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
		if st.Description == "" {
			t.Errorf("%s has no description", st.Name)
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

// The vendor's privacy notes name these; the agent can drop or hash them.
func TestPersonalAndSecretColumnsAreMarked(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	var personal, secret []string
	for _, st := range streams(cfg) {
		for _, c := range st.Columns {
			if c.Personal {
				personal = append(personal, st.Name+"."+c.Name)
			}
			if c.Secret {
				secret = append(secret, st.Name+"."+c.Name)
			}
		}
	}
	for _, name := range []string{
		"customers.email", "sources.phonenr", "sources.email", "cdrs_in.cnum", "cdrs_out.cnum",
		"confirmation_callbacks.customer_phone", "users.email", "blacklist.number", "pincodes.phone_number",
	} {
		if !slices.Contains(personal, name) {
			t.Errorf("%s is not marked as personal", name)
		}
	}
	if diff := cmp.Diff([]string{"users.token"}, secret); diff != "" {
		t.Errorf("secret columns (-want +got):\n%s", diff)
	}
}

func TestSettingsChangeColumns(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	names := func(settings map[string]any) []string {
		all, err := v.open(t, settings).Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(s connector.Stream) bool { return s.Name == "cdrs_in" })
		var names []string
		for _, c := range all[i].Columns {
			names = append(names, c.Name)
		}
		return names
	}
	if got := names(map[string]any{"extended": false}); slices.Contains(got, "recording_id") {
		t.Error("recording_id is declared although extended is off")
	}
	got := names(map[string]any{"custom_fields": 2})
	if diff := cmp.Diff([]string{"custom_1", "custom_2"}, got[len(got)-2:]); diff != "" {
		t.Errorf("last columns (-want +got):\n%s", diff)
	}
}

func TestPullEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, nil)

	ctx, cancel := context.WithCancel(t.Context())
	out := recorder{then: func(n int) {
		if n == 1500 { // in the second page
			cancel()
		}
	}}
	err := src.Pull(ctx, connector.Request{Stream: "customers"}, &out)
	if !connector.Cancelled(err) {
		t.Errorf("cancelled between pages: %v", err) // P4
	}
	if len(out.records) > 2000 {
		t.Errorf("%d records after the cancellation", len(out.records)-1500)
	}

	before := len(v.seen())
	err = src.Pull(ctx, connector.Request{Stream: "cdrs_in", Window: march5}, &out)
	if !connector.Cancelled(err) || len(v.seen()) > before {
		t.Errorf("cancelled before the first request: %v", err)
	}
}

func TestPullEndsWithTheEmittersError(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, nil)
	for _, failAt := range []int{1, 999, 1000, 1001} {
		out := recorder{failAt: failAt}
		err := src.Pull(t.Context(), connector.Request{Stream: "customers"}, &out)
		if !errors.Is(err, errFull) {
			t.Errorf("failing at %d: %v", failAt, err)
		}
		if len(out.records) != failAt {
			t.Errorf("failing at %d: %d records", failAt, len(out.records)) // P3
		}
	}
}

// endless is a list of customers without end.
func endless(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	var rows []string
	for i := range 1000 {
		rows = append(rows, fmt.Sprintf(`{"customer_id":"%d"}`, page*1000+i+1))
	}
	_, _ = fmt.Fprintf(w, `{"customers":[%s]}`, strings.Join(rows, ","))
}

func TestTheSameRequestAsksTheSame(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/customers"):
			_, _ = io.WriteString(w, `{"customers":[{"customer_id":"2"},{"customer_id":"1"}]}`)
		case strings.HasSuffix(r.URL.Path, "/widgets/data"):
			_, _ = fmt.Fprintf(w, `{"dataset":%q,"datasources":[]}`, r.URL.Query().Get("type"))
		default:
			_, _ = io.WriteString(w, `{"list":[]}`)
		}
	}
	src := v.open(t, map[string]any{"source_classes": []int{0, 1}, "widgets": map[string]any{"per": "customer"}})
	streams, _ := src.Streams(t.Context())
	for _, st := range streams {
		var asked [2][]string
		for i := range asked {
			before := len(v.seen())
			req := connector.Request{Stream: st.Name}
			if st.Mode == connector.ModeWindow {
				req.Window = march5
			}
			if err := src.Pull(t.Context(), req, &recorder{}); err != nil {
				t.Fatalf("%s: %v", st.Name, err)
			}
			asked[i] = v.seen()[before:]
		}
		if i := slices.IndexFunc(asked[0], func(r string) bool { return !strings.HasPrefix(r, "POST") }); i > 0 {
			asked[0] = asked[0][i:] // the first of all fetches the token
		}
		if diff := cmp.Diff(asked[0], asked[1]); diff != "" {
			t.Errorf("%s (-first +second):\n%s", st.Name, diff) // P6
		}
	}
}

func TestPullRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	src := newVendor(t).open(t, nil)
	for _, req := range []connector.Request{
		{Stream: "invoices"},
		{Stream: "cdrs_in"},
		{Stream: "cdrs_in", Window: connector.Window{Since: march5.Until, Until: march5.Since}},
	} {
		err := src.Pull(t.Context(), req, &recorder{})
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s %s: %v", req.Stream, req.Window, err)
		}
	}
}
