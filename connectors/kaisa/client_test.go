package kaisa

import (
	"bytes"
	"crypto/md5" //nolint:gosec // HTTP Digest asks for it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

// Tokens that end after three requests, over a list of twenty pages: nothing is
// missing and nothing is asked twice apart from what was refused.
func TestALongListCrossesManyTokens(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.lives = 3
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		_, _ = fmt.Fprintf(w, `{"numpages":20,"customers":[{"customer_id":"%d"}]}`, page+1)
	}
	src := v.open(t, map[string]any{"page_size": 1})
	var usage connector.UsageRecorder
	var out recorder
	err := src.Pull(connector.WithUsage(t.Context(), &usage), connector.Request{Stream: "customers"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf(`{"customer_id":"%d"}`, i+1))
	}
	if diff := cmp.Diff(want, out.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	u := usage.Total()
	if u.TokensFetched != 7 || u.RenewedOn401 != 6 || u.Requests != 26 || u.Retries != 6 {
		t.Errorf("usage: %+v", u)
	}
}

// The credentials of old accounts sign each request and go nowhere else.
func TestDigestAccountsNeedNoToken(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = digestGuard("tag-1", secretCanary, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"customers":[{"customer_id":"1"}]}`)
	})
	settings := map[string]any{
		"auth": "digest", "username": "tag-1", "password": secretCanary,
		"client_id": nil, "client_secret": nil, "token_url": nil,
	}
	var out recorder
	if err := v.open(t, settings).Pull(t.Context(), connector.Request{Stream: "customers"}, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`{"customer_id":"1"}`}, out.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if requests := v.seen(); slices.ContainsFunc(requests, func(r string) bool { return strings.Contains(r, "token") }) {
		t.Errorf("a token was asked for: %q", requests)
	}

	_, err := v.open(t, settings).(connector.Tokener).Token(t.Context(), "")
	if !errors.Is(err, errors.ErrUnsupported) || connector.HintOf(err) == "" {
		t.Errorf("token of a digest account: %v", err)
	}

	settings["password"] = "wrong"
	err = v.open(t, settings).Pull(t.Context(), connector.Request{Stream: "customers"}, &out)
	if connector.KindOf(err) != connector.KindAuth {
		t.Errorf("wrong password: %v", err)
	}
}

// digestGuard lets requests through that answer its challenge (RFC 7616, MD5,
// qop auth).
func digestGuard(user, password string, next http.HandlerFunc) http.HandlerFunc {
	field := func(header, name string) string {
		m := regexp.MustCompile(`\b` + name + `="?([^",]*)"?`).FindStringSubmatch(header)
		if m == nil {
			return ""
		}
		return m[1]
	}
	sum := func(parts ...string) string {
		h := md5.Sum([]byte(strings.Join(parts, ":"))) //nolint:gosec // as above
		return hex.EncodeToString(h[:])
	}
	return func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		want := sum(sum(user, "kaisa", password), "nonce-1", field(auth, "nc"), field(auth, "cnonce"), "auth",
			sum(r.Method, r.URL.RequestURI()))
		if !strings.HasPrefix(auth, "Digest ") || field(auth, "response") != want {
			w.Header().Set("WWW-Authenticate", `Digest realm="kaisa", nonce="nonce-1", qop="auth", algorithm=MD5`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func TestCheckPings(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers["GET /2.4.9/miscellaneous/ping"] = []string{`{"ping":"ok"}`, `{"ping":"no"}`}
	checker := v.open(t, nil).(connector.Checker)
	findings, err := checker.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []connector.Finding{{Name: "ping", Detail: "ok from " + v.server.URL + "/2.4.9"}}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if _, err = checker.Check(t.Context()); connector.KindOf(err) != connector.KindBadResponse {
		t.Errorf("an answer that is not ok: %v", err)
	}
	v.answers["GET /2.4.9/miscellaneous/ping"] = []string{"404\n"}
	if _, err = checker.Check(t.Context()); !strings.Contains(connector.HintOf(err), "paths.ping") {
		t.Errorf("a path that does not exist: %v, hint %q", err, connector.HintOf(err))
	}
}

func TestTokenIsHandedOutWithWhereItGoes(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	tokener := v.open(t, nil).(connector.Tokener)
	for range 2 { // the second from memory
		token, err := tokener.Token(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if token.Value.Reveal() != tokenCanary+"1" || token.Type != "Bearer" || token.BaseURL != v.server.URL+"/2.4.9" {
			t.Errorf("token %s %s %s", token.Value.Reveal(), token.Type, token.BaseURL)
		}
		if lives := time.Until(token.ExpiresAt); lives > tokenLifetime || lives < tokenLifetime/2 {
			t.Errorf("it lives %s", lives)
		}
	}
}

func TestWrongCredentialsAreFinal(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	src := v.open(t, map[string]any{"client_secret": "wrong"})
	err := src.Pull(t.Context(), connector.Request{Stream: "customers"}, &recorder{})
	if connector.KindOf(err) != connector.KindAuth {
		t.Errorf("pull: %v", err)
	}
	if n := len(v.seen()); n != 1 {
		t.Errorf("%d requests: %q", n, v.seen())
	}
}

// The vendor's API sends us elsewhere: neither token nor secret follow.
func TestNothingSecretGoesToAnotherHost(t *testing.T) {
	t.Parallel()
	elsewhere := newVendor(t)
	elsewhere.handle = func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the other host with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.server.URL+"/2.4.9/customers", http.StatusFound)
	}
	err := v.open(t, nil).Pull(t.Context(), connector.Request{Stream: "customers"}, &recorder{})
	if err == nil {
		t.Error("the redirect was followed")
	}
}

// What is documented to have no pages of a size to choose, or not to have pages
// at all, is asked for page by page of 1000 all the same.
func TestListsOfUnknownPaging(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		pages []int // records of each page that the vendor has
		want  int   // requests
		fails bool
	}{
		{name: "fewer than 1000", pages: []int{999}, want: 1},
		{name: "more than 1000 at once", pages: []int{1500}, want: 1},
		{name: "pages of 1000", pages: []int{1000, 1000, 1}, want: 3},
		{name: "exactly 1000, then nothing", pages: []int{1000}, want: 2},
		{name: "exactly 1000 for ever", pages: nil, want: 2, fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			v.handle = func(w http.ResponseWriter, r *http.Request) {
				page, _ := strconv.Atoi(r.URL.Query().Get("page"))
				n, first := 0, page*1000
				switch {
				case tc.pages == nil:
					n, first = 1000, 0
				case page < len(tc.pages):
					n = tc.pages[page]
				}
				rows := make([]string, n)
				for i := range rows {
					rows[i] = fmt.Sprintf(`{"user_id":%d}`, first+i)
				}
				_, _ = fmt.Fprintf(w, `{"users":[%s]}`, strings.Join(rows, ","))
			}
			var out recorder
			err := v.open(t, nil).Pull(t.Context(), connector.Request{Stream: "users"}, &out)
			if tc.fails != (connector.KindOf(err) == connector.KindBadResponse) || !tc.fails && err != nil {
				t.Errorf("error %v", err)
			}
			if got := len(v.seen()) - 1; got != tc.want {
				t.Errorf("%d requests, want %d", got, tc.want)
			}
			sum := 0
			for _, n := range tc.pages {
				sum += n
			}
			if !tc.fails && len(out.records) != sum {
				t.Errorf("%d records, want %d", len(out.records), sum)
			}
		})
	}
}

