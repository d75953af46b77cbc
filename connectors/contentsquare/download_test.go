package contentsquare

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A store is a server for files, apart from the vendor's.
func store(t *testing.T, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return server
}

// exporting is a source whose job 1119 has one run with one file, at address.
func exporting(t *testing.T, address string, settings map[string]any) connector.Source {
	t.Helper()
	v := newVendor(t)
	v.answers["GET v1/exports/1119/runs?limit=20&order=DESC&page=1&projectId=42"] = []string{
		`{"success":true,"payload":[{"jobRunId":3,"startDate":"2026-03-09T00:00:00.000Z","state":"SUCCESS"}]}`,
	}
	v.answers["GET v1/exports/1119/runs/3?projectId=42"] = []string{fmt.Sprintf(`{"success":true,"payload":{"files":[{"partId":0,"url":%q}]}}`, address)}
	all := map[string]any{"exports": []any{map[string]any{"job": 1119, "stream": "visits"}}}
	for k, value := range settings {
		all[k] = value
	}
	return v.open(t, all)
}

var visits = connector.Request{Stream: "visits", Partition: "42", AsOf: time.Date(2026, 3, 10, 2, 0, 0, 0, time.UTC)}

// Files of another host than the API's are fetched without the token, by https
// or on the machine itself, from where the settings allow it alone; so is a
// redirect.
func TestFilesComeFromAllowedHostsWithoutTheToken(t *testing.T) {
	t.Parallel()
	var seen http.Header
	files := store(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/file?signature="+signCanary, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, zipped("{\"a\":1}\n"))
	})
	host := strings.TrimPrefix(files.URL, "http://")
	for _, path := range []string{"/file", "/moved"} {
		var out recorder
		var usage connector.UsageRecorder
		src := exporting(t, files.URL+path, map[string]any{"download_hosts": []string{host}})
		if err := src.Pull(connector.WithUsage(t.Context(), &usage), visits, &out); err != nil {
			t.Fatal(err)
		}
		if out.n != 1 || seen.Get("Authorization") != "" {
			t.Errorf("%s: %d records, authorization %q", path, out.n, seen.Get("Authorization"))
		}
		if usage.Total().Bytes == 0 || usage.Total().Requests < 4 {
			t.Errorf("%s: usage %+v", path, usage.Total())
		}
	}
	other := store(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://files.example.com/x?signature="+signCanary, http.StatusFound)
	})
	for _, address := range []string{files.URL + "/file", other.URL} {
		hosts := []string{strings.TrimPrefix(other.URL, "http://")}
		err := exporting(t, address, map[string]any{"download_hosts": hosts}).Pull(t.Context(), visits, &recorder{})
		if connector.KindOf(err) != connector.KindForbidden || strings.Contains(err.Error(), signCanary) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestDownloadHostsAreComparedWhole(t *testing.T) {
	t.Parallel()
	d := &downloader{hosts: []string{hostOf(&url.URL{Scheme: "https", Host: "Files.example.com"})}}
	parse := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	base := parse("https://api.eu.contentsquare.com")
	for address, want := range map[string]connector.Kind{
		"https://files.example.com/a":          0,
		"https://files.example.com:443/a":      0,
		"https://api.eu.contentsquare.com/a":   0,
		"https://files.example.com:8443/a":     connector.KindForbidden,
		"https://files.example.com.evil.org/a": connector.KindForbidden,
		"https://a.files.example.com/a":        connector.KindForbidden,
		"https://other.contentsquare.com/a":    connector.KindForbidden,
		"https://127.0.0.1/a":                  connector.KindForbidden,
		"http://files.example.com/a":           connector.KindBadResponse,
		"http://127.0.0.1/a":                   connector.KindBadResponse,
		"https://u:p@files.example.com/a":      connector.KindBadResponse,
		"ftp://files.example.com/a":            connector.KindBadResponse,
	} {
		if err := d.allowed(parse(address), base); connector.KindOf(err) != want {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
	for address, want := range map[string]bool{
		"https://files.contentsquare.com/a": true, "https://contentsquare.com": true, "https://evilcontentsquare.com": false,
		"http://files.contentsquare.com/a": false, "https://files.contentsquare.com:8443": false, "https://contentsquare.com.example.com": false,
	} {
		if underVendor(parse(address)) != want {
			t.Errorf("%s is the vendor's: want %t", address, want)
		}
	}
}

// The API's own host gets the token, as every request to it.
func TestFilesOfTheVendorsOwnHostGetTheToken(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers["GET v1/exports/1119/runs?limit=20&order=DESC&page=1&projectId=42"] = []string{
		`{"success":true,"payload":[{"jobRunId":3,"startDate":"2026-03-09T00:00:00.000Z","state":"SUCCESS"}]}`,
	}
	v.answers["GET v1/exports/1119/runs/3?projectId=42"] = []string{fmt.Sprintf(`{"success":true,"payload":{"files":[{"partId":0,"url":%q}]}}`, v.server.URL+"/cloud/own")}
	v.answers["GET own"] = []string{`{"a":1}`} // asked for without a token it is 401
	var out recorder
	err := v.open(t, map[string]any{"exports": []any{map[string]any{"job": 1119, "stream": "visits"}}}).Pull(t.Context(), visits, &out)
	if err != nil || out.n != 1 {
		t.Errorf("%d records, %v", out.n, err)
	}
}

// A file is never held whole: each row is emitted before the next is even sent,
// zipped or not.
func TestFilesAreStreamed(t *testing.T) {
	t.Parallel()
	for _, zip := range []bool{false, true} {
		emitted := make(chan struct{})
		files := store(t, func(w http.ResponseWriter, r *http.Request) {
			var out io.Writer = w
			flush := http.NewResponseController(w).Flush
			if zip {
				zipper := gzip.NewWriter(w)
				defer func() { _ = zipper.Close() }() // the client may have gone
				out = zipper
				flush = func() error { return errors.Join(zipper.Flush(), http.NewResponseController(w).Flush()) }
			}
			for range 3 {
				if _, err := io.WriteString(out, "{\"a\":1}\n{"); err != nil || flush() != nil { // the next has begun
					return
				}
				select {
				case <-emitted:
				case <-r.Context().Done():
					return
				}
				_, _ = io.WriteString(out, "}\n")
			}
		})
		src := exporting(t, files.URL, map[string]any{"download_hosts": []string{strings.TrimPrefix(files.URL, "http://")}})
		out := recorder{then: func(n int) {
			if n%2 == 1 {
				emitted <- struct{}{}
			}
		}}
		if err := src.Pull(t.Context(), visits, &out); err != nil || out.n != 6 {
			t.Errorf("zipped %t: %d records, %v", zip, out.n, err)
		}
	}
}

func TestBrokenDownloadsAreWorthAnotherAttempt(t *testing.T) {
	t.Parallel()
	whole := zipped(strings.Repeat("{\"a\":1}\n", 5_000))
	for name, serve := range map[string]http.HandlerFunc{
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = io.WriteString(w, whole[:len(whole)/2])
		},
		"503": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, signCanary, http.StatusServiceUnavailable) },
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
	} {
		files := store(t, serve)
		src := exporting(t, files.URL+"/f?signature="+signCanary, map[string]any{"download_hosts": []string{strings.TrimPrefix(files.URL, "http://")}})
		var out recorder
		err := src.Pull(t.Context(), visits, &out)
		if connector.KindOf(err) != connector.KindUnavailable || strings.Contains(err.Error(), signCanary) || out.cursor != nil {
			t.Errorf("%s: %v, cursor %s", name, err, out.cursor)
		}
	}
}

func TestADownloadThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	files := store(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{\"a\":1}\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	settings := map[string]any{"download_hosts": []string{strings.TrimPrefix(files.URL, "http://")}}
	src := exporting(t, files.URL, settings)
	src.(*source).files.stalled = 10 * time.Millisecond
	err := src.Pull(t.Context(), visits, &recorder{})
	if !errors.Is(err, errStalled) || connector.KindOf(err) != connector.KindUnavailable {
		t.Errorf("stalled: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	err = exporting(t, files.URL, settings).Pull(ctx, visits, &recorder{then: func(int) { cancel() }})
	if !connector.Cancelled(err) {
		t.Errorf("cancelled: %v", err) // P4
	}
}

// Stopping at any event and going on from the last checkpoint reads the same rows
// (P5).
func TestExportDataGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers["GET v1/exports/1119/runs?limit=20&order=DESC&page=1&projectId=42"] = []string{
		`{"success":true,"payload":[{"jobRunId":3,"startDate":"2026-03-09T00:00:00.000Z","state":"SUCCESS"},{"jobRunId":2,"startDate":"2026-03-08T00:00:00.000Z","state":"SUCCESS"}]}`,
	}
	for _, id := range []string{"2", "3"} {
		v.answers["GET v1/exports/1119/runs/"+id+"?projectId=42"] = []string{
			fmt.Sprintf(`{"success":true,"payload":{"files":[{"partId":0,"url":"%s/cloud/f%s"}]}}`, v.server.URL, id),
		}
		v.answers["GET f"+id] = []string{"{\"a\":1}\n{\"a\":2}\n"}
	}
	src := v.open(t, map[string]any{"exports": []any{map[string]any{"job": 1119, "stream": "visits"}}})
	read := func(out *recorder, c connector.Cursor) error {
		req := visits
		req.Cursor = c
		return src.Pull(t.Context(), req, out)
	}
	var whole recorder
	if err := read(&whole, nil); err != nil || whole.n != 4 {
		t.Fatal(whole.events, err)
	}
	for failAt := 1; failAt <= len(whole.events); failAt++ {
		first := recorder{failAt: failAt}
		if err := read(&first, nil); !errors.Is(err, errFull) || len(first.events) != failAt {
			t.Fatalf("failing at %d: %v", failAt, err)
		}
		var second recorder
		if err := read(&second, first.cursor); err != nil {
			t.Fatal(err)
		}
		keys := map[string]bool{}
		for _, record := range append(first.records, second.records...) {
			keys[record] = true
		}
		if len(keys) != 4 {
			t.Errorf("stopped at %d: %d rows in all, want 4", failAt, len(keys))
		}
	}
	var again recorder
	if err := read(&again, whole.cursor); err != nil || len(again.events) != 0 {
		t.Errorf("again: %q, %v", again.events, err)
	}
}

// The downloader trusts nothing beyond what the system does.
func TestDownloadsVerifyCertificates(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // the handshake fails, as it must
	server.StartTLS()
	t.Cleanup(server.Close)
	src := exporting(t, server.URL, map[string]any{"download_hosts": []string{strings.TrimPrefix(server.URL, "https://")}})
	err := src.Pull(t.Context(), visits, &recorder{})
	if connector.KindOf(err) != connector.KindForbidden || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}
