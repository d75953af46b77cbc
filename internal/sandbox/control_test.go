package sandbox_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
)

func TestSourcesWorkAsTheyAre(t *testing.T) {
	t.Parallel()
	c := start(t)
	want := []sandbox.Source{{
		Name: "kaisa_sandbox", Connector: "kaisa",
		Config: map[string]any{
			"client_id": "sandbox-kaisa-client", "client_secret": "sandbox-kaisa-secret",
			"token_url": c.url + "/kaisa/oauth2/token", "base_url": c.url + "/kaisa", "version": "2.4.9",
			"requests_per_second": 1000, "concurrency": 8,
		},
	}}
	if diff := cmp.Diff(want, c.box.Sources(c.url)[:1]); diff != "" {
		t.Error(diff)
	}
	text, err := json.MarshalIndent(map[string]any{"sources": want}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text)+"\n", c.control("GET", "/_sandbox/config?vendor=kaisa", "").body); diff != "" {
		t.Error(diff)
	}
	if body := c.control("GET", "/_sandbox/config?vendor=other", "").body; !strings.Contains(body, `"sources": []`) {
		t.Errorf("another vendor: %s", body)
	}
}

func TestTheClockMovesByHTTP(t *testing.T) {
	t.Parallel()
	c := start(t)
	if res := c.control("POST", "/_sandbox/clock", `{"advance":"36h"}`); res.status != 200 || !strings.Contains(res.body, `"as_of": "2026-03-13T00:00:00Z"`) {
		t.Errorf("advance: %d %s", res.status, res.body)
	}
	if res := c.control("POST", "/_sandbox/clock", `{"as_of":"2026-03-20T00:00:00+01:00"}`); res.status != 200 {
		t.Errorf("as_of: %d %s", res.status, res.body)
	}
	if want := time.Date(2026, 3, 19, 23, 0, 0, 0, time.UTC); !c.box.AsOf().Equal(want) {
		t.Errorf("as of %s, want %s", c.box.AsOf(), want)
	}
	for _, body := range []string{`{}`, `{"advance":"x"}`, `{"as_of":"tomorrow"}`, `{"advance":"1h","as_of":"2026-03-20T00:00:00Z"}`, `{"advance":"9999999h"}`, `{"by":"1h"}`, ``, `{} {}`} {
		if res := c.control("POST", "/_sandbox/clock", body); res.status != 400 {
			t.Errorf("%s: %d, want 400", body, res.status)
		}
	}
}

func TestFaultsAreSwitchedByHTTP(t *testing.T) {
	t.Parallel()
	c := start(t)
	res := c.control("POST", "/_sandbox/faults", `{"kind":"rate_limit_seconds","path":"/customers","count":1,"delay":"7s"}`)
	if res.status != 200 || !strings.Contains(res.body, `"id": 1`) {
		t.Fatalf("%d %s", res.status, res.body)
	}
	if res := c.raw("customers"); res.status != 429 || res.header.Get("Retry-After") != "7" {
		t.Errorf("%d, Retry-After %q", res.status, res.header.Get("Retry-After"))
	}
	var list struct {
		On    []map[string]any
		Kinds []map[string]string
	}
	if err := json.Unmarshal([]byte(c.control("GET", "/_sandbox/faults", "").body), &list); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"id": 1.0, "kind": "rate_limit_seconds", "path": "/customers", "probability": 1.0, "count": 1.0, "delay": "7s", "matched": 1.0, "struck": 1.0,
	}}
	if diff := cmp.Diff(want, list.On); diff != "" || len(list.Kinds) != 17 {
		t.Errorf("%d kinds; %s", len(list.Kinds), diff)
	}
	if res := c.control("DELETE", "/_sandbox/faults?id=1", ""); res.status != 200 || len(c.box.Faults()) != 0 {
		t.Errorf("delete: %d, %d faults on", res.status, len(c.box.Faults()))
	}
	if res := c.control("DELETE", "/_sandbox/faults?id=1", ""); res.status != 404 {
		t.Errorf("delete again: %d, want 404", res.status)
	}
	for _, body := range []string{`{"kind":"gremlin"}`, `{"kind":"slow","delay":"soon"}`, `{"kind":"slow","speed":1}`, `[]`} {
		if res := c.control("POST", "/_sandbox/faults", body); res.status != 400 {
			t.Errorf("%s: %d, want 400", body, res.status)
		}
	}
}

