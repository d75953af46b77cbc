package auth_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A digestServer demands HTTP Digest as RFC 7616 section 3.4 computes it. A nonce
// serves for so many requests, and no count of it twice.
type digestServer struct {
	algorithm string
	uses      int
	noQOP     bool

	mu         sync.Mutex
	nonce      int
	seen       map[string]bool
	challenges int
	answered   []string
}

var digestField = regexp.MustCompile(`(\w+)="?([^",]*)"?`)

func (s *digestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := map[string]string{}
	for _, m := range digestField.FindAllStringSubmatch(strings.TrimPrefix(r.Header.Get("Authorization"), "Digest "), -1) {
		given[m[1]] = m[2]
	}
	nonce := fmt.Sprintf("nonce-%d", s.nonce)
	fresh := given["nonce"] == nonce && len(s.seen) < s.uses
	ha1, ha2 := s.hash("tag", "realm", "pass"), s.hash(r.Method, r.URL.RequestURI())
	want := s.hash(ha1, nonce, given["nc"], given["cnonce"], "auth", ha2)
	if s.noQOP {
		want = s.hash(ha1, nonce, ha2)
	}
	if !fresh || given["response"] != want || (!s.noQOP && s.seen[given["nc"]]) {
		s.challenges++
		s.nonce++
		s.seen = map[string]bool{}
		challenge := fmt.Sprintf(`Digest realm="realm", nonce="nonce-%d", algorithm=%s, stale=%t`, s.nonce, s.algorithm, !fresh && given["nonce"] != "")
		if !s.noQOP {
			challenge += `, qop="auth"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.seen[given["nc"]] = true
	s.answered = append(s.answered, r.URL.RequestURI())
	_, _ = io.WriteString(w, `{"ping":"ok"}`)
}

func (s *digestServer) hash(parts ...string) string {
	h := map[string]func() hash.Hash{"MD5": md5.New, "SHA-256": sha256.New}[s.algorithm]()
	_, _ = io.WriteString(h, strings.Join(parts, ":"))
	return hex.EncodeToString(h.Sum(nil))
}

func digestClient(t *testing.T, s http.Handler, password string) *rest.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := rest.New(rest.Options{
		BaseURL: server.URL + "/2.4.9", Auth: auth.NewDigest("tag", connector.NewSecret(password)), Transport: transport, Concurrency: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestDigestAnswersTheChallengeAndKeepsIt(t *testing.T) {
	t.Parallel()
	for _, s := range []*digestServer{
		{algorithm: "MD5", uses: 100}, {algorithm: "SHA-256", uses: 100}, {algorithm: "MD5", uses: 100, noQOP: true},
	} {
		client := digestClient(t, s, "pass")
		var want []string
		for i := range 5 {
			if _, err := client.Get(t.Context(), fmt.Sprintf("customers/%d?page=0", i), nil); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("/2.4.9/customers/%d?page=0", i))
		}
		if diff := cmp.Diff(want, s.answered); diff != "" {
			t.Error(diff)
		}
		if s.challenges != 1 {
			t.Errorf("%d challenges, want 1", s.challenges)
		}
	}
}

func TestDigestSurvivesANonceThatEnds(t *testing.T) {
	t.Parallel()
	s := &digestServer{algorithm: "MD5", uses: 2}
	client := digestClient(t, s, "pass")
	for range 6 {
		if _, err := client.Get(t.Context(), "customers", nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.challenges != 3 {
		t.Errorf("%d challenges, want 3", s.challenges)
	}
}

func TestDigestServesConcurrentRequests(t *testing.T) {
	t.Parallel()
	s := &digestServer{algorithm: "MD5", uses: 1000}
	client := digestClient(t, s, "pass")
	if _, err := client.Get(t.Context(), "customers", nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := client.Get(t.Context(), "customers", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.challenges != 1 {
		t.Errorf("%d challenges, want 1: a count was used twice", s.challenges)
	}
}

func TestDigestWithAWrongPasswordIsAnAuthError(t *testing.T) {
	t.Parallel()
	s := &digestServer{algorithm: "MD5", uses: 100}
	_, err := digestClient(t, s, "passCANARY").Get(t.Context(), "customers", nil)
	if connector.KindOf(err) != connector.KindAuth || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v", err)
	}
	if s.challenges != 2 {
		t.Errorf("%d requests, want 2", s.challenges)
	}
}

func TestDigestWithoutAChallengeIsAnAuthError(t *testing.T) {
	t.Parallel()
	_, err := digestClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="api"`)
		w.WriteHeader(http.StatusUnauthorized)
	}), "pass").Get(t.Context(), "customers", nil)
	if connector.KindOf(err) != connector.KindAuth || connector.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}
