package cassette_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// canary values must not be found in a cassette, in any form.
const (
	canarySecret = `canary/secret+"quoted"`
	canaryToken  = "canary-token-of-an-odd-path"
	canaryQuery  = "canary-query-signature"
	canaryName   = "Canary Persson"
	canaryNumber = "4670123456789"
	canaryMail   = "canary.bird@vendor.example"
	canaryPhone  = "+46 70 123 45 67"
	canaryHidden = "canary-hidden-column"
)

var people = connector.Stream{Name: "people", Columns: []connector.Column{
	{Name: "id", Type: connector.TypeBigint},
	{Name: "full_name", Type: connector.TypeText, Path: []string{"contact", "Name"}, Personal: true},
	{Name: "number", Type: connector.TypeBigint, Personal: true},
	{Name: "born", Type: connector.TypeDate, Personal: true},
	{Name: "hidden", Type: connector.TypeText, Secret: true},
}}

// vendor says everything that a cassette must not hold.
func vendor(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Set-Cookie", "session="+canarySecret)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/token":
		fmt.Fprintf(w, `{"data":{"t":%q,"expires_in":3600},"inner":"{\"jwt\":\"%s\"}"}`, canaryToken, canaryToken)
	case strings.HasPrefix(r.URL.Path, "/people/"):
		fmt.Fprint(w, `{"ok":true}`)
	default:
		body, _ := io.ReadAll(r.Body)
		out := gzip.NewWriter(w)
		w.Header().Set("Content-Encoding", "gzip")
		_ = json.NewEncoder(out).Encode(map[string]any{"people": []any{map[string]any{
			"id": 7, "contact": map[string]any{"Name": canaryName}, "number": json.Number(canaryNumber), "born": "1980-05-12",
			"hidden": canaryHidden, "note": "call " + canaryPhone + " or write " + canaryMail, "owner": canaryName,
			"echo": r.Header.Get("Authorization") + string(body), canarySecret: 1, "password": "canary-password",
			"file": "https://files.example/x?X-Amz-Signature=" + canaryQuery + "&part=1",
		}}})
		_ = out.Close()
	}
}

