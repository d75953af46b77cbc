package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox/contentsquare"
)

// csSandbox is a small world at a fixed moment, and its address.
func csSandbox(t *testing.T, o Options) (*Sandbox, string) {
	t.Helper()
	o.Size, o.Days, o.AsOf = 5, 30, time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)
	box := New(o)
	server := httptest.NewServer(box)
	t.Cleanup(server.Close)
	return box, server.URL + "/contentsquare"
}

// csAsk sends a request and returns its status and body.
func csAsk(t *testing.T, method, address, token, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

type csGrant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	ProjectID   int    `json:"project_id"`
	Endpoint    string `json:"endpoint"`
}

const csAccount = `"client_id":"sandbox-cs-account","client_secret":"sandbox;cs-Secret","grant_type":"client_credentials"`

func csToken(t *testing.T, base string, project int, scope string) csGrant {
	t.Helper()
	status, body := csAsk(t, http.MethodPost, base+"/v1/oauth/token", "", fmt.Sprintf(`{%s,"scope":%q,"project_id":%d}`, csAccount, scope, project))
	var granted csGrant
	if err := json.Unmarshal(body, &granted); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return granted
}

func TestContentsquareTokenAnswerNamesProjectAndEndpoint(t *testing.T) {
	t.Parallel()
	_, base := csSandbox(t, Options{})
	got := csToken(t, base, 43, "data-export metrics")
	want := csGrant{got.AccessToken, "Bearer", 3600, "data-export metrics", 43, base + "/cloud-1"}
	if diff := cmp.Diff(want, got); diff != "" || got.AccessToken == "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContentsquareRefusesBadTokenRequests(t *testing.T) {
	t.Parallel()
	_, base := csSandbox(t, Options{Contentsquare: contentsquare.Options{Refused: []int{2}}})
	for body, want := range map[string]string{
		`{` + csAccount + `,"scope":"metrics"}`:                                                    "400 invalid_request",
		`{` + csAccount + `,"scope":"metrics","project_id":99}`:                                    "401 access_denied",
		`{` + csAccount + `,"scope":"metrics","project_id":44}`:                                    "401 access_denied",
		`{` + csAccount + `,"project_id":42}`:                                                      "400 invalid_scope",
		`{` + csAccount + `,"scope":"metrics enrichment","project_id":42}`:                         "400 invalid_scope",
		`{` + csAccount + `,"scope":"surveys","project_id":42}`:                                    "400 invalid_scope",
		`{"client_id":"sandbox-cs-account","client_secret":"x","grant_type":"client_credentials"}`: "401 invalid_client",
		`{"client_id":"sandbox-cs-account","client_secret":"sandbox;cs-Secret","grant_type":"x"}`:  "400 unsupported_grant_type",
		`[]`: "400 invalid_request",
	} {
		status, answer := csAsk(t, http.MethodPost, base+"/v1/oauth/token", "", body)
		var said struct{ Error string }
		if err := json.Unmarshal(answer, &said); err != nil || fmt.Sprintf("%d %s", status, said.Error) != want {
			t.Errorf("%s: %d %s, want %s", body, status, answer, want)
		}
	}
	status, answer := csAsk(t, http.MethodPost, base+"/v1/oauth/me", "", `{"client_id":"sandbox-cs-project","client_secret":"sandbox;cs-Project"}`)
	if want := `{"permissions":{"projects":[{"id":42,"name":"Example shop EU"}]}}`; status != 200 || strings.TrimSpace(string(answer)) != want {
		t.Errorf("me: %d %s, want %s", status, answer, want)
	}
}

