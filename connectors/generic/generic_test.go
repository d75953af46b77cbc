package generic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

var update = flag.Bool("update", false, "rewrite manifest.schema.json and the tables of README.md")

// What must never come out of the connector.
const (
	secretCanary = "canary-client-secret"
	tokenCanary  = "canary-token"
)

// A vendor is a server that answers by script, behind a token endpoint that
// works. Each answer is a status line, if it is not 200, and a body; several of
// one request are given one after another, the last one for ever.
type vendor struct {
	server  *httptest.Server
	answers map[string][]string // "GET /path?query"
	header  http.Header         // of every answer
	// grant answers token requests instead of the usual.
	grant func(form string) (status int, body string)
	// handle answers instead of the script.
	handle http.HandlerFunc
	log    bytes.Buffer // what the source logs

	mu       sync.Mutex
	requests []string
	tokens   int
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{answers: map[string][]string{}, header: http.Header{}}
	v.server = httptest.NewServer(v)
	t.Cleanup(v.server.Close)
	return v
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	name := r.Method + " " + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		name += "?" + r.URL.Query().Encode()
	}
	if r.URL.Path == "/v1/auth/token" {
		form := strings.ReplaceAll(string(body), secretCanary, "SECRET")
		v.requests = append(v.requests, name+" "+form)
		v.tokens++
		status, answer := http.StatusOK, fmt.Sprintf(`{"data":{"access_token":"%s%d","token_type":"Bearer","expires_in":3600}}`, tokenCanary, v.tokens)
		if v.grant != nil {
			status, answer = v.grant(form)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
		return
	}
	if len(body) > 0 {
		name += " " + string(body)
	}
	v.requests = append(v.requests, name)
	maps.Copy(w.Header(), v.header)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+tokenCanary) {
		http.Error(w, "who are you?", http.StatusTeapot)
		return
	}
	if v.handle != nil {
		v.handle(w, r)
		return
	}
	script := v.answers[name]
	if len(script) == 0 {
		http.Error(w, "not in the script", http.StatusTeapot)
		return
	}
	if len(script) > 1 {
		v.answers[name] = script[1:]
	}
	line, rest, _ := strings.Cut(script[0], "\n")
	status, err := strconv.Atoi(line)
	if err != nil {
		status, rest = http.StatusOK, script[0]
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	v.say(w, rest)
}

func (v *vendor) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

// open opens a source of the preset fuuffy at the vendor, with settings besides
// those that lead there. A manifest among them takes the preset's place.
func (v *vendor) open(t *testing.T, settings map[string]any) connector.Source {
	t.Helper()
	all := map[string]any{
		"preset": "fuuffy", "client_id": "id-1", "client_secret": secretCanary, "base_url": v.server.URL, "rate_limit": []any{},
	}
	if settings["manifest"] != nil {
		delete(all, "preset")
	}
	maps.Copy(all, settings)
	src, err := openWith(t, all)
	if err != nil {
		t.Fatal(err)
	}
	src.(*source).log = slog.New(slog.NewTextHandler(&v.log, nil))
	return src
}

func openWith(t *testing.T, settings map[string]any) (connector.Source, error) {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return Definition().Open(t.Context(), connector.NewConfig(raw))
}

// A recorder keeps what is emitted, and fails where a test says so.
type recorder struct {
	records []string
	cursors []connector.Cursor
	events  int
	stopAt  int // event that fails; 0 is none
}

var errStop = errors.New("the recorder is full")

func (r *recorder) event() error {
	if r.events++; r.stopAt != 0 && r.events >= r.stopAt {
		return errStop
	}
	return nil
}

func (r *recorder) Record(raw []byte) error {
	if err := r.event(); err != nil {
		return err
	}
	if !json.Valid(raw) {
		return fmt.Errorf("no JSON: %s", raw)
	}
	r.records = append(r.records, string(raw))
	return nil
}

func (r *recorder) Checkpoint(c connector.Cursor) error {
	if err := r.event(); err != nil {
		return err
	}
	r.cursors = append(r.cursors, c)
	return nil
}

// march is a window whose dates are easy to read.
var march = connector.Window{
	Since: time.Date(2025, 3, 3, 0, 0, 0, 0, time.UTC),
	Until: time.Date(2025, 3, 10, 0, 0, 0, 0, time.UTC),
}

