package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestAnswerThatWasCutIsReadAgain(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]http.HandlerFunc{
		"short of its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"customers":[`)
		},
		"short of its last chunk": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"customers":[`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"short of its gzip end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			body := zipped([]byte(`{"customers":[{"customer_id":"1"}]}`))
			_, _ = w.Write(body[:len(body)-9])
		},
		"damaged gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			body := zipped([]byte(`{"customers":[{"customer_id":"1"}]}`))
			body[len(body)-6] ^= 1
			_, _ = w.Write(body)
		},
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		},
		"closed without a word": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 1 {
					cut(w, r)
					return
				}
				_, _ = io.WriteString(w, `{"customers":[]}`)
			})
			resp, err := client.Get(t.Context(), "customers", nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(resp.Body) != `{"customers":[]}` || requests.Load() != 2 {
				t.Errorf("got %s after %d requests", resp.Body, requests.Load())
			}
		})
	}
}

func zipped(body []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(body)
	_ = w.Close()
	return buf.Bytes()
}

func TestCompressedAnswerIsReadAndCountedAsSent(t *testing.T) {
	t.Parallel()
	body := []byte(`{"customers":[` + strings.Repeat(`{"customer_id":"1"},`, 1000) + `{}]}`)
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding is %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped(body))
	})
	var usage connector.UsageRecorder
	resp, err := client.Get(connector.WithUsage(t.Context(), &usage), "customers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(resp.Body)); diff != "" {
		t.Error(diff)
	}
	if got, want := usage.Total().Bytes, int64(len(zipped(body))); got != want {
		t.Errorf("%d bytes counted, want %d", got, want)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	block := bytes.Repeat([]byte(" "), mib)
	var bomb bytes.Buffer
	bombWriter, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	for range 100 {
		_, _ = bombWriter.Write(block)
	}
	_ = bombWriter.Close()
	for name, test := range map[string]struct {
		limit   int64
		handler http.HandlerFunc
		text    string
	}{
		"100 MB": {0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(100*mib))
			for range 100 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "the answer is larger than 67108864 bytes"},
		"endless": {mib, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "the answer is larger than 1048576 bytes"},
		"gzip bomb": {mib, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, "the answer is larger than 1048576 bytes"},
		"endless gzip of nothing": {mib / 16, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			nothing := zipped(nil)
			for {
				if _, err := w.Write(nothing); err != nil {
					return
				}
			}
		}, "the answer is larger than 65536 bytes"},
		"other encoding": {0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = w.Write([]byte("x"))
		}, `the answer came in an encoding that was not asked for: br`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := serve(t, rest.Options{MaxBody: test.limit}, test.handler)
			_, err := client.Get(t.Context(), "customers", nil)
			wantKind(t, err, connector.KindBadResponse)
			if diff := cmp.Diff("GET customers: "+test.text, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("exactly the limit", func(t *testing.T) {
		t.Parallel()
		client, _ := serve(t, rest.Options{MaxBody: mib}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(block) })
		resp, err := client.Get(t.Context(), "customers", nil)
		if err != nil || len(resp.Body) != mib {
			t.Errorf("got %v", err)
		}
	})
}

func TestErrorsSayWhatAPersonCanCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		media      string
		body       string
		kind       connector.Kind
		text, hint string
	}{
		"HTML with 200":    {200, "text/html; charset=utf-8", "<html>log in</html>", connector.KindBadResponse, "got text/html instead of JSON from HOST", "is base_url right?"},
		"HTML with 404":    {404, "text/html", "<html>CANARY</html>", connector.KindBadResponse, "404 Not Found from HOST", "base_url"},
		"forbidden":        {403, "application/json", `{"errors":["no right to read callbacks"]}`, connector.KindForbidden, "403 Forbidden from HOST (no right to read callbacks)", "permission"},
		"bad request":      {400, "application/json", `{"error":{"code":"400000","code_reason":"validation_error","message":"no such\ncolumn","details":["CANARY"]}}`, connector.KindBadResponse, "400 Bad Request from HOST (400000: validation_error: no such column)", ""},
		"server error":     {500, "application/json", `{"code":"500999","message":"Api Error"}`, connector.KindUnavailable, "500 Internal Server Error from HOST (500999: Api Error)", ""},
		"odd status":       {599, "text/plain", "CANARY", connector.KindUnavailable, "599 from HOST", ""},
		"long message":     {400, "application/json", `{"message":"` + strings.Repeat("é", 300) + `CANARY"}`, connector.KindBadResponse, "400 Bad Request from HOST (" + strings.Repeat("é", 200) + "...)", ""},
		"redirect nowhere": {302, "", "", connector.KindBadResponse, "302 Found from HOST: a redirect that cannot be followed", "base_url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := serve(t, rest.Options{MaxAttempts: 1}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.media)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := client.Get(t.Context(), "customers", nil)
			wantKind(t, err, test.kind)
			got := strings.ReplaceAll(err.Error(), strings.TrimPrefix(server.URL, "http://"), "HOST")
			if diff := cmp.Diff("GET customers: "+test.text, got); diff != "" {
				t.Error(diff)
			}
			if hint := connector.HintOf(err); !strings.Contains(hint, test.hint) {
				t.Errorf("hint %q lacks %q", hint, test.hint)
			}
		})
	}
}

func TestUnreachableVendorSaysWhatToCheck(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewUnstartedServer(nil)
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // it complains of the client that is to complain
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for base, want := range map[string]string{
		untrusted.URL:                      "the certificate of HOST cannot be trusted: it is signed by an unknown authority",
		gone.URL:                           "nothing listens at HOST (connection refused)",
		"http://" + silent.Addr().String(): "no whole answer from HOST within 50ms",
	} {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		client := newClient(t, rest.Options{BaseURL: base, Transport: transport, MaxAttempts: 1, Timeout: 50 * time.Millisecond})
		if base != "http://"+silent.Addr().String() {
			client = newClient(t, rest.Options{BaseURL: base, Transport: transport, MaxAttempts: 1})
		}
		_, err := client.Get(t.Context(), "customers", url.Values{"key": {"CANARY"}})
		kind := connector.KindUnavailable
		if base == untrusted.URL {
			kind = connector.KindConfig
		}
		wantKind(t, err, kind)
		_, host, _ := strings.Cut(base, "://")
		if diff := cmp.Diff("GET customers: "+want, strings.ReplaceAll(err.Error(), host, "HOST")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCancellationEndsARequestUnderWay(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]http.HandlerFunc{
		"before the answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"within the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"customers":[`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
				cancel()
				slow(w, r)
			})
			if _, err := client.Get(ctx, "customers", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Whatever a vendor repeats of a request, no error shows it.
func TestNoErrorShowsASecret(t *testing.T) {
	t.Parallel()
	const canary = "CANARY/+=&\"value"
	token := "tokenCANARY+/="
	echo := func(r *http.Request) string {
		return r.Header.Get("Authorization") + " and " + r.URL.String() + " and " + r.URL.Query().Get("api_key")
	}
	for name, handler := range map[string]http.HandlerFunc{
		"message": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"message":%q}`, echo(r))
		},
		"nested JSON": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"error":%q}`, fmt.Sprintf(`{"q":%q}`, r.URL.Query().Get("api_key")))
		},
		"body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, echo(r))
		},
		"location": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://foreign.example/?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		},
		"bad location": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://"+token+"%zz")
			w.WriteHeader(http.StatusFound)
		},
		"not HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(conn, echo(r))
			_ = conn.Close()
		},
		"cut": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, echo(r))
		},
		"encoding": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "x-"+token)
			_, _ = io.WriteString(w, echo(r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := serve(t, rest.Options{Auth: static(token), MaxAttempts: 1}, handler)
			_, err := client.Get(t.Context(), "customers?signature=CANARYsignature", url.Values{"api_key": {canary}})
			if err == nil {
				t.Fatal("no error")
			}
			if text := err.Error() + connector.HintOf(err) + fmt.Sprintf("%+v", err); strings.Contains(strings.ToUpper(text), "CANARY") {
				t.Errorf("%s", text)
			}
		})
	}
	lost := newClient(t, rest.Options{Auth: static(token), MaxAttempts: 1, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: fmt.Errorf("odd %s %s", r.URL.Query().Get("api_key"), r.Header.Get("Authorization"))}
	})})
	if _, err := lost.Get(t.Context(), "x", url.Values{"api_key": {canary}}); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error(err)
	}
	for _, base := range []string{"https://u:CANARY@a.example", "https://a.example:CANARY", "https://a.example/?key=CANARY", "http://a b:CANARY/"} {
		if _, err := rest.New(rest.Options{BaseURL: base}); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// static signs with one token and has no other.
type static string

func (s static) Authorize(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(s))
	return nil
}

func (static) Rejected(context.Context, *http.Response) (bool, error) { return false, nil }
