package fospha

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fospha"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
)

func TestALongListCrossesManyTokens(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.lives = 3
	v.handle = func(w http.ResponseWriter, r *http.Request, ask ask) {
		if offset, _ := ask.Variables["offset"].(float64); offset >= 2000 {
			_, _ = io.WriteString(w, `{"data":{"performance":{"rows":[],"metadata":{"totalRows":2000}}}}`)
			return
		}
		endless(w, r, ask)
	}
	src := v.open(t, map[string]any{"streams": []any{map[string]any{
		"name": "performance_daily", "preset": "performance_daily", "paging": map[string]any{"by": "offset", "size": 100},
	}}})
	var out recorder
	var usage connector.UsageRecorder
	err := src.Pull(connector.WithUsage(t.Context(), &usage), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-02")}, &out)
	if err != nil || len(out.records) != 2000 {
		t.Fatalf("%d records, %v", len(out.records), err)
	}
	if got := usage.Total(); got.RenewedOn401 != 6 { // 21 pages, 3 a token
		t.Errorf("%d renewals in %d requests", got.RenewedOn401, got.Requests)
	}
}

func TestARateLimitIsWaitedForEvenByARangeOfDays(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers = []string{
		`{"data":null,"errors":[{"message":"Rate limit exceeded"}]}`,
		`{"data":{"performance":{"rows":[],"metadata":{"totalRows":0}}}}`,
	}
	src := v.open(t, nil)
	err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-08")}, &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	seen := v.seen()
	if len(seen) != 3 || seen[1] != seen[2] {
		t.Errorf("want the same range asked for again: %v", seen)
	}
}

func TestTokenIsHandedOutWithWhereItGoes(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	token, err := v.open(t, nil).(connector.Tokener).Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if token.Value.Reveal() != tokenCanary+"1" || token.Type != "Bearer" || token.BaseURL != v.server.URL+"/uk/graphql" {
		t.Errorf("token %q of type %s for %s", token.Value.Reveal(), token.Type, token.BaseURL)
	}
}

func TestNothingSecretGoesToAnotherHost(t *testing.T) {
	t.Parallel()
	elsewhere := newVendor(t)
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, _ *http.Request, _ ask) {
		w.Header().Set("Location", elsewhere.server.URL+"/graphql")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	src := v.open(t, nil)
	for _, until := range []string{"2025-01-02", "2025-01-03"} {
		err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", until)}, &recorder{})
		if err == nil {
			t.Error("a redirect to another host was followed")
		}
		noCanary(t, err.Error())
	}
	if seen := elsewhere.seen(); len(seen) > 0 {
		t.Errorf("another host was asked: %v", seen)
	}
}

func TestCheckWalksTheSchema(t *testing.T) {
	t.Parallel()
	config := sandboxtest.Start(t, "fospha", world(sandbox.Options{}), nil).Config
	src, err := openWith(t, config)
	if err != nil {
		t.Fatal(err)
	}
	var usage connector.UsageRecorder
	found, err := src.(connector.Checker).Check(connector.WithUsage(t.Context(), &usage))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Name+": "+f.Detail)
	}
	want := []string{
		"graphql: Query answers from " + src.(*source).api.url,
		"introspection: allowed: Query has performance, version",
		"metadata: QueryMetadata has totalRows Int!",
		"headers: limits and requests are told in X-Request-Id",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := usage.Total(); got.Requests != 3 {
		t.Errorf("%d requests", got.Requests)
	}
}

func TestCheckFailsWhereItCannotLook(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers []string
		kind    connector.Kind
		found   int
	}{
		"no GraphQL":        {[]string{`{"hello":"world"}`}, connector.KindBadResponse, 0},
		"not found":         {[]string{"404\n"}, connector.KindBadResponse, 0},
		"no permission":     {[]string{"403\n"}, connector.KindForbidden, 0},
		"no token":          {[]string{"401\n", "401\n"}, connector.KindAuth, 0},
		"token lost midway": {[]string{`{"data":{"__typename":"Query"}}`, "401\n", "401\n"}, connector.KindAuth, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			v.answers = tc.answers
			found, err := v.open(t, nil).(connector.Checker).Check(t.Context())
			if connector.KindOf(err) != tc.kind || len(found) != tc.found {
				t.Errorf("%d findings, %v of kind %s", len(found), err, connector.KindOf(err))
			}
		})
	}
}

func TestIntrospectionMayBeRefusedInAnyWay(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{
		"400\n" + `{"errors":[{"message":"introspection is not allowed","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`,
		`{"data":null,"errors":[{"message":"introspection is disabled"}]}`,
		"403\n", `{"data":{"__schema":null}}`,
	} {
		v := newVendor(t)
		v.answers = []string{`{"data":{"__typename":"Query"}}`, refusal}
		found, err := v.open(t, nil).(connector.Checker).Check(t.Context())
		if err != nil || len(found) != 4 || !strings.HasPrefix(found[1].Detail, "refused") || found[3].Name != "streams" {
			t.Errorf("%s: %+v, %v", refusal, found, err)
		}
	}
}

