package fospha

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

var asOf = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)

func newAPI(t *testing.T, o Options) *API {
	t.Helper()
	world := &sim.World{
		Seed: 1, Size: 24, Volume: 1, Origin: asOf, Begin: asOf.AddDate(0, 0, -30).Truncate(24 * time.Hour),
		Now: func() time.Time { return asOf },
	}
	world.SetAsOf(asOf)
	return New(world, o)
}

func serve(t testing.TB, a *API, path string, header http.Header, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	a.Serve(w, r, sim.Twist{})
	return w
}

func askToken(t testing.TB, a *API, path string, change func(url.Values)) *httptest.ResponseRecorder {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.opts.ClientID}, "client_secret": {a.opts.ClientSecret}, "scope": {scope},
	}
	change(form)
	return serve(t, a, path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
}

func tokenOf(t *testing.T, a *API, path string) string {
	t.Helper()
	var answer struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	w := askToken(t, a, path, func(url.Values) {})
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Token == "" || answer.Expires != 3600 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer.Token
}

func (a *API) query(t testing.TB, token, query string, variables map[string]any) *httptest.ResponseRecorder {
	body, _ := json.Marshal(map[string]any{"query": query, "variables": variables})
	return serve(t, a, "/uk/graphql", http.Header{"Authorization": {"Bearer " + token}}, string(body))
}

func TestTokenRequestsAreCheckedAsTheGuideSays(t *testing.T) {
	t.Parallel()
	a := newAPI(t, Options{})
	for want, change := range map[string]func(url.Values){
		`{"error":"invalid_client"}`:         func(f url.Values) { f.Set("client_secret", "x") },
		`{"error":"invalid_scope"}`:          func(f url.Values) { f.Set("scope", "all") },
		`{"error":"unsupported_grant_type"}`: func(f url.Values) { f.Set("grant_type", "password") },
		`{"error":"invalid_request"}`:        func(f url.Values) { f.Del("scope") },
	} {
		w := askToken(t, a, "/oauth2/token", change)
		if w.Code != http.StatusBadRequest || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("want %s, got %d %s", want, w.Code, w.Body)
		}
	}
	w := serve(t, a, "/oauth2/token", http.Header{"Content-Type": {"application/json"}}, `{"grant_type":"client_credentials"}`)
	if w.Code != http.StatusBadRequest {
		t.Errorf("JSON in place of a form: %d", w.Code)
	}
}

func TestTokensAreOfARegionAndEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t, Options{})
	uk, us := tokenOf(t, a, "/oauth2/token"), tokenOf(t, a, "/us/oauth2/token")
	if w := a.query(t, uk, "{__typename}", nil); w.Code != 200 || w.Body.String() != `{"data":{"__typename":"Query"}}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := a.query(t, us, "{__typename}", nil); w.Code != http.StatusUnauthorized {
		t.Errorf("a token of the us in the uk: %d", w.Code)
	}
	a.world.Now = func() time.Time { return asOf.Add(time.Hour) }
	late := New(a.world, Options{TokenLifetime: 5 * time.Second})
	token := late.tokens.Issue(-time.Second)
	if w := late.query(t, token, "{__typename}", nil); w.Code != http.StatusUnauthorized {
		t.Errorf("a token that has ended: %d", w.Code)
	}
}

func TestQueriesAreCheckedAgainstTheSchema(t *testing.T) {
	t.Parallel()
	a := newAPI(t, Options{Forbidden: []string{"CLOSED"}})
	token := tokenOf(t, a, "/oauth2/token")
	performance := func(args, fields string) string { return "{performance(" + args + "){" + fields + "}}" }
	const good = `clientId:"SANDBOX_BRAND_A",dateFrom:"2026-03-09",dateTo:"2026-03-09"`
	for _, tc := range []struct {
		query  string
		status int
		want   string
	}{
		{performance(good, "metadata{totalRows}"), 200, `"totalRows":`},
		{performance(good, "rows{cost revenues}"), 400, `Cannot query field \"revenues\" on type \"PerformanceRow\".`},
		{performance(good, "rows"), 400, `must have a selection`},
		{performance(good, "metadata{totalRows{x}}"), 400, `must not have a selection`},
		{performance(good+`,model:"x"`, "metadata{totalRows}"), 400, `Unknown argument \"model\"`},
		{performance(`clientId:"SANDBOX_BRAND_A"`, "metadata{totalRows}"), 400, `Argument \"dateFrom\"`},
		{performance(`clientId:$c`+good[len(`clientId:"SANDBOX_BRAND_A"`):], "metadata{totalRows}"), 400, `Variable \"$c\" is not defined.`},
		{performance(strings.Replace(good, "SANDBOX_BRAND_A", "CLOSED", 1), "metadata{totalRows}"), 403, `Not authorised for brand`},
		{performance(strings.Replace(good, "SANDBOX_BRAND_A", "OTHER", 1), "metadata{totalRows}"), 403, `FORBIDDEN`},
		{performance(strings.Replace(good, "2026-03-09", "yesterday", 1), "metadata{totalRows}"), 400, `BAD_USER_INPUT`},
		{performance(good+`,limit:-1`, "metadata{totalRows}"), 400, `BAD_USER_INPUT`},
		{"{performance", 400, "Syntax Error"},
		{"mutation {x}", 400, "Syntax Error"},
		{"{...F}", 400, "no fragments"},
		{strings.Repeat("{a", 100), 400, "nested too deep"},
	} {
		w := a.query(t, token, tc.query, nil)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%.80s: %d %s", tc.query, w.Code, w.Body)
		}
	}
}

