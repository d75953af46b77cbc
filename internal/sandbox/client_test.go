package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
)

// asOf is the simulated now of most tests, a Wednesday.
var asOf = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)

// A clock is a real clock that tests move.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.unix.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.unix.Add(int64(d / time.Second)) }

// A client talks to a sandbox over real HTTP, with the least that works: its
// answers are maps, and nothing is retried.
type client struct {
	t     *testing.T
	box   *sandbox.Sandbox
	clock *clock
	url   string
	token string
}

func start(t *testing.T, change ...func(*sandbox.Options)) *client {
	t.Helper()
	c := &client{t: t, clock: &clock{}}
	c.clock.unix.Store(1_800_000_000)
	o := sandbox.Options{AsOf: asOf, Days: 30, Now: c.clock.now}
	for _, f := range change {
		f(&o)
	}
	c.box = sandbox.New(o)
	server := httptest.NewServer(c.box)
	t.Cleanup(server.Close)
	c.url = server.URL
	c.token = c.newToken()
	return c
}

type response struct {
	status int
	header http.Header
	body   string
}

func (c *client) do(method, path string, header map[string]string, body string) (response, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(text)}, err
}

func (c *client) must(method, path string, header map[string]string, body string) response {
	c.t.Helper()
	res, err := c.do(method, path, header, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res
}

const (
	jsonBody = "application/json"
	formBody = "application/x-www-form-urlencoded"
)

func (c *client) askToken(kind, body string) response {
	c.t.Helper()
	return c.must("POST", "/kaisa/oauth2/token", map[string]string{"Content-Type": kind}, body)
}

func (c *client) newToken() string {
	c.t.Helper()
	config := c.box.Sources(c.url)[0].Config
	res := c.askToken(formBody, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {config["client_id"].(string)}, "client_secret": {config["client_secret"].(string)},
	}.Encode())
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(res.body), &answer); err != nil || answer.Token == "" {
		c.t.Fatalf("token: %d %s", res.status, res.body)
	}
	return answer.Token
}

// raw asks for a path below the version, with the token.
func (c *client) raw(path string) response {
	c.t.Helper()
	return c.must("GET", "/kaisa/2.4.9/"+path, map[string]string{"Authorization": "Bearer " + c.token}, "")
}

// get is raw for an answer of status 200 that is an object.
func (c *client) get(path string) map[string]any {
	c.t.Helper()
	res := c.raw(path)
	var object map[string]any
	if err := json.Unmarshal([]byte(res.body), &object); res.status != http.StatusOK || err != nil {
		c.t.Fatalf("%s: status %d, %v: %.300s", path, res.status, err, res.body)
	}
	return object
}

// list is the records of an answer.
func (c *client) list(path, key string) []map[string]any {
	c.t.Helper()
	return records(c.t, c.get(path), key)
}

func records(t *testing.T, object map[string]any, key string) []map[string]any {
	t.Helper()
	array, ok := object[key].([]any)
	if !ok {
		t.Fatalf("no array %q in %v", key, maps.Keys(object))
	}
	all := make([]map[string]any, len(array))
	for i, v := range array {
		all[i], ok = v.(map[string]any)
		if !ok {
			t.Fatalf("%s[%d] is %T", key, i, v)
		}
	}
	return all
}

// pages walks a paged list by numpages.
func (c *client) pages(path, key string) []map[string]any {
	c.t.Helper()
	var all []map[string]any
	for page := 0; ; page++ {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		object := c.get(fmt.Sprintf("%s%spage=%d", path, separator, page))
		all = append(all, records(c.t, object, key)...)
		if page+1 >= int(object["numpages"].(float64)) {
			if total := int(object["total"].(float64)); total != len(all) {
				c.t.Fatalf("%s: %d records on all pages, total says %d", path, len(all), total)
			}
			return all
		}
	}
}

// control speaks to the sandbox itself.
func (c *client) control(method, path, body string) response {
	c.t.Helper()
	return c.must(method, path, map[string]string{"Content-Type": jsonBody}, body)
}
