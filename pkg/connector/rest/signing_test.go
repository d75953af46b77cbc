package rest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// tokens hands out token-1, token-2, ... with the base URL of that moment.
type tokens struct {
	issued atomic.Int32
	base   atomic.Value
}

func (t *tokens) fetch(context.Context) (connector.Token, error) {
	base, _ := t.base.Load().(string)
	return connector.Token{
		Value: connector.NewSecret(fmt.Sprintf("token-%d", t.issued.Add(1))), Type: "Bearer",
		ExpiresAt: time.Now().Add(time.Hour), BaseURL: base,
	}, nil
}

func TestTokenThatEndsInTheMiddleIsRenewedOnceForAll(t *testing.T) {
	t.Parallel()
	var source tokens
	var valid atomic.Value
	valid.Store("Bearer token-1")
	const callers = 16
	var rejected sync.WaitGroup // until all callers have been answered 401
	rejected.Add(callers)
	var requests atomic.Int32
	client, _ := serve(t, rest.Options{Auth: auth.NewCache(source.fetch, auth.Policy{}), Concurrency: callers},
		func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			signed := r.Header.Get("Authorization")
			if signed == valid.Load() {
				_, _ = io.WriteString(w, "{}")
				return
			}
			if signed == "Bearer token-1" {
				rejected.Done()
				rejected.Wait()
			}
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"errorMessage":"Auth token is expired.","errorCode":"JWT_EXPIRED"}`)
		})
	var usage connector.UsageRecorder
	ctx := connector.WithUsage(t.Context(), &usage)
	if _, err := client.Get(ctx, "customers", nil); err != nil {
		t.Fatal(err)
	}
	valid.Store("Bearer token-2")
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := client.Get(ctx, "customers", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := source.issued.Load(); got != 2 {
		t.Errorf("%d tokens fetched, want 2", got)
	}
	got := usage.Total()
	if got.RenewedOn401 != 1 || got.Requests != 1+2*callers || got.Retries != callers || int32(got.Requests) != requests.Load() {
		t.Errorf("usage %+v", got)
	}
}

func TestRefusalOfARenewedTokenIsFinal(t *testing.T) {
	t.Parallel()
	var source tokens
	client, server := serve(t, rest.Options{Auth: auth.NewCache(source.fetch, auth.Policy{})}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no JSON at all")
	})
	var usage connector.UsageRecorder
	_, err := client.Do(connector.WithUsage(t.Context(), &usage), rest.Request{Path: "customers", Op: "customers page 0"})
	wantKind(t, err, connector.KindAuth)
	want := "customers page 0: 401 Unauthorized from " + strings.TrimPrefix(server.URL, "http://")
	if err.Error() != want || !strings.Contains(connector.HintOf(err), "renewed") {
		t.Errorf("got %q (%s), want %q", err, connector.HintOf(err), want)
	}
	if got := usage.Total(); got.Requests != 2 || got.Retries != 1 || got.RenewedOn401 != 1 {
		t.Errorf("usage %+v", got)
	}
}

func TestFailedRenewalIsTheErrorOfTheRequest(t *testing.T) {
	t.Parallel()
	fetches := 0
	cache := auth.NewCache(func(context.Context) (connector.Token, error) {
		if fetches++; fetches > 1 {
			return connector.Token{}, &connector.Error{Kind: connector.KindAuth, Op: "fetch token", Err: fmt.Errorf("401"), Hint: "revoked?"}
		}
		return connector.Token{Value: connector.NewSecret("a")}, nil
	}, auth.Policy{})
	client, _ := serve(t, rest.Options{Auth: cache}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err := client.Get(t.Context(), "customers", nil)
	wantKind(t, err, connector.KindAuth)
	if err.Error() != "GET customers: fetch token: 401" || connector.HintOf(err) != "revoked?" {
		t.Errorf("got %q (%s)", err, connector.HintOf(err))
	}
}

func TestVendorCanSayThatA401IsFinal(t *testing.T) {
	t.Parallel()
	var source tokens
	client, _ := serve(t, rest.Options{
		Auth: auth.NewCache(source.fetch, auth.Policy{}),
		Classify: func(r *rest.Response) error {
			if strings.Contains(string(r.Body), "unauthorized_client") {
				return &connector.Error{Kind: connector.KindAuth, Err: fmt.Errorf("the account is closed")}
			}
			return nil
		},
	}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"code":"unauthorized_client"}}`)
	})
	_, err := client.Get(t.Context(), "customers", nil)
	wantKind(t, err, connector.KindAuth)
	if source.issued.Load() != 1 {
		t.Errorf("%d tokens fetched, want 1", source.issued.Load())
	}
}

