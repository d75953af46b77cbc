package rest_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply is an answer that needs no network.
func reply(r *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewBufferString(body)), Request: r,
	}
}

func newClient(t *testing.T, o rest.Options) *rest.Client {
	t.Helper()
	if o.BaseURL == "" && o.BaseURLFrom == nil {
		o.BaseURL = "https://api.example.com/v2"
	}
	client, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// serve starts a vendor under /api/2.4.9 and returns a client for it.
func serve(t *testing.T, o rest.Options, handler http.HandlerFunc) (*rest.Client, *httptest.Server) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/2.4.9/", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	if o.BaseURLFrom == nil {
		o.BaseURL = server.URL + "/api/2.4.9"
	}
	if o.Transport == nil {
		o.Transport = transport
	}
	return newClient(t, o), server
}

// wantKind checks that err is of a kind, is one line, and is no cancellation.
func wantKind(t *testing.T, err error, kind connector.Kind) {
	t.Helper()
	var typed *connector.Error
	if !errors.As(err, &typed) || connector.KindOf(err) != kind {
		t.Fatalf("got kind %s, want %s: %v", connector.KindOf(err), kind, err)
	}
	if connector.Cancelled(err) {
		t.Errorf("the error looks like a cancelled pull: %v", err)
	}
	if bytes.ContainsAny([]byte(err.Error()+connector.HintOf(err)), "\r\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
}