const (
	firstPage = "GET /v1/order/list?end_date=2025-03-12&limit=100&page=1&sort_dir=ASC&sort_key=order_id&start_date=2025-03-01"
	oneOrder  = `{"data":{"order_list":[{"order_id":"9000001","order_status":"READY_TO_SHIP","quote_price":"28.50","create_time":"2025-03-04T17:28:55+08:00"}]}}`
)

func pull(t *testing.T, src connector.Source, req connector.Request) (*recorder, error) {
	t.Helper()
	out := new(recorder)
	err := src.Pull(t.Context(), req, out)
	if err != nil {
		for _, canary := range []string{secretCanary, tokenCanary} {
			if strings.Contains(err.Error()+connector.HintOf(err), canary) {
				t.Errorf("%s in an error: %v", canary, err) // P10
			}
		}
	}
	return out, err
}

func wantRequests(t *testing.T, v *vendor, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, v.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

const tokenRequest = "POST /v1/auth/token client_id=id-1&client_secret=SECRET&grant_type=client_credentials"

func TestPostsThatAreDeclaredReadOnlyAreSent(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers[`POST /v1/rates/get {"from":{"country":"HK"},"weights":["0.5",1]}`] = []string{`{"rates":[{"id":"a"}]}`}
	src := v.open(t, map[string]any{"manifest": minimal(`
read_only_post: [/rates/get]
parameters:
  - {name: country, type: text, default: [HK]}
streams:
  - name: rates
    method: POST
    path: /rates/get
    body: {from: {country: "{parameter.country}"}, weights: ["0.5", 1]}
    records: rates
    key: [id]
    columns: [{name: id, type: text}]
`)})
	out, err := pull(t, src, connector.Request{Stream: "rates"})
	if err != nil || len(out.records) != 1 {
		t.Errorf("%d records, %v", len(out.records), err)
	}
}

// Whatever a vendor does, what a redirect makes of a declared POST is not sent.
func TestRedirectsDoNotLeadAPostElsewhere(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v1/order/confirm", http.StatusPermanentRedirect)
	}
	src := v.open(t, map[string]any{"manifest": minimal(`
read_only_post: [/rates/get]
streams:
  - {name: rates, method: POST, path: /rates/get, records: rates, key: [id], columns: [{name: id, type: text}]}
`)})
	_, err := pull(t, src, connector.Request{Stream: "rates"})
	if connector.KindOf(err) != connector.KindConfig || !strings.Contains(fmt.Sprint(err), "POST /v1/order/confirm is not sent") {
		t.Errorf("error %v", err)
	}
	wantRequests(t, v, tokenRequest, "POST /v1/rates/get {}")
}

// minimal is a manifest around some of its parts, at the vendor's paths.
func minimal(parts string) string {
	return `version: 1
name: toy
base_url: https://api.example.com
path_prefix: /v1
auth: {type: oauth2_client_credentials, token_path: /auth/token, body: form, answer: {token: data.access_token}}
` + strings.TrimPrefix(parts, "\n")
}

