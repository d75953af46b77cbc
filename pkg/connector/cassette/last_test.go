package cassette_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/rest"
)

var errToTell = errors.New("GET /people/" + url.PathEscape(canaryName) + ": " + canaryMail + ` said "` + canarySecret + `"`)

func TestWhatWasSaidLastIsKeptOnlyOfFailures(t *testing.T) {
	t.Parallel()
	base, _ := counting(t)
	path := filepath.Join(t.TempDir(), "last.jsonl")
	rec := cassette.KeepLast(path, cassette.Options{Last: 4000})
	ctx, c := cassette.With(t.Context(), rec), plain(t, base)
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := c.Get(ctx, "/list", url.Values{"page": {fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	since := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	slice := connector.Request{Stream: "lists", Window: connector.Window{Since: since, Until: since.AddDate(0, 0, 1)}}
	ask(0, 500)
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without a failure")
	}
	rec.Failed(slice, errors.New("the first"))
	ask(500, 503)
	rec.Failed(slice, errors.New("the second"))
	ask(503, 600)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"page=499"`, `"page=500"`, `"page=502"`, `"error":"the first"`, `"error":"the second"`, `"stream":"lists"`, "2025-03-01"} {
		if strings.Count(string(text), want) == 0 {
			t.Errorf("%s is not there:\n%s", want, text)
		}
	}
	for _, gone := range []string{`"page=3"`, `"page=400"`, `"page=503"`} {
		if strings.Contains(string(text), gone) {
			t.Errorf("%s is there", gone)
		}
	}
	if len(text) > 6000 {
		t.Errorf("%d bytes", len(text))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
	if _, err := cassette.Pulls(path); err != nil {
		t.Errorf("not a cassette: %v", err)
	}

	again := cassette.KeepLast(path, cassette.Options{}) // the process after one that died
	again.Failed(slice, errors.New("the third"))
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if more, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(more, text) || !bytes.Contains(more, []byte("the third")) {
		t.Errorf("not gone on with: %v\n%s", err, more)
	}
}

// Failures without end do not fill the disk.
func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	base, _ := counting(t)
	path := filepath.Join(t.TempDir(), "last.jsonl")
	rec := cassette.KeepLast(path, cassette.Options{Last: 1000, MaxSize: 3000})
	ctx, c := cassette.With(t.Context(), rec), plain(t, base)
	for i := range 100 {
		if _, err := c.Get(ctx, "/list", url.Values{"page": {fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
		rec.Failed(connector.Request{}, errors.New("again"))
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 3100 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestNothingSecretOrPersonalIsKept(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(vendor))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "last.jsonl")
	rec := cassette.KeepLast(path, cassette.Options{Secrets: []string{canarySecret}, Streams: []connector.Stream{people}})
	ctx, c := cassette.With(t.Context(), rec), client(t, server.URL)
	if _, err := c.Do(ctx, rest.Request{Path: "/people", Query: url.Values{"signature": {canaryQuery}, "q": {canarySecret}}}); err != nil {
		t.Fatal(err)
	}
	for _, personal := range []string{canaryNumber, canaryName} { // a value of an answer in a later request
		if _, err := c.Get(ctx, "/people/"+url.PathEscape(personal), url.Values{"n": {personal}}); err != nil {
			t.Fatal(err)
		}
	}
	rec.Failed(connector.Request{Stream: "people", Partition: canaryMail, Cursor: connector.Cursor(`{"after":"` + canaryMail + `"}`)}, errToTell)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{canaryNumber, "Persson", "46 70", "1980-05-12"} {
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("%q is in the file", canary)
		}
	}
	if bytes.Contains(bytes.ToLower(text), []byte("canary")) {
		t.Errorf("something of a canary is in the file:\n%s", text)
	}
	if !bytes.Contains(text, []byte(`"error":"GET /people/redacted`)) {
		t.Errorf("the error is not told:\n%s", text)
	}
}

// After more values than can be remembered, a personal one that an answer gave
// long ago is hidden in a request all the same.
func TestForgottenValuesAreHidden(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/people" {
			fmt.Fprint(w, `{}`)
			return
		}
		fmt.Fprint(w, `{"people":[`)
		for i := range 30_000 {
			fmt.Fprintf(w, `{"number":4670%07d},`, i)
		}
		fmt.Fprint(w, `{}]}`)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "last.jsonl")
	rec := cassette.KeepLast(path, cassette.Options{Streams: []connector.Stream{people}})
	ctx, c := cassette.With(t.Context(), rec), plain(t, server.URL)
	for _, place := range []string{"/people", "/people/46700029999", "/people/46700000001/calls?of=46700029998&day=2025-03-01&page=12"} {
		if _, err := c.Get(ctx, place, nil); err != nil {
			t.Fatal(err)
		}
	}
	rec.Failed(connector.Request{}, errors.New("broken"))
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("4670000000")) || bytes.Contains(text, []byte("46700029")) {
		t.Errorf("a number is there:\n%.2000s", text[max(0, len(text)-1500):])
	}
	if !bytes.Contains(text, []byte("day=2025-03-01")) || !bytes.Contains(text, []byte("page=12")) {
		t.Errorf("more is hidden than must be:\n%.2000s", text[max(0, len(text)-1500):])
	}
}
