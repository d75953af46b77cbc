package fospha

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
	secretCanary = "canary+client/secret&="
	tokenCanary  = "canary-token"
)

// Each file in testdata is a scenario: settings, what to pull, the vendor's
// answers in order, and what is wanted: the requests, the records, the log, the
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
	var req struct{ Stream, Partition, Since, Until string }
	for _, f := range archive.Files {
		switch f.Name {
		case "settings":
			decode(t, f.Data, &settings)
		case "pull":
			decode(t, f.Data, &req)
		case "want":
		default:
			v.answers = append(v.answers, string(f.Data))
		}
	}
	src := v.open(t, settings)
	var out recorder
	err := src.Pull(t.Context(), connector.Request{
		Stream: req.Stream, Partition: req.Partition,
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
	noCanary(t, text)
	for _, record := range out.records {
		if !json.Valid([]byte(record)) {
			t.Errorf("record is no JSON: %s", record)
		}
	}
	return text
}

func noCanary(t *testing.T, text string) {
	t.Helper()
	for _, canary := range []string{secretCanary, tokenCanary} {
		if strings.Contains(text, canary) {
			t.Errorf("%s came out:\n%s", canary, text) // P10
		}
	}
}

// A vendor is a server that answers by script, behind a token endpoint that
// works.
type vendor struct {
	server  *httptest.Server
	answers []string // status line and body, or a body alone; in order

	// handle answers instead of the script, if it is set. It is given the request.
	handle func(w http.ResponseWriter, r *http.Request, ask ask)
	// lives is how many requests a token is good for; 0 is any number.
	lives int
	// lifetime is what the token endpoint promises in seconds; 0 is 3600.
	lifetime int

	log bytes.Buffer // what the source logs

	mu       sync.Mutex
	requests []string
	tokens   int
	used     int
}

// An ask is a GraphQL request.
type ask struct {
	Query     string         `json:"query"`
	Operation string         `json:"operationName"`
	Variables map[string]any `json:"variables"`
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{}
	v.server = httptest.NewServer(v)
	t.Cleanup(v.server.Close)
	return v
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/oauth2/token" {
		v.grant(w, r, body)
		return
	}
	var ask ask
	_ = json.Unmarshal(body, &ask)
	variables, _ := json.Marshal(ask.Variables)
	line := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, ask.Operation, variables))
	if brand := r.Header.Get("X-Brand"); brand != "" {
		line += " X-Brand: " + brand
	}
	v.requests = append(v.requests, line)
	v.used++
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer "+tokenCanary+strconv.Itoa(v.tokens) || v.lives > 0 && v.used > v.lives {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if v.handle != nil {
		v.handle(w, r, ask)
		return
	}
	if len(v.answers) == 0 {
		http.Error(w, "not in the script", http.StatusTeapot)
		return
	}
	line, text, _ := strings.Cut(v.answers[0], "\n")
	status, err := strconv.Atoi(line)
	if err != nil {
		status, text = http.StatusOK, v.answers[0]
	}
	v.answers = v.answers[1:]
	text = strings.ReplaceAll(text, "TOKEN", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if json.Valid([]byte(text)) {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// grant gives out a token and logs how it was asked for.
func (v *vendor) grant(w http.ResponseWriter, r *http.Request, body []byte) {
	text := strings.ReplaceAll(string(body), "canary%2Bclient%2Fsecret%26%3D", "SECRET")
	v.requests = append(v.requests, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, text))
	if !strings.Contains(text, "SECRET") || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
		return
	}
	v.tokens++
	v.used = 0
	lifetime := v.lifetime
	if lifetime == 0 {
		lifetime = 3600
	}
	_, _ = fmt.Fprintf(w, `{"access_token":"%s%d","token_type":"Bearer","expires_in":%d}`, tokenCanary, v.tokens, lifetime)
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
		"region": "uk", "client_id": "id-1", "client_secret": secretCanary, "token_url": v.server.URL + "/oauth2/token",
		"data_url": v.server.URL + "/{region}/graphql", "requests_per_second": 0,
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
	src, err := Definition().Open(t.Context(), connector.NewConfig(raw))
	if err == nil {
		src.(*source).log = slog.New(slog.DiscardHandler)
	}
	return src, err
}

