package auth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
)

const (
	secret = "s+e/c=r&e t;CANARY\"<>"
	id     = "id:+&=CANARY"
)

// endpoint is a token endpoint under a path, as real ones are.
func endpoint(t *testing.T, handler http.HandlerFunc) auth.ClientCredentials {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return auth.ClientCredentials{
		TokenURL: server.URL + "/oauth2/token", ClientID: id, ClientSecret: connector.NewSecret(secret), Transport: transport,
	}
}

func answers(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func TestRequestCarriesTheCredentialsInEachEncoding(t *testing.T) {
	t.Parallel()
	params := map[string]any{"scope": "a/read b", "project_id": 42, "key": connector.NewSecret("k")}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
		"scope": {"a/read b"}, "project_id": {"42"}, "key": {"k"},
	}
	for _, test := range []struct {
		name        string
		change      func(*auth.ClientCredentials)
		contentType string
		body        string // exactly
		form        url.Values
	}{
		{
			name: "json", change: func(*auth.ClientCredentials) {}, contentType: "application/json",
			body: `{"client_id":"id:+&=CANARY","client_secret":"s+e/c=r&e t;CANARY\"<>","grant_type":"client_credentials","key":"k","project_id":42,"scope":"a/read b"}`,
		},
		{
			name: "form", change: func(c *auth.ClientCredentials) { c.Encoding = auth.Form }, contentType: "application/x-www-form-urlencoded",
			form: form,
			body: "client_id=id%3A%2B%26%3DCANARY&client_secret=s%2Be%2Fc%3Dr%26e+t%3BCANARY%22%3C%3E&grant_type=client_credentials&key=k&project_id=42&scope=a%2Fread+b",
		},
		{
			name: "form without grant type, other names", contentType: "application/x-www-form-urlencoded",
			change: func(c *auth.ClientCredentials) {
				c.Encoding, c.OmitGrantType, c.IDField, c.SecretField, c.Params = auth.Form, true, "app_id", "app_secret", nil
			},
			form: url.Values{"app_id": {id}, "app_secret": {secret}},
		},
		{
			name: "basic", contentType: "application/x-www-form-urlencoded",
			change: func(c *auth.ClientCredentials) { c.Encoding = auth.Basic },
			form: url.Values{
				"grant_type": {"client_credentials"}, "scope": {"a/read b"}, "project_id": {"42"}, "key": {"k"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if diff := cmp.Diff(test.contentType, r.Header.Get("Content-Type")); diff != "" {
					t.Error(diff)
				}
				if test.body != "" {
					if diff := cmp.Diff(test.body, string(body)); diff != "" {
						t.Error(diff)
					}
				}
				if test.form != nil {
					got, err := url.ParseQuery(string(body))
					if diff := cmp.Diff(test.form, got); diff != "" || err != nil {
						t.Error(diff, err)
					}
				}
				user, password, basic := r.BasicAuth()
				if want := test.name == "basic"; basic != want {
					t.Errorf("basic %t, want %t", basic, want)
				} else if basic {
					user, _ = url.QueryUnescape(user)
					password, _ = url.QueryUnescape(password)
					if user != id || password != secret {
						t.Errorf("basic %q %q", user, password)
					}
				}
				answers(`{"access_token":"abc"}`)(w, r)
			})
			c.Params = params
			test.change(&c)
			token, err := c.Fetch(t.Context())
			if got := value(t, token, err); got != "abc" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAnswersOfAllShapesAreRead(t *testing.T) {
	t.Parallel()
	inData := auth.Answer{Token: []string{"data", "access_token"}, Type: []string{"data", "token_type"}, ExpiresIn: []string{"data", "expires_in"}}
	for _, test := range []struct {
		name, body string
		answer     auth.Answer
		fallback   time.Duration
		want       connector.Token // Value compared apart
		lifetime   time.Duration
	}{
		{
			name: "plain", body: `{"access_token":"abc","token_type":"Bearer","expires_in":3600,"scope":"x y"}`,
			want: connector.Token{Type: "Bearer", Scope: "x y"}, lifetime: time.Hour,
		},
		{name: "text lifetime", body: `{"access_token":"abc","token_type":"bearer","expires_in":" 300 "}`, want: connector.Token{Type: "Bearer"}, lifetime: 300 * time.Second},
		{name: "fractions", body: `{"access_token":"abc","expires_in":1.5}`, want: connector.Token{Type: "Bearer"}, lifetime: 1500 * time.Millisecond},
		{name: "no lifetime", body: `{"access_token":"abc"}`, want: connector.Token{Type: "Bearer"}, lifetime: 5 * time.Minute},
		{name: "documented lifetime", body: `{"access_token":"abc","expires_in":null}`, fallback: time.Hour, want: connector.Token{Type: "Bearer"}, lifetime: time.Hour},
		{name: "lifetime of nonsense", body: `{"access_token":"abc","expires_in":"soon"}`, want: connector.Token{Type: "Bearer"}, lifetime: 5 * time.Minute},
		{name: "lifetime zero", body: `{"access_token":"abc","expires_in":0}`, want: connector.Token{Type: "Bearer"}, lifetime: 5 * time.Minute},
		{name: "lifetime below zero", body: `{"access_token":"abc","expires_in":-5}`, want: connector.Token{Type: "Bearer"}, lifetime: 5 * time.Minute},
		{name: "endless lifetime", body: `{"access_token":"abc","expires_in":99999999999999999999999}`, want: connector.Token{Type: "Bearer"}, lifetime: 365 * 24 * time.Hour},
		{name: "other scheme", body: `{"access_token":"abc","token_type":"JWT"}`, want: connector.Token{Type: "JWT"}, lifetime: 5 * time.Minute},
		{
			name: "nested", body: `{"data":{"access_token":"abc","token_type":"Bearer","expires_in":3600}}`,
			answer: inData, want: connector.Token{Type: "Bearer"}, lifetime: time.Hour,
		},
		{
			name: "JSON in a string", body: `{"data":"{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":3600}"}`,
			answer: inData, want: connector.Token{Type: "Bearer"}, lifetime: time.Hour,
		},
		{
			name: "base URL", body: `{"access_token":"abc","expires_in":3600,"endpoint":"http://127.0.0.1:1/cs"}`,
			answer: auth.Answer{BaseURL: []string{"endpoint"}},
			want:   connector.Token{Type: "Bearer", BaseURL: "http://127.0.0.1:1/cs"}, lifetime: time.Hour,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := endpoint(t, answers(test.body))
			c.Answer, c.DefaultLifetime = test.answer, test.fallback
			c.CheckBaseURL = auth.HostsUnder(".example.com")
			before := time.Now()
			got, err := c.Fetch(t.Context())
			if v := value(t, got, err); v != "abc" {
				t.Errorf("token %q", v)
			}
			if at := got.ExpiresAt.Add(-test.lifetime); at.Before(before) || at.After(time.Now()) {
				t.Errorf("lifetime %s, want %s", got.ExpiresAt.Sub(before), test.lifetime)
			}
			got.Value, got.ExpiresAt = connector.Secret{}, time.Time{}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestRefusalsAreFinalAndSayWhatToCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		kind   connector.Kind
		text   string
	}{
		{"oauth", 401, `{"error":"invalid_client","error_description":"no such client"}`, connector.KindAuth, "fetch token: 401 Unauthorized from HOST (invalid_client: no such client)"},
		{"bad credentials as 400", 400, `{"error":"invalid_client"}`, connector.KindAuth, "fetch token: 400 Bad Request from HOST (invalid_client)"},
		{"nested", 401, `{"error":{"code":"401021","code_reason":"invalid_client","message":"Invalid client_id"}}`, connector.KindAuth, "fetch token: 401 Unauthorized from HOST (401021: invalid_client: Invalid client_id)"},
		{"flat", 403, `{"success":false,"errorMessage":"not allowed","errorCode":"FORBIDDEN"}`, connector.KindAuth, "fetch token: 403 Forbidden from HOST (FORBIDDEN: not allowed)"},
		{"scope", 400, `{"error":"invalid_scope"}`, connector.KindConfig, "fetch token: 400 Bad Request from HOST (invalid_scope)"},
		{"request", 400, `{"error":"invalid_request"}`, connector.KindConfig, "fetch token: 400 Bad Request from HOST (invalid_request)"},
		{"nested request", 400, `{"error":{"code":"400013","code_reason":"invalid_request"}}`, connector.KindConfig, "fetch token: 400 Bad Request from HOST (400013: invalid_request)"},
		{"page", 404, `<html>not here</html>`, connector.KindConfig, "fetch token: 404 Not Found from HOST"},
		{"method", 405, ``, connector.KindConfig, "fetch token: 405 Method Not Allowed from HOST"},
		{"html with 200", 200, `<html>log in</html>`, connector.KindBadResponse, "fetch token: got an HTML page instead of JSON"},
		{"no token", 200, `{"error":"temporarily_odd"}`, connector.KindBadResponse, "fetch token: the answer has no token at access_token (temporarily_odd)"},
		{"token is no text", 200, `{"access_token":{"a":1}}`, connector.KindBadResponse, "fetch token: the answer has no token at access_token"},
		{"header injection", 200, `{"access_token":"a\r\nX-Evil: 1"}`, connector.KindBadResponse, "fetch token: the token has characters that no header can carry"},
		{"empty", 200, ``, connector.KindBadResponse, "fetch token: the answer is empty"},
		{"cut", 200, `{"access_token":"ab`, connector.KindBadResponse, "fetch token: the answer is not JSON: invalid JSON at byte 19: a string is not closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			c := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				if strings.HasPrefix(test.body, "<") {
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := c.Fetch(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			u, _ := url.Parse(c.TokenURL)
			if diff := cmp.Diff(test.text, strings.ReplaceAll(err.Error(), u.Host, "HOST")); diff != "" {
				t.Error(diff)
			}
			if got := connector.KindOf(err); got != test.kind {
				t.Errorf("kind %s, want %s", got, test.kind)
			}
			if connector.HintOf(err) == "" {
				t.Error("no hint")
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests, want 1", requests.Load())
			}
		})
	}
}

func TestTokenEndpointInTroubleIsTriedAgain(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	c := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answers(`{"access_token":"abc"}`)(w, r)
	})
	var usage connector.UsageRecorder
	token, err := c.Fetch(connector.WithUsage(t.Context(), &usage))
	if got := value(t, token, err); got != "abc" {
		t.Errorf("got %q", got)
	}
	got := usage.Total()
	if got.TokensFetched != 1 || got.Waited == 0 {
		t.Errorf("usage %+v", got)
	}
}

func TestRedirectOfATokenRequestIsNotFollowed(t *testing.T) {
	t.Parallel()
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the secret left for another host")
	}))
	defer foreign.Close()
	c := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL, http.StatusTemporaryRedirect)
	})
	_, err := c.Fetch(t.Context())
	if connector.KindOf(err) != connector.KindConfig || !strings.Contains(connector.HintOf(err), "redirect") {
		t.Errorf("got %v (%s)", err, connector.HintOf(err))
	}
}

