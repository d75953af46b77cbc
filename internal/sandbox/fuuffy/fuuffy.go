// Package fuuffy simulates the Fuuffy API as its documentation
// (https://api-docs.fuuffy.com) describes it: OAuth 2 client credentials with the
// token inside "data", orders whose status moves on for weeks, order by id, and
// the states and cities of countries.
//
// What the vendor does not publish is an option here with a stated default. The
// endpoints that would change or pay something answer 403 and are remembered as
// violations, since a pull never writes.
package fuuffy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// An ErrorShape is how an error's body looks. All of these are drawn in the
// documentation, apart from the last three, which stand for what comes from
// proxies.
type ErrorShape string

// The shapes.
const (
	ErrorNested ErrorShape = "nested" // {"error": {"code", "code_reason", "message"}}
	ErrorFlat   ErrorShape = "flat"   // {"code", "code_reason", "message"}
	ErrorText   ErrorShape = "text"   // {"error": "forbidden"}
	ErrorPlain  ErrorShape = "plain"  // no JSON
	ErrorEmpty  ErrorShape = "empty"
	ErrorHTML   ErrorShape = "html"
)

// Options are the account's credentials and the unpublished manners of its API.
type Options struct {
	// ClientID and ClientSecret are the credentials.
	// Default "sandbox-fuuffy-client" and "sandbox-fuuffy-secret".
	ClientID, ClientSecret string
	// TokenLifetime is the documented hour by default.
	TokenLifetime time.Duration
	// DataAsString answers the token endpoint with "data" as a string that holds
	// JSON, as the documentation types it. By default it is the object of the
	// documentation's sample.
	DataAsString bool
	// GrantType says whether grant_type must be there ("required") or must not
	// ("refused"). By default both are taken, as both are documented.
	GrantType string
	// Errors is the shape of errors; nested by default.
	Errors ErrorShape
	// ExclusiveDates takes "created after" and "before" by the word: the days
	// themselves are not in. By default they are. Unknown.
	ExclusiveDates bool
	// DatesUTC begins the days of start_date and end_date at midnight UTC. By
	// default they are those of Hong Kong. Unknown.
	DatesUTC bool
	// Pagination puts the pagination object, which is documented in general,
	// beside the list of orders too. Unknown; by default it does not.
	Pagination bool
	// PerMinute and PerHour limit the requests and switch the rate headers on.
	// Documented are 100 and 1000; by default there is no limit, so that nobody
	// waits in the sandbox.
	PerMinute, PerHour int
}

func (o *Options) setDefaults() {
	if o.ClientID == "" {
		o.ClientID = "sandbox-fuuffy-client"
	}
	if o.ClientSecret == "" {
		o.ClientSecret = "sandbox-fuuffy-secret"
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = time.Hour
	}
	if o.Errors == "" {
		o.Errors = ErrorNested
	}
}

// An API is one simulated account. It is safe for concurrent use.
type API struct {
	opts   Options
	world  *sim.World
	seed   uint64
	tokens *sim.Tokens
	orders *sim.Timeline

	mu         sync.Mutex
	violations []string
	minute     count
	hour       count
}

// count is how many requests came in one span of real time.
type count struct{ span, n int64 }

// The tags keep the dice of one kind of thing apart from another's.
const (
	tagVendor = iota + 0x6675756666 // "fuuff"
	tagToken
	tagOrder
)

// ordersPerCustomer is the orders of an average customer on an average day: one
// request each for a reader of details.
const ordersPerCustomer = 0.4

// New returns the account that the world describes.
func New(world *sim.World, opts Options) *API {
	opts.setDefaults()
	seed := sim.Mix(world.Seed, tagVendor)
	return &API{
		opts: opts, world: world, seed: seed,
		tokens: sim.NewTokens(sim.Mix(seed, tagToken), world.Now),
		orders: sim.NewTimeline(world, tagOrder, ordersPerCustomer*float64(world.Size)),
	}
}

// Name is "fuuffy".
func (a *API) Name() string { return "fuuffy" }

// Tokens is the account's token bookkeeping.
func (a *API) Tokens() *sim.Tokens { return a.tokens }

// The paths. writes are those that change or pay something.
const (
	tokenPath   = "/v1/auth/token"
	listPath    = "/v1/order/list"
	orderPath   = "/v1/order"
	countryPath = "/v1/country/list"
)

var writes = []string{"/v1/order/create", "/v1/orders", "/v1/order/confirm"}

// IsToken reports whether path is the token endpoint.
func (a *API) IsToken(path string) bool { return path == tokenPath }

// Violations are the requests that would have changed something at the vendor.
func (a *API) Violations() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.violations)
}

// Serve answers one request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	path := r.URL.Path
	switch {
	case path == tokenPath:
		a.serveToken(w, r, twist)
		return
	case slices.Contains(writes, path), r.Method != http.MethodGet:
		a.mu.Lock()
		a.violations = append(a.violations, r.Method+" "+path)
		a.mu.Unlock()
		a.fail(w, http.StatusForbidden, "403000", "FORBIDDEN", "the sandbox only reads")
		return
	}
	if !a.tokens.Allows(r) {
		a.Fail(w, http.StatusUnauthorized)
		return
	}
	if !a.admit(w) {
		a.Fail(w, http.StatusTooManyRequests)
		return
	}
	switch path {
	case listPath:
		a.serveList(w, r, twist)
	case orderPath:
		a.serveOrder(w, r)
	case countryPath:
		a.serveCountry(w, r)
	default:
		a.fail(w, http.StatusNotFound, "404000", "NOT_FOUND", "no such resource")
	}
}

