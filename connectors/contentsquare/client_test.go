package contentsquare

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

const oneSegment = `{"success":true,"payload":[{"id":1}]}`

func pullSegments(t *testing.T, src connector.Source, partition string) ([]string, error) {
	t.Helper()
	var out recorder
	err := src.Pull(t.Context(), connector.Request{Stream: "segments", Partition: partition}, &out)
	return out.records, err
}

// The base URL is that of the token at hand: another one after the renewal.
func TestEndpointIsTakenAnewAtEachRenewal(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.grant = func(w http.ResponseWriter, _ map[string]any, n int) {
		v.answerToken(w, fmt.Sprintf("%s/cloud/zone-%d", v.server.URL, n))
	}
	v.lives = 1
	v.handle = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, oneSegment) }
	src := v.open(t, nil)
	var usage connector.UsageRecorder
	for range 2 {
		err := src.Pull(connector.WithUsage(t.Context(), &usage), connector.Request{Stream: "segments", Partition: "42"}, &recorder{})
		if err != nil {
			t.Fatal(err)
		}
	}
	var asked []string
	for _, r := range v.seen() {
		if strings.HasPrefix(r, "GET") {
			asked = append(asked, r)
		}
	}
	want := []string{
		"GET zone-1/v1/segments?projectId=42",
		"GET zone-1/v1/segments?projectId=42", // 401 JWT_EXPIRED
		"GET zone-2/v1/segments?projectId=42",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if u := usage.Total(); u.TokensFetched != 2 || u.RenewedOn401 != 1 {
		t.Errorf("usage: %+v", u)
	}
}