func client(t *testing.T, base string) *rest.Client {
	t.Helper()
	tokens := auth.NewCache(auth.ClientCredentials{
		TokenURL: base + "/token", ClientID: "canary-client", ClientSecret: connector.NewSecret(canarySecret),
		Answer: auth.Answer{Token: []string{"data", "t"}, ExpiresIn: []string{"data", "expires_in"}},
	}.Fetch, auth.Policy{})
	c, err := rest.New(rest.Options{BaseURL: base, Auth: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNothingSecretOrPersonalIsRecorded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(vendor))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "one.jsonl")
	rec, err := cassette.Record(path, cassette.Options{Secrets: []string{canarySecret}, Streams: []connector.Stream{people}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := cassette.With(t.Context(), rec)
	rec.Pull(connector.Request{Stream: "people", Cursor: connector.Cursor(`{"after":"` + canaryMail + `"}`)})
	c := client(t, server.URL)
	asked := rest.Request{
		Method: http.MethodPost, Path: "/people", ReadOnly: true,
		Query: url.Values{"signature": {canaryQuery}, "page": {"3"}, "q": {canarySecret}, "who": {canaryMail}},
		Body:  []byte(`{"filter":{"password":"canary-password","secret":` + string(quoted(canarySecret)) + `}}`),
	}
	if _, err := c.Do(ctx, asked); err != nil {
		t.Fatal(err)
	}
	for _, personal := range []string{canaryNumber, canaryName} { // a value of an answer in a later request
		if _, err := c.Get(ctx, "/people/"+url.PathEscape(personal), url.Values{"n": {personal}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{canarySecret, canaryToken, canaryQuery, canaryName, canaryNumber, canaryMail, canaryPhone, canaryHidden, "canary-password", "1980-05-12"} {
		for _, form := range []string{canary, url.QueryEscape(canary), url.PathEscape(canary), string(quoted(canary)), base64.StdEncoding.EncodeToString([]byte(canary))} {
			if bytes.Contains(text, []byte(form)) {
				t.Errorf("%q is in the cassette", form)
			}
		}
	}
	if bytes.Contains(bytes.ToLower(text), []byte("canary")) {
		t.Errorf("something of a canary is in the cassette:\n%s", text)
	}
	for _, kept := range []string{`"id":7`, "page=3", `"born":"2000-01-01"`, "part=1"} {
		if !bytes.Contains(text, []byte(kept)) {
			t.Errorf("%s is harmless and not in the cassette:\n%s", kept, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the cassette: %v, %v", info.Mode(), err)
	}
	player, err := cassette.Replay(path, []string{canarySecret})
	if err != nil {
		t.Fatal(err)
	}
	replayed := client(t, server.URL)
	asked.Query.Set("signature", "made anew")
	asked.Query.Del("who") // a personal value of the settings is not found again
	if _, err := replayed.Do(cassette.With(t.Context(), player), asked); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a request that was not recorded: %v", err)
	}
}

func quoted(s string) []byte {
	text, _ := json.Marshal(s)
	return text
}

// counting answers each request with its number.
func counting(t *testing.T) (base string, down func()) {
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if r.URL.Path == "/busy" && n == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/text" {
			fmt.Fprint(w, "Hello, you\nBye, Anna\n")
			return
		}
		if r.URL.Path == "/csv" {
			zipped := gzip.NewWriter(w)
			fmt.Fprintf(zipped, "id,number,note\n1,%s,\"a, \"\"b\"\"\"\n%s,2,%s\n", canaryNumber, canaryNumber, canaryMail)
			_ = zipped.Close()
			return
		}
		fmt.Fprintf(w, `{"n":%d,"page":%q}`, n, r.URL.Query().Get("page"))
	}))
	t.Cleanup(server.Close)
	return server.URL, server.Close
}

func plain(t *testing.T, base string) *rest.Client {
	t.Helper()
	c, err := rest.New(rest.Options{BaseURL: base, Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func record(t *testing.T, o cassette.Options) (path string, rec *cassette.Recorder) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "one.jsonl")
	rec, err := cassette.Record(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return path, rec
}

func TestEqualRequestsAreReplayedInOrderWithoutANetwork(t *testing.T) {
	t.Parallel()
	base, down := counting(t)
	path, rec := record(t, cassette.Options{})
	c := plain(t, base)
	ask := func(tape cassette.Tape) (all []string) {
		for _, page := range []string{"1", "1", "2"} {
			resp, err := c.Get(cassette.With(t.Context(), tape), "/busy", url.Values{"page": {page}})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(resp.Body))
		}
		return all
	}
	want := ask(rec)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	down()
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ask(player)); diff != "" {
		t.Errorf("replayed (-recorded +replayed):\n%s", diff)
	}
	_, err = c.Get(cassette.With(t.Context(), player), "/busy", url.Values{"page": {"2"}})
	if err == nil || !strings.Contains(err.Error(), "GET /busy?page=2 was recorded 1 times and is asked for once more") {
		t.Errorf("one request too many: %v", err)
	}
	_, err = c.Get(cassette.With(t.Context(), player), "/other", nil)
	if err == nil || !strings.Contains(err.Error(), "no answer to GET /other") || connector.KindOf(err) != connector.KindConfig {
		t.Errorf("a request that was not recorded: %v", err)
	}
}

// Files of CSV, compressed by themselves, are recorded cell by cell.
func TestCSVIsRecordedRedacted(t *testing.T) {
	t.Parallel()
	base, down := counting(t)
	path, rec := record(t, cassette.Options{Streams: []connector.Stream{people}})
	if _, err := plain(t, base).Get(cassette.With(t.Context(), rec), "/csv", nil); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	down()
	if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte(canaryNumber)) || bytes.Contains(text, []byte("canary")) {
		t.Errorf("%v: something personal in\n%s", err, text)
	}
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plain(t, base).Get(cassette.With(t.Context(), player), "/csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(resp.Body)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "1" || rows[1][2] != `a, "b"` || rows[1][1] != rows[2][0] {
		t.Errorf("%v, rows %q", err, rows)
	}
}

func TestABodyThatIsNeitherJSONNorCSVIsNotRecorded(t *testing.T) {
	t.Parallel()
	base, _ := counting(t)
	path, rec := record(t, cassette.Options{})
	if _, err := plain(t, base).Get(cassette.With(t.Context(), rec), "/text", nil); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = plain(t, base).Get(cassette.With(t.Context(), player), "/text", nil)
	if err == nil || !strings.Contains(err.Error(), "the answer to GET /text was not recorded: 20 bytes that are neither JSON nor CSV") {
		t.Errorf("error %v", err)
	}
}

func TestManyRecordAndReplayAtOnce(t *testing.T) {
	t.Parallel()
	base, _ := counting(t)
	path, rec := record(t, cassette.Options{})
	c := plain(t, base)
	const n = 50
	ask := func(tape cassette.Tape) []string {
		all := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				resp, err := c.Get(cassette.With(t.Context(), tape), "/list", url.Values{"page": {fmt.Sprint(i)}})
				if err != nil {
					t.Error(err)
					return
				}
				all[i] = string(resp.Body)
			})
		}
		wg.Wait()
		return all
	}
	want := ask(rec)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ask(player)); diff != "" {
		t.Errorf("replayed (-recorded +replayed):\n%s", diff)
	}
}