// serveToken follows the documentation's page about OAuth.
func (a *API) serveToken(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	invalid := func() {
		a.fail(w, http.StatusBadRequest, "400013", "invalid_request", "Missing or invalid parameters")
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		invalid()
		return
	}
	p, err := sim.TokenParams(r)
	grant := p["grant_type"]
	switch {
	case err != nil, p["client_id"] == "", p["client_secret"] == "",
		grant != "" && grant != "client_credentials",
		a.opts.GrantType == "required" && grant == "", a.opts.GrantType == "refused" && grant != "":
		invalid()
	case p["client_id"] != a.opts.ClientID || !sim.Equal(p["client_secret"], a.opts.ClientSecret):
		a.fail(w, http.StatusUnauthorized, "401021", "invalid_client", "Invalid client_id, client_secret, or session_key")
	default:
		lifetime := a.opts.TokenLifetime
		if twist.TokenLifetime != 0 {
			lifetime = twist.TokenLifetime
		}
		var data any = map[string]any{
			"access_token": a.tokens.Issue(lifetime),
			"token_type":   "Bearer",
			"expires_in":   int64(a.opts.TokenLifetime / time.Second),
		}
		if a.opts.DataAsString {
			text, err := json.Marshal(data)
			if err != nil {
				panic(err) // texts and a number
			}
			data = string(text)
		}
		w.Header().Set("Cache-Control", "no-store")
		answer(w, http.StatusOK, map[string]any{"data": data})
	}
}

// admit counts a request against the limits, and writes the headers of the
// tighter one.
func (a *API) admit(w http.ResponseWriter) bool {
	if a.opts.PerMinute == 0 && a.opts.PerHour == 0 {
		return true
	}
	now := a.world.Now().Unix()
	a.mu.Lock()
	defer a.mu.Unlock()
	tightest, limit, reset := int64(1<<62), 0, int64(0)
	for _, window := range []struct {
		count  *count
		limit  int
		length int64
	}{{&a.minute, a.opts.PerMinute, 60}, {&a.hour, a.opts.PerHour, 3600}} {
		if window.limit == 0 {
			continue
		}
		if span := now / window.length; window.count.span != span {
			*window.count = count{span: span}
		}
		window.count.n++
		if left := int64(window.limit) - window.count.n; left < tightest {
			tightest, limit, reset = left, window.limit, (window.count.span+1)*window.length
		}
	}
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(limit))
	w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(max(tightest, 0), 10))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
	return tightest >= 0
}

// Fail answers with an error of that status.
func (a *API) Fail(w http.ResponseWriter, status int) {
	switch status {
	case http.StatusUnauthorized:
		a.fail(w, status, "401000", "UNAUTHORIZED", "Unauthorized")
	case http.StatusTooManyRequests:
		a.fail(w, status, "rate_limit_exceeded", "", "slow down")
	default:
		a.fail(w, status, "500999", "API_ERROR", "Api Error, please contact customer service")
	}
}

// fail answers with an error in the shape that the options say.
func (a *API) fail(w http.ResponseWriter, status int, code, reason, message string) {
	fields := map[string]any{"code": code, "message": message}
	if reason != "" {
		fields["code_reason"] = reason
	}
	switch a.opts.Errors {
	case ErrorFlat:
		answer(w, status, fields)
	case ErrorText:
		answer(w, status, map[string]any{"error": message})
	case ErrorPlain:
		text(w, status, "text/plain; charset=utf-8", message+"\n")
	case ErrorEmpty:
		w.WriteHeader(status)
	case ErrorHTML:
		text(w, status, "text/html; charset=utf-8", fmt.Sprintf("<html><body><h1>%d %s</h1></body></html>\n", status, http.StatusText(status)))
	default:
		answer(w, status, map[string]any{"error": fields})
	}
}

func text(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client has gone: nobody to tell
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // as above
}

// Description names the credentials, the resources and one source.
func (a *API) Description(baseURL string) sim.Description {
	codes := make([]string, len(countries))
	for i, c := range countries {
		codes[i] = c.Code
	}
	return sim.Description{
		Title: "Fuuffy",
		Credentials: []sim.Setting{
			{Name: "client_id", Value: a.opts.ClientID},
			{Name: "client_secret", Value: a.opts.ClientSecret},
			{Name: "token_url", Value: baseURL + tokenPath},
			{Name: "base_url", Value: baseURL},
		},
		Endpoints: []sim.Endpoint{
			{Method: http.MethodPost, Path: tokenPath, Note: "client_id, client_secret, grant_type=client_credentials (may be left out); form"},
			{Method: http.MethodGet, Path: listPath, Note: "order_status, start_date, end_date, sort_key, sort_dir, page, limit (100)"},
			{Method: http.MethodGet, Path: orderPath, Note: "id"},
			{Method: http.MethodGet, Path: countryPath, Note: "country: " + strings.Join(codes, ", ")},
		},
		Sources: []sim.Source{{
			Name:      "fuuffy_sandbox",
			Connector: "generic",
			Config: map[string]any{
				"preset":        "fuuffy",
				"client_id":     a.opts.ClientID,
				"client_secret": a.opts.ClientSecret,
				"token_url":     baseURL + tokenPath,
				"base_url":      baseURL,
				"parameters":    map[string]any{"countries": codes},
				// The sandbox has no rate limit, so that nobody waits in it.
				"rate_limit": []map[string]any{{"requests": 1000, "per": "1s"}},
			},
		}},
	}
}