func TestEndpointMustBeTheVendors(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{
		"https://api.contentsquare.com.example.com", "http://api.contentsquare.com", "https://evilcontentsquare.com",
		"https://user@api.contentsquare.com", "https://api.contentsquare.com:8443", "http://192.0.2.1/cloud", "", "api.contentsquare.com",
		"https://api.contentsquare.com/?x=1",
	} {
		v := newVendor(t)
		v.grant = func(w http.ResponseWriter, _ map[string]any, _ int) { v.answerToken(w, endpoint) }
		_, err := pullSegments(t, v.open(t, nil), "42")
		if connector.KindOf(err) != connector.KindBadResponse {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
	}
	v := newVendor(t)
	v.grant = func(w http.ResponseWriter, _ map[string]any, _ int) {
		v.answerToken(w, "https://api.eu-west-1.production.contentsquare.com")
	}
	token, err := v.open(t, nil).(connector.Tokener).Token(t.Context(), "")
	if err != nil || token.BaseURL != "https://api.eu-west-1.production.contentsquare.com" {
		t.Errorf("the vendor's own endpoint: %q, %v", token.BaseURL, err)
	}
}

// A base URL of the settings is for proxies: what the token says is not asked.
func TestBaseURLOfTheSettingsWins(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.grant = func(w http.ResponseWriter, _ map[string]any, _ int) {
		v.answerToken(w, "https://elsewhere.example.com")
	}
	v.answers["GET /proxy/v1/segments?projectId=42"] = []string{oneSegment}
	src := v.open(t, map[string]any{"base_url": v.server.URL + "/proxy/"})
	if got, err := pullSegments(t, src, "42"); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	token, err := src.(connector.Tokener).Token(t.Context(), "42")
	if err != nil || token.BaseURL != v.server.URL+"/proxy" {
		t.Errorf("token for %s, %v", token.BaseURL, err)
	}
}

func TestTokensAreAskedForAsTheCredentialsNeedIt(t *testing.T) {
	t.Parallel()
	const head = `POST /v1/oauth/token {"client_id":"id-1","client_secret":"SECRET","grant_type":"client_credentials",`
	for name, tc := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"project": {nil, head + `"scope":"metrics data-export"}`},
		"account": {map[string]any{"credentials": "account"}, head + `"project_id":42,"scope":"metrics data-export"}`},
		"scopes":  {map[string]any{"scopes": []string{"metrics"}}, head + `"scope":"metrics"}`},
	} {
		v := newVendor(t)
		if _, err := v.open(t, tc.settings).(connector.Tokener).Token(t.Context(), ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]string{tc.want}, v.seen()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPartitionsAreTheProjects(t *testing.T) {
	t.Parallel()
	account := func(more map[string]any) map[string]any {
		s := map[string]any{"credentials": "account", "project_id": nil}
		for k, v := range more {
			s[k] = v
		}
		return s
	}
	ids := func(key string, list ...any) map[string]any {
		return account(map[string]any{"projects": map[string]any{key: list}})
	}
	export := func(project any) map[string]any {
		return account(map[string]any{"exports": []any{map[string]any{"job": 1, "stream": "visits", "project": project}}})
	}
	for name, tc := range map[string]struct {
		settings map[string]any
		stream   string
		me       string
		want     []string
		kind     connector.Kind
	}{
		"all":                         {account(nil), "segments", "", []string{"42", "43"}, 0},
		"included":                    {ids("include", 43, "44"), "segments", "", []string{"43", "44"}, 0},
		"excluded":                    {ids("exclude", 42), "segments", "", []string{"43"}, 0},
		"none left":                   {ids("exclude", 42, 43), "segments", "", nil, connector.KindConfig},
		"one named":                   {nil, "segments", "", []string{"42"}, 0},
		"the credentials' own":        {map[string]any{"project_id": nil}, "segments", `{"permissions":{"projects":[{"id":7}]}}`, []string{"7"}, 0},
		"several for one project":     {map[string]any{"project_id": nil}, "segments", "", nil, connector.KindConfig},
		"the list of projects itself": {account(nil), "projects", "", nil, 0},
		"an export's own":             {export(43), "visits", "", []string{"43"}, 0},
		"an export of no project":     {export(nil), "visits", "", nil, connector.KindConfig},
		"an answer of another shape":  {account(nil), "segments", `{"projects":[]}`, nil, connector.KindBadResponse},
		"a project without id":        {account(nil), "segments", `{"permissions":{"projects":[{"name":"x"}]}}`, nil, connector.KindBadResponse},
	} {
		v := newVendor(t)
		if tc.me != "" {
			v.answers["me"] = []string{tc.me}
		}
		if list, ok := tc.settings["exports"].([]any); ok {
			if m := list[0].(map[string]any); m["project"] == nil {
				delete(m, "project")
			}
		}
		got, err := v.open(t, tc.settings).(connector.Partitioner).Partitions(t.Context(), tc.stream)
		if diff := cmp.Diff(tc.want, got); diff != "" || connector.KindOf(err) != tc.kind {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// One project that is refused leaves the others alone, be it by the token
// endpoint, or by 401 or 403 of the API.
func TestARefusedProjectIsForbiddenAlone(t *testing.T) {
	t.Parallel()
	settings := map[string]any{"credentials": "account", "project_id": nil}
	refuse := func(w http.ResponseWriter, params map[string]any) bool {
		if params["project_id"] != 43.0 {
			return false
		}
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return true
	}
	v := newVendor(t)
	v.grant = func(w http.ResponseWriter, params map[string]any, _ int) {
		if !refuse(w, params) {
			v.answerToken(w, v.server.URL+"/cloud")
		}
	}
	v.handle = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, oneSegment) }
	src := v.open(t, settings)
	if _, err := pullSegments(t, src, "43"); connector.KindOf(err) != connector.KindForbidden || !strings.Contains(connector.HintOf(err), "exclude: [43]") {
		t.Errorf("refused by the token endpoint: %v, hint %q", err, connector.HintOf(err))
	}
	if _, err := src.(connector.Tokener).Token(t.Context(), "43"); connector.KindOf(err) != connector.KindForbidden {
		t.Errorf("token of the refused project: %v", err)
	}
	if got, err := pullSegments(t, src, "42"); err != nil || len(got) != 1 {
		t.Errorf("the other project: %q, %v", got, err)
	}

	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		v := newVendor(t)
		v.handle = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("projectId") == "43" {
				http.Error(w, `{"success":false,"errorCode":"NO"}`, status)
				return
			}
			_, _ = io.WriteString(w, oneSegment)
		}
		src := v.open(t, settings)
		if _, err := pullSegments(t, src, "43"); connector.KindOf(err) != connector.KindForbidden {
			t.Errorf("%d of the API: %v", status, err)
		}
		if _, err := pullSegments(t, src, "42"); err != nil {
			t.Errorf("%d of another project: %v", status, err)
		}
	}
}

// With credentials that oauth/me refuses as well it is not the project's fault.
func TestBadCredentialsStopTheSource(t *testing.T) {
	t.Parallel()
	for _, settings := range []map[string]any{{"credentials": "account", "project_id": nil, "client_secret": "another"}, {"client_secret": "another"}} {
		src := newVendor(t).open(t, settings)
		if _, err := pullSegments(t, src, "42"); connector.KindOf(err) != connector.KindAuth {
			t.Errorf("pull: %v", err)
		}
		_, err := src.(connector.Checker).Check(t.Context())
		if connector.KindOf(err) != connector.KindAuth || connector.HintOf(err) == "" {
			t.Errorf("check: %v", err)
		}
	}
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	if _, err := pullSegments(t, v.open(t, nil), "42"); connector.KindOf(err) != connector.KindAuth {
		t.Errorf("401 with a new token: %v", err)
	}
}

func TestCheckNamesTheProjects(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	got, err := v.open(t, map[string]any{"credentials": "account", "project_id": nil, "projects": map[string]any{"include": []int{43, 99}}}).(connector.Checker).Check(t.Context())
	want := []connector.Finding{
		{Name: "projects seen", Detail: "2: 42 EU, 43 US"},
		{Name: "projects read", Detail: "2: 43, 99 (not among those seen)"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{`POST /v1/oauth/me {"client_id":"id-1","client_secret":"SECRET"}`}, v.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// What the vendor says to a request that carries the secret is not shown.
func TestRefusalOfCredentialsShowsNothingOfThem(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(http.ResponseWriter, *http.Request) {}
	for _, status := range []int{400, 404, 418} {
		echo := newVendor(t)
		echo.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errorMessage":%q,"error":"x"}`, body)
		})
		_, err := echo.open(t, nil).(connector.Checker).Check(t.Context())
		if err == nil || strings.Contains(err.Error(), secretCanary) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// However many pulls run at once, no more than the limit are under way per
// project.
func TestRequestsInFlightAreLimitedPerProject(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	full := make(chan struct{})
	v := newVendor(t)
	v.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "token") {
			v.answerToken(w, v.server.URL+"/cloud")
			return
		}
		n := now.Add(1)
		defer now.Add(-1)
		for {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		if n == 3 {
			close(full)
		}
		<-full // all places are taken before the first is free
		_, _ = io.WriteString(w, oneSegment)
	})
	src := v.open(t, map[string]any{"concurrency": 3})
	errs := make(chan error)
	for range 12 {
		go func() {
			_, err := pullSegments(t, src, "42")
			errs <- err
		}()
	}
	for range 12 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 3 {
		t.Errorf("%d requests at once, want 3", most.Load())
	}
	if defaults().Concurrency > maxConcurrency {
		t.Error("the default is above the vendor's limit")
	}
}

func TestAnswersAreReadByWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer string
		kind   connector.Kind
		want   string
	}{
		"success false": {
			`{"success":false,"errorMessage":"No such\nthing","errorCode":"OOPS"}`, connector.KindBadResponse,
			`segments project 42: 200 with success false (contentsquare says "OOPS: No such thing")`,
		},
		"success of another type": {`{"success":"false","payload":[]}`, connector.KindBadResponse, `segments project 42: 200 with success "false"`},
		"403":                     {"403\n{\"success\":false}", connector.KindForbidden, `segments project 42: 403 Forbidden`},
		"404":                     {"404\n{}", connector.KindBadResponse, `segments project 42: 404 Not Found`},
		"400": {
			"400\n{\"success\":false,\"errorMessage\":\"bad\",\"errorCode\":\"X\"}", connector.KindBadResponse,
			`segments project 42: 400 Bad Request from vendor (X: bad)`,
		},
		"no payload":     {`{"success":true,"data":[]}`, connector.KindBadResponse, `segments project 42: no array at payload: the answer has "success", "data"`},
		"not objects":    {`{"success":true,"payload":[1]}`, connector.KindBadResponse, `segments project 42: a record is not an object`},
		"HTML":           {"<html></html>", connector.KindBadResponse, ""},
		"not JSON":       {`{"success":true,`, connector.KindBadResponse, ""},
		"token in words": {`{"success":false,"errorMessage":"bad ` + strings.Repeat(tokenCanary, 3) + `"}`, connector.KindBadResponse, `segments project 42: 200 with success false (contentsquare says "bad [...]")`},
		"no envelope":    {`{"payload":[{"id":1}]}`, connector.KindUnknown, ""},
	} {
		v := newVendor(t)
		v.answers["GET v1/segments?projectId=42"] = []string{tc.answer}
		_, err := pullSegments(t, v.open(t, nil), "42")
		if connector.KindOf(err) != tc.kind || tc.kind == connector.KindUnknown && err != nil {
			t.Errorf("%s: %v of kind %s", name, err, connector.KindOf(err))
		} else if tc.want != "" {
			got := strings.ReplaceAll(err.Error(), strings.TrimPrefix(v.server.URL, "http://"), "vendor")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// The list of objects is asked for once per run, and anew for the next.
func TestPullsOfOneRunShareTheWalk(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "metrics") {
			_, _ = io.WriteString(w, `{"success":true,"payload":{"values":[]}}`)
			return
		}
		_, _ = io.WriteString(w, oneSegment)
	}
	src := v.open(t, nil)
	count := func(part string) int {
		return len(slices.DeleteFunc(v.seen(), func(r string) bool { return !strings.Contains(r, part) }))
	}
	asOf := march.Until.AddDate(0, 0, 5)
	for _, asOf := range []time.Time{asOf, asOf, asOf.Add(time.Hour)} {
		for _, stream := range []string{"page_group_metrics", "page_group_web_vitals"} {
			if err := src.Pull(t.Context(), connector.Request{Stream: stream, Partition: "42", Window: march, AsOf: asOf}, &recorder{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if walks, measured := count("page-groups"), count("metrics/page-group"); walks != 2 || measured != 6 {
		t.Errorf("%d walks for %d measurements, want 2 for 6", walks, measured)
	}
}

func TestWalkThatFailsIsNotRemembered(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers["GET v1/mappings?projectId=42"] = []string{"403\n{}", `{"success":true,"payload":[]}`}
	src := v.open(t, nil)
	req := connector.Request{Stream: "page_groups", Partition: "42", AsOf: march.Until}
	if err := src.Pull(t.Context(), req, &recorder{}); connector.KindOf(err) != connector.KindForbidden {
		t.Errorf("first: %v", err)
	}
	if err := src.Pull(t.Context(), req, &recorder{}); err != nil {
		t.Errorf("second: %v", err)
	}
}
