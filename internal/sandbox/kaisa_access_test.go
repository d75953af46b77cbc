package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
)

func TestTokensAreIssuedForJSONAndForFormBodies(t *testing.T) {
	t.Parallel()
	c := start(t)
	for kind, body := range map[string]string{
		jsonBody: `{"grant_type":"client_credentials","client_id":"sandbox-kaisa-client","client_secret":"sandbox-kaisa-secret"}`,
		formBody: "grant_type=client_credentials&client_id=sandbox-kaisa-client&client_secret=sandbox-kaisa-secret",
	} {
		res := c.askToken(kind, body)
		var answer map[string]any
		if err := json.Unmarshal([]byte(res.body), &answer); err != nil {
			t.Fatal(err)
		}
		if res.status != 200 || answer["token_type"] != "Bearer" || answer["expires_in"] != 300.0 || answer["access_token"] == "" {
			t.Errorf("%s: %d %s", kind, res.status, res.body)
		}
		if res.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: a token answer may be cached", kind)
		}
	}
	if n := c.box.Stats().Tokens["kaisa"]; n != 3 {
		t.Errorf("%d tokens counted, want 3", n)
	}
}

func TestTokenRequestsThatAreWrongAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t)
	for name, ask := range map[string]struct {
		kind, body string
		status     int
		code       string
	}{
		"secret":       {formBody, "grant_type=client_credentials&client_id=sandbox-kaisa-client&client_secret=x", 401, "invalid_client"},
		"client":       {formBody, "grant_type=client_credentials&client_id=x&client_secret=sandbox-kaisa-secret", 401, "invalid_client"},
		"grant":        {formBody, "grant_type=password&client_id=x", 400, "unsupported_grant_type"},
		"no grant":     {formBody, "client_id=sandbox-kaisa-client&client_secret=sandbox-kaisa-secret", 400, "invalid_request"},
		"content type": {"text/plain", "grant_type=client_credentials", 400, "invalid_request"},
		"no JSON":      {jsonBody, "grant_type=client_credentials", 400, "invalid_request"},
		"two values":   {jsonBody, `{"grant_type":"client_credentials"} {}`, 400, "invalid_request"},
	} {
		res := c.askToken(ask.kind, ask.body)
		if res.status != ask.status || !strings.Contains(res.body, ask.code) {
			t.Errorf("%s: %d %s, want %d %s", name, res.status, res.body, ask.status, ask.code)
		}
	}
	if res := c.must("GET", "/kaisa/oauth2/token", nil, ""); res.status != 405 || res.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", res.status, res.header.Get("Allow"))
	}
}

func TestATokenIsRefusedOnceItsFiveMinutesAreOver(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.clock.advance(299 * time.Second)
	if res := c.raw("miscellaneous/ping"); res.status != 200 || res.body != `{"ping":"ok"}` {
		t.Fatalf("after 299 s: %d %s", res.status, res.body)
	}
	c.clock.advance(time.Second)
	res := c.raw("miscellaneous/ping")
	if res.status != 401 || json.Valid([]byte(res.body)) {
		t.Fatalf("after 300 s: %d %q, want 401 and a body that is no JSON", res.status, res.body)
	}
	c.token = c.newToken()
	if res := c.raw("miscellaneous/ping"); res.status != 200 {
		t.Errorf("with a new token: %d", res.status)
	}
}

func TestTokenLifetimeIsAnOptionOfTheWholeSandbox(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.TokenLifetime = 10 * time.Second })
	c.clock.advance(10 * time.Second)
	if res := c.raw("miscellaneous/ping"); res.status != 401 {
		t.Errorf("after 10 s: %d, want 401", res.status)
	}
}

func TestRequestsWithoutAGoodTokenAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t)
	for _, header := range []string{"", "Bearer x", "Basic " + c.token, "Bearer"} {
		res := c.must("GET", "/kaisa/2.4.9/customers", map[string]string{"Authorization": header}, "")
		if res.status != 401 || json.Valid([]byte(res.body)) {
			t.Errorf("%q: %d %q", header, res.status, res.body)
		}
	}
}