// A recorder is an emitter that keeps what it gets.
type recorder struct {
	records []string
	failAt  int         // the record at which it gives up, from 1; 0 is never
	then    func(n int) // called after each record
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
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func window(t *testing.T, since, until string) connector.Window {
	return connector.Window{Since: parseTime(t, since), Until: parseTime(t, until)}
}

func TestDefinitionIsComplete(t *testing.T) {
	t.Parallel()
	def := Definition()
	if !connector.ValidName(def.Name) || def.Title == "" || def.DocsURL == "" {
		t.Errorf("definition: %q %q %q", def.Name, def.Title, def.DocsURL)
	}
	for _, st := range def.Streams {
		if err := st.Validate(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(st.Description, "Unverified") || !st.Optional {
			t.Errorf("%s is not marked as unverified and optional: %s", st.Name, st.Description)
		}
		for _, c := range st.Columns {
			if !strings.HasSuffix(c.Description, "]") {
				t.Errorf("%s.%s: the description %q does not end in its source", st.Name, c.Name, c.Description)
			}
			if strings.Contains(c.Name, "provisional") {
				t.Errorf("%s.%s: Fospha tells of no such flag", st.Name, c.Name)
			}
		}
	}
}

func TestAttributedCountsAreNumeric(t *testing.T) {
	t.Parallel()
	for _, st := range Definition().Streams {
		for _, c := range st.Columns {
			if c.Type == connector.TypeBigint || c.Type == connector.TypeDouble {
				t.Errorf("%s.%s is %s", st.Name, c.Name, c.Type)
			}
		}
	}
}

func TestWindowsFollowWhatTheVendorRestates(t *testing.T) {
	t.Parallel()
	st := Definition().Streams[0]
	if st.Slice != connector.Days(1) || st.Lookback != connector.Days(14) || st.Lag != connector.Days(1) || st.DeepLookback != connector.Days(90) || st.DeepEvery != connector.Days(7) || st.TimeColumn != "date" || st.PartitionColumn != clientIDColumn {
		t.Errorf("slice %s, lookback %s, lag %s, by %s, partition %s", st.Slice, st.Lookback, st.Lag, st.TimeColumn, st.PartitionColumn)
	}
}

func TestStreamsAreThoseOfTheSettingsAndThePresets(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	names := func(settings map[string]any) (list []string) {
		all, err := v.open(t, settings).Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range all {
			list = append(list, fmt.Sprintf("%s %t %s", st.Name, st.Optional, st.Slice))
		}
		return list
	}
	if diff := cmp.Diff([]string{"performance_daily true 1d"}, names(nil)); diff != "" {
		t.Error(diff)
	}
	declared := map[string]any{"streams": []any{
		map[string]any{"name": "by_day", "preset": "performance_daily", "slice": "1d"},
	}}
	if diff := cmp.Diff([]string{"by_day false 1d", "performance_daily true 1d"}, names(declared)); diff != "" {
		t.Error(diff)
	}
	declared["streams"].([]any)[0].(map[string]any)["name"] = "performance_daily"
	if diff := cmp.Diff([]string{"performance_daily false 1d"}, names(declared)); diff != "" {
		t.Error(diff)
	}
}

func TestEachBrandIsAPartition(t *testing.T) {
	t.Parallel()
	src := newVendor(t).open(t, map[string]any{"fospha_client_ids": []string{"B", "A"}}).(*source)
	got, err := src.Partitions(t.Context(), "performance_daily")
	if diff := cmp.Diff([]string{"B", "A"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := src.Partitions(t.Context(), "orders"); connector.KindOf(err) != connector.KindConfig {
		t.Errorf("partitions of a stream that is not: %v", err)
	}
	for _, partition := range []string{"", "C"} {
		err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Partition: partition, Window: window(t, "2025-01-01", "2025-01-02")}, &recorder{})
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("brand %q: %v", partition, err)
		}
	}
}

// endless has a page behind each page.
func endless(w http.ResponseWriter, _ *http.Request, ask ask) {
	offset, _ := ask.Variables["offset"].(float64)
	var rows []string
	for i := range 100 {
		rows = append(rows, fmt.Sprintf(`{"date":"2025-01-01","market":"UK","channelGroup":"PPC Generic","source":"google","campaign":"c%d","cost":1}`, int(offset)+i))
	}
	_, _ = fmt.Fprintf(w, `{"data":{"performance":{"rows":[%s],"metadata":{"totalRows":1000000}}}}`, strings.Join(rows, ","))
}

func TestPullEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	out := recorder{then: func(n int) {
		if n == 150 { // in the second page
			cancel()
		}
	}}
	req := connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-08")}
	if err := src.Pull(ctx, req, &out); !connector.Cancelled(err) {
		t.Errorf("cancelled between pages: %v", err) // P4
	}
	if len(out.records) > 200 {
		t.Errorf("%d records after the cancellation", len(out.records)-150)
	}
	before := len(v.seen())
	if err := src.Pull(ctx, req, &out); !connector.Cancelled(err) || len(v.seen()) > before {
		t.Errorf("cancelled before the first request: %v", err)
	}
}

func TestPullEndsWithTheEmittersError(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, nil)
	for _, failAt := range []int{1, 99, 100, 101} {
		out := recorder{failAt: failAt}
		err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-08")}, &out)
		if !errors.Is(err, errFull) || len(out.records) != failAt {
			t.Errorf("failing at %d: %d records, %v", failAt, len(out.records), err) // P3
		}
	}
}

func TestTheSameRequestAsksTheSame(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, _ *http.Request, _ ask) {
		_, _ = io.WriteString(w, `{"data":{"performance":{"rows":[],"metadata":{"totalRows":0}}}}`)
	}
	src := v.open(t, nil)
	var asked [2][]string
	for i := range asked {
		before := len(v.seen())
		if err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-08")}, &recorder{}); err != nil {
			t.Fatal(err)
		}
		asked[i] = v.seen()[before:]
	}
	if diff := cmp.Diff(asked[0][1:], asked[1]); diff != "" { // the first of all fetches the token
		t.Error(diff) // P6
	}
}

func TestPullRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	src := newVendor(t).open(t, nil)
	for _, req := range []connector.Request{
		{Stream: "orders"},
		{Stream: "performance_daily"},
		{Stream: "performance_daily", Window: window(t, "2025-01-02", "2025-01-01")},
	} {
		if err := src.Pull(t.Context(), req, &recorder{}); connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s %s: %v", req.Stream, req.Window, err)
		}
	}
}