func TestTheSizeIsBounded(t *testing.T) {
	t.Parallel()
	base, _ := counting(t)
	path, rec := record(t, cassette.Options{MaxSize: 1000})
	c := plain(t, base)
	for i := range 50 {
		if _, err := c.Get(cassette.With(t.Context(), rec), "/list", url.Values{"page": {fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 1100 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	player, err := cassette.Replay(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(cassette.With(t.Context(), player), "/list", url.Values{"page": {"49"}})
	if err == nil || !strings.Contains(err.Error(), "the recording ended at its bound of 1000 bytes") {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoCassetteIsRefused(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                   "the file is empty",
		"{\"cassette\":1}":   "line 1 is cut off",
		"{\"cassette\":9}\n": "its version is 9, this program reads 1",
		"{\"full\":9}\n":     "line 1 is not the heading of a cassette",
		"{\"cassette\":1}\n{\"exchange\":{\"method\":\"GE": "line 2 is cut off",
		"{\"cassette\":1}\n{\"exchange\":{}}\n":            "line 2: an exchange without method or status",
		"{\"cassette\":1}\n{\"trade\":{}}\n":               "line 2: not a line of a cassette",
		"{\"cassette\":1}\n{}\n":                           "line 2: want one of",
		"not json\n":                                       "line 1: not a line of a cassette",
	} {
		path := filepath.Join(t.TempDir(), "bad.jsonl")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := cassette.Replay(path, nil)
		if err == nil || !strings.Contains(err.Error(), want) || connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%q: error %v, want %q", content, err, want)
		}
		if content != "" {
			if _, err := cassette.Record(path, cassette.Options{}); err == nil {
				t.Errorf("%q: gone on with", content)
			}
		}
	}
	if _, err := cassette.Replay(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there was opened")
	}
}

func TestSecretsAreWhatTheSchemaMarks(t *testing.T) {
	t.Parallel()
	schema := `{"properties":{"a":{"writeOnly":true},"b":{"$ref":"#/$defs/s"},"c":{"properties":{"d":{"type":"array","items":{"writeOnly":true}}}},"page":{}},"$defs":{"s":{"writeOnly":true}}}`
	config := `{"a":"one","b":"two","c":{"d":["three",4]},"page":"five","my_password":"six","token_url":"https://x"}`
	got := cassette.Secrets(json.RawMessage(schema), json.RawMessage(config))
	if diff := cmp.Diff([]string{"4", "one", "six", "three", "two"}, got); diff != "" {
		t.Error(diff)
	}
}
