package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/sandbox/fuuffy"
)

// fuuffyClient speaks to the sandbox's Fuuffy with a token of its own.
type fuuffyClient struct {
	*client
	bearer string
}

func startFuuffy(t *testing.T, o fuuffy.Options) fuuffyClient {
	t.Helper()
	c := fuuffyClient{client: start(t, func(all *sandbox.Options) { all.Fuuffy = o })}
	res := c.grant(url.Values{"client_id": {"sandbox-fuuffy-client"}, "client_secret": {"sandbox-fuuffy-secret"}})
	var answer struct {
		Data struct {
			Token string `json:"access_token"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(res.body), &answer); err != nil || answer.Data.Token == "" {
		t.Fatalf("token: %d %s", res.status, res.body)
	}
	c.bearer = answer.Data.Token
	return c
}

func (c fuuffyClient) grant(form url.Values) response {
	c.t.Helper()
	return c.must("POST", "/fuuffy/v1/auth/token", map[string]string{"Content-Type": formBody}, form.Encode())
}

func (c fuuffyClient) ask(method, path string) response {
	c.t.Helper()
	return c.must(method, "/fuuffy/v1"+path, map[string]string{"Authorization": "Bearer " + c.bearer}, "")
}

func TestFuuffyRemembersWhatWouldWrite(t *testing.T) {
	t.Parallel()
	c := startFuuffy(t, fuuffy.Options{})
	for _, path := range []string{"/order/list", "/order?id=1", "/country/list?country=HK"} {
		c.ask("GET", path)
	}
	if got := c.box.FuuffyViolations(); len(got) != 0 {
		t.Errorf("reading is a violation: %q", got)
	}
	for _, request := range []string{"POST /order/confirm", "POST /order/create", "POST /orders", "DELETE /order/list"} {
		method, path, _ := strings.Cut(request, " ")
		if res := c.ask(method, path); res.status != http.StatusForbidden {
			t.Errorf("%s: %d", request, res.status)
		}
	}
	want := []string{"POST /v1/order/confirm", "POST /v1/order/create", "POST /v1/orders", "DELETE /v1/order/list"}
	if diff := cmp.Diff(want, c.box.FuuffyViolations()); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func TestFuuffyErrorsHaveTheirShape(t *testing.T) {
	t.Parallel()
	for shape, want := range map[fuuffy.ErrorShape]string{
		fuuffy.ErrorNested: `{"error":{"code":"401021","code_reason":"invalid_client","message":"Invalid client_id, client_secret, or session_key"}}`,
		fuuffy.ErrorFlat:   `{"code":"401021","code_reason":"invalid_client","message":"Invalid client_id, client_secret, or session_key"}`,
		fuuffy.ErrorText:   `{"error":"Invalid client_id, client_secret, or session_key"}`,
		fuuffy.ErrorPlain:  `Invalid client_id, client_secret, or session_key`,
		fuuffy.ErrorEmpty:  ``,
		fuuffy.ErrorHTML:   `<html><body><h1>401 Unauthorized</h1></body></html>`,
	} {
		c := startFuuffy(t, fuuffy.Options{Errors: shape})
		res := c.grant(url.Values{"client_id": {"x"}, "client_secret": {"y"}})
		if res.status != http.StatusUnauthorized || strings.TrimSpace(res.body) != want {
			t.Errorf("%s: %d %s", shape, res.status, res.body)
		}
	}
}

func TestFuuffyLimitsBothWindows(t *testing.T) {
	t.Parallel()
	c := startFuuffy(t, fuuffy.Options{PerMinute: 2, PerHour: 3})
	var got []string
	ask := func() {
		res := c.ask("GET", "/order/list")
		got = append(got, fmt.Sprintf("%d %s of %s", res.status, res.header.Get("X-RateLimit-Remaining"), res.header.Get("X-RateLimit-Limit")))
	}
	ask()
	ask()
	ask()
	c.clock.advance(time.Minute)
	ask()
	want := []string{"200 1 of 2", "200 0 of 2", "429 0 of 2", "429 0 of 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestFuuffyOrdersMoveOn(t *testing.T) {
	t.Parallel()
	c := startFuuffy(t, fuuffy.Options{})
	before := map[string]string{}
	for o := range c.box.FuuffyTruth("orders", time.Time{}, asOf) {
		before[o["order_id"].(string)] = o["order_status"].(string)
	}
	if err := c.box.SetAsOf(asOf.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for o := range c.box.FuuffyTruth("orders", time.Time{}, asOf) {
		was, known := before[o["order_id"].(string)]
		if !known {
			t.Errorf("%s was not there", o["order_id"])
		}
		if was != o["order_status"] {
			changed++
			res := c.ask("GET", "/order?id="+o["order_id"].(string))
			if !strings.Contains(res.body, `"status":"`+o["order_status"].(string)+`"`) {
				t.Errorf("list and order differ: %v, %s", o, res.body)
			}
		}
	}
	if changed == 0 {
		t.Error("no status has changed in three days")
	}
	if res := c.ask("GET", "/order?id=1"); res.status != http.StatusNotFound || !strings.Contains(res.body, "order_not_found") {
		t.Errorf("an unknown order: %d %s", res.status, res.body)
	}
}