func TestTheKindOfErrorsFollowsCodeAndWords(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code, message string
		want          meaning
	}{
		{"", "", meansOther},
		{"INTERNAL_SERVER_ERROR", "boom", meansOther},
		{"FORBIDDEN", "Not authorised for brand", meansForbidden},
		{"", "Not authorised for brand", meansUnauthorized},
		{"Unauthorized", "Not Authorized to access performance on type Query", meansUnauthorized},
		{"UNAUTHENTICATED", "", meansUnauthenticated},
		{"UnauthorizedException", "Token has expired.", meansUnauthorized},
		{"", "Token has expired.", meansUnauthenticated},
		{"401", "", meansUnauthenticated},
		{"TOO_MANY_REQUESTS", "", meansRateLimited},
		{"rate-limited", "slow down", meansOther},
		{"RATE_LIMITED", "slow down", meansRateLimited},
		{"", "API rate limit exceeded", meansRateLimited},
		{"", "Query timed out", meansTooMuch},
		{"", "response too large", meansTooMuch},
		{"GRAPHQL_VALIDATION_FAILED", `Unknown argument "permission"`, meansOther},
		{"", `Cannot query field "token expired"`, meansOther},
		{"BAD_USER_INPUT", "limit must not exceed the quota", meansOther},
	} {
		got := meaningOf(tc.code, tc.message)
		if tc.code == "rate-limited" {
			tc.want = meansRateLimited // "-" counts as "_"
		}
		if got != tc.want {
			t.Errorf("%q %q: %d, want %d", tc.code, tc.message, got, tc.want)
		}
	}
}

func TestWhatTheVendorSaysIsToldShortlyAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	src := v.open(t, nil).(*source)
	for _, said := range []string{
		secretCanary, "x " + secretCanary + " y", strings.Repeat("a", 61), "two\nlines", strings.Repeat("word ", 200), "bell\a",
	} {
		raw, err := json.Marshal(map[string]any{"errors": []any{map[string]any{"message": said}}})
		if err != nil {
			t.Fatal(err)
		}
		text := src.api.scrub(readErrors(raw).text)
		noCanary(t, text)
		if len(text) > 310 || strings.ContainsAny(text, "\n\a") || strings.Contains(text, "aaaa") {
			t.Errorf("%.20q: %q", said, text)
		}
	}
}