func TestBaseURLOfAnAnswerIsChecked(t *testing.T) {
	t.Parallel()
	const tokenURL = "https://api.contentsquare.com/v1/oauth/token"
	for _, test := range []struct {
		base  string
		check func(*url.URL) error
		good  bool
	}{
		{"https://api.eu-west-1.production.contentsquare.com", auth.HostsUnder(".contentsquare.com"), true},
		{"https://contentsquare.com", auth.HostsUnder("contentsquare.com"), true},
		{"https://API.Contentsquare.COM./v1", auth.HostsUnder("contentsquare.com"), true},
		{"http://api.contentsquare.com", auth.HostsUnder("contentsquare.com"), false},
		{"https://api.contentsquare.com:8443", auth.HostsUnder("contentsquare.com"), false},
		{"https://contentsquare.com.evil.example", auth.HostsUnder("contentsquare.com"), false},
		{"https://evilcontentsquare.com", auth.HostsUnder("contentsquare.com"), false},
		{"https://u:p@api.contentsquare.com", auth.HostsUnder("contentsquare.com"), false},
		{"https://api.contentsquare.com/?x=1", auth.HostsUnder("contentsquare.com"), false},
		{"http://127.0.0.1:8080", auth.HostsUnder("contentsquare.com"), false},
		{"https://localhost", auth.HostsUnder("contentsquare.com"), false},
		{"", auth.HostsUnder("contentsquare.com"), false},
		{"api.contentsquare.com", auth.HostsUnder("contentsquare.com"), false},
		{"https://api.contentsquare.com/v1", nil, true},
		{"https://other.contentsquare.com/v1", nil, false},
		{"https://anything.example", func(*url.URL) error { return nil }, true},
		{"https://anything.example", func(*url.URL) error { return errors.New("no") }, false},
	} {
		c := auth.ClientCredentials{
			TokenURL: tokenURL, ClientID: "a", ClientSecret: connector.NewSecret("b"),
			Answer: auth.Answer{BaseURL: []string{"endpoint"}}, CheckBaseURL: test.check,
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return response(r, 200, `{"access_token":"abc","endpoint":"`+test.base+`"}`), nil
			}),
		}
		token, err := c.Fetch(t.Context())
		if (err == nil) != test.good {
			t.Errorf("%s: good is %t: %v", test.base, err == nil, err)
		}
		if test.good && token.BaseURL == "" {
			t.Errorf("%s: no base URL in the token", test.base)
		}
		if !test.good && connector.KindOf(err) != connector.KindBadResponse {
			t.Errorf("%s: kind %s", test.base, connector.KindOf(err))
		}
	}
}

func TestSettingsAreCheckedWithoutTheNetwork(t *testing.T) {
	t.Parallel()
	good := auth.ClientCredentials{TokenURL: "https://a.example/t", ClientID: "a", ClientSecret: connector.NewSecret("b")}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	err := auth.ClientCredentials{TokenURL: "http://u:pCANARY@a.example", Encoding: "xml"}.Validate()
	want := `token settings: token_url: the URL holds a user name or password; client_id is empty; client_secret is empty; encoding "xml": want json, form or basic`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if connector.KindOf(err) != connector.KindConfig {
		t.Errorf("kind %s", connector.KindOf(err))
	}
	for _, tokenURL := range []string{"http://a.example", "ftp://a.example", "a.example/t", "", "https://", "https://a b/"} {
		c := good
		c.TokenURL = tokenURL
		if c.Validate() == nil {
			t.Errorf("%q is accepted", tokenURL)
		}
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the connection close only then
		<-r.Context().Done()
	})
	if _, err := c.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewBufferString(body)), Request: r,
	}
}