func TestVersionsResourcesAndMethodsThatDoNotExist(t *testing.T) {
	t.Parallel()
	c := start(t)
	auth := map[string]string{"Authorization": "Bearer " + c.token}
	for path, status := range map[string]int{
		"/kaisa/2.4.9/customers":          200,
		"/kaisa/3.0.0/customers":          200,
		"/kaisa/2.4.0/customers":          404,
		"/kaisa/customers":                404,
		"/kaisa/2.4.9/nothing":            404,
		"/kaisa/2.4.9/customers/nothing":  404,
		"/kaisa/2.4.9/statistics/cdrs/1":  200,
		"/kaisa/2.4.9/statistics/cdrs_in": 404,
		"/kaisa/2.4.9/":                   404,
	} {
		res := c.must("GET", path, auth, "")
		if res.status != status {
			t.Errorf("%s: %d, want %d", path, res.status, status)
		}
		if status == 404 && !strings.HasPrefix(res.body, `{"errors":["`) {
			t.Errorf("%s: %s, want an errors list", path, res.body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if res := c.must(method, "/kaisa/2.4.9/customers", auth, ""); res.status != 405 || res.header.Get("Allow") != "GET" {
			t.Errorf("%s: %d", method, res.status)
		}
	}
}

func TestUnreadableAndMissingParametersAreErrors(t *testing.T) {
	t.Parallel()
	c := start(t)
	for _, path := range []string{
		"customers?page=x", "customers?page=-1", "sources?status=gone", "statistics/cdrs?from_date=yesterday",
		"customers/campaigns", "customers/callbacks", "customers/blacklist", "recordings",
		"customers/voicemail_greetings", "customers/confirmationcallback", "widgets/data", "widgets/data?type=x",
	} {
		if res := c.raw(path); res.status != 400 || !strings.HasPrefix(res.body, `{"errors":["`) {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
	}
}

func TestErrorsMayComeWithStatus200AndAsObjects(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Kaisa.ErrorsWithOK, o.Kaisa.ErrorObjects = true, true })
	res := c.raw("customers?page=x")
	if res.status != 200 || !strings.HasPrefix(res.body, `{"errors":[{"code":200,"message":"page`) {
		t.Errorf("%d %s", res.status, res.body)
	}
}

func TestAnAccountMayBeForbiddenToReadAResource(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Kaisa.Forbidden = []string{"recordings"} })
	if res := c.raw("recordings?customer_id=500101"); res.status != 403 {
		t.Errorf("recordings: %d, want 403", res.status)
	}
	if res := c.raw("customers"); res.status != 200 {
		t.Errorf("customers: %d, want 200", res.status)
	}
}

func TestDigestIsAcceptedForOldAccounts(t *testing.T) {
	t.Parallel()
	c := start(t)
	const path = "/kaisa/2.4.9/customers?page=0"
	challenge := c.must("GET", path, nil, "").header.Get("WWW-Authenticate")
	ask := func(password string) response {
		return c.must("GET", path, map[string]string{"Authorization": digest(t, challenge, "sandbox-tag", password, path)}, "")
	}
	if res := ask("sandbox-password"); res.status != http.StatusOK {
		t.Errorf("%d, want 200", res.status)
	}
	if res := ask("wrong"); res.status != 401 {
		t.Errorf("wrong password: %d, want 401", res.status)
	}
	elsewhere := digest(t, challenge, "sandbox-tag", "sandbox-password", "/kaisa/2.4.9/users")
	if res := c.must("GET", path, map[string]string{"Authorization": elsewhere}, ""); res.status != 401 {
		t.Errorf("an answer for another path: %d, want 401", res.status)
	}
	c.clock.advance(6 * time.Minute)
	if res := ask("sandbox-password"); res.status != 401 || !strings.Contains(res.header.Get("WWW-Authenticate"), "stale=true") {
		t.Errorf("old nonce: %d %s", res.status, res.header.Get("WWW-Authenticate"))
	}
}