func TestPagesOfEveryWayHoldTheSameRows(t *testing.T) {
	t.Parallel()
	var want []string
	for _, paging := range []string{pagingNone, pagingOffset, pagingPage, pagingCursor, pagingToken} {
		a := newAPI(t, Options{Paging: paging, MaxPage: 4})
		token := tokenOf(t, a, "/oauth2/token")
		var got []string
		args, more := "", true
		for n := 1; more && n < 100; n++ {
			list, inner := "rows{date campaign revenue}", "metadata{totalRows}"
			switch paging {
			case pagingOffset:
				args = fmt.Sprintf(",offset:%d", len(got))
			case pagingPage:
				args = fmt.Sprintf(",page:%d", n)
			case pagingCursor:
				list, inner = "edges{node{date campaign revenue}}", "pageInfo{hasNextPage endCursor}"
			case pagingToken:
				inner = "nextToken"
			}
			w := a.query(t, token, `{performance(clientId:"SANDBOX_BRAND_A",dateFrom:"2026-03-08",dateTo:"2026-03-10"`+args+`){`+list+" "+inner+`}}`, nil)
			var answer struct {
				Data struct {
					Performance struct {
						Rows  []json.RawMessage
						Edges []struct{ Node json.RawMessage }
						Info  struct {
							HasNextPage bool
							EndCursor   string
						} `json:"pageInfo"`
						NextToken string
						Metadata  struct{ TotalRows int }
					}
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s", paging, w.Code, w.Body)
			}
			p := answer.Data.Performance
			for _, row := range p.Rows {
				got = append(got, string(row))
			}
			for _, edge := range p.Edges {
				got = append(got, string(edge.Node))
			}
			switch paging {
			case pagingCursor:
				more, args = p.Info.HasNextPage, fmt.Sprintf(",after:%q", p.Info.EndCursor)
			case pagingToken:
				more, args = p.NextToken != "", fmt.Sprintf(",nextToken:%q", p.NextToken)
			default:
				more = len(got) < p.Metadata.TotalRows
			}
		}
		if paging == pagingNone {
			want = got
		}
		if len(got) < 8 {
			t.Errorf("%s: %d rows are no test", paging, len(got))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", paging, diff)
		}
	}
}

func TestDaysAreRestatedUntilTheySettle(t *testing.T) {
	t.Parallel()
	a := newAPI(t, Options{})
	day := asOf.AddDate(0, 0, -1).Truncate(24 * time.Hour)
	at := func(age int) map[string]string {
		a.world.SetAsOf(day.AddDate(0, 0, age).Add(12 * time.Hour))
		rows := map[string]string{}
		for record := range a.Truth("performance_daily", day, day.AddDate(0, 0, 1)) {
			key := fmt.Sprint(record["fospha_client_id"], record["market"], record["channel_group"], record["source"], record["campaign"])
			if _, twice := rows[key]; twice {
				t.Errorf("key %s twice", key)
			}
			rows[key] = fmt.Sprint(record["conversions"], record["cost"])
		}
		return rows
	}
	if len(at(0)) != 0 {
		t.Error("a day has rows before it has ended")
	}
	first, moved := at(1), at(mappedAfter)
	gone := 0
	for key := range first {
		if _, ok := moved[key]; !ok {
			gone++
		}
	}
	if len(first) == 0 || gone == 0 || len(first) != len(moved) {
		t.Errorf("%d rows, of which %d have moved, to %d", len(first), gone, len(moved))
	}
	if cmp.Diff(at(settledAfter-1), at(settledAfter)) == "" {
		t.Error("nothing changes in the last days of the lookback")
	}
	if diff := cmp.Diff(at(settledAfter), at(60)); diff != "" {
		t.Errorf("a settled day changes:\n%s", diff)
	}
}

func TestIntrospectionCanBeRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t, Options{NoIntrospection: true})
	token := tokenOf(t, a, "/oauth2/token")
	if w := a.query(t, token, "{__schema{queryType{name}}}", nil); w.Code != 400 || !strings.Contains(w.Body.String(), "not allowed") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := a.query(t, token, "{__typename}", nil); w.Code != 200 {
		t.Errorf("__typename: %d", w.Code)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"{a}", "query Q($a: [Int!]! = [1, 2], $b: F = {x: $a y: null}) { f: g(a: $a, b: -1.5e3, c: \"x\\u00e9\", d: true) { h } }",
		"{a #c\n}", "{{", "query(", "{a(b:\"", "\xff", "{a @include(if: true)}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseQuery(text)
		if err != nil {
			return
		}
		for _, op := range all {
			if len(op.fields) == 0 {
				t.Errorf("%q: an operation without fields", text)
			}
		}
	})
}

func FuzzGraphQLNeverAnswersAnythingButJSON(f *testing.F) {
	f.Add([]byte(`{"query":"{performance(clientId:\"SANDBOX_BRAND_A\",dateFrom:\"2026-03-09\",dateTo:\"2026-03-10\"){rows{a:date __typename}}}"}`))
	f.Add([]byte(`{"query":"{__type(name:\"QueryMetadata\"){fields{name type{ofType{name}}}}}"}`))
	f.Add([]byte(`{"query":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := newAPI(t, Options{})
		token := tokenOf(t, a, "/oauth2/token")
		w := serve(t, a, "/uk/graphql", http.Header{"Authorization": {"Bearer " + token}}, string(body))
		if !json.Valid(bytes.TrimSpace(w.Body.Bytes())) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
