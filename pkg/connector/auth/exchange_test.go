package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
)

func TestTokenEndpointThatStaysInTroubleIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		status   int
		after    string // Retry-After
		requests int
		longest  time.Duration
		kind     connector.Kind
		retry    time.Duration
	}{
		{name: "500", status: 500, requests: 3, longest: 4 * time.Second, kind: connector.KindUnavailable},
		{name: "503 with a bearable wait", status: 503, after: "7", requests: 3, longest: 15 * time.Second, kind: connector.KindUnavailable, retry: 7 * time.Second},
		{name: "429", status: 429, requests: 3, longest: 4 * time.Second, kind: connector.KindRateLimited},
		{name: "429 with a long wait", status: 429, after: "600", requests: 1, kind: connector.KindRateLimited, retry: 10 * time.Minute},
		{name: "cut", status: 0, requests: 3, longest: 4 * time.Second, kind: connector.KindUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := auth.ClientCredentials{
					TokenURL: "https://a.example/t", ClientID: "a", ClientSecret: connector.NewSecret("b"),
					Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						requests++
						if test.status == 0 {
							return nil, io.ErrUnexpectedEOF
						}
						resp := response(r, test.status, "")
						if test.after != "" {
							resp.Header.Set("Retry-After", test.after)
						}
						return resp, nil
					}),
				}
				start := time.Now()
				_, err := c.Fetch(t.Context())
				if got := connector.KindOf(err); got != test.kind {
					t.Errorf("kind %s, want %s: %v", got, test.kind, err)
				}
				if requests != test.requests {
					t.Errorf("%d requests, want %d", requests, test.requests)
				}
				if took := time.Since(start); took > test.longest {
					t.Errorf("took %s", took)
				}
				if got := connector.RetryAfterOf(err); got != test.retry {
					t.Errorf("retry after %s, want %s", got, test.retry)
				}
			})
		})
	}
}

func TestTokenEndpointThatHangsIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := auth.ClientCredentials{
			TokenURL: "https://a.example/t", ClientID: "a", ClientSecret: connector.NewSecret("b"),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}),
		}
		_, err := c.Fetch(t.Context())
		if connector.KindOf(err) != connector.KindUnavailable || connector.Cancelled(err) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's own deadline", err)
		}
	})
}

// Whatever a hostile endpoint repeats of a request, no error shows it.
func TestNoErrorOfATokenRequestShowsASecret(t *testing.T) {
	t.Parallel()
	const param = "param+CANARY/3"
	echo := func(status int, body func(form string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			form, _ := io.ReadAll(r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body(string(form)))
		}
	}
	handlers := map[string]http.HandlerFunc{
		"echo of the form": echo(400, func(form string) string { return fmt.Sprintf(`{"error_description":%q}`, form) }),
		"echo of the secret": echo(401, func(string) string {
			return fmt.Sprintf(`{"error":{"message":%q}}`, "client "+id+" with "+secret+" and "+param)
		}),
		"echo in errors":   echo(400, func(form string) string { return fmt.Sprintf(`{"errors":[%q]}`, form) }),
		"echo as the body": echo(400, func(form string) string { return form }),
		"no JSON":          echo(200, func(form string) string { return form }),
		"bad base URL":     echo(200, func(string) string { return `{"access_token":"tokenCANARY","endpoint":"https://x:CANARY@y z"}` }),
		"token with space": echo(200, func(string) string { return `{"access_token":"token CANARY"}` }),
		"echo of the header": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			plain, _ := base64.StdEncoding.DecodeString(given)
			_, _ = fmt.Fprintf(w, `{"code":%q,"message":%q,"detail":"-"}`, given, plain)
			if given != "" && !strings.Contains(string(plain), "CANARY") {
				t.Error("the header does not hold the canary")
			}
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			form, _ := io.ReadAll(r.Body)
			http.Redirect(w, r, "https://a.example/?"+string(form), http.StatusFound)
		},
	}
	for name, handler := range handlers {
		for _, encoding := range []auth.Encoding{auth.JSON, auth.Form, auth.Basic} {
			t.Run(name+" "+string(encoding), func(t *testing.T) {
				t.Parallel()
				c := endpoint(t, handler)
				c.Encoding = encoding
				c.Params = map[string]any{"assertion": connector.NewSecret(param)}
				c.Answer.BaseURL = []string{"endpoint"}
				token, err := c.Fetch(t.Context())
				if err == nil {
					t.Fatal("no error")
				}
				for _, text := range []string{err.Error(), connector.HintOf(err), fmt.Sprintf("%+v %+v", c, token), fmt.Sprintf("%#v", err)} {
					text, _ = url.QueryUnescape(strings.ReplaceAll(text, id, "")) // the settings may show the id, see below
					if strings.Contains(text, "CANARY") {
						t.Errorf("%s", text)
					}
				}
				if strings.Contains(err.Error(), "CANARY") {
					t.Error(err)
				}
			})
		}
	}
}

// These are tried again, so they run where time costs nothing.
func TestNoErrorOfALostTokenRequestShowsASecret(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		io.ErrUnexpectedEOF,
		fmt.Errorf("malformed HTTP response %q", secret),
		fmt.Errorf("odd: %s, %s", secret, url.QueryEscape(secret)),
		&url.Error{Op: "Post", URL: "https://a.example/?client_secret=" + url.QueryEscape(secret), Err: errors.New("odd")},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := auth.ClientCredentials{
				TokenURL: "https://a.example/t", ClientID: id, ClientSecret: connector.NewSecret(secret),
				Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, failure }),
			}
			if _, err := c.Fetch(t.Context()); err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Error(err)
			}
		})
	}
}

func TestUnreachableTokenEndpointSaysWhatToCheck(t *testing.T) {
	t.Parallel()
	tlsServer := httptest.NewUnstartedServer(nil)
	tlsServer.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // it complains of the client that we want to see complain
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for tokenURL, want := range map[string]string{
		tlsServer.URL: "the certificate of HOST cannot be trusted: it is signed by an unknown authority",
		strings.Replace(plain.URL, "http:", "https:", 1): "HOST does not speak TLS",
	} {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		checkUnreachable(t, tokenURL, transport, want)
	}
	for text, failure := range map[string]error{
		"no address found for host HOST":                      &net.DNSError{Err: "no such host", IsNotFound: true},
		"nothing listens at HOST (connection refused)":        &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"HOST cut the connection before the answer was whole": &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"no answer from HOST in time":                         &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			checkUnreachable(t, "https://a.example/t", roundTrip(func(*http.Request) (*http.Response, error) { return nil, failure }), text)
		})
	}
}

func checkUnreachable(t *testing.T, tokenURL string, transport http.RoundTripper, want string) {
	t.Helper()
	c := auth.ClientCredentials{TokenURL: tokenURL, ClientID: "client", ClientSecret: connector.NewSecret("secret"), Transport: transport}
	_, err := c.Fetch(t.Context())
	u, _ := url.Parse(tokenURL)
	if diff := cmp.Diff("fetch token: "+want, strings.ReplaceAll(err.Error(), u.Host, "HOST")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(want, "cut") && !strings.HasPrefix(connector.HintOf(err), "check ") {
		t.Errorf("hint %q", connector.HintOf(err))
	}
	kind := connector.KindUnavailable
	if strings.Contains(want, "certificate") || strings.Contains(want, "speak TLS") {
		kind = connector.KindConfig
	}
	if connector.KindOf(err) != kind {
		t.Errorf("%s: kind %s", want, connector.KindOf(err))
	}
}