func TestThePageListsEverythingAndItsFormsWork(t *testing.T) {
	t.Parallel()
	c := start(t)
	form := map[string]string{"Content-Type": formBody}
	res := c.must("POST", "/_sandbox/faults", form, url.Values{
		"kind": {"slow"}, "path": {`/customers"><script>`}, "probability": {"0.5"}, "after": {""}, "count": {"3"}, "delay": {"2s"},
	}.Encode())
	if res.status != 303 || res.header.Get("Location") != "/" {
		t.Errorf("fault form: %d %s", res.status, res.body)
	}
	if on := c.box.Faults(); len(on) != 1 || on[0].Count != 3 || on[0].Delay != 2*time.Second || on[0].Probability != 0.5 {
		t.Errorf("faults on: %+v", on)
	}
	res = c.must("GET", "/", nil, "")
	if res.status != 200 || !strings.HasPrefix(res.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", res.status, res.header.Get("Content-Type"))
	}
	for _, want := range []string{
		"sandbox-kaisa-client", "sandbox-kaisa-secret", c.url + "/kaisa/oauth2/token", "GET /2.4.9/customers/voicemail_greetings",
		"endless_pages", "2026-03-11 12:00:00 UTC", "&lt;script&gt;", "0 of 0",
	} {
		if !strings.Contains(res.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"<script", "src=", "http-equiv", "@import"} {
		if strings.Contains(res.body, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if res := c.must("POST", "/_sandbox/clock", form, "advance=24h"); res.status != 303 || !c.box.AsOf().Equal(asOf.Add(24*time.Hour)) {
		t.Errorf("clock form: %d, as of %s", res.status, c.box.AsOf())
	}
	if res := c.must("POST", "/_sandbox/faults", form, "remove=99"); res.status != 404 {
		t.Errorf("removed what is not there: %d", res.status)
	}
	if res := c.must("POST", "/_sandbox/faults", form, "clear=1"); res.status != 303 || len(c.box.Faults()) != 0 {
		t.Errorf("clear form: %d, %d faults on", res.status, len(c.box.Faults()))
	}
	if res := c.must("POST", "/_sandbox/faults", form, "kind=slow&count=x"); res.status != 400 {
		t.Errorf("a count that is no number: %d", res.status)
	}
}

func TestRequestsAreCountedByPathAndStatus(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.fault(sandbox.Fault{Kind: sandbox.FaultServerError, Path: "/customers", Count: 1})
	for range 3 {
		c.raw("customers?page=0")
	}
	c.raw("nothing")
	stats := c.box.Stats()
	want := map[string]map[int]int64{
		"/kaisa/oauth2/token":    {200: 1},
		"/kaisa/2.4.9/customers": {500: 1, 200: 2},
		"/kaisa/2.4.9/nothing":   {404: 1},
	}
	if diff := cmp.Diff(want, stats.Requests); diff != "" {
		t.Error(diff)
	}
	if stats.Faults[sandbox.FaultServerError] != 1 || stats.Tokens["kaisa"] != 1 || stats.Bytes == 0 || stats.Peak < 1 {
		t.Errorf("%+v", stats)
	}
	var got sandbox.Stats
	if err := json.Unmarshal([]byte(c.control("GET", "/_sandbox/stats", "").body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Requests); diff != "" {
		t.Error(diff)
	}
	c.control("DELETE", "/_sandbox/stats", "")
	if n := len(c.box.Stats().Requests); n != 0 {
		t.Errorf("%d paths after the reset", n)
	}
}

func TestOptionsOutOfBoundsAreNamed(t *testing.T) {
	t.Parallel()
	for word, o := range map[string]sandbox.Options{
		"size":   {Size: -1},
		"days":   {Days: 1e6},
		"volume": {Volume: 1e9},
		"as of":  {AsOf: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := (sandbox.Options{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestDataEndsAtTheLastFullHourByDefault(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 48, 9, 10, time.FixedZone("", 3600))
	box := sandbox.New(sandbox.Options{Now: func() time.Time { return now }})
	if want := time.Date(2026, 5, 6, 6, 0, 0, 0, time.UTC); !box.AsOf().Equal(want) || box.AsOf().Location() != time.UTC {
		t.Errorf("as of %s, want %s", box.AsOf(), want)
	}
	if want := time.Date(2026, 2, 5, 0, 0, 0, 0, time.UTC); !box.Begin().Equal(want) {
		t.Errorf("history begins %s, want %s", box.Begin(), want)
	}
}