func TestBaseURLFollowsTheToken(t *testing.T) {
	t.Parallel()
	var source tokens
	cache := auth.NewCache(source.fetch, auth.Policy{})
	seen := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path + " " + r.Header.Get("Authorization")
		if r.Header.Get("Authorization") == "Bearer token-1" {
			source.base.Store("http://" + r.Host + "/cloud-b")
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	source.base.Store(server.URL + "/cloud-a/")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := newClient(t, rest.Options{BaseURLFrom: cache.BaseURL, Auth: cache, Transport: transport})
	resp, err := client.Get(t.Context(), "/v1/projects", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.URL != server.URL+"/cloud-b/v1/projects" {
		t.Errorf("answered by %s", resp.URL)
	}
	for _, want := range []string{"/cloud-a/v1/projects Bearer token-1", "/cloud-b/v1/projects Bearer token-2"} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBaseURLOfATokenMustBeSecure(t *testing.T) {
	t.Parallel()
	var source tokens
	source.base.Store("http://api.example.com")
	cache := auth.NewCache(source.fetch, auth.Policy{})
	client := newClient(t, rest.Options{BaseURLFrom: cache.BaseURL, Auth: cache, Transport: roundTrip(
		func(r *http.Request) (*http.Response, error) {
			t.Error("the token left in the clear")
			return reply(r, 200, "{}"), nil
		},
	)})
	_, err := client.Get(t.Context(), "x", nil)
	wantKind(t, err, connector.KindConfig)
}

// elsewhere is another host than the vendor's; signed says whether it saw a
// token.
func elsewhere(t *testing.T) (server *httptest.Server, hits *atomic.Int32, signed *atomic.Bool) {
	t.Helper()
	hits, signed = new(atomic.Int32), new(atomic.Bool)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		signed.Store(r.Header.Get("Authorization") == "Bearer token-1")
		_, _ = io.WriteString(w, `{"from":"elsewhere"}`)
	}))
	t.Cleanup(server.Close)
	return server, hits, signed
}

func TestTokenStaysOnAllowedHosts(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		foreign, hits, _ := elsewhere(t)
		var source tokens
		client, _ := serve(t, rest.Options{Auth: auth.NewCache(source.fetch, auth.Policy{})}, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, foreign.URL+"/?echo=CANARY", status)
		})
		_, err := client.Get(t.Context(), "customers", nil)
		wantKind(t, err, connector.KindBadResponse)
		if hits.Load() != 0 || !strings.Contains(err.Error(), "where credentials are not sent") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d: %d hits, %v", status, hits.Load(), err)
		}
	}
	foreign, hits, _ := elsewhere(t)
	client, _ := serve(t, rest.Options{}, http.NotFound)
	_, err := client.Get(t.Context(), foreign.URL+"/customers", nil)
	wantKind(t, err, connector.KindBadResponse)
	if hits.Load() != 0 {
		t.Error("an absolute link was followed to a foreign host")
	}
}