func TestTheLastPageIsKnown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		body          string
		page, records int
		want          bool
	}{
		{`{"numpages":2}`, 0, 1, false},
		{`{"numpages":2}`, 1, 1000, true},
		{`{"numpages":"2"}`, 1, 1000, true},
		{`{"numpages":0}`, 0, 0, true},
		{`{"numpages":0}`, 0, 1000, false}, // a count of none beside records says nothing
		{`{"numpages":-1}`, 0, 1000, false},
		{`{"numpages":"many"}`, 0, 999, true},
		{`{"pagesize":"10"}`, 0, 10, false},
		{`{"pagesize":10}`, 0, 9, true},
		{`{"pagesize":0}`, 0, 999, true},
		{`{}`, 3, 0, true},
		{`[]`, 0, 1000, false},
	} {
		got, err := readPageInfo([]byte(tc.body)).last(tc.page, tc.records, 1000, numbered)
		if err != nil || got != tc.want {
			t.Errorf("%s page %d with %d records: last %t, error %v", tc.body, tc.page, tc.records, got, err)
		}
	}
}

func TestVendorErrorsAreToldShortly(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"errors":["one","two"]}`:                             "one; two",
		`{"errors":"one"}`:                                     "one",
		`{"errors":{"message":"one"}}`:                         "one",
		`{"errors":[{"code":17,"message":"No such version"}]}`: "17 No such version",
		`{"errors":[{"detail":"x"}]}`:                          wordless,
		`{"errors":[["x"]]}`:                                   wordless,
		`{"errors":["a\u0000b\u001b[31m\n c"]}`:                "a b [31m c",
		`{"errors":[]}`:                                        "",
		`{"errors":[""]}`:                                      "",
		`{"errors":null}`:                                      "",
		`{"customers":[{"errors":"not mine"}]}`:                "",
		`errors`:                                               "",
		`{"errors":["` + strings.Repeat("æ", 300) + `"]}`:      strings.Repeat("æ", 200) + "...",
	} {
		if got := vendorErrors([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func FuzzVendorErrors(f *testing.F) {
	for _, body := range []string{`{"errors":["one"]}`, `{"errors":[{"message":"x"}]}`, `{"errors":{}}`, `{"errors":[[]]}`, `errors`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said := vendorErrors(body)
		if len([]rune(said)) > 203 || strings.ContainsAny(said, "\n\r\x00\x1b") {
			t.Errorf("%q is no short line", said)
		}
	})
}

// FuzzEnvelope: whatever comes, there is either an error with a kind or records
// that stand in the answer, byte for byte.
func FuzzEnvelope(f *testing.F) {
	for _, body := range []string{
		`{"customers":[{"customer_id":"1"}],"total":1}`, `{"rows":[1,"a",null]}`, `{"a":[],"b":[]}`, `{"customers":{}}`,
		`{}`, `[]`, ``, `{"errors":[1]}`, `{"customers":[],"customers":[{}]}`, "{\"cust\\u006fmers\": [ {} ]}",
	} {
		f.Add([]byte(body), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, fixed bool) {
		records, err := envelope(body, "customers", fixed)
		if err != nil {
			if connector.KindOf(err) != connector.KindBadResponse {
				t.Errorf("%q: %v is of kind %s", body, err, connector.KindOf(err))
			}
			return
		}
		for _, raw := range records {
			if !json.Valid(raw) || !bytes.Contains(body, raw) {
				t.Errorf("%q: record %q", body, raw)
			}
		}
	})
}