// A child of a stream without windows is read whole, once for each parent, and a
// parent's value is one segment of the path.
func TestChildrenOfASnapshot(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers["GET /v1/shops"] = []string{`{"shops":[{"id":"a/b"},{"id":"gone"}]}`}
	v.answers["GET /v1/shops/a%2Fb/staff"] = []string{`{"staff":[{"name":"x"}]}`}
	v.answers["GET /v1/shops/gone/staff"] = []string{"404\n" + `{"code":"no_shop"}`}
	manifest := minimal(`
errors: {code: [code], rules: [{when: code == "no_shop", then: skip}]}
streams:
  - {name: shops, path: /shops, records: shops, key: [id], columns: [{name: id, type: text}]}
  - name: staff
    parent: {stream: shops, key: id}
    path: /shops/{parent.id}/staff
    records: staff
    add: {shop_id: "{parent.id}"}
    key: [shop_id, name]
    columns: [{name: shop_id, type: text}, {name: name, type: text}]
`)
	src := v.open(t, map[string]any{"manifest": manifest})
	out, err := pull(t, src, connector.Request{Stream: "staff"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`{"name":"x","shop_id":"a/b"}`}, out.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	// If all are left out, it is not the parents that are gone.
	v.answers["GET /v1/shops"] = []string{`{"shops":[{"id":"gone"}]}`}
	if _, err := pull(t, src, connector.Request{Stream: "staff"}); connector.KindOf(err) != connector.KindBadResponse {
		t.Errorf("all left out: %v", err)
	}
	v.answers["GET /v1/shops"] = []string{`{"shops":[{"id":".."}]}`}
	if _, err := pull(t, src, connector.Request{Stream: "staff"}); connector.KindOf(err) != connector.KindBadResponse {
		t.Errorf("a parent that leads upwards: %v", err)
	}
}

func TestExplodedRecords(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	const ask = "GET /v1/country/list?country=HK"
	for body, want := range map[string][]string{
		`{"data":{"countries":[{"code":"HK","name":"Hong Kong","states":[{"name":"S","cities":[{"name":"C","zip":12345678901234567890}]}]}]}}`: {
			`{"code":"HK","country":"Hong Kong","name":"C","state":"S","zip":12345678901234567890}`,
		},
		`{"data":"{\"countries\":[{\"code\":\"HK\",\"name\":\"A&B\",\"states\":[{\"name\":\"S\",\"cities\":null}]}]}"}`: {
			`{"code":"HK","country":"A&B","name":"","state":"S"}`,
		},
		`{"data":{"countries":[{"code":"HK","name":"Hong Kong","states":[]}]}}`: {`{"code":"HK","country":"Hong Kong","name":"","state":""}`},
		`{"data":{"countries":[{"code":"HK"}]}}`:                                {"error"},
		`{"data":{"countries":[1]}}`:                                            {"error"},
		`{"data":{"countries":null}}`:                                           {"error"},
		`{"data":{"countries":[]}}`:                                             nil,
		`{"data":{"countries":{}}}`:                                             {"error"},
		`{"data":{"countries":[{"code":"HK","states":"none"}]}}`:                {"error"},
		`{"data":{"countries":[{"code":"HK","states":[{"cities":["C"]}]}]}}`:    {"error"},
		`{}`: {"error"},
		`[`:  {"error"},
	} {
		v.answers[ask] = []string{body}
		out, err := pull(t, v.open(t, nil), connector.Request{Stream: "country_divisions"})
		got := out.records
		if err != nil {
			got = []string{"error"}
			if connector.KindOf(err) != connector.KindBadResponse {
				t.Errorf("%s: %v", body, err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestWindowsThatAreNotOverAreReadUpToNow(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers[strings.Replace(firstPage, "2025-03-12", "2025-03-07", 1)] = []string{oneOrder}
	out, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march, AsOf: march.Since.AddDate(0, 0, 2)})
	if err != nil || len(out.records) != 1 {
		t.Errorf("%d records, %v", len(out.records), err)
	}
	if _, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march, AsOf: march.Since}); err != nil {
		t.Errorf("a window that has not begun: %v", err)
	}
	wantRequests(t, v, tokenRequest, strings.Replace(firstPage, "2025-03-12", "2025-03-07", 1))
}

func TestCancelledPullSaysSo(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	ctx, cancel := context.WithCancel(t.Context())
	v.handle = func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		_, _ = io.WriteString(w, oneOrder)
	}
	src := v.open(t, nil)
	if err := src.Pull(ctx, connector.Request{Stream: "order_details", AsOf: march.Until}, new(recorder)); !connector.Cancelled(err) { // P4
		t.Errorf("error %v", err)
	}
}

// What the overlap brings from outside of the window is left out (P9); what has
// no readable time is for the agent to judge.
func TestRecordsOutsideOfTheWindowAreLeftOut(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	var rows []string
	for _, at := range []string{
		"2025-03-03T07:59:59+08:00", "2025-03-03T08:00:00+08:00", "2025-03-10T07:59:59+08:00", "2025-03-10T08:00:00+08:00", "soon",
	} {
		rows = append(rows, fmt.Sprintf(`{"order_id":"%d","create_time":%q}`, len(rows), at))
	}
	v.answers[firstPage] = []string{`{"data":{"order_list":[` + strings.Join(rows, ",") + `]}}`}
	out, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{rows[1], rows[2], rows[4]}, out.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