func TestRedirectsWithinTheListAreFollowedAndSigned(t *testing.T) {
	t.Parallel()
	friend, hits, signed := elsewhere(t)
	var source tokens
	client, server := serve(t, rest.Options{
		Auth: auth.NewCache(source.fetch, auth.Policy{}), Hosts: []string{strings.TrimPrefix(friend.URL, "http://")},
	}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/2.4.9/old":
			http.Redirect(w, r, "new?page=1", http.StatusFound)
		case "/api/2.4.9/new":
			_, _ = fmt.Fprintf(w, `{"query":%q,"signed":%t}`, r.URL.RawQuery, r.Header.Get("Authorization") == "Bearer token-1")
		case "/api/2.4.9/moved":
			http.Redirect(w, r, friend.URL+"/there", http.StatusPermanentRedirect)
		case "/api/2.4.9/loop":
			http.Redirect(w, r, "loop", http.StatusFound)
		}
	})
	var usage connector.UsageRecorder
	resp, err := client.Get(connector.WithUsage(t.Context(), &usage), "old", nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(resp.Body) != `{"query":"page=1","signed":true}` || resp.URL != server.URL+"/api/2.4.9/new" {
		t.Errorf("got %s from %s", resp.Body, resp.URL)
	}
	if got := usage.Total(); got.Requests != 2 || got.Retries != 0 {
		t.Errorf("usage %+v", got)
	}
	for _, request := range []rest.Request{{Path: "moved"}, {Path: friend.URL + "/there"}, {Path: "moved", Method: "POST", ReadOnly: true}} {
		hits.Store(0)
		if _, err := client.Do(t.Context(), request); err != nil || hits.Load() != 1 || !signed.Load() {
			t.Errorf("%+v: %d hits, signed %t: %v", request, hits.Load(), signed.Load(), err)
		}
	}
	for _, request := range []rest.Request{{Path: "loop"}, {Path: "moved", Method: "POST"}, {Path: "old", Method: "POST", ReadOnly: true}} {
		_, err := client.Do(t.Context(), request)
		wantKind(t, err, connector.KindBadResponse)
	}
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	client := newClient(t, rest.Options{
		BaseURL: "https://api.example.com/v1", Hosts: []string{"files.example.net", "127.0.0.1:99"}, AllowSubdomainsOf: []string{".example.org"},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return reply(r, 200, "{}"), nil }),
	})
	for link, good := range map[string]bool{
		"https://api.example.com/v9":        true,
		"https://API.example.com.:443/v9":   true,
		"https://files.example.net/a?b=c":   true,
		"https://example.org/":              true,
		"https://a.b.example.org/":          true,
		"http://127.0.0.1:99/x":             true,
		"https://api.example.com:444/":      false,
		"http://api.example.com/":           false,
		"https://u@api.example.com/":        false,
		"https://badexample.org/":           false,
		"https://a.example.org:8443/":       false,
		"https://api.example.com.evil.net/": false,
		"http://127.0.0.1:98/x":             false,
		"https://evil.net#api.example.com":  false,
	} {
		if _, err := client.Get(t.Context(), link, nil); (err == nil) != good {
			t.Errorf("%s: good is %t: %v", link, err == nil, err)
		}
	}
}

// A token that is renewed between the question for its base URL and the signature
// may belong to another base URL: the request goes there.
func TestRequestsGoWhereTheirTokenBelongs(t *testing.T) {
	t.Parallel()
	renewing := &renewedWhileSigning{}
	var went []string
	client := newClient(t, rest.Options{
		Auth: renewing,
		BaseURLFrom: func(context.Context) (string, error) {
			return fmt.Sprintf("https://cloud-%d.example.com", renewing.token), nil
		},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			went = append(went, r.Header.Get("Authorization")+" to "+r.URL.Host)
			return reply(r, http.StatusOK, "{}"), nil
		}),
	})
	if _, err := client.Get(t.Context(), "customers", nil); err != nil {
		t.Fatal(err)
	}
	if len(went) != 1 || went[0] != "Bearer token-1 to cloud-1.example.com" {
		t.Errorf("requests: %q", went)
	}
}

// renewedWhileSigning has its token end when the first request is signed.
type renewedWhileSigning struct{ token int }

func (a *renewedWhileSigning) Authorize(req *http.Request) error {
	a.token = 1
	req.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d", a.token))
	return nil
}

func (a *renewedWhileSigning) Rejected(context.Context, *http.Response) (bool, error) {
	return false, nil
}