func TestContentsquareTokensEndAndAreOfOneProject(t *testing.T) {
	t.Parallel()
	var lag atomic.Int64
	_, base := csSandbox(t, Options{TokenLifetime: 5 * time.Second, Now: func() time.Time { return time.Now().Add(time.Duration(lag.Load())) }})
	granted := csToken(t, base, 42, "metrics")
	for path, want := range map[string]int{
		"/cloud-1/v1/segments?projectId=42": 200, "/cloud-1/v1/segments": 200, "/cloud-1/v1/segments?projectId=43": 403,
		"/v1/segments": 404, "/cloud-1/v1/exports": 403, "/cloud-1/v1/projects": 404, "/cloud-1/v1/mappings/9/page-groups": 404,
	} {
		if status, body := csAsk(t, http.MethodGet, base+path, granted.AccessToken, ""); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	if status, _ := csAsk(t, http.MethodPost, granted.Endpoint+"/v1/segments", granted.AccessToken, "{}"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", status)
	}
	lag.Store(int64(6 * time.Second))
	status, body := csAsk(t, http.MethodGet, granted.Endpoint+"/v1/segments", granted.AccessToken, "")
	if want := `{"errorCode":"JWT_EXPIRED","errorMessage":"Auth token is expired.","success":false}`; status != 401 || strings.TrimSpace(string(body)) != want {
		t.Errorf("old token: %d %s, want %s", status, body, want)
	}
}

func TestContentsquareMetricsKeepTheirBounds(t *testing.T) {
	t.Parallel()
	_, base := csSandbox(t, Options{Contentsquare: contentsquare.Options{HeavyDays: 20, Retention: 100}})
	granted := csToken(t, base, 42, "metrics")
	for query, want := range map[string]string{
		"startDate=2024-03-01&endDate=2024-03-03T23:59:59.999Z&period=daily": "200 24 values",
		"startDate=2024-03-01&endDate=2024-03-03T23:59:59.999Z":              "200 8 values",
		"startDate=2024-03-01T00:00&endDate=2024-03-01T23:59:59":             "200 8 values",
		"startDate=2024-03-01T00:00:00%2B02:00&endDate=2024-03-02":           "200 8 values",
		"startDate=2024-03-19&endDate=2024-03-22T00:00:00.000Z&period=daily": "200 16 values", // the future is not known
		"startDate=2024-03-01&endDate=2024-03-01T23:59:59.999Z&period=daily": "400 period=daily is for ranges longer than one day",
		"startDate=2024-03-02&endDate=2024-03-01":                            "400 startDate must be before endDate",
		"endDate=2024-03-01":                                   "400 startDate: want an ISO 8601 date",
		"startDate=2023-12-15&endDate=2024-03-17":              "400 The date range is out of bounds.", // 93 days
		"startDate=2023-12-15&endDate=2024-03-16":              "200 8 values",
		"startDate=2023-12-01&endDate=2023-12-02":              "400 The date range is out of bounds.", // no longer kept
		"startDate=2024-02-20&endDate=2024-03-19&period=daily": "502 ",
		"startDate=2024-03-01&endDate=2024-03-02&device=tv":    "400 device: want all, desktop, mobile or tablet",
	} {
		status, body := csAsk(t, http.MethodGet, granted.Endpoint+"/v1/metrics/site?"+query, granted.AccessToken, "")
		var answer struct {
			ErrorMessage string
			Payload      struct{ Values []any }
		}
		_ = json.Unmarshal(body, &answer) // a 502 has no JSON
		got := fmt.Sprintf("%d %s", status, answer.ErrorMessage)
		if status == http.StatusOK {
			got = fmt.Sprintf("%d %d values", status, len(answer.Payload.Values))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// A day is restated for three days, and then stays.
func TestContentsquareRestatesTheLastDays(t *testing.T) {
	t.Parallel()
	box, _ := csSandbox(t, Options{})
	day := time.Date(2024, 3, 19, 0, 0, 0, 0, time.UTC)
	var last []any
	changes := 0
	for range 6 {
		var values []any
		for row := range box.ContentsquareTruth("site_metrics", day, day.AddDate(0, 0, 1)) {
			values = append(values, row["value"])
		}
		if len(values) == 0 {
			t.Fatal("no values")
		}
		if last != nil && !slices.Equal(last, values) {
			changes++
		}
		last = values
		if err := box.SetAsOf(box.AsOf().AddDate(0, 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if changes != 3 {
		t.Errorf("changed %d times, want 3", changes)
	}
}

func TestContentsquareFilesAreZippedSignedAndExpire(t *testing.T) {
	t.Parallel()
	box, base := csSandbox(t, Options{})
	granted := csToken(t, base, 42, "data-export")
	get := func(path string, payload any) {
		t.Helper()
		status, body := csAsk(t, http.MethodGet, granted.Endpoint+path, granted.AccessToken, "")
		answer := struct{ Payload any }{payload}
		if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s: %v", path, status, body, err)
		}
	}
	var runs []struct {
		JobRunID int
		State    string
	}
	get("/v1/exports/1119/runs?limit=50", &runs)
	i := slices.IndexFunc(runs, func(r struct {
		JobRunID int
		State    string
	},
	) bool {
		return r.State == "SUCCESS"
	})
	var detail struct{ Files []struct{ URL string } }
	path := fmt.Sprintf("/v1/exports/1119/runs/%d", runs[i].JobRunID)
	get(path, &detail)
	status, body := csAsk(t, http.MethodGet, detail.Files[0].URL, "", "")
	unzipped, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil || !json.Valid(bytes.Split(text, []byte("\n"))[0]) {
		t.Errorf("%.100s: %v", text, err)
	}
	if status, _ := csAsk(t, http.MethodGet, detail.Files[0].URL+"0", "", ""); status != http.StatusForbidden {
		t.Errorf("another signature: %d", status)
	}
	if err := box.SetAsOf(box.AsOf().AddDate(0, 0, 8)); err != nil {
		t.Fatal(err)
	}
	if status, _ := csAsk(t, http.MethodGet, detail.Files[0].URL, "", ""); status != http.StatusNotFound {
		t.Errorf("after 8 days: %d", status)
	}
	get(path, &detail)
	if len(detail.Files) != 0 {
		t.Errorf("after 8 days: %d files", len(detail.Files))
	}
}

// The same seed gives the same truth, another one another.
func TestContentsquareFollowsTheSeed(t *testing.T) {
	t.Parallel()
	read := func(seed uint64) string {
		box, _ := csSandbox(t, Options{Seed: seed})
		var b strings.Builder
		for _, stream := range contentsquare.Streams {
			n := 0
			for row := range box.ContentsquareTruth(stream, time.Time{}, time.Time{}) {
				n++
				if row["value"] != nil {
					fmt.Fprintln(&b, row["value"])
				}
			}
			if n == 0 {
				t.Errorf("%s is empty", stream)
			}
		}
		return b.String()
	}
	first, again, other := read(3), read(3), read(4)
	if first != again || first == other {
		t.Error("the seed does not decide")
	}
}