// A schema with what the sandbox's lacks: input objects, demanded enums, nested
// objects, typed dates, lists of lists.
func TestDiscoverWritesSettings(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	types := map[string]string{
		"Report": `{"kind":"OBJECT","name":"Report","fields":[
			{"name":"items","args":[],"type":{"kind":"LIST","ofType":{"kind":"OBJECT","name":"Item"}}},
			{"name":"count","args":[],"type":{"kind":"SCALAR","name":"Int"}},
			{"name":"totalCount","args":[],"type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"Int"}}}]}`,
		"Item": `{"kind":"OBJECT","name":"Item","fields":[
			{"name":"activityDate","description":"Day.","args":[],"type":{"kind":"SCALAR","name":"Date"}},
			{"name":"fosphaClientId","args":[],"type":{"kind":"SCALAR","name":"ID"}},
			{"name":"channel","args":[],"type":{"kind":"OBJECT","name":"Channel"}},
			{"name":"level","args":[],"type":{"kind":"ENUM","name":"Level"}},
			{"name":"adID","args":[],"type":{"kind":"SCALAR","name":"Long"}},
			{"name":"new","args":[],"type":{"kind":"SCALAR","name":"Boolean"}},
			{"name":"revenue","description":"Say \"hi\"\n# no comment","args":[],"type":{"kind":"SCALAR","name":"Float"}},
			{"name":"tags","args":[],"type":{"kind":"LIST","ofType":{"kind":"SCALAR","name":"String"}}},
			{"name":"history","args":[],"type":{"kind":"LIST","ofType":{"kind":"OBJECT","name":"Item"}}},
			{"name":"rank","args":[{"name":"by","type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"String"}}}],"type":{"kind":"SCALAR","name":"Int"}}]}`,
		"Channel": `{"kind":"OBJECT","name":"Channel","fields":[
			{"name":"name","args":[],"type":{"kind":"SCALAR","name":"String"}},
			{"name":"group","args":[],"type":{"kind":"SCALAR","name":"String"}}]}`,
		"Filter": `{"kind":"INPUT_OBJECT","name":"Filter","inputFields":[
			{"name":"brand","type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"ID"}}},
			{"name":"startDate","type":{"kind":"SCALAR","name":"Date"}},
			{"name":"endDate","type":{"kind":"SCALAR","name":"Date"}},
			{"name":"currency","type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"String"}}},
			{"name":"market","type":{"kind":"SCALAR","name":"String"}}]}`,
		"Grain":  `{"kind":"ENUM","name":"Grain","enumValues":[{"name":"MONTH"},{"name":"DAY"}]}`,
		"Metric": `{"kind":"ENUM","name":"Metric","enumValues":[{"name":"COST"},{"name":"REVENUE"}]}`,
	}
	v.handle = func(w http.ResponseWriter, _ *http.Request, ask ask) {
		if ask.Variables == nil {
			_, _ = io.WriteString(w, `{"data":{"__schema":{"queryType":{"name":"Query","fields":[
				{"name":"version","args":[],"type":{"kind":"SCALAR","name":"String"}},
				{"name":"report","description":"All of it.","args":[
					{"name":"filter","type":{"kind":"NON_NULL","ofType":{"kind":"INPUT_OBJECT","name":"Filter"}}},
					{"name":"grain","type":{"kind":"NON_NULL","ofType":{"kind":"ENUM","name":"Grain"}}},
					{"name":"metrics","type":{"kind":"NON_NULL","ofType":{"kind":"LIST","ofType":{"kind":"NON_NULL","ofType":{"kind":"ENUM","name":"Metric"}}}}},
					{"name":"depth","defaultValue":"3","type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"Int"}}},
					{"name":"page","type":{"kind":"SCALAR","name":"Int"}},
					{"name":"perPage","type":{"kind":"SCALAR","name":"Int"}}],
				 "type":{"kind":"OBJECT","name":"Report"}},
				{"name":"channels","args":[],"type":{"kind":"LIST","ofType":{"kind":"OBJECT","name":"Channel"}}}]}}}}`)
			return
		}
		name, _ := ask.Variables["name"].(string)
		text, ok := types[name]
		if !ok {
			text = "null"
		}
		_, _ = fmt.Fprintf(w, `{"data":{"__type":%s}}`, text)
	}
	text, err := v.open(t, nil).(*source).Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/discovered.yaml", strings.ReplaceAll(string(text), v.server.URL, "https://vendor"))
	settings := parsedYAML(t, text)
	src := v.open(t, settings).(*source)
	if len(src.streams) != 3 { // with the preset
		t.Errorf("%d streams", len(src.streams))
	}
}

func TestDiscoverEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	ctx, cancel := context.WithCancel(t.Context())
	v.handle = func(http.ResponseWriter, *http.Request, ask) { cancel() }
	if _, err := v.open(t, nil).(*source).Discover(ctx); !connector.Cancelled(err) {
		t.Error(err)
	}
}

func TestBrandGoesWhereTheSettingsSay(t *testing.T) {
	t.Parallel()
	config := sandboxtest.Start(t, "fospha", world(sandbox.Options{Fospha: simulated.Options{BrandHeader: "X-Brand"}}), map[string]any{
		"client_id_location": "header:x-brand",
		"streams": []any{map[string]any{
			"name": "performance_daily", "preset": "performance_daily",
			"query": strings.NewReplacer("$client: String!, ", "", "clientId: $client, ", "").Replace(performanceDaily),
		}},
	}).Config
	src, err := openWith(t, config)
	if err != nil {
		t.Fatal(err)
	}
	var out recorder
	err = src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Partition: "SANDBOX_BRAND_B", Window: window(t, "2025-03-10", "2025-03-12")}, &out)
	if err != nil || len(out.records) == 0 {
		t.Errorf("%d records, %v", len(out.records), err)
	}
}

func FuzzReadErrors(f *testing.F) {
	for _, seed := range []string{
		`{"errors":[{"message":"a","extensions":{"code":"FORBIDDEN"}}]}`, `{"errors":"x"}`, `{"errors":{"a":[]}}`, `{"errors":[[],null,7]}`,
		`{"errors":[{"message":{"a":1},"code":401}]}`, `{"errors":`, `"errors"`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said := readErrors(body)
		if said == nil {
			return
		}
		if said.text == "" || strings.ContainsAny(said.text, "\n\r\x00") {
			t.Errorf("%q", said.text)
		}
		if text := cut(said.text); len([]rune(text)) > 303 {
			t.Errorf("%d characters", len(text))
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"data":{"a":{"edges":[{"node":{"x":1}}]}}}`), "data.a.edges[].node")
	f.Add([]byte(`{"data":[]}`), "data.a")
	f.Add([]byte(`{"data":{"a":[1]}}`), "data.a")
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		p, err := parseRecordsPath(path)
		if err != nil {
			return
		}
		records, err := p.of(body)
		if err != nil {
			return
		}
		for _, r := range records {
			if !json.Valid(r) {
				t.Errorf("%q is no JSON", r)
			}
		}
	})
}
